"""``python -m tests.chaos.points``: play every case; exits with 1 where a promise was broken."""

from __future__ import annotations

import argparse
import os
import random
import sys
import tempfile
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence

from distflow import faults
from tests.chaos.points.case import BOTH, COUNT, PROXY, Case
from tests.chaos.points.lane import Lane, Played
from tests.chaos.points.scenarios import PLAYED, PROXIED, play
from tests.support import proxy
from tests.support.points import all_points
from tests.support.redis_server import RedisServer

#: Nobody can set Redis's clock here: tests/contract/test_clock.py has what is done then, and again.
_UNREACHABLE = frozenset({"set_times:before", "set_times:after"})


def main() -> None:
    """Read the options, and play."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.points", description=__doc__)
    parser.add_argument("--lanes", type=int, default=4, help="cases that are played at once")
    parser.add_argument("--only", default="", help="SCENARIO/ROLE, or the first letters of it")
    parser.add_argument("--sample", type=int, help="play so many cases, drawn by the seed")
    parser.add_argument("--minutes", type=float, help="start no case after so many")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="distflow-points-") as folder:
        # Workers that are not hurt, too, keep nothing where those of the user do.
        os.environ["DISTFLOW_SPOOL"] = folder
        _play(options)


def _play(options: argparse.Namespace) -> None:
    began = time.monotonic()
    first = [Case(*pair) for pair in PLAYED]
    first += [Case(*pair, PROXY, kind=COUNT) for pair in PROXIED]
    wanted = [case for case in first if str(case).startswith(options.only)]
    unhurt = play_all(wanted, options.lanes)
    cases = list(cases_of(unhurt))
    random.Random(options.seed).shuffle(cases)
    until = None if options.minutes is None else began + options.minutes * 60
    played = play_all(cases[: options.sample], options.lanes, until=until)
    sys.stdout.write(f"{len(played)} of {len(cases)} cases, --seed {options.seed}\n")
    for line in report(unhurt, played, time.monotonic() - began):
        sys.stdout.write(f"{line}\n")
    unreached = set() if options.only else missed(unhurt)
    sys.stdout.writelines(f"no role reaches {point}\n" for point in sorted(unreached))
    if unreached or any(each.broken for each in (*unhurt, *played)):
        sys.exit(1)


def cases_of(unhurt: Sequence[Played]) -> Iterator[Case]:
    """What may be played: each point that a role has reached, the first and the last time, and
    each command that it has sent, with each kind of fault.
    """
    for each in unhurt:
        for point, count in sorted(each.reached.items()):
            proxied = point == PROXY
            for nth in range(1, count + 1) if proxied else dict.fromkeys((1, count)):
                for kind in _kinds(each.case.role, proxied=proxied):
                    yield each.case._replace(point=point, nth=nth, kind=kind)


def _kinds(role: str, *, proxied: bool) -> tuple[str, ...]:
    if proxied:
        return proxy.KINDS
    return ("kill",) if role == BOTH else faults.KINDS


def play_all(cases: Sequence[Case], lanes: int, *, until: float | None = None) -> list[Played]:
    """Play cases on a Redis of their own, several at once; what broke is told as it does.

    Args:
        cases: in this order.
        lanes: how many at once.
        until: when to start no more, on the monotonic clock.
    """
    left = list(reversed(cases))
    played: list[Played] = []
    server = RedisServer()

    def work(number: int) -> None:
        lane = Lane(server.url, number)
        try:
            while left and (until is None or time.monotonic() < until):
                each = play(lane, left.pop())
                played.append(each)
                _tell(each, len(played), len(cases))
        except IndexError:
            # Another lane has taken the last.
            pass
        finally:
            lane.close()

    threads = [
        threading.Thread(target=work, args=(number,), name=f"lane-{number}")
        for number in range(min(lanes, len(cases)))
    ]
    try:
        for thread in threads:
            thread.start()
    finally:
        for thread in threads:
            thread.join()
        server.close()
    return played


def _tell(played: Played, number: int, total: int) -> None:
    for kind, what in played.broken:
        sys.stdout.write(f"{kind}: {played.case}: {what}\n{played.told}\n")
    if number % 50 == 0:
        sys.stdout.write(f"{number} of {total}\n")
    sys.stdout.flush()


def report(unhurt: Sequence[Played], played: Sequence[Played], seconds: float) -> Iterator[str]:
    """What was played and what broke, in lines: one per point."""
    by_point: dict[str, list[Played]] = defaultdict(list)
    for each in played:
        by_point[each.case.point].append(each)
    yield f"{'point':28} {'runs':>5} {'struck':>6} {'again':>5} {'broken':>6}  roles"
    for point, group in sorted(by_point.items()):
        struck, again = sum(each.struck for each in group), sum(each.again for each in group)
        broken = sum(bool(each.broken) for each in group)
        roles = ", ".join(sorted({each.case.role for each in group}))
        yield f"{point:28} {len(group):5} {struck:6} {again:5} {broken:6}  {roles}"
    everything = [*unhurt, *played]
    kinds = Counter(kind for each in everything for kind, _what in each.broken)
    hurt = Counter(each.case.kind for each in played if each.struck)
    yield (
        f"{len(by_point)} points, {len(played)} runs, of which {sum(hurt.values())} were hurt: "
        + ", ".join(f"{count} {kind}" for kind, count in sorted(hurt.items()))
    )
    yield (
        f"{sum(each.again for each in played)} resumes and commands given again, {seconds:.0f} s: "
        f"{kinds['double']} doubles, {kinds['loss']} losses, "
        f"{kinds['order'] + kinds['cut'] + kinds['count']} others"
    )


def missed(unhurt: Sequence[Played]) -> set[str]:
    """The points that no role has reached, though it could."""
    reached = {point for each in unhurt for point in each.reached}
    return set(all_points()) - reached - _UNREACHABLE


if __name__ == "__main__":
    main()
