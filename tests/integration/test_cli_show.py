"""What the commands that look say of runs in every state."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from rq.suspension import resume, suspend

from distflow.core.claim import Progress
from distflow.core.model import Loop, Task
from distflow.core.run import HeldTask, Repair
from distflow.core.status import ACTIVE_RUNS, RunStatus
from distflow.runs.outlook import CHOICES
from tests.integration.cli_scene import WIDTH, Scene
from tests.support.redis_server import RedisServer
from tests.support.stores import again, claim, final, finish, make_spec

COUNTS = [
    *("total", "success", "failure", "skipped", "cancelled", "unknown"),
    *("running", "queued", "waiting", "pending"),
]


@pytest.fixture
def scene(redis_server: RedisServer) -> Iterator[Scene]:
    """An empty Redis with the command line in front of it."""
    scene = Scene(redis_server)
    yield scene
    scene.close()


def busy_run(scene: Scene) -> None:
    """One task of each kind: done, failed, unknown, running, waiting, pending."""
    store, epoch = scene.open_run("done", "bad", "lost", "busy", "later", "open")
    scene.settle(store, epoch, "done", "success", data={"rows": 3})
    scene.settle(store, epoch, "bad", "failure", error="ValueError: no\nsuch day " + "x" * 200)
    scene.settle(store, epoch, "lost", "unknown", error="WorkerLost: worker w1 was lost")
    store.begin_batch(epoch, "b9", "worker-9", "job-9")
    claim(store, epoch, "busy", "t-busy", batch="b9", begin=False)
    claim(store, epoch, "later", "t-later")
    finish(store, epoch, again("later", "t-later", delay_ms=300_000))
    store.renew_lease("anna", epoch, 60.0, queued=0, waiting=1)


def test_status_tells_of_repairs_and_of_what_is_held(scene: Scene) -> None:
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


def test_status_document(scene: Scene) -> None:
    """``status --json`` is the promised document: its keys, its counts, its times."""
    busy_run(scene)
    result = scene.cli("status", "run-1", "--json")
    document = json.loads(result.stdout)
    assert list(document) == [
        *("run_id", "workflow", "status", "params", "tasks", "as_of"),
        *("created_at", "started_at", "ended_at", "run_seconds", "coordinator", "durability"),
        *("redis_version", "maxmemory_policy", "repairs", "held"),
        *("misfits", "waits"),
    ]
    assert list(document["tasks"]) == COUNTS
    assert list(document["tasks"].values()) == [6, 1, 1, 0, 0, 1, 1, 0, 1, 1]
    assert (document["status"], document["coordinator"]) == ("running", "anna")
    assert document["params"] == {"day": "2026-01-01"}
    assert document["durability"] == "aof-always"
    assert (document["repairs"], document["held"]) == ({}, [])
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", document["created_at"])
    assert document["ended_at"] is None


def test_status_says_what_it_waits_for_in_json(scene: Scene) -> None:
    """Every reason, each with when it ends, or the command that ends it."""
    busy_run(scene)
    scene.store().hold_tasks(scene.store().read_info().epoch, [HeldTask("busy", "worker-9", 5.0)])
    scene.client.rpush("rq:queue:default", "run-1-1-1")
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


def cost(scene: Scene, *words: str) -> tuple[dict[str, int], int]:
    """What a command asks of Redis: calls by command, and bytes of the replies."""
    scene.client.config_resetstat()
    assert scene.cli(*words).exit_code in (0, 1)
    sent = scene.client.info("stats")["total_net_output_bytes"]
    stats = scene.client.info("commandstats")
    calls = {name: told["calls"] for name, told in stats.items() if name != "cmdstat_info"}
    return calls, sent


def test_looking_costs_the_same_whatever_the_size(scene: Scene) -> None:
    """Of a run with thousands of tasks, some of the last of which failed, as much is read as of a
    small one: by ``status`` while it is led, and by ``watch`` and ``status`` when it has ended.
    """
    costs = []
    # The first of all makes the server know the scripts.
    for run_id, total in (("first", 20), ("small", 20), ("large", 12_000)):
        names = [f"t{number:05}" for number in range(total)]
        tasks = [Task(name, "pkg:f", continue_on_error=name > names[-4]) for name in names]
        store, epoch = scene.open_graph(tasks, run_id)
        for name in (names[-1], names[-5], *names[:3]):
            scene.settle(store, epoch, name, "failure", error="OSError: no")
        told = [cost(scene, "status", run_id, *more) for more in ((), ("--json",))]
        store.set_status(RunStatus.FAILURE, ACTIVE_RUNS)
        scene.leave(store, epoch)
        told += [cost(scene, "watch", run_id), cost(scene, "status", run_id)]
        costs.append(told)
    for (small_calls, small_bytes), (large_calls, large_bytes) in zip(*costs[1:], strict=True):
        assert small_calls == large_calls
        assert abs(small_bytes - large_bytes) < 200


def test_status_results(scene: Scene) -> None:
    """``--tasks`` adds every outcome by name, all with the same fields."""
    busy_run(scene)
    results = json.loads(scene.cli("status", "run-1", "--tasks", "--json").stdout)["results"]
    assert list(results) == ["done", "bad", "lost"]
    assert results["done"]["data"] == {"rows": 3}
    assert results["done"]["error"] is results["done"]["message"] is None
    assert results["bad"]["error"].startswith("ValueError: no\nsuch day")
    assert results["lost"]["status"] == "unknown"


def test_every_task_in_a_table(scene: Scene) -> None:
    """With a header; what waits has the attempt that is next, and when it begins."""
    busy_run(scene)
    table = scene.cli("status", "run-1", "--tasks").stdout.partition("\n\n")[2].splitlines()
    assert table[0] == "STATUS     TRY     TOOK  TASK"
    assert table[1] == "success      1           done"
    assert table[5] == "waiting      2           later: attempt 2 in 4 min"
    assert table[6] == "pending                  open"


def test_a_loop_that_waits(scene: Scene) -> None:
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


def test_status_says_what_it_waits_for(scene: Scene) -> None:
    """Unknown and failed tasks, retries, and queues without workers are named, with commands."""
    busy_run(scene)
    scene.client.rpush("rq:queue:default", "run-1-1-1")
    text = scene.cli("status", "run-1").stdout
    assert "distflow resolve run-1 lost --done [JSON] | --retry | --fail" in text
    assert "bad: ValueError: no such day xxx" in text
    assert "later: attempt 2 in 4 min" in text
    assert re.search(r"busy: .* on worker-9", text)
    assert "tasks wait and nobody listens to queue 'default'" in text
    assert "distflow worker default" in text
    assert "distflow resume" not in text


def test_status_says_that_workers_are_suspended(scene: Scene) -> None:
    """Of a run that stands, with the command that lets them go on."""
    store, epoch = scene.open_run("a")
    store.renew_lease("anna", epoch, 60.0, queued=1, waiting=0)
    suspend(scene.client)
    said = "waits for  its workers: they are suspended\n           rq resume\n"
    assert said in scene.cli("status", "run-1").stdout
    resume(scene.client)
    assert "suspended" not in scene.cli("status", "run-1").stdout


@pytest.mark.parametrize("words", [("status", "run-1"), ("status", "run-1", "--tasks"), ("runs",)])
def test_eighty_columns(scene: Scene, words: tuple[str, ...]) -> None:
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
def test_nobody_leads(scene: Scene, status: RunStatus, command: str | None) -> None:
    """A run that stands still says with which command it goes on."""
    store, epoch = scene.open_run("a")
    if status != RunStatus.RUNNING:
        store.set_status(status, ACTIVE_RUNS, reason="by hand")
    scene.leave(store, epoch)
    text = scene.cli("status", "run-1").stdout
    assert re.findall(r"^ +distflow (\w+) run-1$", text, re.MULTILINE) == (
        [command] if command else []
    )


def test_status_of_an_unfinished_submit(scene: Scene) -> None:
    """A run whose submit was cut off says so, and how to remove it."""
    scene.store().create_run(make_spec(), "creation")
    text = scene.cli("status", "run-1").stdout
    assert "creating" in text
    assert "distflow delete run-1" in text


def test_many_failures_are_capped(scene: Scene) -> None:
    """However many tasks failed, a few are named and the rest counted."""
    names = [f"t{number}" for number in range(25)]
    store, epoch = scene.open_run(*names)
    for name in names:
        scene.settle(store, epoch, name, "failure", error="OSError: no")
    scene.leave(store, epoch)
    text = scene.cli("status", "run-1").stdout
    assert text.count("OSError") == 10
    assert "and 15 more" in text


def test_tolerated_failures_stand_apart(scene: Scene) -> None:
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


def test_no_such_run(scene: Scene) -> None:
    """A run id that is not there is one line and exit 2, for each command that takes one."""
    for command in ("status", "watch", "export", "delete"):
        assert "no run 'nope'" in scene.refused(command, "nope")
    assert "no run 'nope'" in scene.refused("show", "nope", "a")
    assert "no run 'nope'" in scene.refused("graph", "--run", "nope")


def test_runs(scene: Scene) -> None:
    """Runs are listed newest first; one whose keys are gone is passed over, and left alone."""
    for run_id in ("first", "ghost", "last"):
        scene.open_run("a", "b", run_id=run_id)
    scene.client.delete(*scene.client.keys("distflow:{ghost}:*"))
    result = scene.cli("runs")
    assert [line.split()[0] for line in result.stdout.splitlines()] == ["RUN", "last", "first"]
    assert "0/2" in result.stdout
    documents = json.loads(scene.cli("runs", "--json").stdout)
    assert [document["run_id"] for document in documents] == ["last", "first"]
    assert documents[0]["tasks"]["total"] == 2
    assert scene.client.zscore("distflow:runs", "ghost") is not None


def test_a_long_run_id_moves_its_own_row_alone(scene: Scene) -> None:
    """The id is there to be copied whole, and every other row fits the terminal."""
    long_id = "x" * 90
    for run_id in ("short", long_id):
        scene.open_run("a", run_id=run_id)
    header, first, second = scene.cli("runs").stdout.splitlines()
    assert first.startswith(long_id)
    assert max(len(header), len(second)) <= WIDTH
    assert second.index("running") == header.index("STATUS")


def test_no_runs(scene: Scene) -> None:
    """An empty Redis is an empty list, and no error."""
    result = scene.cli("runs")
    assert (result.exit_code, result.stdout) == (0, "")
    assert json.loads(scene.cli("runs", "--json").stdout) == []


def test_show_tells_the_story(scene: Scene) -> None:
    """A task's result, error, traceback, worker and earlier attempts are shown."""
    store, epoch = scene.open_run("a")
    claim(store, epoch, "a", "t1")
    finish(store, epoch, again("a", "t1"))
    claim(store, epoch, "a", "t2")
    trace = "Traceback:\n  line 7"
    failed = final("a", "t2", "failure", attempt=2, error="ValueError: bad", traceback=trace)
    finish(store, epoch, failed)
    text = scene.cli("show", "run-1", "a").stdout
    assert re.search(r"^attempt +2$", text, re.MULTILINE)
    assert "ValueError: bad" in text
    assert "  Traceback:\n    line 7" in text
    assert re.search(r"retried, attempt 1: failure, by w1\n    OSError: no", text)
    document = json.loads(scene.cli("show", "run-1", "a", "--json").stdout)
    assert document["status"] == document["result"]["status"] == "failure"
    assert [entry["kind"] for entry in document["history"]] == ["retried"]
    assert document["history"][0]["result"]["error"] == "OSError: no"


