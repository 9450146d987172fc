"""Sessions on threads of a process that ends: their runs are left, and it is said how to go on."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest

from distflow.core.model import Task
from distflow.core.run import RunInfo, RunSpec
from distflow.core.status import RunStatus
from distflow.errors import DistflowError, RedisUnavailable, WrongState
from distflow.events.notice import Interrupt
from distflow.runs import background as module
from distflow.runs.background import Background, _leave_runs
from distflow.store.memory.store import MemoryRunStore, MemoryServer
from tests.support.wait import wait_for


class Session:
    """It goes on until it is interrupted, and does something then."""

    def __init__(self, interrupt: Interrupt, at_the_end: Callable[[], RunStatus]) -> None:
        self._interrupt = interrupt
        self._at_the_end = at_the_end
        self.asked: list[bool] = []

    def finish(self, *, reopen: bool) -> RunStatus:
        self.asked.append(reopen)
        assert self._interrupt.wait(20)
        return self._at_the_end()


class Away(MemoryRunStore):
    """A run on a server that is gone when it is asked."""

    def read_info(self) -> RunInfo:
        raise RedisUnavailable


class Scene:
    """A run of one task, and sessions that see it through."""

    def __init__(self) -> None:
        self.server = MemoryServer()
        self.store = MemoryRunStore("run-1", server=self.server)
        self.store.create_run(RunSpec("run-1", "m:f", {}, "0f"), "op", [Task("a", "m:f")])
        self.epoch = self.store.acquire_lease("me", 60.0)
        self.made: list[tuple[Background, Interrupt]] = []
        self._leaving = threading.Lock()

    def begin(
        self,
        at_the_end: Callable[[], RunStatus] = lambda: RunStatus.RUNNING,
        *,
        store: MemoryRunStore | None = None,
        reopen: bool = False,
    ) -> Background:
        """A session at work."""
        interrupt = Interrupt()
        self.session = Session(interrupt, at_the_end)
        session: Any = self.session
        made = Background(session, interrupt, store or self.store, reopen=reopen)
        self.made.append((made, interrupt))
        return made

    def let_go(self) -> RunStatus:
        """As a coordinator that is interrupted."""
        with self._leaving, suppress(WrongState):
            self.store.set_status(RunStatus.INTERRUPTED, {RunStatus.RUNNING}, epoch=self.epoch)
            self.store.release_lease("me", self.epoch)
        return RunStatus.INTERRUPTED

    def end(self) -> RunStatus:
        """As one that has come to the end at this very moment."""
        self.store.set_status(RunStatus.SUCCESS, {RunStatus.RUNNING}, epoch=self.epoch)
        self.store.release_lease("me", self.epoch, is_over=True)
        return RunStatus.SUCCESS


@pytest.fixture
def scene(monkeypatch: pytest.MonkeyPatch) -> Iterator[Scene]:
    """None of its sessions outlasts it."""
    monkeypatch.setattr(module, "_at_work", set())
    monkeypatch.setattr(module, "_left", set())
    made = Scene()
    yield made
    for each, interrupt in made.made:
        interrupt.set()
        assert not each.join(20)


def how_it_ended(made: Background) -> RunStatus | None:
    """Looked at anew: another thread says it."""
    return made.ended


def test_it_says_how_the_run_stood(scene: Scene) -> None:
    """Once it is over; until then, that it goes on."""
    made = scene.begin(scene.end, reopen=True)
    assert made.is_alive
    assert made.join(0.0)
    assert how_it_ended(made) is None
    made.leave()
    assert not made.join(20)
    assert how_it_ended(made) == RunStatus.SUCCESS
    assert made.failed is None
    assert scene.session.asked == [True]
    assert not made.has_left


def test_why_it_failed_is_kept(scene: Scene) -> None:
    """For whoever waits for the run."""

    def fail() -> RunStatus:
        raise RedisUnavailable("it is away")

    made = scene.begin(fail)
    made.leave()
    assert not made.join(20)
    assert made.ended is None
    assert isinstance(made.failed, DistflowError)


def test_a_process_that_ends_leaves_its_runs(
    scene: Scene, capsys: pytest.CaptureFixture[str]
) -> None:
    """It says once how to go on, however many sessions it had of the run."""
    made, other = scene.begin(scene.let_go), scene.begin(scene.let_go)
    _leave_runs()
    assert not made.is_alive
    assert not other.is_alive
    said = capsys.readouterr().err
    assert said.count("`distflow resume run-1`") == 1
    assert said.count("\n") == 1
    assert made.has_left
    _leave_runs()
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("how", ["ended", "deleted", "led by another"])
def test_nothing_is_said_where_nobody_need_go_on(
    scene: Scene, how: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The run has come to its end, is gone, or goes on elsewhere."""

    def leave() -> RunStatus:
        if how == "ended":
            return scene.end()
        if how == "deleted":
            scene.store.delete_run(force=True)
        else:
            scene.store.acquire_lease("berta", 60.0, force=True)
        return RunStatus.RUNNING

    made = scene.begin(leave)
    _leave_runs()
    assert not made.is_alive
    assert not made.has_left
    assert capsys.readouterr().err == ""


def test_who_cannot_know_says_it(scene: Scene, capsys: pytest.CaptureFixture[str]) -> None:
    """Redis is away: the run may be anywhere."""
    made = scene.begin(store=Away("run-1", server=scene.server))
    _leave_runs()
    assert not made.is_alive
    assert "`distflow resume run-1`" in capsys.readouterr().err


def test_a_session_that_does_not_end_holds_nobody_up(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The process ends without it, and says so."""
    monkeypatch.setattr(module, "_LEAVE_SECONDS", 0.01)
    gate = threading.Event()

    def hang() -> RunStatus:
        assert gate.wait(20)
        return RunStatus.RUNNING

    made = scene.begin(hang)
    _leave_runs()
    assert made.is_alive
    assert "`distflow resume run-1`" in capsys.readouterr().err
    gate.set()


def test_an_interpreter_that_starts_no_threads_leaves_the_run(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """From Python 3.12 on, once the main thread is over."""

    class Over:
        def is_alive(self) -> bool:
            return False

    def fail() -> RunStatus:
        raise RuntimeError("can't create new thread at interpreter shutdown")

    monkeypatch.setattr(threading, "main_thread", Over)
    made = scene.begin(fail)
    made.leave()
    wait_for(lambda: not made.is_alive, what="it to end")
    assert "`distflow resume run-1`" in capsys.readouterr().err
