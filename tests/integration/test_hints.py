"""No screen names a command that cannot help: every state of a run is shown by every screen, and
whatever is named there is typed, from top to bottom.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from distflow.cli import cancel as stopping
from distflow.cli import submit as running
from distflow.cli.ui.common import ExitCode
from distflow.core.model import Ref, Task
from distflow.core.status import ACTIVE_RUNS, ENDED_RUNS, RunStatus
from distflow.errors import DistflowError
from distflow.runs.client import Client
from distflow.runs.run import Run
from distflow.store.redis.store import RedisRunStore
from tests.integration.cli_scene import Scene
from tests.support.redis_server import RedisServer
from tests.support.stores import claim, list_active_runs, make_spec, outcome

TASKS = [
    Task("pay", "pkg:pay", effects="at_most_once"),
    Task("ship", "pkg:ship", args=(Ref("pay"),), depends_on=("pay",)),
    Task("plain", "pkg:plain"),
]

#: What may follow a command, and what is typed for it.
_CHOICES = " --done [JSON] | --retry | --fail"
_TYPED = (" --done 1", " --retry", " --fail")

_COMMAND = re.compile(
    r"distflow (?:resume|resolve|cancel|delete|status|show|watch|coordinator) ?[^`\n]*"
)

State = Callable[[Scene], object]


def begun(scene: Scene, **statuses: str) -> tuple[RedisRunStore, int]:
    """A run that anna leads, some tasks of which have ended; ``started_…`` had started."""
    store, epoch = scene.open_graph(TASKS)
    for task, status in statuses.items():
        if task == "ship":
            store.settle_unheld(epoch, [("ship", outcome(status))])
        else:
            started = status.startswith("started_")
            scene.settle(store, epoch, task, status.removeprefix("started_"), started=started)
    return store, epoch


def ended(scene: Scene, status: RunStatus, *, held: str = "", **statuses: str) -> RedisRunStore:
    """The same, moved to a status, and led by nobody; a worker holds on to the task ``held``."""
    store, epoch = begun(scene, **statuses)
    if held:
        claim(store, epoch, held, "t1")
    if status != RunStatus.RUNNING:
        reason = "a person" if status in (RunStatus.CANCELLING, RunStatus.CANCELLED) else ""
        store.set_status(status, ACTIVE_RUNS, epoch=epoch, reason=reason)
    scene.leave(store, epoch)
    return store


def decided(scene: Scene, decision: Any, data: Any = None) -> None:
    """A charge that failed, as a person has decided."""
    ended(scene, _S.FAILURE, plain="success", pay="started_failure", ship="skipped")
    Client(scene.client).run("run-1").resolve("pay", decision, data)


def with_gap(scene: Scene) -> None:
    """Release 0.1 has imported the run, whose original may have gone on."""
    scene.client.hset(ended(scene, _S.RUNNING).keys.meta, "gap", 1)


_S = RunStatus
_DEAD = {"pay": "started_failure", "ship": "skipped"}

#: In which a run may be found.
STATES: dict[str, State] = {
    "creating": lambda scene: scene.store().create_run(make_spec(), "creation"),
    "running, unled": lambda scene: ended(scene, _S.RUNNING, plain="success"),
    "running, unled, at work": lambda scene: ended(scene, _S.RUNNING, held="plain"),
    "running, unled, unknown": lambda scene: ended(scene, _S.RUNNING, pay="unknown"),
    "running, unled, failed at most once": lambda scene: ended(scene, _S.RUNNING, **_DEAD),
    "running, unknown": lambda scene: begun(scene, pay="unknown"),
    "running, failed at most once": lambda scene: begun(scene, **_DEAD),
    "paused": lambda scene: ended(scene, _S.PAUSED, plain="success"),
    "paused, unknown": lambda scene: ended(scene, _S.PAUSED, pay="unknown"),
    "interrupted": lambda scene: ended(scene, _S.INTERRUPTED),
    "cancelling": lambda scene: ended(scene, _S.CANCELLING),
    "cancelled": lambda scene: ended(
        scene, _S.CANCELLED, plain="cancelled", pay="success", ship="cancelled"
    ),
    "cancelled by itself, at most once": lambda scene: ended(
        scene, _S.CANCELLED, plain="success", pay="started_cancelled", ship="skipped"
    ),
    "blocked": lambda scene: ended(scene, _S.BLOCKED, plain="success", pay="unknown"),
    "blocked, failed": lambda scene: ended(scene, _S.BLOCKED, plain="failure", pay="unknown"),
    "failure": lambda scene: ended(
        scene, _S.FAILURE, plain="failure", pay="success", ship="skipped"
    ),
    "failure before its start": lambda scene: ended(
        scene, _S.FAILURE, plain="success", pay="failure", ship="skipped"
    ),
    "failure at most once": lambda scene: ended(scene, _S.FAILURE, plain="success", **_DEAD),
    "failure, both": lambda scene: ended(scene, _S.FAILURE, plain="failure", **_DEAD),
    "failure, at work": lambda scene: ended(scene, _S.FAILURE, held="plain", **_DEAD),
    "decided as failed": lambda scene: decided(scene, "fail"),
    "decided as done": lambda scene: decided(scene, "done", 1),
    "decided to run": lambda scene: decided(scene, "retry"),
    "imported by 0.1 with a gap": with_gap,
    "success": lambda scene: ended(
        scene, _S.SUCCESS, plain="success", pay="success", ship="success"
    ),
}


@pytest.fixture
def scene(redis_server: RedisServer) -> Iterator[Scene]:
    """An empty Redis with the command line in front of it."""
    scene = Scene(redis_server)
    yield scene
    scene.close()


def screens(scene: Scene, folder: Path) -> dict[str, str]:
    """What is shown of the run, and said of it, wherever it is named."""
    client = Client(scene.client)
    info = scene.store().read_info()
    shown = {"status": scene.cli("status", "run-1").output}
    if info.status not in ACTIVE_RUNS and info.status != RunStatus.CREATING:
        shown["watch"] = scene.cli("watch", "run-1").output
    shown["export"] = scene.cli("export", "run-1", "-o", folder / "file").output
    if info.status == RunStatus.CREATING:
        shown["resume"] = scene.cli("resume", "run-1").output
    else:
        shown["show"] = scene.cli("show", "run-1", "pay").output
        shown["show"] += scene.cli("show", "run-1", "nope").output
        shown["import"] = scene.cli("import", folder / "file").output
    shown["delete"] = (
        scene.cli("delete", "run-1").output
        if info.coordinator or info.counts["unknown"] or info.counts["running"]
        else ""
    )
    if info.coordinator is None:
        client.settings = replace(client.settings, lease_seconds=0.0)
        try:
            client.run("run-1").wait(timeout=0.3)
        except (DistflowError, TimeoutError) as error:
            shown["wait"] = str(error)
    return shown


def hints(text: str) -> list[str]:
    """The commands that a screen names, in their order."""
    found = [match[0].removesuffix(",").rstrip(" .:") for match in _COMMAND.finditer(text)]
    # What is said by two screens in one is typed once.
    return list(dict.fromkeys(found))


def paths(text: str) -> list[list[str]]:
    """What a person may type, having read a screen: where there are choices, each of them."""
    ways: list[list[str]] = [[]]
    for hint in hints(text):
        typed = [hint]
        if hint.endswith(_CHOICES):
            typed = [hint.removesuffix(_CHOICES) + choice for choice in _TYPED]
        ways = [[*way, one] for way in ways for one in typed]
    return ways if hints(text) else []


class Leading:
    """In the place of what leads a run in the foreground: it sends what is ready, and leaves."""

    def __init__(self) -> None:
        self.helped = False

    def __call__(self, run: Run, _interrupt: object, *, reopen: bool, **_: object) -> ExitCode:
        before = run.info()
        executor = run.executor()
        executor.begin(reopen=reopen)
        over = executor.step(run.store.read_events(executor.last_event))
        sent = executor.take_batches() if over is None else []
        executor.end()
        after = run.info()
        self.helped = bool(sent) or after.status != before.status or bool(after.counts["running"])
        return ExitCode.SUCCESS


def type_it(scene: Scene, typed: str, leading: Leading) -> None:
    """Type a command, and see that it helps."""
    words = shlex.split(typed)[1:]
    store = scene.store()
    if words[0] == "coordinator":
        # It is named beside another command, which may have been typed by now.
        has_ended = store.read_status() in ENDED_RUNS
        assert has_ended or list_active_runs(scene.client) == ["run-1"]
        return
    before = store.read_results([task.name for task in TASKS])
    status = store.read_status()
    leading.helped = False
    done = scene.cli(*words)
    looks = words[0] in ("watch", "cancel")
    assert done.exit_code in (0, 1) or looks, f"{typed}: {done.output}"
    if words[0] == "resume":
        assert leading.helped, f"{typed} changes nothing"
    elif words[0] == "delete":
        assert scene.cli("status", "run-1").exit_code == 2
    elif words[0] == "cancel":
        assert store.read_status() in (RunStatus.CANCELLING, RunStatus.CANCELLED)
        assert status != RunStatus.CANCELLED
    elif words[0] == "resolve" and before[0] is not None:
        assert store.read_results(["pay"]) != before[:1] or words[-1] == "--fail"


@pytest.mark.parametrize("name", STATES)
def test_every_hint_helps(
    scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Whatever a screen names is typed in the state in which it is shown."""
    leading = Leading()
    monkeypatch.setattr(running, "see_through", leading)
    if "unled" not in name and name.startswith("running"):
        # Anna, who leads it, does nothing: nobody waits for her.
        monkeypatch.setattr(stopping, "_carry_out", lambda *_: None)
    STATES[name](scene)
    seen = screens(scene, tmp_path)
    for text in seen.values():
        for way in paths(text):
            scene.client.flushdb()
            STATES[name](scene)
            for typed in way:
                type_it(scene, typed, leading)
                if typed.startswith("distflow delete"):
                    break
    # Who looks is told how to go on, wherever nobody does.
    assert bool(hints(seen["status"])) is (name != "success")


def test_all_statuses_are_there() -> None:
    """A status of runs that is new gets its states here. A reopening is one that is running."""
    begin = {name.split()[0].rstrip(",") for name in STATES}
    assert {status.value for status in RunStatus} - begin == {"reopening"}
