"""Runs go from one real Redis to another, while they go on."""

from __future__ import annotations

import io
import itertools
import json
import random
import threading
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from distflow import transfer
from distflow.client import connect
from distflow.codec import decode_result
from distflow.coordinator.reopen import read_graph, reopen_run
from distflow.core.claim import Finish, Progress
from distflow.core.model import Effects, Task, TaskResult
from distflow.core.run import RunInfo, RunOptions, RunSpec, ServerFacts, TaskCut
from distflow.core.status import RunStatus, TaskStatus
from distflow.errors import (
    InvalidInput,
    RedisUnavailable,
    RunExists,
    RunNotFound,
    SnapshotInvalid,
    WrongState,
)
from distflow.fingerprint import fingerprint
from distflow.ids import new_token
from distflow.snapshot import Snapshot
from distflow.store.redis import RedisRunStore, list_runs
from distflow.transfer import export_run, import_run
from tests.conftest import StartWorker
from tests.support.redis_server import RedisServer
from tests.support.stores import again, claim, final, finish, list_active_runs, outcome
from tests.support.tasks.recording import lines, random_dag
from tests.support.wait import wait_for

SUCCESS, UNKNOWN, FAILURE = TaskStatus.SUCCESS, TaskStatus.UNKNOWN, TaskStatus.FAILURE
SPEC_OPTIONS = RunOptions(3, 60.0, "pkg.module:factory", 1000)
ONCE: Effects = "at_most_once"


@pytest.fixture
def here(redis_client: Redis) -> Callable[[str], RedisRunStore]:
    """Makes stores of runs on the first Redis."""
    return lambda run_id: RedisRunStore(redis_client, run_id, patience_seconds=5)


@pytest.fixture
def there_client(fresh_redis: RedisServer) -> Iterator[Redis]:
    """A client of the other Redis."""
    with fresh_redis.client() as client:
        yield client


@pytest.fixture
def there(there_client: Redis) -> Callable[[str], RedisRunStore]:
    """Makes stores of runs on the other Redis."""
    return lambda run_id: RedisRunStore(there_client, run_id, patience_seconds=5)


def make_run(store: RedisRunStore, tasks: Sequence[Task], chunk: int = 4096) -> int:
    """Create a run of tasks and lead it; returns the epoch."""
    params = {"day": "2026-01-01"}
    server = ServerFacts("aof-always")
    spec = RunSpec(store.run_id, "pkg.flows:etl", params, "0123abcd", SPEC_OPTIONS, server)
    store.create_run(spec, "creation")
    for number, start in enumerate(range(0, len(tasks), chunk)):
        store.append_tasks("creation", number, tasks[start : start + chunk])
    store.seal_run("creation", len(tasks))
    return store.acquire_lease("anna", 60.0)


def complete(store: RedisRunStore, epoch: int, task: str, status: str = "success") -> None:
    """Let a worker claim a task and record how it ended."""
    token = new_token()
    assert claim(store, epoch, task, token, batch=token).code.name == "GRANTED"
    finish(store, epoch, final(task, token, status), batch=token)


def facts(info: RunInfo) -> tuple[Any, ...]:
    """What of a run must survive its journey."""
    fixed = (info.workflow, info.params, info.origin, info.options, info.total)
    return (*fixed, {name: count for name, count in info.counts.items() if name in outcomes})


outcomes = ("success", "failure", "skipped", "cancelled", "unknown")


