"""The options of a run: one table, and the two values that carry them.

:class:`NewRunOptions` is what the creator of a run asks for, :class:`RunOptions` what the run keeps
of it. A new option gets a row here and a field in each of the two that has it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from types import MappingProxyType
from typing import NamedTuple, TypedDict

from distflow.core.claim import MAX_GRAPH_BYTES, MAX_TASKS
from distflow.given import check_count, check_flag, check_seconds

#: Most bytes of an encoded result: 16 MiB.
MAX_RESULT_BYTES = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class RunOptions:
    """How a run is executed.

    Args:
        concurrency: how many batches may hold a claim at once; None is no limit.
        timeout: seconds after which the run is cancelled, counted anew from each resume.
        context: ``"pkg.module:factory"`` called once per run in each worker process.
        max_result_bytes: a task whose encoded result is larger fails.
        batch: whether short tasks travel together.
        max_tasks: an expansion that makes the run larger is refused.
        max_graph_bytes: likewise, of all encoded tasks.
    """

    concurrency: int | None = None
    timeout: float | None = None
    context: str | None = None
    max_result_bytes: int = MAX_RESULT_BYTES
    batch: bool = True
    max_tasks: int = MAX_TASKS
    max_graph_bytes: int = MAX_GRAPH_BYTES


#: The options of a run that asks for nothing.
USUAL_OPTIONS = RunOptions()


@dataclass(frozen=True, slots=True)
class NewRunOptions:
    """What the creator of a run asks for; its context comes from the workflow.

    Args:
        concurrency: how many tasks may run at once.
        timeout: seconds after which the run is cancelled.
        max_result_bytes: limit for one encoded result.
        max_graph_bytes: limit for all encoded tasks, those of expansions included.
        durability: ``"waitaof"`` makes workers wait until the starts and outcomes of
            ``at_most_once`` tasks are on Redis's disk; None relies on its settings.
        allow_eviction: use a Redis whose ``maxmemory-policy`` is not ``noeviction``.
        detach: leave the run to a coordinator service.
        batch: whether short tasks travel together.
        max_tasks: how many tasks expansions may let the run have.

    Raises:
        InvalidInput: an option has an invalid value; the message says which and what it may be.
    """

    concurrency: int | None = None
    timeout: float | None = None
    max_result_bytes: int = MAX_RESULT_BYTES
    max_graph_bytes: int = MAX_GRAPH_BYTES
    durability: str | None = None
    allow_eviction: bool = False
    detach: bool = False
    batch: bool = True
    max_tasks: int = MAX_TASKS

    def __post_init__(self) -> None:
        for option in RUN_OPTIONS:
            value = getattr(self, option.name, None)
            # The value that stands for "not given" is not checked.
            if option.check is not None and value is not option.unsaid:
                option.check(option.name, value)

    def kept(self, context: str | None = None) -> RunOptions:
        """The options that the run keeps; ``context`` is its workflow's."""
        own = {field.name for field in fields(RunOptions)} & {field.name for field in fields(self)}
        return RunOptions(context=context, **{name: getattr(self, name) for name in own})


class RunKeywords(TypedDict, total=False):
    """The fields of :class:`NewRunOptions` as keyword arguments."""

    concurrency: int | None
    timeout: float | None
    max_result_bytes: int
    max_graph_bytes: int
    durability: str | None
    allow_eviction: bool
    detach: bool
    batch: bool
    max_tasks: int


class _Always:
    """A type that no option's value has."""


class RunOption(NamedTuple):
    """One option of a run."""

    name: str
    #: Raises InvalidInput for an invalid value; None if it is checked elsewhere.
    check: Callable[[str, object], None] | None
    #: Its types in runs and snapshots; empty if they do not keep it.
    types: tuple[type, ...] = ()
    #: The value that stands for "not given", and is not checked.
    unsaid: object = _Always
    #: The first version of a run that knows it: see ``version.py``.
    since: int = 1


RUN_OPTIONS = (
    RunOption("concurrency", check_count, (int,), unsaid=None),
    RunOption("timeout", check_seconds, (int, float), unsaid=None),
    RunOption("context", None, (str,)),
    RunOption("max_result_bytes", check_count, (int,)),
    RunOption("max_graph_bytes", check_count, (int,), since=2),
    # What a Redis can provide is known only to the store.
    RunOption("durability", None),
    RunOption("allow_eviction", check_flag),
    RunOption("detach", check_flag),
    RunOption("batch", check_flag, (bool,)),
    RunOption("max_tasks", check_count, (int,), since=2),
)

#: The options that a run keeps, with their types.
KEPT_TYPES: Mapping[str, tuple[type, ...]] = MappingProxyType(
    {option.name: option.types for option in RUN_OPTIONS if option.types}
)
