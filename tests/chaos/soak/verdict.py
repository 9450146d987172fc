"""What the runs of a soak came to, against what the witness saw."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from distflow import TaskResult, TaskStatus, connect
from distflow.core.run import HistoryEntry
from distflow.core.status import RunStatus
from tests.chaos.soak.person import Deed, Person, read_deeds
from tests.chaos.soak.planned import Planned


class Verdict(NamedTuple):
    """What was counted, and each promise that was broken: ``(kind, what)``."""

    counts: Counter[str]
    broken: list[tuple[str, str]]


class Case(NamedTuple):
    """One task of a run: what it should be, what Redis says, and what was seen."""

    planned: Planned
    result: TaskResult
    deeds: list[Deed]
    lost: int
    retried: int


def judge(url: str, person: Person, log: Path) -> Verdict:
    """Look at every run that somebody was told of."""
    client, deeds = connect(url), read_deeds(log)
    counts: Counter[str] = Counter()
    broken: list[tuple[str, str]] = []
    for run_id, flow in person.flows.items():
        run = client.run(run_id)
        info, results, history = run.info(), run.results(), run.store.read_history()
        counts["runs"] += 1
        tasks, strange = match_names(flow.tasks, [*results])
        broken += [(kind, f"{run_id}: {what}") for kind, what in strange]
        counts["tasks"] += len(tasks)
        counts["take-overs"] += sum(entry.kind == "taken_over" for entry in history)
        for kind, count in info.repairs.items():
            counts[f"repairs: {kind}"] += count
            counts["repairs"] += count
        if info.status != RunStatus.SUCCESS:
            broken.append(("loss", f"{run_id} is {info.status}, {dict(info.counts)}"))
        lost = _losses(history)
        tally: Counter[str] = Counter()
        for task, planned in tasks.items():
            result, seen = results.get(task), deeds.get((run_id, task), [])
            counts["calls"] += sum(deed.word == "start" for deed in seen)
            if result is None:
                broken.append(("loss", f"{run_id} {task} has no outcome"))
                continue
            tally[result.status] += 1
            case = Case(planned, result, seen, lost[task], person.retried[run_id, task])
            broken += [(kind, f"{run_id} {task}: {what}") for kind, what in judge_task(case)]
        told = {status: info.counts[status] for status in TaskStatus if info.counts.get(status)}
        if told != {status: count for status, count in tally.items() if status in info.counts}:
            broken.append(("count", f"{run_id} counts {told}, and has {dict(tally)}"))
    return Verdict(counts, broken)


def _losses(history: list[HistoryEntry]) -> Counter[str]:
    """How often each task's worker was lost."""
    return Counter(entry.task for entry in history if entry.kind == "lost")


def match_names(
    planned: Mapping[str, Planned], names: Sequence[str]
) -> tuple[dict[str, Planned], list[tuple[str, str]]]:
    """What must become of each task, by its name: where there is a ``*`` in that, it stands for a
    mark, and exactly one task has such a name. And what is wrong with the names that there are.
    """
    found: dict[str, Planned] = {}
    broken: list[tuple[str, str]] = []
    for name, what in planned.items():
        if "*" not in name:
            found[name] = what
            continue
        pattern = re.compile(re.escape(name).replace(r"\*", r"\w+"))
        matching = [each for each in names if pattern.fullmatch(each)]
        found.update(dict.fromkeys(matching, what))
        if len(matching) != 1:
            broken.append(("loss" if not matching else "double", f"{name} is {matching}"))
    broken += [("double", f"{name} is no task of this flow") for name in names if name not in found]
    return found, broken


def judge_task(case: Case) -> Iterator[tuple[str, str]]:
    """Each promise that one task shows broken."""
    planned, result, deeds, _lost, _retried = case
    if result.status != planned.status:
        yield "loss", f"{result.status}, not {planned.status}: {result.error or result.message}"
        return
    if planned.kind == "node":
        # The function of a map is not the user's: it writes nothing.
        return
    calls = Counter((deed.attempt, deed.iteration) for deed in deeds if deed.word == "start")
    if planned.status == TaskStatus.SKIPPED:
        if calls:
            yield "double", f"skipped, and called {dict(calls)}"
        return
    if planned.kind == "charge":
        yield from _judge_charge(case, sum(calls.values()))
    yield from _judge_calls(case, calls)


def _judge_charge(case: Case, calls: int) -> Iterator[tuple[str, str]]:
    words = Counter(deed.word for deed in case.deeds)
    if words["effect"] > 1:
        yield "double", f"it happened {words['effect']} times"
    if not words["effect"]:
        yield "loss", "a success, and it never happened"
    allowed = 1 + case.retried + words["raised"]
    if calls > allowed:
        yield "double", f"started {calls} times, of which {allowed} were allowed"


def _judge_calls(case: Case, calls: Counter[tuple[int, int]]) -> Iterator[tuple[str, str]]:
    """As many calls as the attempts say: each once, but for what may be dispatched again."""
    planned, result, deeds, lost, _retried = case
    last = "raised" if planned.kind == "doomed" else "end"
    decided = (result.message or "").startswith("resolved by")
    # What was to fail may have done so in another way.
    was_lost = planned.kind == "doomed" and (result.error or "").startswith("WorkerLost")
    ended = [deed.attempt for deed in deeds if deed.word == last]
    if result.attempt not in ended and not decided and not was_lost:
        yield "loss", f"attempt {result.attempt} is a {result.status}, and never came to its end"
    late = [attempt for attempt, _iteration in calls if attempt > result.attempt]
    if late:
        yield "double", f"attempts {late} after the success of attempt {result.attempt}"
    again = {call: count for call, count in calls.items() if count > 1}
    if again and planned.kind != "idempotent":
        yield "double", f"called more than once: {again}"
    if sum(again.values()) - len(again) > lost:
        yield "double", f"called again {again}, with {lost} workers lost"
    missing = set(range(1, result.attempt + 1)) - {attempt for attempt, _iteration in calls}
    if len(missing) > lost:
        yield "count", f"attempts {sorted(missing)} never began, with {lost} workers lost"
