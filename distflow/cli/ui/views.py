"""How runs and tasks look to a person: plain lines of at most the terminal's width."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import TextIO

from distflow.cli.ui.common import Line, Painted, next_command, quote_word
from distflow.core.misfit import name_worker, wanted_of
from distflow.core.picture import COUNTED
from distflow.core.run import UNKNOWN, Refusal, RunInfo, ServerFacts
from distflow.core.status import RESTING_RUNS
from distflow.core.tally import Tally
from distflow.core.waits import Wait
from distflow.runs.documents import done_count
from distflow.runs.outlook import Outlook, Step, next_steps, step_of
from distflow.runs.survey import Survey
from distflow.runs.tallies import outermost
from distflow.runs.wait_words import timed_words, wanted_words
from distflow.text import one_line, span

#: Statuses of runs and tasks with a colour of their own.
_COLOURS: Mapping[str, str] = {
    "success": "green",
    "failure": "red",
    "cancelled": "yellow",
    "unknown": "magenta",
    "blocked": "magenta",
    "running": "blue",
    "waiting": "yellow",
    "paused": "yellow",
    "interrupted": "yellow",
}

#: Refusals that are listed; the others are counted.
_SHOWN_MISFITS = 10

#: Growing nodes that are listed.
_SHOWN_NODES = 10

#: Columns of the label before the text of a line.
_LABEL = 11

#: More columns than any line has.
_UNCUT = sys.maxsize


def painted(before: str, status: str, after: str = "", *, width: int = 0) -> Painted:
    """A line with a status in its colour, padded to a width."""
    return Painted(before, status.ljust(width), after, _COLOURS.get(status))


def columns(to: TextIO | None = None) -> int:
    """The width of the terminal; for a file or a pipe, so many that nothing is cut.

    ``to`` is the stream; by default stdout.
    """
    if not is_terminal(to or sys.stdout):
        return _UNCUT
    return max(40, shutil.get_terminal_size().columns)


def is_terminal(stream: TextIO) -> bool:
    """Whether a person reads a stream live."""
    return stream.isatty()


def clip(text: str, width: int) -> str:
    """The text in one line of at most ``width`` columns, with ``…`` where it was cut."""
    joined = one_line(text)
    return joined if len(joined) <= width else joined[: max(0, width - 1)] + "…"


def line(label: str, text: str, *, whole: bool = False) -> str:
    """A label and its text, clipped to the terminal unless ``whole``: text to copy stays whole."""
    return label.ljust(_LABEL) + (text if whole else clip(text, columns() - _LABEL))


def block(label: str, text: str) -> Iterator[str]:
    """A label and the lines of a text, unclipped, below each other."""
    for number, part in enumerate(text.splitlines() or [""]):
        yield ("" if number else label).ljust(_LABEL) + part


def counts_text(info: RunInfo) -> str:
    """``12/20 done: 10 success, 2 failure, 3 running, 5 pending``."""
    some = [f"{info.counts[name]} {name}" for name in COUNTED if info.counts[name]]
    if info.pending:
        some.append(f"{info.pending} pending")
    return f"{done_count(info)}/{info.total} done" + (f": {', '.join(some)}" if some else "")


def status_lines(
    info: RunInfo,
    survey: Survey,
    outlook: Outlook,
    waits: Sequence[Wait],
    again: str,
    tallies: Sequence[Tally] = (),
) -> Iterator[Line]:
    """The compact view of ``distflow status``.

    Args:
        info: the run.
        survey: its tasks to name.
        outlook: what can become of it.
        waits: what it waits for.
        again: the command that continues the run.
        tallies: how far the children of growing nodes are.
    """
    said = info.reason if info.reason != info.status else None
    reason = " " + clip(f"({said})", columns() - 24) if said else ""
    yield line("run", info.run_id, whole=True)
    yield line("workflow", info.workflow)
    if info.params:
        yield line("params", ", ".join(f"{name}={info.params[name]!r}" for name in info.params))
    yield painted("status".ljust(_LABEL), info.status, reason)
    yield line("tasks", counts_text(info))
    yield from _tally_lines(tallies)
    yield line("time", _times(info))
    yield line("led by", info.coordinator or "nobody")
    yield line("durability", _durability(info.server))
    if info.repairs:
        repairs = (f"{count} {kind}" for kind, count in info.repairs.items())
        yield line("repairs", ", ".join(repairs))
    yield from _task_lines(info, survey)
    yield from _misfit_lines(survey.refused)
    yield from _wait_lines(info, waits)
    for step in next_steps(info, outlook):
        yield line("next", step.why)
        yield line("", again if step.is_resume else step_command(step), whole=True)


def step_command(step: Step) -> str:
    """What to type, with the choices, on the same server as this command."""
    if step.program != "distflow":
        return str(step)
    before = f"env {quote_word(step.needs)} " if step.needs else ""
    return f"{before}{next_command(*step.words)} {step.choices}".rstrip()


def _durability(server: ServerFacts) -> str:
    """``aof-always, on redis 7.0.15``, and warnings about its settings."""
    on = "" if server.redis_version == UNKNOWN else f", on {server.redis_version}"
    if server.maxmemory_policy == UNKNOWN:
        return f"{server.durability}{on}: it hides its settings (CONFIG is refused)"
    evicts = server.maxmemory_policy != "noeviction"
    return f"{server.durability}{on}{f', and {server.maxmemory_policy}' if evicts else ''}"


def _times(info: RunInfo) -> str:
    text = f"created {span(info.as_of - info.created_at)} ago"
    if info.started_at is not None:
        seconds = info.run_seconds or 0.0
        text += f", {'ran for' if info.status in RESTING_RUNS else 'runs for'} {span(seconds)}"
    return text


def _tally_lines(tallies: Sequence[Tally]) -> Iterator[str]:
    """A line per growing node, however many children it has; those that have all ended last."""
    shown = sorted(outermost(tallies), key=lambda tally: tally.done == tally.children)
    for tally in shown[:_SHOWN_NODES]:
        yield line(tally.kind, f"{tally.node}: {tally.words}")
    more = len(shown) - _SHOWN_NODES
    if more > 0:
        yield line("", f"and {more} more: see --json")


def _task_lines(info: RunInfo, survey: Survey) -> Iterator[str]:
    for running in survey.running:
        worker = f" on {running.worker}" if running.worker else ""
        attempt = f", attempt {running.attempt}" if running.attempt > 1 else ""
        yield line("running", f"{running.name}: {span(running.seconds)}{worker}{attempt}")
    yield from _more("running", len(survey.running), info.counts["running"])
    for waiting in survey.waiting:
        yield line("waiting", timed_words(waiting, info.as_of))
    if survey.waiting:
        yield from _more("waiting", len(survey.waiting), info.counts["waiting"])
    for label, found, total in (
        ("failure", survey.failed, info.counts["failure"] - survey.tolerated_count),
        ("tolerated", survey.tolerated, survey.tolerated_count),
        ("unknown", survey.unknown, info.counts["unknown"]),
    ):
        for task in found:
            yield line(label, f"{task.name}: {task.why}" if task.why else task.name)
        yield from _more(label, len(found), total)


def _misfit_lines(refused: Sequence[Refusal]) -> Iterator[str]:
    """Which workers cannot run what, and why."""
    for refusal in refused[:_SHOWN_MISFITS]:
        what = f"cannot run {wanted_of(refusal)}: {refusal.words}"
        yield from block("misfit", f"{name_worker(refusal)}\n{what}")
    more = len(refused) - _SHOWN_MISFITS
    if more > 0:
        yield line("misfit", f"and {more} more: see --json")


def _more(label: str, shown: int, total: int) -> Iterator[str]:
    if total > shown:
        yield line(label, f"{'and ' if shown else ''}{total - shown} more: see --tasks")


def _wait_lines(info: RunInfo, waits: Sequence[Wait]) -> Iterator[str]:
    """What the run waits for, each wait with the command that ends it."""
    for wait in waits:
        text = wanted_words(wait, info.as_of)
        if not text:
            continue
        # Not cut if it says what a worker must have.
        yield from [line("waits for", text)] if wait.task else block("waits for", text)
        step = step_of(info, wait)
        if step is not None:
            yield line("", step_command(step), whole=True)
