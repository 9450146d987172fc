"""A person decides tasks of a run: the whole decision is checked, then written, or nothing is."""

from __future__ import annotations

import getpass
import socket
from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple, get_args

from distflow.authoring.imports import did_you_mean
from distflow.core.claim import Progress
from distflow.core.graph import Graph
from distflow.core.model import TaskResult
from distflow.core.reach import find_dependents
from distflow.core.resolution import (
    Decision,
    Dependent,
    Resolution,
    begun_already,
    decided_result,
    has_begun,
    is_dead_end,
    is_decidable,
    leader_rule,
    retry_progress,
    said_tries,
    satisfies,
    takes_result,
)
from distflow.core.run import TaskCut
from distflow.core.status import TaskStatus
from distflow.errors import InvalidInput, LookAgain, NotEncodable, TaskNotFound, WrongState
from distflow.ids import new_token
from distflow.ports.run_store import RunStore
from distflow.wire.codec import decode_result, encode_result

#: How often the run is read again because others wrote to it.
_LOOKS = 20

#: Names that are read at a time.
_CHUNK = 1000


class _Nothing:
    def __repr__(self) -> str:
        return "nothing"


#: Stands for data that were not given: None may be what a function returned.
NOTHING: Final = _Nothing()


def who_am_i() -> str:
    """``user@host``, for the history."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = "?"
    return f"{user}@{socket.gethostname()}"


class Saying(NamedTuple):
    """A person's decision: ``data`` is what the function would have returned, or NOTHING."""

    decision: Decision
    data: Any
    who: str
    note: str


def resolve_tasks(
    store: RunStore, graph: Graph, names: Sequence[str], saying: Saying
) -> dict[str, TaskStatus]:
    """Decide tasks of a run, all or none, and return their new statuses.

    Args:
        store: the run.
        graph: its graph.
        names: the tasks.
        saying: the decision about all of them.

    Raises:
        TaskNotFound: the run has no such task.
        WrongState: a task cannot be decided, or a dependent of it has started.
        InvalidInput: the decision is not valid: nothing was changed.
    """
    if saying.decision not in get_args(Decision):
        known = ", ".join(map(repr, get_args(Decision)))
        raise InvalidInput(f"the decision must be one of {known}, not {saying.decision!r}")
    chosen = list(dict.fromkeys(names))
    for name in chosen:
        if name not in graph.index:
            hint = did_you_mean(name, graph.index)
            raise TaskNotFound(f"run {store.run_id} has no task {name!r}{hint}")
    if saying.decision == "done" and saying.data is NOTHING:
        _check_unwanted(graph, chosen)
    resolver = _Resolver(store, graph, saying)
    looks = 0
    while True:
        try:
            return resolver.resolve(chosen)
        except LookAgain:
            looks += 1
            if looks == _LOOKS:
                raise


def find_unknown(store: RunStore, graph: Graph) -> list[str]:
    """The unknown tasks of a run, in the graph's order."""
    found = []
    for start in range(0, len(graph), _CHUNK):
        names = [task.name for task in graph.tasks[start : start + _CHUNK]]
        statuses = store.read_statuses(names)
        found += [
            name
            for name, status in zip(names, statuses, strict=True)
            if status == TaskStatus.UNKNOWN
        ]
    return found


def _check_unwanted(graph: Graph, names: Sequence[str]) -> None:
    """Refuse a decision without a value if a dependent takes the value."""
    for name in names:
        index = graph.index[name]
        # Whoever gathers takes the results of all children.
        sources = [name, *(graph.tasks[maker].name for maker in _makers(graph, index))]
        for child in find_dependents(graph, index):
            if any(takes_result(graph.tasks[child], source) for source in sources):
                raise InvalidInput(
                    f"task {graph.tasks[child].name!r} takes what {name!r} returns: give the value "
                    "with --done JSON (data=); null stands for None"
                )


def _makers(graph: Graph, index: int) -> Iterator[int]:
    """The nodes of which a task is a child, the innermost first."""
    while (index := graph.maker(index)) >= 0:
        yield index


