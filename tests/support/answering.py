"""A server that answers as a test says: for states into which no real one can be brought."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from contextlib import suppress

from tests.support.proxy import message_end

#: What is answered to a command, given its words; None for no answer at all.
Answers = Callable[[list[bytes]], bytes | None]

_END = b"\r\n"


def bulk(*words: str | bytes | None) -> bytes:
    """A list of strings, as servers send it."""
    parts = [b"*%d\r\n" % len(words)]
    for word in words:
        text = word.encode() if isinstance(word, str) else word
        parts.append(b"$-1\r\n" if text is None else b"$%d\r\n%b\r\n" % (len(text), text))
    return b"".join(parts)


def text(word: str) -> bytes:
    """One string."""
    return bulk(word).split(_END, 1)[1]


class AnsweringServer:
    """Listens on the loopback until it is closed.

    Args:
        answers: to commands that are not known here: those with which redis-py connects.
    """

    def __init__(self, answers: Answers) -> None:
        self.answers = answers
        #: Every command that came, its words with a blank between, but for those of connecting.
        self.commands: list[str] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address: tuple[str, int] = self._listener.getsockname()
        self._sockets: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def close(self) -> None:
        """End every connection."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._threads[0].join()
        for each in [self._listener, *self._sockets]:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        for thread in self._threads[1:]:
            thread.join()
        for each in [self._listener, *self._sockets]:
            each.close()

    def _accept(self) -> None:
        while True:
            try:
                caller, _address = self._listener.accept()
            except OSError:
                return
            self._sockets.append(caller)
            thread = threading.Thread(target=self._serve, args=(caller,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, caller: socket.socket) -> None:
        buffer = b""
        with suppress(OSError):
            while received := caller.recv(1 << 16):
                buffer += received
                while end := message_end(buffer):
                    words, buffer = buffer[:end].split(_END)[2::2], buffer[end:]
                    answer = self._answer(words)
                    if answer is not None:
                        caller.sendall(answer)

    def _answer(self, words: list[bytes]) -> bytes | None:
        name = words[0].upper()
        if name == b"HELLO":
            return b"%1\r\n$5\r\nproto\r\n:3\r\n"
        if name in (b"CLIENT", b"SELECT", b"AUTH"):
            return b"+OK\r\n"
        self.commands.append(b" ".join(words).decode(errors="replace"))
        return self.answers(words)
