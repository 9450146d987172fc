"""Advisory locks on files, which the kernel releases however their holder dies."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


class FileLock:
    """A ``flock`` on a file, which is created if needed; held until ``release`` or death.

    A child that inherits ``fd`` holds the lock together with its parent.
    """

    def __init__(self, path: Path) -> None:
        self.fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def acquire_exclusive(self) -> None:
        """Wait until nobody else holds it, then hold it exclusively."""
        fcntl.flock(self.fd, fcntl.LOCK_EX)

    def acquire_shared(self) -> None:
        """Wait until nobody else holds it exclusively, then share it."""
        fcntl.flock(self.fd, fcntl.LOCK_SH)

    def try_exclusive(self) -> bool:
        """Take it exclusively if nobody else holds it; otherwise a shared hold may be lost."""
        with suppress(BlockingIOError):
            fcntl.flock(self.fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        return False

    def release(self) -> None:
        """Close the file; a child that inherited it still holds the lock."""
        os.close(self.fd)


@contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """Hold the lock on ``path`` exclusively for the length of a block."""
    lock = FileLock(path)
    try:
        lock.acquire_exclusive()
        yield
    finally:
        lock.release()


def is_held(path: Path) -> bool:
    """Whether anyone holds the lock on ``path`` now."""
    lock = FileLock(path)
    try:
        return not lock.try_exclusive()
    finally:
        lock.release()
