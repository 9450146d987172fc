"""What a person who decides asks of the store of a run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from distflow.core.resolution import Decision, Resolution
from distflow.core.status import TaskStatus


class ResolvingPort(Protocol):
    """The decisions of people."""

    def resolve_tasks(
        self,
        operation: str,
        decision: Decision,
        resolutions: Sequence[Resolution],
        who: str,
        note: str,
        *,
        skips: int | None = None,
    ) -> list[TaskStatus]:
        """Decide on tasks, all or none, and return their statuses from now on, in order.

        Args:
            operation: the caller's id for this decision, kept over its retries: idempotent by it.
            decision: of them all.
            resolutions: one for each task.
            who: for the history.
            note: for the history.
            skips: how many tasks of the run were skipped when the caller looked.

        Raises:
            LookAgain: more or fewer are skipped now.
            WrongState: one is not as the caller saw it, or a dependent of it has begun.
            LeaseHeld: one may be decided only while nobody leads the run.
            RunNotFound: there is no such run.
            RunTooNew: a newer distflow made it.
        """
