"""run, worker, workers and coordinator: what they ask for, start and print."""

from __future__ import annotations

import json
import os
import re
import signal
from pathlib import Path
from typing import Any, Self

import pytest

from distflow.cli.coordinator import _tell
from distflow.core.readings import WorkerInfo
from distflow.events.notice import Notice
from tests.support.command_line import MemoryScene, run_here
from tests.support.tasks import meddled

MEDDLED = "tests.support.tasks.meddled:meddled"


class PrivateStandIn:
    """In place of a private Redis and its workers: notes what they are asked."""

    url = "unix:///private.sock"

    def __init__(self) -> None:
        self.data_dir = Path()
        self.asked: list[tuple[str, object]] = []

    def start(self, data_dir: Path) -> Self:
        """A server."""
        self.data_dir = data_dir
        return self

    def workers(self, url: str, **options: Any) -> Self:
        """Workers."""
        self.asked.append((url, options))
        return self

    def ensure(self) -> None:
        """They are looked at."""
        self.asked.append(("ensure", None))

    def stop(self, seconds: float) -> None:
        """They are told to end."""
        self.asked.append(("stop", seconds))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.asked.append(("end", None))


@pytest.fixture
def private(monkeypatch: pytest.MonkeyPatch) -> PrivateStandIn:
    """No process is started."""
    made = PrivateStandIn()
    monkeypatch.setattr("distflow.cli.run.PrivateRedis", made)
    monkeypatch.setattr("distflow.cli.ui.connecting.PrivateRedis", made)
    monkeypatch.setattr("distflow.cli.worker.PrivateRedis", made)
    monkeypatch.setattr("distflow.cli.run.LocalWorkers", made.workers)
    meddled.MEDDLING.clear()
    return made


