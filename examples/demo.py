"""The main job, played before your eyes: ``make demo``, or ``python -m examples.demo``."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from itertools import pairwise
from pathlib import Path

from distflow.local.private_redis import PrivateRedis
from distflow.local.workers import LocalWorkers
from examples.payments import Charge, charge_task, find_mistakes, read_ledger
from examples.stage import (
    DATA,
    ROOT,
    Command,
    DemoFailed,
    ask,
    check,
    distflow,
    hold_folder,
    say,
    wait_for,
)

RUN = "payments"
ORDERS = 12
LEDGER = f"{DATA}/ledger.sqlite"
#: Charges in the ledger at which the coordinator is killed.
ENOUGH = 3
#: A charge is booked halfway: the other half is the time to kill its worker.
CHARGE_SECONDS = 1.0

#: Name of a task that is done -> its attempt, and when that started.
Results = Mapping[str, tuple[int, float | None]]

#: How the workers are started, but for the folders before the data's.
START_WORKER = f"$ rq worker --url unix://…/{DATA}/redis.sock default"

PNG = b"\x89PNG\r\n\x1a\n"


def main() -> int:
    """Play the demo; 0 only if all that it says was found to be so."""
    # What cleans up on Ctrl-C does so when it is told to end, too.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    # Short, so that a resume need not wait long for the lease of a killed coordinator.
    os.environ["DISTFLOW_LEASE_SECONDS"] = "1"
    began = time.monotonic()
    try:
        lock = hold_folder()
        try:
            index_library()
            charge_orders()
        finally:
            lock.release()
    except DemoFailed as error:
        print(f"\nThe demo failed: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nThe demo was interrupted; all its processes are gone.", file=sys.stderr)
        return 130
    print(f"\nAll of this was checked. It took {time.monotonic() - began:.0f} s.")
    return 0


def index_library() -> None:
    """Part 1: one command does it all."""
    print("1. Index the standard library of this machine's Python")
    say("A private Redis, two stock RQ workers and a coordinator, in one command:")
    began = time.monotonic()
    out = f"{DATA}/index"
    distflow("run", "examples.stdlib_index:index", "-p", f"out={out}")
    seconds = time.monotonic() - began
    report = json.loads(Path(ROOT, out, "report.json").read_text(encoding="utf-8"))
    check(report["files"] > 0, "the report knows no files")
    chart = Path(ROOT, out, "report.png").read_bytes()
    check(chart.startswith(PNG), "the chart is no PNG")
    say(
        f"{report['files']:,} files, {report['lines']:,} lines in {seconds:.1f} s; "
        f"{len(report['unparsable'])} files do not parse"
    )
    say(f"most used:     {told(report['top_identifiers'])}")
    say(f"most imported: {told(report['top_imports'])}")
    say(f"report: {out}/report.json")
    say(f"chart:  {out}/report.png")


def told(top: Sequence[tuple[str, int]]) -> str:
    """The first three of a ranking, in a few words."""
    return ", ".join(f"{name} {count:,}" for name, count in top[:3])


def charge_orders() -> None:
    """Part 2: kill the coordinator, then a worker inside a charge."""
    print(f"\n2. Charge {ORDERS} orders, each at most once, while processes are killed")
    with ExitStack() as stack:
        folder = ROOT / DATA
        redis = stack.enter_context(PrivateRedis.start(folder))
        workers = stack.enter_context(LocalWorkers(redis.url, count=2, data_dir=folder, cwd=ROOT))
        say("Two workers on the same private Redis, as anyone starts them, and a run:")
        say(START_WORKER)
        say(START_WORKER)
        earlier = [submit_and_kill()]
        kept = [0, resume_and_kill(workers)]
        earlier.append(successes())
        with Command("resume", RUN) as command:
            command.wait()
            kept.append(count_kept(command))
        tell_end(kept, earlier, successes())


def submit_and_kill() -> Results:
    """SIGKILL to the coordinator midway; what was done by then."""
    with Command(
        *("submit", "examples.payments:settle_orders", "--run-id", RUN),
        *("-p", f"orders={ORDERS}", "-p", f"ledger={LEDGER}"),
        *("-p", f"charge_seconds={CHARGE_SECONDS}"),
    ) as command:
        wait_for(lambda: len(charges()) >= ENOUGH, f"{ENOUGH} charges", command)
        check(command.kill(), "the coordinator ended before it was killed")
    say(f"{len(charges())} charges are in the ledger: kill -9 of the coordinator.")
    return successes()


def resume_and_kill(workers: LocalWorkers) -> int:
    """Resume, and settle what SIGKILL to a worker inside a charge did; the tasks kept."""
    with Command("resume", RUN) as command:
        kept = count_kept(command)
        caught = catch_charging(workers, len(charges()), command)
        task = charge_task(caught.order_id)
        say(f"{task} is booked, and not recorded yet: kill -9 of its worker")
        say("and of the work horse. Another worker takes its place:")
        say(START_WORKER)
        workers.ensure()
        said = command.wait(expect=3)
    check(task in said, f"the run does not name {task}")
    check(task not in successes(), f"{task} is told to be done")
    say("Exit 3: the run waits for a person.")
    decide(task, caught)
    return kept


def count_kept(command: Command) -> int:
    """How many tasks a resume says it keeps, once it says so."""
    match = wait_for(lambda: command.find(r"(\d+) success\w* kept"), "the resume", command)
    assert match is not None
    return int(match[1])


def catch_charging(workers: LocalWorkers, seen: int, command: Command) -> Charge:
    """Kill a worker that has booked a charge and not recorded it; that charge."""
    while True:
        caught = await_charge(seen, command)
        seen = caught.id
        worker = leader_of(caught.pid)
        if worker not in workers.pids:
            continue
        # Frozen first: whether it has recorded the charge can then be told for good.
        with frozen([worker, caught.pid]):
            if charge_task(caught.order_id) not in successes():
                send([worker, caught.pid], signal.SIGKILL)
                await_death(workers, worker)
                return caught


def await_charge(seen: int, command: Command) -> Charge:
    """The newest charge, once there are more than were seen."""
    return wait_for(lambda: charges()[seen:], "another charge", command)[-1]


def await_death(workers: LocalWorkers, worker: int) -> None:
    """Wait until a killed worker is gone."""
    wait_for(lambda: worker not in workers.pids, "the worker to be gone")


def leader_of(horse: int) -> int:
    """The worker whose work horse this is: it leads the session. 0 where the horse is gone."""
    try:
        return os.getsid(horse)
    except ProcessLookupError:
        return 0


@contextmanager
def frozen(processes: Sequence[int]) -> Iterator[None]:
    """Processes stand still for a block; those that live then go on."""
    send(processes, signal.SIGSTOP)
    try:
        yield
    finally:
        send(processes, signal.SIGCONT)


def send(processes: Sequence[int], number: signal.Signals) -> None:
    """Send a signal to those that are still there."""
    for process in processes:
        with suppress(ProcessLookupError):
            os.kill(process, number)


def decide(task: str, caught: Charge) -> None:
    """Look the charge up as a person would, and say what became of the task."""
    say("Was the card charged? The ledger knows, by the key of the task:")
    key = ask("show", RUN, task)["key"]
    booked = [charge for charge in charges() if charge.key == key]
    check(booked == [caught], f"the ledger has {booked} under {key}, not {caught}")
    say(f"key {key}: yes, {money(caught.cents)}.")
    answer = json.dumps({"charge": caught.id, "cents": caught.cents})
    distflow("resolve", RUN, task, "--done", answer)


def charges() -> list[Charge]:
    """The ledger."""
    return read_ledger(str(ROOT / LEDGER))


def successes() -> Results:
    """The tasks that are done: when and at which attempt each one started."""
    results = ask("status", RUN, "--tasks")["results"]
    return {
        name: (result["attempt"], (result["metrics"] or {}).get("start_time"))
        for name, result in results.items()
        if result["status"] == "success"
    }


def tell_end(kept: Sequence[int], earlier: Sequence[Results], ended: Results) -> None:
    """Part 3: what came of it, checked."""
    print("\n3. What came of it")
    tell_ledger()
    check_settlement()
    say()
    say(f"{'':<34} {'tasks reused':>13} {'tasks run':>11}")
    parts = ("submit, coordinator killed", "resume, worker killed in a charge", "resume to the end")
    for part, (reused, done) in zip(parts, pairwise([*kept, len(ended)]), strict=True):
        say(f"{part:<34} {reused:>13} {done - reused:>11}")
    for results in earlier:
        check_untouched(results, ended)
    say("No task that was done has started again.")


def check_untouched(before: Results, after: Results) -> None:
    """What was done is done, by the same attempt, started at the same time."""
    again = [name for name, start in before.items() if after.get(name) != start]
    check(not again, f"these ran again although they were done: {', '.join(again)}")


def tell_ledger() -> None:
    """The ledger, with each order once."""
    booked = charges()
    say("order      amount   key of the charge")
    for charge in booked:
        say(f"{charge.order_id}  {money(charge.cents):>9}   {charge.key}")
    mistakes = find_mistakes(booked, ORDERS)
    check(not mistakes, "the ledger is wrong: " + "; ".join(mistakes))
    say(f"Every order was charged exactly once: {ORDERS} orders, {len(booked)} charges.")


def check_settlement() -> None:
    """The last task has the sum of the ledger."""
    settled = ask("show", RUN, "settle")["result"]["data"]
    total = sum(charge.cents for charge in charges())
    check(settled == {"orders": ORDERS, "cents": total}, f"the settlement says {settled}")
    say(f"The settlement agrees with the ledger: {money(total)}.")


def money(cents: int) -> str:
    """Cents as people write them."""
    return f"{cents / 100:.2f}"


if __name__ == "__main__":
    sys.exit(main())
