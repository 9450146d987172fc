"""Spool: outcomes on a worker's disk that Redis has not accepted yet, one file each."""

from __future__ import annotations

import fcntl
import hashlib
import os
import stat
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from msgpack import Packer, unpackb

from distflow.core.claim import Finish, Growth, Progress
from distflow.faults import commit
from distflow.logs import get_logger
from distflow_worker.outcomes import Home

_log = get_logger("distflow.worker")

#: The format of a file's content: other releases read other formats.
_FORMAT = 1

_SUFFIX = ".outcome"

#: The suffix of unreadable files: they are kept with the others, and ignored.
_DAMAGED_SUFFIX = ".damaged"

#: How long a file is kept, in seconds: a week.
_KEPT_SECONDS = 7 * 24 * 3600.0

#: Most bytes of a file: a Redis string holds at most 512 MiB, so no result is larger.
_MOST_BYTES = 513 * 1024 * 1024

#: Digits of a file's name that identify its Redis and prefix.
_PLACE_DIGITS = 12


class KeptFile:
    """A file with an outcome, which no other process may deliver until it is let go.

    Args:
        path: of the file.
        descriptor: of the file, which holds its lock.
    """

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self._descriptor = descriptor

    def drop(self) -> None:
        """Delete it: Redis has the outcome, or nobody needs it any more."""
        with commit("drop_outcome"), suppress(FileNotFoundError):
            self.path.unlink()
        self.let_go()

    def let_go(self) -> None:
        """Let other processes deliver it."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


class FoundOutcome(KeptFile):
    """An outcome that no other process delivers while this block runs."""

    def __init__(self, path: Path, descriptor: int, home: Home, finish: Finish) -> None:
        super().__init__(path, descriptor)
        self.home = home
        self.finish = finish

    def __enter__(self) -> Self:
        """Deliver it in the block."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Leave it to others, if it was not dropped."""
        self.let_go()


class Spool:
    """The folder of one user on one host; created when the first outcome is kept.

    Args:
        folder: where it is.
    """

    def __init__(self, folder: str) -> None:
        self._folder = Path(folder)

    def keep(self, home: Home, finish: Finish) -> KeptFile:
        """Write an outcome to disk. Once this returns, it survives the process and a crash of the
        host.

        Raises:
            OSError: the disk does not accept it, or the folder belongs to another user.
        """
        with commit("keep_outcome"):
            self._open_folder()
            name = f"{_place(home.redis, home.prefix)}-{home.run_id}-{finish.token}"
            # The file appears complete and locked.
            draft = self._folder / f".{name}-{os.getpid()}"
            flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW
            descriptor = os.open(draft, flags, 0o600)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                _write_all(descriptor, _pack(home, finish))
                os.fsync(descriptor)
                path = self._folder / f"{name}{_SUFFIX}"
                draft.rename(path)
                _sync_folder(self._folder)
            except BaseException:
                os.close(descriptor)
                with suppress(OSError):
                    draft.unlink()
                raise
            return KeptFile(path, descriptor)

    def find(self, redis: str, prefix: str) -> Iterator[FoundOutcome]:
        """The outcomes for a Redis that no process holds any more, oldest first. Deletes files
        older than a week, for any Redis.
        """
        if not self._is_own():
            return
        place = _place(redis, prefix)
        found = []
        for entry in os.scandir(self._folder):
            with suppress(FileNotFoundError):
                status = entry.stat(follow_symlinks=False)
                if time.time() - status.st_mtime > _KEPT_SECONDS:
                    self._expire(entry.name)
                elif entry.name.startswith(place) and entry.name.endswith(_SUFFIX):
                    found.append((status.st_mtime_ns, entry.name))
        for _written_at, name in sorted(found):
            outcome = self._take(self._folder / name)
            if outcome is not None and (outcome.home.redis, outcome.home.prefix) == (redis, prefix):
                yield outcome
            elif outcome is not None:
                outcome.let_go()

    # How

    def _open_folder(self) -> None:
        with suppress(FileExistsError):
            self._folder.mkdir(mode=0o700, parents=True)
        if not self._is_own():
            raise PermissionError(f"{self._folder} is no folder of user {os.geteuid()}")
        if stat.S_IMODE(self._folder.stat().st_mode) & 0o077:
            self._folder.chmod(0o700)

    def _is_own(self) -> bool:
        # In a shared /var/tmp another user may have created it first.
        try:
            status = self._folder.lstat()
        except FileNotFoundError:
            return False
        return stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid()

    def _expire(self, name: str) -> None:
        _log.warning("%s/%s is older than a week: it is deleted", self._folder, name)
        with suppress(OSError):
            (self._folder / name).unlink()

    def _take(self, path: Path) -> FoundOutcome | None:
        """The outcome in a file; None if another process holds it, or it is not an outcome."""
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK)
        except OSError as error:
            if not isinstance(error, FileNotFoundError):
                _log.warning("%s is passed over: %s", path, error)
            return None
        try:
            return self._read(path, descriptor)
        except BaseException:
            os.close(descriptor)
            raise

    def _read(self, path: Path, descriptor: int) -> FoundOutcome | None:
        status = os.fstat(descriptor)
        sound = stat.S_ISREG(status.st_mode) and status.st_uid == os.geteuid()
        home_and_finish = None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # The process that held it a moment ago may have deleted it.
            if os.fstat(descriptor).st_nlink and sound and status.st_size <= _MOST_BYTES:
                home_and_finish = _unpack(_read_all(descriptor))
        except BlockingIOError:
            pass
        except (ValueError, TypeError, KeyError) as error:
            _log.warning("%s is no outcome: %s; it is set aside", path, error)
            with suppress(OSError):
                path.rename(path.with_suffix(_DAMAGED_SUFFIX))
        else:
            if not sound or status.st_size > _MOST_BYTES:
                _log.warning("%s is no file of ours, or too large: it is passed over", path)
        if home_and_finish is None:
            os.close(descriptor)
            return None
        return FoundOutcome(path, descriptor, *home_and_finish)


