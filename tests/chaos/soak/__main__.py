"""``python -m tests.chaos.soak``: exits with 1 where a promise was broken."""

from __future__ import annotations

import argparse
import itertools
import os
import secrets
import shutil
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from tests.chaos.soak.faults import schedule
from tests.chaos.soak.fleet import Fleet
from tests.chaos.soak.person import Person
from tests.chaos.soak.verdict import Verdict, judge

#: Seconds between two looks at the processes.
_TICK_SECONDS = 0.05

#: Seconds that everything may take to come to its end once the faults have stopped.
_SETTLE_SECONDS = 120.0

#: Seconds after which it is told what takes so long.
_PATIENT_SECONDS = 20.0


def main() -> None:
    """Read the options, and soak."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=2.0, help="of faults")
    parser.add_argument("--seed", type=int, default=None, help="default: another each time")
    options = parser.parse_args()
    seed = secrets.randbelow(1 << 16) if options.seed is None else options.seed
    folder = Path(tempfile.mkdtemp(prefix="distflow-soak-"))
    os.environ["DISTFLOW_SPOOL"] = str(folder / "spool")
    sys.stdout.write(f"soak: {options.minutes:g} minutes of faults, --seed {seed}\n")
    sys.stdout.flush()
    verdict = soak(seed, options.minutes * 60, folder)
    if verdict.broken:
        sys.stdout.write(f"broken, by --seed {seed}; what the processes printed is in {folder}\n")
        sys.exit(1)
    shutil.rmtree(folder)


def soak(seed: int, seconds: float, folder: Path, open_runs: int = 6) -> Verdict:
    """Submit, hurt and mend for so many seconds; then let everything end, and judge it.

    The witness is ``log`` in the folder; where a promise was broken, ``processes`` is there too.
    """
    fleet = Fleet()
    try:
        person = Person(fleet.redis.url, seed, folder / "log", open_runs)
        person.start()
        began = time.monotonic()
        _hurt(fleet, person, seed, began + seconds)
        fleet.heal()
        person.closed.set()
        _settle(fleet, person)
        person.over.set()
        person.join()
        verdict = judge(fleet.redis.url, person, folder / "log")
        if verdict.broken:
            (folder / "processes").write_text(fleet.logs())
        for line in report(fleet.counts, person.counts, verdict, time.monotonic() - began):
            sys.stdout.write(f"{line}\n")
        return verdict
    finally:
        fleet.close()


def _hurt(fleet: Fleet, person: Person, seed: int, until: float) -> None:
    faults = schedule(seed)
    fault = next(faults)
    due = time.monotonic() + fault.wait
    while time.monotonic() < until:
        if time.monotonic() >= due:
            fleet.apply(fault)
            fault = next(faults)
            due = time.monotonic() + fault.wait
        _tend(fleet, person)


def _settle(fleet: Fleet, person: Person) -> None:
    began = told = time.monotonic()
    while not person.settled.is_set():
        now = time.monotonic()
        if now - began > _SETTLE_SECONDS:
            return
        if now - told > _PATIENT_SECONDS:
            told = now
            sys.stdout.write(f"not at its end {now - began:.0f} s after the faults:\n")
            sys.stdout.writelines(f"  {line}\n" for line in person.waits())
            sys.stdout.flush()
        _tend(fleet, person)


def _tend(fleet: Fleet, person: Person) -> None:
    fleet.tend()
    # Who wants what cannot be had now asks again.
    for _ in range(person.resumes.qsize()):
        fleet.resume(person.resumes.get())
    threading.Event().wait(_TICK_SECONDS)


def report(
    fleet: Counter[str], person: Counter[str], verdict: Verdict, seconds: float
) -> Iterator[str]:
    """What happened, in lines."""
    counts, kinds = verdict.counts, Counter(kind for kind, _what in verdict.broken)
    kills = sum(count for what, count in fleet.items() if what.startswith("kill"))
    size = f"{counts['runs']} runs, {counts['tasks']} tasks, {counts['calls']} calls"
    yield f"{size} in {seconds:.0f} s"
    yield f"{kills} kills, {counts['take-overs']} take-overs, {counts['repairs']} repairs"
    for what, count in sorted(itertools.chain(fleet.items(), person.items(), counts.items())):
        if what not in ("runs", "tasks", "calls", "take-overs", "repairs"):
            yield f"  {count:5} {what}"
    yield f"{kinds['double']} doubles, {kinds['loss']} losses, {kinds['count']} wrong counts"
    for kind, what in verdict.broken:
        yield f"  {kind}: {what}"


if __name__ == "__main__":
    main()
