"""The private Redis server of ``distflow run``: one per folder, shared by its users.

Three locks in the folder keep it consistent, whichever process dies:

* ``start.lock``: held while the server is started or stopped;
* ``users.lock``: held, shared, by each process that uses the server; the last one stops it;
* ``server.lock``: inherited and so held by the server itself, for as long as it lives. Two
  servers on one append-only file would destroy it, and no pid file can rule that out.
"""

from __future__ import annotations

import os
import re
import signal
import stat
import subprocess
import tempfile
import time
from collections import deque
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import quote

from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import BusyLoadingError, RedisError
from redis.retry import Retry

from distflow.errors import InvalidInput, RedisUnavailable
from distflow.local.data import choose_binary, note_writer
from distflow.local.folder import close_folder, open_log
from distflow.local.locks import FileLock, exclusive, is_held

#: How long a server may take to answer, not counting the loading of its data, or to exit.
START_SECONDS = 30.0
STOP_SECONDS = 10.0

_POLL_SECONDS = 0.02
#: Bytes; the kernels' limits on the path of a unix socket are 104 and 108.
_SOCKET_PATH_LIMIT = 100
#: The file that names the folder of the socket, if the path of the data folder is too long.
_SOCKET_NOTE = "socket-folder"
#: The prefix of a line of the server's log: pid, role, time, level.
_LOG_PREFIX = re.compile(r"^\d+:\w .*?\.\d{3} [.*#-] ")
#: The servers that this process started, by pid, so that their exit status is reaped.
_children: dict[int, subprocess.Popen[bytes]] = {}


class PrivateRedis:
    """A running server, in use by this process from ``start`` to ``stop``.

    Leaving it as a context manager stops it too. A killed user gives up its share by dying; a
    server that it left behind serves the next user of the folder.
    """

    def __init__(self, data_dir: Path, socket: Path, pid: int, users: FileLock) -> None:
        self.data_dir = data_dir
        self.socket = socket
        #: The server's process id.
        self.pid = pid
        self._users: FileLock | None = users

    @property
    def url(self) -> str:
        """The URL for redis-py and ``rq worker --url``: ``unix:///…/redis.sock``."""
        return "unix://" + quote(os.fspath(self.socket))

    @classmethod
    def start(cls, data_dir: Path | str, *, binary: Path | None = None) -> Self:
        """Use the running server of ``data_dir``, or start one.

        Acknowledged writes are on disk (append-only, fsync always), and the next server on the
        folder loads them. ``binary`` defaults to the first server of this machine that can open
        the folder's data: see ``choose_binary``.

        Raises:
            InvalidInput: the folder cannot be used, there is no usable server binary, or none can
                open the data.
            RedisUnavailable: the server does not start; the message quotes the end of its log.
        """
        folder = _usable_folder(Path(data_dir))
        with exclusive(folder / "start.lock"):
            users = FileLock(folder / "users.lock")
            try:
                users.acquire_shared()
                socket, pid = _running_server(folder, binary)
            except BaseException:
                users.release()
                raise
            return cls(folder, socket, pid, users)

    def stop(self) -> None:
        """End this process's use; the last user shuts the server down and waits until it is gone.

        Raises:
            RedisUnavailable: the server did not exit, not even when killed.
        """
        users, self._users = self._users, None
        if users is None:
            return
        try:
            with exclusive(self.data_dir / "start.lock"):
                if users.try_exclusive():
                    self._shut_down()
        finally:
            users.release()

    def _shut_down(self) -> None:
        with suppress(RedisError), _client(self.socket) as client:
            client.shutdown()
        # Killing it loses nothing: acknowledged writes are on disk.
        if not (_server_gone(self.data_dir, self.pid, STOP_SECONDS) or self._killed()):
            raise RedisUnavailable(f"the Redis server of {self.data_dir} does not stop")
        if self.socket.parent != self.data_dir:
            with suppress(OSError):
                self.socket.unlink(missing_ok=True)
                self.socket.parent.rmdir()

    def _killed(self) -> bool:
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        return _server_gone(self.data_dir, self.pid, STOP_SECONDS)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()


