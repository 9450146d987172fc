"""FinishBuffer: the outcomes that a batch has to record, and the claims that it holds ahead.

Outcomes of ordinary tasks go with the next claim, in one round trip. Those of ``idempotent`` tasks
may wait for each other, up to 50 ms and 256 KiB: if they are lost, their tasks may run again.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from redis.exceptions import RedisError

from distflow.core.claim import (
    NAMELESS,
    Advance,
    ClaimReply,
    ClaimRequest,
    Code,
    Finish,
    Refused,
    WorkerFacts,
)
from distflow.core.pacing import FLUSH_MS, HELD_MS
from distflow.errors import DistflowError, RedisUnavailable, RunForgotten
from distflow.logs import get_logger
from distflow_worker.inputs import LARGE_BYTES

if TYPE_CHECKING:
    # The ports import the coordinator's dataclasses: too expensive for every job.
    from distflow.ports.worker import WorkerPort
    from distflow_worker.outcomes import OutcomeKeeper

_log = get_logger("distflow.worker")

#: Patience, in seconds, of one call that will be repeated: the store of a buffer with a keeper has
#: it.
PIECE_SECONDS = 1.0

#: Answers to an outcome that need no warning: it is recorded, or the caller acts on them.
_ANSWERED = frozenset({Code.RECORDED, Code.WRONG_STATE, Code.TOO_LARGE})

FLUSH_SECONDS, HELD_SECONDS = FLUSH_MS / 1000, HELD_MS / 1000


class Held(NamedTuple):
    """A granted claim; ``started`` says that it marked the attempt as started."""

    token: str
    reply: ClaimReply
    started: bool = True


class FinishBuffer:
    """Records and claims for one batch.

    Args:
        store: the run.
        epoch: of the coordinator that sent the batch.
        batch: its id.
        make_keeper: makes the keeper of outcomes that the store does not accept; None for a store
            that always does.
        facts: identify the worker in refusals.
        records: the expansions that the batch's tasks are of.
    """

    def __init__(
        self,
        store: WorkerPort,
        epoch: int,
        batch: str,
        make_keeper: Callable[[], OutcomeKeeper] | None = None,
        *,
        facts: WorkerFacts = NAMELESS,
        records: Sequence[tuple[str, str]] = (),
    ) -> None:
        self._store = store
        self._records = records
        self._facts = facts
        self._make_keeper = make_keeper
        #: Made when the store first fails to accept something.
        self._keeper: OutcomeKeeper | None = None
        self._epoch = epoch
        self._batch = batch
        self._finishes: list[Finish] = []
        #: Their encoded size.
        self._bytes = 0
        self._oldest = 0.0
        #: When the running task was taken, on the monotonic clock.
        self._taken_at = 0.0
        #: Claims held ahead and not begun, by task.
        self._held: dict[str, Held] = {}
        #: Claims to give back: task and token.
        self._released: list[tuple[str, str]] = []
        #: Tasks that this worker cannot run, to give back as well.
        self._refused: list[Refused] = []
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._flusher: threading.Thread | None = None

    def add(self, finish: Finish) -> None:
        """Add an outcome; it is recorded with the next claim, or by :meth:`flush_due`."""
        with self._lock:
            self._append(finish)

    def record(self, finish: Finish) -> Code:
        """Record an outcome now, and return the store's answer to it. Where that is WRONG_STATE or
        TOO_LARGE, nothing is recorded, and the claim is still held.
        """
        with self._lock:
            self._append(finish)
            return self._advance(()).finishes[-1]

    def take_held(self, task: str) -> Held | None:
        """The claim on a task that was claimed ahead; from now on the task is running."""
        with self._lock:
            self._taken_at = time.monotonic()
            return self._held.pop(task, None)

    def release(self, task: str, token: str) -> None:
        """Give a claim back, with the next call: nothing was done with it."""
        with self._lock:
            self._released.append((task, token))

    def refuse(self, refused: Refused) -> None:
        """Report, with the next call, that this worker cannot run something."""
        with self._lock:
            self._refused.append(refused)

    def claim(
        self, requests: Sequence[ClaimRequest], meanwhile: Callable[[], object] | None = None
    ) -> ClaimReply:
        """Record the outcomes and claim tasks; returns the reply to the first claim. Other granted
        claims are held. ``meanwhile`` may be called while Redis works.
        """
        with self._lock:
            replies = self._advance(requests, meanwhile=meanwhile).claims
            for request, reply in zip(requests[1:], replies[1:], strict=True):
                if reply.code == Code.GRANTED:
                    self._held[request.task] = Held(request.token, reply, request.start)
            self._taken_at = time.monotonic()
            return replies[0]

    def flush_due(self) -> None:
        """Record the outcomes if the oldest has waited long enough, or if they are large."""
        is_old = time.monotonic() - self._oldest >= FLUSH_SECONDS
        if self._finishes and (is_old or self._bytes > LARGE_BYTES):
            with self._lock:
                self._advance(())

    def end(self, unstarted: Sequence[str]) -> None:
        """Record what is left, and end the batch."""
        self._over.set()
        with self._lock:
            self._give_back()
            self._advance((), ending=True, unstarted=unstarted)
            if self._keeper is not None:
                self._keeper.let_go()

    def save(self, error: BaseException) -> None:
        """The batch ends with an error: keep its outcomes nevertheless."""
        self._over.set()
        with self._lock:
            if self._finishes and self._keeper is None and self._make_keeper is not None:
                self._keeper = self._make_keeper()
            if self._keeper is not None:
                self._keeper.keep(self._finishes, f"{type(error).__name__}: {error}")
                self._keeper.let_go()

    def watch(self) -> None:
        """From now on let no outcome wait behind a task that takes longer than expected: a thread
        then records them, and gives back the claims behind that task.
        """
        if self._flusher is None:
            self._flusher = threading.Thread(
                target=self._flush_in_time, name="distflow-flush", daemon=True
            )
            self._flusher.start()

    def _flush_in_time(self) -> None:
        while not self._over.wait(FLUSH_SECONDS):
            with self._lock:
                # The first task of a group has nothing to record before it, and may be long, too.
                since = self._oldest if self._finishes else self._taken_at
                late = time.monotonic() - since >= HELD_SECONDS
                waits = self._finishes or self._held
                if not waits or not late or self._over.is_set():
                    continue
                self._give_back()
                try:
                    self._advance((), once=True)
                except (DistflowError, RedisError) as error:
                    # The batch's own thread tries again, and reports a failure.
                    _log.debug("batch %s: not flushed: %s", self._batch, error)

    def _append(self, finish: Finish) -> None:
        if not self._finishes:
            self._oldest = time.monotonic()
        self._finishes.append(finish)
        self._bytes += len(finish.packed)

    def _give_back(self) -> None:
        self._released += [(task, held.token) for task, held in self._held.items()]
        self._held.clear()

    def _advance(
        self,
        requests: Sequence[ClaimRequest],
        *,
        ending: bool = False,
        unstarted: Sequence[str] = (),
        meanwhile: Callable[[], object] | None = None,
        once: bool = False,
    ) -> Advance:
        """Everything sent is kept until the reply: a call that fails is repeated as a whole."""
        todo = [meanwhile] if meanwhile else []

        def call() -> Advance:
            return self._store.advance(
                self._epoch,
                self._batch,
                self._finishes,
                requests,
                released=self._released,
                ending=ending,
                unstarted=unstarted,
                refused=self._refused,
                by=self._facts,
                records=self._records,
                meanwhile=todo.pop() if todo else None,
            )

        advanced = self._insist(call, once=once)
        for finish, code in zip(self._finishes, advanced.finishes, strict=True):
            if code == Code.GONE:
                self._give_up(finish)
            elif code not in _ANSWERED:
                _log.warning(
                    "task %s attempt %d: its outcome %s came too late and is kept in the "
                    "history: %s",
                    finish.task,
                    finish.attempt,
                    finish.status,
                    code.name,
                )
        self._finishes, self._bytes = [], 0
        self._released, self._refused = [], []
        return advanced

    def _give_up(self, finish: Finish) -> None:
        """The run no longer exists. If Redis has forgotten it, it may come back."""
        gone = self._store.explain_gone()
        what = f"task {finish.task} attempt {finish.attempt}: its outcome {finish.status}"
        if not isinstance(gone, RunForgotten) or self._make_keeper is None:
            _log.warning("%s is dropped: %s", what, gone)
            return
        self._keeper = self._keeper or self._make_keeper()
        self._keeper.keep([finish], str(gone))

    def _insist(self, call: Callable[[], Advance], *, once: bool) -> Advance:
        if self._keeper is None:
            try:
                return call()
            except RedisUnavailable as error:
                if self._make_keeper is None:
                    raise
                self._keeper = self._make_keeper()
                self._keeper.keep(self._finishes, str(error))
        return self._keeper.tell(self._finishes, call, once=once)
