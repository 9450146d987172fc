"""The same submit, typed again after one that was killed while it wrote the run."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from distflow import Workflow
from distflow.backends.memory import MemoryBackend
from distflow.core.model import Task
from distflow.core.run import RunSpec
from distflow.core.status import RunStatus
from distflow.errors import InvalidInput, WrongState
from distflow.runs import earlier
from distflow.runs.client import Client
from tests.support.tasks import recording

_FLOW = "tests.support.tasks.recording:random_dag"


class Clock:
    """Time passes while somebody waits, and something may happen then."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.meanwhile: Callable[[], object] = bool

    def monotonic(self) -> float:
        return self.seconds

    def sleep(self, seconds: float) -> None:
        self.seconds += seconds
        self.meanwhile()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """That of whoever waits for a run to be written."""
    made = Clock()
    monkeypatch.setattr(earlier, "time", made)
    return made


def write_half(client: Client, workflow: str = _FLOW) -> None:
    """A submit that was killed after its first chunk."""
    store = client.backend.store("r")
    store.create_run(RunSpec("r", workflow, {}, "origin"), "first")
    store.append_tasks("first", 0, [Task("a", "m:f")])


def flow() -> Workflow:
    """A workflow of one task."""
    made = Workflow("one")
    made.add("only", recording.echo, (1,))
    return made


def test_a_run_that_was_cut_off_is_written_anew(clock: Clock) -> None:
    """Once nothing more was written for half a minute: nobody need delete it by hand."""
    client, dag = Client(MemoryBackend()), flow()
    write_half(client, dag.name)
    run = client.submit(dag, run_id="r", detach=True, or_resume=True)
    assert 30.0 <= clock.seconds < 31.0
    assert [task.name for task in run.graph().tasks] == ["only"]
    assert run.info().status == RunStatus.RUNNING
    assert client.backend.run_ids() == ["r"]
    assert client.backend.service.list_active() == {"r"}
    with pytest.raises(WrongState):
        run.store.append_tasks("first", 1, [Task("b", "m:f")])


def test_a_run_that_is_being_written_is_waited_for(clock: Clock) -> None:
    """However long that takes, as long as it grows."""
    client, dag = Client(MemoryBackend()), flow()
    write_half(client, dag.name)
    store, chunks = client.backend.store("r"), iter(range(1, 6))

    def go_on() -> None:
        if clock.seconds % 20 < 0.1:
            number = next(chunks)
            store.append_tasks("first", number, [Task(f"b{number}", "m:f")])
            if number == 5:
                store.seal_run("first", 6)

    clock.meanwhile = go_on
    run = client.submit(dag, run_id="r", detach=True, or_resume=True)
    assert clock.seconds > 60
    assert run.info().total == 6


def test_a_run_of_another_workflow_stays(clock: Clock) -> None:
    """It is somebody else's, also where it was cut off."""
    client, dag = Client(MemoryBackend()), flow()
    write_half(client)
    with pytest.raises(InvalidInput, match="is of workflow"):
        client.submit(dag, run_id="r", detach=True, or_resume=True)
    assert client.backend.store("r").read_creation() is not None


def test_who_is_faster_writes_it(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two find it cut off: the second sees that it is being written anew, and waits for that."""
    client, dag = Client(MemoryBackend()), flow()
    write_half(client, dag.name)
    store = client.backend.store("r")
    discard = type(store).discard_creation

    def overtaken(self: object, operation: str) -> None:
        monkeypatch.undo()
        monkeypatch.setattr(earlier, "time", clock)
        discard(store, operation)
        store.create_run(RunSpec("r", dag.name, {}, "origin"), "second")
        clock.meanwhile = lambda: store.seal_run("second", 0)
        discard(store, operation)

    monkeypatch.setattr(type(store), "discard_creation", overtaken)
    run = client.submit(dag, run_id="r", detach=True, or_resume=True)
    assert run.store.read_info().origin == "origin"
