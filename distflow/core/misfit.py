"""What becomes of tasks that workers cannot run because something is missing there: pure policy.

A refusal harms nothing while another worker could run the task. A task that every worker of a queue
has refused is held back, and tried now and then: somebody may install the module under a running
worker. It fails if no other worker joins in time.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import NamedTuple

from distflow.core.claim import scope_of
from distflow.core.graph import Graph
from distflow.core.model import Task, TaskResult
from distflow.core.run import Refusal
from distflow.core.status import TaskStatus

#: Seconds until what is held back is tried again; doubled each time, up to the second value.
_FIRST_TRY_SECONDS = 1.0
_LONGEST_TRY_SECONDS = 15.0

#: How many workers an error names; the others are counted.
_NAMED = 5


class Registration(NamedTuple):
    """One life of a worker: its name and its birth, as RQ has them."""

    name: str
    born: str


class Held(NamedTuple):
    """Tasks of a queue that none of its workers can run, or whose verify hook none can ask."""

    scope: str
    queue: str

    @property
    def is_question(self) -> bool:
        """Whether it is about the verify hook."""
        return self.scope.startswith("verify ")


def scopes_of(task: Task) -> Iterator[str]:
    """The scopes that cover a task, besides the one of its name."""
    yield scope_of("function", task.function)
    if task.condition is not None:
        yield scope_of("condition", task.condition)
    if task.loop is not None:
        yield scope_of("until", task.loop.until)
    if task.verify is not None:
        yield scope_of("verify", task.verify)


class ScopeIndex:
    """The tasks of each scope, by index in the graph.

    Args:
        graph: the run's; it may grow.
    """

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self._tasks: dict[str, dict[int, None]] = {}
        #: How many tasks were listed so far.
        self._listed = 0

    def tasks(self, scope: str) -> Mapping[int, None]:
        """The tasks of a scope, in the graph's order."""
        kind, _, name = scope.partition(" ")
        if kind == "task":
            index = self.graph.index.get(name)
            return {} if index is None else {index: None}
        if self._listed < len(self.graph):
            self._list_new()
        return self._tasks.get(scope, {})

    def _list_new(self) -> None:
        for index in range(self._listed, len(self.graph)):
            for scope in scopes_of(self.graph.tasks[index]):
                self._tasks.setdefault(scope, {})[index] = None
        self._listed = len(self.graph)

    def tasks_of(self, held: Held) -> list[int]:
        """The tasks of the scope that are on the queue, too."""
        tasks = self.graph.tasks
        return [index for index in self.tasks(held.scope) if tasks[index].queue == held.queue]


class MisfitWatch:
    """Tracks which scopes every worker of a queue has refused, and since when.

    Args:
        patience_seconds: how long to wait for an able worker.
    """

    def __init__(self, patience_seconds: float) -> None:
        self._patience_seconds = patience_seconds
        self._live: Mapping[str, Collection[Registration]] = {}
        #: Queue -> all workers ever seen there; and when the first was seen.
        self._seen: dict[str, set[Registration]] = {}
        self._newest_at: dict[str, float] = {}
        #: Since when they have been held.
        self._held: dict[Held, float] = {}
        #: When each is tried again, and the pause after that.
        self._tries: dict[Held, tuple[float, float]] = {}

    def look(
        self,
        refusals: Sequence[Refusal],
        live: Mapping[str, Collection[Registration]],
        now: float,
    ) -> None:
        """Take in the refusals, and the present workers of each queue.

        ``now`` is the monotonic clock, in seconds.
        """
        refused_by: dict[str, set[Registration]] = {}
        for refusal in refusals:
            by = Registration(refusal.worker, refusal.born)
            refused_by.setdefault(refusal.scope, set()).add(by)
        self._live = live
        for queue, workers in live.items():
            seen = self._seen.setdefault(queue, set())
            if not seen.issuperset(workers):
                seen.update(workers)
                self._newest_at[queue] = now
        held = {
            Held(scope, queue)
            for scope, refused in refused_by.items()
            for queue, workers in live.items()
            # A queue without workers lacks a worker, it has no misfit. A worker that cannot read
            # jobs says nothing about any task.
            if scope and workers and refused.issuperset(workers)
        }
        self._held = {each: self._held.get(each, now) for each in held}
        self._tries = {
            each: self._tries.get(each, (now + _FIRST_TRY_SECONDS, _FIRST_TRY_SECONDS))
            for each in held
        }

    @property
    def held(self) -> frozenset[Held]:
        """What no present worker can run."""
        return frozenset(self._held)

    def has_failed(self, held: Held, now: float) -> bool:
        """Whether the wait for another worker is over. A process that is its own only worker does
        not wait.
        """
        if not any(worker.name for worker in self._live[held.queue]):
            return True
        since = max(self._held[held], self._newest_at[held.queue])
        return now - since >= self._patience_seconds

    def is_due(self, held: Held, now: float) -> bool:
        """Whether it is time to try one task again; if so, the next try is scheduled."""
        at, after = self._tries[held]
        if now < at:
            return False
        after = min(_LONGEST_TRY_SECONDS, 2 * after)
        self._tries[held] = now + after, after
        return True


def misfit_result(refusals: Sequence[Refusal]) -> TaskResult:
    """The outcome of a task that no worker can run, with the reasons of all of them.

    Args:
        refusals: those of its scope, by the present workers.
    """
    first = refusals[0]
    if not first.worker:
        # This process is the only worker, so there is no need to name it.
        return TaskResult(
            TaskStatus.FAILURE, error=first.words, message=first.words, traceback=first.trace
        )
    by_words: dict[str, list[Refusal]] = {}
    for refusal in refusals:
        by_words.setdefault(refusal.words, []).append(refusal)
    said = "; ".join(f"{words} ({name_workers(some)})" for words, some in by_words.items())
    message = f"no worker can run it: {first.what} is missing on each"
    return TaskResult(TaskStatus.FAILURE, error=said, message=message, traceback=first.trace)


def name_workers(refusals: Sequence[Refusal]) -> str:
    """``worker w1 on host h, pid 7, in /srv and 3 more``."""
    named = [name_worker(refusal) for refusal in refusals[:_NAMED]]
    more = len(refusals) - _NAMED
    return ", ".join(named) + (f" and {more} more" if more > 0 else "")


def name_worker(refusal: Refusal) -> str:
    """``worker w1 on host h, pid 7, in /srv``: and where it runs, as far as known."""
    host = f" on host {refusal.host}" if refusal.host else ""
    pid = f", pid {refusal.pid}" if refusal.pid else ""
    directory = f", in {refusal.directory}" if refusal.directory else ""
    return f"worker {refusal.worker}{host}{pid}{directory}"


def wanted_of(refusal: Refusal) -> str:
    """What it could not run: ``shop:charge``, ``task a``, ``the verify hook shop:was_charged``."""
    kind, _, name = refusal.scope.partition(" ")
    match kind:
        case "":
            return "the jobs of this run"
        case "function":
            return name
        case "task":
            return f"task {name}"
        case _:
            return f"the {kind} {name}"


def find_held(
    refusals: Sequence[Refusal], live: Mapping[str, Collection[Registration]]
) -> list[Held]:
    """What no present worker can run, as far as known."""
    watch = MisfitWatch(0.0)
    watch.look(refusals, live, 0.0)
    return sorted(watch.held)