def _place(redis: str, prefix: str) -> str:
    return hashlib.sha256(f"{redis}\0{prefix}".encode()).hexdigest()[:_PLACE_DIGITS]


def _pack(home: Home, finish: Finish) -> bytes:
    fields = {**finish._asdict(), "progress": finish.progress._asdict()}
    packed: bytes = Packer().pack({"format": _FORMAT, "home": home._asdict(), "finish": fields})
    return packed


def _unpack(packed: bytes) -> tuple[Home, Finish]:
    """What :func:`_pack` packed.

    Raises:
        ValueError, TypeError, KeyError: it is something else.
    """
    record = unpackb(packed)
    if not isinstance(record, dict) or record.get("format") != _FORMAT:
        raise ValueError(f"it is not of format {_FORMAT}")
    home = Home(**record["home"])
    fields = record["finish"]
    growth = fields.get("growth")
    if growth is not None:
        chunks, children, queues = growth
        growth = Growth(chunks, children, tuple(queues))
        _check_types(growth, _A_GROWTH)
    finish = Finish(
        **{**fields, "progress": Progress(**fields["progress"]), "growth": growth},
    )
    known_finish = _A_FINISH._replace(growth=growth)
    for value, known in ((home, _A_HOME), (finish, known_finish), (finish.progress, Progress())):
        _check_types(value, known)
    return home, finish


#: Samples with the types of the fields.
_A_HOME = Home("", "", "", "", 1, 1, "")
_A_FINISH = Finish("", "", 1, "final", "", b"")
_A_GROWTH = Growth(1, 1, ())


def _check_types(value: tuple[Any, ...], known: tuple[Any, ...]) -> None:
    for one, other in zip(value, known, strict=True):
        if type(one) is not type(other):
            raise TypeError(f"{one!r:.80} is no {type(other).__name__}")


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def _read_all(descriptor: int) -> bytes:
    parts = []
    while part := os.read(descriptor, 1 << 20):
        parts.append(part)
    return b"".join(parts)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
