"""Redis users with the rights that docs/how-to/redis.md gives them, and no more."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from click.testing import CliRunner
from redis import Redis
from redis import exceptions as redis_errors

from distflow.backends.redis_rq import RedisBackend
from distflow.cli import main
from distflow.local.binary import read_release
from tests.conftest import StartWorker
from tests.integration.cli_runs import FLOWS, begun, dag, end, held, started_commands
from tests.support.cli import SHORT_LEASE
from tests.support.pages import read_sections, read_text
from tests.support.redis_server import RedisServer, redis_binaries, version_name
from tests.support.tasks.recording import lines
from tests.support.wait import wait_for

#: A listener of two queues takes its jobs by another command than one of one.
QUEUES = ("default", "low")

#: ``Without `+client|setinfo` on Redis 7.0``, as the page says it.
LEFT_OUT = re.compile(r"without `(\S+)` on (Redis [\d.]+)")


class Users(NamedTuple):
    """A server that only the users of the page may use, and an administrator's client of it."""

    admin: Any
    coordinator: str
    worker: str


def rules(binary: Path) -> dict[str, list[str]]:
    """The rules of each user for this server, as the page has them: lines of an ACL file, folded by
    backslashes, and what is left out of them.
    """
    sections = {each.title: each for each in read_sections("docs/how-to/redis.md")}
    text = sections["Redis users"].blocks[0].text.replace("\\\n", " ")
    users = [line.split() for line in text.splitlines()]
    assert all(words[:1] == ["user"] for words in users)
    unknown = left_out(binary)
    assert all(unknown <= set(words) for words in users)
    return {words[1]: [word for word in words[2:] if word not in unknown] for words in users}


def left_out(binary: Path) -> set[str]:
    """The words that the page tells to leave out on this server."""
    told = LEFT_OUT.findall(" ".join(read_text("docs/how-to/redis.md").split()))
    return {word for word, server in told if server == str(read_release(binary))}


@pytest.fixture(scope="module", params=redis_binaries(), ids=version_name)
def server(request: pytest.FixtureRequest) -> Iterator[RedisServer]:
    """A server of each version, with the page's users on it."""
    server = RedisServer(request.param)
    with server.client() as admin:
        for name, words in rules(server.binary).items():
            admin.execute_command("ACL", "SETUSER", name, *words)
    yield server
    server.close()


@pytest.fixture
def users(server: RedisServer) -> Iterator[Users]:
    """The page's users; a test that provokes no refusal may see none."""
    path = server.url.removeprefix("unix://")
    urls = [
        f"unix://{name}:{next(word[1:] for word in words if word[0] == '>')}@{path}"
        for name, words in rules(server.binary).items()
    ]
    with server.client() as admin:
        admin.acl_log_reset()
        yield Users(admin, *urls)
        denied = [(entry["username"], entry["object"]) for entry in admin.acl_log()]
        assert denied == []


def test_the_rights_suffice(users: Users, start_worker: StartWorker, tmp_path: Path) -> None:
    """A life of runs with exactly these users: nothing is denied, also not where nobody would see
    it.
    """
    # In this process: twenty interpreters would take most of the test's time.
    commands = CliRunner(env={"DISTFLOW_REDIS_URL": users.coordinator, **SHORT_LEASE})

    def cli(*words: str, code: int = 0) -> str:
        done = commands.invoke(main, words)
        assert done.exit_code == code, done.output
        return done.stdout

    log, gate = tmp_path / "log", tmp_path / "gate"
    doomed = start_worker(users.worker, QUEUES)
    with started_commands() as start:
        flow = [f"{FLOWS}:payment", "-p", f"log={log}", "-p", f"gate={gate}"]
        leader = start(users.coordinator, "submit", *flow, "--run-id", "paid")
        wait_for(lambda: "charge" in {words[0] for words in lines(log)}, 20, "the charge")
        doomed.kill()
        assert end(leader)[0] == 3
        start_worker(users.worker, extra_args=("-c", "distflow_worker.settings"))
        cli("resolve", "paid", "charge", "--done", '"x"')
        cli("resume", "paid")
        cli("submit", *dag(log, 20), "--run-id", "dag")
        cli("submit", f"{FLOWS}:effects", "-p", f"log={log}", "--run-id", "bad", code=1)
        cli("resume", "bad", code=1)
        cli("export", "dag", "-o", str(tmp_path / "file"))
        cli("import", str(tmp_path / "file"), "--run-id", "copy")
        cli("resume", "copy")
        grown = ["tests.support.tasks.fan_out:fan_out", "-p", "bad=1", "-p", "allowed=1"]
        cli("submit", *grown, "--run-id", "grown")
        cli("export", "grown", "-o", str(tmp_path / "grown"))
        cli("import", str(tmp_path / "grown"), "--run-id", "regrown")
        cli("resume", "regrown")
        (folder := tmp_path / "held").mkdir()
        leader = start(users.coordinator, "submit", *held(folder), "--run-id", "held")
        wait_for(lambda: begun(folder), 20, "the task to begin")
        cli("pause", "held")
        cli("cancel", "held", "--grace", "0")
        end(leader)
        service = start(users.coordinator, "coordinator")
        cli("submit", *dag(log), "--run-id", "left", "--detach")
        cli("watch", "left")
        service.terminate()
        assert end(service)[0] == 0
    for words in ("status dag --tasks", "show paid charge", "runs", "graph --run dag", "workers"):
        assert cli(*words.split())
    cli("delete", "paid", "dag", "bad", "copy", "grown", "regrown", "held")
    cli("purge", "--older-than", "0s")
    assert list(users.admin.scan_iter("distflow:{*")) == []


@pytest.mark.parametrize("name", ["coordinator", "worker"])
@pytest.mark.parametrize(
    "command",
    [
        *("FLUSHALL", "KEYS *", "CONFIG SET maxmemory 1", "ACL LIST", "SHUTDOWN", "MONITOR"),
        *("GET other", "SET other 1", "PUBLISH other 1", "CLIENT KILL ID 1"),
    ],
)
def test_the_rights_are_few(users: Users, name: str, command: str) -> None:
    """Neither the server nor the keys and channels of others are theirs."""
    with (
        Redis.from_url(getattr(users, name)) as client,
        pytest.raises(redis_errors.NoPermissionError),
    ):
        client.execute_command(*command.split())
    users.admin.acl_log_reset()


@pytest.mark.parametrize("word", ["+client|setinfo"])
def test_what_is_left_out_is_refused(server: RedisServer, word: str) -> None:
    """A word that the page leaves out on a server makes no user there, and does on any other."""
    with server.client() as admin:
        refused = pytest.raises(redis_errors.ResponseError, match="Unknown command")
        with refused if word in left_out(server.binary) else nullcontext():
            admin.execute_command("ACL", "SETUSER", "nobody", word)


def test_workers_see_no_indices(users: Users) -> None:
    """A worker needs the keys of runs, not the lists of them."""
    with Redis.from_url(users.worker) as client, pytest.raises(redis_errors.NoPermissionError):
        client.zrange("distflow:runs", 0, -1)
    users.admin.acl_log_reset()


def test_a_worker_may_ask_for_its_name(users: Users) -> None:
    """``distflow worker --name`` looks whether there is one already: nothing of that is denied."""
    with Redis.from_url(users.worker) as client:
        assert not RedisBackend(client).has_worker("anna")
