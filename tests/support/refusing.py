"""A real server that a test brings to refuse what it is asked, in each way that it can, and back.

``CLUSTERDOWN`` and ``TRYAGAIN`` are said by clusters alone: see ``tests/support/cluster_front.py``.
"""

from __future__ import annotations

import shutil
import socket
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from distflow.local.launch import bound_to_this_process
from distflow.store.redis.patience import find_refusal
from tests.support.redis_server import redis_binaries
from tests.support.wait import wait_for

#: Seconds that a server on a busy machine may take.
_READY_SECONDS = 60.0

#: Runs until somebody ends it, and writes nothing, so that it can be ended.
_ENDLESS_SCRIPT = "while true do redis.call('TIME') end"

#: Fills the append-only file with a thousand commands, and not the memory.
_FILLING_SCRIPT = "for i = 1, 1000 do redis.call('SET', KEYS[1], i) end"

#: How long a server that loads waits at each command, in microseconds, and what it takes for one
#: altogether; it answers after each thousand of them.
_LOADED_COMMAND_MICROS = 100
_LOADED_COMMAND_SECONDS = 0.00016


class RefusingServer:
    """A server on a port of the loopback that keeps an append-only file.

    Args:
        binary: the server program; None is the usual one.
    """

    def __init__(self, binary: Path | None = None) -> None:
        self.binary = binary or redis_binaries()[0]
        self.data_dir = Path(tempfile.mkdtemp(prefix="distflow-test-"))
        self._port = _free_port()
        self.url = f"redis://127.0.0.1:{self._port}/0"
        self._process = self._start()
        #: For what a test tells the server: no refusal of one command is tried again.
        self.control: Any = self.client()
        self._wait_until(self.control.ping, "answer")

    def client(self, **options: Any) -> Redis:
        """A new client that tries everything once; ``options`` as for ``Redis.from_url``."""
        return Redis.from_url(self.url, retry=Retry(NoBackoff(), 0), **options)

    def close(self) -> None:
        """Kill it and delete its data."""
        self.control.close()
        self._process.kill()
        self._process.wait()
        shutil.rmtree(self.data_dir, ignore_errors=True)

    @contextmanager
    def refusing(self, word: str, seconds: float = 1.0) -> Iterator[None]:
        """Let it refuse with one of :data:`WORDS` for the length of a block; while it loads, for
        about so many seconds.
        """
        with self._loading(seconds) if word == "LOADING" else _WAYS[word](self):
            yield

    def _start(self, *options: str) -> subprocess.Popen[bytes]:
        command = [
            *(str(self.binary), "--port", str(self._port), "--bind", "127.0.0.1"),
            *("--dir", str(self.data_dir), "--save", "", "--appendonly", "yes"),
            *("--maxmemory-policy", "noeviction", "--lua-time-limit", "100", *options),
        ]
        return subprocess.Popen(bound_to_this_process(command), stdout=subprocess.DEVNULL)

    def _wait_until(self, holds: Callable[[], Any], what: str) -> None:
        def look() -> bool:
            with suppress(RedisError):
                return bool(holds())
            return False

        wait_for(look, _READY_SECONDS, f"the server to {what}")

    def _says(self, word: str, *command: str) -> bool:
        """Whether it refuses a command with this word."""
        client: Any = self.client()
        with client:
            try:
                client.execute_command(*command)
            except RedisError as error:
                # What redis-py makes of the words differs from version to version.
                refusal = find_refusal(error)
                return refusal is not None and refusal.word == word
            return False

    @contextmanager
    def _set(self, word: str, **settings: object) -> Iterator[None]:
        before = {name: self.control.config_get(name)[name] for name in settings}
        for name, value in settings.items():
            self.control.config_set(name, value)
        assert self._says(word, "SET", "refused", "")
        yield
        for name, value in before.items():
            self.control.config_set(name, value)

    @contextmanager
    def _full(self) -> Iterator[None]:
        with self._set("OOM", maxmemory=1):
            yield

    @contextmanager
    def _without_replicas(self) -> Iterator[None]:
        with self._set("NOREPLICAS", **{"min-replicas-to-write": 1}):
            yield

    @contextmanager
    def _demoted(self) -> Iterator[None]:
        """It follows a primary that is not there, so that it keeps what it has."""
        self.control.execute_command("REPLICAOF", "127.0.0.1", str(_free_port()))
        yield
        self.control.execute_command("REPLICAOF", "NO", "ONE")

    @contextmanager
    def _orphaned(self) -> Iterator[None]:
        self.control.config_set("replica-serve-stale-data", "no")
        with self._demoted():
            assert self._says("MASTERDOWN", "GET", "refused")
            yield
        self.control.config_set("replica-serve-stale-data", "yes")

    @contextmanager
    def _unable_to_save(self) -> Iterator[None]:
        """A folder is in the way of the file."""
        obstacle = self.data_dir / "dump.rdb"
        obstacle.unlink(missing_ok=True)
        obstacle.mkdir()
        self.control.config_set("save", "3600 1")
        self.control.bgsave()
        self._wait_until(lambda: self._says("MISCONF", "SET", "refused", ""), "fail to save")
        yield
        obstacle.rmdir()
        self.control.bgsave()
        self._wait_until(lambda: not self._says("MISCONF", "SET", "refused", ""), "save")
        self.control.config_set("save", "")

    @contextmanager
    def _busy(self) -> Iterator[None]:
        def run() -> None:
            with self.client(socket_timeout=None) as client, suppress(RedisError):
                client.eval(_ENDLESS_SCRIPT, 0)

        script = threading.Thread(target=run, name="busy")
        script.start()
        self._wait_until(lambda: self._says("BUSY", "PING"), "be busy")
        yield
        self.control.script_kill()
        script.join()

    @contextmanager
    def _loading(self, seconds: float) -> Iterator[None]:
        """It is started again, and slow to read what it had saved."""
        for _thousand in range(int(seconds / _LOADED_COMMAND_SECONDS / 1000)):
            self.control.eval(_FILLING_SCRIPT, 1, "loaded")
        with suppress(RedisError):
            self.control.shutdown()
        self._process.wait()
        self._process = self._start("--key-load-delay", str(_LOADED_COMMAND_MICROS))
        self._wait_until(lambda: self._says("LOADING", "GET", "refused"), "load")
        yield
        self._wait_until(self.control.ping, "have loaded")
        self.control.delete("loaded")

    @contextmanager
    def _unblocking(self) -> Iterator[None]:
        """Somebody ends every wait, again and again."""
        over = threading.Event()

        def unblock() -> None:
            while not over.wait(0.1):
                for client in self.control.client_list():
                    if "b" in client["flags"]:
                        self.control.client_unblock(int(client["id"]), error=True)

        thread = threading.Thread(target=unblock, name="unblock")
        thread.start()
        yield
        over.set()
        thread.join()

    @contextmanager
    def _crowded(self) -> Iterator[None]:
        """It takes one client, which is there, and has thrown the others out."""
        before = self.control.config_get("maxclients")["maxclients"]
        self.control.config_set("maxclients", 1)
        for kind in ("normal", "pubsub"):
            self.control.execute_command("CLIENT", "KILL", "TYPE", kind)
        assert self._says("MAXCLIENTS", "PING")
        yield
        self.control.config_set("maxclients", before)


_WAYS: dict[str, Callable[[RefusingServer], Any]] = {
    "OOM": RefusingServer._full,
    "READONLY": RefusingServer._demoted,
    "NOREPLICAS": RefusingServer._without_replicas,
    "MISCONF": RefusingServer._unable_to_save,
    "BUSY": RefusingServer._busy,
    "MASTERDOWN": RefusingServer._orphaned,
    "UNBLOCKED": RefusingServer._unblocking,
    "MAXCLIENTS": RefusingServer._crowded,
}

#: A replica that has lost its primary, or was just made one, refuses in another way as well.
BESIDE = {"MASTERDOWN": "READONLY", "UNBLOCKED": "READONLY"}

#: How a server can be brought to refuse.
WORDS = (*_WAYS, "LOADING")


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as door:
        port: int = door.getsockname()[1]
        return port
