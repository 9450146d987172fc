"""Redis by TLS, and a user with a password: for commands, coordinators and stock workers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from redis import Redis

from distflow import connect
from distflow.core.status import RunStatus
from tests.conftest import StartWorker
from tests.integration.cli_runs import dag, started_commands
from tests.support.cli import run_cli
from tests.support.tasks.recording import lines, small_dag
from tests.support.tls import Authority, TlsServer

#: With characters that a URL needs percent-encoded.
PASSWORD = "p@ss/w:rd"
LOGIN = "flow:p%40ss%2Fw%3Ard@"


@pytest.fixture(scope="module")
def server() -> Iterator[TlsServer]:
    """A server with a user; whoever does not log in may do nothing."""
    server = TlsServer()
    with Redis.from_url(server.url()) as admin:
        admin.execute_command(
            *("ACL", "SETUSER", "flow", "on", f">{PASSWORD}", "~*", "&*", "+@all"),
        )
        admin.execute_command("ACL", "SETUSER", "default", "off")
    yield server
    server.close()


@pytest.fixture
def asking() -> Iterator[TlsServer]:
    """A server that asks its clients for a certificate."""
    server = TlsServer(ask=True)
    yield server
    server.close()


@pytest.fixture
def start(server: TlsServer, start_worker: StartWorker) -> str:
    """A stock worker listens; the URL that it was given."""
    url = server.url(LOGIN)
    start_worker(url)
    return url


def test_a_run_by_tls(start: str, tmp_path: Path) -> None:
    """From the command line and from Python, with a stock worker: by one and the same URL."""
    done = run_cli(start, "submit", *dag(tmp_path / "log"), "--run-id", "typed")
    assert done.returncode == 0, done.stderr
    client = connect(start)
    run = client.submit(small_dag, {"log": str(tmp_path / "log"), "size": 3})
    assert run.wait(timeout=30) == RunStatus.SUCCESS
    assert {"typed", run.run_id} <= set(client.run_ids())
    client.redis.close()
    assert len(lines(tmp_path / "log")) == 8


def test_a_front_by_tls(server: TlsServer, tmp_path: Path) -> None:
    """``distflow worker`` too."""
    url = server.url(LOGIN)
    client = connect(url)
    with started_commands() as start_command:
        start_command(url, "worker")
        run = client.submit(small_dag, {"log": str(tmp_path / "log"), "size": 1})
        assert run.wait(timeout=30) == RunStatus.SUCCESS
    client.redis.close()


def test_a_server_that_is_not_trusted(server: TlsServer, tmp_path: Path) -> None:
    """Another CA: one line that says what is wrong and how to mend it, and no password."""
    stranger = Authority(tmp_path, "stranger")
    for url in (server.url(LOGIN, ca=stranger.path), server.url(LOGIN).partition("?")[0]):
        done = run_cli(url, "runs")
        assert (done.returncode, done.stdout) == (5, "")
        assert len(done.stderr.splitlines()) == 1
        assert "certificate is not trusted" in done.stderr
        assert "ssl_ca_certs=" in done.stderr
        assert "p%40ss" not in done.stderr


def test_a_server_that_asks_for_a_certificate(asking: TlsServer, tmp_path: Path) -> None:
    """By ``ssl_certfile`` and ``ssl_keyfile`` in the URL; without them, one line says so."""
    certificate, key = asking.ca.issue(tmp_path, "client")
    shown = f"{asking.url()}&ssl_certfile={certificate}&ssl_keyfile={key}"
    done = run_cli(shown, "runs")
    assert done.returncode == 0, done.stderr
    none = run_cli(asking.url(), "runs")
    assert (none.returncode, none.stdout) == (5, "")
    assert len(none.stderr.splitlines()) == 1
    assert "ssl_certfile=" in none.stderr


@pytest.mark.parametrize(
    ("change", "code", "said"),
    [
        (("ca.crt", "nothing.crt"), 2, "nothing.crt"),
        (("flow:p", "flow:q"), 5, "refuses the login"),
        (("flow:p%40ss%2Fw%3Ard@", ""), 5, "refuses the login"),
        (("rediss://", "redis://"), 2, "ssl_ca_certs"),
    ],
)
def test_what_is_wrong_is_said(
    server: TlsServer, change: tuple[str, str], code: int, said: str
) -> None:
    """A file that is not there, a wrong password, none at all, TLS options without TLS."""
    done = run_cli(server.url(LOGIN).replace(*change), "runs")
    assert (done.returncode, done.stdout) == (code, ""), done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert said in done.stderr
    assert "p%40ss" not in done.stderr
