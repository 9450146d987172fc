"""Coordinators, workers, a person and a bad network, at random, on two stores side by side."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from distflow.core.claim import MAX_GRAPH_BYTES, MAX_TASKS, Progress
from distflow.core.graph import Graph
from distflow.core.model import Grow, Retry, Task, TaskResult
from distflow.core.resolution import (
    Resolution,
    decided_result,
    is_dead_end,
    leader_rule,
    retry_progress,
)
from distflow.core.status import REOPENED, RunStatus, TaskStatus
from distflow.core.version import run_version
from distflow.wire.codec import decode_result, encode_result, status_of
from tests.contract.actors import ENDINGS, Coordinator, Worker
from tests.contract.twins import Call, Side, Twins
from tests.support.stores import SubjectMaker, make_spec

HOUR_MS = 3_600_000

chance = st.integers(0, 4).map(lambda roll: roll == 0)
#: Mostly who leads; the other has slept, or never led.
who = st.sampled_from(["leader", "leader", "leader", "leader", "other"])
numbers = st.integers(0, 5)
labours = st.tuples(
    st.sampled_from([0, 1, 2, 0, 1, 2, None]),
    who,
    numbers,
    st.sampled_from(sorted(ENDINGS)),
    chance,
)
_S = RunStatus

#: The moves that people and coordinators make.
MOVES = [
    (_S.PAUSED, {_S.RUNNING}),
    (_S.RUNNING, {_S.PAUSED}),
    (_S.INTERRUPTED, {_S.RUNNING}),
    (_S.CANCELLING, {_S.RUNNING, _S.PAUSED, _S.REOPENING, _S.BLOCKED}),
    (_S.CANCELLED, {_S.CANCELLING}),
    (_S.BLOCKED, {_S.RUNNING}),
    (_S.FAILURE, {_S.RUNNING}),
]


#: How large a run may grow: mostly as large as it likes.
LIMITS = [(MAX_TASKS, MAX_GRAPH_BYTES)] * 3 + [(7, MAX_GRAPH_BYTES), (MAX_TASKS, 1500)]


@st.composite
def random_tasks(draw: st.DrawFn) -> list[Task]:
    """A random DAG: some of it at most once, some of it grows."""
    retries = [None, Retry(1), Retry(2, delay=3600.0), Retry(1, lost=1)]
    effects: list[Any] = ["at_most_once", "normal", "idempotent", "at_most_once", "idempotent"]
    tasks: list[Task] = []
    for number in range(draw(st.integers(2, 6))):
        names = [task.name for task in tasks]
        task = Task(
            f"t{number}",
            "pkg.tasks:work",
            depends_on=tuple(draw(st.sets(st.sampled_from(names), max_size=2)) if names else ()),
            effects=draw(st.sampled_from(effects)),
            retry=draw(st.sampled_from(retries)),
            continue_on_error=draw(st.booleans()),
        )
        if task.effects == "idempotent":
            task = task._replace(grow=Grow("plan"))
        tasks.append(task)
    return tasks


class StoreMachine(RuleBasedStateMachine):
    def __init__(self, maker: SubjectMaker, binary: Path) -> None:
        super().__init__()
        self.sides = Side("memory", maker.make(None)), Side("redis", maker.make(binary))

    @initialize(
        tasks=random_tasks(),
        concurrency=st.sampled_from([None, 1, 2]),
        limits=st.sampled_from(LIMITS),
    )
    def create(self, tasks: list[Task], concurrency: int | None, limits: tuple[int, int]) -> None:
        """A run, led by anna."""
        self.graph = Graph.compile(tasks)
        spec = make_spec(concurrency=concurrency)
        options = replace(spec.options, max_tasks=limits[0], max_graph_bytes=limits[1])
        spec = replace(spec, options=options, version=run_version(tasks, options))
        for side in self.sides:
            side.store.create_run(spec, "creation")
            side.store.append_tasks("creation", 0, tasks)
            side.store.seal_run("creation", len(tasks))
        self.twins = Twins(self.sides, self.graph, int(time.time() * 1000))
        self.workers = [Worker(f"w{number}", self.twins, self.graph) for number in range(3)]
        self.leader, self.other = (
            Coordinator(name, self.twins, self.graph) for name in ("anna", "bert")
        )
        self.leader.take_over(force=False, again=False)

    def _is(self, status: RunStatus) -> bool:
        return bool(self.twins.seen.info["status"] == status)

    def _outcomes(self) -> set[TaskStatus]:
        return {status_of(packed) for packed in self.twins.seen.results.values()}

    def _coordinator(self, which: str) -> Coordinator:
        return self.leader if which == "leader" else self.other

    @rule(which=who, force=st.booleans(), again=chance)
    def take_over(self, which: str, force: bool, again: bool) -> None:
        """A coordinator takes the lease, if it may."""
        coordinator = self._coordinator(which)
        if coordinator.take_over(force=force, again=again) and coordinator is self.other:
            self.leader, self.other = self.other, self.leader

    @rule(moves=st.lists(labours, min_size=3, max_size=12))
    def labour(self, moves: list[tuple[int | None, str, int, str, bool]]) -> None:
        """Workers do what comes next for them, for a while; some are lost, some calls delayed."""
        for worker, which, first, ending, again in moves:
            if worker is not None:
                lead = self._coordinator(which).lead
                self.workers[worker].go_on(lead, first, ending, again=again)
            elif again and self.twins.sent:
                self.deliver_again(first)
            elif self.twins.seen.claims:
                self.give_up(which, first, cancelling=False, again=again)

    # Most of what happens is work.
    labour_too = labour
    labour_more = labour

    @rule(worker=st.integers(0, 2), again=chance)
    def beat_or_end(self, worker: int, again: bool) -> None:
        """A worker beats, or ends its batch."""
        self.workers[worker].beat_or_end(again=again)

    @rule(worker=st.integers(0, 2), first=numbers, refuses=st.booleans(), again=chance)
    def claim_ahead(self, worker: int, first: int, refuses: bool, again: bool) -> None:
        """A worker claims a task as one of a group, and gives it back untouched."""
        self.workers[worker].claim_ahead(first, refuses=refuses, again=again)

    @rule(worker=st.integers(0, 2), again=chance)
    def save(self, worker: int, again: bool) -> None:
        """A worker saves a note, perhaps long after its task was given up."""
        self.workers[worker].save(again=again)

    @precondition(lambda self: self.twins.seen.claims)
    @rule(which=who, number=numbers, cancelling=chance, again=chance)
    def give_up(self, which: str, number: int, cancelling: bool, again: bool) -> None:
        """A coordinator takes a worker for lost, rightly or not."""
        claims = sorted(self.twins.seen.claims.items())
        name, claim = claims[number % len(claims)]
        self._coordinator(which).give_up(name, claim, cancelling=cancelling, again=again)

    @precondition(lambda self: self._is(_S.CANCELLING) or "failure" in self._outcomes())
    @rule(which=who, number=numbers, failed=chance, again=chance)
    def settle(self, which: str, number: int, failed: bool, again: bool) -> None:
        """A coordinator skips a task that never ran, or tries to skip another; or it fails, since
        no worker can run it, and what was said of that is forgotten.
        """
        lead = self._coordinator(which).lead
        status = TaskStatus.FAILURE if failed else TaskStatus.SKIPPED
        packed = encode_result(TaskResult(status, message="not needed"))
        task = self.graph.tasks[number % len(self.graph)]
        name = task.name
        tolerated = {name} if task.continue_on_error else ()
        keys = [refusal.key for refusal in self.twins.seen.refusals] if failed else []
        call = Call(
            "settle_unheld",
            lambda side: side.store.settle_unheld(
                lead[side.name], [(name, packed)], forgotten=keys, tolerated=tolerated
            ),
        )
        self.twins.send(call, lost_reply=again)

    @precondition(lambda self: "failure" in self._outcomes())
    @rule(which=who, number=numbers, again=chance)
    def tolerate(self, which: str, number: int, again: bool) -> None:
        """A coordinator judges that some tasks may fail, whether they have or not."""
        lead = self._coordinator(which).lead
        names = [task.name for task in self.graph.tasks[number::2]]
        call = Call("tolerate", lambda side: side.store.tolerate(lead[side.name], names))
        self.twins.send(call, lost_reply=again)

    @precondition(lambda self: not self._is(_S.RUNNING) or self._outcomes() & REOPENED)
    @rule(which=who, stages=st.sampled_from([9, 9, 9, 1, 2, 3]), again=chance)
    def reopen(self, which: str, stages: int, again: bool) -> None:
        """A coordinator reopens the run, or goes on with that; it may be cut off at any stage."""
        self._coordinator(which).reopen(stages, again=again)

    @rule(number=numbers, person=st.booleans(), any_move=chance, again=chance)
    def move(self, number: int, person: bool, any_move: bool, again: bool) -> None:
        """A person or a coordinator moves the run, mostly as it may."""
        status = self.twins.seen.info["status"]
        moves = [move for move in MOVES if any_move or status in move[1]]
        # A run that runs is mostly left alone.
        if not moves or (status == _S.RUNNING and number > 1):
            return
        new, allowed = moves[number % len(moves)]
        lead = None if person else self.leader.lead
        call = Call(
            "set_status",
            lambda side: side.store.set_status(
                new, allowed, epoch=lead[side.name] if lead else None, reason="a test"
            ),
        )
        self.twins.send(call, lost_reply=again)

    @precondition(lambda self: self.twins.seen.info["counts"]["unknown"])
    @rule(decision=st.sampled_from(["done", "fail", "retry"]), number=numbers, again=chance)
    def resolve(self, decision: Literal["done", "fail", "retry"], number: int, again: bool) -> None:
        """A person decides an unknown task, or tries to decide another."""
        results = self.twins.seen.results
        names = sorted(task for task in results if status_of(results[task]) == "unknown")
        name = [*names, "t0"][number % (len(names) + 1)]
        operation = self.twins.new_name("operation")
        status = TaskStatus.SUCCESS if decision == "done" else TaskStatus.FAILURE
        result = TaskResult(status, message=operation, started=status == "failure")
        packed = b"" if decision == "retry" else encode_result(result)
        seen, last = results.get(name, b""), self.twins.seen.progress.get(name, Progress())
        retry = retry_progress(last, operation, by_hook=False) if decision == "retry" else None
        # Of another task it is nothing that a person may decide so.
        item = Resolution(name, packed, seen if name in names else b"", retry)
        call = Call(
            "resolve",
            lambda side: side.store.resolve_task(operation, decision, item, "eva", "looked it up"),
            task=name,
        )
        self.twins.send(call, lost_reply=again)

    @precondition(lambda self: self._dead_ends())
    @rule(
        decision=st.sampled_from(["done", "fail", "retry"]),
        number=numbers,
        late=chance,
        again=chance,
    )
    def decide(
        self, decision: Literal["done", "fail", "retry"], number: int, late: bool, again: bool
    ) -> None:
        """A person decides a task that started at most once and failed, perhaps by what is there no
        more; what was skipped is evaluated again.
        """
        results = self.twins.seen.results
        names = self._dead_ends()
        name = names[number % len(names)]
        operation = self.twins.new_name("operation")
        known = decode_result(results[name])
        result = decided_result(decision, known.attempt, operation, who="eva", note=operation)
        progress = Progress(known.attempt + 1, base=known.attempt, token=operation)
        skipped = {task for task in results if status_of(results[task]) == "skipped"}
        item = Resolution(
            name,
            b"" if decision == "retry" else encode_result(result),
            encode_result(TaskResult(TaskStatus.FAILURE)) if late else results[name],
            progress if decision == "retry" else None,
            skipped=() if decision == "fail" else tuple(sorted(skipped)),
            leader=leader_rule(known.status, takes_away=False),
        )
        call = Call(
            "decide",
            lambda side: side.store.resolve_tasks(operation, decision, [item], "eva", "it is so"),
            task=name,
            set_aside=frozenset() if late or decision == "fail" else frozenset(skipped),
        )
        self.twins.send(call, lost_reply=again)

    def _dead_ends(self) -> list[str]:
        results = self.twins.seen.results
        return sorted(task for task in results if is_dead_end(decode_result(results[task])))

    @precondition(lambda self: self.twins.seen.info["counts"]["unknown"])
    @rule(
        decision=st.sampled_from(["done", "fail", "retry", "undecided"]),
        number=numbers,
        late=chance,
        again=chance,
    )
    def verify(
        self,
        decision: Literal["done", "fail", "retry", "undecided"],
        number: int,
        late: bool,
        again: bool,
    ) -> None:
        """A hook answers about an unknown task, perhaps of an earlier attempt: then it is nothing
        that counts.
        """
        results = self.twins.seen.results
        names = sorted(task for task in results if status_of(results[task]) == "unknown")
        name = names[number % len(names)]
        operation = self.twins.new_name("operation")
        asked = encode_result(TaskResult(TaskStatus.UNKNOWN)) if late else results[name]
        status = TaskStatus.SUCCESS if decision == "done" else TaskStatus.FAILURE
        result = TaskResult(status, message=operation, started=status == "failure")
        packed = b"" if decision in ("retry", "undecided") else encode_result(result)
        last = self.twins.seen.progress.get(name, Progress())
        retry = retry_progress(last, operation, by_hook=True) if decision == "retry" else None
        item = Resolution(name, packed, asked, retry)
        call = Call(
            "late answer" if late else "resolve",
            lambda side: side.store.resolve_task(operation, decision, item, "verify", "it said so"),
            task=name,
        )
        self.twins.send(call, lost_reply=again)

    @rule(
        which=who,
        what=st.sampled_from(["renew", "release", "trim", "lapse", "clock"]),
        hours=st.integers(-3, 3),
    )
    def keep_up(self, which: str, what: str, hours: int) -> None:
        """A coordinator renews, releases or loses its lease, or trims; the clocks are set."""
        coordinator = self._coordinator(which)
        name, lead = coordinator.name, coordinator.lead

        def keep(side: Side) -> None:
            if what == "renew":
                side.store.renew_lease(name, lead[side.name], 600.0, queued=2, waiting=1)
            elif what == "release":
                side.store.release_lease(name, lead[side.name])
            elif what == "trim":
                side.store.trim_events(lead[side.name], side.store.last_event_id())
            elif what == "lapse":
                side.subject.lapse_lease()
            else:
                side.subject.set_clock(hours * HOUR_MS)

        self.twins.send(Call(what, keep, once=True), lost_reply=True)

    @precondition(lambda self: self.twins.sent)
    @rule(which=st.integers(0, 29))
    def deliver_again(self, which: int) -> None:
        """The network delivers an earlier call once more, after others."""
        sent = self.twins.sent
        self.twins.send(sent[-1 - which % len(sent)], lost_reply=False)
