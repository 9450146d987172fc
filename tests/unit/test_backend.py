"""RedisBackend, where no server is needed: its errors and its views."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

import pytest
from redis import Redis
from redis import exceptions as redis_errors

from distflow.backends.redis_rq import RedisBackend, open_backend
from distflow.errors import (
    DistflowError,
    InvalidInput,
    RedisDenied,
    RedisRefuses,
    RedisUnavailable,
)
from distflow.ports.backend import Backend
from distflow.runs.client import Client

#: Nobody listens there.
AWAY = "unix:///nowhere/redis.sock"


def away(patience_seconds: float = 60.0) -> RedisBackend:
    """A backend whose server is away."""
    return RedisBackend(Redis.from_url(AWAY, retry=None), patience_seconds=patience_seconds)


@pytest.mark.parametrize(
    ("error", "words", "kind"),
    [
        (
            redis_errors.NoPermissionError("NOPERM no right"),
            "Redis cannot be used: NOPERM no right",
            RedisDenied,
        ),
        (
            redis_errors.AuthenticationError("WRONGPASS"),
            "Redis cannot be used: WRONGPASS",
            RedisDenied,
        ),
        (
            redis_errors.ResponseError("unknown"),
            "Redis cannot be used: unknown",
            RedisUnavailable,
        ),
        (
            redis_errors.ConnectionError("refused"),
            "Redis cannot be reached: refused",
            RedisUnavailable,
        ),
        (
            redis_errors.ResponseError("MISCONF x"),
            "Redis refuses with MISCONF: it could not save",
            RedisUnavailable,
        ),
    ],
)
def test_errors_of_redis_py_become_ours(
    error: Exception, words: str, kind: type[DistflowError]
) -> None:
    """Whatever it is, nobody above the backend need know its class."""
    with pytest.raises(kind) as raised, away().translate_errors():
        raise error
    assert str(raised.value).startswith(words)
    assert raised.value.__cause__ is error


def test_errors_of_others_come_through() -> None:
    """What is distflow's already, and what is the caller's own."""
    for error in (RedisRefuses("full"), ValueError("mine")):
        with pytest.raises(type(error)) as raised, away().translate_errors():
            raise error
        assert raised.value is error


def test_a_view_has_its_own_patience() -> None:
    """Over the same connection; an answer is not waited for without any."""
    patient = away()
    view = patient.with_patience(0.0)
    assert view.redis is patient.redis
    began = time.monotonic()
    calls: list[Callable[[], object]] = [
        view.run_ids,
        view.workers,
        view.coordinators,
        view.are_workers_suspended,
        partial(view.has_worker, "w"),
        view.store("r").read_info,
        lambda: view.dispatcher.count_workers(["default"]),
        lambda: view.settle_server(None, allow_eviction=False),
    ]
    for call in calls:
        with pytest.raises(RedisUnavailable, match="Redis cannot be reached"):
            call()
    assert time.monotonic() - began < 5.0
    assert view.find_apart("r", ["default"]) == []


def test_what_is_made_once() -> None:
    """They remember what they have seen of the server."""
    backend = away()
    assert backend.dispatcher is backend.dispatcher
    assert backend.service is backend.service
    assert isinstance(backend, Backend)


def test_a_client_of_a_backend() -> None:
    """It is used as it is: its prefix and its Redis are the client's."""
    backend = RedisBackend(Redis.from_url(AWAY), "team")
    client = Client(backend)
    assert client.backend is backend
    assert (client.prefix, client.redis) == ("team", backend.redis)


def test_a_server_that_does_not_answer() -> None:
    """It is reached when it is opened: whoever cannot be used is told of at once."""
    with pytest.raises(RedisUnavailable, match="cannot be reached"):
        open_backend(AWAY, tries_once=True)
    with pytest.raises(InvalidInput):
        open_backend("http://localhost")
