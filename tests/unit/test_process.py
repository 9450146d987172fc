"""Tasks change their process, or copy it: others are none the worse."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from multiprocessing import Pipe
from pathlib import Path
from typing import Any

import pytest

from distflow import Loop, TaskRunnerBuilder, Workflow
from distflow.core.model import Task, TaskResult
from distflow.core.status import TaskStatus
from distflow.errors import NotEncodable
from distflow.wire.codec import encode_result
from distflow_worker import attempt as attempt_module
from distflow_worker.fast_child import BatchServing
from distflow_worker.process import ProcessState
from tests.support.stores import claim
from tests.support.taking import Counted, Taken
from tests.support.tasks import scripted

TASKS = "tests.support.tasks.scripted"


@pytest.fixture(autouse=True)
def script() -> Iterator[None]:
    """Nothing is scripted, and nothing was called."""
    scripted.CALLED.clear()
    scripted.ACTS.clear()
    yield
    scripted.ACTS.clear()


def task(name: str, *parents: str, **fields: Any) -> Task:
    """A task that does what a test says."""
    return Task(name, f"{TASKS}:act", depends_on=parents, **fields)


# What ends with a task


@pytest.fixture
def state() -> Iterator[ProcessState]:
    """Of this process, which is left as it was."""
    made, last = ProcessState(), ProcessState()
    # That of the tests' own deadline.
    left, _interval = signal.setitimer(signal.ITIMER_REAL, 0.0)
    last.note()
    yield made
    made.close()
    last.restore()
    last.close()
    signal.setitimer(signal.ITIMER_REAL, left)


def look() -> dict[str, Any]:
    """What a task finds of its process."""
    umask = os.umask(0o022)
    os.umask(umask)
    files = [os.fstat(number).st_ino if is_open(number) else None for number in (0, 1, 2)]
    return {
        "umask": umask,
        "folder": str(Path.cwd()),
        "environ": {name: value for name, value in os.environ.items() if "PYTEST" not in name},
        "files": files,
        "blocking": [os.get_blocking(number) for number in (0, 1, 2) if is_open(number)],
        "handlers": [str(signal.getsignal(number)) for number in (signal.SIGTERM, signal.SIGUSR1)],
        "mask": sorted(signal.pthread_sigmask(signal.SIG_BLOCK, ())),
        "timer": signal.getitimer(signal.ITIMER_REAL)[0] > 0,
    }


def is_open(number: int) -> bool:
    """Whether a descriptor stands for anything."""
    try:
        os.fstat(number)
    except OSError:
        return False
    return True


def set_environment() -> None:
    """One is new, one is another, one is gone."""
    os.environ["SPOILED"] = "1"
    os.environ["PATH"] = "/nowhere"
    del os.environ["HOME"]


def redirect() -> None:
    """Standard output goes elsewhere."""
    other = os.open(os.devnull, os.O_WRONLY)
    os.dup2(other, 1)
    os.close(other)


SPOILING: dict[str, Callable[[], object]] = {
    "umask": lambda: os.umask(0o077),
    "folder": lambda: os.chdir("/"),
    "environ": set_environment,
    "handler": lambda: signal.signal(signal.SIGTERM, lambda *_: None),
    "ignored": lambda: signal.signal(signal.SIGUSR1, signal.SIG_IGN),
    "mask": lambda: signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR2]),
    "timer": lambda: signal.setitimer(signal.ITIMER_REAL, 60.0),
    "redirected": redirect,
    "closed": lambda: os.close(2),
    "stdin closed": lambda: os.close(0),
    "not blocking": lambda: os.set_blocking(1, False),
}


@pytest.mark.parametrize("what", SPOILING)
def test_the_next_task_finds_its_process_as_the_last_one_did(
    what: str, state: ProcessState, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the task failed; and what it had changed was another thing while it ran."""
    monkeypatch.setenv("HOME", "/home/somebody")
    found: dict[str, Any] = {}

    def spoil() -> None:
        found["before"] = look()
        SPOILING[what]()
        found["spoiled"] = look()
        raise ValueError("no")

    scripted.ACTS |= {"a": spoil, "b": lambda: found.update(after=look())}
    Taken(task("a"), task("b"), state=state)
    assert found["spoiled"] != found["before"]
    assert found["after"] == found["before"]


def test_what_an_import_has_changed_stays(state: ProcessState) -> None:
    """It is not imported again for the next task. A condition belongs to its task."""
    scripted.ACTS["?a"] = lambda: os.umask(0o077) >= 0
    masks: list[int] = []
    for name in ("a", "b"):
        scripted.ACTS[name] = lambda: masks.append(look()["umask"])
    os.umask(0o027)
    Taken(task("a", condition=f"{TASKS}:looks"), task("b"), state=state)
    assert masks == [0o077, 0o027]


