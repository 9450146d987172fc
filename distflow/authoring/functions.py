"""Functions that workers will import: their paths, and why one cannot be imported."""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from distflow.authoring.imports import did_you_mean, import_module, split_path
from distflow.errors import InvalidInput, WorkflowInvalid
from distflow.places import place_of

_MEND = "make it a function at the top level of a module that workers can import"


def function_path(function: Callable[..., Any] | str, owner: str) -> str:
    """The ``"pkg.module:name"`` under which workers import ``function``.

    Args:
        function: a module-level callable, or its path, which is not imported here.
        owner: what the function is for; errors start with it.

    Raises:
        WorkflowInvalid: workers could not import or run it.
    """
    if isinstance(function, str):
        try:
            module, name = split_path(function)
        except InvalidInput as error:
            raise WorkflowInvalid(f"{owner}: {error}") from None
        if module == "__main__":
            raise _in_main(name, owner)
        return function
    plain = _plain(function, owner)
    module, name = plain.__module__, plain.__qualname__
    if module == "__main__":
        raise _in_main(name, owner)
    found = getattr(sys.modules.get(module), name, None)
    _refuse_above(found, owner, name)
    if found is None or inspect.unwrap(found) is not inspect.unwrap(plain):
        raise WorkflowInvalid(
            f"{owner}: workers would not find {name!r} in module {module!r}, which has "
            f"{'something else' if found else 'nothing'} under that name; {_MEND}"
            + ("; a decorator belongs below @task" if found and _is_task(function) else "")
        )
    return f"{module}:{name}"


def _plain(function: Callable[..., Any], owner: str) -> Callable[..., Any]:
    """Return ``function`` if it can be found by name in its module."""
    if isinstance(function, functools.partial):
        kind = f"a functools.partial of {_name_of(function.func)!r}"
        raise WorkflowInvalid(f"{owner}: {kind} has no name to import it by; {_MEND}")
    if not callable(function):
        raise WorkflowInvalid(
            f"{owner}: {function!r:.60} is neither a function nor a 'pkg.module:name'"
        )
    qualname = getattr(function, "__qualname__", None)
    if not isinstance(qualname, str) or not isinstance(function.__module__, str):
        raise WorkflowInvalid(
            f"{owner}: an instance of {type(function).__name__} has no name to import it by; "
            "give it as 'pkg.module:name'"
        )
    name = _name_of(function)
    if name == "<lambda>":
        raise WorkflowInvalid(f"{owner}: a lambda has no name to import it by; {_MEND}")
    if "<locals>" in qualname:
        outer = qualname.rpartition(".<locals>")[0]
        closure = "closure" if getattr(function, "__closure__", None) else "local function"
        raise WorkflowInvalid(
            f"{owner}: {name!r} is a {closure} of {outer!r}; {_MEND} "
            "(a decorator needs functools.wraps)"
        )
    if "." in qualname or inspect.ismethod(function):
        raise WorkflowInvalid(f"{owner}: {qualname!r} is a method; {_MEND}")
    refuse_deferred(function, owner)
    return function


def _is_task(function: object) -> bool:
    return getattr(type(function), "__distflow_task__", False)


def _refuse_above(found: object, owner: str, name: str) -> None:
    """Refuse a decorator above ``@task``: workers would call the function without it."""
    inner = found
    while inner is not None and not _is_task(inner):
        inner = getattr(inner, "__wrapped__", None)
    if inner is not None and inner is not found:
        raise WorkflowInvalid(
            f"{owner}: {name!r} has a decorator above @task, which workers would leave out: put it "
            "below @task"
        )


def refuse_deferred(function: Callable[..., Any], owner: str) -> None:
    """Refuse functions whose call does not run their body.

    Raises:
        WorkflowInvalid: it is an ``async def`` or a generator function.
    """
    plain = inspect.unwrap(function)
    if inspect.iscoroutinefunction(plain) or inspect.isasyncgenfunction(plain):
        raise WorkflowInvalid(
            f"{owner}: {_name_of(plain)!r} is async; make it a plain function, "
            "which may call asyncio.run"
        )
    if inspect.isgeneratorfunction(plain):
        raise WorkflowInvalid(
            f"{owner}: {_name_of(plain)!r} is a generator function; return a list instead"
        )


def import_function(path: str, owner: str) -> Callable[..., Any]:
    """Import ``"pkg.module:name"``.

    Raises:
        WorkflowInvalid: workers could not import or run it; the message says why.
    """
    module_name, name = split_path(path)
    try:
        module = import_module(module_name)
    except InvalidInput as error:
        raise WorkflowInvalid(f"{owner}: workers cannot import {path!r}: {error}") from error
    function: Any = getattr(module, name, None)
    if function is None:
        known = [key for key, value in vars(module).items() if callable(value)]
        raise WorkflowInvalid(
            f"{owner}: module {module_name!r} ({place_of(module)}) has no function {name!r}"
            f"{did_you_mean(name, known)}"
        )
    if not callable(function):
        raise WorkflowInvalid(
            f"{owner}: {path!r} ({place_of(module)}) is not a function but {function!r:.60}"
        )
    _refuse_above(function, owner, name)
    refuse_deferred(function, owner)
    return function  # type: ignore[no-any-return]


