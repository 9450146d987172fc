"""The tasks of a batch, one after another, with one round trip between two."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any

from distflow.core.claim import ClaimReply, ClaimRequest, Code, Finish
from distflow.ids import new_token
from distflow_worker.attempt import AttemptRun, ClaimVoid, RunView

if TYPE_CHECKING:
    # The ports bring the coordinator's dataclasses: too dear for every job's import.
    from distflow.ports import WorkerPort
    from distflow_worker.verify import Verification

_log = logging.getLogger("distflow.worker")

#: What asks verify hooks: few batches do, and every job would pay for its import.
_VERIFY = "distflow_worker.verify"

#: Answers after which nothing more of the batch may run.
_ENDS_BATCH = frozenset({Code.STALE_EPOCH, Code.STOPPED, Code.GONE})


class BatchSequence:
    """Claims, runs and finishes the tasks of a batch that has begun.

    Args:
        store: the run.
        view: what attempts need to know of the run and of this process.
        epoch: of the coordinator that sent the batch.
        batch: its id.
        headers: its tasks, as they travel.
        should_stop: asked between two tasks.
        on_attempt: told the attempt or verification at work, and None between two.
    """

    def __init__(
        self,
        store: WorkerPort,
        view: RunView,
        epoch: int,
        batch: str,
        headers: Sequence[dict[str, Any]],
        *,
        should_stop: Callable[[], bool],
        on_attempt: Callable[[AttemptRun | Verification | None], None],
    ) -> None:
        self._store = store
        self._view = view
        self._epoch = epoch
        self._batch = batch
        self._headers = headers
        self._should_stop = should_stop
        self._on_attempt = on_attempt

    def run(self) -> None:
        """Take every task that can be claimed, and end the batch."""
        finish: Finish | None = None
        unstarted: list[str] = []
        names = [header["name"] for header in self._headers]
        for position, header in enumerate(self._headers):
            if self._should_stop():
                unstarted += names[position:]
                break
            if header.get("verify"):
                self._verify(header)
                continue
            token = new_token()
            reply = self._claim(header, token, finish)
            finish = None
            if reply.code in _ENDS_BATCH:
                _log.info("batch %s ends: %s", self._batch, reply.code.name)
                unstarted += names[position:]
                break
            if reply.code == Code.GRANTED:
                finish = self._attempt(header, token, reply)
            elif reply.code != Code.DONE:
                _log.info("task %s left alone: %s", header["name"], reply.code.name)
                unstarted.append(header["name"])
        done = self._store.advance(
            self._epoch,
            self._batch,
            [finish] if finish else [],
            ending=True,
            unstarted=unstarted,
        )
        _report(finish, done.finishes)

    def _verify(self, header: dict[str, Any]) -> None:
        """Ask what became of an unknown task: nothing is claimed for that."""
        question: Verification = import_module(_VERIFY).Verification(
            self._view, header["name"], header["body"]
        )
        self._on_attempt(question)
        try:
            question.run()
        finally:
            self._on_attempt(None)

    def _claim(self, header: dict[str, Any], token: str, finish: Finish | None) -> ClaimReply:
        """Record the last outcome and claim the next task."""
        request = ClaimRequest(
            header["name"],
            token,
            header["effects"] != "at_most_once",
            tuple((name, tolerated) for name, tolerated in header["needs"]),
        )
        finishes = [finish] if finish else []
        advanced = self._store.advance(self._epoch, self._batch, finishes, [request])
        _report(finish, advanced.finishes)
        return advanced.claims[0]

    def _attempt(self, header: dict[str, Any], token: str, claim: ClaimReply) -> Finish | None:
        attempt = AttemptRun(self._view, header["name"], token, header["effects"], claim)
        self._on_attempt(attempt)
        try:
            return attempt.finish(attempt.run(header["body"]))
        except ClaimVoid:
            _log.warning("task %s was given to another before it started here", header["name"])
            return None
        finally:
            self._on_attempt(None)


def _report(finish: Finish | None, codes: tuple[Code, ...]) -> None:
    if finish and codes and codes[0] != Code.RECORDED:
        _log.warning(
            "task %s attempt %d: its outcome %s came too late and is kept in the history: %s",
            finish.task,
            finish.attempt,
            finish.status,
            codes[0].name,
        )
