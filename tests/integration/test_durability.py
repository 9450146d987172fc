"""What a run notes of its Redis and demands of it, and what must be on its disk to count."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from distflow.core.run import ServerFacts
from distflow.core.status import RunStatus
from distflow.local.binary import read_release
from distflow.runs.client import Client
from distflow.store.redis.durability import read_server
from distflow.store.redis.script_line import ScriptConnection
from tests.conftest import StartWorker
from tests.integration.cli_scene import Scene
from tests.support.cli import run_cli, status_of
from tests.support.redis_server import (
    RedisPool,
    RedisServer,
    binaries_at_hand,
    version_name,
    waitaof_binary,
)
from tests.support.tasks import recording

FLOWS = "tests.support.tasks.recording"
#: Servers without WAITAOF; the test of them is there where they are.
OLD = [binary for binary in binaries_at_hand() if read_release(binary).version < (7, 2)]
USUAL = {"appendonly": "yes", "appendfsync": "always", "save": "", "maxmemory-policy": "noeviction"}


@pytest.fixture
def server(redis_pool: RedisPool) -> Iterator[RedisServer]:
    """The shared server; its settings are the usual ones again afterwards."""
    server = redis_pool.get()
    yield server
    restore(server)


@pytest.fixture
def waitaof_server(redis_pool: RedisPool) -> Iterator[RedisServer]:
    """A shared server that has WAITAOF, likewise."""
    server = redis_pool.get(waitaof_binary())
    yield server
    restore(server)


def restore(server: RedisServer) -> None:
    """Put a server's settings back."""
    with server.client() as client:
        for name, value in USUAL.items():
            client.config_set(name, value)


def test_a_server_that_does_not_tell_is_unknown(server: RedisServer, tmp_path: Path) -> None:
    """A managed Redis that refuses CONFIG: the run says so, and so do submit and status."""
    scene = Scene(server)
    scene.client.execute_command(
        *("ACL", "SETUSER", "tenant", "on", ">secret", "~*", "&*", "+@all", "-config", "-info")
    )
    scene.url = scene.url.replace("unix://", "unix://tenant:secret@")
    try:
        flow = [f"{FLOWS}:payment", "-p", f"log={tmp_path / 'log'}", "-p", "gate=g"]
        told = scene.cli("submit", *flow, "--run-id", "r", "--detach")
        shown = scene.cli("status", "r").stdout
    finally:
        scene.client.execute_command("ACL", "DELUSER", "tenant")
    assert told.exit_code == 0, told.output
    assert "warning: this Redis hides its settings (CONFIG is refused)" in told.stderr
    assert "charge must run at most once, but this Redis (durability: unknown)" in told.stderr
    assert "durability unknown: it hides its settings (CONFIG is refused)" in shown
    assert Client(scene.client).run("r").info().server == ServerFacts()


def test_a_redis_that_evicts_is_refused(server: RedisServer, tmp_path: Path) -> None:
    """Whether or not it has a limit today: exit 2, one line with the mend, nothing written. Who
    insists gets a run that says what it stands on.
    """
    scene = Scene(server)
    scene.client.config_set("maxmemory-policy", "volatile-lru")
    flow = [f"{FLOWS}:small_dag", "-p", f"log={tmp_path / 'log'}"]
    line = scene.refused("submit", *flow, "--run-id", "r", "--detach")
    assert "maxmemory-policy is volatile-lru" in line
    assert "CONFIG SET maxmemory-policy noeviction" in line
    assert "--allow-eviction" in line
    assert scene.client.dbsize() == 0
    taken = scene.cli("submit", *flow, "--run-id", "r", "--detach", "--allow-eviction")
    assert taken.exit_code == 0
    assert "and volatile-lru" in scene.cli("status", "r").stdout
    # An import makes a run as well.
    export = tmp_path / "r.distflow"
    assert scene.cli("export", "r", "-o", export).exit_code == 0
    assert "noeviction" in scene.refused("import", export, "--run-id", "copy")
    assert scene.cli("import", export, "--run-id", "copy", "--allow-eviction").exit_code == 0


