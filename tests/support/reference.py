"""What a workflow means, read plainly off the rules: one task after another, nothing else.

It knows the steps of ``tests.support.tasks.behaving.behave`` and imports only the model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from distflow.core.model import Task, TaskResult


class Meaning(NamedTuple):
    """What a task comes to. ``status`` is empty for one that waits behind an unknown task;
    ``asked`` is how often its condition and that of its loop were asked, and ``roots`` are the
    tasks that the message of its skip may name.
    """

    status: str
    calls: int = 0
    asked: int = 0
    roots: frozenset[str] = frozenset()


def interpret(
    tasks: Sequence[Task], known: Mapping[str, TaskResult], *, dry_run: bool = False
) -> dict[str, Meaning]:
    """What every task comes to, by name; ``known`` is the snapshot. In a dry run all that would be
    called succeeds.
    """
    by_name = {task.name: task for task in tasks}
    told: dict[str, Meaning] = {}
    while len(told) < len(tasks):
        for task in tasks:
            if task.name not in told and told.keys() >= set(task.depends_on):
                parents = [(by_name[name], told[name]) for name in task.depends_on]
                meaning = _meaning(task, parents, known.get(task.name), dry_run=dry_run)
                told[task.name] = meaning
    return told


def verdict(tasks: Sequence[Task], told: Mapping[str, Meaning]) -> str:
    """How the run ends."""
    statuses = [told[task.name].status for task in tasks]
    bad = any(told[task.name].status == "failure" and not task.continue_on_error for task in tasks)
    if "unknown" in statuses:
        return "blocked"
    return "failure" if bad else "cancelled" if "cancelled" in statuses else "success"


def _meaning(
    task: Task,
    parents: Sequence[tuple[Task, Meaning]],
    known: TaskResult | None,
    *,
    dry_run: bool,
) -> Meaning:
    itself = frozenset({task.name})
    unmet = [
        meaning
        for parent, meaning in parents
        if meaning.status != "success"
        and not (meaning.status == "failure" and parent.continue_on_error)
    ]
    bad = [meaning.roots for meaning in unmet if meaning.status not in ("unknown", "")]
    roots = frozenset[str]().union(*bad)
    if known and (known.status in ("success", "unknown") or known.started):
        return Meaning(known.status.value, roots=itself | roots)
    if roots:
        return Meaning("skipped", roots=roots)
    if unmet:
        return Meaning("")
    condition = (task.condition or "").rpartition(":")[2]
    if condition in ("never", "raising"):
        return Meaning("skipped" if condition == "never" else "failure", asked=1, roots=itself)
    played = _Played("success", 0, 0, goes_on=False) if dry_run else _play(task)
    return Meaning(played.status, played.calls, played.asked + bool(condition), itself)


class _Played(NamedTuple):
    """What a task, or an iteration of it, comes to; how often its function was called, and the
    condition of its loop asked, until then; and whether the loop goes on.
    """

    status: str
    calls: int
    asked: int
    goes_on: bool


def _play(task: Task) -> _Played:
    """Call the function as often as its policy says."""
    played = _Played("failure", 0, 0, goes_on=True)
    for _iteration in range(task.loop.max_iterations if task.loop else 1):
        played = _iterate(task, played.calls, played.asked)
        if not played.goes_on:
            return played
    return played._replace(status="failure")


def _iterate(task: Task, calls: int, asked: int) -> _Played:
    """One iteration, with all of its tries."""
    steps, loop = task.args[0], task.loop
    tries = 1 + (task.retry.attempts if task.retry else 0)
    while True:
        step = steps[min(calls, len(steps) - 1)]
        calls, tries = calls + 1, tries - 1
        if step in ("skipped", "cancelled", "unknown"):
            return _Played(step, calls, asked, goes_on=False)
        raises = loop is not None and step == "bad until"
        well = step in ("success", "ok", "again", "bad until")
        asked += loop is not None and (well or step == "unencodable")
        if well and not raises:
            return _Played("success", calls, asked, goes_on=loop is not None and step == "again")
        if step == "unencodable" or (raises and not tries):
            return _Played("failure", calls, asked, goes_on=False)
        if not tries or (task.effects == "at_most_once" and step != "not_done"):
            goes_on = loop is not None and loop.until.__name__ == "until"
            return _Played("failure", calls, asked + (loop is not None), goes_on)
