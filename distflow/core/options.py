"""The options of a task: one table, from which they are validated, encoded, shown and documented.

A new option that is a plain value gets a row here and a field of :class:`~distflow.core.model.Task`
with its default; ``authoring/options.py`` declares it to type checkers. Work horses need none of
this and do not import it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple, get_args

from distflow.core.model import Effects, Loop, Retry, Task
from distflow.errors import InvalidInput
from distflow.text import is_utf8

_EFFECTS = get_args(Effects)

#: Beyond this, JSON readers of other languages round an integer.
_MAX_PRIORITY = 2**53


class TaskOption(NamedTuple):
    """One option of ``@task``, ``.options`` and ``Workflow.add``."""

    name: str
    #: Returns what the option should be, for the error; None for a valid value.
    wanted: Callable[[object], str | None]
    #: What the reference says about it.
    means: str
    #: Its types on the wire, if it travels under its name as it is; empty if it has its own form.
    types: tuple[type, ...] = ()
    #: For a hook, which travels as its path: how many arguments it is called with.
    hook_args: int = 0
    #: The first version of a run that knows it: see ``version.py``.
    since: int = 1

    @property
    def is_plain(self) -> bool:
        """Whether the task keeps the user's value as it is."""
        return bool(self.types) and not self.hook_args


def check_text(value: object) -> str | None:
    """What a name should be; None for a valid one."""
    if isinstance(value, str) and value and is_utf8(value):
        return None
    return "a text of at least one character"


def _retry(value: object) -> str | None:
    return None if value is None else _made_of(Retry, value)


def _loop(value: object) -> str | None:
    return None if value is None else _made_of(Loop, value)


def _made_of(kind: type[Retry | Loop], value: object) -> str | None:
    """What is wrong with a Retry or Loop: ``_replace`` can make one that its class would refuse."""
    if not isinstance(value, kind):
        return f"a {kind.__name__}(...)"
    try:
        kind(*value)
    except InvalidInput as error:
        return f"a valid {kind.__name__}(...) ({error})"
    return None


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
    if isinstance(value, str) and value.strip() and is_utf8(value):
        return None
    return "the name of an RQ queue"


def _effects(value: object) -> str | None:
    if isinstance(value, str) and value in _EFFECTS:
        return None
    return " or ".join(repr(effect) for effect in _EFFECTS)


def _dependencies(_value: object) -> str | None:
    # Each element is checked when it is resolved.
    return None


#: In the order of the reference.
TASK_OPTIONS = (
    TaskOption("name", check_text, "unique in the workflow"),
    TaskOption(
        "retry",
        _retry,
        '`Retry(attempts, delay=0.0, backoff="fixed", max_delay=None, jitter=0.0, lost=0, on=(), '
        "not_on=(), delays=None)`: seconds; `attempts` beyond the first try",
    ),
    TaskOption(
        "loop",
        _loop,
        '`Loop(until, max_iterations, interval=0.0, sees="result")`: `until(ctx, result) -> bool` '
        "gets a TaskResult",
    ),
    TaskOption("timeout", _timeout, "seconds, of each attempt", (int, float)),
    TaskOption(
        "condition",
        _hook,
        "`condition(ctx) -> bool`, asked before the first attempt",
        (str,),
        hook_args=1,
    ),
    TaskOption("priority", _priority, "higher first", (int,)),
    TaskOption("continue_on_error", _flag, "its failure is tolerated", (bool,)),
    TaskOption("queue", _queue, "the RQ queue", (str,)),
    TaskOption("effects", _effects, "`normal`, `idempotent` or `at_most_once`", (str,)),
    TaskOption(
        "batch",
        _flag,
        "whether it may travel with others in one RQ job, and share a process with them",
        (bool,),
    ),
    TaskOption(
        "verify",
        _hook,
        "`verify(key, ctx)`, asked before a person is when the task is `unknown`; only with "
        "`at_most_once`",
        (str,),
        hook_args=2,
    ),
    TaskOption("depends_on", _dependencies, "refs or names, in addition to those in the arguments"),
)

#: The options that a task keeps as they were given.
PLAIN_OPTIONS = tuple(option.name for option in TASK_OPTIONS if option.is_plain)

#: The options that are functions -> how many arguments each is called with.
HOOKS: Mapping[str, int] = MappingProxyType(
    {option.name: option.hook_args for option in TASK_OPTIONS if option.hook_args}
)

#: The types on the wire of each option that travels under its name.
WIRE_TYPES: Mapping[str, tuple[type, ...]] = MappingProxyType(
    {option.name: option.types for option in TASK_OPTIONS if option.types}
)


#: Options that a task's document always has, outside of ``options``.
ALWAYS_SHOWN = ("queue", "effects", "verify", "continue_on_error")

#: A task's name and dependencies, which are shown apart from its options.
_NO_CHOICE = frozenset({"name", "depends_on"})


def chosen_options(task: Task) -> dict[str, Any]:
    """The options of a task that differ from their defaults; a Retry or Loop as a map of its
    fields.
    """
    chosen: dict[str, Any] = {}
    for option in TASK_OPTIONS:
        if option.name in _NO_CHOICE:
            continue
        value = getattr(task, option.name)
        if value != Task._field_defaults[option.name]:
            chosen[option.name] = _said(value) if isinstance(value, Retry | Loop) else value
    return chosen


def _said(value: Retry | Loop) -> dict[str, Any]:
    defaults = Retry() if isinstance(value, Retry) else Loop("", 1)
    pairs = zip(value._asdict().items(), defaults, strict=True)
    return {name: said for (name, said), default in pairs if said != default}
