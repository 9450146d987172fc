"""Verification: asks the verify hook of an unknown task what became of it.

A work horse imports this only for such a task: others need not pay for it.
"""

from __future__ import annotations

from typing import Any

from distflow.core.claim import Unknown, scope_of
from distflow.core.model import Task, TaskResult
from distflow.core.resolution import Resolution, retry_progress
from distflow.core.verdict import Verdict, decide_answer
from distflow.errors import NotDone, NotEncodable, RunNotFound, WrongState
from distflow.ids import new_token
from distflow.logs import get_logger
from distflow.wire.codec import decode_result, decode_task, encode_result, unpack
from distflow_worker.alarm import DeadlinePassed
from distflow_worker.context import RunView, SavedNote, task_context
from distflow_worker.user_functions import MISSING, Misfit, require_function, summarise

_log = get_logger("distflow.worker")

#: Characters of a note that are kept: it stays in the history for ever.
_NOTE_CHARS = 2000


class Verification:
    """One question: the hook is called as ``hook(key, ctx)``, and its answer decides the task.

    Args:
        view: the run and the process.
        name: of the task.
        body: the encoded task.
    """

    def __init__(self, view: RunView, name: str, body: bytes) -> None:
        self._view = view
        self._body = body
        self.task = Task(name=name, function="")
        self._who = f"verify on {view.worker}"
        #: The same for all retries of the decision, whose reply may be lost.
        self._operation = new_token()
        self._unknown: Unknown | None = None

    def run(self) -> None:
        """Ask, and record the answer; does nothing if somebody has decided meanwhile.

        Raises:
            Misfit: the hook cannot be loaded here, so nobody was asked.
        """
        self._unknown = self._view.store.fetch_unknown(self.task.name)
        if self._unknown is None:
            _log.info("task %s is not unknown any more", self.task.name)
            return
        about = decode_result(self._unknown.packed, opaque=True)
        try:
            with self._view.original:
                answer = self._ask(about)
                verdict = decide_answer(about, self._unknown.lost, answer, who=self._who)
        except DeadlinePassed:
            verdict = self._late(self.task.timeout)
        except Misfit as misfit:
            hook = self.task.verify
            misfit.scope = scope_of("verify", hook) if hook else scope_of("task", self.task.name)
            raise
        except BaseException as error:  # noqa: BLE001 - a hook may raise anything, SystemExit too
            verdict = Verdict("undecided", f"it raised {summarise(error)}")
        self._tell(verdict)

    def time_out(self, seconds: float) -> None:
        """Record, on behalf of a hook that cannot be interrupted, that it takes too long."""
        if self._unknown is None:
            # Another process was asking it.
            self._unknown = self._view.store.fetch_unknown(self.task.name)
        self._tell(self._late(seconds))

    def _ask(self, about: TaskResult) -> Any:
        # Imported first, since it may register types that are in the task, its note or its inputs.
        require_function(unpack(self._body, opaque=True)["function"])
        try:
            self.task = task = decode_task(unpack(self._body))
        except MISSING as error:
            raise Misfit(f"the arguments of {self.task.name}", error) from error
        if task.verify is None:
            return None
        hook = require_function(task.verify)
        note = SavedNote(self._view.store, task.name)
        fetch = self._view.store.fetch_results
        context = task_context(self._view, task, about.attempt, 1, note, fetch)
        state = self._view.state
        if state is not None:
            state.note()
        try:
            # A copy of the process ends before the deadline block does, since both have the same
            # guardian.
            with self._view.deadline(task.timeout), self._view.original:
                return hook(context.key, context)
        except NotDone as error:
            return error
        finally:
            if state is not None:
                state.restore()

    def _late(self, seconds: float | None) -> Verdict:
        return Verdict("undecided", f"it took longer than the task's timeout of {seconds or 0:g} s")

    def _encode(self, verdict: Verdict) -> tuple[Verdict, bytes]:
        """The verdict with its encoded result; undecided if that cannot be encoded."""
        if verdict.result is None:
            return verdict, b""
        try:
            return verdict, encode_result(verdict.result, self._view.max_result_bytes)
        except NotEncodable as error:
            why = str(error)
        except Exception as error:  # noqa: BLE001 - the data's own methods may raise anything
            why = summarise(error)
        return Verdict("undecided", f"what it returned cannot be stored: {why}"), b""

    def _tell(self, verdict: Verdict) -> None:
        if self._unknown is None:
            return
        with self._view.original:
            verdict, packed = self._encode(verdict)
        note = verdict.note[:_NOTE_CHARS].encode(errors="backslashreplace").decode()
        again = None
        if verdict.decision == "retry":
            again = retry_progress(self._unknown.last, self._operation, by_hook=True)
        resolution = Resolution(self.task.name, packed, self._unknown.packed, again)
        try:
            status = self._view.store.resolve_task(
                self._operation, verdict.decision, resolution, self._who, note
            )
            _log.info("task %s is %s: its verify hook says that %s", self.task.name, status, note)
        except (WrongState, RunNotFound) as error:
            _log.info("the answer of a verify hook came too late: %s", error)
