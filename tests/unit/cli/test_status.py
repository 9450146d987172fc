"""What status and runs say of runs in every state."""

from __future__ import annotations

import json
import re

import pytest

from distflow.core.claim import Progress
from distflow.core.model import Loop, Task
from distflow.core.run import HeldTask, Repair
from distflow.core.status import ACTIVE_RUNS, RunStatus
from distflow.runs.outlook import CHOICES
from tests.support.command_line import WIDTH, MemoryScene, busy_run
from tests.support.stores import again, claim, finish, make_spec

COUNTS = [
    *("total", "success", "failure", "skipped", "cancelled", "unknown"),
    *("running", "queued", "waiting", "pending"),
]


def test_status_tells_of_repairs_and_of_what_is_held(scene: MemoryScene) -> None:
    """How often something was repaired, by kind; and the task that a frozen worker holds."""
    store, epoch = scene.open_run("busy")
    claim(store, epoch, "busy", "t-busy", batch="b9")
    for number in range(2):
        store.record_repair(epoch, f"op{number}", Repair("entry_lost", "b", "", "sent again"))
    since = store.read_info().as_of - 30
    store.hold_tasks(epoch, [HeldTask("busy", "worker-9", since)])
    document = json.loads(scene.cli("status", "run-1", "--json").stdout)
    assert document["repairs"] == {"entry_lost": 2}
    assert [(held["task"], held["worker"]) for held in document["held"]] == [("busy", "worker-9")]
    text = scene.cli("status", "run-1").stdout
    assert "repairs    2 entry_lost\n" in text
    assert "busy: worker worker-9, frozen for 30 s inside it: wake it or kill it\n" in text


def test_status_document(scene: MemoryScene) -> None:
    """``status --json`` is the promised document: its keys, its counts, its times."""
    busy_run(scene)
    result = scene.cli("status", "run-1", "--json")
    document = json.loads(result.stdout)
    assert list(document) == [
        *("run_id", "workflow", "status", "params", "tasks", "as_of"),
        *("created_at", "started_at", "ended_at", "run_seconds", "coordinator", "durability"),
        *("redis_version", "maxmemory_policy", "repairs", "held"),
        *("misfits", "waits", "expansions"),
    ]
    assert list(document["tasks"]) == COUNTS
    assert list(document["tasks"].values()) == [6, 1, 1, 0, 0, 1, 1, 0, 1, 1]
    assert (document["status"], document["coordinator"]) == ("running", "anna")
    assert document["params"] == {"day": "2026-01-01"}
    assert document["durability"] == "aof-always"
    assert (document["repairs"], document["held"]) == ({}, [])
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", document["created_at"])
    assert document["ended_at"] is None


def test_status_says_what_it_waits_for_in_json(scene: MemoryScene) -> None:
    """Every reason, each with when it ends, or the command that ends it."""
    busy_run(scene)
    scene.store().hold_tasks(scene.store().read_info().epoch, [HeldTask("busy", "worker-9", 5.0)])
    scene.queue_up()
    waits = json.loads(scene.cli("status", "run-1", "--json").stdout)["waits"]
    assert [(wait["kind"], wait["task"], wait["on"], wait["command"]) for wait in waits] == [
        ("worker", None, "default", "distflow worker default"),
        ("frozen", "busy", "worker-9", None),
        ("decision", "lost", "person", f"distflow resolve run-1 lost {CHOICES}"),
        ("time", "later", "attempt 2", None),
    ]
    assert {key for wait in waits for key in wait} == {
        *("kind", "task", "until", "on", "since", "command")
    }
    times = [(wait["since"], wait["until"]) for wait in waits]
    assert times[1] == ("1970-01-01T00:00:05.000Z", None)
    assert times[3] > times[1]
    shown = json.loads(scene.cli("show", "run-1", "open", "--json").stdout)
    assert [wait["kind"] for wait in shown["waits"]] == ["worker"]


