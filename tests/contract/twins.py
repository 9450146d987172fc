"""Two stores that get the same calls, compared after each, and the promises checked on the way."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from distflow.core.claim import Code
from distflow.core.model import Task
from distflow.core.resolution import is_dead_end
from distflow.core.status import REOPENED, TaskStatus
from distflow.errors import DistflowError
from distflow.ports.run_store import RunStore
from distflow.wire.codec import decode_result, status_of
from tests.support.stores import Picture, Subject, picture

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
        tasks: those of the run.
        base_ms: about now, Unix milliseconds.
    """

    def __init__(self, sides: tuple[Side, Side], tasks: Mapping[str, Task], base_ms: int) -> None:
        self.sides = sides
        self.tasks = tasks
        self.base_ms = base_ms
        self.offset_ms = 0
        #: ``at_most_once`` tasks whose function may have been called and did not vouch.
        self.touched: set[str] = set()
        self.sent: list[Call] = []
        self.seen: Picture = picture(sides[0].subject)
        #: Tasks that got an outcome since a coordinator began to reopen.
        self.recorded: set[str] = set()

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
        self._check_outcomes(call, before)
        self._check_starts(call, before, first)
        assert self.seen.info["generation"] >= before.info["generation"]
        return first

    def _check_outcomes(self, call: Call, before: Picture) -> None:
        for task in self.tasks:
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
            if claim.started and self.tasks[task].effects == "at_most_once":
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
        return found.results, claims, progress, history, events, info, *rest

    def _hour(self, unix_ms: int) -> int:
        # 0 is never, and stays apart from now.
        return round((unix_ms - self.base_ms) / 3_600_000) + 1000 if unix_ms else 0


def _lasting(found: Picture, answer: object) -> Picture:
    """What a repeated call may not change: each delivery of a refused outcome is evidence."""
    return found._replace(history=[], events=[]) if answer == Code.REFUSED else found


def _answer(call: Call, side: Side) -> Any:
    try:
        return call.send(side)
    except DistflowError as error:
        return type(error).__name__, str(error)
