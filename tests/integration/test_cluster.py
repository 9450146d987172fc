"""Redis Cluster is refused in one line, before anything is written, by everything that connects."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from redis import Redis
from redis.cluster import RedisCluster

from distflow.cli import COMMANDS, main
from distflow.errors import InvalidInput
from distflow.runs.client import Client, connect
from distflow.runs.runner import TaskRunnerBuilder
from distflow.wire.codec import pack
from distflow_worker import WorkerRedis
from distflow_worker.batch import take_batch
from tests.integration.cli_runs import dag
from tests.support.redis_server import TcpServer, redis_binaries, version_name
from tests.support.tasks.recording import random_dag
from tests.support.wait import wait_for

_SLOTS = 16384

#: What is typed behind a command's name.
_WORDS = {
    "submit": [*dag(Path("log")), "--run-id", "r"],
    "resume": ["r"],
    "status": ["r"],
    "watch": ["r"],
    "show": ["r", "t"],
    "graph": ["--run", "r"],
    "pause": ["r"],
    "cancel": ["r"],
    "resolve": ["r", "t", "--retry"],
    "export": ["r", "-o", "-"],
    "import": [__file__],
    "delete": ["r"],
    "purge": ["--older-than", "1d"],
}


@pytest.fixture(scope="module", params=redis_binaries(), ids=version_name)
def cluster(request: pytest.FixtureRequest) -> Iterator[TcpServer]:
    """A cluster of one server that has all slots: it would take whatever a run writes."""
    made = TcpServer(request.param, "--cluster-enabled", "yes")
    with closing(made) as server, server.client() as client:
        client.execute_command("CLUSTER", "ADDSLOTS", *range(_SLOTS))
        wait_for(lambda: _is_well(client), 20, "the cluster")
        yield server


def _is_well(client: Any) -> bool:
    told = client.execute_command("CLUSTER", "INFO")
    return "cluster_state:ok" in (told.decode() if isinstance(told, bytes) else str(told))


@pytest.fixture(autouse=True)
def untouched(cluster: TcpServer) -> Iterator[None]:
    """Nothing is written, whoever connects."""
    yield
    with cluster.client() as client:
        assert client.dbsize() == 0


@pytest.mark.parametrize("name", sorted(set(COMMANDS) - {"run", "snapshot"}))
def test_a_command_refuses_it(cluster: TcpServer, name: str) -> None:
    """One line, exit code 2, whatever the command is for."""
    words = [name, *_WORDS.get(name, [])]
    result = CliRunner(env={"DISTFLOW_REDIS_URL": cluster.url}).invoke(main, words)
    assert (result.exit_code, result.stdout) == (2, ""), result.output
    assert len(result.stderr.splitlines()) == 1
    assert f"Redis at {cluster.url} belongs to a Redis Cluster" in result.stderr
    assert "cluster-enabled no" in result.stderr


def test_python_refuses_it(cluster: TcpServer) -> None:
    """By a URL, by a client, also by one that is made by hand and submits."""
    with cluster.client() as client, cluster.client(decode_responses=True) as decoding:
        for given in (cluster.url, client, decoding):
            with pytest.raises(InvalidInput, match="belongs to a Redis Cluster"):
                connect(given)
            with pytest.raises(InvalidInput, match="belongs to a Redis Cluster"):
                TaskRunnerBuilder().with_redis(given)
        with pytest.raises(InvalidInput, match="belongs to a Redis Cluster"):
            Client(client).submit(random_dag(1, 1, "log"))


def test_a_client_of_a_cluster_is_refused(cluster: TcpServer) -> None:
    """It is another class of redis-py's."""
    told = "RedisCluster is not a client that distflow can use"
    with RedisCluster.from_url(cluster.url) as client, pytest.raises(InvalidInput, match=told):
        connect(client)


def test_a_worker_refuses_it(cluster: TcpServer) -> None:
    """A stock one by the connection class; else each batch does, before it begins."""
    with pytest.raises(InvalidInput, match="belongs to a Redis Cluster"):
        WorkerRedis.from_url(cluster.url)
    for protocol in (2, 3):
        with cluster.client(protocol=protocol) as client:
            assert isinstance(client, Redis)
            with pytest.raises(InvalidInput, match="worker belongs to a Redis Cluster"):
                take_batch(pack({"wire": 1}), client, "w1", "job")
