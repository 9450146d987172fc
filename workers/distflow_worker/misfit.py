"""Misfit: this worker cannot run a task, since something is missing that comes before its start.

Another worker may have it: the task was not begun, and is given back.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable
from typing import Any

from distflow.core.claim import Refused
from distflow_worker.functions import load_function

#: Characters of an error that are told, and of a traceback: the end of that says what it was.
_MOST_WORDS = 500
_MOST_TRACE = 8000

#: What makes a worker a misfit: anything that an import raises. A module may end the interpreter.
MISSING = (Exception, SystemExit)


class Misfit(Exception):
    """Something that a task needs before its start cannot be had here.

    Args:
        what: could not be had.
        error: why not.
        scope: of which tasks that is true, see :func:`~distflow.core.claim.scope_of`; empty where
            only who asked for it knows.
    """

    def __init__(self, what: str, error: BaseException, scope: str = "") -> None:
        super().__init__(f"{what}: {summarise(error)}")
        self.what = what
        self.words = _sendable(summarise(error))[:_MOST_WORDS]
        self.trace = _sendable(trace_of(error) or "")[-_MOST_TRACE:]
        self.scope = scope

    def to_refused(self, task: str, token: str) -> Refused:
        """What is told of a task that this worker cannot run; ``token`` is that of its claim."""
        return Refused(task, token, self.scope, self.what, self.words, self.trace)


def require_function(reference: str, scope: str = "") -> Callable[..., Any]:
    """As :func:`load_function`.

    Raises:
        Misfit: this worker cannot import it.
    """
    try:
        return load_function(reference)
    except MISSING as error:
        raise Misfit(reference, error, scope) from error


def _sendable(text: str) -> str:
    """Text that UTF-8 can say."""
    return text.encode("utf-8", "backslashreplace").decode()


def summarise(error: BaseException) -> str:
    """``Type: message``, of an exception of the user's code, whatever its own methods do."""
    return f"{type(error).__name__}: {message_of(error)}"


def message_of(error: BaseException) -> str:
    """What an exception says of itself, if it can."""
    try:
        return str(error)
    except BaseException as another:  # noqa: BLE001 - it is the user's own method
        return f"<its __str__ raised {type(another).__name__}>"


def trace_of(error: BaseException) -> str | None:
    """The traceback without its first frame, which is the caller's own."""
    trace = error.__traceback__.tb_next if error.__traceback__ else None
    try:
        return "".join(traceback.format_exception(type(error), error, trace))
    except BaseException:  # noqa: BLE001 - an exception that cannot be printed is one all the same
        return None
