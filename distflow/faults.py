"""Faults: named crash points at the boundaries of every commit, where tests disturb a process.

Nothing is armed in production: there, a point costs one look at a global. Two environment variables
arm a process:

- ``DISTFLOW_FAULT=<point>#<n>=<kind>@<file>``: the n-th time that any of these processes reaches
  the point, the fault strikes: once, since the file counts and outlives the process.
- ``DISTFLOW_FAULT_LOG=<file>``: each point reached is appended to the file.
"""

from __future__ import annotations

import os
import signal
import socket
import stat
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, NoReturn

FAULT_VARIABLE = "DISTFLOW_FAULT"
LOG_VARIABLE = "DISTFLOW_FAULT_LOG"

#: SIGKILL; an exception that nobody expects; SIGSTOP; all connections lost: see :func:`_cut`.
KINDS = ("kill", "raise", "freeze", "cut")

#: Before and after a commit.
BEFORE, AFTER = ":before", ":after"

#: Suffix of the file with the pid of the process that was stopped, for whoever wakes it.
FROZEN_SUFFIX = ".frozen"


class InjectedFault(Exception):
    """A fault was asked for at this point."""


def reach(point: str) -> None:
    """Mark that the process is at a point between two commits."""
    if _armed is not None:
        _armed(point)


def commit(name: str) -> AbstractContextManager[None]:
    """Put a call that changes something in Redis between the points ``<name>:before`` and
    ``<name>:after``. The second is reached if the call returned.
    """
    return _UNARMED if _armed is None else _Boundaries(name)


_UNARMED = nullcontext()


class _Boundaries:
    def __init__(self, name: str) -> None:
        self._name = name

    def __enter__(self) -> None:
        reach(self._name + BEFORE)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None:
            reach(self._name + AFTER)


class _Fault(NamedTuple):
    """One fault: what strikes, where, and at which time."""

    point: str
    nth: int
    kind: str
    file: str

    def look(self, point: str) -> None:
        """Strike if it is this point's turn."""
        if point != self.point or _append(self.file, b".") != self.nth:
            return
        if self.kind == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        elif self.kind == "freeze":
            Path(self.file + FROZEN_SUFFIX).write_text(str(os.getpid()), encoding="ascii")
            os.kill(os.getpid(), signal.SIGSTOP)
        elif self.kind == "cut":
            _cut(lose_reply=point.endswith(BEFORE))
        else:
            raise InjectedFault(f"{point}, for the {self.nth}. time")


def _append(file: str, text: bytes) -> int:
    """Append to a file that several processes append to; returns the file's new length."""
    descriptor = os.open(file, os.O_APPEND | os.O_WRONLY | os.O_CREAT, 0o600)
    try:
        os.write(descriptor, text)
        return os.lseek(descriptor, 0, os.SEEK_CUR)
    finally:
        os.close(descriptor)


def _cut(*, lose_reply: bool) -> None:
    """Shut down every connection of the process; to lose a reply, only after this thread has sent
    its next command.
    """
    if not lose_reply:
        _shut_all()
        return
    caller, send_all = threading.get_ident(), socket.socket.sendall

    def send_and_cut(self: socket.socket, data: Any, flags: int = 0) -> None:
        send_all(self, data, flags)
        if threading.get_ident() == caller and _is_connected(self):
            socket.socket.sendall = send_all  # type: ignore[method-assign]
            _shut_all()

    socket.socket.sendall = send_and_cut  # type: ignore[method-assign, assignment]


def _shut_all() -> None:
    for number in [int(entry.name) for entry in Path("/dev/fd").iterdir()]:
        try:
            if not stat.S_ISSOCK(os.fstat(number).st_mode):
                continue
        except OSError:
            # The descriptor that listed them is closed by now.
            continue
        with socket.socket(fileno=os.dup(number)) as found:
            if _is_connected(found):
                found.shutdown(socket.SHUT_RDWR)
                # A reply that has arrived already is lost as well.
                while _receives(found):
                    pass


def _is_connected(found: socket.socket) -> bool:
    """Whether it is connected to a server: a socket pair has no name."""
    try:
        return found.type == socket.SOCK_STREAM and bool(found.getpeername())
    except OSError:
        return False


def _receives(found: socket.socket) -> bool:
    try:
        return bool(found.recv(1 << 16, socket.MSG_DONTWAIT))
    except OSError:
        return False


def _read_fault(text: str) -> _Fault:
    try:
        point, rest = text.split("#", 1)
        nth, rest = rest.split("=", 1)
        kind, file = rest.split("@", 1)
        fault = _Fault(point, int(nth), kind, file)
    except ValueError:
        _refuse(text)
    if fault.kind not in KINDS or fault.nth < 1 or not fault.file:
        _refuse(text)
    return fault


def _refuse(text: str) -> NoReturn:
    raise SystemExit(f"{FAULT_VARIABLE}={text!r}: must be POINT#N=KIND@FILE, KIND one of {KINDS}")


def _arm() -> Callable[[str], None] | None:
    text, log = os.environ.get(FAULT_VARIABLE), os.environ.get(LOG_VARIABLE)
    if not text and not log:
        return None
    fault = _read_fault(text) if text else None

    def armed(point: str) -> None:
        if log:
            _append(log, f"{point}\n".encode())
        if fault:
            fault.look(point)

    return armed


_armed = _arm()
