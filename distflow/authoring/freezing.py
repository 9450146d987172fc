"""What a task keeps of what its author wrote: options, hooks and arguments in their frozen form."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from distflow.authoring.functions import check_accepts, function_path
from distflow.core.model import Loop
from distflow.core.options import HOOKS, PLAIN_OPTIONS
from distflow.errors import NotEncodable, WorkflowInvalid
from distflow.wire import codec


def freeze_options(chosen: Mapping[str, Any], owner: str) -> dict[str, Any]:
    """The fields of a task from its options, without its name and dependencies.

    Raises:
        WorkflowInvalid: workers could not import a hook.
    """
    frozen = {name: chosen[name] for name in PLAIN_OPTIONS if name in chosen}
    for name, count in HOOKS.items():
        if name in chosen:
            frozen[name] = freeze_hook(chosen[name], count, f"{owner}: {name}")
    frozen["retry"] = chosen.get("retry")
    frozen["loop"] = _freeze_loop(chosen.get("loop"), owner)
    return frozen


def freeze_hook(hook: Callable[..., Any] | str | None, count: int, owner: str) -> str | None:
    """The path of a hook; ``count`` is the number of its arguments.

    Raises:
        WorkflowInvalid: workers could not import it, or it does not take these arguments.
    """
    if hook is None:
        return None
    path = function_path(hook, owner)
    if callable(hook):
        check_accepts(hook, (count,), owner)
    return path


def _freeze_loop(loop: Loop | None, owner: str) -> Loop | None:
    if loop is None:
        return None
    return loop._replace(until=freeze_hook(loop.until, 2, f"{owner}: Loop.until"))


def check_encodable(args: Sequence[Any], kwargs: Mapping[str, Any], owner: str) -> None:
    """Check that arguments can be recorded.

    Raises:
        WorkflowInvalid: names the argument that cannot.
    """
    try:
        codec.pack([*args])
        codec.pack({**kwargs})
    except NotEncodable as error:
        raise WorkflowInvalid(f"{owner}: argument {error}") from None
