"""submit, resume, run, pause and cancel as a person types them: exit codes, lines, take-overs."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from redis import Redis

from distflow.cli import main
from distflow.client import Client, Run
from distflow.local.server import PrivateRedis
from tests.conftest import StartWorker
from tests.support.cli import command, kill_cli, run_cli, start_cli
from tests.support.redis_server import RedisServer
from tests.support.tasks import recording
from tests.support.wait import wait_for
from tests.support.worker_process import ROOT

FLOWS = "tests.support.tasks.recording"

StartCli = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def start() -> Iterator[StartCli]:
    """``start_cli`` whose processes are gone at the end of the test."""
    started: list[subprocess.Popen[str]] = []

    def start_one(*args: str, **options: object) -> subprocess.Popen[str]:
        started.append(start_cli(*args, **options))  # type: ignore[arg-type]
        return started[-1]

    yield start_one
    for process in started:
        kill_cli(process)


def dag(log: Path, size: int = 5) -> list[str]:
    """A workflow of quick tasks."""
    return [f"{FLOWS}:random_dag", "-p", f"log={log}", "-p", f"size={size}"]


def held(folder: Path) -> list[str]:
    """A workflow whose first task hangs until the file ``gate`` is there."""
    return [f"{FLOWS}:holding", "-p", f"log={folder / 'log'}", "-p", f"gate={folder / 'gate'}"]


def begun(folder: Path) -> bool:
    """Whether the first task of ``held`` is at work."""
    return bool(recording.lines(folder / "log"))


def end(process: subprocess.Popen[str], timeout: float = 60.0) -> tuple[int, str, list[str]]:
    """Exit code, stdout and the lines of stderr."""
    out, err = process.communicate(timeout=timeout)
    return process.returncode, out, err.splitlines()


def run_of(redis: Redis, run_id: str) -> Run:
    """The run, once there is one."""
    client = Client(redis)
    wait_for(lambda: run_id in client.run_ids(), 20, f"run {run_id}")
    return client.run(run_id)


def test_submit_prints_the_id_and_ends_with_0(
    redis_server: RedisServer, start_worker: StartWorker, tmp_path: Path
) -> None:
    """Stdout is the run's id and nothing else; the last line tells the outcome."""
    start_worker(redis_server.url)
    done = run_cli(redis_server.url, "submit", *dag(tmp_path / "log"), "--run-id", "r")
    assert (done.returncode, done.stdout) == (0, "r\n")
    assert re.fullmatch(r"run r: success after .*: 5 success", done.stderr.splitlines()[-1])


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
    assert "queue 'default' has no workers: start one by `distflow worker default`" in said


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
    assert lines[-2:] == [
        f"see why: distflow show f reckless --redis {redis_server.url}",
        f"go on: distflow resume f --redis {redis_server.url}",
    ]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_interrupted_and_resumed(
    number: signal.Signals,
    redis_server: RedisServer,
    redis_client: Redis,
    start_worker: StartWorker,
    start: StartCli,
    tmp_path: Path,
) -> None:
    """A signal leaves the run resumable: 130, the last line says how, and the resume says what it
    keeps and ends with 0; the task that was at work ran once.
    """
    start_worker(redis_server.url)
    process = start(redis_server.url, "submit", *held(tmp_path), "--run-id", "i")
    wait_for(lambda: begun(tmp_path), 30, "the task to begin")
    process.send_signal(number)
    code, _out, lines = end(process)
    assert (code, lines[-1]) == (130, "go on: distflow resume i")
    assert run_of(redis_client, "i").status() == "interrupted"
    resumed = start(redis_server.url, "resume", "i")
    assert resumed.stderr is not None
    assert resumed.stderr.readline() == "resume i: 0 successes kept, 1 at work, 1 not run yet\n"
    (tmp_path / "gate").touch()
    assert end(resumed)[0] == 0
    assert Counter(words[0] for words in recording.lines(tmp_path / "log"))["hold"] == 1


def test_second_interrupt_ends_at_once(
    fresh_redis: RedisServer, start_worker: StartWorker, start: StartCli, tmp_path: Path
) -> None:
    """Where Redis hangs the first Ctrl-C cannot be written down; the second ends the command."""
    start_worker(fresh_redis.url)
    process = start(fresh_redis.url, "submit", *held(tmp_path), "--run-id", "i")
    wait_for(lambda: begun(tmp_path), 30, "the task to begin")
    fresh_redis.pause()
    try:
        process.send_signal(signal.SIGINT)
        assert process.stderr is not None
        wait_for(lambda: "interrupted" in process.stderr.readline(), 20)  # type: ignore[union-attr]
        process.send_signal(signal.SIGINT)
        assert process.wait(5) == 130
    finally:
        fresh_redis.proceed()


