"""One run in the foreground: led on a thread, or followed, while the main thread draws."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from queue import Empty, SimpleQueue

from redis.exceptions import RedisError

from distflow.cli.ui.common import (
    ExitCode,
    exit_code_of,
    interrupted_code,
    next_command,
    print_json,
    say,
)
from distflow.cli.ui.narration import Narrator, outcome_lines, resume_lines
from distflow.cli.ui.progress import Display, View, counts_of_info, counts_of_state, open_display
from distflow.cli.ui.waits import Stall, describe_wait
from distflow.coordinator.executor import WorkflowExecutor
from distflow.core.status import ENDED_RUNS, RESTING_RUNS, RunStatus, TaskStatus
from distflow.errors import LeaseHeld, RedisUnavailable, StaleEpoch
from distflow.events.notice import Interrupt, Notice
from distflow.events.translation import Translator
from distflow.runs.documents import status_document
from distflow.runs.run import Run

#: Seconds between two looks at the thread that leads.
_TICK_SECONDS = 0.1

#: Seconds between two looks at a run that another leads.
_FOLLOW_SECONDS = 0.5

#: Statuses that a coordinator leaves when it stops: it releases its lease right after.
_LEFT = ENDED_RUNS | {RunStatus.INTERRUPTED}

#: What a first Ctrl-C does.
_INTERRUPTED = "interrupted: what runs may end by itself"

_OPEN = frozenset({TaskStatus.READY, TaskStatus.QUEUED})


def see_through(
    run: Run,
    interrupt: Interrupt,
    *,
    reopen: bool,
    force: bool = False,
    as_json: bool = False,
    tend: Callable[[], object] = lambda: None,
    again: str | None = None,
) -> ExitCode:
    """Lead or follow a run until it stands still, tell how it stands, and answer with that.

    The arguments are those of :class:`Foreground` and :meth:`Foreground.finish`; ``as_json``
    prints the status document on stdout at the end.
    """
    with open_display() as display:
        foreground = Foreground(run, display, interrupt, tend=tend, again=again)
        foreground.finish(reopen=reopen, force=force)
    info = run.info()
    for line in outcome_lines(run, info, again):
        say(line)
    if as_json:
        print_json(status_document(info))
    if interrupt.is_set() and info.status not in RESTING_RUNS:
        return interrupted_code(interrupt)
    return exit_code_of(info.status)


class Foreground:
    """Sees one run through while a person watches.

    Args:
        run: it.
        display: where its progress goes.
        interrupt: see :func:`~distflow.cli.ui.interrupts.interruptible`.
        tend: called several times a second on the caller's thread, which must be the main one.
        again: the command that goes on with the run; None is ``distflow resume``.
    """

    def __init__(
        self,
        run: Run,
        display: Display,
        interrupt: Interrupt,
        *,
        tend: Callable[[], object] = lambda: None,
        again: str | None = None,
    ) -> None:
        self._run = run
        self._display = display
        self._interrupt = interrupt
        self._tend = tend
        self._again = again
        self._teller = Narrator(run.store, display)
        self._stall = Stall()
        self._said_interrupted = False

    def finish(self, *, reopen: bool, force: bool = False) -> RunStatus:
        """Lead the run until it stands still, or follow whoever does and take over from the dead.

        Args:
            reopen: a person resumes: what is not success is evaluated again.
            force: take the run over from one who leads it.

        Returns:
            Its status; an active one where following was interrupted.

        Raises:
            RedisUnavailable: for longer than a coordinator is patient.
            RunGone: it was deleted.
        """
        while True:
            try:
                return self._lead(reopen=reopen, force=force)
            except LeaseHeld:
                info = self._run.info()
                if info.status in _LEFT:
                    if not reopen or self._interrupt.is_set():
                        return info.status
                    # Its coordinator is on its way out, or died there.
                    time.sleep(_TICK_SECONDS)
                    continue
                if reopen and self._run.unpause():
                    self._display.note("it was paused: it goes on")
                self._display.note(f"led by {info.coordinator or 'another'}: following it")
            except StaleEpoch:
                self._display.note("another has taken the run over, or decided in it: following it")
            except (RedisError, RedisUnavailable) as error:
                again = self._again or next_command("resume", self._run.run_id)
                what = str(error).rstrip(".")
                raise RedisUnavailable(f"{what}; once it is back, go on by `{again}`") from error
            force = False
            status = self.follow()
            if status is not None:
                return status
            self._display.note("its coordinator is gone: taking the run over")
            # What a person has cancelled stays so, whoever carries it out.
            reopen = reopen and self._run.status() != RunStatus.CANCELLING

    def _lead(self, *, reopen: bool, force: bool) -> RunStatus:
        notices: SimpleQueue[Notice] = SimpleQueue()
        executor = self._run.executor(listener=notices.put, interrupt=self._interrupt)
        ended: list[RunStatus | BaseException] = []

        def lead() -> None:
            try:
                ended.append(executor.lead(reopen=reopen, force=force))
            except BaseException as error:  # noqa: BLE001 - the main thread raises it
                ended.append(error)

        thread = threading.Thread(target=lead, name="distflow-lead", daemon=True)
        thread.start()
        while thread.is_alive():
            thread.join(_TICK_SECONDS)
            self._step(executor, notices)
        self._step(executor, notices)
        if isinstance(ended[0], BaseException):
            raise ended[0]
        return ended[0]

    def _step(self, executor: WorkflowExecutor, notices: SimpleQueue[Notice]) -> None:
        """Tell and draw what is new, on the main thread."""
        self._tend()
        self._note_interrupt()
        fresh: list[Notice] = []
        with suppress(Empty):
            while True:
                fresh.append(notices.get_nowait())
        if executor.plan and any(notice.kind == "workflow_start" for notice in fresh):
            for line in resume_lines(self._run, executor):
                self._display.note(line)
        self._teller.tell(fresh)
        graph, state = executor.graph, executor.state
        if graph is None or state is None:
            return
        counts = counts_of_state(state)
        now = time.monotonic()
        running = {name: now - since for name, since in executor.running.copy().items()}
        waits_for = ""
        if self._stall.is_due(counts):
            queues = {
                task.queue
                for task, status in zip(graph.tasks, state.statuses, strict=True)
                if status in _OPEN
            }
            self._stall.answer = describe_wait(
                self._run.client, self._run.run_id, counts, queues, leading=True
            )
        waits_for = self._stall.answer
        self._display.update(View(counts, running, waits_for))

    def follow(self) -> RunStatus | None:
        """Watch a run that another leads, without touching it.

        Returns:
            Its status where it stands still, or where the watching was interrupted; None where
            nobody leads it although it should go on.
        """
        store = self._run.store
        last = store.last_event_id()
        info = self._run.info()
        # No line tells of a start: the graph need not be read for it.
        translator = Translator(store, lambda: info.as_of, lambda _task: False)
        while True:
            info = self._run.info()
            events = store.read_events(last)
            if events:
                last = events[-1].id
            self._teller.tell([told for event in events for told in translator.notices_of(event)])
            if info.status in _LEFT or self._interrupt.is_set():
                return info.status
            if info.coordinator is None:
                return info.status if info.status in RESTING_RUNS else None
            counts = counts_of_info(info)
            if self._stall.is_due(counts):
                self._stall.answer = describe_wait(
                    self._run.client, info.run_id, counts, info.queues, leading=False
                )
            running = {
                name: max(0.0, info.as_of - claim.claimed / 1000)
                for name, claim in store.read_claims().items()
            }
            self._display.update(View(counts, running, self._stall.answer))
            self._pause(_FOLLOW_SECONDS)

    def _pause(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and not self._interrupt.is_set():
            self._tend()
            time.sleep(_TICK_SECONDS)

    def _note_interrupt(self) -> None:
        if self._interrupt.is_set() and not self._said_interrupted:
            self._said_interrupted = True
            what = "handing the run over" if self._interrupt.hands_over else _INTERRUPTED
            self._display.note(f"{what}; again ends this at once")
