"""What a new run takes over from a snapshot, and what it runs again."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from functools import cached_property
from typing import NamedTuple

from distflow.authoring import takes_context
from distflow.authoring.imports import did_you_mean
from distflow.core.claim import Progress
from distflow.core.graph import Graph
from distflow.core.model import Task, users_part
from distflow.core.reach import find_above, find_below
from distflow.core.status import TaskStatus
from distflow.errors import InvalidInput, SnapshotInvalid
from distflow.runs.inheritance import Inheritance
from distflow.snapshot import Snapshot
from distflow.snapshot.gap import (
    Gap,
    check_gap,
    gap_refusal,
    gap_warning,
    may_add_once,
    may_have_started,
    may_start,
    said_names,
    stale_warning,
    without_warning,
)
from distflow.snapshot.records import SavedExpansion
from distflow.wire.codec import decode_result, status_of
from distflow.wire.fingerprint import fingerprint

_LEAVE_OUT = "leave it out as well with --except {} (without=), or use --rerun-changed"

#: Encoded TaskResult and progress of a task.
Standing = tuple[bytes | None, Progress | None]

#: Name, encoded TaskResult and progress, as :meth:`RunStore.hydrate` takes them.
Hydrated = tuple[str, bytes | None, Progress | None]


class Taking(NamedTuple):
    """How to take a snapshot over.

    Args:
        gap: for the snapshot of a run that continued: see :data:`distflow.snapshot.gap.Gap`.
        keep: keep outcomes although the function or the arguments of their task have changed.
        rerun_changed: run tasks that have changed again, and everything downstream.
        without: tasks to ignore in the snapshot.
        new_keys: accept a snapshot without an origin, although this changes ``ctx.key`` of its
            tasks.
    """

    gap: Gap = "unknown"
    keep: bool = False
    rerun_changed: bool = False
    without: Sequence[str] = ()
    new_keys: bool = False


class Takeover(NamedTuple):
    """What a new run starts from: outcomes, what tasks had saved, and warnings for a person."""

    outcomes: list[Hydrated]
    notes: list[tuple[str, bytes]]
    warnings: list[str]
    #: What growing nodes had added, in the order of their ``seq``.
    expansions: Sequence[SavedExpansion] = ()


NOTHING_TAKEN = Takeover([], [], [])


def take_over(snapshot: Snapshot, graph: Graph, taking: Taking | None = None) -> Takeover:
    """Find the outcomes of a snapshot that stand: success, unknown, and whatever may have had
    effects. Everything else is evaluated again.

    Args:
        snapshot: what is known to be done.
        graph: the graph of the new run.
        taking: how; None takes the defaults.

    Raises:
        SnapshotInvalid: it has a task that the graph does not have, or one that has changed; it has
            no origin, and an ``at_most_once`` task is to run; or its run continued, and that is
            refused.
        InvalidInput: the options exclude each other.
    """
    taking = taking or Taking()
    check_gap(taking.gap)
    if taking.keep and taking.rerun_changed:
        raise InvalidInput("--keep and --rerun-changed exclude each other: give only one of them")
    return _Takeover(snapshot, graph, taking).make()


class _Takeover:
    def __init__(self, snapshot: Snapshot, graph: Graph, taking: Taking) -> None:
        self._snapshot = snapshot
        self._taking = taking
        self._without = frozenset(taking.without)
        self._inheritance = Inheritance(snapshot, graph, self._without)
        #: With all expansions that may stay.
        self._graph = self._inheritance.graph
        self._warnings: list[str] = []
        #: Nodes that are evaluated again because their expansion does not stay.
        self._stale: set[str] = set()

    def make(self) -> Takeover:
        """Check everything, then return what is taken."""
        self._check_names()
        gap = self._gap()
        again = self._find_again()
        kept = {name: at for name, at in self._standing.items() if name not in again} | gap
        expansions = self._drop_stale(kept, again)
        self._warn_of_stale(kept)
        self._warn_of_without()
        self._check_keys(kept)
        outcomes = [(name, *at) for name, at in kept.items()]
        notes = self._notes(kept, again)
        return Takeover(outcomes, notes, self._warnings, expansions)

    def _drop_stale(self, kept: dict[str, Standing], again: set[str]) -> list[SavedExpansion]:
        """The expansions that stay. The others go from ``kept``, and are noted in ``again``."""
        inheritance = self._inheritance
        packed = {name: at[0] for name, at in kept.items()}
        self._stale = inheritance.find_stale(packed, self._has_changed)
        self._warnings += inheritance.warn_of(self._stale - again)
        gone = self._stale | inheritance.children_of(self._stale)
        is_open = self._snapshot.live and self._taking.gap != "run"
        inheritance.refuse_started(self._stale, packed, self._without, is_open=is_open)
        for name in gone:
            kept.pop(name, None)
        again |= gone
        return [saved for node, saved in inheritance.saved.items() if node not in gone]

    @cached_property
    def _standing(self) -> dict[str, Standing]:
        """The outcomes that stand, of tasks that the graph has."""
        standing: dict[str, Standing] = {}
        for name in self._snapshot:
            if name in self._without or name not in self._graph.index:
                continue
            if self._inheritance.has_lost(name):
                continue
            packed = self._snapshot.packed(name)
            progress = self._snapshot.progress.get(name)
            if status_of(packed) != TaskStatus.SUCCESS:
                result = decode_result(packed, opaque=True, task=name)
                unknown = result.status == TaskStatus.UNKNOWN
                if not unknown and not result.started:
                    continue
                if unknown and progress is None:
                    attempt = result.attempt
                    progress = Progress(attempt=attempt + 1, base=attempt, started=True)
            standing[name] = packed, progress
        return standing

    def _task(self, name: str) -> Task:
        return self._graph.tasks[self._graph.index[name]]

    def _is_once(self, name: str) -> bool:
        return self._task(name).effects == "at_most_once"

    # Names

    def _check_names(self) -> None:
        known = {*self._snapshot, *self._snapshot.fingerprints}
        for name in self._without:
            if name not in known and name not in self._graph.index:
                raise SnapshotInvalid(
                    f"--except {name}: neither the snapshot nor the workflow has that task"
                    f"{did_you_mean(name, known)}"
                )
        removed = [
            name
            for name in self._snapshot
            if name not in self._graph.index
            and name not in self._without
            and not self._inheritance.is_child(name)
        ]
        if not removed:
            return
        said = said_names(removed)
        if self._taking.keep or self._taking.rerun_changed:
            self._warnings.append(f"the workflow no longer has {said}: left out")
            return
        raise SnapshotInvalid(
            f"the snapshot has {said}, which the workflow does not have"
            f"{did_you_mean(removed[0], self._graph.index)}: use a snapshot of this workflow, or "
            f"leave out what the workflow no longer has with --except {removed[0]} (without=), "
            "--rerun-changed or --keep"
        )

    # The gap

    def _gap(self) -> dict[str, Standing]:
        """The ``at_most_once`` tasks that may have started since the snapshot was taken."""
        snapshot = self._snapshot
        if not (snapshot.live and snapshot.once) or self._taking.gap == "run":
            return {}
        found: dict[str, Standing] = {}
        for name in snapshot.fingerprints:
            # A task that the snapshot's run did not have cannot have started there.
            if name in self._without or name not in self._graph.index:
                continue
            adds = may_add_once(self._task(name)) and name not in self._inheritance.saved
            if not (adds or self._is_once(name)):
                continue
            packed = snapshot.packed(name) if name in snapshot else None
            if may_start(packed):
                found[name] = may_have_started(packed, snapshot.progress.get(name))
        if found and self._taking.gap == "refuse":
            raise SnapshotInvalid(gap_refusal(len(found)))
        if found:
            self._warnings.append(gap_warning(len(found), next(iter(found))))
        return found

    # What has changed

    def _find_again(self) -> set[str]:
        """The tasks whose outcome is not taken: they, or a task upstream, have changed."""
        taking = self._taking
        changed = [name for name in self._standing if self._has_changed(name)]
        if taking.rerun_changed:
            again = self._downstream([*changed, *self._resting(), *self._left_out])
            once = [name for name in again if name in self._standing and self._is_once(name)]
            if once:
                raise SnapshotInvalid(
                    f"--rerun-changed would run {said_names(once)} again, which may run at most "
                    f"once: find out what became of it, then use --except {once[0]} (without=) to "
                    "run it again anyway, or --keep instead of --rerun-changed"
                )
        elif taking.keep:
            again = self._keep_all_but_shifted(changed)
        elif changed:
            raise SnapshotInvalid(self._changed_words(changed))
        else:
            again = set()
        rerun = [name for name in self._standing if name in again]
        if rerun:
            are = "is" if len(rerun) == 1 else "are"
            self._warnings.append(
                f"{said_names(rerun)} {are} run again: changed, or downstream of a change"
            )
        return again

    def _keep_all_but_shifted(self, changed: Sequence[str]) -> set[str]:
        """Keep changed tasks, except those whose dependencies have changed, and all downstream of
        those: their outcomes would be outdated. A task that may run at most once is kept.
        """
        shifted = [
            name for name in changed if self._is_shifted(name) or name in self._inheritance.saved
        ]
        reached = self._downstream(shifted, through_once=False)
        once = [name for name in self._standing if name in reached and self._is_once(name)]
        if once:
            self._warnings.append(
                f"{said_names(once)} may run at most once: its outcome is kept, although what it "
                "depends on has changed"
            )
        blind = [name for name in changed if self._snapshot.depends_on(name) is None]
        if blind:
            self._warnings.append(
                f"{said_names(blind)} has changed and is kept; the snapshot does not say what it "
                "depended on"
            )
        return reached - set(once)

    def _has_changed(self, name: str) -> bool:
        if self._graph.maker(self._graph.index[name]) >= 0:
            # It is as the snapshot has it.
            return False
        known = self._snapshot.fingerprints.get(name)
        return known is not None and known != fingerprint(self._task(name))

    def _is_shifted(self, name: str) -> bool:
        """Whether a task is known to have other dependencies than before."""
        before = self._snapshot.depends_on(name)
        return before is not None and before != frozenset(self._task(name).depends_on)

    def _changed_words(self, changed: Sequence[str]) -> str:
        first = changed[0]
        if self._snapshot.depends_on(first) is None:
            what = "its function, arguments or dependencies"
        else:
            what = "its dependencies" if self._is_shifted(first) else "its function or arguments"
        shifted = self._is_shifted(first) and not self._is_once(first)
        keep = "run it again and keep the others" if shifted else "keep its outcome"
        more = f", as have {len(changed) - 1} more" if len(changed) > 1 else ""
        return (
            f"task {first!r} has changed since the snapshot ({what}){more}: rerun what has "
            "changed, and everything downstream, with --rerun-changed; leave it out with --except "
            f"{first} (without=); or {keep} with --keep"
        )

    @cached_property
    def _left_out(self) -> list[str]:
        return [name for name in self._without if name in self._graph.index]

    def _resting(self) -> list[str]:
        """Tasks whose outcome would be taken although a task that they rest on has none, which its
        run had: somebody has removed it from the snapshot.
        """
        snapshot, tasks = self._snapshot, self._graph.tasks
        return [
            name
            for name in self._standing
            if any(
                tasks[parent].name in snapshot.fingerprints
                and (
                    tasks[parent].name in self._without
                    or tasks[parent].name in self._stale
                    or tasks[parent].name not in snapshot
                )
                and tasks[parent].name not in snapshot.superseded
                for parent in find_above(self._graph, self._graph.index[name])
            )
        ]

    def _downstream(self, names: Iterable[str], *, through_once: bool = True) -> set[str]:
        """These tasks and everything downstream. Without ``through_once``, not what is downstream
        only through a task that may run at most once, since that is kept.
        """
        graph = self._graph
        left = [graph.index[name] for name in names]
        reached = set(left)
        while left:
            index = left.pop()
            if graph.tasks[index].effects == "at_most_once" and not through_once:
                continue
            below = {child for child in find_below(graph, index) if child not in reached}
            reached |= below
            left += below
        return {graph.tasks[index].name for index in reached} - set(self._left_out)

    def _warn_of_stale(self, kept: Collection[str]) -> None:
        stale = [name for name in self._resting() if name in kept]
        if stale:
            self._warnings.append(stale_warning(stale, _LEAVE_OUT))

    def _warn_of_without(self) -> None:
        started = [
            name
            for name in self._left_out
            if self._is_once(name)
            and name in self._snapshot
            and not may_start(self._snapshot.packed(name))
        ]
        if started:
            self._warnings.append(without_warning(started))

    # Keys

    def _check_keys(self, kept: dict[str, Standing]) -> None:
        """Without an origin, ``ctx.key`` of tasks changes."""
        if self._snapshot.origin is not None:
            return
        # A decision may run an unknown or failed task again.
        done = {
            name
            for name, (packed, _progress) in kept.items()
            if packed is not None and status_of(packed) == TaskStatus.SUCCESS
        }
        to_run = [users_part(task) for task in self._graph.tasks if task.name not in done]
        once = [task.name for task in to_run if task.effects == "at_most_once"]
        if once and not self._taking.new_keys:
            raise SnapshotInvalid(
                f"{said_names(once)} may run at most once, and the snapshot does not say which run "
                "it is of, so ctx.key would change: give that run's origin, "
                "Snapshot(..., origin=...) or with_snapshot(..., origin=...), or accept new keys "
                "with new_keys=True"
            )
        keyed = [
            task.name
            for task in to_run
            if task.effects != "at_most_once" and takes_context(task.function)
        ]
        if keyed and not self._taking.new_keys:
            takes = "takes" if len(keyed) == 1 else "take"
            self._warnings.append(
                f"{said_names(keyed)} {takes} ctx, and the snapshot does not say which run it is "
                "of: ctx.key changes; give origin=, or new_keys=True"
            )

    # What was saved

    def _notes(self, kept: Collection[str], again: Collection[str]) -> list[tuple[str, bytes]]:
        """What tasks of the graph had saved, also for those that are evaluated again. A changed
        task starts without it, unless it is kept.
        """
        return [
            (name, note)
            for name, note in self._snapshot.notes.items()
            if name in self._graph.index
            and name not in self._without
            and name not in again
            and (name in kept or self._taking.keep or not self._has_changed(name))
        ]
