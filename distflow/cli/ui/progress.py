"""Live progress of one run on stderr: a bar on a terminal, a few plain lines elsewhere."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from types import TracebackType
from typing import NamedTuple, Protocol, Self

from click.exceptions import Exit
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from distflow.cli.ui.common import interrupted_code, say
from distflow.cli.ui.views import clip
from distflow.core.picture import COUNTED
from distflow.core.tally import Tally
from distflow.events.notice import Interrupt
from distflow.text import counted, one_line, span

#: Running tasks that a terminal shows.
_SHOWN_RUNNING = 6

#: Seconds between two counts in plain text, and until it repeats one that did not change.
_PLAIN_SECONDS = 5.0
_PLAIN_STILL_SECONDS = 60.0

#: Seconds between two lines while a run is being created.
_WRITING_SECONDS = 2.0

#: Seconds between two drawings on a terminal.
_DRAW_SECONDS = 0.2

_COLOURS = {
    "failure": "red",
    "unknown": "magenta",
    "retry": "yellow",
    "repair": "yellow",
    "warning": "yellow",
}


class View(NamedTuple):
    """What a display shows of a run at one moment."""

    #: Tasks by outcome, plus ``running``, ``queued``, ``waiting`` and ``pending``: every task once.
    counts: Mapping[str, int]
    #: Running tasks, with the seconds since a worker claimed them.
    running: Mapping[str, float]
    #: What the run waits for if nothing moves.
    waits_for: str = ""
    #: Growing nodes whose children have not all ended.
    tallies: Sequence[Tally] = ()

    @property
    def total(self) -> int:
        """Tasks that the run has at that moment: it may get more."""
        return sum(self.counts.values())

    @property
    def done(self) -> int:
        """Tasks with a final outcome."""
        return sum(self.counts[name] for name in ("success", "failure", "skipped", "cancelled"))


def counts_text(counts: Mapping[str, int]) -> str:
    """``10 success, 2 failure, 3 running, 5 pending``."""
    return ", ".join(f"{counts[name]} {name}" for name in (*COUNTED, "pending") if counts[name])


class Display(Protocol):
    """Shows what happens to a run that a command leads or follows; a context manager."""

    def note(self, text: str) -> None:
        """Print a line now, above what is drawn; its first word may have a colour."""

    def update(self, view: View) -> None:
        """Show where the run stands; calls that come too often are skipped."""

    def __enter__(self) -> Self:
        """Begin to draw."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Leave the terminal as it was, with the notes on it."""


def open_display() -> Display:
    """A live display if stderr is a terminal that can move its cursor, else plain lines."""
    if sys.stderr.isatty() and os.environ.get("TERM", "dumb") != "dumb":
        return TerminalDisplay(Console(stderr=True, highlight=False))
    return PlainDisplay()


class WritingProgress:
    """Shows how far the creation of a large run is, and ends it once interrupted.

    Args:
        interrupt: set once the user has asked to stop.
    """

    def __init__(self, interrupt: Interrupt) -> None:
        self._interrupt = interrupt
        self._told_at = time.monotonic()

    def __call__(self, written: int, total: int) -> None:
        """Print a line if it is time for one; once interrupted, end the command."""
        if self._interrupt.is_set():
            say("interrupted: no run was created")
            raise Exit(interrupted_code(self._interrupt))
        now = time.monotonic()
        if now - self._told_at >= _WRITING_SECONDS:
            self._told_at = now
            tasks, are = counted(total, "task"), "is" if total == 1 else "are"
            say(f"{written:,} of {tasks} {are} written" if written else f"{tasks} {are} checked")


class PlainDisplay:
    """Notes at once, and the counts every few seconds while they change."""

    def __init__(self) -> None:
        self._began = self._told_at = time.monotonic()
        self._told = ""
        self._waits_for = ""

    def note(self, text: str) -> None:
        """One line."""
        say(one_line(text))

    def update(self, view: View) -> None:
        """Print the counts if it is time for a line, and at once what the run waits for."""
        if view.waits_for != self._waits_for:
            self._waits_for = view.waits_for
            if view.waits_for:
                self.note(f"waits: {view.waits_for}")
        now = time.monotonic()
        text = f"{view.done}/{view.total} done: {counts_text(view.counts)}"
        text += "".join(f"; {tally.node} {tally.words}" for tally in view.tallies)
        pause = _PLAIN_STILL_SECONDS if text == self._told else _PLAIN_SECONDS
        if now - self._told_at >= pause:
            self._told, self._told_at = text, now
            self.note(f"{span(now - self._began)}: {text}")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Nothing is drawn that must be removed."""


class TerminalDisplay:
    """A bar with the counts and the tasks at work, redrawn in place; notes scroll above it."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._began = time.monotonic()
        self._drawn_at = 0.0
        # Drawn by `update` only: a drawing thread would interleave with the caller's output.
        self._live = Live(console=console, auto_refresh=False, transient=True)

    def note(self, text: str) -> None:
        """One line above the bar."""
        line = Text(one_line(text))
        word = text.split(maxsplit=1)[0].rstrip(":")
        line.stylize(_COLOURS.get(word, ""), 0, len(word))
        with suppress(OSError):
            self._console.print(line)

    def update(self, view: View) -> None:
        """Draw, unless it was drawn just now."""
        now = time.monotonic()
        if now - self._drawn_at >= _DRAW_SECONDS:
            self._drawn_at = now
            # The run survives its terminal.
            with suppress(OSError):
                self._live.update(self._picture(view), refresh=True)

    def _picture(self, view: View) -> RenderableType:
        width = self._console.width
        bar = Table.grid(padding=(0, 1), expand=True)
        bar.add_column(ratio=1)
        bar.add_column(no_wrap=True)
        bar.add_row(
            ProgressBar(total=max(1, view.total), completed=view.done),
            f"{view.done}/{view.total}  {_clock(time.monotonic() - self._began)}",
        )
        lines = [clip("  " + counts_text(view.counts), width)]
        lines += [clip(f"{tally.node} {tally.words}", width) for tally in view.tallies]
        longest = sorted(view.running.items(), key=lambda item: -item[1])
        for name, seconds in longest[:_SHOWN_RUNNING]:
            lines.append(f"  {clip(name, width - 14):{width - 14}} {span(seconds):>9}")
        if len(longest) > _SHOWN_RUNNING:
            lines.append(f"  and {len(longest) - _SHOWN_RUNNING} more")
        # Not clipped: it ends with a command to copy.
        waits = [Text(one_line(f"waits: {view.waits_for}"), "yellow")] if view.waits_for else []
        return Group(bar, *(Text(line, no_wrap=True, overflow="crop") for line in lines), *waits)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with suppress(OSError):
            self._live.stop()


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}"
