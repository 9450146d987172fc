"""A workflow becomes a run: checked whole, then written, or not written at all."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

from distflow.core.claim import Progress
from distflow.core.graph import Graph
from distflow.core.run import RunSpec
from distflow.errors import DistflowError, RunGone, WrongState
from distflow.ids import new_token
from distflow.ports import RunStore

#: Tasks in one chunk of the stored graph.
CHUNK_TASKS = 4096

#: Outcomes that one call hydrates.
_CHUNK_OUTCOMES = 1000

#: Notes likewise: each may have 64 KiB.
_CHUNK_NOTES = 100

#: A task's encoded TaskResult and progress from a snapshot.
Hydration = Sequence[tuple[str, bytes | None, Progress | None]]


def write_run(
    store: RunStore,
    spec: RunSpec,
    graph: Graph,
    hydration: Hydration = (),
    notes: Sequence[tuple[str, bytes]] = (),
) -> None:
    """Write a run whose graph is validated; from then on it can be led.

    What fails midway is removed again; what is cut off midway is left as ``creating``.

    Raises:
        RunExists: there is a run of this id.
        NotEncodable: an argument of a task cannot be encoded.
    """
    operation = new_token()
    store.create_run(spec, operation)
    try:
        for chunk, start in enumerate(range(0, len(graph), CHUNK_TASKS)):
            store.append_tasks(operation, chunk, graph.tasks[start : start + CHUNK_TASKS])
        for start in range(0, len(hydration), _CHUNK_OUTCOMES):
            store.hydrate(operation, hydration[start : start + _CHUNK_OUTCOMES])
        for start in range(0, len(notes), _CHUNK_NOTES):
            store.hydrate_notes(operation, notes[start : start + _CHUNK_NOTES])
        store.seal_run(operation, len(graph))
    except (RunGone, WrongState):
        # Somebody deleted it meanwhile: what has its name now is not ours to delete.
        raise
    except BaseException:
        with suppress(DistflowError):
            store.delete_run(force=True)
        raise
