"""BatchSequence: runs the tasks of a batch in sequence, with one round trip between two."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING

from distflow.core.claim import ClaimRequest, Code, scope_of
from distflow.core.pacing import count_group, has_worked_long, is_grouped, is_short
from distflow.ids import new_token
from distflow.logs import get_logger
from distflow.wire.batch_payload import BatchPayload, TaskHeader
from distflow_worker.attempt import AttemptRun
from distflow_worker.context import RunView
from distflow_worker.finish_buffer import FinishBuffer, Held
from distflow_worker.inputs import BatchInputs
from distflow_worker.steps import ClaimVoid
from distflow_worker.user_functions import Misfit

if TYPE_CHECKING:
    # The ports import the coordinator's dataclasses: too expensive for every job.
    from distflow.ports.worker import WorkerPort
    from distflow_worker.outcomes import OutcomeKeeper
    from distflow_worker.verify import Verification

_log = get_logger("distflow.worker")

#: Asks verify hooks: few batches do, and every job would pay for the import.
VERIFY = "distflow_worker.verify"

#: Commits what growing nodes have made: likewise.
EXPANDING = "distflow_worker.expanding"

#: Replies after which no more tasks of the batch may run.
_ENDS_BATCH = frozenset({Code.STALE_EPOCH, Code.STOPPED, Code.GONE})


class BatchSequence:
    """Claims, runs and finishes the tasks of a batch that has begun.

    Args:
        store: the run, for claiming and recording.
        view: what attempts need to know about the run and this process.
        payload: the decoded batch payload.
        should_stop: called between two tasks.
        on_attempt: called with the running attempt or verification, and with None between two.
        make_keeper: see :class:`FinishBuffer`.
    """

    def __init__(
        self,
        store: WorkerPort,
        view: RunView,
        payload: BatchPayload,
        *,
        should_stop: Callable[[], bool],
        on_attempt: Callable[[AttemptRun | Verification | None], None],
        make_keeper: Callable[[], OutcomeKeeper] | None = None,
    ) -> None:
        self._view = view
        self._batch = payload.batch
        self._headers = headers = payload.tasks
        #: Run times in ms by function: the coordinator's estimates, then replaced by measurements.
        self._expected = dict(payload.expected)
        self._should_stop = should_stop
        self._on_attempt = on_attempt
        self._buffer = FinishBuffer(
            store,
            payload.epoch,
            payload.batch,
            make_keeper,
            facts=view.facts,
            records=payload.records,
        )
        bodies = [(header.name, header.body) for header in headers]
        self._inputs = BatchInputs(view.store.fetch_results, bodies)
        #: The tasks that this batch has claimed, and the final outcomes of those that it ran.
        self._taken: set[str] = set()
        self._ended: dict[str, str] = {}
        #: Functions that this batch has called.
        self._called: set[str] = set()
        #: An attempt that was prepared while its claim was under way.
        self._next: AttemptRun | None = None
        #: Whether the last task was interrupted by its timeout.
        self._overran = False
        #: When its first task was called, on the monotonic clock: what comes before is setup, not
        #: work.
        self._called_at: float | None = None
        #: What this worker cannot run, by scope: not tried again within the batch.
        self._misfits: dict[str, Misfit] = {}

    @property
    def refusal(self) -> str:
        """What this worker last lacked for a task of the batch; empty if it could run all."""
        return next((str(misfit) for misfit in reversed(self._misfits.values())), "")

    def run(self) -> None:
        """Run every task that can be claimed, and end the batch."""
        try:
            self._buffer.end(self._take_all())
        except BaseException as error:
            self._buffer.save(error)
            raise

    def _take_all(self) -> list[str]:
        """Run all tasks; returns those that were not started."""
        unstarted: list[str] = []
        names = [header.name for header in self._headers]
        for position, header in enumerate(self._headers):
            if self._should_stop():
                unstarted += names[position:]
                break
            if header.verify:
                if not self._verify(header):
                    unstarted.append(header.name)
                continue
            held = self._buffer.take_held(header.name)
            if held is None and self._has_worked_long():
                # Free the worker for the best ready task.
                unstarted += names[position:]
                break
            held = held or self._claim(position)
            code = held.reply.code
            if code in _ENDS_BATCH:
                _log.info("batch %s ends: %s", self._batch, code.name)
                unstarted += names[position:]
                break
            if code != Code.GRANTED:
                if code != Code.DONE:
                    _log.info("task %s left alone: %s", header.name, code.name)
                    unstarted.append(header.name)
            elif self._may_run(header):
                if not self._attempt(position, held):
                    unstarted.append(header.name)
                if self._overran:
                    # What the task left behind may still be running in this process.
                    unstarted += names[position + 1 :]
                    break
            else:
                self._taken.add(header.name)
                self._buffer.release(header.name, held.token)
                unstarted.append(header.name)
        return unstarted

    def _has_worked_long(self) -> bool:
        """Whether the batch has worked for so long that it claims no more tasks."""
        called_at = self._called_at
        return called_at is not None and has_worked_long(time.monotonic() - called_at)

    def _verify(self, header: TaskHeader) -> bool:
        """Ask the hook of an unknown task, which needs no claim. Returns whether the hook could be
        loaded.
        """
        question: Verification = import_module(VERIFY).Verification(
            self._view, header.name, header.body
        )
        self._on_attempt(question)
        try:
            question.run()
        except Misfit as misfit:
            self._refuse(header.name, "", misfit)
            return False
        finally:
            self._on_attempt(None)
        return True

    def _refuse(self, task: str, token: str, misfit: Misfit) -> None:
        """Give back a task that this worker cannot run: nothing of it was called."""
        if misfit.scope not in self._misfits:
            # If there is no other worker, the failure says it.
            level = logging.WARNING if self._view.facts.name else logging.INFO
            _log.log(level, "task %s cannot be run here: %s", task, misfit)
        self._misfits[misfit.scope] = misfit
        self._buffer.refuse(misfit.to_refused(task, token))

    def _claim(self, position: int) -> Held:
        """Record the last outcomes, and claim the next task or group."""
        group = self._group_at(position)
        if len(group) > 1:
            self._buffer.watch()
        # The first claim always adds an event: it shows that the batch has begun, and how long its
        # setup takes.
        tells = position == 0 and len(self._headers) > 1
        requests = [
            self._request(
                header,
                in_group=len(group) > 1,
                quiet=is_short(self._expected.get(header.function)) and not (tells and place == 0),
            )
            for place, header in enumerate(group)
        ]
        prepare = partial(self._prepare, position) if self._knows(group[0]) else None
        reply = self._buffer.claim(requests, prepare)
        return Held(requests[0].token, reply, requests[0].start)

    @staticmethod
    def _request(header: TaskHeader, *, in_group: bool, quiet: bool) -> ClaimRequest:
        # A task with a condition starts only after that said yes. For a quiet task, the event of
        # its end says whether it was called.
        start = header.effects != "at_most_once" and (quiet or not header.asks)
        return ClaimRequest(header.name, new_token(), start, header.needs, in_group, quiet)

    def _knows(self, header: TaskHeader) -> bool:
        """Whether preparing a task is harmless and quick: it imports nothing and needs no
        timeout.
        """
        return header.function in self._called and header.timeout is None

    def _prepare(self, position: int) -> None:
        """Prepare a task while Redis decides on its claim."""
        self._next = AttemptRun(self._view, self._headers[position], self._inputs, position)
        self._next.prepare()

    def _group_at(self, position: int) -> Sequence[TaskHeader]:
        """The task at a position, and those behind it that are claimed together with it."""
        headers = self._headers
        run_times = (self._grouped_ms(headers[i]) for i in range(position, len(headers)))
        return headers[position : position + max(1, count_group(run_times))]

    def _grouped_ms(self, header: TaskHeader) -> float | None:
        """The run time of a task that may be claimed together with others; None for any other."""
        run_ms = self._expected.get(header.function)
        grouped = not header.verify and is_grouped(header.effects, header.timeout, run_ms)
        return run_ms if grouped else None

    def _may_run(self, header: TaskHeader) -> bool:
        """Whether a claimed task may run: one that was claimed ahead depends on tasks that had not
        run yet, and the run may have been cancelled since.
        """
        if self._view.cancelled():
            return False
        for name, tolerated in header.needs:
            status = self._ended.get(name)
            if status == "success" or (tolerated and status == "failure"):
                continue
            # Dependencies outside of this batch were checked by the claim.
            if status is not None or name in self._taken:
                return False
        return True

    def _learn(self, function: str, ms: float) -> None:
        known = self._expected.get(function)
        self._expected[function] = ms if known is None or ms > known else (known + ms) / 2

    def _attempt(self, position: int, held: Held) -> bool:
        """Run a task; returns whether this worker can."""
        header = self._headers[position]
        known = self._misfits.get(scope_of("function", header.function))
        if known is not None:
            self._taken.add(header.name)
            self._refuse(header.name, held.token, known)
            return False
        attempt, self._next = self._next, None
        if attempt is None or attempt.position != position:
            attempt = AttemptRun(self._view, header, self._inputs, position)
        attempt.take(held)
        self._called.add(header.function)
        self._on_attempt(attempt)
        self._taken.add(header.name)
        try:
            outcome = attempt.run()
            self._overran = outcome.timed_out
            finish = attempt.finish(outcome)
            if finish.growth is not None:
                finish = import_module(EXPANDING).commit(attempt, finish, self._buffer.record)
        except ClaimVoid:
            _log.warning("task %s was given to another, and is not run here", header.name)
            return True
        except Misfit as misfit:
            self._refuse(header.name, held.token, misfit)
            return False
        finally:
            self._on_attempt(None)
            if self._called_at is None:
                self._called_at = attempt.called_at or time.monotonic()
        self._learn(header.function, finish.duration * 1000)
        if finish.kind == "final":
            self._ended[finish.task] = finish.status
            self._inputs.note(finish.task, finish.packed)
        if finish.growth is None:
            self._buffer.add(finish)
            self._buffer.flush_due()
        return True