def test_status_results(scene: MemoryScene) -> None:
    """``--tasks`` adds every outcome by name, all with the same fields."""
    busy_run(scene)
    results = json.loads(scene.cli("status", "run-1", "--tasks", "--json").stdout)["results"]
    assert list(results) == ["done", "bad", "lost"]
    assert results["done"]["data"] == {"rows": 3}
    assert results["done"]["error"] is results["done"]["message"] is None
    assert results["bad"]["error"].startswith("ValueError: no\nsuch day")
    assert results["lost"]["status"] == "unknown"


def test_every_task_in_a_table(scene: MemoryScene) -> None:
    """With a header; what waits has the attempt that is next, and when it begins."""
    busy_run(scene)
    table = scene.cli("status", "run-1", "--tasks").stdout.partition("\n\n")[2].splitlines()
    assert table[0] == "STATUS     TRY     TOOK  TASK"
    assert table[1] == "success      1           done"
    assert table[5] == "waiting      2           later: attempt 2 in 4 min"
    assert table[6] == "pending                  open"


def test_a_loop_that_waits(scene: MemoryScene) -> None:
    """Every screen tells which iteration is next, and why."""
    loop = Loop("pkg:done", 5, interval=300.0)
    store, epoch = scene.open_graph([Task("poll", "pkg:f", loop=loop)])
    claim(store, epoch, "poll", "t1")
    looped = again("poll", "t1", delay_ms=300_000)
    finish(store, epoch, looped._replace(progress=Progress(1, 3)))
    store.renew_lease("anna", epoch, 60.0, queued=0, waiting=1)
    said = "iteration 3 in 4 min, condition not met"
    assert f"waiting    poll: {said}\n" in scene.cli("status", "run-1").stdout
    assert f"poll: {said}\n" in scene.cli("status", "run-1", "--tasks").stdout
    shown = scene.cli("show", "run-1", "poll").stdout
    assert re.search(r"^waits +for iteration 3 at 20.+Z, condition not met$", shown, re.MULTILINE)


def test_status_says_what_it_waits_for(scene: MemoryScene) -> None:
    """Unknown and failed tasks, retries, and queues without workers are named, with commands."""
    busy_run(scene)
    scene.queue_up()
    text = scene.cli("status", "run-1").stdout
    assert "distflow resolve run-1 lost --done [JSON] | --retry | --fail" in text
    assert "bad: ValueError: no such day xxx" in text
    assert "later: attempt 2 in 4 min" in text
    assert re.search(r"busy: .* on worker-9", text)
    assert "tasks wait and nobody listens to queue 'default'" in text
    assert "distflow worker default" in text
    assert "distflow resume" not in text


@pytest.mark.parametrize("words", [("status", "run-1"), ("status", "run-1", "--tasks"), ("runs",)])
def test_eighty_columns(scene: MemoryScene, words: tuple[str, ...]) -> None:
    """Piped or on a narrow terminal, no line is wider than 80 columns."""
    busy_run(scene)
    lines = scene.cli(*words).stdout.splitlines()
    assert len(lines) > 1
    assert max(map(len, lines)) <= WIDTH


@pytest.mark.parametrize(
    ("status", "command"),
    [
        (RunStatus.RUNNING, "resume"),
        (RunStatus.PAUSED, "resume"),
        (RunStatus.INTERRUPTED, "resume"),
        (RunStatus.CANCELLING, "cancel"),
        (RunStatus.FAILURE, "resume"),
        (RunStatus.BLOCKED, "resume"),
        (RunStatus.SUCCESS, None),
    ],
)
def test_nobody_leads(scene: MemoryScene, status: RunStatus, command: str | None) -> None:
    """A run that stands still says with which command it goes on."""
    store, epoch = scene.open_run("a")
    if status != RunStatus.RUNNING:
        store.set_status(status, ACTIVE_RUNS, reason="by hand")
    scene.leave(store, epoch)
    text = scene.cli("status", "run-1").stdout
    assert re.findall(r"^ +distflow (\w+) run-1$", text, re.MULTILINE) == (
        [command] if command else []
    )


def test_status_of_an_unfinished_submit(scene: MemoryScene) -> None:
    """A run whose submit was cut off says so, and how to remove it."""
    scene.store().create_run(make_spec(), "creation")
    text = scene.cli("status", "run-1").stdout
    assert "creating" in text
    assert "distflow delete run-1" in text


