"""``distflow coordinator``: detached and orphaned runs are led, by one at a time, whoever dies."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from distflow import connect
from distflow.coordinator import service
from distflow.core.status import RunStatus
from distflow.runs.run import Run
from tests.conftest import StartWorker
from tests.support.cli import kill_cli, run_cli, start_cli, status_of
from tests.support.redis_server import RedisServer
from tests.support.tasks import recording
from tests.support.wait import wait_for

StartCoordinator = Callable[..., "subprocess.Popen[str]"]

FLOWS = "tests.support.tasks.recording"


@pytest.fixture
def start_coordinator(redis_server: RedisServer) -> Iterator[StartCoordinator]:
    """Starts services, with a lease of a second if not told else, and kills those that are left."""
    with ExitStack() as started:

        def start(lease_seconds: int = 1) -> subprocess.Popen[str]:
            known = set(connect(redis_server.url).coordinators())
            environment = {"DISTFLOW_LEASE_SECONDS": str(lease_seconds)}
            process = start_cli(redis_server.url, "coordinator", env=environment)
            started.callback(kill_cli, process)
            wait_for(
                lambda: set(connect(redis_server.url).coordinators()) - known,
                what="the coordinator to be there",
            )
            return process

        yield start


def submit(url: str, flow: str, run_id: str, *params: str) -> Run:
    """Create a detached run, as a user does."""
    words = [word for param in params for word in ("-p", param)]
    done = run_cli(url, "submit", f"{FLOWS}:{flow}", "--run-id", run_id, "--detach", *words)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{run_id}\n"
    return connect(url).run(run_id)


def ends(run: Run, status: str = "success") -> None:
    """Wait until a run has ended, as this."""
    seen = wait_for(lambda: run.status() if run.status() != "running" else None, 60, f"{run}")
    assert seen == status


def leader(run: Run) -> str | None:
    """Who leads a run."""
    return run.info().coordinator


def starts(log: Path) -> list[str]:
    """The tasks that began, in order."""
    return [words[0] for words in recording.lines(log)]


def test_a_detached_run_is_led_to_its_end(
    redis_server: RedisServer,
    start_worker: StartWorker,
    start_coordinator: StartCoordinator,
    tmp_path: Path,
) -> None:
    """``submit --detach`` leaves the run to the service, if one is there, and says which."""
    url, log = redis_server.url, tmp_path / "log"
    words = ["submit", f"{FLOWS}:small_dag", "--detach", "-p", f"log={log}"]
    assert (
        "no coordinator is running: start `distflow coordinator`\n" in run_cli(url, *words).stderr
    )
    start_worker(url)
    start_coordinator()
    done = run_cli(url, *words, "--run-id", "second")
    assert done.stderr == "a coordinator will lead it: distflow watch second\n"
    for run_id in connect(url).run_ids():
        ends(connect(url).run(run_id))
    assert len(starts(log)) == 10


def test_a_killed_leader_is_replaced(
    redis_server: RedisServer,
    start_worker: StartWorker,
    start_coordinator: StartCoordinator,
    tmp_path: Path,
) -> None:
    """Of two services one leads the run; it is killed with SIGKILL at work, and the other ends the
    run without a person: every task ran once.
    """
    url, log = redis_server.url, tmp_path / "log"
    for _ in range(2):
        start_worker(url)
    services = {process.pid: process for process in (start_coordinator(), start_coordinator())}
    run = submit(url, "random_dag", "r", f"log={log}", "size=60", "seconds=0.02")
    wait_for(lambda: run.info().counts["success"] > 10, what="ten tasks to be done")
    first = leader(run)
    assert first is not None
    kill_cli(services[int(first.split(":")[1])])
    second = wait_for(
        lambda: leader(run) not in (None, first) and leader(run), 10, "another leader"
    )
    assert int(str(second).split(":")[1]) in services
    ends(run)
    assert sorted(starts(log)) == sorted(f"t{number}" for number in range(60))
    assert [entry.kind for entry in run.store.read_history()].count("taken_over") == 1


def test_a_leader_that_wakes_up_writes_nothing(
    redis_server: RedisServer,
    start_worker: StartWorker,
    start_coordinator: StartCoordinator,
    tmp_path: Path,
) -> None:
    """SIGSTOP to a leader until another has taken over and ended the run: awake again, it changes
    not a byte of the run, and leads others.
    """
    url, log = redis_server.url, tmp_path / "log"
    start_worker(url)
    frozen = start_coordinator()
    gate = tmp_path / "gate"
    run = submit(url, "holding", "r", f"log={log}", f"gate={gate}")
    wait_for(lambda: starts(log), what="its task to begin")
    os.kill(frozen.pid, signal.SIGSTOP)
    other = start_coordinator()
    wait_for(lambda: f":{other.pid}:" in (leader(run) or ""), 10, "the other to lead")
    gate.touch()
    ends(run)
    wait_for(lambda: leader(run) is None, what="its lease to be gone")
    before = dump(redis_server, "r")
    os.kill(frozen.pid, signal.SIGCONT)
    # It is awake, and has seen that the run is another's.
    kill_cli(other)
    again = submit(url, "small_dag", "again", f"log={log}")
    ends(again)
    assert dump(redis_server, "r") == before


def dump(server: RedisServer, run_id: str) -> dict[bytes, Any]:
    """Every byte of a run."""
    with server.client() as client:
        return {key: client.dump(key) for key in client.keys(f"distflow:{{{run_id}}}:*")}


def test_sigterm_hands_runs_over_at_once(
    redis_server: RedisServer,
    start_worker: StartWorker,
    start_coordinator: StartCoordinator,
    tmp_path: Path,
) -> None:
    """A service that is told to stop gives its leases up, ends with 0, and leaves the task that
    runs alone; the next one goes on. The first one's lease would last for ten minutes.
    """
    url, log, gate = redis_server.url, tmp_path / "log", tmp_path / "gate"
    start_worker(url)
    first = start_coordinator(lease_seconds=600)
    run = submit(url, "holding", "r", f"log={log}", f"gate={gate}")
    wait_for(lambda: starts(log), what="its task to begin")
    first.terminate()
    out, err = first.communicate(timeout=20)
    assert (first.returncode, out) == (0, "")
    assert "1 run handed over to the next coordinator" in err
    assert leader(run) is None
    assert connect(url).coordinators() == []
    assert run.status() == RunStatus.RUNNING
    start_coordinator()
    gate.touch()
    ends(run)
    assert starts(log) == ["hold", "receipt"]


def test_an_orphan_is_adopted(
    redis_server: RedisServer,
    start_worker: StartWorker,
    start_coordinator: StartCoordinator,
    tmp_path: Path,
) -> None:
    """The command that led a run is killed: a service takes the run over. One that was interrupted
    by a person is nobody's until a person resumes it.
    """
    url, log, gate = redis_server.url, tmp_path / "log", tmp_path / "gate"
    start_worker(url)
    flow = [f"{FLOWS}:holding", "-p", f"log={log}", "-p", f"gate={gate}"]
    left = start_cli(url, "submit", *flow, "--run-id", "interrupted")
    wait_for(lambda: len(starts(log)) == 1, what="its task to begin")
    left.send_signal(signal.SIGINT)
    assert left.wait(20) == 130
    left.communicate()
    start_worker(url)
    killed = start_cli(url, "submit", *flow, "--run-id", "killed")
    wait_for(lambda: len(starts(log)) == 2, what="its task to begin")
    kill_cli(killed)
    start_coordinator()
    gate.touch()
    ends(connect(url).run("killed"))
    assert status_of(url, "interrupted")["status"] == "interrupted"


def test_a_run_that_cannot_be_led_is_nobody_elses_concern(
    redis_server: RedisServer,
    start_worker: StartWorker,
    start_coordinator: StartCoordinator,
    tmp_path: Path,
) -> None:
    """The graph of one run is damaged: the service says so, and leads the others."""
    url, log = redis_server.url, tmp_path / "log"
    damaged = submit(url, "small_dag", "damaged", f"log={log}")
    with Redis.from_url(url) as client:
        client.hset("distflow:{damaged}:graph", "0", b"\xc1")
    start_worker(url)
    service = start_coordinator()
    ends(submit(url, "small_dag", "sound", f"log={log}"))
    assert damaged.status() == RunStatus.RUNNING
    service.terminate()
    _out, err = service.communicate(timeout=20)
    assert "run damaged is set aside" in err


def test_paused_and_cancelled_under_a_service(
    redis_server: RedisServer,
    start_worker: StartWorker,
    start_coordinator: StartCoordinator,
    tmp_path: Path,
) -> None:
    """A person pauses, resumes and cancels a run that a service leads."""
    url, log, gate = redis_server.url, tmp_path / "log", tmp_path / "gate"
    start_worker(url)
    start_coordinator()
    run = submit(url, "random_dag", "r", f"log={log}", "size=200", "seconds=0.05")
    wait_for(lambda: len(starts(log)) > 3, what="tasks to begin")
    assert run_cli(url, "pause", "r").returncode == 0
    wait_for(lambda: leader(run) is None, what="nothing more to run")
    seen = len(starts(log))
    assert seen < 200
    run.resume()
    wait_for(lambda: len(starts(log)) > seen, what="more tasks to begin")
    assert run_cli(url, "cancel", "r").returncode == 0
    assert run.status() == RunStatus.CANCELLED
    gate.touch()


def test_a_run_that_is_found_is_sent_at_once(
    redis_server: RedisServer,
    start_worker: StartWorker,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """A service that has adopted a run does not wait for its next look before it sends tasks."""
    monkeypatch.setattr(service, "_DISCOVER_SECONDS", 60.0)
    monkeypatch.setattr(service, "_LONGEST_WAIT_SECONDS", 60.0)
    url = redis_server.url
    start_worker(url)
    run = submit(url, "small_dag", "found", f"log={tmp_path / 'log'}")
    stop = threading.Event()
    leading = threading.Thread(
        target=service.CoordinatorService(connect(url).backend, stop).run, daemon=True
    )
    leading.start()
    try:
        wait_for(lambda: run.status() == "success", 20, "the run to end")
    finally:
        stop.set()
        leading.join(10)
