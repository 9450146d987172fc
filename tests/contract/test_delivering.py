"""What a process of this host could not tell Redis is told by whoever works here next."""

from __future__ import annotations

import re
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from rq import SimpleWorker

from distflow.backends.rq_worker import run_worker
from distflow.core.claim import Finish, Growth
from distflow.core.model import Expanded, Task, TaskResult
from distflow.core.status import TaskStatus
from distflow.dispatch.roster import has_worker
from distflow.errors import InvalidInput
from distflow.wire.codec import encode_result
from distflow_worker.delivery import deliver
from distflow_worker.outcomes import Home
from distflow_worker.redis_client import name_of
from distflow_worker.spool import Spool
from tests.contract.working import PREFIX, Working, own_signals
from tests.support.redis_server import RedisServer
from tests.support.stores import claim, final
from tests.support.tasks import recording

TASKS = [Task(name, "tests.support.tasks.behaving:behave", args=(("ok",),)) for name in ("a", "b")]


@pytest.fixture
def working(redis_client: Redis, tmp_path: Path) -> Working:
    """A run of two tasks, of which a worker has claimed ``a``."""
    made = Working(redis_client, tmp_path / "log", *TASKS)
    claim(made.store, made.epoch, "a", "t1", batch="lost")
    return made


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Where outcomes are kept that Redis does not take."""
    path = str(tmp_path / "spool")
    monkeypatch.setenv("DISTFLOW_SPOOL", path)
    return path


@pytest.fixture
def keep(working: Working, folder: str) -> Callable[..., Path]:
    """``keep(finish)``: that worker could not tell its outcome, and is gone; where it is kept."""

    def keep(finish: Finish | None = None, **home: Any) -> Path:
        where = Home(
            name_of(working.client), PREFIX, "run-1", "0f0f", 1, working.epoch, "lost"
        )._replace(**home)
        kept = Spool(folder).keep(where, finish or final("a", "t1", data="brought"))
        kept.let_go()
        return kept.path

    return keep


def delivered(working: Working, folder: str) -> int:
    """Deliver what there is."""
    client = working.client
    return deliver(folder, client, name_of(client), PREFIX)


def work(url: str, *queues: str, **options: object) -> None:
    """``distflow worker --burst`` in this process."""
    with own_signals(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "path", sys.path[:])
        options = {"worker_class": "rq.worker.SimpleWorker", "burst": True, **options}
        run_worker(url, queues, "w1", **options)  # type: ignore[arg-type]


def test_the_next_batch_brings_it(
    working: Working, keep: Callable[..., Path], tmp_path: Path
) -> None:
    """It is no concern of the batch whose it was; nothing runs for it again."""
    path = keep()
    working.send(TASKS[1])
    working.work(SimpleWorker)
    assert working.results()["a"].data == "brought"
    assert working.statuses() == {"a": "success", "b": "success"}
    assert [line[0] for line in recording.lines(tmp_path / "log")] == ["b"]
    assert not path.exists()


def test_a_worker_that_comes_brings_it(
    working: Working, keep: Callable[..., Path], redis_server: RedisServer
) -> None:
    """Nobody need send a batch: that outcome may be all that the run waits for."""
    path = keep()
    work(redis_server.url, "nothing is here")
    assert working.statuses() == {"a": "success"}
    assert not path.exists()


@pytest.mark.parametrize("cautious", [False, True])
def test_a_worker_of_ours_works(
    working: Working, redis_server: RedisServer, *, cautious: bool
) -> None:
    """With the settings that suit distflow, and whatever else the command is given."""
    working.send(TASKS[1])
    work(redis_server.url, "default", cautious=cautious)
    assert working.statuses() == {"b": "success"}
    assert working.results()["b"].worker == "w1"
    # It has signed off.
    assert not has_worker(working.client, "w1")


def test_a_worker_that_cannot_be_is_refused(
    working: Working, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before it has taken anything: a class that is nowhere, a setting that is no number."""
    batch = working.send(TASKS[1])
    with pytest.raises(InvalidInput, match=r"--worker-class 'nowhere\.Worker'.*rq\.worker\.Simple"):
        work(redis_server.url, "default", worker_class="nowhere.Worker")
    monkeypatch.setenv("DISTFLOW_OUTCOME_SECONDS", "soon")
    with pytest.raises(InvalidInput, match="DISTFLOW_OUTCOME_SECONDS='soon'"):
        work(redis_server.url, "default")
    assert working.dispatcher.find_queued("run-1", ["default"]) == {batch.id}


