"""An export is a consistent cut of its run, whatever happens meanwhile, and takes little memory."""

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

import pytest
from redis import Redis

from distflow.chance import SYSTEM_CHANCE
from distflow.coordinator.growth import GraphGrowth
from distflow.coordinator.reopening import reopen_run
from distflow.coordinator.standing import read_graph
from distflow.core.claim import Finish
from distflow.core.model import Effects, Task
from distflow.core.status import RunStatus, TaskStatus
from distflow.errors import (
    RunNotFound,
    WrongState,
)
from distflow.runs import exporter
from distflow.runs.transfer import export_run, import_run
from distflow.snapshot import Snapshot
from distflow.store.redis.store import RedisRunStore
from tests.support.redis_server import RedisServer
from tests.support.stores import claim, final, finish, outcome
from tests.support.transferring import HookedStore, complete, make_run

SUCCESS, UNKNOWN, FAILURE = TaskStatus.SUCCESS, TaskStatus.UNKNOWN, TaskStatus.FAILURE
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
    monkeypatch.setattr(exporter, "CUT_TASKS", 7)
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
    monkeypatch.setattr(exporter, "CUT_TASKS", 5)
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
    reopen_run(store, epoch, GraphGrowth(store, read_graph(store)), SYSTEM_CHANCE)
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
    with pytest.raises(WrongState, match="was deleted during its export"):
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
