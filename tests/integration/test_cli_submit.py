"""submit and resume as a person types them: exit codes, lines, take-overs, bad input."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from redis import Redis

from distflow.cli import main
from distflow.cli.ui.progress import WritingProgress
from distflow.events.notice import Interrupt
from distflow.faults import AFTER, FAULT_VARIABLE
from distflow.runs.client import Client
from tests.conftest import StartWorker
from tests.integration.cli_runs import (
    FLOWS,
    StartCli,
    begun,
    dag,
    end,
    held,
    run_of,
    started_commands,
    starts,
)
from tests.support.cli import command, kill_cli, run_cli
from tests.support.redis_server import RedisServer
from tests.support.wait import wait_for
from tests.support.worker_process import ROOT


@pytest.fixture
def start() -> Iterator[StartCli]:
    """Starts commands, and ends them with the test."""
    with started_commands() as start_command:
        yield start_command


def test_submit_prints_the_id_and_ends_with_0(
    redis_server: RedisServer, start_worker: StartWorker, tmp_path: Path
) -> None:
    """Stdout is the run's id and nothing else; the last line tells the outcome."""
    start_worker(redis_server.url)
    done = run_cli(redis_server.url, "submit", *dag(tmp_path / "log"), "--run-id", "r")
    assert (done.returncode, done.stdout) == (0, "r\n")
    assert re.fullmatch(r"run r: success after .*: 5 success", done.stderr.splitlines()[-1])


def test_a_workflow_without_tasks(redis_server: RedisServer, tmp_path: Path) -> None:
    """There is nothing to count, and that is said."""
    done = run_cli(redis_server.url, "submit", *dag(tmp_path / "log", 0))
    assert done.returncode == 0
    assert done.stderr.splitlines()[-1].endswith(" s: no tasks")


def test_the_id_comes_before_anything_runs(
    redis_server: RedisServer, redis_client: Redis, start: StartCli, tmp_path: Path
) -> None:
    """Without a worker nothing runs, and the id is there all the same; what is missing is said,
    with the command that starts it.
    """
    process = start(redis_server.url, "submit", *dag(tmp_path / "log"))
    assert process.stdout is not None
    run_id = process.stdout.readline().strip()
    assert run_of(redis_client, run_id).run_id == run_id
    assert process.stderr is not None
    said = process.stderr.readline()
    assert "queue 'default' has no workers: start one with `distflow worker default`" in said


def test_json_is_one_document(
    redis_server: RedisServer, start_worker: StartWorker, tmp_path: Path
) -> None:
    """With --json stdout is the status document alone, also for resume; the id is on stderr."""
    start_worker(redis_server.url)
    words = ["submit", *dag(tmp_path / "log"), "--run-id", "j", "--json"]
    done = run_cli(redis_server.url, *words)
    document = json.loads(done.stdout)
    assert (document["run_id"], document["status"]) == ("j", "success")
    assert document["tasks"]["success"] == 5
    assert done.stderr.splitlines()[0] == "j"
    again = run_cli(redis_server.url, "resume", "j", "--json")
    assert json.loads(again.stdout)["status"] == "success"


def test_failure_ends_with_1_and_names_it(
    redis_server: RedisServer, start_worker: StartWorker, tmp_path: Path
) -> None:
    """A failure is told when it happens, with its error; at the end it is named, with the
    commands to type next. The server that was given is in them.
    """
    start_worker(redis_server.url)
    words = [f"{FLOWS}:effects", "-p", f"log={tmp_path / 'log'}", "--redis", redis_server.url]
    done = run_cli("redis://localhost:1", "submit", *words, "--run-id", "f")
    lines = done.stderr.splitlines()
    assert done.returncode == 1
    assert "failure: reckless: ValueError: after the money had moved" in lines
    assert any(line.startswith("retry: careful: attempt 1 failed") for line in lines)
    assert "failed: reckless" in lines
    assert lines[-2] == f"see why: distflow show f reckless --redis {redis_server.url}"
    decide = f"distflow resolve f reckless --redis {redis_server.url}"
    choices = "--done [JSON] | --retry | --fail"
    assert lines[-1] == f"reckless: failed, and may run at most once: {decide} {choices}"


