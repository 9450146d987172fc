"""A proxy between processes and Redis that cuts, or delays, at the k-th command that it sees; or
lets the host of these processes lose its power.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from redis import Redis

#: What happens to the k-th command: it never reaches Redis, and the connection is cut; Redis does
#: it, its reply is lost, and the connection is cut; its reply comes late.
KINDS = ("unsent", "unanswered", "late")

#: Seconds by which a reply is late.
LATE_SECONDS = 1.0

_END = b"\r\n"

#: First bytes of messages that are one line, that say how long they are, and how many they hold.
_LINES, _STRINGS, _LISTS = b"+-:_#,(", b"$!=", b"*~>%|"


class Proxy:
    """Listens on the loopback until it is closed.

    Args:
        url: of the Redis behind it.
    """

    def __init__(self, url: str) -> None:
        with Redis.from_url(url) as client:
            self._options: dict[str, Any] = client.connection_pool.connection_kwargs
        self._listener = socket.create_server(("127.0.0.1", 0))
        database = self._options.get("db", 0)
        self.url = f"redis://127.0.0.1:{self._listener.getsockname()[1]}/{database}"
        self._lock = threading.Lock()
        self._kth, self._kind = 0, ""
        #: The names of the commands that came, in their order over all connections.
        self.commands: list[str] = []
        self._links: list[Link] = []
        #: Those who came after the power was lost: they get no answer.
        self._unheard: list[socket.socket] = []
        self._lost, self._over = threading.Event(), threading.Event()
        self._is_cut_off = self._closed = False
        self._accepting = threading.Thread(target=self._accept, name="proxy", daemon=True)
        self._accepting.start()

    def arm(self, kth: int, kind: str) -> None:
        """Do something of :data:`KINDS` at the k-th command from now on, counted from 1."""
        assert kind in KINDS
        with self._lock:
            self.commands.clear()
            self._kth, self._kind = kth, kind

    def has_struck(self) -> bool:
        """Whether that command has come."""
        return bool(self._kind) and len(self.commands) >= self._kth

    def lose_power(self) -> None:
        """From now on nothing is forwarded, in neither direction, and Redis's connections stay: as
        if the host of all who connect here were gone. What becomes of them is the caller's affair.
        """
        self._lost.set()

    def hold(self) -> None:
        """Return at once, or never while this proxy lives: where the power is lost."""
        if self._lost.is_set():
            self._over.wait()

    def cut_off(self) -> None:
        """Cut every connection, and each that is made until :meth:`let_in`."""
        self._is_cut_off = True
        for link in self._links:
            link.cut()

    def let_in(self) -> None:
        """Forward again."""
        self._is_cut_off = False

    def close(self) -> None:
        """Cut every connection, and take no more."""
        if self._closed:
            return
        self._closed = True
        self._over.set()
        # Closing alone would leave the accept of the other thread as it is.
        self._listener.shutdown(socket.SHUT_RDWR)
        self._accepting.join()
        self._listener.close()
        for near in self._unheard:
            near.close()
        for link in self._links:
            link.cut()
            link.join()

    def take(self, command: str) -> str:
        """Count a command; the answer is what is to become of it, empty for nothing special."""
        with self._lock:
            self.commands.append(command)
            return self._kind if self._kind and len(self.commands) == self._kth else ""

    def _accept(self) -> None:
        while not self._closed:
            try:
                near, _address = self._listener.accept()
            except OSError:
                return
            if self._lost.is_set():
                self._unheard.append(near)
                continue
            try:
                far = None if self._is_cut_off else self._connect()
            except OSError:
                far = None
            if far is None:
                near.close()
                continue
            self._links.append(self._link(near, far))

    def _link(self, near: socket.socket, far: socket.socket) -> Link:
        return Link(self, near, far)

    def _connect(self) -> socket.socket:
        if "path" in self._options:
            far = socket.socket(socket.AF_UNIX)
            far.connect(self._options["path"])
            return far
        return socket.create_connection((self._options["host"], self._options["port"]))


class Link:
    """One connection, and the one to Redis behind it."""

    def __init__(self, proxy: Proxy, near: socket.socket, far: socket.socket) -> None:
        self._proxy = proxy
        self._near, self._far = near, far
        #: Of this connection: the number of the command that was sent last, and of the reply.
        self._sent = self._answered = 0
        #: The command whose reply is special -> how.
        self._special: dict[int, str] = {}
        self._threads = [
            threading.Thread(target=self._pump, args=pump, name="proxy-link", daemon=True)
            for pump in ((near, self._send), (far, self._answer))
        ]
        for thread in self._threads:
            thread.start()

    def cut(self) -> None:
        """End both connections."""
        for end in (self._near, self._far):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def join(self) -> None:
        """Wait for the end."""
        for thread in self._threads:
            thread.join()
        self._near.close()
        self._far.close()

    def _pump(self, source: socket.socket, take: Callable[[bytes], bool]) -> None:
        """Hand on what comes, message by message, until one says that it is over."""
        buffer = b""
        try:
            while received := source.recv(1 << 16):
                self._proxy.hold()
                buffer += received
                while end := message_end(buffer):
                    message, buffer = buffer[:end], buffer[end:]
                    if not take(message):
                        return
        except OSError:
            pass
        finally:
            self._proxy.hold()
            self.cut()

    def _send(self, command: bytes) -> bool:
        what = self._proxy.take(command_name(command))
        if what == "unsent":
            return False
        self._sent += 1
        if what:
            self._special[self._sent] = what
        self._far.sendall(command)
        return True

    def _answer(self, reply: bytes) -> bool:
        # What Redis pushes is no answer.
        if not reply.startswith(b">"):
            self._answered += 1
            what = self._special.get(self._answered)
            if what == "unanswered":
                return False
            if what == "late":
                threading.Event().wait(LATE_SECONDS)
        self._near.sendall(reply)
        return True


def command_name(command: bytes) -> str:
    """``EVALSHA``; commands come as lists of strings."""
    return command.split(_END, 3)[2].decode(errors="replace").upper()


def message_end(buffer: bytes, start: int = 0) -> int:
    """Where the message ends that begins at ``start``; 0 where its end has not come yet."""
    line_end = buffer.find(_END, start)
    if line_end < 0:
        return 0
    kind, end = buffer[start : start + 1], line_end + len(_END)
    if kind in _LINES:
        return end
    assert kind in _STRINGS + _LISTS, f"not a message of Redis: {buffer[start : start + 40]!r}"
    count = int(buffer[start + 1 : line_end])
    if kind in _STRINGS:
        end += count + len(_END) if count >= 0 else 0
        return end if end <= len(buffer) else 0
    # A map's entries are two messages each; attributes come before the message that they are of.
    for _ in range({b"%": 2 * count, b"|": 2 * count + 1}.get(kind, count)):
        end = message_end(buffer, end)
        if not end:
            return 0
    return end