def test_what_nobody_wants_is_dropped(
    working: Working, keep: Callable[..., Path], folder: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A claim that another has by now, a run that is gone, another of its name: each is told."""
    kept = [
        keep(final("a", "stale")),
        keep(final("a", "t2"), run_id="gone"),
        keep(final("a", "t3"), origin="another"),
    ]
    assert delivered(working, folder) == 3
    assert [path for path in kept if path.exists()] == []
    assert working.results() == {}
    for said in ("REFUSED", "run gone: .*its run is gone", "another run has its id"):
        assert [line for line in caplog.messages if re.search(said, line)], said


def test_what_a_newer_release_left_is_for_that(
    working: Working, keep: Callable[..., Path], folder: str
) -> None:
    """This one does not know what its run understands."""
    path = keep(wire=99)
    assert delivered(working, folder) == 0
    assert path.exists()


def test_nothing_is_lost_while_redis_is_away(
    keep: Callable[..., Path], working: Working, folder: str, caplog: pytest.LogCaptureFixture
) -> None:
    """It waits for the next batch, which has something else to do now."""
    path = keep()
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    with Redis(port=port, retry=Retry(NoBackoff(), 0)) as away:
        assert deliver(folder, away, name_of(working.client), PREFIX) == 0
    assert "wait for the next batch" in caplog.text
    assert path.exists()
    assert delivered(working, folder) == 1
    assert working.statuses() == {"a": "success"}


def grown(working: Working, *numbers: int) -> Finish:
    """The success of ``a`` as a node that has expanded, and whose worker has written these chunks;
    it has no place for more than one task more.
    """
    for number in numbers:
        working.store.write_chunk("a", "t1", number, b"\x90")
    done = TaskResult(TaskStatus.SUCCESS, data=Expanded("t1", 1), attempt=1)
    growth = Growth(1, 1, ("default",))
    return final("a", "t1")._replace(packed=encode_result(done), grows=True, growth=growth)


def test_an_expansion_is_brought_too(
    working: Working, keep: Callable[..., Path], folder: str
) -> None:
    """Its chunks have waited in Redis."""
    keep(grown(working, 0, -1))
    assert delivered(working, folder) == 1
    assert working.results()["a"].data == Expanded("t1", 1)
    record = working.store.read_expansion("a")
    assert record is not None
    assert (record.token, record.children) == ("t1", 1)


def test_an_expansion_without_its_chunks_is_made_again(
    working: Working, keep: Callable[..., Path], folder: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Redis has lost them: the outcome is void, and the claim is that of a lost worker."""
    path = keep(grown(working, 0))
    assert delivered(working, folder) == 1
    assert "WRONG_STATE" in caplog.text
    assert not path.exists()
    assert working.results() == {}
    assert working.store.read_expansion("a") is None
    assert working.store.read_claims().keys() == {"a"}


def test_an_expansion_that_has_no_room_fails(
    working: Working, keep: Callable[..., Path], folder: str
) -> None:
    """As it would have with its worker."""
    done = grown(working, 0, -1)
    working.client.hset(working.store.keys.meta, "max_tasks", 2)
    keep(done)
    assert delivered(working, folder) == 1
    result = working.results()["a"]
    assert (result.status, result.data, result.attempt) == ("failure", None, 1)
    assert result.message is not None
    assert result.message.startswith("TooLarge: its 1 task would make the run larger")
    assert working.store.read_expansion("a") is None
