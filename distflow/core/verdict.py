"""Decides what a verify hook's answer about an unknown task means. Nothing else decides this."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

from distflow.core.model import MAX_LOST, TaskResult
from distflow.core.resolution import Answer
from distflow.core.status import TaskStatus
from distflow.errors import NotDone


class Verdict(NamedTuple):
    """What follows from an answer: ``result`` comes with ``done`` and ``fail``; ``note`` is for the
    history.
    """

    decision: Answer
    note: str
    result: TaskResult | None = None


def decide_answer(unknown: TaskResult, lost: int, answer: Any, *, who: str) -> Verdict:
    """Decide what a hook's answer means.

    Args:
        unknown: the outcome that the hook was asked about.
        lost: how many workers the task has cost so far in its generation, including verified
            rounds.
        answer: what the hook returned; a raised NotDone counts as returned.
        who: the asker, for the result's message.
    """
    if answer is NotDone or isinstance(answer, NotDone):
        # The class itself carries no message; an instance without one would show its docstring.
        why = "" if answer is NotDone else str(answer)
        if lost >= MAX_LOST:
            times = f"after {lost} such rounds it is not run again"
            return Verdict("undecided", f"it was not done{why and f' ({why})'}; {times}")
        return Verdict("retry", f"it was not done{why and f': {why}'}")
    if answer is None:
        return Verdict("undecided", "it cannot tell")
    if not isinstance(answer, TaskResult):
        return _unusable(f"a {type(answer).__name__}")
    if answer.status not in (TaskStatus.SUCCESS, TaskStatus.FAILURE):
        return _unusable(f"a TaskResult that is {answer.status}")
    done = answer.status == TaskStatus.SUCCESS
    said = answer.message or ("it was done" if done else answer.error or "it failed for good")
    result = replace(
        answer,
        message=f"{who}: {said}",
        error=answer.error if done else answer.error or said,
        metrics=answer.metrics or unknown.metrics,
        attempt=unknown.attempt,
        worker=unknown.worker,
        started=not done,
    )
    return Verdict("done" if done else "fail", said, result)


def _unusable(what: str) -> Verdict:
    return Verdict(
        "undecided",
        f"it returned {what}: it returns a TaskResult of success or failure, NotDone, or None",
    )
