"""Workers and coordinators as the machine moves them: each sends what the real one would."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from distflow.core.claim import (
    ClaimReply,
    ClaimRequest,
    Code,
    Finish,
    Refused,
    WorkerFacts,
)
from distflow.core.graph import Graph
from distflow.core.model import Expanded, Task
from distflow.core.outcome import Attempt, Decision, Outcome, decide, decide_lost
from distflow.core.plan import PlanItem, plan_resume
from distflow.core.run import Claim
from distflow.core.status import REOPENED, RunStatus, TaskStatus
from distflow.wire.codec import decode_result, encode_result, encode_tasks, status_of
from tests.contract.twins import Call, Lead, Side, Twins
from tests.support.planning import STAND_IN, growth_of, make_chunks

#: Who has never led knows no epoch.
NEVER: Lead = {"memory": 0, "redis": 0}

#: How an attempt ends, as its worker sees it.
ENDINGS = {
    "return": Outcome(TaskStatus.SUCCESS, data=1),
    "raise": Outcome(TaskStatus.FAILURE, error="OSError: no"),
    "not_done": Outcome(TaskStatus.FAILURE, error="NotDone: no", not_done=True),
    "timeout": Outcome(TaskStatus.FAILURE, error="TaskTimeout: no", timed_out=True),
    "skip": Outcome(TaskStatus.SKIPPED, message="its condition was false"),
}

#: The number that lets a chunk be lost.
LOSING = 5


@dataclass
class Hold:
    """A claim as its worker knows it, rightly or not."""

    task: Task
    token: str
    reply: ClaimReply
    started: bool
    #: Of a growing node: what is still to be written of its expansion, by number; None before that.
    unwritten: list[int] | None = None


class Worker:
    """One worker: it holds one task at a time, and does not know when it was given up."""

    def __init__(self, name: str, twins: Twins, graph: Graph) -> None:
        self.name = name
        self.twins = twins
        self.graph = graph
        self.lead = NEVER
        self.batch = ""
        self.hold: Hold | None = None

    def go_on(self, lead: Lead, first: int, ending: str, *, again: bool) -> None:
        """Do what comes next: begin a batch, claim a task of it, start that, tell its outcome."""
        if not self.batch:
            self._begin(lead, again=again)
        elif self.hold is None:
            self._claim(first % len(self.graph), again=again)
            # Mostly that cannot be had; then take what can.
            for index in self._claimable():
                if self.batch and self.hold is None:
                    self._claim(index, again=again)
        elif not self.hold.started and ending != "skip":
            self._start(self.hold, again=again)
        elif self.hold.task.grow and ending != "raise":
            self._expand(self.hold, first, again=again)
        # A condition is asked before the start: what has started is not skipped by it.
        elif not (self.hold.started and ending == "skip"):
            self._finish(self.hold, ending, again=again)

    def beat_or_end(self, *, again: bool) -> None:
        """Beat in the middle of a task; end the batch between two."""
        lead, batch = self.lead, self.batch
        if self.hold:
            task = self.hold.task.name
            beat = Call("beat", lambda side: side.store.beat(batch, self.name, "job", task))
            self.twins.send(beat, lost_reply=again)
        elif batch:
            end = Call(
                "end",
                lambda side: side.store.advance(
                    lead[side.name], batch, ending=True, unstarted=["t0"]
                ),
            )
            self.twins.send(end, lost_reply=again)
            self.batch = ""

    def claim_ahead(self, first: int, *, refuses: bool, again: bool) -> None:
        """Claim a task as of a group, in the middle of another or between two, and give it back: it
        is not begun any more, or cannot be run here.
        """
        if not self.batch:
            return
        task, token, batch, lead = (
            self.graph.tasks[first % len(self.graph)],
            self.twins.new_name("token"),
            self.batch,
            self.lead,
        )
        parents = [
            self.graph.tasks[parent] for parent in self.graph.parents[first % len(self.graph)]
        ]
        needs = tuple((parent.name, parent.continue_on_error) for parent in parents)
        request = ClaimRequest(task.name, token, task.effects != "at_most_once", needs, group=True)

        def claim(side: Side) -> ClaimReply:
            return side.store.advance(lead[side.name], batch, (), [request]).claims[0]

        given_back: dict[str, Any] = {"released": [(task.name, token)]}
        if refuses:
            refused = Refused(task.name, token, f"task {task.name}", "m:f", "ImportError: no")
            by = WorkerFacts(self.name, "born", "host", 7, "/srv")
            given_back = {"refused": [refused], "by": by}

        def release(side: Side) -> None:
            side.store.advance(lead[side.name], batch, **given_back)

        # A claim that is delivered once more after its release is one that nobody knows of: the
        # batch's end shows it. That is beyond what is promised here.
        self.twins.send(Call("claim", claim, once=True), lost_reply=again)
        self.twins.send(Call("release", release, task.name, token), lost_reply=again)

    def save(self, *, again: bool) -> None:
        """Save a note, in the middle of a task."""
        if self.hold:
            name, token, note = (
                self.hold.task.name,
                self.hold.token,
                self.twins.new_name("note").encode(),
            )
            save = Call("save", lambda side: side.store.save_note(name, token, note))
            self.twins.send(save, lost_reply=again)

    def _claimable(self) -> list[int]:
        seen, tasks = self.twins.seen, self.graph.tasks
        done = {index for index, task in enumerate(tasks) if task.name in seen.results}
        return [
            index
            for index, task in enumerate(tasks)
            if index not in done
            and task.name not in seen.claims
            and done.issuperset(self.graph.parents[index])
        ][:1]

    def _begin(self, lead: Lead, *, again: bool) -> None:
        batch = self.twins.new_name("batch")

        def begin(side: Side) -> Code:
            return side.store.begin_batch(lead[side.name], batch, self.name, "job").code

        if self.twins.send(Call("begin_batch", begin), lost_reply=again) == Code.OK:
            self.lead, self.batch = lead, batch

    def _claim(self, index: int, *, again: bool) -> None:
        task, token, batch, lead = (
            self.graph.tasks[index],
            self.twins.new_name("token"),
            self.batch,
            self.lead,
        )
        parents = [self.graph.tasks[parent] for parent in self.graph.parents[index]]
        needs = tuple((parent.name, parent.continue_on_error) for parent in parents)
        request = ClaimRequest(task.name, token, task.effects != "at_most_once", needs)
        records = self._records(index)

        def claim(side: Side) -> ClaimReply:
            answer = side.store.advance(lead[side.name], batch, (), [request], records=records)
            return answer.claims[0]

        reply = self.twins.send(Call("claim", claim), lost_reply=again)
        assert isinstance(reply, ClaimReply)
        if reply.code == Code.GRANTED:
            self.hold = Hold(task, token, reply, request.start)
        elif reply.code in (Code.STALE_EPOCH, Code.STOPPED):
            self.batch = ""

    def _records(self, index: int) -> list[tuple[str, str]]:
        """The expansions that a task is of."""
        records, node = [], self.graph.maker(index)
        while node >= 0:
            name = self.graph.tasks[node].name
            records.append((name, self.twins.seen.expansions[name].token))
            node = self.graph.maker(node)
        return records

    def _expand(self, hold: Hold, first: int, *, again: bool) -> None:
        """Write a chunk of an expansion, or all that is left of it; then finish."""
        while hold.unwritten != []:
            self._write(hold, loses=first == LOSING, again=again)
            if first % 2 or self.hold is None:
                return
        self._finish(hold, "return", again=again)

    def _write(self, hold: Hold, *, loses: bool, again: bool) -> None:
        """Write one chunk of an expansion; or lose it, as a Redis does that is restored."""
        chunks = make_chunks(hold.task, hold.token)
        if hold.unwritten is None:
            hold.unwritten = [-1, *range(len(chunks))]
        number = hold.unwritten.pop()
        if loses:
            return
        packed = STAND_IN if number < 0 else encode_tasks(chunks[number])
        name, token = hold.task.name, hold.token
        write = Call(
            "write_chunk",
            lambda side: side.store.write_chunk(name, token, number, packed),
            name,
            token,
        )
        if self.twins.send(write, lost_reply=again) != Code.GRANTED:
            self.hold = None

    def _start(self, hold: Hold, *, again: bool) -> None:
        name, token = hold.task.name, hold.token
        start = Call("start", lambda side: side.store.start_task(name, token))
        code = self.twins.send(start, lost_reply=again)
        hold.started = code == Code.GRANTED
        if code == Code.REFUSED:
            self.hold = None

    def _finish(self, hold: Hold, ending: str, *, again: bool) -> None:
        reply, lead, batch = hold.reply, self.lead, self.batch
        at = Attempt(reply.attempt, reply.iteration, reply.base, reply.lost, hold.started)
        # The token makes what it brings unlike what any other brings.
        outcome = ENDINGS[ending]._replace(message=hold.token)
        growth = None
        if hold.task.grow and ending == "return":
            growth = growth_of(make_chunks(hold.task, hold.token))
            outcome = outcome._replace(data=Expanded(hold.token, growth.children))
        decision = decide(hold.task, at, outcome, metrics=None, worker=self.name, roll=0.5)
        done = _as_finish(hold.task, hold.token, at, decision, self.name)._replace(growth=growth)

        def finish(side: Side) -> Code:
            return side.store.advance(lead[side.name], batch, [done]).finishes[0]

        name = "vouch" if ending == "not_done" else "finish"
        self.hold = None
        call = Call(name, finish, hold.task.name, hold.token)
        code = self.twins.send(call, lost_reply=again)
        if code == Code.WRONG_STATE:
            # Something is missing: it is written again, all of it.
            self.hold, hold.unwritten = hold, None
        elif code == Code.TOO_LARGE:
            self._finish(hold, "raise", again=again)


class Coordinator:
    """One coordinator: it knows the epoch of its last lease, and what it planned to reopen."""

    def __init__(self, name: str, twins: Twins, graph: Graph) -> None:
        self.name = name
        self.twins = twins
        self.graph = graph
        self.lead = NEVER
        self.plan: list[PlanItem] | None = None
        #: Tolerated failures on which a task rested that was claimed when the plan was made.
        self.rested_on: set[str] = set()

    def take_over(self, *, force: bool, again: bool) -> bool:
        """Take the lease if it may be had, and say whether it could."""
        got: dict[str, int] = {}

        def acquire(side: Side) -> str:
            before = side.store.read_info().epoch
            epoch = side.store.acquire_lease(self.name, 600.0, force=force)
            # Who leads is told its epoch again; anybody else gets a new one.
            repeated = epoch == before and epoch == got.get(side.name, self.lead[side.name])
            assert epoch > before or repeated, "epochs grow and do not repeat"
            got[side.name] = epoch
            return "led"

        led = self.twins.send(Call("acquire", acquire, once=True), lost_reply=again) == "led"
        if led and got != self.lead:
            self.lead, self.plan = got, None
        return led

    def give_up(self, name: str, claim: Claim, *, cancelling: bool, again: bool) -> None:
        """Take the worker of a claim for lost, rightly or not."""
        task, lead = self.twins.task(name), self.lead
        at = Attempt(claim.attempt, claim.iteration, claim.base, claim.lost, claim.started > 0)
        decision = decide_lost(task, at, worker="w", cancelling=cancelling, metrics=None, roll=0.5)
        lost = _as_finish(task, claim.token, at, decision, "w")
        settle = Call(
            "settle_claim",
            lambda side: side.store.settle_claim(lead[side.name], claim.batch, lost),
            name,
            claim.token,
        )
        self.twins.send(settle, lost_reply=again)
        drop = Call("end_batch", lambda side: side.store.end_batch(lead[side.name], claim.batch))
        self.twins.send(drop, lost_reply=again)

    def reopen(self, stages: int, *, again: bool) -> None:
        """Reopen the run, or go on with that; be cut off after some stages."""
        for _stage in range(stages):
            if self.plan is None:
                self._begin_reopening(again=again)
            elif self.plan:
                self._reopen_some(again=again)
            else:
                self._end_reopening(again=again)
            if self.plan is None:
                return

    def _begin_reopening(self, *, again: bool) -> None:
        lead, operation = self.lead, self.twins.new_name("operation")
        begin = Call(
            "begin_reopen", lambda side: side.store.begin_reopen(lead[side.name], operation)
        )
        if self.twins.send(begin, lost_reply=again) is None:
            self.twins.recorded.clear()
            seen = self.twins.seen
            packed = [seen.results.get(task.name) for task in self.graph.tasks]
            statuses = [None if found is None else status_of(found) for found in packed]
            details = {
                index: decode_result(found)
                for index, found in enumerate(packed)
                if found is not None and status_of(found) in REOPENED
            }
            plan = plan_resume(self.graph, statuses, details, seen.claims, seen.progress)
            self.plan = [item for item in plan if item.progress is not None]
            claimed = [task for task in self.graph.tasks if task.name in seen.claims]
            tolerant = {task.name for task in self.graph.tasks if task.continue_on_error}
            self.rested_on = tolerant.intersection(n for t in claimed for n in t.depends_on)

    def _reopen_some(self, *, again: bool) -> None:
        assert self.plan
        lead = self.lead
        items: list[Any] = [
            (self.graph.tasks[item.task].name, item.seen, item.progress, True)
            for item in self.plan[:2]
        ]
        # A delivery from an earlier reopening of the same epoch is beyond what is promised.
        call = Call(
            "reopen_tasks",
            lambda side: side.store.reopen_tasks(lead[side.name], items),
            set_aside=frozenset(item[0] for item in items),
            once=True,
        )
        stopped = self.twins.send(call, lost_reply=again)
        self.plan = None if stopped else self.plan[2:]

    def _end_reopening(self, *, again: bool) -> None:
        self.plan = None
        lead, running, reopening = self.lead, RunStatus.RUNNING, RunStatus.REOPENING
        call = Call(
            "end_reopen",
            lambda side: side.store.set_status(
                running, {reopening}, epoch=lead[side.name], restart_clock=True
            ),
        )
        before = self.twins.seen.info["status"]
        if self.twins.send(call, lost_reply=again) == running and before == reopening:
            for task, packed in self.twins.seen.results.items():
                result = decode_result(packed)
                settled = result.status not in REOPENED or result.started
                settled = settled or task in self.rested_on
                assert settled or task in self.twins.recorded, f"promise 5: {task} was left out"


def _as_finish(task: Task, token: str, at: Attempt, decision: Decision, worker: str) -> Finish:
    return Finish(
        task.name,
        token,
        at.attempt,
        decision.kind,
        decision.result.status.value,
        encode_result(decision.result),
        worker=worker,
        delay_ms=int(decision.delay_seconds * 1000),
        progress=decision.progress,
        keep=task.effects == "at_most_once",
        grows=task.grow is not None,
        tolerated=task.continue_on_error,
    )