def test_a_run_in_every_state_goes_elsewhere(
    here: Callable[[str], RedisRunStore], there: Callable[[str], RedisRunStore], tmp_path: Path
) -> None:
    """Graph, outcomes, progress, parameters, origin and options arrive; leaders do not."""
    tasks = [Task(name, "pkg:f", args=((1, name),)) for name in (*outcomes, "waits", "new")]
    tasks += [Task("last", "pkg:g", depends_on=("success",))]
    store = here("run-1")
    epoch = make_run(store, tasks, chunk=3)
    for status in outcomes:
        complete(store, epoch, status, status)
    claim(store, epoch, "waits", "t1")
    finish(store, epoch, again("waits", "t1", attempt=1, delay_ms=60_000, base=1, lost=2))
    before = store.read_info()
    path = tmp_path / "run-1.snapshot"
    summary = export_run(store, path)
    assert summary.outcomes == dict.fromkeys(outcomes, 1)
    assert (summary.run_id, summary.live, summary.tasks) == ("run-1", True, 8)
    assert summary.size == path.stat().st_size
    assert import_run(path, there, server=ServerFacts(durability="rdb")) == "run-1"
    copy = there("run-1")
    info = copy.read_info()
    assert facts(info) == facts(before)
    assert (info.status, info.coordinator, info.durability) == (RunStatus.RUNNING, None, "rdb")
    assert [task for chunk in copy.iter_tasks() for task in chunk] == tasks
    names = [task.name for task in tasks]
    assert copy.read_results(names) == store.read_results(names)
    expected = {name: known._replace(token="") for name, known in store.read_progress().items()}
    assert copy.read_progress() == expected
    assert expected["waits"].not_before > 0
    loaded = Snapshot.load(path)
    assert loaded.fingerprints == {task.name: fingerprint(task) for task in tasks}


def test_an_ended_run_is_not_live(
    here: Callable[[str], RedisRunStore], there: Callable[[str], RedisRunStore], tmp_path: Path
) -> None:
    """Live is an original that may go on: a claim that is held is enough."""
    store = here("run-1")
    epoch = make_run(store, [Task("a", "pkg:f", effects=ONCE), Task("b", "pkg:f")])
    path = tmp_path / "s"
    store.set_status(RunStatus.FAILURE, {RunStatus.RUNNING}, epoch=epoch)
    ended = export_run(store, path)
    assert (ended.live, ended.once, Snapshot.load(path).live) == (False, 1, False)
    import_run(path, there)
    assert there("run-1").read_info().gap is False
    store.set_status(RunStatus.RUNNING, {RunStatus.FAILURE}, epoch=epoch)
    claim(store, epoch, "b", "t1")
    store.set_status(RunStatus.CANCELLED, {RunStatus.RUNNING}, epoch=epoch)
    assert export_run(store, path).live is True


def test_a_run_that_is_resumed_while_it_is_exported_is_live(
    here: Callable[[str], RedisRunStore], redis_client: Redis, tmp_path: Path
) -> None:
    """Also where it has ended again before the export does."""

    def resume() -> None:
        epoch = here("run-1").acquire_lease("eva", 60.0, force=True)
        assert epoch > 0

    make_ended = here("run-1")
    epoch = make_run(make_ended, [Task("a", "pkg:f")])
    make_ended.set_status(RunStatus.FAILURE, {RunStatus.RUNNING}, epoch=epoch)
    store = HookedStore(redis_client, "run-1", hook=resume)
    summary = export_run(store, tmp_path / "s")
    assert (store.read_status(), summary.live) == (RunStatus.FAILURE, True)
    assert Snapshot.load(tmp_path / "s").live is True


@pytest.mark.parametrize(
    ("ends", "gap"),
    [
        (None, True),
        ("claimed", True),
        (TaskResult(TaskStatus.SKIPPED), True),
        (TaskResult(FAILURE), True),
        ("started", False),
        (TaskResult(SUCCESS), False),
        (TaskResult(FAILURE, started=True), False),
    ],
)
def test_a_live_export_may_leave_a_gap(
    here: Callable[[str], RedisRunStore],
    there: Callable[[str], RedisRunStore],
    there_client: Redis,
    tmp_path: Path,
    ends: str | TaskResult | None,
    gap: bool,
) -> None:
    """Where the original may start an at_most_once task that the copy may start too: the copy
    says so, and no service adopts it unasked.
    """
    store = here("run-1")
    epoch = make_run(store, [Task("pay", "pkg:f", effects=ONCE), Task("b", "pkg:f")])
    if ends is not None:
        claim(store, epoch, "pay", "t1", start=ends != "claimed")
    if isinstance(ends, TaskResult):
        finish(store, epoch, final("pay", "t1", ends.status, started=ends.started))
    export_run(store, tmp_path / "s")
    import_run(tmp_path / "s", there)
    assert there("run-1").read_info().gap is gap
    assert list_active_runs(there_client) == ([] if gap else ["run-1"])