def test_show_a_value(scene: Scene) -> None:
    """A success shows what the function returned."""
    store, epoch = scene.open_run("a", "b")
    scene.settle(store, epoch, "a", "success", data={"rows": 3}, worker="w1")
    scene.settle(store, epoch, "b", "success", data=None)
    text = scene.cli("show", "run-1", "a").stdout
    assert '"rows": 3' in text
    assert re.search(r"^worker +w1$", text, re.MULTILINE)
    assert re.search(r"^result +null$", scene.cli("show", "run-1", "b").stdout, re.MULTILINE)


def test_show_a_task_at_work(scene: Scene) -> None:
    """What a worker holds is shown with the worker, and what waits for a time with the time."""
    busy_run(scene)
    busy = json.loads(scene.cli("show", "run-1", "busy", "--json").stdout)
    assert (busy["status"], busy["claim"]["worker"]) == ("running", "worker-9")
    assert "worker-9" in scene.cli("show", "run-1", "busy").stdout
    later = json.loads(scene.cli("show", "run-1", "later", "--json").stdout)
    assert (later["status"], later["next_attempt"]) == ("waiting", 2)
    assert f"attempt 2 at {later['waits_until']}" in scene.cli("show", "run-1", "later").stdout


def test_show_dependencies(scene: Scene) -> None:
    """A task that waits names the dependencies that it waits for."""
    tasks = [
        Task("a", "pkg.tasks:work"),
        Task("b", "pkg.tasks:work"),
        Task("c", "pkg.tasks:work", depends_on=("a", "b"), queue="gpu"),
    ]
    store, epoch = scene.open_graph(tasks)
    scene.settle(store, epoch, "a", "success")
    document = json.loads(scene.cli("show", "run-1", "c", "--json").stdout)
    assert document["dependencies"] == {"a": "success", "b": "pending"}
    assert re.search(r"^waits for +b$", scene.cli("show", "run-1", "c").stdout, re.MULTILINE)
    scene.settle(store, epoch, "b", "success")
    assert "a worker of queue 'gpu'" in scene.cli("show", "run-1", "c").stdout


