"""The lines about a run: events worth a line, what a resume does, how the run ended."""

from __future__ import annotations

import sys
import textwrap
from collections import Counter
from collections.abc import Iterator, Sequence

from distflow.cli.ui.common import next_command
from distflow.cli.ui.progress import Display, counts_text
from distflow.cli.ui.views import clip, columns, is_terminal, step_command
from distflow.cli.ui.waits import go_on_command
from distflow.core.picture import ResumePlan, info_counts
from distflow.core.plan import PlanItem
from distflow.core.run import RunInfo
from distflow.core.status import ACTIVE_RUNS, RunStatus, TaskStatus
from distflow.errors import Incomplete
from distflow.events.notice import Notice
from distflow.ports.run_store import RunStore
from distflow.runs.outlook import CHOICES, decide_step, next_steps, read_outlook
from distflow.runs.returned import read_returned
from distflow.runs.run import Run
from distflow.runs.survey import FoundTask, survey_run, why_of
from distflow.text import counted, one_line, span
from distflow.wire.as_json import json_text, to_plain
from distflow.wire.codec import decode_result

#: Lines of each kind that are printed while a run is running; the counts show the rest.
_MOST_LINES = 50

#: Characters of an error on a terminal: `show` has the rest.
_LONGEST_WHY = 200

#: Characters of a result, where no terminal is narrower.
_LONGEST_RESULT = 1000

#: Names in each of the last lines.
_SHOWN_NAMES = 10


class Narrator:
    """Prints failures, unknown tasks, retries and repairs as they come.

    Args:
        store: the run, from which errors are read.
        display: prints the lines.
    """

    def __init__(self, store: RunStore, display: Display) -> None:
        self._store = store
        self._display = display
        self._told: Counter[str] = Counter()

    def tell(self, notices: Sequence[Notice]) -> None:
        """Print what is worth a line."""
        chosen = [(kind, notice) for notice in notices if (kind := self._kind(notice))]
        ended = [notice.task for kind, notice in chosen if kind in ("failure", "unknown")]
        whys = dict(zip(ended, self._store.read_results(ended), strict=True))
        for kind, notice in chosen:
            packed = whys.get(notice.task)
            why = why_of(decode_result(packed, opaque=True, task=notice.task)) if packed else ""
            self._display.note(f"{kind}: {_describe(kind, notice, why)}")
            if self._told[kind] == _MOST_LINES:
                self._display.note(f"{kind}: further ones are only counted")

    def _kind(self, notice: Notice) -> str:
        """The first word of the line; empty if the notice is not worth one."""
        kind = ""
        if notice.kind in ("repair", "warning"):
            kind = notice.kind
        elif notice.kind == "task_unknown":
            kind = "unknown"
        elif notice.kind == "task_resolved":
            kind = "resolved"
        # Before a loop's next iteration the status is success.
        elif notice.kind == "task_retry" and notice.status == "failure":
            kind = "retry"
        elif notice.kind == "task_end" and notice.status == "failure":
            kind = "failure"
        if kind:
            self._told[kind] += 1
        return kind if self._told[kind] <= _MOST_LINES else ""


def _shortened(text: str) -> str:
    """The text cut to what a terminal shows well; whole for a file or a pipe."""
    return clip(text, _LONGEST_WHY) if is_terminal(sys.stderr) else one_line(text)


def _describe(kind: str, notice: Notice, why: str) -> str:
    if kind in ("repair", "warning"):
        return notice.message
    if kind == "resolved":
        said = _shortened(notice.message)
        again = "it runs again" if notice.status == "ready" else notice.status
        return f"{notice.task}: {again}, {said}"
    attempt = f" (attempt {notice.attempt})" if notice.attempt > 1 else ""
    if kind == "retry":
        said = f": {_shortened(notice.message)}" if notice.message else ""
        return f"{notice.task}: attempt {notice.attempt} failed{said}"
    return f"{notice.task}{attempt}" + (f": {_shortened(why)}" if why else "")