@functools.cache
def takes_context(path: str) -> bool:
    """Whether a function that can be imported has a parameter named ``ctx``."""
    try:
        return "ctx" in inspect.signature(import_function(path, path)).parameters
    except (ValueError, WorkflowInvalid):
        # Some functions written in C have no signature.
        return False


class Signature(NamedTuple):
    """The signature of a task's function without ``ctx``, which workers pass by name."""

    without_ctx: inspect.Signature
    #: How many positional parameters stand before ``ctx``.
    before: int
    #: Names of those that stand after it: their arguments must be passed by name.
    after: tuple[str, ...]


def read_signature(function: Callable[..., Any], owner: str) -> Signature | None:
    """The signature of a task's function; None if Python does not know it (some built-ins).

    Raises:
        WorkflowInvalid: its ``ctx`` cannot be passed by name.
    """
    try:
        signature = inspect.signature(function)
    except ValueError:
        return None
    parameters = list(signature.parameters.values())
    names = [parameter.name for parameter in parameters]
    if "ctx" not in names:
        return Signature(signature, len(names), ())
    at = names.index("ctx")
    ctx = parameters.pop(at)
    later = [p for p in parameters[at:] if p.kind is p.POSITIONAL_OR_KEYWORD]
    varying = any(p.kind is p.VAR_POSITIONAL for p in parameters)
    if ctx.kind is ctx.POSITIONAL_ONLY or (ctx.kind is ctx.POSITIONAL_OR_KEYWORD and varying):
        raise WorkflowInvalid(
            f"{owner}: 'ctx' of {_name_of(function)!r} cannot be passed by name; "
            "make it keyword-only: (…, *, ctx)"
        )
    try:
        without_ctx = signature.replace(parameters=parameters)
    except ValueError:  # only the default of ctx made the order of the others valid
        return None
    return Signature(without_ctx, at, tuple(parameter.name for parameter in later))


class KnownFunctions:
    """What a workflow has found out about its functions: many tasks have the same one."""

    def __init__(self) -> None:
        #: By the ids of functions, which need not be hashable.
        self._paths: dict[int, tuple[object, str]] = {}
        self._signatures: dict[str, Signature | None] = {}

    def path_of(self, function: Callable[..., Any] | str, owner: str) -> str:
        """As :func:`function_path`; a task's function is looked for once."""
        if not _is_task(function):
            return function_path(function, owner)
        plain = function.__distflow_function__  # type: ignore[union-attr]
        found, path = self._paths.get(id(plain), (None, ""))
        if found is not plain:
            path = function_path(function, owner)
            self._paths[id(plain)] = plain, path
        return path

    def signature_of(
        self, function: Callable[..., Any] | str, path: str, owner: str
    ) -> Signature | None:
        """As :func:`read_signature`; of a function given by its path, nothing is known here."""
        if isinstance(function, str):
            return None
        if path not in self._signatures:
            self._signatures[path] = read_signature(function, owner)
        return self._signatures[path]


def bind_arguments(
    signature: Signature, args: Sequence[Any], kwargs: Mapping[str, Any], owner: str
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arguments as workers can pass them together with ``ctx=``.

    Raises:
        WorkflowInvalid: the function does not take these arguments.
    """
    try:
        signature.without_ctx.bind(*args, **kwargs)
    except TypeError as error:
        shown = str(signature.without_ctx)
        raise WorkflowInvalid(f"{owner}: {error}; its function takes {shown}") from None
    if not signature.after:
        return tuple(args), dict(kwargs)
    by_name = dict(zip(signature.after, args[signature.before :], strict=False))
    return tuple(args[: signature.before]), {**by_name, **kwargs}


def check_accepts(function: Callable[..., Any], counts: Sequence[int], owner: str) -> None:
    """Check that ``function`` can be called with one of these numbers of arguments.

    Raises:
        WorkflowInvalid: it cannot.
    """
    try:
        signature = inspect.signature(function)
    except ValueError:
        return
    for count in counts:
        try:
            signature.bind(*range(count))
        except TypeError:
            continue
        return
    wanted = " or ".join(str(count) for count in counts)
    raise WorkflowInvalid(
        f"{owner}: {_name_of(function)}{signature} does not take {wanted} positional "
        f"argument{'' if wanted == '1' else 's'}"
    )


def _name_of(function: Callable[..., Any]) -> str:
    return getattr(function, "__name__", type(function).__name__)


def _in_main(name: str, owner: str) -> WorkflowInvalid:
    return WorkflowInvalid(
        f"{owner}: {name!r} is a function of __main__, which workers cannot import; "
        "move it into a module"
    )
