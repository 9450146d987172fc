"""One attempt at a task, after its claim: its steps, in order, and what its outcome means."""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from socket import gethostname

from distflow.core.claim import Finish
from distflow.core.model import Metrics
from distflow.core.outcome import (
    Attempt,
    Decision,
    Outcome,
    decide,
    is_unmet,
    timed_out,
    to_finish,
)
from distflow.core.status import TaskStatus
from distflow.errors import NotEncodable
from distflow.wire.codec import encode_result
from distflow_worker.alarm import DeadlinePassed
from distflow_worker.finish_buffer import Held
from distflow_worker.steps import (
    Act,
    AttemptRecord,
    Step,
    ask_condition,
    call,
    context_scope,
    fill_inputs,
    function_scope,
    import_function,
    import_hooks,
    make_context,
    note_process,
    raised_outcome,
    read_body,
    simulate,
    start,
)
from distflow_worker.user_functions import Misfit, load_function, summarise

#: The steps before the start: what is missing here, another worker may have.
BEFORE_START = (
    Step(import_function, function_scope),
    Step(read_body),
    Step(import_hooks),
    Step(make_context, context_scope),
    Step(note_process),
    Step(ask_condition),
    Step(fill_inputs),
)

#: The steps from the start mark to the outcome of the call.
FROM_START: tuple[Act, ...] = (start, simulate, call)


class AttemptRun(AttemptRecord):
    """An attempt at a task."""

    def prepare(self) -> None:
        """Read the body ahead of the claim, for a function that is already imported. A failure will
        happen again, and be reported, when the task runs.
        """
        with self.view.original, suppress(Exception):
            self.read_body()
            self.is_warm = not (self.task.condition or self.task.loop)

    def take(self, held: Held) -> None:
        """Take over the granted claim."""
        self.token, self.claim, self.started = held

    def run(self) -> Outcome:
        """Run the task, and return its outcome; :meth:`finish` decides what it means.

        Raises:
            ClaimVoid: the claim was lost before the function was called.
            Misfit: something that is needed before the start is missing here; nothing was called.
        """
        try:
            with self.view.original:
                return self._prepare_call() or self.ask_loop(self._call(), self.view.deadline)
        finally:
            if self.view.state is not None:
                self.view.state.restore()

    def _prepare_call(self) -> Outcome | None:
        step = BEFORE_START[0]
        try:
            for step in BEFORE_START:
                outcome = step.act(self)
                if outcome is not None:
                    return outcome
        except Misfit as misfit:
            misfit.scope = misfit.scope or step.scope(self)
            raise
        except BaseException as error:  # noqa: BLE001 - the user's imports and condition raise anything
            # Frames below the step's own are the user's code, or what the step has called.
            trace = error.__traceback__ and error.__traceback__.tb_next
            return raised_outcome(error.with_traceback(trace))._replace(permanent=True)
        return None

    def _call(self) -> Outcome:
        for act in FROM_START:
            outcome = act(self)
            if outcome is not None:
                return outcome
        raise AssertionError("the last step has an outcome")

    def ask_loop(
        self,
        outcome: Outcome,
        deadline: Callable[[float | None], AbstractContextManager[object]],
    ) -> Outcome:
        """The outcome, with the answer of its loop's ``until`` if that has to be asked.

        An ``until`` that takes too long counts as no answer; one that raises ends the loop with
        that failure.
        """
        loop, context, self.looking = self.task.loop, self.looking, None
        if loop is None or loop.sees == "data" or context is None:
            return outcome
        decision = self._decide(outcome._replace(met=True))
        if decision.kind == "wait" or not is_unmet(self.task, outcome):
            return outcome
        try:
            with deadline(self.task.timeout), self.view.original:
                met = load_function(loop.until)(context, decision.result)
            return outcome._replace(met=bool(met))
        except DeadlinePassed:
            return timed_out(self.task.timeout or 0.0)
        except BaseException as error:  # noqa: BLE001 - the user's code raises anything
            return raised_outcome(error)._replace(met=True, timed_out=outcome.timed_out)

    def _decide(self, outcome: Outcome) -> Decision:
        claim = self.claim
        at = Attempt(claim.attempt, claim.iteration, claim.base, claim.lost, self.started)
        metrics = None
        if self.started_at is not None:
            duration = self.ended_at - self.started_at
            metrics = Metrics(self.started_at, self.ended_at, duration)
        where = {"worker": self.view.worker, "host": gethostname()}
        return decide(self.task, at, outcome, metrics=metrics, roll=random.random(), **where)

    def finish(self, outcome: Outcome) -> Finish:
        """Decide what the outcome means, and encode it.

        Raises:
            NotEncodable: not even the failure can be encoded: the task has broken the encoding in
                this process.
        """
        decision = self._decide(outcome)
        try:
            packed = self._encode(decision)
        except NotEncodable as error:
            # It ran, but its data cannot be encoded: a retry would give the same.
            said = str(error), summarise(error)
            outcome = Outcome(TaskStatus.FAILURE, None, *said, permanent=True)
            decision = self._decide(outcome)
            packed = self._encode(decision)
        growth = None
        if self.made is not None and decision.result.status == TaskStatus.SUCCESS:
            growth = self.made.growth
        return to_finish(decision, self.task, self.token, packed, growth)

    def _encode(self, decision: Decision) -> bytes:
        try:
            with self.view.original:
                return encode_result(decision.result, self.view.max_result_bytes)
        except NotEncodable:
            raise
        except Exception as strange:
            # The data's own methods may raise anything.
            raise NotEncodable(f"data: encoding it raised {summarise(strange)}") from strange
