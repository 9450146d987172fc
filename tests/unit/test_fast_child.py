"""What the child of a FastWorker does with the batches that it is handed: without RQ's Redis."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from multiprocessing import Pipe
from typing import Any

import msgpack
import pytest
from redis import Redis
from rq import get_current_job
from rq.job import Job
from rq.serializers import DefaultSerializer

from distflow_worker import fast_child
from distflow_worker.child import Answer, Order
from distflow_worker.fast_child import BatchServing

ORDER = Order("job", "queue", "taken", "described", b"payload")

#: More than any test needs.
PLENTY = {"jobs": 1000, "rss_mb": 1 << 20}


class Worker:
    """As much of RQ's worker as the child asks for."""

    name = "w1"
    #: Nobody asks it for anything.
    connection = Redis(port=1)
    job_class = Job
    serializer = DefaultSerializer

    def __init__(self) -> None:
        self.handled: list[BaseException] = []

    def setup_work_horse_signals(self) -> None:
        """Nothing: the tests have their own."""

    def handle_exception(self, _job: Job, _kind: type, error: BaseException, _trace: Any) -> None:
        """Note it."""
        self.handled.append(error)


class Serving:
    """The worker's side of a child that serves on a thread of this process."""

    def __init__(self, worker: Worker, **limits: int) -> None:
        mine, theirs = Pipe()
        self._mine, self._theirs = mine, theirs
        rqs: Any = worker
        serving = BatchServing(rqs, theirs, **{**PLENTY, **limits})
        self._thread = threading.Thread(target=serving.run)
        self._thread.start()

    def give(self, order: Order = ORDER) -> Answer:
        """Hand a batch over, and wait for its answer."""
        self._mine.send_bytes(msgpack.packb(order))
        assert self._mine.poll(10.0)
        return Answer(*msgpack.unpackb(self._mine.recv_bytes()))

    def hang_up(self) -> None:
        """The worker is gone."""
        self._mine.close()

    def join(self) -> None:
        """Wait for the child's end."""
        self._thread.join(10.0)
        assert not self._thread.is_alive()

    def close(self) -> None:
        """End it."""
        self._mine.close()
        self.join()
        self._theirs.close()


@pytest.fixture
def worker() -> Worker:
    """A worker."""
    return Worker()


@pytest.fixture
def serve(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Serving]]:
    """``serve(take, **limits)``: a child whose batches call ``take``."""
    monkeypatch.setattr(fast_child, "take_signals", lambda: None)
    monkeypatch.setattr(fast_child, "_LOOK_SECONDS", 0.02)
    made: list[Serving] = []

    def start(take: Callable[..., bool] = lambda *_words: True, **limits: int) -> Serving:
        monkeypatch.setattr(fast_child, "take_batch", take)
        made.append(Serving(worker, **limits))
        return made[-1]

    yield start
    for serving in made:
        serving.close()


def test_it_takes_batch_after_batch(serve: Callable[..., Serving]) -> None:
    """Each as RQ's work horse would: with its job as the current one."""
    seen: list[tuple[Any, ...]] = []

    def take(payload: bytes, _client: object, worker: str, job: str) -> bool:
        current = get_current_job()
        assert current is not None
        seen.append((payload, worker, job, current.id, current.origin, os.environ["RQ_JOB_ID"]))
        return True

    serving = serve(take)
    for name in ("job-1", "job-2"):
        assert serving.give(ORDER._replace(job=name)) == Answer("", last=False)
    assert seen == [(b"payload", "w1", name, name, "queue", name) for name in ("job-1", "job-2")]
    assert os.environ["RQ_WORKER_ID"] == "w1"


def test_an_error_is_told_and_handled(serve: Callable[..., Serving], worker: Worker) -> None:
    """RQ's handlers get it here; the worker, its last words. A process that may be broken ends."""

    def take(*_words: object) -> bool:
        raise SystemExit("enough")

    answer = serve(take).give()
    assert answer.last
    assert answer.error.endswith("SystemExit: enough\n")
    assert [str(error) for error in worker.handled] == ["enough"]


@pytest.mark.parametrize("limits", [{"jobs": 1}, {"rss_mb": -(1 << 20)}])
def test_it_ends_when_it_has_had_enough(
    serve: Callable[..., Serving], limits: dict[str, int]
) -> None:
    """Enough batches, or too much memory: its last answer says so."""
    serving = serve(**limits)
    assert serving.give().last
    serving.join()


def test_it_ends_when_it_is_unfit(serve: Callable[..., Serving]) -> None:
    """A batch may leave a process that no other should meet."""
    serving = serve(lambda *_words: False)
    assert serving.give() == Answer("", last=True)
    serving.join()


def test_it_ends_with_its_worker(
    serve: Callable[..., Serving], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its channel closes, or, where another child holds that, its parent is another."""
    serving = serve()
    serving.hang_up()
    serving.join()
    orphan = serve()
    monkeypatch.setattr(os, "getppid", lambda: -1)
    orphan.join()
