"""Programs: workflows that grow, as plain values that a test draws, builds and reads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from distflow.core.model import Effects


class Of(NamedTuple):
    """What a statement of the same block stands for."""

    name: str


class Given(NamedTuple):
    """What the block was given, by position."""

    position: int


class Gives(NamedTuple):
    """What a task returns where all goes well: a text, a number, or so many elements."""

    kind: str = "text"
    size: int = 0


class Options(NamedTuple):
    """Of a task, or of the children of a map; ``asks`` is a condition, which a map has itself."""

    retries: int = 0
    tolerated: bool = False
    effects: Effects = "normal"
    asks: bool = False


class Call(NamedTuple):
    """A task. Arguments are :class:`Of`, :class:`Given`, or values that hold them.

    ``looks_at`` is the name of a map among them, of which it also takes the TaskResults.
    """

    name: str
    args: tuple[Any, ...] = ()
    gives: Gives = Gives()
    options: Options = Options()
    looks_at: str = ""


class Each(NamedTuple):
    """A task for each element of a list that a plan was given, written as a loop."""

    name: str
    over: Given
    gives: Gives = Gives()
    options: Options = Options()


class Map(NamedTuple):
    """A map of a task, or of a plan where there is a block."""

    name: str
    sources: tuple[Any, ...]
    fixed: Any = None
    gives: Gives = Gives()
    block: Block | None = None
    key: str | None = None
    max_failures: float | None = None
    options: Options = Options()


class Plan(NamedTuple):
    """A plan, with what its function builds of its arguments."""

    name: str
    block: Block
    args: tuple[Any, ...] = ()
    options: Options = Options()


class Sub(NamedTuple):
    """A workflow within."""

    name: str
    block: Block
    args: tuple[Any, ...] = ()


Statement = Call | Each | Map | Plan | Sub


class Block(NamedTuple):
    """Statements in their order, and what they come to."""

    statements: tuple[Statement, ...] = ()
    returns: Any = None


class Program(NamedTuple):
    """A workflow, and what its tasks do: the steps of each, by name.

    The n-th call of a task takes the n-th of its steps, or the last where there are fewer; one that
    is not named does well. Behind a ``?`` stands what its condition says.
    """

    block: Block
    script: Mapping[str, tuple[str, ...]]


_PARTS: tuple[Any, ...] = (Of, Given, Gives, Options, Call, Each, Map, Plan, Sub, Block)
_KINDS = {kind.__name__: kind for kind in _PARTS}


def fill(value: Any, made: Mapping[str, Any], given: Any) -> Any:
    """An argument, with what stands in it by name or position."""
    kind = type(value)
    if kind is Of:
        return made[value.name]
    if kind is Given:
        return given[value.position]
    if kind in (list, tuple):
        return kind([fill(element, made, given) for element in value])
    if kind is dict:
        return {key: fill(element, made, given) for key, element in value.items()}
    return value


def to_plain(value: Any) -> Any:
    """A part of a program as an argument of a task: dicts, lists and what they may hold."""
    kind = type(value)
    if kind in _KINDS.values():
        return {
            "": kind.__name__,
            **{name: to_plain(getattr(value, name)) for name in kind._fields},
        }
    if kind in (list, tuple):
        return kind([to_plain(element) for element in value])
    if kind is dict:
        return {key: to_plain(element) for key, element in value.items()}
    return value


def from_plain(value: Any) -> Any:
    """The part of a program."""
    kind = type(value)
    if kind in (list, tuple):
        return kind([from_plain(element) for element in value])
    if kind is dict:
        fields = {key: from_plain(element) for key, element in value.items() if key != ""}
        return _KINDS[value[""]](**fields) if "" in value else fields
    return value


def pack(programs: Mapping[str, Program]) -> Program:
    """Many programs as workflows within one, under these names, with which theirs begin."""
    block = Block(
        tuple(Sub(name, program.block) for name, program in programs.items()),
        [Of(name) for name in programs],
    )
    return Program(
        block, {task: how for each in programs.values() for task, how in each.script.items()}
    )
