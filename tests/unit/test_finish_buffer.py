"""What a batch tells Redis, and when; and what it holds that it has claimed ahead."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import pytest

from distflow.core.claim import Advance, ClaimReply, ClaimRequest, Code, Finish
from distflow.errors import RedisUnavailable
from distflow_worker import finish_buffer as buffer_module
from distflow_worker.finish_buffer import FLUSH_SECONDS, FinishBuffer
from tests.support.stores import final
from tests.support.wait import wait_for


class Call(NamedTuple):
    """What a buffer sent."""

    finishes: list[str]
    claims: list[str]
    released: list[tuple[str, str]]
    ending: bool
    unstarted: Sequence[str]


class Store:
    """Takes what a buffer sends; grants every claim but those of some tasks."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.busy: set[str] = set()
        self.away = False
        #: What it answers to outcomes of some tasks.
        self.answers: dict[str, Code] = {}

    def advance(
        self,
        epoch: int,
        batch: str,
        finishes: Sequence[Finish],
        claims: Sequence[ClaimRequest],
        *,
        released: Sequence[tuple[str, str]],
        ending: bool,
        unstarted: Sequence[str],
        meanwhile: Any,
        **_refused: Any,
    ) -> Advance:
        assert (epoch, batch) == (7, "b1")
        names = [done.task for done in finishes], [wanted.task for wanted in claims]
        self.calls.append(Call(*names, list(released), ending, unstarted))
        if self.away:
            raise RedisUnavailable("Redis cannot be reached")
        codes = [Code.BUSY if name in self.busy else Code.GRANTED for name in names[1]]
        recorded = (self.answers.get(name, Code.RECORDED) for name in names[0])
        return Advance(tuple(recorded), tuple(map(ClaimReply, codes)))


class Scene:
    """A buffer with a clock that a test moves."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.seconds = 1000.0
        patch.setattr("distflow_worker.finish_buffer.time.monotonic", lambda: self.seconds)
        self.store = Store()
        self.buffer = FinishBuffer(self.store, 7, "b1")  # type: ignore[arg-type]

    def claim(self, *names: str) -> Code:
        """Claim tasks together."""
        wanted = [ClaimRequest(name, f"t-{name}", True) for name in names]
        return self.buffer.claim(wanted).code

    @property
    def last(self) -> Call:
        return self.store.calls[-1]


@pytest.fixture
def scene(monkeypatch: pytest.MonkeyPatch) -> Iterator[Scene]:
    """A buffer that has sent nothing."""
    scene = Scene(monkeypatch)
    yield scene
    scene.buffer._over.set()


def test_an_outcome_goes_with_the_next_claim(scene: Scene) -> None:
    """Once: what was answered is not sent again."""
    scene.buffer.add(final("a", "t"))
    scene.claim("b")
    assert scene.last == Call(["a"], ["b"], [], False, ())
    scene.claim("c")
    assert scene.last == Call([], ["c"], [], False, ())


def test_an_outcome_waits_for_others_a_little(scene: Scene) -> None:
    """50 ms, from the first of them on."""
    scene.buffer.add(final("a", "t"))
    scene.buffer.flush_due()
    scene.seconds += FLUSH_SECONDS * 0.9
    scene.buffer.add(final("b", "t"))
    scene.buffer.flush_due()
    assert scene.store.calls == []
    scene.seconds += FLUSH_SECONDS * 0.2
    scene.buffer.flush_due()
    assert scene.store.calls == [Call(["a", "b"], [], [], False, ())]
    scene.seconds += 10
    scene.buffer.flush_due()
    assert len(scene.store.calls) == 1


def test_much_does_not_wait(scene: Scene) -> None:
    """256 KiB are much; what comes after them is little again."""
    scene.buffer.add(final("a", "t", data="x" * 200_000))
    scene.buffer.flush_due()
    assert scene.store.calls == []
    scene.buffer.add(final("b", "t", data="x" * 100_000))
    scene.buffer.flush_due()
    assert scene.last.finishes == ["a", "b"]
    scene.buffer.add(final("c", "t"))
    scene.buffer.flush_due()
    assert len(scene.store.calls) == 1


def test_an_outcome_that_is_recorded_now_is_answered(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    """With what waits for it; the caller acts on a refusal, and may say something else then."""
    scene.claim("a", "b")
    scene.buffer.add(final("a", "t-a"))
    assert scene.buffer.record(final("b", "t-b")) == Code.RECORDED
    assert scene.last.finishes == ["a", "b"]
    for code in (Code.WRONG_STATE, Code.TOO_LARGE):
        scene.store.answers["b"] = code
        assert scene.buffer.record(final("b", "t-b")) == code
        assert scene.last.finishes == ["b"]
    assert caplog.messages == []


def test_what_is_given_back_is_given_back_once(scene: Scene) -> None:
    """With the call that comes next."""
    scene.buffer.release("a", "t-a")
    scene.claim("b")
    assert scene.last.released == [("a", "t-a")]
    scene.claim("c")
    assert scene.last.released == []


def test_what_was_claimed_ahead_is_held(scene: Scene) -> None:
    """As far as it was granted; what is taken is at work, and no more held."""
    scene.store.busy = {"c"}
    assert scene.claim("a", "b", "c", "d") == Code.GRANTED
    taken = scene.buffer.take_held("b")
    assert taken is not None
    assert (taken.token, taken.reply.code) == ("t-b", Code.GRANTED)
    assert scene.buffer.take_held("b") is None
    assert scene.buffer.take_held("c") is None
    assert scene.buffer.take_held("a") is None
    scene.buffer.end(["d"])
    assert scene.last == Call([], [], [("d", "t-d")], True, ["d"])


def test_what_fails_is_sent_again_whole(scene: Scene) -> None:
    """A call whose reply was lost has told everything or nothing."""
    scene.buffer.add(final("a", "t"))
    scene.buffer.release("b", "t-b")
    scene.store.away = True
    with pytest.raises(RedisUnavailable):
        scene.claim("c")
    scene.store.away = False
    scene.buffer.end([])
    assert scene.last == Call(["a"], [], [("b", "t-b")], True, [])


# The thread that looks after a group


@pytest.fixture
def brisk(monkeypatch: pytest.MonkeyPatch) -> None:
    """It looks each millisecond: the clock is the test's."""
    monkeypatch.setattr(buffer_module, "FLUSH_SECONDS", 0.001)
    monkeypatch.setattr(buffer_module, "HELD_SECONDS", 0.002)


