"""Sessions on a run in memory: who leads, follows, takes over. Time passes when they wait."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from distflow.clock import Flag
from distflow.coordinator.executor import WorkflowExecutor
from distflow.coordinator.pictures import Onlooker
from distflow.core.batches import Batch
from distflow.core.claim import ClaimRequest
from distflow.core.graph import Graph
from distflow.core.model import Task
from distflow.core.picture import Picture, ResumePlan
from distflow.core.run import RunSpec
from distflow.core.run_options import RunOptions
from distflow.core.status import RunStatus
from distflow.errors import StaleEpoch
from distflow.events.notice import Interrupt, Listener, Notice
from distflow.runs.session import FOLLOW_SECONDS, Listening, Session, Turn, Watcher
from distflow.store.memory.store import MemoryRunStore, MemoryServer
from tests.support.stores import final

_LEASE_SECONDS = 10.0


class Clock:
    """Seconds pass when a session waits; then the test's script goes on."""

    def __init__(self) -> None:
        self.seconds = 1_800_000_000.0
        self.script: Iterator[Any] = iter(())

    def monotonic(self) -> float:
        return self.seconds

    def sleep(self, seconds: float, /) -> None:
        self.seconds += seconds

    def wait(self, flag: Flag, seconds: float) -> bool:
        assert self.seconds < 1_800_001_000.0, "the session waits for ever"
        self.seconds += seconds
        next(self.script, None)
        return flag.wait(0.0)


class Workers:
    """A dispatcher whose workers are done with a batch as soon as it is sent."""

    def __init__(self, store: MemoryRunStore) -> None:
        self._store = store
        self.refuses = False

    def dispatch(self, batches: Sequence[Batch]) -> None:
        for batch in batches:
            self._store.begin_batch(batch.epoch, batch.id, "w", batch.id)
            for task in batch.tasks:
                self.run(batch.epoch, batch.id, task.name)
            self._store.advance(batch.epoch, batch.id, ending=True)

    def run(self, epoch: int, batch: str, task: str, status: str = "success") -> None:
        """Claim a task, and tell how it ended."""
        claim = ClaimRequest(task, f"token-{task}", True, (), False, False)
        (reply,) = self._store.advance(epoch, batch, claims=[claim]).claims
        done = final(task, claim.token, status, attempt=reply.attempt)
        self._store.advance(epoch, batch, [done])

    def withdraw(self, _run_id: str, _queues: object) -> int:
        return 0

    def count_workers(self, queues: Sequence[str]) -> dict[str, int]:
        return dict.fromkeys(queues, 1)

    def find_queued(self, _run_id: str, _queues: object) -> set[str]:
        return set()

    def list_workers(self, queues: Sequence[str]) -> dict[str, set[Any]]:
        return {queue: set() for queue in queues}

    def probe_workers(self, _workers: object) -> dict[str, Any]:
        return {}

    def read_failures(self, _batches: object) -> dict[str, Any]:
        return {}


class Watching(Watcher):
    """Keeps what it is told."""

    wants_pictures = True
    wants_queues = True

    def __init__(self) -> None:
        self.notices: list[Notice] = []
        self.turns: list[Turn] = []
        self.plans: list[ResumePlan] = []
        self.pictures: list[Picture] = []

    def hear(self, notice: Notice) -> None:
        self.notices.append(notice)

    def turn(self, turn: Turn) -> None:
        self.turns.append(turn)

    def begin(self, plan: ResumePlan) -> None:
        self.plans.append(plan)

    def see(self, picture: Picture) -> None:
        self.pictures.append(picture)

    @property
    def kinds(self) -> list[str]:
        return [turn.kind for turn in self.turns]


