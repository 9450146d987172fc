"""What of a snapshot a new run takes over."""

from __future__ import annotations

from distflow.codec import decode_result, status_of
from distflow.core.claim import Progress
from distflow.core.graph import Graph
from distflow.core.model import Task
from distflow.core.status import TaskStatus
from distflow.errors import SnapshotInvalid
from distflow.fingerprint import fingerprint
from distflow.snapshot.mapping import Snapshot


def hydration_outcomes(
    snapshot: Snapshot, graph: Graph, *, keep: bool = False, accept_gap: bool = False
) -> list[tuple[str, bytes | None, Progress | None]]:
    """The outcomes that never run again: success, unknown, and what may have had effects.

    Everything else of the snapshot is left out, so that it is evaluated again.

    Args:
        snapshot: what is known to be done.
        graph: that of the new run.
        keep: take outcomes over although their task has changed.
        accept_gap: take a snapshot of a run that went on, although ``at_most_once`` tasks that it
            has as not started may have started since.

    Returns:
        Name, encoded TaskResult and progress, as :meth:`distflow.ports.RunStore.hydrate` takes
        them.

    Raises:
        SnapshotInvalid: it names a task that the graph does not have, or one that has changed;
            or it has an ``at_most_once`` task and no origin; or there is a gap.
    """
    if snapshot.live and snapshot.once and not accept_gap:
        raise SnapshotInvalid(
            f"the snapshot was taken while its run went on: {snapshot.once} tasks that run at most "
            "once may have started since; end that run and export it again, or say --accept-gap"
        )
    taken: list[tuple[str, bytes | None, Progress | None]] = []
    for name in snapshot:
        if name not in graph.index:
            raise SnapshotInvalid(
                f"the snapshot has task {name!r}, which the workflow does not have: "
                "take the snapshot of a run of this workflow"
            )
        task = graph.tasks[graph.index[name]]
        if task.effects == "at_most_once" and snapshot.origin is None:
            raise SnapshotInvalid(
                f"task {name!r} runs at most once, and the snapshot does not say from which run "
                "it comes: give it that run's origin, Snapshot(..., origin=...)"
            )
        packed = snapshot.packed(name)
        progress = snapshot.progress.get(name)
        if status_of(packed) != TaskStatus.SUCCESS:
            result = decode_result(packed, opaque=True)
            unknown = result.status == TaskStatus.UNKNOWN
            if not unknown and not result.started:
                continue
            if unknown and progress is None:
                attempt = result.attempt
                progress = Progress(attempt=attempt + 1, base=attempt, started=True)
        if not keep:
            _check_unchanged(snapshot, task)
        taken.append((name, packed, progress))
    return taken


def hydration_notes(
    snapshot: Snapshot, graph: Graph, *, keep: bool = False
) -> list[tuple[str, bytes]]:
    """What tasks of the graph had saved, encoded: those that are evaluated again have it too.

    ``keep`` is that of :func:`hydration_outcomes`: else a task that has changed begins without.
    """
    return [
        (name, note)
        for name, note in snapshot.notes.items()
        if name in graph.index and (keep or _is_unchanged(snapshot, graph.tasks[graph.index[name]]))
    ]


def _is_unchanged(snapshot: Snapshot, task: Task) -> bool:
    known = snapshot.fingerprints.get(task.name)
    return known is None or known == fingerprint(task)


def _check_unchanged(snapshot: Snapshot, task: Task) -> None:
    if not _is_unchanged(snapshot, task):
        raise SnapshotInvalid(
            f"task {task.name!r} has changed since the snapshot (its function, arguments or "
            "dependencies): take it out of the snapshot, or take its outcome with --keep"
        )
