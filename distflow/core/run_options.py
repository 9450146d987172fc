"""The options of a run: one table, and the two values that they travel in.

:class:`NewRunOptions` is what somebody asks for who makes a run, :class:`RunOptions` what the run
keeps of it. A new option has a row here and a field in each of those that have it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from types import MappingProxyType
from typing import NamedTuple, TypedDict

from distflow.given import check_count, check_flag, check_seconds

#: Bytes that an encoded result may have: 16 MiB.
MAX_RESULT_BYTES = 16 * 1024 * 1024

#: Bytes that all tasks of a run may have, encoded: 256 MiB.
MAX_GRAPH_BYTES = 256 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class RunOptions:
    """How a run is executed.

    Args:
        concurrency: batches that may hold a claim at once; None is no limit.
        timeout: seconds after which the run is cancelled, anew from each resume.
        context: ``"pkg.module:factory"`` called once per run in each worker process.
        max_result_bytes: size at which an encoded result becomes a failure of its task.
        batch: whether short tasks travel together.
    """

    concurrency: int | None = None
    timeout: float | None = None
    context: str | None = None
    max_result_bytes: int = MAX_RESULT_BYTES
    batch: bool = True


#: Those of a run that asks for nothing.
USUAL_OPTIONS = RunOptions()


@dataclass(frozen=True, slots=True)
class NewRunOptions:
    """What whoever makes a run asks for; its context is the workflow's.

    Args:
        concurrency: tasks that may run at once.
        timeout: seconds after which the run is cancelled.
        max_result_bytes: of one encoded result.
        max_graph_bytes: of all tasks, encoded.
        durability: ``"waitaof"`` lets workers wait until the starts and outcomes of
            ``at_most_once`` tasks are on the disk of Redis; None takes what its settings give.
        allow_eviction: use a Redis whose ``maxmemory-policy`` is not ``noeviction``.
        detach: leave the run to a coordinator service.
        batch: whether short tasks travel together.

    Raises:
        InvalidInput: names the option and what it may be.
    """

    concurrency: int | None = None
    timeout: float | None = None
    max_result_bytes: int = MAX_RESULT_BYTES
    max_graph_bytes: int = MAX_GRAPH_BYTES
    durability: str | None = None
    allow_eviction: bool = False
    detach: bool = False
    batch: bool = True

    def __post_init__(self) -> None:
        for option in RUN_OPTIONS:
            value = getattr(self, option.name, None)
            # What is not said by default may be left unsaid.
            if option.check is not None and value is not option.unsaid:
                option.check(option.name, value)

    def kept(self, context: str | None = None) -> RunOptions:
        """What the run keeps of it; ``context`` is its workflow's."""
        own = {field.name for field in fields(RunOptions)} & {field.name for field in fields(self)}
        return RunOptions(context=context, **{name: getattr(self, name) for name in own})


class RunKeywords(TypedDict, total=False):
    """The fields of :class:`NewRunOptions`, for who gives them by name."""

    concurrency: int | None
    timeout: float | None
    max_result_bytes: int
    max_graph_bytes: int
    durability: str | None
    allow_eviction: bool
    detach: bool
    batch: bool


class _Always:
    """No value of an option."""


class RunOption(NamedTuple):
    """One option of a run."""

    name: str
    #: Raises InvalidInput for a value that it cannot have; None where another place looks at it.
    check: Callable[[str, object], None] | None
    #: What it is where a run or a snapshot keeps it; empty where they do not.
    types: tuple[type, ...] = ()
    #: The value that says nothing, and is not checked.
    unsaid: object = _Always
    #: The version of a run that knows it first: see ``version.py``.
    since: int = 1


RUN_OPTIONS = (
    RunOption("concurrency", check_count, (int,), unsaid=None),
    RunOption("timeout", check_seconds, (int, float), unsaid=None),
    RunOption("context", None, (str,)),
    RunOption("max_result_bytes", check_count, (int,)),
    RunOption("max_graph_bytes", check_count),
    # What a Redis can give is known there.
    RunOption("durability", None),
    RunOption("allow_eviction", check_flag),
    RunOption("detach", check_flag),
    RunOption("batch", check_flag, (bool,)),
)

#: The options that a run keeps, and what each of them is.
KEPT_TYPES: Mapping[str, tuple[type, ...]] = MappingProxyType(
    {option.name: option.types for option in RUN_OPTIONS if option.types}
)