def test_what_started_at_most_once_is_unknown_elsewhere(
    here: Callable[[str], RedisRunStore], there: Callable[[str], RedisRunStore], tmp_path: Path
) -> None:
    """Promise 3: it does not start again there, until resolve --retry; the attempts go on."""
    store = here("run-1")
    names = ("pay", "held", "normal")
    effects: tuple[Effects, ...] = (ONCE, ONCE, "normal")
    tasks = [Task(name, "pkg:f", effects=kind) for name, kind in zip(names, effects, strict=True)]
    epoch = make_run(store, tasks)
    claim(store, epoch, "pay", "t0")
    finish(store, epoch, again("pay", "t0"))
    for name in names:
        claim(store, epoch, name, f"token of {name}", batch=name, start=name != "held")
    export_run(store, tmp_path / "s")
    import_run(tmp_path / "s", there, run_id="copy")
    copy = there("copy")
    assert [cut.packed is not None for cut in copy.read_cut(names)] == [True, False, False]
    known = decode_result(copy.read_results(["pay"])[0] or b"")
    assert (known.status, known.attempt, known.started) == (UNKNOWN, 2, True)
    assert copy.read_progress()["pay"] == Progress(3, started=True)
    epoch = copy.acquire_lease("eva", 60.0)
    assert claim(copy, epoch, "pay", "t2").code.name == "DONE"
    # The worker of the original knows nothing of the copy, whatever it sends there.
    late = final("pay", "token of pay", attempt=2)
    assert finish(copy, epoch, late).name == "REFUSED"
    copy.resolve_task("op", "pay", "retry", b"", "eva", "")
    assert claim(copy, epoch, "pay", "t3")[:2] == (1, 3)


class HookedStore(RedisRunStore):
    """Calls a function after every cut."""

    def __init__(self, client: Redis, run_id: str, *, hook: Callable[[], None]) -> None:
        super().__init__(client, run_id, patience_seconds=5)
        self.hook = hook
        self.cuts: list[int] = []

    def read_cut(self, names: Sequence[str]) -> list[TaskCut]:
        found = super().read_cut(names)
        self.cuts.append(len(names))
        self.hook()
        return found


def shuffled_dag(count: int, seed: int) -> list[Task]:
    """Tasks in random order, with forward references."""
    rng = random.Random(seed)
    tasks = [
        Task(
            f"t{n}",
            "pkg:f",
            depends_on=tuple({f"t{rng.randrange(n)}" for _ in range(rng.randrange(4)) if n}),
            continue_on_error=n % 5 == 0,
        )
        for n in range(count)
    ]
    rng.shuffle(tasks)
    return tasks


def broken_dependencies(path: Path, tasks: Sequence[Task]) -> list[str]:
    """Dependencies of a success that are in an export neither done, tolerated nor superseded."""
    snapshot = Snapshot.load(path)
    superseded = json.loads(snapshot.to_json())["superseded"]
    tolerated = {task.name for task in tasks if task.continue_on_error}
    return [
        f"{task.name} needs {name}"
        for task in tasks
        if task.name in snapshot and snapshot[task.name].status == SUCCESS
        for name in task.depends_on
        if not (name in snapshot and snapshot[name].status == SUCCESS)
        and not (name in snapshot and snapshot[name].status == FAILURE and name in tolerated)
        and name not in superseded
    ]


def in_order(tasks: Sequence[Task]) -> list[str]:
    """Names, dependencies first."""
    return sorted((task.name for task in tasks), key=lambda name: int(name[1:]))


@pytest.mark.parametrize("seed", range(3))
def test_the_cut_is_consistent_at_any_pace(
    here: Callable[[str], RedisRunStore],
    redis_client: Redis,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    seed: int,
) -> None:
    """Promise 6: while tasks end between any two reads, a success has what it rests on."""
    monkeypatch.setattr(transfer, "CUT_TASKS", 7)
    tasks = shuffled_dag(150, seed)
    epoch = make_run(here("run-1"), tasks, chunk=40)
    todo = iter(in_order(tasks))

    def work() -> None:
        for name in itertools.islice(todo, 8):
            tolerated = int(name[1:]) % 5 == 0
            complete(here("run-1"), epoch, name, "failure" if tolerated else "success")

    store = HookedStore(redis_client, "run-1", hook=work)
    summary = export_run(store, tmp_path / "s")
    assert len(store.cuts) == 22
    assert 0 < sum(summary.outcomes.values()) < 150
    assert broken_dependencies(tmp_path / "s", tasks) == []