def test_resume_unpauses_and_follows(
    redis_server: RedisServer,
    redis_client: Redis,
    start_worker: StartWorker,
    start: StartCli,
    tmp_path: Path,
) -> None:
    """A paused run that is still led goes on under its coordinator: both commands end with 0, and
    nothing ran twice.
    """
    start_worker(redis_server.url)
    leader = start(redis_server.url, "submit", *held(tmp_path), "--run-id", "u")
    wait_for(lambda: begun(tmp_path), 30, "the task to begin")
    assert run_cli(redis_server.url, "pause", "u").returncode == 0
    follower = start(redis_server.url, "resume", "u")
    assert follower.stderr is not None
    assert follower.stderr.readline() == "it was paused: unpausing it\n"
    assert re.fullmatch(r"led by .*: following it\n", follower.stderr.readline())
    (tmp_path / "gate").touch()
    assert (end(leader)[0], end(follower)[0]) == (0, 0)
    assert starts(tmp_path) == {"hold": 1, "receipt": 1}


def test_resume_takes_over_from_the_dead(
    redis_server: RedisServer, start_worker: StartWorker, start: StartCli, tmp_path: Path
) -> None:
    """A resume that follows takes over when the coordinator is killed, and nothing runs twice."""
    start_worker(redis_server.url)
    leader = start(redis_server.url, "submit", *held(tmp_path), "--run-id", "t")
    wait_for(lambda: begun(tmp_path), 30, "the task to begin")
    follower = start(redis_server.url, "resume", "t")
    assert follower.stderr is not None
    assert "following it" in follower.stderr.readline()
    kill_cli(leader)
    assert follower.stderr.readline() == "its coordinator is gone: taking the run over\n"
    (tmp_path / "gate").touch()
    assert end(follower)[0] == 0
    assert starts(tmp_path) == {"hold": 1, "receipt": 1}


def test_resume_by_force(
    redis_server: RedisServer,
    redis_client: Redis,
    start_worker: StartWorker,
    start: StartCli,
    tmp_path: Path,
) -> None:
    """--force takes the run from a living coordinator at once; that one says so, follows, and
    ends with the run's exit code.
    """
    start_worker(redis_server.url)
    patient = {"DISTFLOW_LEASE_SECONDS": "60"}
    first = start(redis_server.url, "submit", *held(tmp_path), "--run-id", "x", env=patient)
    wait_for(lambda: begun(tmp_path), 30, "the task to begin")
    run = run_of(redis_client, "x")
    owner = run.info().coordinator
    second = start(redis_server.url, "resume", "x", "--force")
    wait_for(lambda: run.info().coordinator not in {owner, None}, 20, "the take-over")
    (tmp_path / "gate").touch()
    assert end(second)[0] == 0
    code, _out, lines = end(first)
    assert code == 0
    assert "somebody else took the run over, or decided a task of it: following it" in lines


def test_detach(redis_server: RedisServer, start_worker: StartWorker, tmp_path: Path) -> None:
    """--detach creates the run and ends with 0: it did what it was asked; a resume leads it."""
    done = run_cli(redis_server.url, "submit", *dag(tmp_path / "log"), "--run-id", "d", "--detach")
    assert (done.returncode, done.stdout) == (0, "d\n")
    assert done.stderr == (
        "no coordinator is running: start `distflow coordinator`\n"
        "or lead it here: distflow resume d\n"
    )
    start_worker(redis_server.url)
    assert run_cli(redis_server.url, "resume", "d").returncode == 0


@pytest.mark.parametrize("words", [(), ("--no-batch",)])
def test_no_batch(words: tuple[str, ...], redis_server: RedisServer, tmp_path: Path) -> None:
    """Tasks travel together, unless --no-batch is given: the run is made so."""
    run_id = "alone" if words else "together"
    submit = ["submit", *dag(tmp_path / "log"), "--detach", "--run-id", run_id, *words]
    assert run_cli(redis_server.url, *submit).returncode == 0
    with redis_server.client() as redis:
        assert run_of(redis, run_id).info().options.batch is not bool(words)


