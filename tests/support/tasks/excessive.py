"""Tasks that return or raise what has no place anywhere, and good ones beside them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any, NoReturn

from distflow import Loop, NotDone, TaskResult, TaskStatus, Workflow, task, workflow

#: Text that no UTF-8 can say: a file's name that was no UTF-8, say.
SURROGATE = "caf\udce9"

#: A name of a task that is not made for terminals.
NAME = "na\u0308me\n\x1b[31m\u202e\x00"

#: Bytes that a result of these workflows may have.
MOST = 100_000


class Hostile:
    """An object whose every method raises."""

    def __repr__(self) -> NoReturn:
        raise RuntimeError("no repr")

    __str__ = __repr__

    def __hash__(self) -> int:
        return 1

    def __bool__(self) -> NoReturn:
        raise RuntimeError("neither true nor false")


class Unspeakable(Exception):
    """An exception that cannot say what it is."""

    def __str__(self) -> NoReturn:
        raise SystemExit("not even that")


class Sly(TaskResult):
    """A TaskResult that cannot be looked at."""

    @property
    def data(self) -> NoReturn:
        raise RuntimeError("look away")

    @data.setter
    def data(self, value: object) -> None:
        pass


def nested(levels: int = 10_000, kind: str = "list") -> Any:
    value: Any = 0
    for _ in range(levels):
        value = [value] if kind == "list" else {"k": value} if kind == "dict" else (value,)
    return value


def returns_nested(kind: str) -> Any:
    return nested(kind=kind)


def returns_itself() -> Any:
    cycle: dict[str, Any] = {"name": "cycle"}
    cycle["me"] = [cycle]
    return cycle


def returns_laughs() -> Any:
    """2 ** 60 elements in 60 lists."""
    laughs: list[Any] = ["ha"]
    for _ in range(60):
        laughs = [laughs, laughs]
    return {"laughs": laughs}


def returns_copies() -> Any:
    """A gigabyte, from a kilobyte."""
    return [{"row": "x" * 1000}] * 1_000_000


def returns_large() -> bytes:
    return b"x" * (MOST + 1)


def returns_number(power: int) -> list[int]:
    return [1, 1 << power]


def returns_floats() -> list[float]:
    return [float("nan"), float("inf"), -float("inf"), 0.5]


def returns_surrogate(where: str) -> Any:
    return {"value": {"name": SURROGATE}, "key": {SURROGATE: 1}}[where]


def returns_bytes() -> dict[Any, Any]:
    return {b"\xff\x00": 1, b"plain": 2, 3: b"\xfe", True: "yes"}


def returns_hostile(where: str) -> Any:
    return {
        "value": [Hostile()],
        "key": {Hostile(): 1},
        "message": TaskResult(TaskStatus.SUCCESS, message=Hostile()),  # type: ignore[arg-type]
        "sly": Sly(TaskStatus.SUCCESS),
    }[where]


def returns_iterator() -> Iterator[int]:
    return iter([1])


def returns_long_text() -> TaskResult:
    return TaskResult(TaskStatus.FAILURE, message="m" * 5_000_000, error=SURROGATE * 1_000_000)


def raises_unspeakable() -> None:
    raise Unspeakable


def raises_surrogate() -> None:
    raise ValueError(f"no file {SURROGATE}")


def raises_long() -> None:
    raise ValueError("e" * 5_000_000)


def raises_deeply(levels: int = 900) -> None:
    """A traceback of many different frames, whose lines are long."""
    if levels:
        name = f"deeper_{levels}_{'x' * 100}"
        scope: dict[str, Any] = {"again": raises_deeply, "levels": levels - 1}
        exec(f"def {name}(): again(levels)\n{name}()", scope)
    raise ValueError("at the bottom")


def raises_without_end() -> None:
    raises_without_end()


def raises_cycle() -> None:
    """Two exceptions that are each other's cause, with a note that is no text."""
    one, other = ValueError("one"), ValueError("other")
    one.__cause__, other.__cause__ = other, one
    vars(one)["__notes__"] = [Hostile()]
    raise one


def raises_group() -> None:
    group: Exception = ValueError(SURROGATE)
    for _ in range(300):
        group = ExceptionGroup("outer", [group])
    raise group


def raises_exit() -> None:
    sys.exit("gone")


def raises_not_done() -> None:
    raise NotDone("n" * 5_000_000 + SURROGATE)


def is_hostile(_ctx: Any) -> Any:
    return Hostile()


def leaves(_ctx: Any) -> bool:
    sys.exit("the condition has left")


def is_never_content(_ctx: Any, _result: Any) -> Any:
    return Hostile()


@task
def good(number: int) -> int:
    return number


@task
def receives(value: Any) -> str:
    return repr(value)[:100]


#: Name of a task -> its function and arguments.
BAD: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "nested lists": (returns_nested, ("list",)),
    "nested dicts": (returns_nested, ("dict",)),
    "nested tuples": (returns_nested, ("tuple",)),
    "itself": (returns_itself, ()),
    "laughs": (returns_laughs, ()),
    "copies": (returns_copies, ()),
    "large": (returns_large, ()),
    "huge integer": (returns_number, (64,)),
    "surrogate": (returns_surrogate, ("value",)),
    "surrogate key": (returns_surrogate, ("key",)),
    "hostile value": (returns_hostile, ("value",)),
    "hostile key": (returns_hostile, ("key",)),
    "hostile message": (returns_hostile, ("message",)),
    "sly": (returns_hostile, ("sly",)),
    "iterator": (returns_iterator, ()),
    "long text": (returns_long_text, ()),
    "unspeakable": (raises_unspeakable, ()),
    "surrogate error": (raises_surrogate, ()),
    "long error": (raises_long, ()),
    "deep traceback": (raises_deeply, ()),
    "recursion": (raises_without_end, ()),
    "causes": (raises_cycle, ()),
    "group": (raises_group, ()),
    "exit": (raises_exit, ()),
    "long NotDone": (raises_not_done, ()),
}


def everything_at_once() -> Workflow:
    """Every bad task, a good one after each, and values that are strange and allowed."""
    flow = Workflow("everything_at_once")
    for number, (name, (function, args)) in enumerate(BAD.items()):
        flow.add(name, function, args)
        flow.add(f"good {number}", good, (number,))
    flow.add("hostile condition", good, (1,), condition=is_hostile)
    flow.add("leaving condition", good, (1,), condition=leaves)
    flow.add("hostile until", good, (1,), loop=Loop(is_never_content, 3))
    for name, function, args in (
        ("floats", returns_floats, ()),
        ("largest integer", returns_number, (63,)),
        ("binary keys", returns_bytes, ()),
    ):
        strange = flow.add(name, function, args)
        flow.add(f"after {name}", receives, (strange,))
    flow.add(NAME, good, (1,))
    return flow


@workflow
def takes(value: Any):
    """What is given goes on to a task."""
    receives(value)
