"""The user's functions, found by ``"pkg.module:name"``."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import cache
from importlib import import_module
from typing import Any

from distflow import config
from distflow.places import find_other_copy, place_of

#: What refuses functions: few workers are told which they may import.
_ALLOW_LIST = "distflow_worker.allow_list"


@cache
def load_function(reference: str) -> Callable[..., Any]:
    """Import a function.

    Raises:
        NotAllowed: ``DISTFLOW_ALLOW`` is set and does not allow it.
        ImportError: the module or the name in it cannot be found.
        TypeError: what is found there cannot be called.
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
    # A decorator above @task may have copied what that has: it is no task for that.
    is_task = getattr(type(found), "__distflow_task__", False)
    # What @task made wraps it, and would only lengthen every traceback.
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
        # Some functions written in C do not tell.
        return False


@cache
def wants_snapshot(reference: str) -> bool:
    """Whether a context factory has a second parameter for the run's results: it is named
    ``snapshot``, or it must be given.
    """
    try:
        parameters = list(inspect.signature(load_function(reference)).parameters.values())
    except ValueError:
        return False
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    if len(positional) < 2:  # noqa: PLR2004 - said in the docstring
        return False
    return positional[1].name == "snapshot" or positional[1].default is inspect.Parameter.empty
