"""Two stores that get the same calls, compared after each, and the promises checked on the way."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from distflow.core.claim import Code
from distflow.core.graph import Graph
from distflow.core.model import Expanded, Task
from distflow.core.resolution import is_dead_end
from distflow.core.status import REOPENED, TaskStatus
from distflow.errors import DistflowError
from distflow.ports.run_store import RunStore
from distflow.wire.codec import decode_result, status_of
from tests.support.stores import Picture, RedisSubject, Subject, picture

#: What a coordinator leads by: its epoch on each side. The clocks differ by a little.
Lead = Mapping[str, int]


class Side(NamedTuple):
    """One of the two stores."""

    name: str
    subject: Subject

    @property
    def store(self) -> RunStore:
        return self.subject.store


class Call(NamedTuple):
    """One transition, to be sent to each side, also again.

    ``task`` and ``token`` are those of an outcome or of a decision; ``set_aside`` are the tasks
    whose outcome it may take away. What goes ``once`` is not delivered again after other calls.
    """

    name: str
    send: Callable[[Side], object]
    task: str = ""
    token: str = ""
    set_aside: frozenset[str] = frozenset()
    once: bool = False


class Twins:
    """The two sides of one run, and what its history of calls says must hold.

    Args:
        sides: memory first.
        graph: of the run; it grows as nodes expand.
        base_ms: about now, Unix milliseconds.
    """

    def __init__(self, sides: tuple[Side, Side], graph: Graph, base_ms: int) -> None:
        self.sides = sides
        self.graph = graph
        self.base_total = len(graph)
        self._fresh = itertools.count(1)
        self.base_ms = base_ms
        self.offset_ms = 0
        #: ``at_most_once`` tasks whose function may have been called and did not vouch.
        self.touched: set[str] = set()
        self.sent: list[Call] = []
        self.seen: Picture = picture(sides[0].subject)
        #: Tasks that got an outcome since a coordinator began to reopen.
        self.recorded: set[str] = set()

    def new_name(self, kind: str) -> str:
        """A token, an operation or a batch that nothing else in the run is named by; the same again
        where the same happens again.
        """
        return f"{kind}{next(self._fresh)}"

    def send(self, call: Call, *, lost_reply: bool) -> object:
        """Send a call to both sides and return their common answer.

        Args:
            call: the call.
            lost_reply: it is sent once more at once, which must change nothing.
        """
        answer = self._send_once(call)
        if lost_reply:
            before = [_lasting(picture(side.subject), answer) for side in self.sides]
            assert self._send_once(call) == answer, f"{call.name} answers its repetition otherwise"
            after = [_lasting(picture(side.subject), answer) for side in self.sides]
            assert after == before, f"{call.name} changes something when it is repeated"
        if not call.once:
            self.sent.append(call)
        return answer

    def _send_once(self, call: Call) -> object:
        first, second = (_answer(call, side) for side in self.sides)
        assert first == second, f"{call.name}: memory says {first}, Redis {second}"
        pictures = [picture(side.subject) for side in self.sides]
        ours, theirs = (self._comparable(found) for found in pictures)
        assert ours == theirs, f"after {call.name} the stores differ"
        before, self.seen = self.seen, pictures[0]
        self._check_growth(call, before)
        self._check_outcomes(call, before)
        self._check_starts(call, before, first)
        assert self.seen.info["generation"] >= before.info["generation"]
        return first

    def task(self, name: str) -> Task:
        """A task of the run."""
        return self.graph.tasks[self.graph.index[name]]

    def _check_growth(self, call: Call, before: Picture) -> None:
        known, found = before.expansions, self.seen.expansions
        assert all(found.get(node) == record for node, record in known.items()), "promise 8"
        for node, record in found.items():
            data = decode_result(self.seen.results[node]).data
            assert data == Expanded(record.token, record.children), f"{node} has other children"
            if node not in known:
                assert (call.task, call.token) == (node, record.token)
                store = self.sides[0].store
                for number in range(record.chunks):
                    tasks = store.read_chunk(record.token, number)
                    self.graph.grow(self.graph.index[node], tasks)
        recorded = {record.token for record in found.values()}
        writing = self.seen.tokens - recorded
        claimed = {claim.token for claim in self.seen.claims.values()}
        assert recorded <= self.seen.tokens
        assert writing <= claimed, "chunks of a claim that has ended are left"
        total = self.base_total + sum(record.children for record in found.values())
        assert self.seen.info["total"] == total
        for side in self.sides:
            if isinstance(side.subject, RedisSubject):
                _check_figures(side.subject, recorded, len(writing))

    def _check_outcomes(self, call: Call, before: Picture) -> None:
        for task in self.graph.index:
            old, new = before.results.get(task), self.seen.results.get(task)
            assert new is None or task not in self.seen.claims, f"{task} is done and claimed"
            if new is not None and old != new:
                self.recorded.add(task)
            if old is None or old == new:
                continue
            status, old_result = status_of(old), decode_result(old)
            assert status != TaskStatus.SUCCESS, f"promise 1: the success of {task} was replaced"
            if status == TaskStatus.UNKNOWN:
                own = before.progress[task].token == call.token
                by_right = call.task == task and (own or call.name == "resolve")
            else:
                by_right = new is None and status in REOPENED and task in call.set_aside
                by_right |= call.name == "decide" and call.task == task and is_dead_end(old_result)
            assert by_right, f"promise 2: {call.name} replaced the {status} of {task}"

    def _check_starts(self, call: Call, before: Picture, answer: object) -> None:
        claimed = {task: claim.token for task, claim in self.seen.claims.items()}
        for task, ended in before.claims.items():
            if claimed.get(task) != ended.token:
                assert call.token == ended.token, f"another token ended the claim on {task}"
        for task, token in claimed.items():
            held = before.claims.get(task)
            if held is None or held.token != token:
                assert task not in before.results, f"promise 1: {task} was granted after its end"
                assert task not in self.touched, f"promise 3: {task} may start a second time"
        for task, claim in self.seen.claims.items():
            if claim.started and self.task(task).effects == "at_most_once":
                self.touched.add(task)
        # Nothing happened, says the holder of the attempt; or a person lets it start again.
        was = before.results.get(call.task)
        given_up = was is not None and status_of(was) == TaskStatus.UNKNOWN
        holder = before.claims.get(call.task)
        vouched = call.name == "vouch" and answer == Code.RECORDED
        if (vouched and (given_up or (holder and holder.token == call.token))) or (
            call.name in ("resolve", "decide")
            and (given_up or (was is not None and is_dead_end(decode_result(was))))
            and call.task not in self.seen.results
        ):
            self.touched.discard(call.task)

    def _comparable(self, found: Picture) -> tuple[object, ...]:
        """A picture without what differs by the clocks: epochs, ids, and times but for the hour."""
        claims = {
            task: claim._replace(claimed=self._hour(claim.claimed), started=bool(claim.started))
            for task, claim in found.claims.items()
        }
        progress = {
            task: known._replace(not_before=self._hour(known.not_before))
            for task, known in found.progress.items()
        }
        history = [
            (entry.kind, entry.task, entry.status, entry.attempt, entry.by, entry.packed)
            for entry in found.history
        ]
        events = [
            event._replace(id="", not_before=self._hour(event.not_before)) for event in found.events
        ]
        info = {name: value for name, value in found.info.items() if name != "epoch"}
        info["rested_seconds"] = round(info["rested_seconds"] / 3600)
        for name in ("created_at", "started_at", "ended_at", "rest_at", "clock_at"):
            info[name] = info[name] and self._hour(int(info[name] * 1000))
        rest = (found.notes, found.beats, found.troubles)
        growth = (found.expansions, found.added, found.tokens)
        return found.results, claims, progress, history, events, info, *rest, *growth

    def _hour(self, unix_ms: int) -> int:
        # 0 is never, and stays apart from now.
        return round((unix_ms - self.base_ms) / 3_600_000) + 1000 if unix_ms else 0


def _check_figures(subject: RedisSubject, recorded: set[str], writing: int) -> None:
    """What Redis keeps so that nobody need count."""
    growing, weight = subject.client.hmget(subject.keys.meta, "growing", "graph_bytes")
    assert int(growing or 0) == writing
    if weight is not None:
        fields = subject.client.hgetall(subject.keys.graph)
        counted = [
            len(packed)
            for field, packed in fields.items()
            if field.isdigit() or field.decode().partition(":")[0] in recorded
        ]
        assert int(weight) == sum(counted)


def _lasting(found: Picture, answer: object) -> Picture:
    """What a repeated call may not change: each delivery of a refused outcome is evidence."""
    return found._replace(history=[], events=[]) if answer == Code.REFUSED else found


def _answer(call: Call, side: Side) -> Any:
    try:
        return call.send(side)
    except DistflowError as error:
        return type(error).__name__, str(error)
