"""A coordinator says what its Redis should be told of keepalive."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.cli import start_cli
from tests.support.redis_server import TcpServer
from tests.support.wait import wait_for


@pytest.fixture
def server() -> Iterator[TcpServer]:
    """One that has clients by TCP."""
    server = TcpServer()
    yield server
    server.close()


@pytest.mark.parametrize(("host", "says"), [("127.0.0.1", False), ("0.0.0.0", True)])
def test_a_service_says_so(server: TcpServer, host: str, *, says: bool) -> None:
    """Where its Redis is not named as one of this host."""
    process = start_cli(server.url.replace("127.0.0.1", host), "coordinator")
    with server.client() as client:
        wait_for(lambda: client.keys("distflow:*"), 30, "the coordinator to be there")
        process.terminate()
        out, err = process.communicate(timeout=30)
    assert ("CONFIG SET tcp-keepalive 10" in out + err) == says