def test_run_makes_a_run_and_goes_on_with_it(
    staffed: MemoryScene, private: PrivateStandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With workers for its queues, which are looked after and ended; what is typed next names the
    folder and the workers. A run that has succeeded is refused.
    """
    monkeypatch.setattr("distflow.cli.run._ENSURE_SECONDS", 0.0)
    meddled.MEDDLING.append(lambda: int("x"))
    words = ["run", MEDDLED, "--run-id", "r", "--workers", "3", "--data", str(tmp_path)]
    failed = staffed.cli(*words)
    assert (failed.exit_code, failed.stdout) == (1, "r\n")
    assert staffed.asked == (private.url, 60.0)
    options = {"count": 3, "data_dir": tmp_path, "queues": ("default",)}
    (url, given), *later = private.asked
    assert url == private.url
    assert {**dict(given), "queues": tuple(dict(given)["queues"])} == options  # type: ignore[call-overload]
    assert ("ensure", None) in later
    assert later[-2:] == [("end", None)] * 2
    again = f"distflow run {MEDDLED} --run-id r --workers 3 --data {tmp_path}"
    assert failed.stderr.splitlines()[-1].endswith(f": {again}")
    meddled.MEDDLING.append(lambda: 7)
    assert staffed.cli(*again.split()[1:]).exit_code == 0
    assert "run r has succeeded" in staffed.refused(*words)


def test_run_without_an_id(staffed: MemoryScene, private: PrivateStandIn) -> None:
    """A new one is printed; the folder is the usual one."""
    meddled.MEDDLING.append(lambda: 7)
    done = staffed.cli("run", MEDDLED)
    assert done.exit_code == 0
    assert done.stdout.split() == staffed.backend.run_ids()
    assert private.data_dir == Path(".distflow")


def test_what_runs_goes_on_with_workers(
    staffed: MemoryScene, private: PrivateStandIn, tmp_path: Path
) -> None:
    """On a private Redis where nobody listens, the command to go on is one that starts workers."""
    meddled.MEDDLING.append(lambda: int("x"))
    staffed.cli("run", MEDDLED, "--run-id", "r", "--data", str(tmp_path))
    text = staffed.cli("status", "r", "--data", tmp_path).stdout
    assert f"distflow resume r --data {tmp_path}" in text
    staffed.backend.dispatcher.count_workers = dict.fromkeys  # type: ignore[method-assign, assignment]
    text = staffed.cli("status", "r", "--data", tmp_path).stdout
    assert f"distflow run {MEDDLED} --run-id r --data {tmp_path}" in text
    assert private.data_dir == tmp_path


@pytest.fixture
def works(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What ``distflow worker`` would have started."""
    started: list[Any] = []
    monkeypatch.setattr(
        "distflow.cli.worker.run_worker", lambda *words, **options: started.append((words, options))
    )
    monkeypatch.delenv("DISTFLOW_ALLOW", raising=False)
    return started


def test_worker(scene: MemoryScene, works: list[Any]) -> None:
    """Its queues, its name, its class and its options reach RQ's worker."""
    words = ("high", "low", "--burst", "--name", "w1", "-w", "pkg.Class", "--", "--quiet")
    assert scene.cli("worker", *words).exit_code == 0
    ((url, queues, name), options) = works.pop()
    assert (url, tuple(queues), name) == ("redis://memory", ("high", "low", "--quiet"), "w1")
    assert options == {"worker_class": "pkg.Class", "burst": True, "cautious": False}
    assert scene.cli("worker").exit_code == 0
    ((_url, queues, name), _options) = works.pop()
    assert tuple(queues) == ()
    assert str(os.getpid()) in name


def test_a_cautious_worker(
    scene: MemoryScene, works: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With patterns it reads no pickles; an empty one is refused."""
    monkeypatch.setattr("distflow.config.allow_functions", works.append)
    assert scene.cli("worker", "--allow", "pkg.*,other:send").exit_code == 0
    allowed, (_words, options) = works
    assert allowed == "pkg.*,other:send"
    assert options["cautious"]
    assert "'pkg.*,'" in scene.refused("worker", "--allow", "pkg.*,")


def test_a_worker_of_a_private_redis(
    scene: MemoryScene, works: list[Any], private: PrivateStandIn, tmp_path: Path
) -> None:
    """The server stays while it works."""
    assert scene.cli("worker", "--data", tmp_path).exit_code == 0
    ((url, _queues, _name), _options) = works.pop()
    assert url == private.url
    assert "no data folder" in scene.refused("worker", "--data", tmp_path / "no")


KNOWN = WorkerInfo("w1", "busy", ("high", "low"), "j", "web-1", 7, 5.0, 6.0, "3.0", "3.11")


def test_workers(scene: MemoryScene) -> None:
    """A table with what is known of each, and what the last batch could not do."""
    assert "distflow worker" in scene.cli("workers").stderr
    told = KNOWN._replace(
        name="w2", distflow="0.2", code="abc", directory="/srv", refusal="no module 'etl'"
    )
    scene.backend.roster += [KNOWN, told]
    lines = scene.cli("workers").stdout.splitlines()
    assert lines[0].split()[:3] == ["WORKER", "STATE", "QUEUES"]
    assert lines[1].split()[:3] == ["w1", "busy", "high,low"]
    assert lines[1].split()[-2:] == ["?", "?"]
    assert lines[2].split()[-2:] == ["abc", "/srv"]
    assert lines[3].startswith("  ")
    assert lines[3].endswith("no module 'etl'")
    first, second = json.loads(scene.cli("workers", "--json").stdout)
    assert (first["name"], first["queues"], first["distflow"]) == ("w1", ["high", "low"], None)
    assert first["started_at"] == "1970-01-01T00:00:05.000Z"
    assert second["refusal"] == "no module 'etl'"


def test_a_name_that_is_taken(scene: MemoryScene, works: list[Any]) -> None:
    """Two workers of one name would be one to RQ: the second is refused."""
    scene.backend.roster.append(KNOWN)
    assert "a worker named 'w1'" in scene.refused("worker", "--name", "w1")
    assert works == []


def interrupt() -> None:
    """SIGTERM to this process."""
    os.kill(os.getpid(), signal.SIGTERM)


def test_coordinator(staffed: MemoryScene) -> None:
    """It says that it is ready, what is to be known of the server, what becomes of runs, and how
    many it has led; SIGTERM ends it with 0.
    """
    meddled.MEDDLING[:] = [lambda: int("x")]
    staffed.backend.advice.append("hosts are found late")
    staffed.cli("submit", MEDDLED, "--run-id", "r", "--detach")
    staffed.during(interrupt, said="run r is failure")
    done = staffed.cli("coordinator")
    assert (done.exit_code, done.stdout) == (0, "")
    lines = [line[20:] for line in done.stderr.splitlines()]
    assert re.fullmatch(r"coordinator \S+ is ready", lines[0])
    assert lines[1] == "warning: hosts are found late"
    assert re.fullmatch(r"stopped; .*1.*1", lines[-1])


def test_what_a_coordinator_tells(capsys: pytest.CaptureFixture[str]) -> None:
    """Of its runs: what a person should know, and no ends of tasks."""
    _tell(Notice("task_end", "r", 0.0, "a", status="success"))
    _tell(Notice("task_unknown", "r", 0.0, "pay", status="unknown"))
    _tell(Notice("repair", "r", 0.0, message="sent again"))
    first, second = (line[20:] for line in capsys.readouterr().err.splitlines())
    assert first == "run r: task_unknown pay: unknown"
    assert second == "run r: repair sent again"


def test_help_lists_every_command() -> None:
    """In an order of its own; without words, help is what comes, with exit 2."""
    text = run_here("", "--help").stdout
    names = re.findall(r"^  (\w+)  ", text, re.MULTILINE)
    assert names[:3] == ["run", "submit", "resume"]
    assert names[-1] == "coordinator"
    none = run_here("")
    assert (none.exit_code, none.stdout) == (2, "")
    assert "Usage: " in none.stderr