class Scene:
    """A run of two tasks, and a session that sees it through."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.server = MemoryServer(clock=self.clock.monotonic)
        self.store = MemoryRunStore("run-1", server=self.server)
        self.workers = Workers(self.store)
        tasks = [Task("a", "m:f"), Task("b", "m:f", condition="m:c")]
        spec = RunSpec("run-1", "m:flow", {}, "origin", RunOptions(batch=False))
        self.store.create_run(spec, "creation", tasks)
        self.graph = Graph.compile(tasks)
        self.graph_reads = 0
        self.watching = Watching()
        self.interrupt, self.cancel = Interrupt(), threading.Event()
        #: What raises in the place of each of the first coordinators.
        self.failures: list[Exception] = []
        #: How each was told to lead, and to whom it reports.
        self.led: list[dict[str, bool]] = []
        self.listeners: list[Listener | None] = []
        self.session = Session(
            self.store,
            self._make_executor,
            self._read_graph,
            self.interrupt,
            self.watching,
            cancel=self.cancel,
            grace_seconds=7.0,
            clock=self.clock,
        )

    def _read_graph(self) -> Graph:
        self.graph_reads += 1
        return self.graph

    def _make_executor(self, *, listener: Listener | None, onlooker: Onlooker) -> WorkflowExecutor:
        self.listeners.append(listener)
        dispatcher: Any = self.workers
        executor = WorkflowExecutor(
            self.store,
            dispatcher,
            listener=listener,
            onlooker=onlooker,
            interrupt=self.interrupt,
            cancel=self.cancel,
        )
        lead = executor.lead

        def lead_or_fail(**options: bool) -> RunStatus:
            self.led.append(options)
            if self.failures:
                raise self.failures.pop(0)
            return lead(**options)

        executor.lead = lead_or_fail  # type: ignore[method-assign]
        return executor

    def led_by(self, owner: str) -> int:
        """Another leads it for a while; its epoch."""
        return self.store.acquire_lease(owner, _LEASE_SECONDS)

    def play(self, *steps: Callable[[], object]) -> None:
        """Let this happen, a step at each wait of the session."""
        self.clock.script = (step() for step in steps)


@pytest.fixture
def scene() -> Scene:
    """A run that nobody leads."""
    return Scene()


def test_who_finds_nobody_leads(scene: Scene) -> None:
    """It hears and sees the run, and takes no turn."""
    assert scene.session.finish(reopen=False) == RunStatus.SUCCESS
    assert [(each.kind, each.task) for each in scene.watching.notices] == [
        ("workflow_start", ""),
        ("task_start", "a"),
        ("task_end", "a"),
        ("task_start", "b"),
        ("task_end", "b"),
        ("workflow_end", ""),
    ]
    assert (scene.watching.turns, scene.watching.plans) == ([], [])
    assert scene.watching.pictures[0].queues == {"default"}
    assert scene.watching.pictures[0].counts["pending"] == 2


@pytest.mark.parametrize("is_deaf", [False, True])
def test_nothing_is_reported_where_nobody_hears(scene: Scene, is_deaf: bool) -> None:
    """Notices of many thousand tasks cost time: without a listener none is made."""
    assert Listening(None).is_deaf
    assert not Listening(print).is_deaf
    scene.watching.is_deaf = is_deaf
    scene.session.finish(reopen=False)
    assert [listener is None for listener in scene.listeners] == [is_deaf]
    assert bool(scene.watching.notices) != is_deaf


def test_a_dead_leader_is_followed_until_its_lease_has_lapsed(scene: Scene) -> None:
    """Then the run is taken over, and led to its end."""
    scene.led_by("berta")
    began = scene.clock.seconds
    assert scene.session.finish(reopen=False) == RunStatus.SUCCESS
    assert scene.watching.turns == [Turn("follows", "berta"), Turn("takes_over")]
    waited = scene.clock.seconds - began
    assert _LEASE_SECONDS - FOLLOW_SECONDS <= waited <= _LEASE_SECONDS + FOLLOW_SECONDS


def test_a_task_that_came_meanwhile_is_heard_of(scene: Scene) -> None:
    """The graph is read again where an event is about a task that it does not have yet."""
    scene.failures = [StaleEpoch("run run-1: another coordinator has taken it over")]
    epoch = scene.led_by("berta")

    def grow() -> None:
        run, more = scene.server.runs["run-1"], [Task("c", "m:f")]
        run.graph[1], run.total = more, run.total + 1
        scene.graph = Graph.compile([*scene.graph.tasks, *more])
        scene.store.begin_batch(epoch, "x", "w", "x")
        scene.workers.run(epoch, "x", "c")

    def end() -> None:
        scene.store.set_status(RunStatus.FAILURE, {RunStatus.RUNNING}, epoch=epoch)

    scene.play(grow, end)
    assert scene.session.finish(reopen=False) == RunStatus.FAILURE
    told = [(each.kind, each.task) for each in scene.watching.notices]
    assert told[:2] == [("task_start", "c"), ("task_end", "c")]
    assert scene.graph_reads == 2
    totals = [sum(each.counts.values()) for each in scene.watching.pictures]
    assert (totals[0], totals[-1]) == (2, 3)


def test_who_is_superseded_follows_to_the_end(scene: Scene) -> None:
    """It hears of all that happens, with outcomes to read, as if it led; and sees pictures."""
    scene.failures = [StaleEpoch("run run-1: another coordinator has taken it over")]
    epoch = scene.led_by("berta")

    def end_a() -> None:
        scene.store.begin_batch(epoch, "x", "w", "x")
        scene.workers.run(epoch, "x", "a")

    def end_b() -> None:
        scene.workers.run(epoch, "x", "b", "failure")
        scene.store.set_status(RunStatus.FAILURE, {RunStatus.RUNNING}, epoch=epoch)

    scene.play(end_a, end_b)
    assert scene.session.finish(reopen=False) == RunStatus.FAILURE
    assert scene.watching.turns == [Turn("superseded")]
    told = scene.watching.notices
    # No claim tells of the start of `b`, which has a condition: its end does.
    assert [(each.kind, each.task, each.status) for each in told] == [
        ("task_start", "a", "running"),
        ("task_end", "a", "success"),
        ("task_start", "b", "running"),
        ("task_end", "b", "failure"),
        ("workflow_end", "", "failure"),
    ]
    assert told[3].result is not None
    assert told[3].result.status == "failure"
    assert [each.counts["success"] for each in scene.watching.pictures] == [0, 1]
    assert len(scene.led) == 1


def test_a_graph_is_not_read_for_nothing(scene: Scene) -> None:
    """Who hears of no starts while another leads needs none."""
    scene.watching.hears_starts = False
    scene.led_by("berta")
    scene.play(scene.interrupt.set)
    scene.session.finish(reopen=False)
    assert scene.graph_reads == 0


def test_a_paused_run_that_is_resumed_goes_on_under_its_coordinator(scene: Scene) -> None:
    """And is followed; who only looks for its end leaves it paused."""
    scene.led_by("berta")
    scene.store.set_status(RunStatus.PAUSED, {RunStatus.RUNNING})
    scene.play(scene.interrupt.set)
    assert scene.session.finish(reopen=False) == RunStatus.PAUSED
    assert scene.watching.kinds == ["follows"]
    scene.interrupt.clear()
    scene.watching.turns.clear()
    scene.play(scene.interrupt.set)
    assert scene.session.finish(reopen=True) == RunStatus.RUNNING
    assert scene.watching.kinds == ["unpauses", "follows"]


def test_who_is_interrupted_while_it_follows_leaves_at_once(scene: Scene) -> None:
    """The run goes on under whoever leads it."""
    scene.led_by("berta")
    scene.play(scene.interrupt.set)
    began = scene.clock.seconds
    assert scene.session.finish(reopen=False) == RunStatus.RUNNING
    assert scene.clock.seconds - began == FOLLOW_SECONDS
    assert scene.store.read_info().coordinator == "berta"


@pytest.mark.parametrize("reopen", [True, False])
def test_a_coordinator_on_its_way_out_is_waited_for_by_who_reopens(
    scene: Scene, reopen: bool
) -> None:
    """The run has ended and its lease is held still: it cannot be led yet."""
    epoch = scene.led_by("berta")
    scene.store.begin_batch(epoch, "x", "w", "x")
    scene.workers.run(epoch, "x", "a", "failure")
    scene.workers.run(epoch, "x", "b")
    scene.store.set_status(RunStatus.FAILURE, {RunStatus.RUNNING}, epoch=epoch)
    scene.play(lambda: scene.store.release_lease("berta", epoch, is_over=True))
    ended = scene.session.finish(reopen=reopen)
    assert ended == (RunStatus.SUCCESS if reopen else RunStatus.FAILURE)
    assert len(scene.led) == (2 if reopen else 1)
    assert scene.watching.turns == []
    assert [len(plan.items) for plan in scene.watching.plans] == ([2] if reopen else [])


def test_a_cancelled_run_is_not_reopened_by_who_takes_it_over(scene: Scene) -> None:
    """A person has cancelled it: whoever takes it over carries that out. Nor is it forced twice."""
    scene.failures = [StaleEpoch("another has taken it over")]
    scene.led_by("berta")
    scene.play(
        lambda: scene.store.set_status(
            RunStatus.CANCELLING, {RunStatus.RUNNING}, reason="anna", grace_seconds=0.0
        )
    )
    assert scene.session.finish(reopen=True, force=True) == RunStatus.CANCELLED
    assert scene.led == [{"reopen": True, "force": True}, {"reopen": False, "force": False}]


def test_a_cancellation_reaches_whoever_leads(scene: Scene) -> None:
    """By the run's status: the signal is set in this process alone."""
    scene.led_by("berta")
    scene.play(scene.cancel.set, lambda: None, scene.interrupt.set)
    assert scene.session.finish(reopen=False) == RunStatus.CANCELLING
    assert scene.store.read_info().reason == "cancelled by a signal"
