"""OpenBatches: which batches of a run are out, and which tasks they carry."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple

from distflow.coordinator.fleet import Fleet
from distflow.coordinator.silence import Silence
from distflow.core.batches import Batch
from distflow.core.batching import BatchComposer, find_behind
from distflow.core.expansion import Expansion
from distflow.core.pacing import (
    UNCOUNTED_CREW,
    Bounces,
    Crew,
    Lingering,
    QueueRests,
    is_grouped,
    patience_ms,
)
from distflow.core.run import RunInfo
from distflow.core.state import TaskStateManager
from distflow.core.status import TaskStatus
from distflow.wire.tasks import weigh_arguments

_AT_WORK = (TaskStatus.CLAIMED, TaskStatus.STARTED)
_OPEN = (TaskStatus.QUEUED, *_AT_WORK)
_UNCLAIMED = (TaskStatus.QUEUED, TaskStatus.READY, TaskStatus.WAITING)


class _Sent(NamedTuple):
    batch: Batch
    #: Indices of its tasks.
    tasks: list[int]
    #: On the coordinator's monotonic clock.
    at: float


class OpenBatches:
    """Makes batches of ready tasks, and keeps track of them until they have ended. ``now`` is in
    seconds, on the coordinator's monotonic clock.

    Args:
        fleet: how many batches may be out, and what functions cost; shared with other runs.
        info: the run.
        epoch: the coordinator's.
        state: the state of its tasks, which knows its graph.
        records: node -> the record of its expansion, of those in the graph; the owner adds more.
        number: of the last batch that this epoch has sent. Ids are never used twice.
    """

    def __init__(
        self,
        fleet: Fleet,
        info: RunInfo,
        epoch: int,
        state: TaskStateManager,
        records: Mapping[int, Expansion],
        *,
        number: int = 0,
    ) -> None:
        self._fleet = fleet
        self._info = info
        self._epoch = epoch
        self._graph = graph = state.graph
        self._state = state
        self._records = records
        self._sent: dict[str, _Sent] = {}
        #: For each of these: when it was last looked for or seen; at first, when it was sent.
        self._looked: dict[str, float] = {}
        #: Those of these that a worker was seen to begin.
        self._begun: set[str] = set()
        #: When events about the tasks of each were heard.
        self._silence = Silence(fleet.limits.held_ms / 1000)
        self.number = number
        #: Index of a queued task -> the batch that carries it.
        self._carrier: dict[int, str] = {}
        #: Tasks that workers hold through batches of an earlier coordinator.
        self._adopted = {i for i, status in enumerate(state.statuses) if status in _AT_WORK}
        self._bounces = Bounces()
        #: Tasks that came back more than once from batches that could claim none of them, and that
        #: nobody has claimed since.
        self._refused: set[int] = set()
        self._rests = QueueRests()
        self._lingering = Lingering(fleet.limits.linger_ms, fleet.limits.job_ms)
        self._composer = BatchComposer(
            graph,
            state.unmet,
            self._travels_alone,
            fleet.estimates,
            fleet.limits,
            weigh=weigh_arguments,
        )
        self._held_seconds = fleet.limits.held_ms / 1000
        #: Those of the run's tasks, in order.
        self.queues = sorted({task.queue for task in graph.tasks})
        fleet.serve(self.queues)

    def serve(self, queues: Iterable[str]) -> None:
        """The run has got tasks on these queues."""
        new = set(queues).difference(self.queues)
        if new:
            self.queues = sorted(new.union(self.queues))
            self._fleet.serve(new)

    def close(self) -> None:
        """Forget every batch, so that other runs can use the room."""
        for batch_id in list(self._sent):
            self._forget(batch_id)

    @property
    def silent_at(self) -> float | None:
        """When to check for tasks that wait behind a long one, on the monotonic clock; None for
        never.
        """
        return self._silence.due

    @property
    def send_at(self) -> float | None:
        """When to send work that is held back; None for never. What cannot be sent for want of room
        waits for an event, not for a time.
        """
        held = self._lingering.until.items()
        moments = [max(at, self._rests.until(queue)) for queue, at in held if self._can_send(queue)]
        return min(moments, default=None)

    def take_batches(self, now: float, limit: int | None = None) -> list[Batch]:
        """Batches of ready tasks to send now, as many as the workers and the run's concurrency
        allow; at most ``limit`` per queue. Unknown tasks whose hook is to be asked go first: they
        hold up their dependents, and do not count towards concurrency.
        """
        batches: list[Batch] = []
        for queue in self._state.queues():
            if self._rests.is_resting(queue, now):
                continue
            # A single task always has room, so there is no need to count workers.
            is_single = len(self._state.ready(queue)) == 1 and not self._state.questions
            is_single = is_single and not self._fleet.out[queue]
            free = 1 if is_single else self._fleet.room(queue)
            if limit is not None:
                free = min(free, limit)
            for index in self._state.questions.take(queue, max(0, free)):
                free -= 1
                batches.append(self._send(queue, [index], now, verify=True))
            slots = min(free, self._room())
            batches += self._compose(queue, slots, now, is_single=is_single)
        return batches

    def _compose(self, queue: str, slots: int, now: float, *, is_single: bool) -> list[Batch]:
        ready = self._state.ready(queue)
        if slots <= 0 or ready.peek() is None:
            return []
        work_ms = self._composer.work_ms(ready)
        if self._lingering.holds_back(queue, work_ms, now, awaits=bool(self._sent)):
            return []
        crew = UNCOUNTED_CREW
        if not is_single:
            crew = Crew.of(self._fleet.workers(queue), self._fleet.out[queue])
        batches = []
        for tasks in self._composer.compose(ready, crew, slots=slots):
            for index in tasks:
                self._state.on_queued(index)
            batches.append(self._send(queue, tasks, now))
        return batches

    def _room(self) -> int:
        """How many more batches the run's concurrency allows: each runs one task at a time."""
        if self._info.options.concurrency is None:
            return len(self._graph)
        self._adopted = {i for i in self._adopted if self._state.statuses[i] in _AT_WORK}
        asking = sum(sent.batch.verify for sent in self._sent.values())
        return self._info.options.concurrency - (len(self._sent) - asking) - len(self._adopted)

    def _can_send(self, queue: str) -> bool:
        """Whether something of a queue is ready, and there is room for it."""
        if self._state.ready(queue).peek() is None or self._room() <= 0:
            return False
        # Where nothing is out there is room, however many workers there are: nobody counts them.
        return not self._fleet.out[queue] or self._fleet.room(queue) > 0

    def _travels_alone(self, index: int) -> bool:
        batched = self._info.options.batch and self._graph.tasks[index].batch
        return not batched or self._state.travels_alone(index)

    def _send(self, queue: str, tasks: list[int], now: float, *, verify: bool = False) -> Batch:
        self.number += 1
        run_id, version = self._info.run_id, self._info.version
        batch_id = f"{run_id}-{self._epoch}-{self.number}"
        found = tuple(self._graph.tasks[index] for index in tasks)
        expected = self._expected(tasks)
        copies = self._fleet.copies.take(queue, self._fleet.workers)
        records = self._records_of(tasks) if self._records else ()
        whose = batch_id, queue, found, run_id, self._epoch
        batch = Batch(*whose, verify, expected, version, copies, records)
        self._sent[batch_id] = _Sent(batch, tasks, now)
        self._looked[batch_id] = now
        self._fleet.out[queue] += 1
        if not verify:
            self._carrier.update(dict.fromkeys(tasks, batch_id))
        return batch

    def _records_of(self, tasks: list[int]) -> tuple[tuple[str, str], ...]:
        """The expansions that some tasks are of, by node and token."""
        nodes = dict.fromkeys(map(self._graph.maker, tasks))
        named = self._graph.tasks
        return tuple([(named[node].name, self._records[node].token) for node in nodes if node >= 0])

    def _expected(self, tasks: list[int]) -> Mapping[str, float]:
        functions = {self._graph.tasks[index].function for index in tasks}
        found = {function: self._fleet.estimates.run_ms(function) for function in functions}
        return {function: ms for function, ms in found.items() if ms is not None}

    def take_back(
        self,
        batch_id: str,
        now: float,
        *,
        failed: bool = False,
        vanished: bool = False,
        unasked: bool = False,
    ) -> bool:
        """A batch has ended: tasks that it did not claim are ready again, and hooks without an
        answer are asked again. ``unasked`` says that a batch could not ask its hook: then this
        round does not count. Returns whether that is so.

        If a worker ``failed`` to begin it, its queue rests for a while, twice as long each time:
        such a worker pops jobs at once, and would get this one over and over. If the batch
        ``vanished`` before anybody began it, more copies are sent the next time.
        """
        if batch_id in self._sent and not failed and not vanished:
            self.note_begun([batch_id])
        waits = not vanished and batch_id not in self._silence
        self._learn(batch_id)
        sent = self._forget(batch_id)
        if sent is None:
            return False
        queue = sent.batch.queue
        unasked = unasked and sent.batch.verify
        for index in sent.tasks:
            if sent.batch.verify:
                in_vain = not (failed or vanished or unasked)
                self._state.questions.on_unanswered(index, in_vain=in_vain)
            elif self._carrier.get(index) == batch_id:
                del self._carrier[index]
                self._bring_back(index, now, waits=waits)
        if failed:
            self._rests.note_failed(queue, now)
            return False
        self._rests.note_begun(queue)
        if vanished:
            self._fleet.copies.note_vanished(queue, sent.at, now)
        return unasked

    def _learn(self, batch_id: str) -> None:
        """Learn what its tasks cost in sequence, if there were several."""
        if batch_id not in self._silence:
            return
        sent, statuses, tasks = self._sent[batch_id], self._state.statuses, self._graph.tasks
        done = [tasks[index] for index in sent.tasks if statuses[index] == TaskStatus.SUCCESS]
        took_ms = self._silence.span(batch_id) * 1000
        self._fleet.estimates.learn_batch(tasks[sent.tasks[0]], done, took_ms)

    def keep(self, batch: Batch, now: float) -> None:
        """Redis had no room for a batch: it was not sent. Its tasks are ready again, and its queue
        rests for a moment.
        """
        sent = self._forget(batch.id)
        if sent is None:
            return
        for index in sent.tasks:
            if batch.verify:
                self._state.questions.on_unanswered(index, in_vain=False)
            elif self._carrier.get(index) == batch.id:
                del self._carrier[index]
                self._state.on_unstarted(index)
        self._rests.note_full(batch.queue, now)

    def _forget(self, batch_id: str) -> _Sent | None:
        """A batch is no longer out."""
        sent = self._sent.pop(batch_id, None)
        self._looked.pop(batch_id, None)
        self._begun.discard(batch_id)
        self._silence.forget(batch_id)
        if sent is not None:
            self._fleet.out[sent.batch.queue] -= 1
            self._fleet.copies.give_back(sent.batch.queue, sent.batch.copies)
        return sent

    def note_begun(self, batch_ids: Iterable[str]) -> None:
        """Workers have begun these batches: nothing has swallowed them on their queues."""
        for batch_id in batch_ids:
            if batch_id in self._sent and batch_id not in self._begun:
                self._begun.add(batch_id)
                self._fleet.copies.note_begun(self._sent[batch_id].batch.queue)

    def note_told(self, index: int, now: float, batch_id: str = "") -> bool:
        """There is news of a task that this batch, or the one that carries it, works on. Returns
        whether it is the first news of the batch.
        """
        if batch_id not in self._sent:
            batch_id = self._carrier.get(index, "")
            if batch_id not in self._sent:
                return False
        watches = len(self._sent[batch_id].tasks) > 1
        return self._silence.note(batch_id, now, watches=watches)

    def share_out(self, now: float) -> None:
        """Let idle workers have the tasks that wait behind long ones in their batches."""
        for batch_id in self._silence.find_due(now):
            sent = self._sent[batch_id]
            due_at = self._silence.since(batch_id) + self._patience(sent)
            if due_at > now or not self._idles(sent.batch.queue):
                again = due_at if due_at > now else now + self._held_seconds
                self._silence.look_again(batch_id, again)
                continue
            # What is left in the batch depends on the running task.
            self._silence.look_again(batch_id, None)
            for index in self._find_behind(batch_id, sent):
                del self._carrier[index]
                self._state.on_unstarted(index)

    def _idles(self, queue: str) -> bool:
        """Whether a worker is idle and may take a task of this run."""
        fleet = self._fleet
        return (
            fleet.workers(queue) > fleet.out[queue]
            and self._state.ready(queue).peek() is None
            and self._room() > 0
        )

    def _find_behind(self, batch_id: str, sent: _Sent) -> list[int]:
        statuses, carrier = self._state.statuses, self._carrier

        def is_open(index: int) -> bool:
            return carrier.get(index) == batch_id and statuses[index] in _OPEN

        behind = find_behind(sent.tasks, self._graph.parents, is_open)
        return [index for index in behind if statuses[index] == TaskStatus.QUEUED]

    def _patience(self, sent: _Sent) -> float:
        """Seconds of silence after which the tasks that wait in a batch may go elsewhere."""
        statuses, estimates = self._state.statuses, self._fleet.estimates
        at_work = next((index for index in sent.tasks if statuses[index] in _OPEN), None)
        if at_work is None:
            return self._held_seconds
        task = self._graph.tasks[at_work]
        is_first = at_work == sent.tasks[0]
        setup_ms = estimates.setup_ms(task.function) if is_first else None
        grouped = is_grouped(task.effects, task.timeout, estimates.run_ms(task.function))
        held_ms = self._fleet.limits.held_ms
        return patience_ms(held_ms, setup_ms=setup_ms, grouped=grouped) / 1000

    def _bring_back(self, index: int, now: float, *, waits: bool) -> None:
        """Make a task ready again, at once the first time. With ``waits``, one that comes back
        again and again from batches that could claim none of their tasks (Redis's clock was set
        back, say) waits in between.
        """
        if self._state.statuses[index] != TaskStatus.QUEUED:
            return
        self._state.on_unstarted(index)
        if self._state.statuses[index] != TaskStatus.READY or not waits:
            return
        if wait_ms := self._bounces.note(index):
            self._refused.add(index)
            now_ms = int(now * 1000)
            self._state.on_waiting(index, now_ms + wait_ms, now_ms)

    @property
    def has_refused(self) -> bool:
        """Whether there are tasks that workers fail to claim again and again: a worker may hold one
        without any event that says so.
        """
        statuses = self._state.statuses
        self._refused = {index for index in self._refused if statuses[index] in _UNCLAIMED}
        return bool(self._refused)

    def is_out(self, batch_id: str) -> bool:
        """Whether a batch was sent and has not ended."""
        return batch_id in self._sent

    def take_unbegun(self, seconds: float, begun: Collection[str], now: float) -> dict[str, str]:
        """The batches that were sent ``seconds`` ago and have not ``begun``, as id -> queue. Empty
        unless one of them has not been looked for in the last ``seconds``; those returned count as
        looked for now.
        """
        self._looked.update((batch_id, now) for batch_id in begun if batch_id in self._looked)
        waits = {batch_id: at for batch_id, at in self._looked.items() if batch_id not in begun}
        if not any(now - at >= seconds for at in waits.values()):
            return {}
        old = [batch_id for batch_id in waits if now - self._sent[batch_id].at >= seconds]
        self._looked.update(dict.fromkeys(old, now))
        return {batch_id: self._sent[batch_id].batch.queue for batch_id in old}