if OLD:

    @pytest.mark.parametrize("binary", OLD, ids=version_name)
    def test_waitaof_on_an_old_server_is_refused(
        binary: Path, redis_pool: RedisPool, tmp_path: Path
    ) -> None:
        """Exit 2, and the line names the version."""
        scene = Scene(redis_pool.get(binary))
        flow = [f"{FLOWS}:small_dag", "-p", f"log={tmp_path / 'log'}"]
        line = scene.refused("submit", *flow, "--durability", "waitaof")
        assert "needs Redis or Valkey 7.2 or newer" in line
        assert f"this is {read_server(scene.client).redis_version}" in line
        assert scene.client.dbsize() == 0


def test_starts_and_outcomes_wait_for_the_disk(
    waitaof_server: RedisServer, start_worker: StartWorker, tmp_path: Path
) -> None:
    """On real workers: after the start mark and after the outcome of an at-most-once task comes a
    WAITAOF on the same connection; a Redis that syncs once a second is no obstacle, and the run
    says what it was given.
    """
    log = tmp_path / "log"
    gate = tmp_path / "gate"
    gate.touch()
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    with waitaof_server.client() as client:
        # Of connections through a unix socket, MONITOR does not say which is which.
        client.config_set("bind", "127.0.0.1")
        client.config_set("port", port)
        url = f"redis://127.0.0.1:{port}/0"
        client.config_set("appendfsync", "everysec")
        start_worker(url)
        flow = [f"{FLOWS}:payment", "-p", f"log={log}", "-p", f"gate={gate}", "--run-id", "paid"]
        with client.monitor() as monitor:
            done = run_cli(url, "submit", *flow, "--durability", "waitaof")
            client.echo("the end")
            seen = list(iter(lambda: next_command(monitor), ("", "ECHO the end")))
        client.config_set("port", 0)
        sha = {
            name: ScriptConnection(client, name, [])._script.sha
            for name in ("start_task", "advance")
        }
    assert (done.returncode, done.stderr.count("warning:")) == (0, 0), done.stderr
    assert status_of(waitaof_server.url, "paid")["durability"] == "waitaof"
    words = [words[0] for words in recording.lines(log)]
    assert words == ["prepare", "charge", "charged", "receipt"]
    waits = [number for number, (_who, said) in enumerate(seen) if said.startswith("WAITAOF 1 0")]
    # The first is that of submit, which asks whether there is such a thing.
    scripts = [before(seen, number).split()[1] for number in waits[1:]]
    # A slow disk is waited for more than once.
    assert list(dict.fromkeys(scripts)) == [sha["start_task"], sha["advance"]]


def next_command(monitor: Any) -> tuple[str, str]:
    """Who sent the next command, and what; scripts' own commands are left out."""
    while True:
        told = monitor.next_command()
        if told["client_type"] != "lua":
            return "" if told["command"] == "ECHO the end" else who(told), told["command"]


def who(told: dict[str, Any]) -> str:
    """A connection by its address."""
    return f"{told['client_address']}:{told['client_port']}"


def before(seen: list[tuple[str, str]], number: int) -> str:
    """What a connection had sent before its command of this number."""
    return next(said for who, said in reversed(seen[:number]) if who == seen[number][0])


def test_a_server_that_stops_confirming_starts_nothing(
    waitaof_server: RedisServer, start_worker: StartWorker, tmp_path: Path
) -> None:
    """The append-only file was switched off after submit: the charge is a failure that did not
    begin, and a resume, once it is on again, charges once.
    """
    log, gate = tmp_path / "log", tmp_path / "gate"
    gate.touch()
    with waitaof_server.client() as redis:
        run = Client(redis).submit(
            recording.payment,
            {"log": str(log), "gate": str(gate)},
            durability="waitaof",
            run_id="paid",
        )
        redis.config_set("appendonly", "no")
        start_worker(waitaof_server.url)
        assert run.wait(30) == RunStatus.FAILURE
        result = run.results()["charge"]
        assert (result.error or "").startswith("NotOnDisk: Redis did not confirm that the start")
        assert not result.started
        assert [words[0] for words in recording.lines(log)] == ["prepare"]
        redis.config_set("appendonly", "yes")
        assert run_cli(waitaof_server.url, "resume", "paid").returncode == 0
        assert [words[0] for words in recording.lines(log)].count("charge") == 1
