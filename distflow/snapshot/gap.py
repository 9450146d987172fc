"""The gap: what may have happened in a run after its snapshot was taken."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal

from distflow.core.claim import Progress
from distflow.core.model import Task, TaskResult
from distflow.core.status import REOPENED, TaskStatus
from distflow.errors import InvalidInput
from distflow.text import counted
from distflow.wire.codec import decode_result, encode_result

#: What becomes of ``at_most_once`` tasks that had not started in a snapshot, if its run continued:
#: they become unknown, they run, or the snapshot is refused.
Gap = Literal["unknown", "run", "refuse"]

GAPS: Final = ("unknown", "run", "refuse")

#: Names in a message.
_SHOWN_NAMES = 3

_RUNNING = "it was running when its run was exported: how it ended is not known here"
_MAY_HAVE_STARTED = (
    "its run continued after the export: whether it started, and how it ended, is not known here"
)


def may_start(packed: bytes | None) -> bool:
    """Whether an ``at_most_once`` task with this outcome may start, in this run or another."""
    if packed is None:
        return True
    result = decode_result(packed, opaque=True)
    return result.status in REOPENED and not result.started


def may_add_once(task: Task) -> bool:
    """Whether a growing node may add tasks that run at most once: of a plan nobody can tell."""
    if task.grow is None:
        return False
    child = task.grow.child
    return child is None or child.effects == "at_most_once" or child.grow is not None


def given_up(known: Progress) -> tuple[bytes, Progress]:
    """The outcome elsewhere of an ``at_most_once`` task that had started; ``known`` is the progress
    of its attempt.
    """
    return _unknown(_RUNNING, known)


def may_have_started(packed: bytes | None, known: Progress | None) -> tuple[bytes, Progress]:
    """The outcome elsewhere of an ``at_most_once`` task that had not started, if its run continued.

    Args:
        packed: its encoded outcome at that time, such as a failure that may run again.
        known: its progress at that time.
    """
    before = 0 if packed is None else decode_result(packed, opaque=True).attempt
    attempt = max(before + 1, known.attempt if known else 1)
    return _unknown(_MAY_HAVE_STARTED, (known or Progress())._replace(attempt=attempt))


def _unknown(message: str, known: Progress) -> tuple[bytes, Progress]:
    result = TaskResult(TaskStatus.UNKNOWN, message=message, attempt=known.attempt, started=True)
    after = known._replace(attempt=known.attempt + 1, not_before=0, token="", started=True)
    return encode_result(result), after


def said_names(names: Sequence[str]) -> str:
    """``task 'a'``, ``tasks 'a', 'b'``, ``tasks 'a', 'b', 'c' and 4 more``."""
    shown = ", ".join(map(repr, names[:_SHOWN_NAMES]))
    more = f" and {len(names) - _SHOWN_NAMES} more" if len(names) > _SHOWN_NAMES else ""
    return f"task{'s' if len(names) > 1 else ''} {shown}{more}"


def gap_refusal(count: int) -> str:
    """Why the snapshot of a run that continued is refused."""
    what = counted(count, "task")
    return (
        f"the run continued after its snapshot, and {what} that may run at most once may have "
        "started since: end that run and export it again, or take them as unknown with "
        "--gap unknown"
    )


def gap_warning(count: int, first: str) -> str:
    """What became of the tasks of a gap."""
    more = f" and {count - 1} more" if count > 1 else ""
    comes = "come" if count > 1 else "comes"
    return (
        f"the run continued after its snapshot, so task {first!r}{more} {comes} in as unknown: "
        "find out what became of it and decide, or use --gap run (gap=) if that run stood still"
    )


def without_warning(names: Sequence[str]) -> str:
    """Names tasks that are left out although they had started."""
    return f"{said_names(names)} had started, may run at most once, and runs again, as requested"


def stale_warning(names: Sequence[str], mend: str) -> str:
    """Names outcomes that stay although what they rest on was left out. ``mend`` says how to leave
    them out as well, with ``{}`` for the name.
    """
    are, rests = ("is", "it rests") if len(names) == 1 else ("are", "they rest")
    return (
        f"{said_names(names)} {are} kept, although what {rests} on runs again: "
        f"{mend.format(names[0])}"
    )


def check_gap(gap: str) -> None:
    """Check the choice for a gap.

    Raises:
        InvalidInput: it is none.
    """
    if gap not in GAPS:
        raise InvalidInput(f"gap must be one of {', '.join(GAPS)}, not {gap!r}")