def test_pause_and_resume(
    redis_server: RedisServer,
    redis_client: Redis,
    start_worker: StartWorker,
    start: StartCli,
    tmp_path: Path,
) -> None:
    """Paused, a run lets its task end, starts no other, and its submit ends with 4; the resume
    ends with 0. Pausing it when it has ended is refused.
    """
    start_worker(redis_server.url)
    process = start(redis_server.url, "submit", *held(tmp_path), "--run-id", "p")
    wait_for(lambda: begun(tmp_path), 30, "the task to begin")
    paused = run_cli(redis_server.url, "pause", "p", "--json")
    assert (paused.returncode, json.loads(paused.stdout)["status"]) == (0, "paused")
    (tmp_path / "gate").touch()
    code, _out, lines = end(process)
    assert (code, lines[-1]) == (4, "go on: distflow resume p")
    assert [words[0] for words in recording.lines(tmp_path / "log")] == ["hold"]
    assert run_cli(redis_server.url, "resume", "p").returncode == 0
    late = run_cli(redis_server.url, "pause", "p")
    assert late.returncode == 2
    assert late.stderr == "distflow: run p is success: only a running one can be paused\n"


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
    assert follower.stderr.readline() == "it was paused: it goes on\n"
    assert re.fullmatch(r"led by .*: following it\n", follower.stderr.readline())
    (tmp_path / "gate").touch()
    assert (end(leader)[0], end(follower)[0]) == (0, 0)
    starts = Counter(words[0] for words in recording.lines(tmp_path / "log"))
    assert starts == {"hold": 1, "receipt": 1}


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
    starts = Counter(words[0] for words in recording.lines(tmp_path / "log"))
    assert starts == {"hold": 1, "receipt": 1}


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
    assert "another coordinator has taken the run over: following it" in lines


def test_detach(redis_server: RedisServer, start_worker: StartWorker, tmp_path: Path) -> None:
    """--detach creates the run and ends with 4, since the run has not ended; a resume leads it."""
    done = run_cli(redis_server.url, "submit", *dag(tmp_path / "log"), "--run-id", "d", "--detach")
    assert (done.returncode, done.stdout) == (4, "d\n")
    assert done.stderr == "nobody leads it yet: distflow resume d\n"
    start_worker(redis_server.url)
    assert run_cli(redis_server.url, "resume", "d").returncode == 0


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
    assert redis_client.dbsize() == 0


def test_cancel_a_led_run(
    redis_server: RedisServer,
    redis_client: Redis,
    start_worker: StartWorker,
    start: StartCli,
    tmp_path: Path,
) -> None:
    """Its coordinator starts nothing more and ends with 1; the command waits for that and ends
    with 0.
    """
    start_worker(redis_server.url)
    process = start(redis_server.url, "submit", *held(tmp_path), "--run-id", "c")
    wait_for(lambda: begun(tmp_path), 30, "the task to begin")
    canceller = start(redis_server.url, "cancel", "c")
    wait_for(lambda: run_of(redis_client, "c").status() == "cancelling", 20, "the cancellation")
    (tmp_path / "gate").touch()
    code, _out, lines = end(process)
    assert code == 1
    assert any(line.startswith("run c: cancelled (cancelled by ") for line in lines)
    assert end(canceller)[0] == 0
    assert [words[0] for words in recording.lines(tmp_path / "log")] == ["hold"]


def test_cancel_leads_where_nobody_does(
    redis_server: RedisServer,
    redis_client: Redis,
    start_worker: StartWorker,
    start: StartCli,
    tmp_path: Path,
) -> None:
    """After its coordinator's death the command carries the cancellation out itself: with a grace
    of 0 the task at work is killed. Cancelling again is refused.
    """
    start_worker(redis_server.url)
    leader = start(redis_server.url, "submit", *held(tmp_path), "--run-id", "n")
    wait_for(lambda: begun(tmp_path), 30, "the task to begin")
    kill_cli(leader)
    done = run_cli(redis_server.url, "cancel", "n", "--grace", "0", "--json")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert (document["status"], document["tasks"]["cancelled"]) == ("cancelled", 2)
    assert [words[0] for words in recording.lines(tmp_path / "log")] == ["hold"]
    again = run_cli(redis_server.url, "cancel", "n")
    assert again.returncode == 2
    assert again.stderr == "distflow: run n is cancelled: there is nothing to cancel\n"


