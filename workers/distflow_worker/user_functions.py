"""Loads the user's functions by ``"pkg.module:name"``, and describes what a worker lacks."""

from __future__ import annotations

import inspect
import traceback
from collections.abc import Callable
from functools import cache
from importlib import import_module
from typing import Any

from distflow import config
from distflow.core.claim import Refused
from distflow.places import find_other_copy, place_of

#: Refuses functions: few workers restrict what they import.
_ALLOW_LIST = "distflow_worker.allow_list"

#: Characters of an error that are reported, and of a traceback, from its end.
_MOST_WORDS = 500
_MOST_TRACE = 8000

#: What makes a worker a misfit: anything that an import raises. A module may call ``sys.exit``.
MISSING = (Exception, SystemExit)


@cache
def load_function(reference: str) -> Callable[..., Any]:
    """Import a function.

    Raises:
        NotAllowed: ``DISTFLOW_ALLOW`` is set and does not allow it.
        ImportError: the module or the name in it cannot be found.
        TypeError: what was found there cannot be called.
        Exception: whatever the module's own code raises.
    """
    allow_list = None if config.allowed_functions() is None else import_module(_ALLOW_LIST)
    if allow_list is not None:
        allow_list.check_reference(reference)
    module_name, _, path = reference.partition(":")
    found: Any = import_module(module_name)
    other = find_other_copy(module_name)
    if other:
        raise ImportError(f"module {module_name!r}: {other}")
    place = place_of(found)
    for name in path.split("."):
        try:
            found = getattr(found, name)
        except AttributeError:
            raise ImportError(f"module {module_name!r} ({place}) has no {path!r}") from None
    if not callable(found):
        kind = type(found).__name__
        raise TypeError(f"{reference!r} ({place}) is a {kind}, not a function")
    # A decorator above @task may have copied its attributes: that does not make it a task.
    is_task = getattr(type(found), "__distflow_task__", False)
    # The wrapper of @task would only lengthen every traceback.
    function: Callable[..., Any] = found.__distflow_function__ if is_task else found
    if allow_list is not None:
        allow_list.check_home(reference, function, is_task=is_task)
    return function


@cache
def wants_context(reference: str) -> bool:
    """Whether a function has a parameter named ``ctx``."""
    try:
        return "ctx" in inspect.signature(load_function(reference)).parameters
    except ValueError:
        # Some functions written in C have no signature.
        return False


@cache
def wants_snapshot(reference: str) -> bool:
    """Whether a context factory takes the run's results as a second parameter: it is named
    ``snapshot``, or has no default.
    """
    try:
        parameters = list(inspect.signature(load_function(reference)).parameters.values())
    except ValueError:
        return False
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    if len(positional) < 2:  # noqa: PLR2004 - said in the docstring
        return False
    return positional[1].name == "snapshot" or positional[1].default is inspect.Parameter.empty


class Misfit(Exception):
    """Something that a task needs before its start is missing here. Another worker may have it: the
    task was not begun, and is given back.

    Args:
        what: is missing.
        error: why.
        scope: which tasks need it, see :func:`~distflow.core.claim.scope_of`; empty if only the
            caller knows.
    """

    def __init__(self, what: str, error: BaseException, scope: str = "") -> None:
        super().__init__(f"{what}: {summarise(error)}")
        self.what = what
        self.words = _sendable(summarise(error))[:_MOST_WORDS]
        self.trace = _sendable(trace_of(error) or "")[-_MOST_TRACE:]
        self.scope = scope

    def to_refused(self, task: str, token: str) -> Refused:
        """The report of a task that this worker cannot run; ``token`` is that of its claim."""
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
    """Text that can be encoded as UTF-8."""
    return text.encode("utf-8", "backslashreplace").decode()


def summarise(error: BaseException) -> str:
    """``Type: message`` of an exception from the user's code, whatever its own methods do."""
    return f"{type(error).__name__}: {message_of(error)}"


def message_of(error: BaseException) -> str:
    """The message of an exception, if it can be made."""
    try:
        return str(error)
    except BaseException as another:  # noqa: BLE001 - it is the user's own method
        return f"<its __str__ raised {type(another).__name__}>"


def trace_of(error: BaseException) -> str | None:
    """The traceback without its first frame, which is the caller's own."""
    trace = error.__traceback__.tb_next if error.__traceback__ else None
    try:
        return "".join(traceback.format_exception(type(error), error, trace))
    except BaseException:  # noqa: BLE001 - an exception that cannot be printed is still one
        return None
