"""Workers are named by host and process, and results say where they come from."""

from __future__ import annotations

import os
import re
import socket
from pathlib import Path

from redis import Redis

from distflow import TaskRunnerBuilder, Workflow
from distflow.local.workers import LocalWorkers
from tests.integration.cli_runs import started_commands
from tests.support.redis_server import RedisServer
from tests.support.wait import wait_for
from tests.support.worker_process import FAST

HOST = socket.gethostname()


def test_on_redis(redis_server: RedisServer, tmp_path: Path) -> None:
    """Those of `distflow worker`, those that `distflow run` starts, and FastWorkers."""
    url = redis_server.url
    with started_commands() as start, Redis.from_url(url) as redis:
        plain = start(url, "worker")
        fast = start(url, "worker", "-w", FAST)
        with LocalWorkers(url, count=1, data_dir=tmp_path, cwd=tmp_path) as local:
            wait_for(lambda: redis.scard("rq:workers") == 3, 30, "three workers")
            names = {name.decode().rpartition(":")[2] for name in redis.smembers("rq:workers")}
            wanted = {str(pid) for pid in (plain.pid, fast.pid, *local.pids)}
        found = {re.fullmatch(rf"{re.escape(HOST)}\.(\d+)\.[0-9a-f]{{4}}", name) for name in names}
    assert {match and match[1] for match in found} == wanted


def test_in_this_process() -> None:
    """The thread too."""
    flow = Workflow("w")
    flow.add("a", "time:sleep", (0,))
    result = TaskRunnerBuilder().build().execute(flow)["a"]
    assert result.host == HOST
    assert re.fullmatch(rf"{re.escape(HOST)}\.{os.getpid()}\.thread-\d+", result.worker or "")