def test_timeout_ends_with_1(redis_server: RedisServer, tmp_path: Path) -> None:
    """A run that has no worker is cancelled when its time is up, and says why."""
    words = [*dag(tmp_path / "log"), "--run-id", "t", "--timeout", "0.5"]
    done = run_cli(redis_server.url, "submit", *words)
    assert done.returncode == 1
    assert "run t: cancelled (timed out after 0.5 s)" in done.stderr


BAD_INPUT = {
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
    assert "1 running, 1 pending" in plain
    assert max(map(len, re.split(r"[\r\n]+", plain))) <= 80
    assert "run tty: success" in plain.splitlines()[-1]


def run_locally(data: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """``distflow run`` in a data folder."""
    return run_cli("", "run", *words, "--data", str(data))


@pytest.fixture
def data_dir(tmp_path: Path) -> Iterator[Path]:
    """A data folder; a server that a killed command left there is stopped at the end."""
    folder = tmp_path / "data"
    yield folder
    PrivateRedis.start(folder).stop()


def test_run_needs_no_server(data_dir: Path, tmp_path: Path) -> None:
    """All in one: a private Redis and two workers, all gone at the end; the run is found again
    by --data. A run id that has succeeded is refused, as are other parameters.
    """
    words = [*dag(tmp_path / "log", 10), "--run-id", "r"]
    done = run_locally(data_dir, *words)
    assert (done.returncode, done.stdout) == (0, "r\n"), done.stderr
    assert not (data_dir / "redis.sock").exists()
    assert len(list(data_dir.glob("worker-*.log"))) == 2
    with PrivateRedis.start(data_dir) as server, Redis.from_url(server.url) as redis:
        assert Client(redis).run("r").info().counts["success"] == 10
        assert Client(redis).run("r").info().durability == "aof-always"
    again = run_locally(data_dir, *words)
    assert again.returncode == 2
    assert "run r has succeeded" in again.stderr


def test_run_goes_on_after_it_was_killed(data_dir: Path, start: StartCli, tmp_path: Path) -> None:
    """SIGKILL to the command midway; the same command again ends the run, and no task that had
    succeeded ran again. Other parameters are refused.
    """
    log = tmp_path / "log"
    words = ["run", *dag(log, 30), "-p", "seconds=0.02", "--run-id", "k", "--data", str(data_dir)]
    process = start("", *words)
    wait_for(lambda: len(recording.lines(log)) > 8, 60, "some tasks to have begun")
    kill_cli(process)
    with PrivateRedis.start(data_dir) as server, Redis.from_url(server.url) as redis:
        run = Client(redis).run("k")
        wait_for(lambda: run.info().coordinator is None, 20, "the lease to lapse")
        succeeded = {name for name, result in run.results().items() if result.status == "success"}
    assert 0 < len(succeeded) < 30
    other = run_cli("", *words, "-p", "seconds=0.5")
    assert other.returncode == 2
    assert "run k has other parameters" in other.stderr
    ended = run_cli("", *words)
    assert ended.returncode == 0, ended.stderr
    assert "resume k: " in ended.stderr
    starts = Counter(words[0] for words in recording.lines(log))
    assert set(starts) == {f"t{number}" for number in range(30)}
    assert all(starts[name] == 1 for name in succeeded)


def test_run_interrupted(data_dir: Path, start: StartCli, tmp_path: Path) -> None:
    """Ctrl-C ends workers and server too, and the last line names the data folder; what ran was
    let end, so that the resume does not run it again.
    """
    process = start("", "run", *held(tmp_path), "--run-id", "i", "--data", str(data_dir))
    wait_for(lambda: begun(tmp_path), 60, "the task to begin")
    process.send_signal(signal.SIGINT)
    assert process.stderr is not None
    last = f"go on: distflow resume i --data {data_dir}\n"
    wait_for(lambda: process.stderr.readline() == last, 30)  # type: ignore[union-attr]
    (tmp_path / "gate").touch()
    assert end(process) == (130, "i\n", [])
    ended = run_locally(data_dir, *held(tmp_path), "--run-id", "i")
    assert ended.returncode == 0, ended.stderr
    starts = Counter(words[0] for words in recording.lines(tmp_path / "log"))
    assert starts == {"hold": 1, "receipt": 1}