def test_an_interrupted_submit_leaves_nothing(
    redis_server: RedisServer, redis_client: Redis, start: StartCli, tmp_path: Path
) -> None:
    """Ctrl-C while a large run is written: what was written is removed, and that is said."""
    fault = tmp_path / "fault"
    frozen = {FAULT_VARIABLE: f"append_graph{AFTER}#1=freeze@{fault}"}
    words = ["submit", *dag(tmp_path / "log", 5000), "--run-id", "r"]
    process = start(redis_server.url, *words, env=frozen)
    stat = Path(f"/proc/{process.pid}/stat")
    wait_for(lambda: stat.read_text().rpartition(")")[2].split()[0] == "T", 60, "it to stop")
    assert redis_client.exists("distflow:{r}:graph")
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGCONT)
    code, out, lines = end(process)
    assert (code, out, lines[-1]) == (130, "", "interrupted: no run was created")
    assert redis_client.keys("distflow*") == []


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


def test_dry_run_writes_nothing(
    redis_server: RedisServer, redis_client: Redis, tmp_path: Path
) -> None:
    """Every task in an order in which it can run; no Redis is needed, and none is written."""
    words = ["submit", f"{FLOWS}:payment", "-p", "log=x", "-p", "gate=y", "--dry-run"]
    done = run_cli("redis://localhost:1", *words)
    assert (done.returncode, [line.split()[1] for line in done.stdout.splitlines()]) == (
        0,
        ["prepare", "charge", "receipt"],
    )
    document = json.loads(run_cli(redis_server.url, *words, "--json").stdout)
    assert [task["action"] for task in document["tasks"]] == ["run"] * 3
    one = run_cli(redis_server.url, "submit", *dag(tmp_path / "log", 1), "--dry-run")
    assert one.stderr == "1 task would run; nothing was written\n"
    asking = ["submit", "tests.support.tasks.released:mixed", "-p", f"log={tmp_path}", "--dry-run"]
    asked = run_cli(redis_server.url, *asking)
    assert "skip\tunwanted\ttests.support.tasks.released:plain\tits condition was false" in (
        asked.stdout.splitlines()
    )
    assert asked.stderr == "29 tasks would run, 1 would be skipped; nothing was written\n"
    (left,) = [
        task
        for task in json.loads(run_cli(redis_server.url, *asking, "--json").stdout)["tasks"]
        if task["action"] == "skip"
    ]
    assert (left["name"], left["reason"]) == ("unwanted", "its condition was false")
    assert redis_client.dbsize() == 0


BAD_INPUT = {
    "empty url": (["resume", "r", "--redis", ""], "--redis is empty: give a URL such as redis://"),
    "no command": (["frobnicate"], "No such command 'frobnicate'"),
    "no workflow": (["submit"], "Missing argument 'MODULE:WORKFLOW'"),
    "unknown option": (["resume", "r", "--fast"], "No such option"),
    "not a number": (["submit", f"{FLOWS}:payment", "--timeout", "soon"], "'soon'"),
    "unknown workflow": (["submit", f"{FLOWS}:paymet"], "did you mean"),
    "no such module": (["submit", "nowhere:flow"], "'nowhere'"),
    "missing parameter": (["submit", f"{FLOWS}:payment"], "'log'"),
    "unknown parameter": (["submit", f"{FLOWS}:effects", "-p", "lag=x"], "'lag'"),
    "no such run": (["resume", "gone"], "there is no run 'gone'"),
    "no such run to stop": (["cancel", "gone"], "there is no run 'gone'"),
    "bad run id": (["submit", f"{FLOWS}:random_dag", "--run-id", "a b"], "'a b'"),
    "two servers": (["resume", "r", "--redis", "redis://x", "--data", "y"], "--data"),
    "bad url": (["resume", "r", "--redis", "http://x"], "http://x"),
    "no folder": (["resume", "r", "--data", "nowhere"], "there is no data folder nowhere"),
}


