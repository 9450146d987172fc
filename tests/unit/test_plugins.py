"""Plugins of installed packages hear of a run, whatever leads it; on runs in memory."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from distflow import TaskRunnerBuilder
from distflow.authoring import Workflow
from distflow.backends.memory import MemoryBackend
from distflow.cli.ui.foreground import Foreground
from distflow.cli.ui.progress import PlainDisplay
from distflow.events.notice import Interrupt, Notice
from distflow.runs.client import Client
from tests.support.tasks import recording

#: A plugin that writes a line for each event but starts of tasks, with the outcome if there is one.
PLUGIN = """
HEARD = []

class Hearer:
    name, version = "hearer", "1.0"

    def install(self, context):
        for event in ("workflow_start", "task_end", "repair", "warning", "workflow_end"):
            context.on(event, self.hear)

    def hear(self, notice):
        result = notice.result
        HEARD.append((notice.kind, notice.task, None if result is None else result.data))
"""

#: What it hears of a run of one task.
HEARD = [("workflow_start", "", None), ("task_end", "echo", [7]), ("workflow_end", "", None)]


@pytest.fixture
def heard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str, object]]:
    """An installed package with the plugin; what that has heard."""
    info = tmp_path / "hearing_plugin-1.0.dist-info"
    info.mkdir()
    (tmp_path / "hearing_plugin.py").write_text(PLUGIN)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: hearing-plugin\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[distflow.plugins]\nhearer = hearing_plugin:Hearer\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "hearing_plugin", raising=False)
    module = pytest.importorskip("hearing_plugin")
    found: list[tuple[str, str, object]] = module.HEARD
    return found


def flow() -> Workflow:
    """One task."""
    workflow = Workflow("heard")
    workflow.add("echo", recording.echo, (7,))
    return workflow


def submit(client: Client) -> None:
    """``client.submit``."""
    client.submit(flow()).wait(10)


def resume(client: Client) -> None:
    """``Run.resume``."""
    run = client.create(flow())
    run.resume()
    run.wait(10)


def command(client: Client) -> None:
    """What `submit`, `resume` and `run` do."""
    Foreground(client.create(flow()), PlainDisplay(), Interrupt()).finish(reopen=False)


def service(client: Client) -> None:
    """``distflow coordinator``."""
    stop = threading.Event()
    run = client.create(flow(), detach=True)
    client.on("workflow_end", lambda _notice: stop.set())
    client.coordinator(stop).run()
    assert run.status() == "success"


def runner(_client: Client) -> None:
    """A runner in this process."""
    TaskRunnerBuilder().build().execute(flow())


@pytest.mark.parametrize("lead", [submit, resume, command, service, runner])
def test_plugins_hear_of_a_run(
    heard: list[tuple[str, str, object]], lead: Callable[[Client], None]
) -> None:
    """Each event once, with the outcome of the task."""
    lead(Client(MemoryBackend()))
    assert heard == HEARD


@pytest.mark.parametrize("kind", ["repair", "warning"])
def test_troubles_reach_whoever_is_registered(kind: str) -> None:
    """What the command line prints of them, a client's callbacks hear; and no more once off."""
    client = Client(MemoryBackend())
    said: list[str] = []

    def hear(notice: Notice) -> None:
        said.append(notice.message)

    client.on(kind, hear)
    client.engine.hub(Notice(kind, "r", 0.0, message="worker w is gone"))
    client.off(kind, hear)
    client.engine.hub(Notice(kind, "r", 0.0, message="again"))
    assert said == ["worker w is gone"]
