"""The store for people who decide on tasks."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from distflow.core.claim import Code
from distflow.core.resolution import Decision, Resolution, begun_already
from distflow.core.status import TaskStatus
from distflow.errors import LeaseHeld, LookAgain, WrongState
from distflow.ports.resolving import ResolvingPort
from distflow.store.redis.worker import WorkerStore, resolution_fields


class ResolvingStore(WorkerStore, ResolvingPort):
    """Records the decisions of people."""

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
        flat: list[str | bytes | int] = []
        for known in resolutions:
            flat += resolution_fields(known)
        said = (operation, decision, who, note, "" if skips is None else skips)
        code, *answers = self._run("resolve_tasks", self.resolved_keys, *said, *flat)
        if code == Code.GONE:
            raise self._missing()
        self._require(code)
        told = [answer.decode() for answer in answers]
        if code == Code.OK:
            return [TaskStatus(status) for status in told]
        raise overtaken(self.run_id, Code(code), *told)


def overtaken(run_id: str, code: Code, task: str, status: str, begun: str) -> WrongState:
    """The error for a decision that was not recorded.

    Args:
        run_id: the run.
        code: HELD, LOOK_AGAIN or WRONG_STATE.
        task: the task that was decided.
        status: of its outcome, empty for none; for HELD, the coordinator that leads the run.
        begun: a dependent that has begun; empty for none.
    """
    if code == Code.HELD:
        return LeaseHeld(
            f"{status} leads run {run_id}, and dependents of task {task!r} may be queued already: "
            f"pause it with `distflow pause {run_id}`, decide once nobody leads it, then resume"
        )
    if code == Code.LOOK_AGAIN:
        return LookAgain(f"run {run_id}: other tasks were skipped in the meantime: try again")
    if begun:
        return begun_already(task, begun)
    return WrongState(
        f"task {task!r} is {status or 'not ended'} now, which changed meanwhile: look again with "
        f"`{shlex.join(('distflow', 'show', run_id, task))}`"
    )