def test_show_tells_the_outcome_first(scene: Scene) -> None:
    """However many dependencies a task has, its result comes before them: first those that are no
    success.
    """
    names = [f"t{number}" for number in range(15)]
    sources = [Task(name, "pkg:f", continue_on_error=True) for name in names]
    store, epoch = scene.open_graph([*sources, Task("sum", "pkg:f", depends_on=tuple(names))])
    waiting = scene.cli("show", "run-1", "sum").stdout
    assert f"waits for  {', '.join(names)}\n" in waiting
    for name in names:
        scene.settle(store, epoch, name, "failure" if name == "t14" else "success")
    scene.settle(store, epoch, "sum", "success", data=7)
    lines = scene.cli("show", "run-1", "sum").stdout.splitlines()
    told = [line.split(maxsplit=2)[2] for line in lines if line.startswith("depends on")]
    assert told[:2] == ["t14: failure", "t0: success"]
    assert len(told) == len(names)
    labels = [line.split()[0] for line in lines]
    assert labels.index("result") < labels.index("depends")


def test_what_is_piped_is_never_cut(scene: Scene) -> None:
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


def test_show_guesses_the_name(scene: Scene) -> None:
    """A misspelt task is answered with the closest name."""
    scene.open_run("charge_3", "report")
    assert "did you mean 'charge_3'?" in scene.refused("show", "run-1", "charge3")