def _usable_folder(data_dir: Path) -> Path:
    # Resolved, so that every user of the folder derives the same socket path.
    try:
        folder = data_dir.expanduser().resolve()
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        close_folder(folder)
        FileLock(folder / "start.lock").release()
    except (OSError, RuntimeError) as error:
        raise InvalidInput(f"data folder {data_dir} cannot be used: {error}") from error
    return folder


def _running_server(folder: Path, binary: Path | None) -> tuple[Path, int]:
    """The socket and the pid of the folder's server; needs ``start.lock``."""
    server = FileLock(folder / "server.lock")
    try:
        process = None
        if server.try_exclusive():
            process = _spawn(folder, choose_binary(folder, binary), server)
    finally:
        server.release()
    socket = _socket_of(folder)
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        try:
            with _client(socket) as client:
                # INFO alone would not do: Redis answers it while still loading its data.
                client.ping()
                info = client.info("server")
                note_writer(folder, info)
                return socket, int(info["process_id"])
        except BusyLoadingError:
            deadline = time.monotonic() + START_SECONDS
        except RedisError:
            if process is not None and process.poll() is not None:
                raise RedisUnavailable(
                    f"the private Redis server does not start: {_last_words(folder)}"
                ) from None
            if not is_held(folder / "server.lock"):
                # It was alive a moment ago, and has died since.
                return _running_server(folder, binary)
        time.sleep(_POLL_SECONDS)
    raise RedisUnavailable(
        f"the Redis server of {folder} runs but does not answer on {socket} "
        f"(see {folder / 'redis.log'})"
    )


def _spawn(folder: Path, binary: Path, lock: FileLock) -> subprocess.Popen[bytes]:
    settings: dict[str, str | Path] = {
        "dir": folder,
        "logfile": folder / "redis.log",
        "unixsocket": _new_socket(folder),
        "unixsocketperm": "700",
        "port": "0",
        "daemonize": "no",
        "appendonly": "yes",
        "appendfsync": "always",
        "save": "",
        "maxmemory-policy": "noeviction",
    }
    command = [os.fspath(binary)]
    for name, value in settings.items():
        command += [f"--{name}", os.fspath(value)]
    with open_log(folder / "redis.log") as log:
        # A session of its own: Ctrl-C at the terminal is for the coordinator, not for Redis.
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=folder,
            start_new_session=True,
            pass_fds=(lock.fd,),
            # The folder may be open: what is in it need not be.
            umask=0o077,
        )
    _children[process.pid] = process
    return process


def _socket_of(folder: Path) -> Path:
    """Where the folder's server listens: in the folder, or where the note in it says."""
    usual = folder / "redis.sock"
    if len(os.fsencode(usual)) < _SOCKET_PATH_LIMIT:
        return usual
    with suppress(OSError):
        return Path((folder / _SOCKET_NOTE).read_text(encoding="utf-8"), "redis.sock")
    return usual


def _new_socket(folder: Path) -> Path:
    """Like ``_socket_of``, for a new server: where the path is too long, make a short one."""
    socket = _socket_of(folder)
    too_long = len(os.fsencode(socket)) >= _SOCKET_PATH_LIMIT
    if too_long or (socket.parent != folder and not _is_private(socket.parent)):
        short = tempfile.mkdtemp(prefix="distflow-")
        (folder / _SOCKET_NOTE).write_text(short, encoding="utf-8")
    return _socket_of(folder)


def _is_private(folder: Path) -> bool:
    # In a shared /tmp, somebody else may have recreated a deleted folder.
    with suppress(OSError):
        status = folder.lstat()
        return (
            stat.S_ISDIR(status.st_mode)
            and status.st_uid == os.getuid()
            and not status.st_mode & 0o077
        )
    return False


def _client(socket: Path) -> Redis:
    return Redis(
        unix_socket_path=os.fspath(socket), socket_timeout=5.0, retry=Retry(NoBackoff(), 0)
    )


def _server_gone(folder: Path, pid: int, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while is_held(folder / "server.lock"):
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL_SECONDS)
    child = _children.pop(pid, None)
    if child is not None:
        child.wait()
    return True


def _last_words(folder: Path) -> str:
    """The last two lines of the server's log, joined."""
    with (folder / "redis.log").open(encoding="utf-8", errors="replace") as log:
        lines = deque((_LOG_PREFIX.sub("", line).strip() for line in log), maxlen=2)
    return " / ".join(line for line in lines if line) or "it said nothing"