def test_a_process_that_stays_ends_where_tasks_leak_descriptors() -> None:
    """Nobody knows whose each of them is: none is closed, and the child of a FastWorker is replaced
    before it can open no more.
    """
    ours, theirs = Pipe()
    worker: Any = None
    serving = BatchServing(worker, ours, jobs=10, rss_mb=1024)
    assert not serving.is_tired
    leaked = [os.open(os.devnull, os.O_RDONLY) for _ in range(520)]
    try:
        assert serving.is_tired
    finally:
        for number in leaked:
            os.close(number)
        ours.close()
        theirs.close()


# Copies


@pytest.fixture
def pids(tmp_path: Path) -> Callable[[], list[int]]:
    """Lets task ``b`` say in which processes it ran."""
    log = tmp_path / "log"
    log.touch()

    def note() -> str:
        with log.open("a") as file:
            file.write(f"{os.getpid()}\n")
        return "b"

    scripted.ACTS["b"] = note
    return lambda: [int(line) for line in log.read_text().split()]


def forking(then: Callable[[], Any] = lambda: None) -> Callable[[], Any]:
    """Forks, and returns or raises in both; the original waits for the end of its copy."""

    def fork() -> Any:
        pid = os.fork()
        if pid == 0:
            # Whatever becomes of it, it does not go on with the tests.
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.alarm(5)
        else:
            assert os.waitpid(pid, 0)[1] == 0
        return then()

    return fork


def leave() -> None:
    """What is written after a fork: the copy ends. Here the original does so as well."""
    raise SystemExit(3)


@pytest.mark.parametrize("how", ["returns", "raises", "condition", "until"])
def test_a_copy_of_the_process_ends_without_a_word(how: str, pids: Callable[[], list[int]]) -> None:
    """It does not tell how the task ended, nor go on with the next one."""
    fields: dict[str, Any] = {}
    if how == "condition":
        scripted.ACTS["?a"] = forking(lambda: True)
        fields["condition"] = f"{TASKS}:looks"
    elif how == "until":
        scripted.ACTS["!a"] = forking(lambda: True)
        fields["loop"] = Loop(f"{TASKS}:until", 3)
    else:
        scripted.ACTS["a"] = forking(leave if how == "raises" else lambda: "a")
    taken = Taken(task("a", **fields), task("b"))
    assert pids() == [os.getpid()]
    status = "failure" if how == "raises" else "success"
    assert {name: each.status for name, each in taken.results.items()} == {
        "a": status,
        "b": "success",
    }


def test_a_copy_does_not_answer_for_a_hook(pids: Callable[[], list[int]]) -> None:
    """As little as for a task."""
    del pids
    scripted.ACTS["?a"] = forking(lambda: TaskResult(TaskStatus.SUCCESS))

    def before(store: Counted, epoch: int) -> None:
        claim(store, epoch, "a", "t1", batch="other")
        (run,) = store.server.runs.values()
        run.results["a"] = encode_result(TaskResult(TaskStatus.UNKNOWN))
        run.claims.clear()

    taken = Taken(
        task("a", effects="at_most_once", verify=f"{TASKS}:hook"), before=before, verify=True
    )
    assert taken.results["a"].status == "success"


def test_a_copy_of_a_program_that_runs_a_workflow_ends_as_well(
    pids: Callable[[], list[int]],
) -> None:
    """In this process, without Redis, tasks run on threads; the copy has no other."""
    dag = Workflow("copies")
    scripted.ACTS["a"] = forking()
    first = dag.add("a", scripted.act)
    dag.add("b", scripted.act, depends_on=[first])
    results = TaskRunnerBuilder().build().execute(dag)
    assert {name: result.status for name, result in results.items()} == {
        "a": "success",
        "b": "success",
    }
    assert pids() == [os.getpid()]


# What cannot be told


def test_a_task_that_breaks_what_outcomes_are_encoded_with_ends(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Not even that it cannot be encoded can be told: its batch ends by an error, and others go on
    with it.
    """

    def broken(*_given: Any) -> bytes:
        raise TypeError("no")

    scripted.ACTS["a"] = lambda: monkeypatch.setattr(attempt_module, "encode_result", broken)
    with pytest.raises(NotEncodable, match="encoding it raised TypeError: no"):
        Taken(task("a"), task("b"))
    assert scripted.CALLED == ["a"]


def test_what_a_task_does_to_msgpack_is_not_for_us(monkeypatch: pytest.MonkeyPatch) -> None:
    """As msgpack-numpy does, for one."""
    for name in ("packb", "unpackb", "Packer", "Unpacker"):
        monkeypatch.setattr(f"msgpack.{name}", None)
    taken = Taken(task("a"), task("b"))
    assert {result.data for result in taken.results.values()} == {"a", "b"}