def test_graph_of_a_run(scene: Scene) -> None:
    """A run is drawn as it stands, running tasks too, in both languages."""
    busy_run(scene)
    mermaid = scene.cli("graph", "--run", "run-1").stdout
    for label in ("done<br/>success", "busy<br/>running", "later<br/>waiting", "open<br/>pending"):
        assert f'["{label}"]' in mermaid
    dot = scene.cli("graph", "--run", "run-1", "--format", "dot").stdout
    assert 'label="lost\\nunknown", style=filled' in dot


def test_graph_of_a_workflow(scene: Scene, tmp_path: Path) -> None:
    """A workflow is drawn without any Redis, to stdout or into a file."""
    scene.url = "redis://localhost:1"
    words = ("graph", "tests.support.tasks.recording:payment", "-p", "log=l", "-p", "gate=g")
    text = scene.cli(*words).stdout
    assert 'n1["charge"]' in text
    assert "n0 --> n1" in text
    target = tmp_path / "dag.mmd"
    assert scene.cli(*words, "-o", target).exit_code == 0
    assert target.read_text() == text


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "give MODULE:WORKFLOW or --run"),
        (("tests.support.tasks.recording:payment", "--run", "run-1"), "give MODULE:WORKFLOW or"),
        (("tests.support.tasks.recording:paymint",), "did you mean 'payment'?"),
        (("tests.support.tasks.recording:payment",), "log"),
        (("--run", "run-1", "-p", "log=l"), "-p is for MODULE:WORKFLOW"),
    ],
)
def test_graph_usage(scene: Scene, words: tuple[str, ...], said: str) -> None:
    """Bad input to graph is one line that names the mend."""
    assert said in scene.refused("graph", *words)


def test_an_interruption_is_told_once(scene: Scene) -> None:
    """The status says it already."""
    store, _epoch = scene.open_run("a")
    store.set_status(RunStatus.INTERRUPTED, ACTIVE_RUNS, reason="interrupted")
    text = scene.cli("status", "run-1").stdout
    assert re.search(r"^status +interrupted$", text, re.MULTILINE)
