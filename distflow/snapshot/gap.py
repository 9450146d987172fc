"""What may have happened in a run after its snapshot was taken: the gap."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal

from distflow.core.claim import Progress
from distflow.core.model import TaskResult
from distflow.core.status import REOPENED, TaskStatus
from distflow.errors import InvalidInput
from distflow.text import counted
from distflow.wire.codec import decode_result, encode_result

#: What becomes of ``at_most_once`` tasks that a snapshot has as not started and whose run went on:
#: they are unknown, they run, or the snapshot is refused.
Gap = Literal["unknown", "run", "refuse"]

GAPS: Final = ("unknown", "run", "refuse")

#: Names that a message has.
_SHOWN_NAMES = 3

_RUNNING = "it was running when its run was exported: nobody here knows how it ended"
_MAY_HAVE_STARTED = (
    "its run went on after the export: nobody here knows whether it has started, and how it ended"
)


def may_start(packed: bytes | None) -> bool:
    """Whether an ``at_most_once`` task with this outcome may start, in this run or another."""
    if packed is None:
        return True
    result = decode_result(packed, opaque=True)
    return result.status in REOPENED and not result.started


def given_up(known: Progress) -> tuple[bytes, Progress]:
    """What an ``at_most_once`` task is elsewhere that had started; ``known`` is of its attempt."""
    return _unknown(_RUNNING, known)


def may_have_started(packed: bytes | None, known: Progress | None) -> tuple[bytes, Progress]:
    """What an ``at_most_once`` task is elsewhere that had not started, if its run went on.

    Args:
        packed: its outcome then, encoded: a failure that may be run again, say.
        known: its progress then.
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
    """Why a snapshot of a run that went on is refused."""
    what = counted(count, "task")
    return (
        f"the run went on after its snapshot, and {what} that may run at most once may have "
        "started since: end that run and export it again, or take them as unknown by --gap unknown"
    )


def gap_warning(count: int, first: str) -> str:
    """What was made of a gap."""
    more = f" and {count - 1} more" if count > 1 else ""
    comes = "come" if count > 1 else "comes"
    return (
        f"the run went on after its snapshot, so that task {first!r}{more} {comes} in as unknown: "
        "find out what became of it and decide, or say --gap run (gap=) where the run stood still"
    )


def without_warning(names: Sequence[str]) -> str:
    """What was left out although it had started."""
    return f"{said_names(names)} had started, may run at most once, and runs again: as you said"


def stale_warning(names: Sequence[str], mend: str) -> str:
    """What stays although what it rests on was left out. ``mend`` is how it is left out as well,
    with ``{}`` for its name.
    """
    are, rests = ("is", "it rests") if len(names) == 1 else ("are", "they rest")
    return (
        f"{said_names(names)} {are} kept, although what {rests} on runs again: "
        f"{mend.format(names[0])}"
    )


def check_gap(gap: str) -> None:
    """Refuse what is no way to take a gap.

    Raises:
        InvalidInput: it is none.
    """
    if gap not in GAPS:
        raise InvalidInput(f"gap is one of {', '.join(GAPS)}, not {gap!r}")