def test_many_failures_are_capped(scene: MemoryScene) -> None:
    """However many tasks failed, a few are named and the rest counted."""
    names = [f"t{number}" for number in range(25)]
    store, epoch = scene.open_run(*names)
    for name in names:
        scene.settle(store, epoch, name, "failure", error="OSError: no")
    scene.leave(store, epoch)
    text = scene.cli("status", "run-1").stdout
    assert text.count("OSError") == 10
    assert "and 15 more" in text


def test_tolerated_failures_stand_apart(scene: MemoryScene) -> None:
    """A failure with ``continue_on_error`` is not told as one that the run failed of: not in
    ``status``, nor at the end of a command that watched it, nor in ``show``.
    """
    tasks = [
        *[Task(f"soft{number:02}", "pkg:f", continue_on_error=True) for number in range(12)],
        Task("hard", "pkg:f"),
    ]
    store, epoch = scene.open_graph(tasks)
    for task in tasks:
        scene.settle(store, epoch, task.name, "failure", error=f"OSError: of {task.name}")
    store.set_status(RunStatus.FAILURE, ACTIVE_RUNS)
    scene.leave(store, epoch)
    text = scene.cli("status", "run-1").stdout
    assert re.findall(r"^failure +(.*)$", text, re.MULTILINE) == ["hard: OSError: of hard"]
    told = re.findall(r"^tolerated +(.*)$", text, re.MULTILINE)
    assert (told[0], told[-1]) == ("soft00: OSError: of soft00", "and 2 more: see --tasks")
    watched = scene.cli("watch", "run-1").stdout
    assert "\nfailed: hard\ntolerated: soft00, soft01," in watched
    assert re.search(r"soft09\s+and 2 more\n", watched)
    assert "distflow show run-1 hard" in watched
    assert "failure (tolerated" in scene.cli("show", "run-1", "soft00").stdout
    assert "tolerated" not in scene.cli("show", "run-1", "hard").stdout


def test_a_long_run_id_moves_its_own_row_alone(scene: MemoryScene) -> None:
    """The id is there to be copied whole, and every other row fits the terminal."""
    long_id = "x" * 90
    for run_id in ("short", long_id):
        scene.open_run("a", run_id=run_id)
    header, first, second = scene.cli("runs").stdout.splitlines()
    assert first.startswith(long_id)
    assert max(len(header), len(second)) <= WIDTH
    assert second.index("running") == header.index("STATUS")


def test_no_runs(scene: MemoryScene) -> None:
    """An empty Redis is an empty list, and no error."""
    result = scene.cli("runs")
    assert (result.exit_code, result.stdout) == (0, "")
    assert json.loads(scene.cli("runs", "--json").stdout) == []


def test_what_is_piped_is_never_cut(scene: MemoryScene) -> None:
    """Nor is anything that `show` prints, on a terminal either: a log and grep find the end."""
    long = "x" * 300 + "END"
    store, epoch = scene.open_run("a" + long, "b")
    lines = [f"{number}" for number in range(100)]
    scene.settle(store, epoch, "a" + long, "failure", error="E: " + long, worker="w" + long)
    scene.settle(store, epoch, "b", "success", data=[*lines, long])
    for words in (["status", "run-1"], ["status", "run-1", "--tasks"]):
        assert "…" in scene.cli(*words).stdout
        piped = scene.cli(*words, piped=True).stdout
        assert "…" not in piped
        assert f"a{long}: E: {long}\n" in piped
    for words in (["show", "run-1", "a" + long], ["show", "run-1", "b"]):
        shown = scene.cli(*words).stdout
        assert shown == scene.cli(*words, piped=True).stdout
        assert "…" not in shown
        assert "END" in shown
    assert all(f'  "{number}",' in shown for number in lines)


def test_an_interruption_is_told_once(scene: MemoryScene) -> None:
    """The status says it already."""
    store, _epoch = scene.open_run("a")
    store.set_status(RunStatus.INTERRUPTED, ACTIVE_RUNS, reason="interrupted")
    text = scene.cli("status", "run-1").stdout
    assert re.search(r"^status +interrupted$", text, re.MULTILINE)
