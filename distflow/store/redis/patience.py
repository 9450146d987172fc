"""Patience with Redis: retries what a restart, a failover, a lost connection or a refusal breaks.

This alone decides which errors are temporary, for commands, coordinators, services and workers. A
refused command was not executed, so any command may be sent again. After a lost reply, the command
must be idempotent.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar
from weakref import WeakKeyDictionary

from redis import exceptions as redis_errors

from distflow.errors import RedisDenied, RedisRefuses, RedisUnavailable
from distflow.logs import get_logger

_log = get_logger("distflow.redis")

_T = TypeVar("_T")

#: How a restart, a failover or a lost connection shows up here.
_AWAY = (redis_errors.ConnectionError, redis_errors.TimeoutError)

#: redis-py derives these from the above, but waiting does not help.
_LASTING = (redis_errors.AuthenticationError, redis_errors.AuthorizationError)

#: How scripts tell of a missing right: from Redis 7 on, and up to 6.2.
_DENIED_IN_SCRIPT = ("ACL failure in script", "The user executing the script can't")

#: Seconds between two tries, growing, so that a restarting server is left alone.
_FIRST_PAUSE_SECONDS = 0.2
_LONGEST_PAUSE_SECONDS = 1.0
_PAUSE_GROWTH = 1.25

#: Seconds of trouble before the first log line, and between two lines. With less patience than the
#: last of these nothing is logged, since the error at the end says it.
_TELL_AFTER_SECONDS = 0.5
_TELL_AGAIN_SECONDS = 60.0
_TELL_PATIENCE_SECONDS = 5.0

#: The longest wait of a process that was told to end, in seconds.
_HURRIED_SECONDS = 2.0

#: Client -> says whether the process that uses it was told to end.
_told_to_end: WeakKeyDictionary[Any, Callable[[], bool]] = WeakKeyDictionary()


class Refusal(NamedTuple):
    """One kind of refusal."""

    #: The first word of Redis's error.
    word: str
    #: Why Redis refuses.
    why: str
    #: What ends it.
    mend: str
    #: Whether another server may be the primary by now, so that a new connection may help.
    is_elsewhere: bool = False

    def __str__(self) -> str:
        return f"{self.word}: {self.why}; {self.mend}"


_ALL = (
    Refusal(
        "OOM",
        "it has reached its maxmemory",
        "raise maxmemory, or free memory with `distflow purge --older-than 7d`",
    ),
    Refusal(
        "READONLY",
        "it is a replica and takes no writes",
        "after a failover this ends by itself; else give the URL of the primary, or one that "
        "begins with redis+sentinel://",
        is_elsewhere=True,
    ),
    Refusal(
        "NOREPLICAS",
        "fewer replicas are connected than min-replicas-to-write requires",
        "start its replicas, or `redis-cli CONFIG SET min-replicas-to-write 0`",
    ),
    Refusal(
        "MISCONF",
        "it could not save its data to disk",
        "look at its log and its disk, then `redis-cli BGSAVE`",
    ),
    Refusal(
        "BUSY",
        "it has been running one script for a long time",
        "wait until it ends, or `redis-cli SCRIPT KILL`",
    ),
    Refusal(
        "LOADING",
        "it has just started and is still loading its data",
        "wait: `redis-cli INFO persistence` shows how long",
    ),
    Refusal(
        "MASTERDOWN",
        "it is a replica that has lost its primary (replica-serve-stale-data is no)",
        "start the primary, or give its URL",
        is_elsewhere=True,
    ),
    Refusal(
        "CLUSTERDOWN",
        "its cluster is down, or nobody serves the slot of a key",
        "look at `redis-cli CLUSTER INFO`",
        is_elsewhere=True,
    ),
    Refusal(
        "TRYAGAIN",
        "its cluster is moving the slot of a key",
        "wait until it has moved",
        is_elsewhere=True,
    ),
    Refusal(
        "UNBLOCKED",
        "it was made a replica, or somebody ended the wait with CLIENT UNBLOCK",
        "after a failover this ends by itself",
        is_elsewhere=True,
    ),
    Refusal(
        "KILLED",
        "somebody ended the script with SCRIPT KILL",
        "nothing: the script is sent again",
    ),
    Refusal(
        "MAXCLIENTS",
        "it has as many clients as its maxclients allows",
        "raise maxclients, or stop some of its clients",
    ),
)

#: Every temporary refusal, by its word.
REFUSALS = {refusal.word: refusal for refusal in _ALL}

#: For these redis-py removes the word from the message and raises a class of its own.
_WORD_OF_CLASS = (
    (redis_errors.OutOfMemoryError, "OOM"),
    (redis_errors.ReadOnlyError, "READONLY"),
    (redis_errors.BusyLoadingError, "LOADING"),
    # This first: it is a ClusterDownError as well.
    (redis_errors.MasterDownError, "MASTERDOWN"),
    (redis_errors.ClusterDownError, "CLUSTERDOWN"),
    (redis_errors.TryAgainError, "TRYAGAIN"),
)

#: Errors without a word of their own.
_WORD_OF_PHRASE = {
    "max number of clients": "MAXCLIENTS",
    "Script killed by user": "KILLED",
    # Said by a primary that was made a replica after the write that is waited for.
    "WAITAOF cannot be used with replica": "READONLY",
}

#: What may precede the word: redis-py's text for a command in a pipeline, which it quotes; that of
#: EXEC; and, up to Redis 6.2, the position in a script.
_BEFORE = re.compile(
    r"(?:Command # \d+ \(.*\) of pipeline caused error: )?"
    r"(?:(?:EXECABORT )?Transaction discarded because of: )?"
    r"(?:(?:ERR )?Error running script \(call to f_[0-9a-f]+\): )?"
    r"(?:@\w+: ?\d+: )*-?(?:ERR )?",
    re.DOTALL,
)
_WORD = re.compile(r"[A-Z]+\b")


def find_refusal(error: BaseException) -> Refusal | None:
    """The refusal behind an error of redis-py; None if it is any other error."""
    if not isinstance(error, redis_errors.RedisError):
        return None
    for kind, word in _WORD_OF_CLASS:
        if isinstance(error, kind):
            return REFUSALS[word]
    text = str(error)
    before = _BEFORE.match(text)
    said = text[before.end() :] if before else text
    for phrase, word in _WORD_OF_PHRASE.items():
        if said.startswith(phrase):
            return REFUSALS[word]
    found = _WORD.match(said)
    return REFUSALS.get(found[0]) if found else None


def is_elsewhere(error: BaseException) -> bool:
    """Whether another server may be the primary by now, so that a new connection may help."""
    refusal = find_refusal(error)
    return refusal is not None and refusal.is_elsewhere


def is_passing(error: BaseException) -> bool:
    """Whether an error of redis-py is temporary: Redis is away, or refuses for now.

    A wrong password, a missing right and a wrong command are not.
    """
    if find_refusal(error) is not None:
        return True
    return isinstance(error, _AWAY) and not isinstance(error, _LASTING)


def is_denied(error: BaseException) -> bool:
    """Whether Redis does not know the user, or the user lacks a right, in a script too."""
    if isinstance(error, (redis_errors.NoPermissionError, *_LASTING)):
        return True
    said = str(error)
    return isinstance(error, redis_errors.ResponseError) and any(
        words in said for words in _DENIED_IN_SCRIPT
    )


def is_full(error: BaseException) -> bool:
    """Whether Redis has reached its maxmemory."""
    refusal = find_refusal(error)
    return refusal is not None and refusal.word == "OOM"


def describe_trouble(error: BaseException) -> str:
    """What a temporary error means, in one line; for a refusal, also how to end it."""
    refusal = find_refusal(error)
    if refusal is None:
        return f"Redis cannot be reached: {error}"
    return f"Redis refuses with {refusal}"


def call_patiently(call: Callable[[], _T], patience_seconds: float, client: Any = None) -> _T:
    """Call until Redis does it. The call must be idempotent, since a reply may get lost.

    Args:
        call: the call to try.
        patience_seconds: how long; 0 tries once.
        client: its idle connections are closed if another server may be the primary by now.

    Lasting trouble is logged to ``distflow.redis``, unless the patience is short.

    Raises:
        RedisRefuses: Redis refused for all that time.
        RedisUnavailable: Redis was away for all that time.
        RedisDenied: at once; the login or a right is missing.
    """
    try:
        return outlast(
            call,
            away_seconds=patience_seconds,
            refused_seconds=patience_seconds,
            client=client,
        )
    except redis_errors.RedisError as error:
        if is_denied(error):
            raise RedisDenied(f"Redis cannot be used: {error}") from error
        if not is_passing(error):
            raise
        kind = RedisUnavailable if find_refusal(error) is None else RedisRefuses
        raise kind(describe_trouble(error)) from error


def hurry(client: Any, is_told_to_end: Callable[[], bool]) -> None:
    """Register ``told_to_end``: once it returns true, calls on this client wait two seconds more at
    most.
    """
    _told_to_end[client] = is_told_to_end


def outlast(
    call: Callable[[], _T],
    *,
    away_seconds: float,
    refused_seconds: float,
    client: Any = None,
) -> _T:
    """Like :func:`call_patiently`, with a separate patience for each kind of trouble, counted from
    the first try. An error that outlasts it is raised as it came.

    Raises:
        RedisError: as redis-py's.
    """
    began = time.monotonic()
    ends_at = float("inf")
    trouble: Trouble | None = None
    while True:
        try:
            answer = call()
        except redis_errors.RedisError as error:
            if not is_passing(error):
                raise
            patience = away_seconds if find_refusal(error) is None else refused_seconds
            now = time.monotonic()
            if ends_at == float("inf") and _is_told_to_end(client):
                ends_at = now + _HURRIED_SECONDS
            if now - began >= patience or now >= ends_at:
                raise
            trouble = trouble or Trouble(client, began)
            trouble.wait(error, patience)
        else:
            if trouble is not None:
                trouble.end()
            return answer


def _is_told_to_end(client: Any) -> bool:
    ask = None if client is None else _told_to_end.get(client)
    return ask is not None and ask()


class Trouble:
    """The time between the first failure of a call and its end.

    Args:
        client: as for :func:`call_patiently`.
        since: when it began, on the monotonic clock.
    """

    def __init__(self, client: Any, since: float) -> None:
        self._client = client
        self._since = since
        self._tell_at = since + _TELL_AFTER_SECONDS
        self._told = False
        self._pause_seconds = _FIRST_PAUSE_SECONDS

    def wait(self, error: redis_errors.RedisError, patience_seconds: float) -> None:
        """Wait for the next try, and log the trouble if it lasts."""
        if self._client is not None and is_elsewhere(error):
            # A primary that was made a replica keeps its connections open.
            self._client.connection_pool.disconnect(inuse_connections=False)
        self.tell(error, patience_seconds)
        time.sleep(self._pause_seconds)
        self._pause_seconds = min(_LONGEST_PAUSE_SECONDS, self._pause_seconds * _PAUSE_GROWTH)

    def tell(self, error: BaseException, patience_seconds: float) -> None:
        """Log the trouble if it lasts; the caller tries again."""
        now = time.monotonic()
        if now >= self._tell_at and patience_seconds >= _TELL_PATIENCE_SECONDS:
            self._tell_at = now + _TELL_AGAIN_SECONDS
            self._told = True
            left = self._since + patience_seconds - now
            until = "as long as it takes" if left == float("inf") else f"{left:.0f} s more"
            _log.warning("%s (trying again, %s)", describe_trouble(error), until)

    def end(self) -> None:
        """Redis works again: log it if the trouble was logged."""
        if self._told:
            lasted = time.monotonic() - self._since
            _log.warning("Redis works again after %.0f s", lasted)
