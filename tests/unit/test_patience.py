"""What passes and what does not, in the words of each server; how long it is waited for."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest
from redis import Redis
from redis import exceptions as redis_errors
from redis._parsers import base as redis_parsers

from distflow.errors import RedisDenied, RedisRefuses, RedisUnavailable
from distflow.store.redis import patience
from distflow.store.redis.patience import (
    REFUSALS,
    call_patiently,
    find_refusal,
    hurry,
    is_passing,
    outlast,
)

#: Word -> what servers put on the wire: Redis 6.2 and 7.0, Valkey 9.1.
SAID = {
    "OOM": ["OOM command not allowed when used memory > 'maxmemory'."],
    "READONLY": [
        "READONLY You can't write against a read only replica.",
        (
            "ERR WAITAOF cannot be used with replica instances. Please also note that writes to "
            "replicas are just local and are not propagated."
        ),
    ],
    "NOREPLICAS": ["NOREPLICAS Not enough good replicas to write."],
    "MISCONF": [
        (
            "MISCONF Redis is configured to save RDB snapshots, but it is currently not able to "
            "persist on disk. Commands that may modify the data set are disabled."
        ),
        "MISCONF Errors writing to the AOF file: No space left on device",
    ],
    "BUSY": [
        "BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.",
        "BUSY Redis is busy running a script. You can only call FUNCTION KILL or SHUTDOWN NOSAVE.",
        "BUSY Valkey is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.",
    ],
    "LOADING": [
        "LOADING Redis is loading the dataset in memory",
        "LOADING Valkey is loading the dataset in memory",
    ],
    "MASTERDOWN": [
        "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'."
    ],
    "CLUSTERDOWN": ["CLUSTERDOWN Hash slot not served", "CLUSTERDOWN The cluster is down"],
    "TRYAGAIN": ["TRYAGAIN Multiple keys request during rehashing of slot"],
    "UNBLOCKED": [
        (
            "UNBLOCKED force unblock from blocking operation, instance state changed "
            "(master -> replica?)"
        ),
        "UNBLOCKED client unblocked via CLIENT UNBLOCK",
    ],
    "KILLED": ["ERR Script killed by user with SCRIPT KILL..."],
    "MAXCLIENTS": [
        "ERR max number of clients reached",
        "ERR max number of clients + cluster connections reached",
    ],
}

#: How servers and redis-py wrap such words.
_SHA = "29150ea058de2f613a1c5d75f818dad54f48b126"
WRAPPED: dict[str, Callable[[str], str]] = {
    "plain": lambda said: said,
    "in a script of 6.2": lambda said: (
        f"ERR Error running script (call to f_{_SHA}): @user_script:1: @user_script: 1: -{said}"
    ),
    "in a called script of 6.2": lambda said: f"@user_script: 1: -{said}",
    "in a script of 7.0": lambda said: f"{said} script: {_SHA}, on @user_script:1.",
    "in a script of 9.1": lambda said: f"{said} script: on @user_script:1.",
    "by EXEC": lambda said: f"EXECABORT Transaction discarded because of: {said}",
}

#: What lasts, although some of it looks much the same.
LASTING = [
    "ERR unknown command 'OOM', with args beginning with: ",
    "WRONGTYPE Operation against a key holding the wrong kind of value",
    "NOAUTH Authentication required.",
    "WRONGPASS invalid username-password pair or user is disabled.",
    "NOPERM User worker has no permissions to run the 'set' command",
    "BUSYGROUP Consumer Group name already exists",
    "BUSYKEY Target key name already exists.",
    "NOSCRIPT No matching script. Please use EVAL.",
    "MOVED 3999 127.0.0.1:6381",
    "CROSSSLOT Keys in request don't hash to the same slot",
    "EXECABORT Transaction discarded because of previous errors.",
    "ERR DB index is out of range",
    "ERR value is not an integer or out of range",
    "DENIED Redis is running in protected mode",
    f"ERR Error running script (call to f_{_SHA}): @user_script:3: user_script:3: OOM",
]


def parsed(line: str) -> redis_errors.RedisError:
    """As redis-py reads it from the wire."""
    error = redis_parsers.BaseParser.parse_error(line)  # type: ignore[no-untyped-call]
    assert isinstance(error, redis_errors.RedisError)
    return error


def in_a_pipeline(error: redis_errors.RedisError, *command: str) -> redis_errors.RedisError:
    """As redis-py raises it from a pipeline."""
    with Redis() as client, client.pipeline() as pipeline:
        pipeline.annotate_exception(error, 1, command)
    return error


def told() -> list[Any]:
    """Word and line, of every refusal in every wrapping."""
    return [
        pytest.param(word, wrap(line), id=f"{word} {how}")
        for word, lines in SAID.items()
        for line in lines
        for how, wrap in WRAPPED.items()
    ]


@pytest.mark.parametrize(("word", "line"), told())
def test_a_refusal_is_known_however_it_is_said(word: str, line: str) -> None:
    """Alone and in a pipeline; by a script, which old servers put a place before."""
    assert find_refusal(parsed(line)) == REFUSALS[word]
    piped = in_a_pipeline(parsed(line), "EVALSHA", "x", "\n WRONGTYPE -READONLY of pipeline")
    assert find_refusal(piped) == REFUSALS[word]
    assert is_passing(piped)


def test_every_refusal_is_shown() -> None:
    """None is in the table that no server says."""
    assert REFUSALS.keys() == SAID.keys()


@pytest.mark.parametrize("line", LASTING)
def test_what_lasts_is_no_refusal(line: str) -> None:
    """Nor does it become one by the command that a pipeline quotes."""
    assert not is_passing(parsed(line))
    quoted = in_a_pipeline(parsed(line), "SET", "a", ") of pipeline caused error: OOM")
    assert not is_passing(quoted)


def test_away_passes_and_other_errors_do_not() -> None:
    """A cut does; a password that is refused does not, although redis-py calls both the same."""
    assert is_passing(redis_errors.ConnectionError("Connection refused"))
    assert is_passing(redis_errors.TimeoutError("Timeout reading from socket"))
    assert not is_passing(redis_errors.AuthenticationError("invalid password"))
    assert not is_passing(redis_errors.AuthorizationError("no"))
    assert not is_passing(redis_errors.WatchError("Watched variable changed."))
    assert not is_passing(ValueError("OOM"))


class Clock:
    """Time that passes by sleeping alone."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.slept: list[float] = []

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """That of patience."""
    clock = Clock()
    monkeypatch.setattr(patience, "time", clock)
    return clock