def resume_lines(run: Run, resume: ResumePlan) -> Iterator[str]:
    """What a resume is about to do, according to its plan."""
    graph, plan = resume
    actions = Counter(item.action for item in plan)
    done = sum(item.seen == "success" for item in plan)
    again = Counter(item.seen for item in plan if item.action == "again")
    parts = [f"{counted(done, 'success', 'successes')} kept"]
    if again:
        former = ", ".join(f"{count} {status}" for status, count in sorted(again.items()))
        parts.append(f"{actions['again']} evaluated again ({former})")
    tolerated = sum(item.is_rested_on for item in plan)
    stay = actions["keep"] - done - tolerated
    if stay:
        parts.append(f"{stay} at-most-once {'failure' if stay == 1 else 'failures'} kept")
    if tolerated:
        parts.append(f"{counted(tolerated, 'tolerated failure')} kept for running tasks")
    if actions["adopt"]:
        parts.append(f"{actions['adopt']} at work")
    if actions["run"]:
        parts.append(f"{actions['run']} not run yet")
    yield f"resume {run.run_id}: {', '.join(parts)}"
    held = [graph.tasks[item.task] for item in reversed(plan) if item.action == "hold"]
    asked = [task.name for task in held if task.verify is not None]
    left = [task.name for task in held if task.verify is None]
    if asked:
        yield f"unknown: {_names(asked, len(asked))}: asking the verify hook"
    if left:
        words = next_command("resolve", run.run_id, *left[:_SHOWN_NAMES])
        yield f"unknown: {_names(left, len(left))}: waiting for a decision: {words} {CHOICES}"
    ends = [graph.tasks[item.task].name for item in reversed(plan) if _stays(item)]
    if ends:
        words = next_command("resolve", run.run_id, *ends[:_SHOWN_NAMES])
        what = f"failed, and runs at most once: {_names(ends, len(ends))}"
        yield f"{what}: a decision can change that: {words} {CHOICES}"
    context = run.info().options.context
    if context:
        kept = counted(done, "kept success", "kept successes")
        yield f"context: workers rebuild it with {context}; what {kept} did to it is not repeated"


def outcome_lines(run: Run, info: RunInfo, again: str | None = None) -> Iterator[str]:
    """How the run stands at the end of a command, and what to type next.

    Args:
        run: the run.
        info: the run, read just now.
        again: the command that continues the run; None finds it.
    """
    reason = f" ({info.reason})" if info.reason and info.reason != info.status else ""
    counts = counts_text(info_counts(info)) or "no tasks"
    # The time of the run, whoever led it; not of this command.
    ran = "" if info.run_seconds is None else f" after {span(info.run_seconds)}"
    yield f"run {info.run_id}: {info.status}{reason}{ran}: {counts}"
    survey = survey_run(run.store, info, limit=_SHOWN_NAMES)
    unknown, tolerated = info.counts["unknown"], survey.tolerated_count
    failed = info.counts["failure"] - tolerated
    if survey.failed:
        yield from _wrapped(f"failed: {_names(_task_names(survey.failed), failed)}")
    if survey.tolerated:
        yield from _wrapped(f"tolerated: {_names(_task_names(survey.tolerated), tolerated)}")
    if survey.unknown:
        yield from _wrapped(f"unknown: {_names(_task_names(survey.unknown), unknown)}")
        step = decide_step(info.run_id, [survey.unknown[0].name], "")
        yield f"find out what happened, then: {step_command(step)}"
    elif survey.failed:
        yield f"see why: {next_command('show', info.run_id, survey.failed[0].name)}"
    if info.status == RunStatus.SUCCESS and info.returns is not None:
        yield clip(f"result: {_result_text(run.store, info)}", min(columns(), _LONGEST_RESULT))
    if info.coordinator is not None and info.status in ACTIVE_RUNS:
        watch = next_command("watch", info.run_id)
        yield f"{info.coordinator} leads it now; watch it: {watch}"
        return
    if info.status in ACTIVE_RUNS and run.engine.backend.coordinators():
        yield f"a coordinator will lead it: {next_command('watch', info.run_id)}"
        return
    for step in next_steps(info, read_outlook(run.store, info, survey)):
        if step.is_resume:
            yield f"continue: {again or go_on_command(info, run.engine.impatient)}"
        else:
            yield f"{step.why}: {step_command(step)}"


def _result_text(store: RunStore, info: RunInfo) -> str:
    """What the workflow returned, as JSON."""
    try:
        return json_text(to_plain(read_returned(store, info, opaque=True)))
    except Incomplete as error:
        return str(error)


def _stays(item: PlanItem) -> bool:
    """Whether only a decision can change its outcome."""
    stands = item.action == "keep" and item.seen != TaskStatus.SUCCESS
    return stands and not item.is_rested_on


def _wrapped(text: str) -> list[str]:
    """Broken between names to the width of the terminal."""
    return textwrap.wrap(
        one_line(text),
        columns(),
        break_long_words=False,
        break_on_hyphens=False,
        subsequent_indent="  ",
    )


def _task_names(found: Sequence[FoundTask]) -> list[str]:
    return [task.name for task in found]


def _names(names: Sequence[str], total: int) -> str:
    shown = ", ".join(names[:_SHOWN_NAMES])
    rest = total - min(len(names), _SHOWN_NAMES)
    return f"{shown} and {rest} more" if rest > 0 else shown