def test_the_cut_is_consistent_beside_a_thread(
    here: Callable[[str], RedisRunStore], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Promise 6, with a thread that records outcomes as fast as it can."""
    monkeypatch.setattr(transfer, "CUT_TASKS", 5)
    tasks = shuffled_dag(400, 7)
    epoch = make_run(here("run-1"), tasks)
    began = threading.Event()

    def work() -> None:
        for name in in_order(tasks):
            complete(here("run-1"), epoch, name)
            began.set()

    worker = threading.Thread(target=work)
    worker.start()
    assert began.wait(10)
    seen = set()
    while worker.is_alive():
        summary = export_run(here("run-1"), tmp_path / "s")
        seen.add(sum(summary.outcomes.values()))
        assert broken_dependencies(tmp_path / "s", tasks) == []
    worker.join()
    assert len(seen) > 1


def test_a_tolerated_failure_that_was_set_aside_is_superseded(
    here: Callable[[str], RedisRunStore], redis_client: Redis, tmp_path: Path
) -> None:
    """Promise 6: what a success rests on is found in the history, whatever became of the task."""
    tasks = [Task(name, "pkg:f", continue_on_error=True) for name in ("a", "big", "idle")]
    tasks += [Task("end", "pkg:g", depends_on=("a", "big"))]
    store = here("run-1")
    epoch = make_run(store, tasks)
    for name, data in (("a", "why"), ("big", "x" * 70_000), ("idle", None)):
        claim(store, epoch, name, name)
        finish(store, epoch, final(name, name, "failure", data=data))
    complete(store, epoch, "end")
    store.set_status(RunStatus.FAILURE, {RunStatus.RUNNING}, epoch=epoch)
    reopen_run(store, epoch, read_graph(store))
    complete(store, epoch, "a", "skipped")
    path = tmp_path / "s"
    assert export_run(store, path).superseded == 2
    assert broken_dependencies(path, tasks) == []
    plain = json.loads(Snapshot.load(path).to_json())
    assert sorted(plain["superseded"]) == ["a", "big"]
    assert plain["superseded"]["a"]["data"] == "why"
    assert "too large for the history: 70" in plain["superseded"]["big"]["message"]
    assert plain["results"]["a"]["status"] == "skipped"


@contextmanager
def traced() -> Iterator[None]:
    """Memory is measured for a block, and not for what comes after one that fails."""
    tracemalloc.start()
    try:
        yield
    finally:
        tracemalloc.stop()


def test_large_results_are_read_a_few_at_a_time(
    here: Callable[[str], RedisRunStore],
    there: Callable[[str], RedisRunStore],
    redis_client: Redis,
    tmp_path: Path,
) -> None:
    """Cuts and records adapt to the size of results: memory does not grow with them."""
    count, size = 120, 300_000
    store = HookedStore(redis_client, "run-1", hook=lambda: None)
    epoch = make_run(here("run-1"), [Task(f"t{n}", "pkg:f") for n in range(count)])
    packed = outcome("success", data="x" * size)
    done = [Finish(f"t{n}", f"k{n}", 1, "final", "success", packed) for n in range(count)]
    for chunk in range(0, count, 40):
        for known in done[chunk : chunk + 40]:
            claim(store, epoch, known.task, known.token)
        store.advance(epoch, "b1", finishes=done[chunk : chunk + 40])
    export_run(store, tmp_path / "s")
    assert store.cuts[:2] == [100, 13]
    with traced():
        import_run(tmp_path / "s", there)
        _now, peak = tracemalloc.get_traced_memory()
    assert peak < 20 * 2**20
    assert there("run-1").read_info().counts["success"] == count


def test_memory_per_task_is_bounded(
    here: Callable[[str], RedisRunStore], there: Callable[[str], RedisRunStore], tmp_path: Path
) -> None:
    """At most 200 bytes for each further task, for export and for import."""
    peaks: dict[str, list[int]] = {"export": [], "import": []}
    small, large = 1024, 6144
    for count in (small, large):
        store = here(f"run-{count}")
        tasks = [
            Task(f"extract_{n}", "pkg:f", args=(n,), depends_on=(f"extract_{n - 1}",) if n else ())
            for n in range(count)
        ]
        make_run(store, tasks, chunk=512)
        del tasks
        path = tmp_path / store.run_id
        with traced():
            export_run(store, path)
            peaks["export"].append(tracemalloc.get_traced_memory()[1])
            tracemalloc.reset_peak()
            import_run(path, there)
            peaks["import"].append(tracemalloc.get_traced_memory()[1])
    for before, after in peaks.values():
        assert (after - before) / (large - small) < 200


def test_an_existing_run_is_not_touched(
    here: Callable[[str], RedisRunStore], tmp_path: Path
) -> None:
    """RunExists names it; another id makes another run, of the same origin."""
    store = here("run-1")
    make_run(store, [Task("a", "pkg:f")])
    export_run(store, tmp_path / "s")
    before = store.read_info()
    with pytest.raises(RunExists, match="run 'run-1' exists already: take another --run-id"):
        import_run(tmp_path / "s", here)
    after = store.read_info()
    assert (after.created_at, after.epoch, after.coordinator) == (
        before.created_at,
        before.epoch,
        before.coordinator,
    )
    assert import_run(tmp_path / "s", here, run_id="run-2") == "run-2"
    assert here("run-2").read_info().origin == before.origin
    with pytest.raises(InvalidInput, match="run id 'a b' is not usable"):
        import_run(tmp_path / "s", here, run_id="a b")


def test_a_bad_file_makes_no_run(
    here: Callable[[str], RedisRunStore],
    there: Callable[[str], RedisRunStore],
    there_client: Redis,
    tmp_path: Path,
) -> None:
    """Damaged, JSON, or made from a mapping: refused by name before anything is written."""
    store = here("run-1")
    make_run(store, [Task("a", "pkg:f")])
    path = tmp_path / "s"
    export_run(store, path)
    damaged = bytearray(path.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    path.write_bytes(damaged)
    with pytest.raises(SnapshotInvalid, match=f"{path}: fails its checksum"):
        import_run(path, there)
    export_run(store, path, as_json=True)
    with pytest.raises(SnapshotInvalid, match=f"{path}: JSON is for reading and cannot be"):
        import_run(path, there)
    Snapshot({"a": {"status": "success"}}).dump(path)
    with pytest.raises(SnapshotInvalid, match=f"{path}: was made from a mapping .* --snapshot"):
        import_run(path, there)
    assert there_client.dbsize() == 0


class FailingStore(RedisRunStore):
    """Loses its Redis in the middle of an import; ``dies`` for good."""

    dies = False

    def seal_run(self, operation: str, total: int) -> None:
        assert self.read_info().counts["success"] == 1
        raise RedisUnavailable

    def delete_run(self, *, force: bool = False) -> None:
        if self.dies:
            raise RedisUnavailable
        super().delete_run(force=force)


def test_an_import_that_fails_midway_leaves_nothing(
    here: Callable[[str], RedisRunStore], there_client: Redis, tmp_path: Path
) -> None:
    """What it made is deleted; where even that fails, `delete` removes the creating run."""
    store = here("run-1")
    complete(store, make_run(store, [Task("a", "pkg:f")]), "a")
    export_run(store, tmp_path / "s")

    def make(run_id: str) -> RedisRunStore:
        return FailingStore(there_client, run_id)

    with pytest.raises(RedisUnavailable):
        import_run(tmp_path / "s", make)
    assert there_client.dbsize() == 0

    class DyingStore(FailingStore):
        dies = True

    with pytest.raises(RedisUnavailable):
        import_run(tmp_path / "s", lambda run_id: DyingStore(there_client, run_id))
    left = RedisRunStore(there_client, "run-1")
    assert left.read_status() == RunStatus.CREATING
    with pytest.raises(WrongState, match="run run-1 is still being created"):
        export_run(left, tmp_path / "t")
    left.delete_run()
    assert list_runs(there_client) == []
    assert there_client.dbsize() == 0


def test_what_took_the_place_of_an_import_stays(
    here: Callable[[str], RedisRunStore], there_client: Redis, tmp_path: Path
) -> None:
    """A run that somebody deleted and made anew meanwhile is not deleted by the failing import."""
    store = here("run-1")
    make_run(store, [Task("a", "pkg:f")])
    export_run(store, tmp_path / "s")

    class ReplacedStore(RedisRunStore):
        def append_tasks(self, operation: str, chunk: int, tasks: Sequence[Task]) -> None:
            other = RedisRunStore(there_client, self.run_id)
            other.delete_run()
            make_run(other, [Task("b", "pkg:f")])
            super().append_tasks(operation, chunk, tasks)

    with pytest.raises(WrongState, match="is not being created by this operation"):
        import_run(tmp_path / "s", lambda run_id: ReplacedStore(there_client, run_id))
    assert RedisRunStore(there_client, "run-1").read_info().total == 1


def test_a_run_that_goes_away_leaves_no_file(
    here: Callable[[str], RedisRunStore], redis_client: Redis, tmp_path: Path
) -> None:
    """Deleted, or replaced by another of its name, while it was exported: no half a snapshot."""
    store = here("run-1")

    def delete() -> None:
        here("run-1").delete_run(force=True)

    def replace() -> None:
        delete()
        make_run(here("run-1"), [Task("b", "pkg:f")])

    with pytest.raises(RunNotFound):
        export_run(store, tmp_path / "s")
    make_run(store, [Task("a", "pkg:f")])
    with pytest.raises(RunNotFound):
        export_run(HookedStore(redis_client, "run-1", hook=delete), tmp_path / "s")
    make_run(store, [Task("a", "pkg:f")])
    with pytest.raises(WrongState, match="was deleted while it was exported"):
        export_run(HookedStore(redis_client, "run-1", hook=replace), tmp_path / "s")
    assert list(tmp_path.iterdir()) == []


def test_an_export_goes_to_a_stream(here: Callable[[str], RedisRunStore], tmp_path: Path) -> None:
    """`-o -`: the same bytes but for the time; and JSON with the promised keys."""
    store = here("run-1")
    epoch = make_run(store, [Task("a", "pkg:f")])
    claim(store, epoch, "a", "t1")
    finish(store, epoch, final("a", "t1", data={"nan": float("nan")}))
    stream = io.BytesIO()
    summary = export_run(store, stream)
    (tmp_path / "s").write_bytes(stream.getvalue())
    assert Snapshot.load(tmp_path / "s")["a"].attempt == 1
    assert summary.size == len(stream.getvalue())
    text = io.BytesIO()
    export_run(store, text, as_json=True)
    document = json.loads(text.getvalue())
    assert (document["format"], document["version"]) == ("distflow-snapshot", 1)
    assert (document["run_id"], document["workflow"]) == ("run-1", "pkg.flows:etl")
    assert (document["live"], document["params"]) == (True, {"day": "2026-01-01"})
    assert document["results"]["a"]["data"] == {"nan": "nan"}


def test_a_run_goes_on_elsewhere(
    redis_server: RedisServer,
    fresh_redis: RedisServer,
    start_worker: StartWorker,
    tmp_path: Path,
) -> None:
    """Promise 1 over two Redis servers, with real workers: what was done on one does not run on
    the other, and what was not does; the tasks' own log is the witness.
    """
    log, path = tmp_path / "log", tmp_path / "s"
    original = connect(redis_server.url)
    start_worker(redis_server.url)
    run = original.submit(random_dag(seed=1, size=40, log=str(log), seconds=0.02), run_id="r")
    wait_for(lambda: run.info().counts["success"] >= 10, 30, "10 tasks to be done")
    run.pause()
    assert run.wait(30) == RunStatus.PAUSED
    assert run.info().counts["running"] == 0
    summary = export_run(run.store, path)
    assert len(lines(log)) == summary.outcomes["success"] < 40
    other = connect(fresh_redis.url)
    import_run(path, other.store)
    start_worker(fresh_redis.url)
    copy = other.run("r")
    copy.resume()
    assert copy.wait(60) == RunStatus.SUCCESS
    assert sorted(words[0] for words in lines(log)) == sorted(f"t{n}" for n in range(40))
