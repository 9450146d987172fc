"""A stock worker with the settings of distflow, by the commands that its page shows."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from distflow import Client, Workflow, connect
from distflow.core.status import RunStatus
from tests.support.pages import read_sections, typed_commands
from tests.support.redis_server import RedisServer
from tests.support.tasks import guarded
from tests.support.wait import wait_for
from tests.support.worker_process import ROOT


def documented() -> tuple[dict[str, str], list[str]]:
    """What the page exports, and the command that it types then."""
    sections = {each.title: each for each in read_sections("docs/how-to/workers.md")}
    export, command = typed_commands(sections["Start stock workers by hand"].blocks[0])
    pairs = shlex.split(export.command.removeprefix("export "))
    return dict(pair.split("=", 1) for pair in pairs), shlex.split(command.command)


@pytest.fixture
def by_hand(redis_server: RedisServer, tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The page's worker, whose Redis is named in the environment alone."""
    variables, command = documented()
    assert "REDIS_URL" in variables
    # The variables of distflow and RQ that are set where the tests run would come first.
    ours = {name: value for name, value in os.environ.items() if "REDIS_URL" not in name}
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            [str(Path(sys.executable).parent / command[0]), *command[1:]],
            env={**ours, **variables, "REDIS_URL": redis_server.url},
            cwd=ROOT,
            stdout=log,
            stderr=log,
        )
    yield process
    process.terminate()
    assert process.wait(20) == 0, (tmp_path / "log").read_text()


@pytest.fixture
def client(redis_server: RedisServer) -> Iterator[Client]:
    """Of the shared server."""
    with connect(redis_server.url).redis as redis:
        yield Client(redis)


def test_it_works_and_is_preloaded(client: Client, by_hand: subprocess.Popen[bytes]) -> None:
    """It finds its Redis, its work horses find loaded what batches need, and it beats often."""
    flow = Workflow("preloaded")
    flow.add("look", guarded.is_preloaded)
    run = client.submit(flow)
    assert run.wait(timeout=30) == RunStatus.SUCCESS
    assert run.results()["look"].data is True
    (key,) = wait_for(lambda: client.redis.smembers("rq:workers"), what="its registration")
    assert 16 <= int(client.redis.ttl(key)) <= 76
