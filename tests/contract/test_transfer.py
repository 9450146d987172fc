"""Runs go from one real Redis to another, while they go on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from distflow.core.claim import Progress
from distflow.core.model import Effects, Task, TaskResult
from distflow.core.run import RunInfo, ServerFacts
from distflow.core.status import RunStatus, TaskStatus
from distflow.errors import (
    InvalidInput,
    RedisUnavailable,
    RunExists,
    RunNotFound,
    SnapshotInvalid,
    WrongState,
)
from distflow.runs.graph_reader import iter_graph
from distflow.runs.transfer import export_run, import_run
from distflow.snapshot import Snapshot
from distflow.store.redis.listing import list_runs
from distflow.store.redis.store import RedisRunStore
from distflow.wire.codec import decode_result
from distflow.wire.fingerprint import fingerprint
from tests.support.planning import CHUNKS, PLAN, expand, lead
from tests.support.redis_server import RedisServer
from tests.support.stores import (
    again,
    claim,
    final,
    finish,
    list_active_runs,
    resolve,
)
from tests.support.transferring import complete, make_run

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


outcomes = ("success", "failure", "skipped", "cancelled", "unknown")


def facts(info: RunInfo) -> tuple[Any, ...]:
    """What of a run must survive its journey."""
    fixed = (info.workflow, info.params, info.origin, info.options, info.total)
    return (*fixed, {name: count for name, count in info.counts.items() if name in outcomes})


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
    """Where the original may start an at_most_once task that the copy may start too: it is unknown
    in the copy, unless it is said that the original stood still; or the import is refused.
    """
    store = here("run-1")
    epoch = make_run(store, [Task("pay", "pkg:f", effects=ONCE), Task("b", "pkg:f")])
    if ends is not None:
        claim(store, epoch, "pay", "t1", start=ends != "claimed")
    if isinstance(ends, TaskResult):
        finish(store, epoch, final("pay", "t1", ends.status, started=ends.started))
    export_run(store, tmp_path / "s")
    told: list[str] = []
    import_run(tmp_path / "s", there, warn=told.append)
    stands = {"started": UNKNOWN}.get(str(ends), getattr(ends, "status", None))
    copied = there("run-1").read_statuses(["pay", "b"])
    assert copied == [UNKNOWN if gap else stands, None]
    assert there("run-1").read_info().counts["unknown"] == copied.count(UNKNOWN)
    assert bool(told) is gap
    assert list_active_runs(there_client) == ["run-1"]
    import_run(tmp_path / "s", there, run_id="still", gap="run")
    assert there("still").read_statuses(["pay"]) == [stands]
    if gap:
        with pytest.raises(SnapshotInvalid, match="1 task that may run at most once may have"):
            import_run(tmp_path / "s", there, run_id="no", gap="refuse")
        assert list_runs(there_client) == ["run-1", "still"]


def test_an_import_without_some_tasks(
    here: Callable[[str], RedisRunStore], there: Callable[[str], RedisRunStore], tmp_path: Path
) -> None:
    """They are to run, whatever the file has of them; who rests on them is named."""
    tasks = [Task("pay", "pkg:f", effects=ONCE), Task("b", "pkg:f", depends_on=("pay",))]
    store = here("run-1")
    epoch = make_run(store, tasks, chunk=1)
    for task in tasks:
        complete(store, epoch, task.name)
    export_run(store, tmp_path / "s")
    told: list[str] = []
    import_run(tmp_path / "s", there, without=("pay",), warn=told.append)
    assert there("run-1").read_statuses(["pay", "b"]) == [None, SUCCESS]
    assert told[0].startswith("task 'pay' had started, may run at most once, and runs again")
    assert told[1].startswith("task 'b' is kept, although what it rests on runs again")
    with pytest.raises(SnapshotInvalid, match="--except nope: the run has no such task"):
        import_run(tmp_path / "s", there, run_id="copy", without=("nope",))
    with pytest.raises(RunNotFound):
        there("copy").read_status()


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
    import_run(tmp_path / "s", there, run_id="copy", gap="run")
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
    resolve(copy, "op", "pay", "retry", b"", "eva", "")
    assert claim(copy, epoch, "pay", "t3")[:2] == (1, 3)


def test_an_existing_run_is_not_touched(
    here: Callable[[str], RedisRunStore], tmp_path: Path
) -> None:
    """RunExists names it; another id makes another run, of the same origin."""
    store = here("run-1")
    make_run(store, [Task("a", "pkg:f")])
    export_run(store, tmp_path / "s")
    before = store.read_info()
    with pytest.raises(RunExists, match="run 'run-1' exists already: choose another --run-id"):
        import_run(tmp_path / "s", here)
    after = store.read_info()
    assert (after.created_at, after.epoch, after.coordinator) == (
        before.created_at,
        before.epoch,
        before.coordinator,
    )
    assert import_run(tmp_path / "s", here, run_id="run-2") == "run-2"
    assert here("run-2").read_info().origin == before.origin
    with pytest.raises(InvalidInput, match="run id 'a b' is not valid"):
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

    def discard_creation(self, operation: str, *, unlist: bool = False, made: bool = False) -> None:
        if self.dies:
            raise RedisUnavailable
        super().discard_creation(operation, unlist=unlist, made=made)


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


def test_what_a_node_has_added_travels(
    here: Callable[[str], RedisRunStore], there: Callable[[str], RedisRunStore], tmp_path: Path
) -> None:
    """Records, chunks and stand-ins are the same there; a child that is left out runs again, and a
    node that is left out takes its children along.
    """
    store = here("run-1")
    after = Task("after", "m:f", depends_on=("train",))
    epoch = lead(store, PLAN, after)
    expand(store, epoch, "train", "t1", CHUNKS)
    for name in ("train.a", "train.b"):
        complete(store, epoch, name)
    assert export_run(store, tmp_path / "file").tasks == 5
    import_run(tmp_path / "file", there, gap="run")
    copy = there("run-1")
    assert copy.read_expansions() == store.read_expansions()
    assert list(iter_graph(copy)) == list(iter_graph(store)) == [[PLAN, after], *CHUNKS]
    assert copy.read_stand_in("t1") == store.read_stand_in("t1")
    names = ["train", "train.a", "train.b", "train.c", "after"]
    assert copy.read_results(names) == store.read_results(names)
    info = copy.read_info()
    assert (info.total, info.counts["success"], info.queues) == (5, 3, ("default", "gpu"))
    import_run(tmp_path / "file", there, run_id="less", gap="run", without=["train.a"])
    assert there("less").read_statuses(names) == [SUCCESS, None, SUCCESS, None, None]
    import_run(tmp_path / "file", there, run_id="anew", gap="run", without=["train"])
    anew = there("anew")
    assert (anew.read_expansions(), anew.read_info().total) == ({}, 2)
    assert anew.read_statuses(names) == [None] * 5
