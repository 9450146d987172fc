"""What only Redis can show of the task runner: waits and limits that outlive a coordinator.

The scenarios that mean the same in this process are in the other ``test_runner`` files.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import Any

import pytest
from redis import Redis

from distflow import Loop, Retry, TaskRunnerBuilder, Workflow, connect
from distflow.core.batches import Batch
from distflow.errors import StaleEpoch
from distflow.events.notice import Interrupt
from distflow.ports.dispatcher import Dispatcher
from distflow.runs.client import Client
from distflow.runs.run import Run
from tests.support.stages import Stage, most_at_once
from tests.support.tasks import behaving
from tests.support.wait import stretched, wait_for


@pytest.fixture
def client(on_redis: Stage) -> Client:
    """What users of Redis hold."""
    assert on_redis.redis is not None
    return Client(on_redis.redis)


def lead_until_waiting(run: Run) -> None:
    """Lead a run until a task waits, and leave it as an interrupt does."""
    interrupt = Interrupt()
    executor = run.executor(
        interrupt=interrupt,
        listener=lambda notice: interrupt.set() if notice.kind == "task_retry" else None,
    )
    assert executor.lead() == "interrupted"


@pytest.mark.parametrize("kind", ["backoff", "interval"])
def test_waits_are_durable(on_redis: Stage, client: Client, kind: str) -> None:
    """A backoff and a loop's interval go on after their coordinator has gone: the next try comes
    when it is due, not before, and counts on.
    """
    dag = Workflow("waits")
    if kind == "backoff":
        dag.add("waits", behaving.fail_at, (1,), retry=Retry(1, delay=1.5))
    else:
        dag.add("waits", behaving.count, loop=Loop(behaving.second, 2, interval=1.5))
    run = client.create(dag, {"log": str(on_redis.log)})
    lead_until_waiting(run)
    assert run.status() == "interrupted"
    run.resume()
    assert run.wait(20) == "success"
    (first, first_at), (second, second_at) = (line[-2:] for line in on_redis.lines("waits"))
    assert (first, second) == ("1", "2")
    assert 1.5 <= float(second_at) - float(first_at) < stretched(10)


class Noting:
    """A dispatcher of the user's own: it notes what it is given, and hands it on."""

    def __init__(self, inner: Dispatcher) -> None:
        self._inner = inner
        self.sent: list[str] = []

    def dispatch(self, batches: Sequence[Batch]) -> None:
        self.sent += [task.name for batch in batches for task in batch.tasks]
        self._inner.dispatch(batches)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


def test_another_dispatcher(on_redis: Stage, client: Client) -> None:
    """``use_dispatcher``: every batch of the run goes through it."""
    noting: Any = Noting(client.backend.dispatcher)
    dag = Workflow("noted")
    first = dag.add("first", behaving.behave, (["done"],))
    dag.add("second", behaving.behave, (["done"],), depends_on=[first], batch=False)
    builder = on_redis.builder().use_dispatcher(noting)
    played = on_redis.play(dag, builder=builder)
    assert noting.sent == ["first", "second"]
    assert {result.status for result in played.results.values()} == {"success"}


def test_concurrency_holds_across_a_take_over(on_redis: Stage, client: Client) -> None:
    """The coordinator that takes a run over counts what its predecessor let begin."""
    dag = Workflow("limited")
    for number in range(6):
        dag.add(f"t{number}", behaving.occupy, (0.3,))
    run = client.create(dag, {"log": str(on_redis.log)}, concurrency=1)
    stale: list[StaleEpoch] = []

    def lead_first() -> None:
        try:
            run.executor().lead()
        except StaleEpoch as error:
            stale.append(error)

    first = threading.Thread(target=lead_first, daemon=True)
    first.start()
    on_redis.wait_for_line("t1", "+")
    assert run.executor().lead(force=True) == "success"
    first.join(20)
    assert stale, "the first coordinator did not learn that it was replaced"
    assert most_at_once(on_redis.log) == 1
    assert all(len(on_redis.lines(f"t{number}")) == 2 for number in range(6))


def test_a_paused_run_starts_nothing(on_redis: Stage, client: Client) -> None:
    """After a pause what runs ends and nothing begins; a resume goes on where it stood."""
    dag = Workflow("paused")
    first = dag.add("first", behaving.ignore)
    dag.add("second", behaving.echo, (first,), depends_on=["first"])
    run = client.submit(dag, {"log": str(on_redis.log)})
    on_redis.wait_for_line("first", "begun")
    run.pause()
    on_redis.open_gate()
    assert run.wait(20) == "paused"
    assert on_redis.lines("second") == []
    wait_for(lambda: run.info().coordinator is None, what="the lease to be given up")
    run.resume()
    assert run.wait(20) == "success"
    assert run.results()["second"].data == "too late"
    assert len(on_redis.lines("first")) == 1


def test_a_task_that_swallows_its_timeout(on_redis: Stage) -> None:
    """``except Exception`` does not keep a task from ending at its timeout."""
    dag = Workflow("swallows")
    dag.add("swallows", behaving.swallow, timeout=0.5)
    began = time.monotonic()
    result = on_redis.play(dag).results["swallows"]
    assert result.error == "TaskTimeout: ran longer than 0.5 s"
    assert time.monotonic() - began < stretched(20)


@pytest.mark.parametrize("protocol", [2, 3])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_a_client_that_decodes_is_taken(
    on_redis: Stage, stock_workers: str, encoding: str, protocol: int
) -> None:
    """Whatever a client makes of what Redis says: connections of our own have its settings."""
    dag = Workflow("decoded")
    first = dag.add("ä", behaving.count, ())
    dag.add("b", behaving.count, ()).after(first)
    theirs = Redis.from_url(
        stock_workers, decode_responses=True, encoding=encoding, protocol=protocol
    )
    with theirs:
        runner = TaskRunnerBuilder().with_redis(theirs).build()
        results = runner.execute(dag, {"log": str(on_redis.log)})
        assert {name: result.status for name, result in results.items()} == {
            "ä": "success",
            "b": "success",
        }
        client = connect(theirs, prefix="distflow")
        assert client.redis is not theirs
        assert client.redis.connection_pool.connection_kwargs["protocol"] == protocol
        run = client.run(client.run_ids()[-1])
        assert run.results()["ä"].status == "success"
        client.redis.close()


def test_a_client_that_speaks_in_bytes_is_used_itself(on_redis: Stage) -> None:
    """Its connections, and its owner closes them."""
    assert on_redis.redis is not None
    assert connect(on_redis.redis).redis is on_redis.redis