class _Resolver:
    """Translates one decision into what the store writes for each task."""

    def __init__(self, store: RunStore, graph: Graph, saying: Saying) -> None:
        self._store = store
        self._graph = graph
        self._saying = saying
        self._operation = new_token()

    def resolve(self, names: Sequence[str]) -> dict[str, TaskStatus]:
        """Read the run, and write the decision."""
        # Read first: the coordinator may be writing what follows from a failure.
        skips = self._store.read_info().counts["skipped"]
        cuts = _read_cuts(self._store, names)
        items = [self._resolution(name, cut) for name, cut in zip(names, cuts, strict=True)]
        decision, _data, who, note = self._saying
        statuses = self._store.resolve_tasks(
            self._operation, decision, items, who, note, skips=skips
        )
        return dict(zip(names, statuses, strict=True))

    def _resolution(self, name: str, cut: TaskCut) -> Resolution:
        """The decision about a task, with what was read of it."""
        if cut.packed is None:
            return self._correct_retry(name, cut)
        before = decode_result(cut.packed, opaque=True)
        if not is_decidable(before):
            raise self._refusal(name, before)
        task = self._graph.tasks[self._graph.index[name]]
        known = cut.progress.attempt if cut.progress else 1
        again = max(known, before.attempt + 1)
        after = self._status
        rests = satisfies(task, before.status) or self._may_be_tolerated(name, before)
        satisfied = after is not None and satisfies(task, after)
        rule = leader_rule(before.status, takes_away=rests and not satisfied)
        item = self._item(name, cut.packed, before.attempt, again)._replace(leader=rule)
        if rests:
            # Its dependents may start at any moment.
            return item._replace(dependents=self._unbegun(name))
        if is_dead_end(before) and (after is None or satisfied):
            return item._replace(skipped=self._skipped_by(name))
        return item

    def _may_be_tolerated(self, name: str, before: TaskResult) -> bool:
        """Whether a failure may have satisfied dependents by the ``max_failures`` of its node."""
        maker = self._graph.maker(self._graph.index[name])
        grow = None if maker < 0 else self._graph.tasks[maker].grow
        allowed = grow is not None and grow.max_failures is not None
        return allowed and before.status == TaskStatus.FAILURE

    def _correct_retry(self, name: str, cut: TaskCut) -> Resolution:
        """An earlier decision may have made the task run again: the store knows."""
        attempt = cut.progress.attempt if cut.progress else 1
        if cut.claim is not None or cut.progress is None or not cut.progress.token:
            what = "at work" if cut.claim else "pending"
            raise WrongState(f"task {name!r} is {what}: there is nothing to decide yet")
        return self._item(name, None, attempt - 1, attempt)

    @property
    def _status(self) -> TaskStatus | None:
        """The status that is decided; None if the task runs again."""
        of = {"done": TaskStatus.SUCCESS, "fail": TaskStatus.FAILURE}
        return of.get(self._saying.decision)

    def _item(self, name: str, seen: bytes | None, attempt: int, again: int) -> Resolution:
        decision, data, who, note = self._saying
        if decision == "retry":
            progress = retry_progress(Progress(again), self._operation, by_hook=False)
            return Resolution(name, b"", seen, progress)
        value = None if data is NOTHING else data
        result = decided_result(decision, attempt, value, who=who, note=note)
        try:
            return Resolution(name, encode_result(result), seen)
        except NotEncodable as error:
            raise InvalidInput(f"--done: {error}") from None

    def _unbegun(self, name: str) -> tuple[Dependent, ...]:
        """The direct dependents of a task; refuses if one has started."""
        graph = self._graph
        dependents = dict.fromkeys(find_dependents(graph, graph.index[name]))
        names = [graph.tasks[child].name for child in dependents]
        found = []
        for child, cut in zip(names, _read_cuts(self._store, names), strict=True):
            result = None if cut.packed is None else decode_result(cut.packed, opaque=True)
            if has_begun(cut, result):
                raise begun_already(name, child)
            status = "" if result is None else result.status.value
            found.append(Dependent(child, status, said_tries(cut.progress)))
        return tuple(found)

    def _skipped_by(self, name: str) -> tuple[str, ...]:
        """The tasks that were skipped because of this one, however far downstream."""
        graph = self._graph
        reached = {graph.index[name]}
        skipped: list[str] = []
        level = [graph.index[name]]
        while level:
            below = {child for index in level for child in find_dependents(graph, index)} - reached
            reached |= below
            level = []
            for start in range(0, len(below), _CHUNK):
                indices = sorted(below)[start : start + _CHUNK]
                names = [graph.tasks[index].name for index in indices]
                for index, status in zip(indices, self._store.read_statuses(names), strict=True):
                    if status == TaskStatus.SKIPPED:
                        level.append(index)
                        skipped.append(graph.tasks[index].name)
        return tuple(skipped)

    def _refusal(self, name: str, before: TaskResult) -> WrongState:
        if before.status == TaskStatus.SUCCESS:
            return WrongState(f"task {name!r} is success: what its worker has done stays done")
        if before.status == TaskStatus.SKIPPED:
            why = f" ({before.message})" if before.message else ""
            return WrongState(f"task {name!r} is skipped{why}: that follows from other tasks")
        return WrongState(
            f"task {name!r} is {before.status}, but not for good: a resume runs it again"
        )


def _read_cuts(store: RunStore, names: Sequence[str]) -> list[TaskCut]:
    return [
        cut
        for start in range(0, len(names), _CHUNK)
        for cut in store.read_cut(names[start : start + _CHUNK])
    ]
