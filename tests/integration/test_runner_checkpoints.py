"""The snapshot of a workflow that is running, and the outcomes that events carry."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from distflow import Snapshot, TaskResult, Workflow
from distflow.events.notice import Notice
from distflow.runs.client import Client
from tests.conftest import StartWorker
from tests.integration.cli_runs import StartCli, started_commands
from tests.support.cli import run_cli, status_of
from tests.support.redis_server import RedisServer
from tests.support.stages import Stage
from tests.support.tasks import behaving, recording
from tests.support.wait import wait_for


def chain(last: Any = behaving.echo, **options: Any) -> Workflow:
    """Two tasks that succeed, then one of its own."""
    dag = Workflow("checkpointed")
    dag.add("one", behaving.echo, (1,))
    dag.add("two", behaving.echo, (2,), depends_on=["one"])
    dag.add("last", last, depends_on=["two"], **options)
    return dag


def names(snapshot: Snapshot) -> dict[str, str]:
    """The outcomes of a snapshot by task."""
    return {name: result.status.value for name, result in snapshot.items()}


def test_a_checkpoint_at_each_end(stage: Stage) -> None:
    """In a callback the snapshot has what was told, and the event has the outcome itself; what is
    written at the last event is enough to go on with, and nothing runs twice.
    """
    builder = stage.builder()
    seen: list[tuple[str, TaskResult | None, dict[str, str], str | None]] = []
    runner = builder.build()
    assert (dict(runner.snapshot()), runner.run_id) == ({}, None)

    def keep(notice: Notice) -> None:
        seen.append((notice.task, notice.result, names(runner.snapshot()), runner.run_id))

    runner.on("task_end", keep).on("task_skipped", keep)
    dag = chain(condition=behaving.never)
    results = runner.execute(dag, {"log": str(stage.log)})
    assert [task for task, *_ in seen] == ["one", "two", "last"]
    known: dict[str, str] = {}
    for task, result, snapshot, run_id in seen:
        known[task] = results[task].status.value
        assert result == results[task]
        assert known.items() <= snapshot.items()
        assert run_id == runner.run_id
    assert names(runner.snapshot()) == known
    again = stage.play(dag, known=runner.snapshot())
    assert [len(stage.lines(task)) for task in ("one", "two")] == [1, 1]
    assert again.statuses() == known


def test_a_snapshot_from_another_thread(stage: Stage) -> None:
    """While a task is at work: what is done is in it, and a charge at work is unknown."""
    dag = chain(behaving.ignore, effects="at_most_once")
    runner = stage.builder().build()
    thread = threading.Thread(
        target=runner.execute, args=(dag, {"log": str(stage.log)}), daemon=True
    )
    thread.start()
    wait_for(lambda: stage.lines("last"), 20, "the charge to be at work")
    found = names(runner.snapshot())
    stage.open_gate()
    thread.join(20)
    assert found == {"one": "success", "two": "success", "last": "unknown"}
    assert names(runner.snapshot())["last"] == "success"


def test_a_snapshot_after_an_interrupt(stage: Stage) -> None:
    """``execute`` that raised has left what was done: Ctrl-C, which a callback stands for."""
    runner = stage.builder().build()

    def interrupt(notice: Notice) -> None:
        if notice.task == "two":
            raise KeyboardInterrupt

    runner.on("task_end", interrupt)
    with pytest.raises(KeyboardInterrupt):
        runner.execute(chain(behaving.ignore), {"log": str(stage.log)})
    done = runner.snapshot()
    stage.open_gate()
    assert {"one", "two"} <= {name for name, status in names(done).items() if status == "success"}


@pytest.fixture
def start() -> Iterator[StartCli]:
    """Starts commands, and ends them with the test."""
    with started_commands() as start_command:
        yield start_command


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An installed package with a plugin that writes a line per end of a task."""
    site, heard = tmp_path / "site", tmp_path / "heard"
    info = site / "writing_plugin-1.0.dist-info"
    info.mkdir(parents=True)
    (site / "writing_plugin.py").write_text(
        "class Writer:\n"
        "    name, version = 'writer', '1.0'\n"
        "    def install(self, context):\n"
        "        context.on('task_end', self.write)\n"
        "    def write(self, notice):\n"
        f"        with open({str(heard)!r}, 'a') as file:\n"
        "            print(notice.run_id, notice.task, notice.result.data, file=file)\n"
    )
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: writing-plugin\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[distflow.plugins]\nwriter = writing_plugin:Writer\n")
    monkeypatch.syspath_prepend(str(site))
    return heard


def test_plugins_hear_of_runs_led_from_python(on_redis: Stage, plugin: Path) -> None:
    """``connect().submit`` and ``Run.resume`` lead runs as the runner does."""
    assert on_redis.redis is not None
    client = Client(on_redis.redis)
    run = client.submit(chain(), {"log": str(on_redis.log)})
    assert run.wait(30) == "success"
    lines = [f"{run.run_id} one 1", f"{run.run_id} two 2", f"{run.run_id} last None"]
    assert plugin.read_text().splitlines() == lines
    dag = Workflow("mended")
    dag.add("flaky", behaving.behave, (["raise", "ok"],))
    again = client.submit(dag, {"log": str(on_redis.log)})
    assert again.wait(30) == "failure"
    again.resume()
    assert again.wait(30) == "success"
    assert plugin.read_text().splitlines()[3:] == [
        f"{again.run_id} flaky {r}" for r in (None, "ok")
    ]


@pytest.mark.parametrize("leader", ["submit", "resume", "coordinator"])
def test_plugins_hear_of_runs_led_by_commands(
    redis_server: RedisServer,
    start_worker: StartWorker,
    start: StartCli,
    plugin: Path,
    tmp_path: Path,
    leader: str,
) -> None:
    """Whichever command leads."""
    start_worker(redis_server.url)
    env = {"PYTHONPATH": str(plugin.parent / "site")}
    words = [f"{recording.__name__}:small_dag", "-p", f"log={tmp_path / 'log'}", "-p", "size=2"]
    detach = () if leader == "submit" else ("--detach",)
    run_cli(redis_server.url, "submit", *words, "--run-id", "p", *detach, env=env)
    if leader == "resume":
        run_cli(redis_server.url, "resume", "p", env=env)
    elif leader == "coordinator":
        start(redis_server.url, "coordinator", env=env)
    wait_for(lambda: status_of(redis_server.url, "p")["status"] == "success", 30, "its end")
    wait_for(plugin.exists, 10, "the plugin to hear of it")
    assert {line.split()[0] for line in plugin.read_text().splitlines()} == {"p"}
    assert len(plugin.read_text().splitlines()) == 2
