"""The options of a task, the same for ``@task``, ``.options`` and ``Workflow.add``."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, TypedDict, get_args

from distflow.authoring.imports import did_you_mean
from distflow.core.model import Effects, Loop, Retry
from distflow.errors import WorkflowInvalid

if TYPE_CHECKING:
    from distflow.authoring.refs import TaskRef

_EFFECTS = get_args(Effects)

#: Beyond this, JSON readers of other languages round an integer.
_MAX_PRIORITY = 2**53


class AddOptions(TypedDict, total=False):
    """What :meth:`Workflow.add` takes by name; ``timeout`` in seconds."""

    retry: Retry | None
    loop: Loop | None
    timeout: float | None
    condition: Callable[..., Any] | str | None
    priority: int
    continue_on_error: bool
    queue: str
    effects: Effects
    verify: Callable[..., Any] | str | None
    batch: bool
    depends_on: Iterable[TaskRef | str] | TaskRef | str


class TaskOptions(AddOptions, total=False):
    """What may be said of a task besides its function and arguments."""

    name: str


KNOWN = frozenset(TaskOptions.__annotations__)


def check_options(options: Mapping[str, Any], owner: str) -> None:
    """Check every option by itself and against the others.

    Args:
        options: by name, as the user wrote them.
        owner: the task; errors start with it.

    Raises:
        WorkflowInvalid: names the option and what it may be.
    """
    for name, value in options.items():
        if name not in KNOWN:
            hint = did_you_mean(name, KNOWN) or f"; there are {', '.join(sorted(KNOWN))}"
            raise WorkflowInvalid(f"{owner}: there is no option {name!r}{hint}")
        check = _CHECKS.get(name)
        wanted = check and check(value)
        if wanted:
            raise WorkflowInvalid(f"{owner}: {name} is {wanted}, not {value!r:.60}")
    if options.get("loop") is not None and options.get("effects") == "at_most_once":
        raise WorkflowInvalid(
            f"{owner}: loop runs a task again, which effects='at_most_once' forbids; "
            "take one of them away"
        )
    if options.get("verify") is not None and options.get("effects") != "at_most_once":
        raise WorkflowInvalid(
            f"{owner}: verify is asked how an unknown task ended, which only a task with "
            "effects='at_most_once' can be; add that, or take verify away"
        )


def check_name(name: object, owner: str) -> None:
    """Check the name of a task.

    Raises:
        WorkflowInvalid: it is no text, empty, or not encodable as UTF-8.
    """
    wanted = _name(name)
    if wanted:
        raise WorkflowInvalid(f"{owner}: name is {wanted}, not {name!r:.60}")


def _name(value: object) -> str | None:
    if isinstance(value, str) and value and _is_utf8(value):
        return None
    return "a text of at least one character"


def _retry(value: object) -> str | None:
    return None if value is None or isinstance(value, Retry) else "a Retry(...)"


def _loop(value: object) -> str | None:
    return None if value is None or isinstance(value, Loop) else "a Loop(...)"


def _timeout(value: object) -> str | None:
    if value is None:
        return None
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if number and 0 < value < math.inf:  # type: ignore[operator]
        return None
    return "a number of seconds above 0"


def _hook(value: object) -> str | None:
    if value is None or isinstance(value, str) or callable(value):
        return None
    return "a module-level function or its 'pkg.module:name'"


def _priority(value: object) -> str | None:
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) <= _MAX_PRIORITY:
        return None
    return "an integer, higher first"


def _flag(value: object) -> str | None:
    return None if isinstance(value, bool) else "True or False"


def _queue(value: object) -> str | None:
    if isinstance(value, str) and value.strip() and _is_utf8(value):
        return None
    return "the name of an RQ queue"


def _effects(value: object) -> str | None:
    if isinstance(value, str) and value in _EFFECTS:
        return None
    return " or ".join(repr(effect) for effect in _EFFECTS)


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


#: Each answers what the option should be, or None where it is that.
_CHECKS: Mapping[str, Callable[[object], str | None]] = {
    "name": _name,
    "retry": _retry,
    "loop": _loop,
    "timeout": _timeout,
    "condition": _hook,
    "verify": _hook,
    "batch": _flag,
    "priority": _priority,
    "continue_on_error": _flag,
    "queue": _queue,
    "effects": _effects,
}
