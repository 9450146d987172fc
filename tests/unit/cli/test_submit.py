"""submit and resume as a person types them: exit codes, lines, take-overs, bad input."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from distflow.cli.ui.progress import WritingProgress
from distflow.core.claim import Progress
from distflow.core.model import Task
from distflow.core.run import ServerFacts
from distflow.core.status import ACTIVE_RUNS, RunStatus
from distflow.errors import RedisUnavailable
from distflow.events.notice import Interrupt
from tests.support.command_line import MemoryScene, run_here, stderr_here
from tests.support.stores import again, claim, finish
from tests.support.tasks import meddled
from tests.support.wait import wait_for

FLOWS = "tests.support.tasks.recording"
MEDDLED = "tests.support.tasks.meddled:meddled"
CHOICES = "--done [JSON] | --retry | --fail"


def dag(log: Path, size: int = 5) -> list[str]:
    """A workflow of quick tasks."""
    return [f"{FLOWS}:random_dag", "-p", f"log={log}", "-p", f"size={size}"]


@pytest.fixture
def meddling() -> list[Any]:
    """What the step of ``MEDDLED`` does: the test puts it there."""
    meddled.MEDDLING.clear()
    return meddled.MEDDLING


def test_submit_prints_the_id_and_ends_with_0(staffed: MemoryScene, tmp_path: Path) -> None:
    """Stdout is the run's id and nothing else; the last line tells the outcome."""
    done = staffed.cli("submit", *dag(tmp_path / "log"), "--run-id", "r")
    assert (done.exit_code, done.stdout) == (0, "r\n")
    assert re.fullmatch(r"run r: success after .*: 5 success", done.stderr.splitlines()[-1])


def test_a_workflow_without_tasks(staffed: MemoryScene, tmp_path: Path) -> None:
    """There is nothing to count, and that is said."""
    done = staffed.cli("submit", *dag(tmp_path / "log", 0))
    assert done.exit_code == 0
    assert done.stderr.splitlines()[-1].endswith(" s: no tasks")


def test_the_id_comes_before_anything_runs(staffed: MemoryScene, meddling: list[Any]) -> None:
    """The first task finds it printed."""

    def read_stdout() -> None:
        printed = sys.stdout.buffer
        assert isinstance(printed, io.BytesIO)
        assert printed.getvalue() == b"r\n"

    meddling.append(read_stdout)
    done = staffed.cli("submit", MEDDLED, "--run-id", "r")
    assert done.exit_code == 0, done.output


