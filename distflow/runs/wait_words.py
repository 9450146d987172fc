"""The words for a wait: on ``status``, on ``show``, and while a run is watched."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from distflow.core.status import RunStatus
from distflow.core.waits import UNMET, Wait, WaitKind
from distflow.text import counted, span
from distflow.wire.as_json import iso_time

#: The advice for a run at rest, by its status.
_REST_ADVICE = {
    RunStatus.PAUSED: "it is paused: resume it",
    RunStatus.INTERRUPTED: "it was interrupted: resume it",
    RunStatus.BLOCKED: "resume it",
}


def wanted_words(wait: Wait, now: float) -> str:
    """What ``status`` shows after "waits for"; empty for a wait that it shows elsewhere. Parts that
    belong together have a line each. ``now`` is Unix seconds.
    """
    match wait.kind:
        case WaitKind.WORKER if wait.needs:
            return (
                f"a worker of queue {wait.on!r} with {wait.needs}, as its coordinator\n{wait.why}"
            )
        case WaitKind.WORKER:
            return f"a worker: tasks wait and nobody listens to queue {wait.on!r}"
        case WaitKind.MISFIT:
            what = f"a worker of queue {wait.on!r} that can run {wait.needs}"
            return f"{what}: none of those there has {wait.why}"
        case WaitKind.SUSPENDED:
            return "its workers: they are suspended"
        case WaitKind.FROZEN:
            since = span(max(0.0, now - (wait.since or now)))
            return (
                f"{wait.task}: worker {wait.on}, frozen for {since} inside it: wake it or kill it"
            )
        case WaitKind.DECISION if wait.is_asked:
            where = f", which {wait.why} is asking" if wait.why else ""
            return f"the verify hook of {wait.task}{where}; or a decision"
        case WaitKind.DECISION if not wait.why:
            return f"a decision on {wait.task}"
        case _:
            return ""


def timed_words(wait: Wait, now: float) -> str:
    """When the next attempt at a task starts, as ``status`` shows it."""
    why = f", {wait.why}" if wait.why else ""
    left = span(max(0.0, (wait.until or now) - now))
    return f"{wait.task}: {wait.on} in {left}{why}"


def advice_of(wait: Wait) -> str:
    """Why to type the command that ends the wait."""
    match wait.kind:
        case WaitKind.SUBMIT:
            return "its submit has not finished; if that was cut off, remove the run"
        case WaitKind.LEADER if wait.on == RunStatus.CANCELLING:
            return "nobody carries out the cancellation"
        case WaitKind.LEADER:
            return "nobody coordinates it: resume it"
        case WaitKind.PAUSED if wait.needs:
            return "once that is decided, resume it"
        case WaitKind.PAUSED:
            return _REST_ADVICE[RunStatus(wait.on)]
        case _:
            return wait.why


def task_words(waits: Sequence[Wait], run_id: str) -> tuple[str, str] | None:
    """The label and the text of ``show`` for what a task waits for; None if ``show`` has it
    elsewhere, or the task waits for nothing.
    """
    if not waits:
        return None
    first = waits[0]
    match first.kind:
        case WaitKind.TIME:
            why = f", {UNMET}" if first.why == UNMET else ""
            return "waits", f"for {first.on} at {iso_time(first.until)}{why}"
        case WaitKind.DEPENDENCY | WaitKind.CHILDREN:
            names = [wait.on for wait in waits if wait.kind == WaitKind.DEPENDENCY]
            nodes = [wait.on for wait in waits if wait.kind == WaitKind.CHILDREN]
            return "waits for", ", ".join([*names, *(f"the children of {node}" for node in nodes)])
        case WaitKind.WORKER:
            return "waits for", f"a worker of queue {first.on!r}"
        case WaitKind.CONCURRENCY:
            batches = counted(int(first.on), "batch", "batches")
            return "waits for", f"one of {batches} at work: the run has concurrency={first.on}"
        case WaitKind.LEADER | WaitKind.PAUSED | WaitKind.SUBMIT:
            does = "resumes" if first.kind == WaitKind.PAUSED else "leads"
            return "waits for", f"somebody who {does} the run: see `distflow status {run_id}`"
        case _:
            return None


def stall_words(waits: Sequence[Wait], counts: Mapping[str, int], end: str) -> str:
    """Why nothing moves in a run: see :func:`~distflow.core.waits.stall_waits`; ``end`` is the
    command that fixes it.
    """
    if not waits:
        return ""
    first = waits[0]
    match first.kind:
        case WaitKind.SUSPENDED:
            return f"the workers are suspended: resume them with `{end}`"
        case WaitKind.BUSY:
            return "the workers on its queues are busy with other work"
        case WaitKind.TIME:
            one = counts["waiting"] == 1
            whose = "waits until its" if one else "wait until their"
            return f"{counted(counts['waiting'], 'task')} {whose} next attempt is due"
        case WaitKind.MISFIT:
            what = f"no worker on queue {first.on!r} can run {first.needs}"
        case _ if first.needs:
            what = "; ".join(wanted_words(first, 0.0).splitlines())
        case _:
            names = ", ".join(repr(wait.on) for wait in waits)
            what = f"{'queue' if len(waits) == 1 else 'queues'} {names} "
            what += "has no workers" if len(waits) == 1 else "have no workers"
    return f"{what}: start one with `{end}`"