@pytest.mark.parametrize(("words", "told"), BAD_INPUT.values(), ids=BAD_INPUT)
def test_bad_input_is_one_line(
    words: list[str],
    told: str,
    redis_server: RedisServer,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What cannot be used is named in one line, with exit 2 and no traceback."""
    monkeypatch.setenv("DISTFLOW_REDIS_URL", redis_server.url)
    monkeypatch.chdir(ROOT)
    with pytest.raises(SystemExit) as ended:
        main(words, prog_name="distflow")
    out, err = capsys.readouterr()
    assert (ended.value.code, out) == (2, "")
    assert re.fullmatch(r"distflow: .*\n", err)
    assert told in err


def test_an_error_of_the_workflow_function_is_one_line(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    """What the user's own code raises is told with its type and place."""
    code = (
        "from distflow import workflow\n\n@workflow\ndef bad(day: str):\n    raise KeyError(day)\n"
    )
    (tmp_path / "broken.py").write_text(code)
    path = {"PYTHONPATH": str(tmp_path)}
    done = run_cli(redis_server.url, "submit", "broken:bad", "-p", "day=x", env=path)
    where = f"({tmp_path / 'broken.py'}, line 5)"
    assert done.returncode == 2
    assert done.stderr == (
        f"distflow: workflow 'broken:bad' cannot be built: KeyError: 'x' {where}\n"
    )


@pytest.mark.parametrize("words", [["submit", f"{FLOWS}:random_dag"], ["resume", "r"]])
def test_redis_down(words: list[str], tmp_path: Path) -> None:
    """Where nothing listens: exit 5, in one line that names the server and the option."""
    done = run_cli(f"unix://{tmp_path}/no.sock", *words)
    assert (done.returncode, done.stdout) == (5, "")
    assert re.fullmatch(r"distflow: Redis at .* cannot be reached: .*--redis.*\n", done.stderr)


def test_nobody_reads_the_output(
    redis_server: RedisServer, redis_client: Redis, start_worker: StartWorker, tmp_path: Path
) -> None:
    """A reader that goes away does not end the run that the command leads."""
    start_worker(redis_server.url)
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        command("submit", f"{FLOWS}:effects", "-p", f"log={tmp_path / 'log'}", "--run-id", "b"),
        stdin=subprocess.DEVNULL,
        stdout=writing,
        stderr=writing,
        cwd=ROOT,
        env={**os.environ, "DISTFLOW_REDIS_URL": redis_server.url},
        timeout=60,
        check=False,
    )
    os.close(writing)
    assert done.returncode == 1
    assert run_of(redis_client, "b").status() == "failure"


def test_a_full_disk(redis_server: RedisServer, redis_client: Redis) -> None:
    """What cannot be printed is one line and an exit code of its own; where that was the id of a
    new run, the line before tells how to go on with it.
    """
    for words, lines in ((["runs", "--json"], 1), ([*dag(Path("log"))], 2)):
        with Path("/dev/full").open("w", encoding="utf-8") as full:
            done = subprocess.run(
                command(*(words if lines == 1 else ["submit", *words])),
                stdin=subprocess.DEVNULL,
                stdout=full,
                stderr=subprocess.PIPE,
                text=True,
                cwd=ROOT,
                env={**os.environ, "DISTFLOW_REDIS_URL": redis_server.url},
                timeout=60,
                check=False,
            )
        said = done.stderr.splitlines()
        assert (done.returncode, len(said)) == (74, lines), said
        assert said[-1] == "distflow: cannot continue: No space left on device"
    run_id = Client(redis_client).run_ids()[0]
    assert said[0] == f"run {run_id} was created: continue it with `distflow resume {run_id}`"


def test_terminal(redis_server: RedisServer, start_worker: StartWorker, tmp_path: Path) -> None:
    """On a terminal a bar with the counts and the tasks at work is drawn in place, no line is
    wider than the terminal, and the last lines stay.
    """
    start_worker(redis_server.url)
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        command("submit", *held(tmp_path), "--run-id", "tty"),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        cwd=ROOT,
        env={
            **os.environ,
            "DISTFLOW_REDIS_URL": redis_server.url,
            "TERM": "xterm",
            "COLUMNS": "80",
        },
    )
    os.close(theirs)
    seen = ""
    try:
        while "0/2" not in seen or "hold " not in seen:
            seen += os.read(ours, 4096).decode(errors="replace")
        (tmp_path / "gate").touch()
        with suppress(OSError):  # EIO: the other side is closed
            while piece := os.read(ours, 4096):
                seen += piece.decode(errors="replace")
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.wait()
        os.close(ours)
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", seen)
    assert "━" in plain
    assert "1 running, 1 queued" in plain
    assert max(map(len, re.split(r"[\r\n]+", plain))) <= 80
    assert "run tty: success" in plain.splitlines()[-1]
