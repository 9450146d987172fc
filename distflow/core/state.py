"""TaskStateManager: the status of every task of a run, and what follows from events.

Pure: a coordinator reports what it saw, and asks what to do next. Reporting the same thing twice
changes nothing, so a stream may be read again from any point.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple

from distflow.core.claim import Progress
from distflow.core.dependencies import Consequences, Dependencies
from distflow.core.ending import verdict_of
from distflow.core.graph import Graph
from distflow.core.questions import HookQuestions
from distflow.core.ready import ReadyQueue, sort_key
from distflow.core.run import Claim
from distflow.core.status import FINAL, TASK_MOVES, RunStatus, TaskStatus, check_move
from distflow.core.time_waits import TimeWaits

_S = TaskStatus

#: The next step towards an outcome; events may skip steps.
_NEXT_STEP = {
    _S.PENDING: _S.READY,
    _S.WAITING: _S.READY,
    _S.READY: _S.QUEUED,
    _S.QUEUED: _S.CLAIMED,
    _S.CLAIMED: _S.STARTED,
}


def _reached_from(status: TaskStatus) -> frozenset[TaskStatus]:
    following = _NEXT_STEP.get(status)
    return TASK_MOVES[status] | (_reached_from(following) if following else frozenset())


#: The statuses that a task may be seen in next, since events may skip steps.
_REACHED = {status: _reached_from(status) for status in TaskStatus}

_UNHELD = frozenset({_S.PENDING, _S.READY, _S.QUEUED, _S.WAITING})
_ON_ITS_WAY = frozenset({_S.QUEUED, _S.CLAIMED, _S.STARTED})
_OPEN = (_S.READY, _S.QUEUED, _S.CLAIMED, _S.STARTED, _S.WAITING)


class Skip(NamedTuple):
    """A task that will not run, and why; the coordinator writes it to the store."""

    task: int
    message: str


class TaskStateManager:
    """The statuses of a run's tasks, by index in the graph.

    Args:
        graph: the run's.
        outcomes: the status of every task that has an outcome.
        claims: the held claims.
        progress: what else is known about tasks.
        now_ms: milliseconds on the caller's clock, like all times here.
    """

    def __init__(
        self,
        graph: Graph,
        outcomes: Mapping[str, TaskStatus],
        claims: Mapping[str, Claim],
        progress: Mapping[str, Progress],
        now_ms: int,
    ) -> None:
        self.graph = graph
        self.statuses = [_S.PENDING] * len(graph)
        self.counts = dict.fromkeys(TaskStatus, 0)
        self.counts[_S.PENDING] = len(graph)
        #: What the end of one task means for others.
        self.dependencies = Dependencies(graph, self.statuses)
        #: Ready tasks by queue.
        self._ready: dict[str, ReadyQueue] = {}
        #: Tasks that have lost a worker: they may be what killed it.
        self._suspects: set[int] = set()
        #: Tasks that wait for a time; those that wait for a worker are not here.
        self._timed = TimeWaits()
        self._skips: list[Skip] = []
        #: The unknown tasks whose verify hook has not answered yet.
        self.questions = HookQuestions(graph)
        #: Tasks that no worker can run, and those of them that are sent anyway, once, as a trial.
        self._barred: set[int] = set()
        self._tried: set[int] = set()
        self._restore(outcomes, claims, progress, now_ms)

    # What happened

    def grow(self, node: int, added: range) -> None:
        """The graph has got these children of a growing node: a chunk of its expansion. Its success
        is reported once all of them are there.
        """
        self.statuses += [_S.PENDING] * len(added)
        self.counts[_S.PENDING] += len(added)
        self._follow(self.dependencies.grow(node, added))

    def on_queued(self, index: int) -> None:
        """The task was put into a batch, perhaps behind dependencies that are not satisfied yet."""
        if self.statuses[index] in (_S.READY, _S.PENDING):
            self._set(index, _S.QUEUED)
        if index in self._tried:
            self._tried.discard(index)
            self._barred.add(index)

    def on_claimed(self, index: int) -> None:
        """A worker holds the task."""
        if self.statuses[index] in (_S.PENDING, _S.READY, _S.QUEUED, _S.WAITING):
            self._set(index, _S.CLAIMED)

    def on_unstarted(self, index: int) -> None:
        """The batch that carried the task ended without claiming it."""
        if self.statuses[index] == _S.QUEUED:
            self._reconsider(index)

    def on_released(self, index: int) -> None:
        """A worker has given the task back without having called it."""
        if self.statuses[index] in (_S.CLAIMED, _S.STARTED):
            self._reconsider(index)

    def on_lost(self, index: int) -> None:
        """The task was running when its worker was lost: from now on it travels alone."""
        self._suspects.add(index)

    def on_waiting(self, index: int, due_ms: int, now_ms: int) -> None:
        """The task runs again, but not before this time."""
        if self.statuses[index] in FINAL:
            return
        if self.statuses[index] == _S.UNKNOWN:
            # The worker was alive after all, and vouches for nothing having happened.
            self._set(index, _S.READY)
        self._set(index, _S.WAITING)
        if due_ms <= now_ms:
            self._reconsider(index)
        else:
            self._timed.add(index, due_ms)

    def on_finished(self, index: int, status: TaskStatus) -> None:
        """The task has an outcome. A final one never changes; an unknown one can be decided."""
        old = self.statuses[index]
        if old in FINAL or old == status:
            return
        self._set(index, status)
        if status != _S.UNKNOWN:
            self._spread(index)

    def on_resolved(self, index: int, status: TaskStatus) -> None:
        """A person or a hook decided an unknown task: an outcome, or ``ready``. It stays
        ``unknown`` if the hook could not tell.
        """
        if status == _S.UNKNOWN:
            self.questions.close(index)
        elif status != _S.READY:
            self.on_finished(index, status)
        elif self.statuses[index] == _S.UNKNOWN:
            self._make_ready(index)

    def on_time(self, now_ms: int) -> None:
        """Time has passed: tasks that waited until now become ready."""
        for index in self._timed.take_due(now_ms):
            self._reconsider(index)

    # What no worker can run

    def bar(self, indices: Collection[int]) -> None:
        """Exactly these tasks can be run by no worker; all others may be sent."""
        let_go, self._barred = self._barred.difference(indices), set(indices)
        self._tried.clear()
        for index in self._barred:
            if self.statuses[index] == _S.READY:
                self._set(index, _S.WAITING)
        for index in let_go:
            if self._waits_for_worker(index):
                self._make_ready(index)

    def try_one(self, indices: Iterable[int]) -> None:
        """Send one of these barred tasks anyway, unless one is under way."""
        first = None
        for index in indices:
            if index in self._tried or self.statuses[index] in _ON_ITS_WAY:
                return
            if first is None and self._waits_for_worker(index):
                first = index
        if first is not None:
            self._barred.discard(first)
            self._tried.add(first)
            self._make_ready(first)

    def unheld(self, indices: Iterable[int]) -> list[int]:
        """Those of the tasks that could run now and that no worker holds."""
        sent = (_S.READY, _S.QUEUED)
        return [
            index
            for index in indices
            if self._waits_for_worker(index)
            or (self.statuses[index] in sent and not self.dependencies.unmet[index])
        ]

    def _waits_for_worker(self, index: int) -> bool:
        return self.statuses[index] == _S.WAITING and index not in self._timed

    # What to do

    def ready(self, queue: str) -> ReadyQueue:
        """The ready tasks of a queue, to take from. A task that is taken stays ready until
        :meth:`on_queued`, but is not listed again.
        """
        return self._ready.setdefault(queue, ReadyQueue(self.statuses))

    def unmet(self, index: int) -> int | None:
        """How many dependencies of a pending task are not satisfied; None if it is not pending, or
        must not be sent.
        """
        if self.statuses[index] != _S.PENDING or index in self._barred:
            return None
        return self.dependencies.unmet[index]

    def travels_alone(self, index: int) -> bool:
        """Whether the task must be the only one in its batch: it has lost a worker before, grows
        the graph, or gathers what a grown node stands for.
        """
        grows = self.graph.tasks[index].grow is not None
        return grows or index in self._suspects or self.graph.gathers(index)

    def queues(self) -> list[str]:
        """The queues with ready tasks or with hooks to ask."""
        ready = [queue for queue, tasks in self._ready.items() if tasks]
        return list(dict.fromkeys([*ready, *self.questions.queues()]))

    def take_skips(self) -> list[Skip]:
        """The tasks that were skipped since the last call."""
        skips, self._skips = self._skips, []
        return skips

    @property
    def can_cancel(self) -> bool:
        """Whether :meth:`cancel_open` would cancel anything."""
        return bool(self.questions) or any(self.counts[status] for status in _UNHELD)

    def cancel_open(self) -> list[int]:
        """Cancel every task that no worker holds, return them, and stop asking hooks."""
        self.questions.close_all()
        if not any(self.counts[status] for status in _UNHELD):
            return []
        cancelled = [index for index, status in enumerate(self.statuses) if status in _UNHELD]
        for index in cancelled:
            self._set(index, _S.CANCELLED)
        return cancelled

    def next_due(self) -> int | None:
        """When the next waiting task is due, in ms."""
        return self._timed.next_due()

    def waits(self) -> dict[int, int]:
        """When each waiting task is due, in ms, by index."""
        return self._timed.items()

    @property
    def in_flight(self) -> int:
        """How many tasks are queued or held by a worker."""
        return self.counts[_S.QUEUED] + self.claimed

    @property
    def claimed(self) -> int:
        """How many tasks a worker holds."""
        return self.counts[_S.CLAIMED] + self.counts[_S.STARTED]

    @property
    def is_over(self) -> bool:
        """Whether nothing more will happen by itself: what is left waits for a person."""
        return not self.questions and not any(self.counts[status] for status in _OPEN)

    def verdict(self, *, cancelled: bool) -> RunStatus:
        """How a run that is over has ended."""
        # A pending task waits for an unknown one. If it ever did not, the run would not have
        # succeeded either.
        if self.counts[_S.UNKNOWN] or self.counts[_S.PENDING]:
            return RunStatus.BLOCKED
        if cancelled and self.counts[_S.SUCCESS] < len(self.graph):
            return RunStatus.CANCELLED
        if not self.counts[_S.FAILURE] and not self.counts[_S.CANCELLED]:
            return RunStatus.SUCCESS
        return verdict_of(self.graph, self.statuses, self.dependencies.is_tolerated)

    # How

    def _restore(
        self,
        outcomes: Mapping[str, TaskStatus],
        claims: Mapping[str, Claim],
        progress: Mapping[str, Progress],
        now_ms: int,
    ) -> None:
        graph, unmet = self.graph, self.dependencies.unmet
        for index in graph.order:
            if index < 0:
                # A join: its node has joined when its last child was restored.
                continue
            name = graph.tasks[index].name
            outcome = outcomes.get(name)
            claim = claims.get(name)
            if outcome is not None:
                self._restore_outcome(index, outcome)
            elif claim is not None:
                self._force(index, _S.STARTED if claim.started else _S.CLAIMED)
            elif unmet[index]:
                root = self.dependencies.doomed_by(index)
                if root is not None:
                    self._skip(index, root)
                    self.dependencies.settle(index)
            elif (known := progress.get(name)) is None:
                self._make_ready(index)
            else:
                if known.lost:
                    self._suspects.add(index)
                self._force(index, _S.WAITING)
                self.on_waiting(index, known.not_before, now_ms)

    def _restore_outcome(self, index: int, outcome: TaskStatus) -> None:
        """Dependents come later in the order: they see then what follows."""
        self._force(index, outcome)
        if outcome != _S.UNKNOWN:
            self.dependencies.settle(index)

    def _spread(self, index: int) -> None:
        """Propagate a final outcome to the dependents."""
        self._follow(self.dependencies.settle(index))

    def _follow(self, found: Consequences) -> None:
        """Make tasks ready, or skip them and what depends on them."""
        following = [found]
        while following:
            met, doomed = following.pop()
            for index in met:
                if self.statuses[index] == _S.PENDING:
                    self._make_ready(index)
            for index, root in doomed:
                if self.statuses[index] == _S.PENDING:
                    self._skip(index, root)
                    following.append(self.dependencies.settle(index))

    def _skip(self, index: int, root: int) -> None:
        """Skip a task, because of the task that was the first cause."""
        self.dependencies.set_root(index, root)
        self._set(index, _S.SKIPPED)
        cause = self.graph.tasks[root].name
        self._skips.append(Skip(index, f"not run: {cause!r} ended as {self.statuses[root]}"))

    def _make_ready(self, index: int) -> None:
        self._set(index, _S.READY)
        if index in self._barred:
            self._set(index, _S.WAITING)
            return
        task = self.graph.tasks[index]
        self.ready(task.queue).add(sort_key(task.priority, index))

    def _reconsider(self, index: int) -> None:
        """Nobody holds the task: make it ready, pending or skipped, by its dependencies."""
        if not self.dependencies.unmet[index]:
            self._make_ready(index)
        elif (root := self.dependencies.doomed_by(index)) is not None:
            self._skip(index, root)
            self._spread(index)
        else:
            self._set(index, _S.PENDING)

    def _set(self, index: int, new: TaskStatus) -> None:
        old = self.statuses[index]
        if new not in _REACHED[old]:
            check_move(self.graph.tasks[index].name, old, new)
        self._force(index, new)

    def _force(self, index: int, new: TaskStatus) -> None:
        old = self.statuses[index]
        if old is _S.UNKNOWN:
            self.questions.close(index)
        elif old is _S.WAITING:
            self._timed.drop(index)
        self.counts[old] -= 1
        self.counts[new] += 1
        self.statuses[index] = new
        if new is _S.UNKNOWN:
            self.questions.open(index)
