"""Creation: a workflow becomes a run, checked as a whole, then written, or not written at all."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import chain
from typing import Any

from distflow.authoring import TaskFunction, Workflow, WorkflowTemplate
from distflow.core.claim import MAX_GRAPH_BYTES
from distflow.core.expansion import CHUNK_TASKS, MAX_TASK_BYTES, Expansion
from distflow.core.graph import Graph
from distflow.core.model import Ref, Task, users_part
from distflow.core.run import MAX_PARAMS_BYTES, RunSpec
from distflow.core.version import run_version
from distflow.errors import (
    DistflowError,
    InvalidInput,
    NotEncodable,
    RunExists,
    RunGone,
    WrongState,
)
from distflow.ids import new_token
from distflow.ports.run_store import RunStore
from distflow.runs.takeover import NOTHING_TAKEN, Takeover
from distflow.snapshot.records import SavedExpansion
from distflow.text import counted
from distflow.wire.codec import encode_task, pack, pack_decoded
from distflow.wire.extensions import SCALARS
from distflow.wire.tasks import decode_tasks

#: Outcomes or notes that one call writes.
_CHUNK_OUTCOMES = 1000

#: About how many bytes one call writes, whatever the number of items.
_CHUNK_BYTES = 8 * 1024 * 1024

#: Types that a workflow copies, down to some depth, when a task gets them as arguments.
_COPIED = (list, tuple, dict)

#: Called with the number of tasks written, and of all tasks.
Progressing = Callable[[int], None]


def write_run(
    store: RunStore,
    spec: RunSpec,
    graph: Graph,
    taken: Takeover = NOTHING_TAKEN,
    *,
    max_graph_bytes: int = MAX_GRAPH_BYTES,
    progress: Progressing = lambda _written: None,
    undo: RunStore | None = None,
) -> None:
    """Write a run whose graph is validated; from then on it can be led.

    If this fails midway, the run is removed again; if it is cut off, the run stays ``creating``.
    ``progress`` is called between two chunks of tasks; what it raises ends the creation. ``undo``
    is the same run with little patience, for removing it: after waiting for Redis in vain, nobody
    should wait again.

    Raises:
        RunExists: there is a run of this id.
        InvalidInput: a task or the parameters cannot be encoded, or are too large; nothing was
            written.
    """
    _check_params(spec)
    needed = run_version(graph.tasks, spec.options)
    spec = replace(spec, version=max(spec.version, needed))
    chunks: list[slice] = []
    for chunk in _slices(_task_sizes(graph, max_graph_bytes), CHUNK_TASKS):
        chunks.append(chunk)
        progress(0)
    operation, undo = new_token(), undo or store
    hydration, notes, expansions = taken.outcomes, taken.notes, taken.expansions
    is_small = len(chunks) == 1 and not (hydration or notes or expansions)
    try:
        store.create_run(spec, operation, graph.tasks if is_small else None)
    except RunExists:
        raise
    except BaseException:
        take_back(undo, operation)
        raise
    if is_small:
        return
    try:
        for number, chunk in enumerate(chunks):
            store.append_tasks(operation, number, graph.tasks[chunk])
            progress(chunk.stop)
        total = len(graph) + write_expansions(store, operation, expansions)
        for chunk in _slices((len(known[1] or b"") for known in hydration), _CHUNK_OUTCOMES):
            store.hydrate(operation, hydration[chunk])
        for chunk in _slices((len(packed) for _name, packed in notes), _CHUNK_OUTCOMES):
            store.hydrate_notes(operation, notes[chunk])
        store.seal_run(operation, total)
    except (RunGone, WrongState):
        # Somebody deleted it in the meantime: a run of this id is not ours to delete.
        raise
    except BaseException:
        take_back(undo, operation)
        raise


def write_expansions(
    store: RunStore,
    operation: str,
    expansions: Iterable[SavedExpansion],
    note: Callable[[Sequence[Task]], object] = lambda _tasks: None,
) -> int:
    """Write expansions from a snapshot into a run that is being created.

    Args:
        store: the run.
        operation: the id of its creation.
        expansions: in the order of their ``seq``.
        note: called with the tasks, as they are written.

    Returns:
        How many tasks they have.
    """
    total = 0

    def decode(saved: SavedExpansion) -> Iterator[Sequence[Task]]:
        for packed, _fingerprints in saved.chunks:
            tasks = decode_tasks(packed)
            note(tasks)
            yield tasks

    def number() -> Iterator[tuple[str, Expansion, Iterable[Sequence[Task]], bytes]]:
        nonlocal total
        for seq, saved in enumerate(expansions, 1):
            total += saved.record.children
            yield saved.node, saved.record._replace(seq=seq), decode(saved), saved.stand_in

    numbered = number()
    first = next(numbered, None)
    if first is not None:
        store.hydrate_expansions(operation, chain([first], numbered))
    return total


def take_back(store: RunStore, operation: str) -> None:
    """Remove what a creation that failed has written, as far as Redis allows. A run that somebody
    leads by now stays, since tasks of it may have run; so does one that others have created anew.
    """
    with suppress(DistflowError):
        store.discard_creation(operation, unlist=True, made=True)


def pack_returned(template: Any) -> bytes | None:
    """What a workflow returned, encoded as a run keeps it; None for nothing."""
    return None if template is None else pack(template)


def _check_params(spec: RunSpec) -> None:
    sizes: dict[str, int] = {}
    for name, value in spec.params.items():
        try:
            sizes[name] = len(pack({name: value}))
        except NotEncodable as error:
            raise InvalidInput(f"parameter {error}") from None
    total = sum(sizes.values())
    if total > MAX_PARAMS_BYTES:
        raise InvalidInput(
            f"the encoded parameters have {total:,} bytes, more than {MAX_PARAMS_BYTES:,}, most of "
            f"them in {max(sizes, key=lambda name: sizes[name])!r}: store it elsewhere and pass "
            "its location"
        )


def _task_sizes(graph: Graph, max_graph_bytes: int) -> Iterator[int]:
    """The encoded size of each task."""
    total = 0
    for count, task in enumerate(graph.tasks, 1):
        try:
            size = len(_pack_task(task))
        except NotEncodable as error:
            raise InvalidInput(f"task {task.name!r:.80}: {error}") from None
        if size > MAX_TASK_BYTES:
            raise InvalidInput(
                f"task {task.name!r:.80} has {size:,} bytes encoded, more than {MAX_TASK_BYTES:,}: "
                "store its arguments elsewhere and pass their location"
            )
        total += size
        if total > max_graph_bytes:
            raise InvalidInput(
                f"the first {count:,} of {counted(len(graph), 'task')} have more than "
                f"{max_graph_bytes:,} bytes encoded: pass less in their arguments, or raise "
                "--max-graph-bytes (max_graph_bytes)"
            )
        yield size


def _pack_task(task: Task) -> bytes:
    fields = encode_task(task)
    if not task.args and not task.kwargs:
        # Only the arguments hold values of the user.
        with suppress(ValueError, TypeError, OverflowError):
            return pack_decoded(fields)
    return pack(fields)


def is_frozen(graph: Graph) -> bool:
    """Whether nobody can change the arguments of its tasks any more, so that the graph in memory
    equals the one that was written. Their lists and dicts are the workflow's own copies.
    """
    return all(
        _is_frozen(value)
        for task in graph.tasks
        if task.args or task.kwargs
        for value in (*task.args, *users_part(task).kwargs.values())
    )


def _is_frozen(value: Any, depth: int = 8) -> bool:
    kind = type(value)
    if kind in SCALARS or kind is Ref:
        return True
    if depth == 0 or kind not in _COPIED:
        return False
    elements = value.values() if kind is dict else value
    return all(_is_frozen(element, depth - 1) for element in elements)


def _slices(sizes: Iterable[int], most: int) -> Iterator[slice]:
    """Slices of consecutive items: ``most`` in a slice, fewer if they are large."""
    start = end = total = 0
    for end, size in enumerate(sizes):
        if end - start == most or (end > start and total + size > _CHUNK_BYTES):
            yield slice(start, end)
            start, total = end, 0
        total += size
    if total:
        yield slice(start, end + 1)


def check_made_of(value: object) -> None:
    """Check that a value is a workflow.

    Raises:
        InvalidInput: it is not a workflow; the message says how to make it one.
    """
    if not isinstance(value, WorkflowTemplate | Workflow):
        raise InvalidInput(f"a run is created from a workflow, not from {_describe(value)}")


def _describe(value: object) -> str:
    """What was given instead of a workflow, and how to fix that."""
    if isinstance(value, TaskFunction):
        return f"the task {value.__name__!r}: call it in a function that @workflow decorates"
    if callable(value):
        return f"{value!r:.60}: decorate it with @workflow, or pass the Workflow that it returns"
    return f"{value!r:.60}: pass a @workflow function or a Workflow"