def test_what_is_missing_is_said(scene: MemoryScene, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a worker nothing runs: the command that starts one is told, and the time of the run
    goes by, of which that is the reason.
    """
    monkeypatch.setattr("distflow.cli.ui.waits._STILL_SECONDS", 0.05)
    done = scene.cli("submit", MEDDLED, "--run-id", "t", "--timeout", "0.5")
    assert (done.exit_code, done.stdout) == (1, "t\n")
    lines = done.stderr.splitlines()
    assert re.search(r"queue 'default' has no workers: .*`distflow worker default`", lines[0])
    assert "run t: cancelled (timed out after 0.5 s)" in done.stderr


def test_json_is_one_document(staffed: MemoryScene, tmp_path: Path) -> None:
    """With --json stdout is the status document alone, also for resume; the id is on stderr."""
    done = staffed.cli("submit", *dag(tmp_path / "log"), "--run-id", "j", "--json")
    document = json.loads(done.stdout)
    assert (document["run_id"], document["status"]) == ("j", "success")
    assert document["tasks"]["success"] == 5
    assert done.stderr.splitlines()[0] == "j"
    again_done = staffed.cli("resume", "j", "--json")
    assert json.loads(again_done.stdout)["status"] == "success"


def test_failure_ends_with_1_and_names_it(staffed: MemoryScene, tmp_path: Path) -> None:
    """A failure is told when it happens, with its error; at the end it is named, with the
    commands to type next. The server that was given is in them.
    """
    words = [f"{FLOWS}:effects", "-p", f"log={tmp_path / 'log'}", "--redis", "redis://given:7"]
    done = staffed.cli("submit", *words, "--run-id", "f")
    assert staffed.asked == ("redis://given:7", 60.0)
    lines = done.stderr.splitlines()
    assert done.exit_code == 1
    assert "failure: reckless: ValueError: after the money had moved" in lines
    assert any(line.startswith("retry: careful: attempt 1 failed") for line in lines)
    assert "failed: reckless" in lines
    assert lines[-2] == "see why: distflow show f reckless --redis redis://given:7"
    decide = "distflow resolve f reckless --redis redis://given:7"
    assert lines[-1] == f"reckless: failed, and may run at most once: {decide} {CHOICES}"


def test_a_tolerated_failure(staffed: MemoryScene) -> None:
    """The run succeeds, and says what it tolerates."""
    done = staffed.cli("submit", f"{FLOWS}:tolerated", "--run-id", "r")
    assert done.exit_code == 0
    assert "tolerated: spoil" in done.stderr.splitlines()
    assert "see why" not in done.stderr


def test_detach(staffed: MemoryScene, tmp_path: Path) -> None:
    """--detach creates the run and ends with 0: it did what it was asked; a resume leads it."""
    done = staffed.cli("submit", *dag(tmp_path / "log"), "--run-id", "d", "--detach")
    assert (done.exit_code, done.stdout) == (0, "d\n")
    first, second = done.stderr.splitlines()
    assert re.fullmatch(r"no coordinator .*`distflow coordinator`", first)
    assert second == "or lead it here: distflow resume d"
    assert staffed.cli("resume", "d").exit_code == 0


def test_detached_to_those_who_are_there(scene: MemoryScene, tmp_path: Path) -> None:
    """Where coordinators are there, or one leads the run already, the watch is what comes next."""
    words = ["submit", *dag(tmp_path / "log"), "--detach", "--json", "--run-id"]
    scene.backend.service.announce("anna", 60.0)
    done = scene.cli(*words, "one")
    assert json.loads(done.stdout)["status"] == "running"
    run_id, watch = done.stderr.splitlines()
    assert run_id == "one"
    assert re.fullmatch(r"a coordinator .*: distflow watch one", watch)
    scene.backend.service.announce("bert", 60.0)
    said_of_two = scene.cli(*words, "two").stderr
    assert re.search(r"^one of 2 coordinators .*: distflow watch two$", said_of_two, re.MULTILINE)
    scene.store("two").acquire_lease("anna", 60.0)
    led = scene.cli(*words, "two", "--or-resume")
    assert led.exit_code == 0
    lines = led.stderr.splitlines()
    assert [line.split()[:2] for line in lines[:2]] == [["two"], ["run", "two"]]
    assert lines[-1] == "anna leads it: distflow watch two"


def test_or_resume(staffed: MemoryScene, meddling: list[Any]) -> None:
    """One command makes the run, goes on with it after a failure, and ends with 0 once it has
    succeeded; it needs the id.
    """
    words = ["submit", MEDDLED, "--or-resume"]
    assert "--or-resume needs the --run-id" in staffed.refused(*words)
    meddling += [lambda: int("x"), lambda: 7]
    assert staffed.cli(*words, "--run-id", "r").exit_code == 1
    done = staffed.cli(*words, "--run-id", "r")
    assert (done.exit_code, done.stdout) == (0, "r\n")
    lines = done.stderr.splitlines()
    assert lines[0].startswith("run r ")
    assert lines[1] == "resume r: 0 successes kept, 2 evaluated again (1 failure, 1 skipped)"
    assert staffed.cli(*words, "--run-id", "r").exit_code == 0
    detached = staffed.cli(*words, "--run-id", "r", "--detach")
    assert detached.exit_code == 0
    assert "run r: success" in detached.stderr.splitlines()[-1]
    other = staffed.refused("submit", f"{FLOWS}:tolerated", "--or-resume", "--run-id", "r")
    assert MEDDLED in other


@pytest.mark.parametrize("words", [(), ("--no-batch",)])
def test_no_batch(words: tuple[str, ...], scene: MemoryScene, tmp_path: Path) -> None:
    """Tasks travel together, unless --no-batch is given: the run is made so."""
    done = scene.cli("submit", *dag(tmp_path / "log"), "--detach", "--run-id", "r", *words)
    assert done.exit_code == 0
    assert scene.store("r").read_info().options.batch is not bool(words)


def test_what_a_server_gives_is_asked(scene: MemoryScene) -> None:
    """The options of a new run that are about its server reach that; where it may forget that a
    task has started, that is said.
    """
    payment = [f"{FLOWS}:payment", "-p", "log=l", "-p", "gate=g", "--detach"]
    scene.backend.facts = ServerFacts("aof-everysec", "redis 7.0.15", "noeviction")
    warned = scene.cli("submit", *payment, "--run-id", "r")
    wanted = [scene.backend.wanted]
    assert "warning: charge must run at most once" in warned.stderr
    safe = scene.cli("submit", *payment, "--durability", "waitaof", "--allow-eviction")
    wanted.append(scene.backend.wanted)
    assert wanted == [(None, False), ("waitaof", True)]
    assert "warning" not in safe.stderr


def test_the_making_of_a_large_run_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """How far it is, every few seconds."""
    tell = WritingProgress(Interrupt())
    tell(4096, 50_000)
    monkeypatch.setattr("distflow.cli.ui.progress._WRITING_SECONDS", 0.0)
    tell(0, 50_000)
    tell(8192, 50_000)
    told = capsys.readouterr().err
    assert told == "50,000 tasks are checked\n8,192 of 50,000 tasks are written\n"


def test_dry_run_writes_nothing(scene: MemoryScene, tmp_path: Path) -> None:
    """Every task in an order in which it can run; no Redis is needed, and none is written."""
    words = ["submit", f"{FLOWS}:payment", "-p", "log=x", "-p", "gate=y", "--dry-run"]
    done = scene.cli(*words)
    assert (done.exit_code, [line.split()[1] for line in done.stdout.splitlines()]) == (
        0,
        ["prepare", "charge", "receipt"],
    )
    document = json.loads(scene.cli(*words, "--json").stdout)
    assert [task["action"] for task in document["tasks"]] == ["run"] * 3
    one = scene.cli("submit", *dag(tmp_path / "log", 1), "--dry-run", "--run-id", "r")
    assert one.stderr == "1 task would run; nothing was written\n"
    asking = ["submit", "tests.support.tasks.released:mixed", "-p", f"log={tmp_path}", "--dry-run"]
    asked = scene.cli(*asking)
    assert "skip\tunwanted\ttests.support.tasks.released:plain\tits condition was false" in (
        asked.stdout.splitlines()
    )
    assert asked.stderr == "29 tasks would run, 1 would be skipped; nothing was written\n"
    (left,) = [
        task
        for task in json.loads(scene.cli(*asking, "--json").stdout)["tasks"]
        if task["action"] == "skip"
    ]
    assert (left["name"], left["reason"]) == ("unwanted", "its condition was false")
    failing = scene.cli("submit", "tests.support.tasks.meddled:conditions", "--dry-run")
    assert re.search(r"^fail\tunclear\t.*no such table", failing.stdout, re.MULTILINE)
    assert re.search(r"1 would fail .*condition", failing.stderr)
    assert "'a b'" in scene.refused(*words, "--run-id", "a b")
    assert scene.asked is None


def test_a_dry_run_of_a_snapshot(staffed: MemoryScene, meddling: list[Any], tmp_path: Path) -> None:
    """What it keeps is said, and what waits for a decision; so does the run that starts from it."""
    meddling += [lambda: 7, lambda: 8]
    file = tmp_path / "done.distflow"
    staffed.cli("submit", MEDDLED, "--run-id", "r")
    staffed.cli("export", "r", "-o", file)
    staffed.cli("snapshot", "drop", file, "after")
    words = ["submit", MEDDLED, "--snapshot", str(file)]
    planned = staffed.cli(*words, "--dry-run")
    assert [line.split()[:2] for line in planned.stdout.splitlines()] == [
        ["keep", "step"],
        ["run", "after"],
    ]
    assert planned.stderr == "1 task would run, 1 kept; nothing was written\n"
    started = staffed.cli(*words, "--run-id", "s")
    assert started.exit_code == 0
    assert len(meddling) == 1
    assert "1 task would run" not in staffed.cli(*words, "--except", "step", "--dry-run").stderr


BAD_INPUT = {
    "empty url": (["resume", "r", "--redis", ""], "--redis is empty"),
    "no command": (["frobnicate"], "No such command 'frobnicate'"),
    "no workflow": (["submit"], "Missing argument 'MODULE:WORKFLOW'"),
    "unknown option": (["resume", "r", "--fast"], "No such option"),
    "not a number": (["submit", f"{FLOWS}:payment", "--timeout", "soon"], "'soon'"),
    "unknown workflow": (["submit", f"{FLOWS}:paymet"], "did you mean"),
    "no such module": (["submit", "nowhere:flow"], "'nowhere'"),
    "missing parameter": (["submit", f"{FLOWS}:payment"], "'log'"),
    "unknown parameter": (["submit", f"{FLOWS}:effects", "-p", "lag=x"], "'lag'"),
    "no such run": (["resume", "gone"], "no run 'gone'"),
    "no such run to stop": (["cancel", "gone"], "no run 'gone'"),
    "no such run to pause": (["pause", "gone"], "no run 'gone'"),
    "bad run id": (["submit", f"{FLOWS}:random_dag", "--run-id", "a b"], "'a b'"),
    "two servers": (["resume", "r", "--redis", "redis://x", "--data", "y"], "--data"),
    "no folder": (["resume", "r", "--data", "nowhere"], "no data folder nowhere"),
}


@pytest.mark.parametrize(("words", "told"), BAD_INPUT.values(), ids=BAD_INPUT)
def test_bad_input_is_one_line(words: list[str], told: str, scene: MemoryScene) -> None:
    """What cannot be used is named in one line, with exit 2 and no traceback."""
    said = scene.refused(*words)
    assert said.startswith("distflow: ")
    assert told in said


def test_a_bad_url_is_one_line() -> None:
    """Likewise, where a Redis is asked for."""
    done = run_here("redis://localhost:1", "resume", "r", "--redis", "http://x")
    assert (done.exit_code, done.stdout) == (2, "")
    assert re.fullmatch(r"distflow: .*http://x.*\n", done.stderr)


def test_an_error_of_the_workflow_function_is_one_line(scene: MemoryScene) -> None:
    """What the user's own code raises is told with its type and place."""
    said = scene.refused("submit", "tests.support.tasks.meddled:bad", "-p", "day=x")
    begins = "distflow: workflow 'tests.support.tasks.meddled:bad' cannot be built: KeyError: 'x' ("
    assert said.startswith(begins)
    assert re.fullmatch(rf"\({re.escape(meddled.__file__)}, line \d+\)", said[len(begins) - 1 :])


@pytest.mark.parametrize("words", [["submit", f"{FLOWS}:random_dag"], ["resume", "r"]])
def test_redis_down(words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nothing listens: exit 5, in one line that names the server and the option."""
    monkeypatch.setattr("distflow.store.redis.connection._REACH_SECONDS", 0.0)
    done = run_here(f"unix://{tmp_path}/no.sock", *words)
    assert (done.exit_code, done.stdout) == (5, "")
    assert re.fullmatch(r"distflow: Redis at .* cannot be reached: .*--redis.*\n", done.stderr)


def test_redis_goes_away(staffed: MemoryScene, meddling: list[Any]) -> None:
    """While a run is led, for longer than a coordinator is patient: exit 5, with what to type."""

    def go_away() -> None:
        def refuse(*_words: Any, **_options: Any) -> Any:
            raise RedisUnavailable("Redis cannot be reached: it is gone")

        staffed.backend.server.wait_for = refuse  # type: ignore[method-assign]

    meddling.append(go_away)
    done = staffed.cli("submit", MEDDLED, "--run-id", "r", "--no-batch")
    assert (done.exit_code, done.stdout) == (5, "r\n")
    (line,) = done.stderr.splitlines()
    assert line.startswith("distflow: Redis cannot be reached: it is gone; ")
    assert line.endswith("`distflow resume r`")


def held_run(scene: MemoryScene) -> None:
    """A run that nobody leads: ``pay`` is unknown, ``paid`` failed for good, ``done`` succeeded."""
    here = "tests.support.tasks.meddled:meddle"
    tasks = [
        *(Task(name, here, effects="at_most_once") for name in ("pay", "paid")),
        *(Task(name, here) for name in ("done", "bad", "open")),
    ]
    store, epoch = scene.open_graph(tasks)
    scene.settle(store, epoch, "pay", "unknown", error="WorkerLost: worker w1 was lost")
    scene.settle(store, epoch, "paid", "failure", error="ValueError: no", started=True)
    scene.settle(store, epoch, "done", "success")
    scene.settle(store, epoch, "bad", "failure", error="ValueError: no")
    store.set_status(RunStatus.BLOCKED, ACTIVE_RUNS, epoch=epoch)
    scene.leave(store, epoch)


def test_resume_says_what_it_does(staffed: MemoryScene, meddling: list[Any]) -> None:
    """What it keeps, what runs again and what waits for a person; exit 3, where one is needed."""
    held_run(staffed)
    meddling += [lambda: 1, lambda: 2]
    done = staffed.cli("resume", "run-1")
    lines = done.stderr.splitlines()
    assert (done.exit_code, done.stdout) == (3, "")
    assert lines[0].startswith("resume run-1: 1 success kept, 1 evaluated again (1 failure), ")
    assert "1 not run yet" in lines[0]
    decide = f"distflow resolve run-1 pay {CHOICES}"
    assert lines[1].startswith("unknown: pay: ")
    assert lines[1].endswith(decide)
    assert lines[2].endswith(f"distflow resolve run-1 paid {CHOICES}")
    assert "pkg.module:factory" in lines[3]
    assert lines[-1].endswith(decide) or decide in done.stderr
    assert re.search(r"^run run-1: blocked", done.stderr, re.MULTILINE)
    assert re.search(r"^unknown: pay$", done.stderr, re.MULTILINE)
    assert meddling == []


def test_resume_of_a_paused_run(staffed: MemoryScene, meddling: list[Any]) -> None:
    """A task pauses its run: nothing more starts, exit 4 with the command that goes on."""

    def pause() -> None:
        staffed.store("p").set_status(RunStatus.PAUSED, {RunStatus.RUNNING})

    meddling.append(pause)
    done = staffed.cli("submit", MEDDLED, "--run-id", "p")
    assert done.exit_code == 4
    assert done.stderr.splitlines()[-1].endswith(": distflow resume p")
    assert staffed.cli("resume", "p").exit_code == 0


@pytest.mark.parametrize(
    ("number", "code", "said"),
    [(signal.SIGINT, 130, "interrupted: "), (signal.SIGTERM, 143, "handing the run over")],
)
def test_interrupted_and_resumed(
    staffed: MemoryScene, meddling: list[Any], number: int, code: int, said: str
) -> None:
    """A signal leaves the run resumable: the last line says how, and the resume ends with 0."""

    def interrupt() -> None:
        os.kill(os.getpid(), number)
        # What runs is let end.
        wait_for(lambda: said in stderr_here(), 20, "the command to say it")

    meddling.append(interrupt)
    done = staffed.cli("submit", f"{MEDDLED}", "--run-id", "i", "--no-batch")
    lines = done.stderr.splitlines()
    assert done.exit_code == code
    assert lines[-1].endswith(": distflow resume i")
    assert any(line.startswith(said) for line in lines)
    resumed = staffed.cli("resume", "i")
    assert resumed.exit_code == 0
    assert resumed.stderr.startswith("resume i: 1 success kept, ")


def test_resume_follows(staffed: MemoryScene, monkeypatch: pytest.MonkeyPatch) -> None:
    """A paused run that another leads is unpaused and followed, with the exit code of its end; by
    force it is taken over.
    """
    monkeypatch.setattr("distflow.runs.session.FOLLOW_SECONDS", 0.01)
    store, epoch = staffed.open_graph([Task("a", "builtins:bool"), Task("b", "builtins:bool")])
    store.set_status(RunStatus.PAUSED, {RunStatus.RUNNING})
    staffed.during(lambda: lead_to_the_end(staffed, epoch), said="following it")
    done = staffed.cli("resume", "run-1")
    lines = done.stderr.splitlines()
    assert lines[0].startswith("it was paused: ")
    assert lines[1] == "led by anna: following it"
    assert done.exit_code == 1
    assert "failure: b: OSError: no" in lines
    assert any(line.startswith("retry: a: attempt 1 failed") for line in lines)


def lead_to_the_end(scene: MemoryScene, epoch: int) -> None:
    """What ``anna`` does with a run of ``a`` and ``b``."""
    store = scene.store()
    claim(store, epoch, "a", "t1")
    finish(store, epoch, again("a", "t1")._replace(progress=Progress(2)))
    scene.settle(store, epoch, "b", "failure", error="OSError: no")
    store.set_status(RunStatus.FAILURE, ACTIVE_RUNS)
    scene.leave(store, epoch)


def test_resume_by_force(staffed: MemoryScene) -> None:
    """It takes the run from a living coordinator at once."""
    staffed.open_graph([Task("a", "builtins:bool")])
    done = staffed.cli("resume", "run-1", "--force")
    assert done.exit_code == 0
    assert staffed.store().read_info().counts["success"] == 1


def test_resume_takes_over_from_the_dead(
    staffed: MemoryScene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A resume that follows takes over when nobody leads any more."""
    monkeypatch.setattr("distflow.runs.session.FOLLOW_SECONDS", 0.01)
    store, epoch = staffed.open_graph([Task("a", "builtins:bool")])
    staffed.during(lambda: staffed.leave(store, epoch), said="following it")
    done = staffed.cli("resume", "run-1")
    assert done.stderr.splitlines()[:2] == [
        "led by anna: following it",
        "its coordinator is gone: taking the run over",
    ]
    assert done.exit_code == 0
