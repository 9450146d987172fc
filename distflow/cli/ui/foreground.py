"""One run in the foreground: a session on a thread, while the main thread draws what it reports."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import TypeVar

from distflow.cli.ui.aside import run_aside
from distflow.cli.ui.common import (
    ExitCode,
    exit_code_of,
    interrupted_code,
    next_command,
    print_json,
    say,
)
from distflow.cli.ui.narration import Narrator, outcome_lines, resume_lines
from distflow.cli.ui.progress import Display, View, open_display
from distflow.cli.ui.waits import Stall, describe_wait
from distflow.core.picture import Picture, ResumePlan
from distflow.core.status import RESTING_RUNS, RunStatus
from distflow.errors import RedisDenied, RedisUnavailable
from distflow.events.notice import Interrupt, Notice
from distflow.runs.documents import status_document
from distflow.runs.returned import returned_document
from distflow.runs.run import Run
from distflow.runs.session import Turn, Watcher

_T = TypeVar("_T")

#: Seconds between two looks at what the session reports.
_TICK_SECONDS = 0.1

#: The words for each turn of the session.
_TURNS = {
    "unpauses": "it was paused: unpausing it",
    "follows": "led by {by}: following it",
    "superseded": "somebody else took the run over, or decided a task of it: following it",
    "takes_over": "its coordinator is gone: taking the run over",
}

#: What the first Ctrl-C does.
_INTERRUPTED = "interrupted: letting running tasks finish"


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
    """Lead or follow a run until it stands still, print how it stands, and return the exit code.

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
        print_json({**status_document(info), "result": returned_document(run.store, info)})
    if interrupt.is_set() and info.status not in RESTING_RUNS:
        return interrupted_code(interrupt)
    return exit_code_of(info.status)


class Foreground:
    """Leads or follows one run while a person watches.

    Args:
        run: the run.
        display: shows its progress.
        interrupt: see :func:`~distflow.cli.ui.interrupts.interruptible`.
        tend: called several times a second on the caller's thread, which must be the main one.
        again: the command that continues the run; None for ``distflow resume``.
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
        self._narrator = Narrator(run.store, display)
        self._stall = Stall()
        self._told = _Told()
        self._session = run.session(self._told, interrupt=interrupt)
        self._is_leading = False
        self._said_interrupted = False

    def finish(self, *, reopen: bool, force: bool = False) -> RunStatus:
        """Lead the run until it stands still, or follow its coordinator and take over if that dies:
        see :meth:`Session.finish`.

        Raises:
            RedisUnavailable: Redis was away for longer than a coordinator waits.
            RunGone: the run was deleted.
        """
        self._is_leading = True
        try:
            with self._run.engine.backend.translate_errors():
                return self._see(lambda: self._session.finish(reopen=reopen, force=force))
        except (RedisUnavailable, RedisDenied) as error:
            again = self._again or next_command("resume", self._run.run_id)
            what = str(error).rstrip(".")
            kind = RedisDenied if isinstance(error, RedisDenied) else RedisUnavailable
            raise kind(f"{what}; once it is back, continue with `{again}`") from error

    def follow(self) -> RunStatus | None:
        """Watch a run that somebody else leads, without changing it: see :meth:`Session.follow`."""
        return self._see(self._session.follow)

    def _see(self, call: Callable[[], _T]) -> _T:
        return run_aside(call, "distflow-lead", step=self._step, step_seconds=_TICK_SECONDS)

    def _step(self) -> None:
        """Print and draw what is new."""
        self._tend()
        self._tell(self._told.take())
        self._note_interrupt()
        picture = self._told.picture
        if picture is not None:
            self._draw(picture)

    def _tell(self, fresh: list[Notice | Turn | ResumePlan]) -> None:
        notices: list[Notice] = []
        for each in fresh:
            if isinstance(each, Notice):
                notices.append(each)
                continue
            self._narrator.tell(notices)
            notices = []
            if isinstance(each, ResumePlan):
                for line in resume_lines(self._run, each):
                    self._display.note(line)
            else:
                self._is_leading = each.kind == "takes_over"
                self._display.note(_TURNS[each.kind].format(by=each.by or "another"))
        self._narrator.tell(notices)

    def _draw(self, picture: Picture) -> None:
        counts, queues = picture.counts, picture.queues
        if self._stall.is_due(counts):
            # The next picture has them.
            self._told.wants_queues = True
        if self._told.wants_queues and queues is not None:
            self._told.wants_queues = False
            self._stall.answer = describe_wait(
                self._run.engine.impatient,
                self._run.run_id,
                counts,
                queues,
                leading=self._is_leading,
            )
        view = View(counts, picture.running, self._stall.answer, picture.tallies)
        self._display.update(view)

    def _note_interrupt(self) -> None:
        if self._is_leading and self._interrupt.is_set() and not self._said_interrupted:
            self._said_interrupted = True
            what = "handing the run over" if self._interrupt.hands_over else _INTERRUPTED
            self._display.note(f"{what}; a second signal exits at once")


class _Told(Watcher):
    """Keeps what the session reports until the main thread takes it."""

    # Starts are not printed.
    hears_starts = False
    wants_pictures = True

    def __init__(self) -> None:
        self.wants_queues = False
        self._fresh: SimpleQueue[Notice | Turn | ResumePlan] = SimpleQueue()
        #: The newest one.
        self.picture: Picture | None = None

    def hear(self, notice: Notice) -> None:
        """Something happened."""
        self._fresh.put(notice)

    def turn(self, turn: Turn) -> None:
        """The session takes a turn."""
        self._fresh.put(turn)

    def begin(self, plan: ResumePlan) -> None:
        """A resume is about to do this."""
        self._fresh.put(plan)

    def see(self, picture: Picture) -> None:
        """The run looks like this now."""
        self.picture = picture

    def take(self) -> list[Notice | Turn | ResumePlan]:
        """What is new since the last call."""
        fresh: list[Notice | Turn | ResumePlan] = []
        with suppress(Empty):
            while True:
                fresh.append(self._fresh.get_nowait())
        return fresh
