"""What a workflow means, read plainly off the rules: one task after another, nothing else.

It knows the steps of ``tests.support.tasks.behaving.behave`` and imports only the model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from distflow.core.model import Task, TaskResult


class Meaning(NamedTuple):
    """What a task comes to. ``status`` is empty for one that waits behind an unknown task;
    ``roots`` are the tasks that the message of its skip may name.
    """

    status: str
    calls: int = 0
    asked: int = 0
    roots: frozenset[str] = frozenset()


def interpret(tasks: Sequence[Task], known: Mapping[str, TaskResult]) -> dict[str, Meaning]:
    """What every task comes to, by name; ``known`` is the snapshot."""
    by_name = {task.name: task for task in tasks}
    told: dict[str, Meaning] = {}
    while len(told) < len(tasks):
        for task in tasks:
            if task.name not in told and told.keys() >= set(task.depends_on):
                parents = [(by_name[name], told[name]) for name in task.depends_on]
                told[task.name] = _meaning(task, parents, known.get(task.name))
    return told


def verdict(tasks: Sequence[Task], told: Mapping[str, Meaning]) -> str:
    """How the run ends."""
    statuses = [told[task.name].status for task in tasks]
    bad = any(told[task.name].status == "failure" and not task.continue_on_error for task in tasks)
    if "unknown" in statuses:
        return "blocked"
    return "failure" if bad else "cancelled" if "cancelled" in statuses else "success"


def _meaning(
    task: Task, parents: Sequence[tuple[Task, Meaning]], known: TaskResult | None
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
    status, calls = _play(task)
    return Meaning(status, calls, int(task.condition is not None), itself)


def _play(task: Task) -> tuple[str, int]:
    """Call the function as often as its policy says."""
    once = task.effects == "at_most_once"
    retries = task.retry.attempts if task.retry else 0
    rounds = task.loop.max_iterations if task.loop else 0
    steps, calls = task.args[0], 0
    while True:
        step = steps[min(calls, len(steps) - 1)]
        calls += 1
        if step in ("success", "skipped", "cancelled", "unknown"):
            return step, calls
        if step == "unencodable" or (step == "again" and rounds == 1):
            return "failure", calls
        if step == "again" and rounds:
            rounds -= 1
        elif step in ("ok", "again") or (step == "bad until" and not task.loop):
            return "success", calls
        elif retries and (step == "not_done" or not once):
            retries -= 1
        else:
            return "failure", calls
