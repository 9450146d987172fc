"""Patience with Redis: what a restart, a failover, a cut or a refusal breaks is worth another try.

This is the one place that decides what passes: commands, coordinators, services and workers ask
here. A refusal says that the command was not executed, so that it may be sent again whatever it
does; where a reply was lost, the command must be idempotent.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar
from weakref import WeakKeyDictionary

from redis import exceptions as redis_errors

from distflow.errors import RedisRefuses, RedisUnavailable
from distflow.logs import get_logger

_log = get_logger("distflow.redis")

_T = TypeVar("_T")

#: What a restart, a failover or a cut looks like from here.
_AWAY = (redis_errors.ConnectionError, redis_errors.TimeoutError)

#: redis-py counts these among the above, but no waiting mends them.
_LASTING = (redis_errors.AuthenticationError, redis_errors.AuthorizationError)

#: Seconds between two tries, growing: long enough to leave a restarting server alone.
_FIRST_PAUSE_SECONDS = 0.2
_LONGEST_PAUSE_SECONDS = 1.0
_PAUSE_GROWTH = 1.25

#: Seconds of trouble before a word of it, and between two words; with less patience than the last
#: there is none, since the error at its end says it.
_TELL_AFTER_SECONDS = 0.5
_TELL_AGAIN_SECONDS = 60.0
_TELL_PATIENCE_SECONDS = 5.0

#: Seconds that a process which is told to end waits at most.
_HURRIED_SECONDS = 2.0

#: Of clients: whether the process that uses it is told to end.
_told_to_end: WeakKeyDictionary[Any, Callable[[], bool]] = WeakKeyDictionary()


class Refusal(NamedTuple):
    """One kind of refusal."""

    #: How Redis's error begins.
    word: str
    #: Why Redis refuses.
    why: str
    #: What ends it.
    mend: str
    #: Whether another server may be the primary by now: a new connection may find it.
    is_elsewhere: bool = False

    def __str__(self) -> str:
        return f"{self.word}: {self.why}; {self.mend}"


_ALL = (
    Refusal(
        "OOM",
        "it has reached its maxmemory",
        "raise maxmemory, or free memory by `distflow purge --older-than 7d`",
    ),
    Refusal(
        "READONLY",
        "it is a replica, and takes no writes",
        "after a failover this ends by itself; else give the URL of the primary, or one that "
        "begins with redis+sentinel://",
        is_elsewhere=True,
    ),
    Refusal(
        "NOREPLICAS",
        "fewer replicas are connected than min-replicas-to-write asks for",
        "start its replicas, or `redis-cli CONFIG SET min-replicas-to-write 0`",
    ),
    Refusal(
        "MISCONF",
        "it could not save its data to disk",
        "look at its log and its disk, then `redis-cli BGSAVE`",
    ),
    Refusal(
        "BUSY",
        "it has been running one script for long",
        "wait for its end, or `redis-cli SCRIPT KILL`",
    ),
    Refusal(
        "LOADING",
        "it has just started, and still reads its data",
        "wait: `redis-cli INFO persistence` tells how long",
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
        "wait for the end of the move",
        is_elsewhere=True,
    ),
    Refusal(
        "UNBLOCKED",
        "it was made a replica, or somebody ended the wait by CLIENT UNBLOCK",
        "after a failover this ends by itself",
        is_elsewhere=True,
    ),
    Refusal(
        "KILLED",
        "somebody ended the script by SCRIPT KILL",
        "nothing: the script is sent again",
    ),
    Refusal(
        "MAXCLIENTS",
        "it has as many clients as its maxclients allows",
        "raise maxclients, or stop some of its clients",
    ),
)

#: Every refusal that passes, by its word.
REFUSALS = {refusal.word: refusal for refusal in _ALL}

#: redis-py takes the word off the message of these, and makes a class of it instead.
_WORD_OF_CLASS = (
    (redis_errors.OutOfMemoryError, "OOM"),
    (redis_errors.ReadOnlyError, "READONLY"),
    (redis_errors.BusyLoadingError, "LOADING"),
    # This first: it is a ClusterDownError as well.
    (redis_errors.MasterDownError, "MASTERDOWN"),
    (redis_errors.ClusterDownError, "CLUSTERDOWN"),
    (redis_errors.TryAgainError, "TRYAGAIN"),
)

#: Errors that have no word of their own.
_WORD_OF_PHRASE = {
    "max number of clients": "MAXCLIENTS",
    "Script killed by user": "KILLED",
    # What a primary says to it that was made a replica after the write that it waits for.
    "WAITAOF cannot be used with replica": "READONLY",
}

#: What may stand before the word: redis-py's own words for a command of a pipeline, which it
#: quotes; EXEC's; and, up to Redis 6.2, the places in a script.
_BEFORE = re.compile(
    r"(?:Command # \d+ \(.*\) of pipeline caused error: )?"
    r"(?:(?:EXECABORT )?Transaction discarded because of: )?"
    r"(?:(?:ERR )?Error running script \(call to f_[0-9a-f]+\): )?"
    r"(?:@\w+: ?\d+: )*-?(?:ERR )?",
    re.DOTALL,
)
_WORD = re.compile(r"[A-Z]+\b")


def find_refusal(error: BaseException) -> Refusal | None:
    """The refusal that an error of redis-py tells of; None where it tells of anything else."""
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
    """Whether another server may be the primary by now, which a new connection may find."""
    refusal = find_refusal(error)
    return refusal is not None and refusal.is_elsewhere


def is_passing(error: BaseException) -> bool:
    """Whether an error of redis-py may be gone at another try: Redis is away, or refuses for now.

    A wrong password, a missing right and a wrong command are not.
    """
    if find_refusal(error) is not None:
        return True
    return isinstance(error, _AWAY) and not isinstance(error, _LASTING)


def is_full(error: BaseException) -> bool:
    """Whether Redis has reached its maxmemory."""
    refusal = find_refusal(error)
    return refusal is not None and refusal.word == "OOM"


def describe_trouble(error: BaseException) -> str:
    """What a passing error means, in one line: for a refusal also what ends it."""
    refusal = find_refusal(error)
    if refusal is None:
        return f"Redis cannot be reached: {error}"
    return f"Redis refuses with {refusal}"


def call_patiently(call: Callable[[], _T], patience_seconds: float, client: Any = None) -> _T:
    """Call until Redis does it. The call must be idempotent: a reply may have been lost.

    Args:
        call: what is tried.
        patience_seconds: how long; 0 tries once.
        client: whose idle connections are closed where another server may be the primary by now.

    The logger ``distflow.redis`` is told of a trouble that lasts, unless the patience is short.

    Raises:
        RedisRefuses: Redis refused for all that time.
        RedisUnavailable: Redis was away for all that time.
    """
    try:
        return outlast(
            call,
            away_seconds=patience_seconds,
            refused_seconds=patience_seconds,
            client=client,
        )
    except redis_errors.RedisError as error:
        if not is_passing(error):
            raise
        kind = RedisUnavailable if find_refusal(error) is None else RedisRefuses
        raise kind(describe_trouble(error)) from error


def hurry(client: Any, is_told_to_end: Callable[[], bool]) -> None:
    """Once that is so, who waits on a client waits two seconds more, and no longer."""
    _told_to_end[client] = is_told_to_end


def outlast(
    call: Callable[[], _T],
    *,
    away_seconds: float,
    refused_seconds: float,
    client: Any = None,
) -> _T:
    """As :func:`call_patiently`, with a patience of its own for each trouble, counted from the
    first try; what outlasts it is raised as it came.

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
        """Wait for the next try, and tell of the trouble where it lasts."""
        if self._client is not None and is_elsewhere(error):
            # A primary that was made a replica keeps its connections.
            self._client.connection_pool.disconnect(inuse_connections=False)
        self.tell(error, patience_seconds)
        time.sleep(self._pause_seconds)
        self._pause_seconds = min(_LONGEST_PAUSE_SECONDS, self._pause_seconds * _PAUSE_GROWTH)

    def tell(self, error: BaseException, patience_seconds: float) -> None:
        """Tell of the trouble where it lasts; the caller tries again."""
        now = time.monotonic()
        if now >= self._tell_at and patience_seconds >= _TELL_PATIENCE_SECONDS:
            self._tell_at = now + _TELL_AGAIN_SECONDS
            self._told = True
            left = self._since + patience_seconds - now
            until = "as long as it takes" if left == float("inf") else f"{left:.0f} s more"
            _log.warning("%s (trying again, %s)", describe_trouble(error), until)

    def end(self) -> None:
        """Redis does what it is asked again."""
        if self._told:
            lasted = time.monotonic() - self._since
            _log.warning("Redis goes on after %.0f s", lasted)
