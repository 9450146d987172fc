"""ScriptConnection: calls one script repeatedly on one connection, with little overhead.

A worker makes one such call per task. redis-py builds each command anew and takes a connection from
its pool: that took 56 µs of processor time per call, and this takes 24 (measured on one core beside
a server on a unix socket, 150 bytes of arguments).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from redis import Redis
from redis.exceptions import NoScriptError, ResponseError

from distflow.faults import commit
from distflow.store.redis.patience import is_elsewhere, is_passing
from distflow.store.redis.scripts import load_script


class DiskReply(NamedTuple):
    """A script's reply, and whether its writes are on Redis's disk; ``refusal`` is the error of a
    server that cannot tell.
    """

    reply: Any
    on_disk: bool
    refusal: str = ""


class ScriptConnection:
    """Calls one script on the keys of one run.

    Args:
        client: its pool provides the connection, which is kept until :meth:`close`.
        name: of the script.
        keys: the keys to call it with.
    """

    def __init__(self, client: Redis, name: str, keys: Sequence[str]) -> None:
        self._pool: Any = client.connection_pool
        self._script = load_script(name)
        head = ["EVALSHA", self._script.sha, str(len(keys)), *keys]
        self._words = len(head)
        self._head = b"".join(_bulk(word.encode()) for word in head)
        self._connection: Any = None

    def call(self, *arguments: bytes, meanwhile: Callable[[], object] | None = None) -> Any:
        """Redis's reply; ``meanwhile`` is called while Redis works, and must not raise.

        Raises:
            RedisError: as redis-py's; after a lost reply the script may have run or not.
        """
        try:
            return self._call(arguments, meanwhile)
        except NoScriptError:
            # A restarted server has forgotten the script.
            self._connection.send_command("SCRIPT", "LOAD", self._script.text)
            self._connection.read_response()
            return self._call(arguments)

    def call_to_disk(self, wait_ms: int, *arguments: bytes) -> DiskReply:
        """Redis's reply, once the writes are on disk, or after ``wait_ms``.

        Raises:
            RedisError: as redis-py's; the script may have run or not.
        """
        reply = self.call(*arguments)
        try:
            # No health check: it might replace the connection, and on a new one, without writes,
            # everything counts as being on disk.
            self._connection.send_command("WAITAOF", 1, 0, wait_ms, check_health=False)
            local, _replicas = self._connection.read_response()
        except ResponseError as error:
            if is_passing(error):
                # The server that ran the script is no longer the primary: what it has on disk does
                # not count.
                self._drop()
                raise
            return DiskReply(reply, on_disk=False, refusal=str(error))
        except BaseException:
            self._drop()
            raise
        return DiskReply(reply, on_disk=local >= 1)

    def close(self) -> None:
        """Give the connection back."""
        if self._connection is not None:
            self._pool.release(self._connection)
            self._connection = None

    def _call(
        self, arguments: Sequence[bytes], meanwhile: Callable[[], object] | None = None
    ) -> Any:
        if self._connection is None:
            self._connection = self._pool.get_connection()
        parts = [b"*%d\r\n" % (self._words + len(arguments)), self._head]
        parts += map(_bulk, arguments)
        try:
            with commit(self._script.name):
                self._connection.send_packed_command([b"".join(parts)], check_health=False)
                if meanwhile is not None:
                    meanwhile()
                return self._connection.read_response()
        except ResponseError as error:
            if is_elsewhere(error):
                self._drop()
            raise
        except BaseException:
            self._drop()
            raise

    def _drop(self) -> None:
        """Drop the connection: its next reply might belong to an earlier call."""
        self._connection.disconnect()
        self.close()


def _bulk(word: bytes) -> bytes:
    return b"$%d\r\n%b\r\n" % (len(word), word)