def failing(*errors: Exception) -> Callable[[], str]:
    """A call that raises these, one after another, and then answers."""
    left = list(errors)

    def call() -> str:
        if left:
            raise left.pop(0)
        return "done"

    return call


def always(line: str) -> Callable[[], str]:
    """A call that a server answers with this for ever."""

    def call() -> str:
        raise parsed(line)

    return call


def test_it_is_tried_until_it_passes(clock: Clock) -> None:
    """Whichever trouble follows which; the pauses grow to a second and no more."""
    errors = [parsed(SAID[word][0]) for word in SAID] + [redis_errors.ConnectionError("gone")]
    assert call_patiently(failing(*errors), 60) == "done"
    assert len(clock.slept) == len(errors)
    assert clock.slept[0] == pytest.approx(0.2)
    assert max(clock.slept) <= 1.0


def test_patience_ends(clock: Clock) -> None:
    """After as long as it was given, and within a pause of that."""
    with pytest.raises(RedisRefuses, match=r"refuses with NOREPLICAS: .*min-replicas-to-write"):
        call_patiently(always(SAID["NOREPLICAS"][0]), 60)
    assert 60 <= clock.now - 1000 <= 61
    with pytest.raises(RedisUnavailable, match="cannot be reached: gone"):
        call_patiently(failing(redis_errors.ConnectionError("gone")), 0)


def test_who_is_told_to_end_waits_no_longer(clock: Clock) -> None:
    """Two seconds more, whatever the patience was, so that a service can be stopped; another client
    of the same process waits on.
    """

    class Client:
        """Anything that may be referred to weakly."""

    told, other = Client(), Client()
    hurry(told, lambda: clock.now >= 1010)
    with pytest.raises(RedisRefuses):
        call_patiently(always(SAID["OOM"][0]), 60, told)
    assert 1012 <= clock.now <= 1014
    with pytest.raises(RedisRefuses):
        call_patiently(always(SAID["OOM"][0]), 60, other)
    assert clock.now >= 1072


def test_what_lasts_is_raised_at_once(clock: Clock) -> None:
    """As it came."""
    with pytest.raises(redis_errors.ResponseError, match="unknown command"):
        call_patiently(always("ERR unknown command 'OOM'"), 60)
    assert clock.slept == []


@pytest.mark.parametrize(
    "said",
    [
        "NOPERM no",
        "NOAUTH Authentication required.",
        "WRONGPASS invalid username-password pair or user is disabled.",
        "ERR ACL failure in script: User worker has no permissions to run the 'set' command",
        "ERR The user executing the script can't run this command or subcommand",
    ],
)
def test_a_missing_right_is_an_error_of_ours(clock: Clock, said: str) -> None:
    """Who waits for a Redis that is away does not wait for that: it is none of those errors."""
    with pytest.raises(RedisDenied, match="Redis cannot be used: ") as raised:
        call_patiently(always(said), 60)
    assert raised.value.exit_code == 5
    assert not isinstance(raised.value, RedisUnavailable)
    assert isinstance(raised.value.__cause__, redis_errors.RedisError)
    assert clock.slept == []


def test_each_trouble_has_its_patience(clock: Clock) -> None:
    """A worker waits longer for a Redis that refuses than for one that is away."""
    waits: dict[str, Any] = {"away_seconds": 40.0, "refused_seconds": float("inf")}
    refused = [parsed(SAID["OOM"][0])] * 5000
    assert outlast(failing(*refused), **waits) == "done"
    assert clock.now - 1000 > 4000
    with pytest.raises(redis_errors.ConnectionError):
        outlast(failing(*[redis_errors.ConnectionError("gone")] * 100), **waits)


def test_a_trouble_is_told_once_a_minute(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    """Within 3 seconds, with the mend; its end as well; a short one not at all."""
    call_patiently(failing(parsed(SAID["OOM"][0])), 60)
    assert not caplog.records
    caplog.set_level(logging.WARNING, "distflow.redis")
    outlast(failing(*[parsed(SAID["OOM"][0])] * 100), away_seconds=0, refused_seconds=float("inf"))
    first, *again, last = [record.getMessage() for record in caplog.records]
    assert first.startswith("Redis refuses with OOM: it has reached its maxmemory; raise maxmemory")
    assert len(again) == 1
    assert last.startswith("Redis works again after 9")


def test_a_new_connection_may_find_another_primary(clock: Clock) -> None:
    """The idle ones to a server that was made a replica are closed; those to a full one stay."""

    class Pool:
        closed = 0

        def disconnect(self, *, inuse_connections: bool) -> None:
            assert not inuse_connections
            self.closed += 1

    class Client:
        connection_pool = Pool()

    call_patiently(failing(parsed(SAID["OOM"][0])), 60, Client())
    assert Client.connection_pool.closed == 0
    call_patiently(failing(parsed(SAID["READONLY"][0])), 60, Client())
    assert Client.connection_pool.closed == 1
