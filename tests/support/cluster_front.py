"""A proxy before a Redis that says what a node of a cluster says that cannot serve a key."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager

from tests.support.proxy import Link, Proxy, command_name

#: How a cluster refuses.
REFUSALS = {
    "CLUSTERDOWN": "CLUSTERDOWN Hash slot not served",
    "TRYAGAIN": "TRYAGAIN Multiple keys request during rehashing of slot",
}

#: What a cluster does all the same: there is no key in it.
_WITHOUT_KEYS = frozenset(
    {
        *("AUTH", "CLIENT", "CONFIG", "DISCARD", "EXEC", "HELLO", "INFO", "MULTI", "PING"),
        *("PUBLISH", "PUBSUB", "SCRIPT", "SELECT", "SUBSCRIBE", "TIME", "UNSUBSCRIBE", "UNWATCH"),
    }
)

_ABORTED = "EXECABORT Transaction discarded because of previous errors."

#: What is sent in the place of a refused command, so that replies keep their order.
_PING, _DISCARD = b"*1\r\n$4\r\nPING\r\n", b"*1\r\n$7\r\nDISCARD\r\n"


class ClusterFront(Proxy):
    """Hands everything on, but for the length of :meth:`refusing`.

    Args:
        url: of the Redis behind it.
    """

    def __init__(self, url: str) -> None:
        #: What it answers to every command with a key; empty for nothing special.
        self.answer = ""
        super().__init__(url)

    @contextmanager
    def refusing(self, word: str) -> Iterator[None]:
        """Refuse with one of :data:`REFUSALS` for the length of a block."""
        self.answer = REFUSALS[word]
        yield
        self.answer = ""

    def _link(self, near: socket.socket, far: socket.socket) -> Link:
        return _RefusingLink(self, near, far)


class _RefusingLink(Link):
    def __init__(self, front: ClusterFront, near: socket.socket, far: socket.socket) -> None:
        self._front = front
        #: Whether a transaction that is being queued has been refused a command.
        self._is_spoilt = False
        #: The number of a command -> what is answered in the place of Redis.
        self._instead: dict[int, str] = {}
        super().__init__(front, near, far)

    def _send(self, command: bytes) -> bool:
        name, answer = command_name(command), self._front.answer
        self._sent += 1
        if name == "MULTI":
            self._is_spoilt = False
        if answer and name not in _WITHOUT_KEYS:
            self._instead[self._sent], command = answer, _PING
            self._is_spoilt = True
        elif name == "EXEC" and self._is_spoilt:
            self._instead[self._sent], command = _ABORTED, _DISCARD
        self._far.sendall(command)
        return True

    def _answer(self, reply: bytes) -> bool:
        # What Redis pushes is no answer.
        if not reply.startswith(b">"):
            self._answered += 1
            instead = self._instead.pop(self._answered, None)
            if instead is not None:
                reply = f"-{instead}\r\n".encode()
        self._near.sendall(reply)
        return True
