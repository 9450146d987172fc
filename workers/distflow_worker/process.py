"""The process that runs tasks: exactly one, and each task finds it as the one before did."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from importlib import import_module
from types import TracebackType
from typing import Any, NamedTuple, Self

from distflow.logs import get_logger

_log = get_logger("distflow.worker")

#: Signals that programs handle.
_SIGNALS = (
    *(signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2),
    *(signal.SIGPIPE, signal.SIGALRM, signal.SIGTERM, signal.SIGCHLD),
)
_NUMBERS = tuple(map(int, _SIGNALS))

#: All of this is checked after each task, in 5 µs. The wrappers in ``signal`` look up every result
#: in an enumeration, and ``os.environ`` decodes each value: with them it would take 100.
_signal: Any = import_module("_signal")
_environ: dict[bytes, bytes] = getattr(os.environ, "_data", {})

_TIMER, _BLOCK, _NO_TIMER = int(signal.ITIMER_REAL), int(signal.SIG_BLOCK), (0.0, 0.0)

#: The standard descriptors.
_STANDARD = (0, 1, 2)


class Original:
    """The process that began a batch. If a task forks and returns in both processes, the copy ends
    silently when it reaches the end of a block: the original reports everything, and the two share
    their connections. The copy flushes and finalises nothing of the original's.
    """

    def __init__(self) -> None:
        self._pid = os.getpid()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.end_copy()

    def end_copy(self) -> None:
        """End this process if it is a copy."""
        if os.getpid() != self._pid:
            os._exit(0)


class _File(NamedTuple):
    """The file behind a standard descriptor, and whether it blocks."""

    number: int
    inode: int
    blocks: bool
    #: A duplicate of the descriptor.
    kept: int


class _Noted(NamedTuple):
    umask: int
    folder: str
    environ: dict[bytes, bytes]
    #: Whether the runner of the tasks uses the timer.
    has_timer: bool
    handlers: list[Any]
    mask: Any
    files: tuple[_File, ...]


class ProcessState:
    """What a task may change in its process and is restored when it ends: the umask, the working
    directory, the environment, the standard descriptors, signal handlers, mask and timer. Not
    restored: threads, modules and other descriptors, whose owner is unknown.
    """

    def __init__(self) -> None:
        self._noted: _Noted | None = None

    def note(self, *, again: bool = True) -> None:
        """Note the present state, to be restored later. Changes made by imports stay, as the
        imports do. If nothing was imported, what was noted need not be noted ``again``.
        """
        if self._noted is not None and not again:
            return
        self.close()
        umask = os.umask(0o077)
        os.umask(umask)
        self._noted = _Noted(
            umask,
            _folder(),
            _environ.copy(),
            _signal.getitimer(_TIMER) != _NO_TIMER,
            list(map(_signal.getsignal, _NUMBERS)),
            _signal.pthread_sigmask(_BLOCK, ()),
            tuple(file for number in _STANDARD if (file := _file(number))),
        )

    def restore(self) -> None:
        """Restore the noted state for the next task."""
        noted = self._noted
        if noted is None or _is_as(noted):
            return
        changed = [
            *_restore_files(noted.files),
            *_restore_paths(noted),
            *_restore_environ(noted.environ),
            *_restore_signals(noted),
        ]
        _log.info("what a task has changed of its process is undone: %s", ", ".join(changed))

    def close(self) -> None:
        """Release what was kept for restoring."""
        if self._noted is not None:
            for file in self._noted.files:
                with suppress(OSError):
                    os.close(file.kept)
            self._noted = None


def _is_as(noted: _Noted) -> bool:
    """Whether nothing has changed; for stdin, only whether it was closed."""
    try:
        for number, inode, blocks, _kept in noted.files:
            if os.get_blocking(number) != blocks:
                return False
            if number and os.fstat(number).st_ino != inode:
                return False
    except OSError:
        return False
    return (
        os.umask(noted.umask) == noted.umask
        and _folder() == noted.folder
        and _environ == noted.environ
        and (noted.has_timer or _signal.getitimer(_TIMER) == _NO_TIMER)
        and list(map(_signal.getsignal, _NUMBERS)) == noted.handlers
        and _signal.pthread_sigmask(_BLOCK, ()) == noted.mask
    )


def _file(number: int) -> _File | None:
    """A standard descriptor; None if it is closed."""
    try:
        return _File(number, os.fstat(number).st_ino, os.get_blocking(number), os.dup(number))
    except OSError:
        return None


def _restore_files(files: Sequence[_File]) -> Iterator[str]:
    for file in files:
        now = _file(file.number)
        if now is not None:
            os.close(now.kept)
        if now is not None and now[:3] == file[:3]:
            continue
        yield f"descriptor {file.number}"
        with suppress(OSError):
            if now is None or now.inode != file.inode:
                os.dup2(file.kept, file.number)
            os.set_blocking(file.number, file.blocks)


def _restore_paths(noted: _Noted) -> Iterator[str]:
    if os.umask(noted.umask) != noted.umask:
        yield "umask"
    if _folder() != noted.folder:
        yield "working directory"
        with suppress(OSError):
            os.chdir(noted.folder)


def _restore_environ(noted: Mapping[bytes, bytes]) -> Iterator[str]:
    names = noted.keys() | os.environb.keys()
    changed = [name for name in names if os.environb.get(name) != noted.get(name)]
    for name in changed:
        if name in noted:
            os.environb[name] = noted[name]
        else:
            del os.environb[name]
    if changed:
        yield f"environment ({', '.join(sorted(map(os.fsdecode, changed)))})"


def _restore_signals(noted: _Noted) -> Iterator[str]:
    # First: a timer without its handler would end the process.
    if not noted.has_timer and _signal.getitimer(_TIMER) != _NO_TIMER:
        yield "timer"
        signal.setitimer(signal.ITIMER_REAL, 0.0)
    for number, handler in zip(_SIGNALS, noted.handlers, strict=True):
        # Python cannot set a handler that was not set from Python.
        if handler is not None and _signal.getsignal(int(number)) != handler:
            yield number.name
            # Only the main thread may, and only there can a task have changed it.
            with suppress(ValueError):
                signal.signal(number, handler)
    if _signal.pthread_sigmask(_BLOCK, ()) != noted.mask:
        yield "signal mask"
        signal.pthread_sigmask(signal.SIG_SETMASK, noted.mask)


def _folder() -> str:
    try:
        return os.getcwd()  # noqa: PTH109 - after each task: a Path takes ten times as long
    except OSError:
        # The directory was deleted.
        return ""