@pytest.fixture
def watched(brisk: None, scene: Scene) -> Scene:
    """A group of three was claimed, and the first is at work."""
    scene.claim("a", "b", "c")
    scene.buffer.watch()
    return scene


def looks(times: int = 3) -> None:
    """Let the thread look some times: a second one of the same pace counts."""
    waiting = threading.Event()
    for _ in range(times * 10):
        waiting.wait(0.001)


def test_what_waits_behind_a_long_task_is_given_back(watched: Scene) -> None:
    """After twice the time that outcomes may wait, and not before: the first of a group has nothing
    to record, and may be long as well.
    """
    looks()
    assert len(watched.store.calls) == 1
    watched.seconds += 0.0021
    wait_for(lambda: len(watched.store.calls) == 2, what="the claims to be given back")
    assert watched.last == Call([], [], [("b", "t-b"), ("c", "t-c")], False, ())
    assert watched.buffer.take_held("b") is None
    looks()
    assert len(watched.store.calls) == 2


def test_an_outcome_does_not_wait_behind_a_long_task(watched: Scene) -> None:
    """It is recorded, and what was claimed behind the task given back, in one call."""
    watched.buffer.add(final("a", "t-a"))
    assert watched.buffer.take_held("b") is not None
    looks()
    assert len(watched.store.calls) == 1
    watched.seconds += 0.0021
    wait_for(lambda: len(watched.store.calls) == 2, what="the outcome")
    assert watched.last == Call(["a"], [], [("c", "t-c")], False, ())


def test_a_thread_with_nothing_to_do_asks_nothing(watched: Scene) -> None:
    """Nothing is held any more, and nothing to be told."""
    for name in ("b", "c"):
        assert watched.buffer.take_held(name) is not None
    watched.seconds += 10
    looks()
    assert len(watched.store.calls) == 1


def test_a_thread_outlasts_a_redis_that_is_away(watched: Scene) -> None:
    """What it could not give back is given back later."""
    watched.store.away = True
    watched.seconds += 10
    wait_for(lambda: len(watched.store.calls) >= 2, what="a try")
    watched.store.away = False
    looks()
    watched.buffer.end([])
    told = [pair for call in watched.store.calls[-2:] for pair in call.released]
    assert {("b", "t-b"), ("c", "t-c")} <= set(told)


def test_the_thread_ends_with_the_batch(watched: Scene) -> None:
    """It tells nothing after the batch's end; one batch has one."""
    watched.buffer.watch()
    names = [thread.name for thread in threading.enumerate()]
    assert names.count("distflow-flush") == 1
    watched.buffer.end([])
    thread = watched.buffer._flusher
    assert thread is not None
    thread.join(10)
    assert not thread.is_alive()
    assert watched.last.ending
