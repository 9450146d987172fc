"""Clients that find their primary through Sentinels, and follow it within seconds.

redis-py asks the Sentinels only when it connects. That is too seldom: a frozen primary keeps its
connections, so that a client waits for its socket timeout, and redis-py's health check then
connects to the same address again. And a primary that wakes up takes writes for some ten seconds,
until a Sentinel demotes it; they are thrown away. So a connection of this module asks

* one Sentinel a second, while it is used and while it waits for a reply;
* all Sentinels whenever it connects: the answer of the latest failover counts;
* the server that it has reached whether it is a primary at all.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, NoReturn

from redis import Redis
from redis import exceptions as redis_errors
from redis.backoff import ConstantBackoff, NoBackoff
from redis.connection import SSLConnection
from redis.retry import Retry
from redis.sentinel import (
    MasterNotFoundError,
    Sentinel,
    SentinelConnectionPool,
    SentinelManagedConnection,
)
from redis.utils import str_if_bytes

from distflow.store.redis.patience import find_refusal

#: Seconds between two questions to the Sentinels, and so between two looks while a reply is
#: waited for.
ASK_SECONDS = 1.0

#: Seconds that a Sentinel may take to answer, and for which one that did not is left alone.
SENTINEL_TIMEOUT_SECONDS = 1.0
REST_SECONDS = 30.0

#: Of one command: a connection that was lost meanwhile is found at the first try.
_RETRIES = 3
_RETRY_PAUSE_SECONDS = 0.2

#: How a server refuses that is no primary any more.
_DEMOTED = frozenset({"READONLY", "UNBLOCKED", "MASTERDOWN"})

#: What :func:`open_primary` says itself of how a primary is connected to.
_OWN = frozenset({"retry", "health_check_interval", "connection_pool"})

Address = tuple[str, int]


class Primary(NamedTuple):
    """Where a Sentinel says that the primary is. ``epoch`` counts failovers: the higher knows
    more.
    """

    epoch: int
    address: Address


class Sentinels(Sentinel):
    """The Sentinels of one service: redis-py's, which know more than where to ask first.

    Args:
        hosts: where they listen.
        options: how they are connected to.
        connection_options: how a server is connected to.
    """

    def __init__(
        self, hosts: Sequence[Address], options: Mapping[str, Any], **connection_options: Any
    ) -> None:
        brief = {
            "socket_timeout": SENTINEL_TIMEOUT_SECONDS,
            "socket_connect_timeout": SENTINEL_TIMEOUT_SECONDS,
            "retry": Retry(NoBackoff(), 0),
            # What redis-py makes of the answers differs under 3 between its versions.
            "protocol": 2,
        }
        super().__init__(  # type: ignore[no-untyped-call]
            hosts, sentinel_kwargs={**options, **brief}, **connection_options
        )
        self._known: Primary | None = None
        self._asked_at = float("-inf")
        self._sure_until = float("-inf")
        self._turn = 0
        #: Position of a Sentinel that does not answer -> until when it is left alone.
        self._resting: dict[int, float] = {}

    def discover_master(self, service_name: str) -> Address:
        """The primary's address, as the Sentinel says that knows of the latest failover; what all
        said a moment ago, unless there is doubt.

        Raises:
            MasterNotFoundError: no Sentinel knows it; the message says why of each.
        """
        if self._known is not None and time.monotonic() < self._sure_until:
            return self._known.address
        answers, failures = [], []
        for position in range(len(self.sentinels)):
            answer = self._ask(position, service_name)
            if isinstance(answer, Primary):
                answers.append(answer)
            else:
                failures.append(answer)
        self._asked_at = time.monotonic()
        if not answers:
            # None is left alone the next time, when nobody else helps.
            self._resting.clear()
            raise MasterNotFoundError(
                f"no Sentinel knows the primary of {service_name!r}: {'; '.join(failures)}"
            )
        self._known = max(answers)
        self._sure_until = self._asked_at + ASK_SECONDS
        return self._known.address

    def doubt(self) -> None:
        """Something was wrong with the primary: whoever connects next asks all."""
        self._sure_until = float("-inf")

    def has_moved(self, service_name: str, address: Address) -> bool:
        """Whether the primary is known to be elsewhere. One Sentinel is asked, each in its turn, if
        none was within the last second.
        """
        now = time.monotonic()
        if now - self._asked_at >= ASK_SECONDS:
            # First of all: other threads need not ask as well.
            self._asked_at = now
            self._turn = (self._turn + 1) % len(self.sentinels)
            answer = self._ask(self._turn, service_name)
            if isinstance(answer, Primary) and (
                self._known is None or answer.epoch > self._known.epoch
            ):
                self._known = answer
                self.doubt()
        return self._known is not None and self._known.address != address

    def _ask(self, position: int, service_name: str) -> Primary | str:
        """What a Sentinel says, or why it says nothing."""
        sentinel: Any = self.sentinels[position]
        name = "{host}:{port}".format_map(sentinel.connection_pool.connection_kwargs)
        if time.monotonic() < self._resting.get(position, 0.0):
            return f"{name} did not answer"
        try:
            # Its epoch first: a failover in between makes the address newer, never older.
            epoch = sentinel.sentinel_master(service_name)["config-epoch"]
            address = sentinel.sentinel_get_master_addr_by_name(service_name)
        except redis_errors.ResponseError as error:
            return f"{name}: {error}"
        # A host name that cannot be one is a UnicodeError.
        except (redis_errors.RedisError, OSError, UnicodeError) as error:
            self._resting[position] = time.monotonic() + REST_SECONDS
            return f"{name}: {str(error).rstrip('. ')}"
        if address is None:
            return f"{name} knows no such service"
        host, port = address
        return Primary(int(epoch), (str_if_bytes(host), int(port)))


class FollowingPool(SentinelConnectionPool):
    """The connections to the primary of a service, and those to its Sentinels."""

    def disconnect(self, inuse_connections: bool = True) -> None:  # noqa: FBT001, FBT002 - redis-py's
        """As redis-py's; who lets go of all needs no Sentinels either."""
        super().disconnect(inuse_connections)
        if inuse_connections:
            for sentinel in self.sentinel_manager.sentinels:
                sentinel.connection_pool.disconnect()


class FollowingConnection(SentinelManagedConnection):
    """A connection to the primary of a service, which it leaves when that is another server."""

    _sock: Any

    def connect(self) -> None:
        """As redis-py's; one to a server that is primary no more is made anew."""
        if self._sock and self._has_moved():
            self._drop()
        super().connect()  # type: ignore[no-untyped-call]

    def connect_to(self, address: Address) -> None:
        """As redis-py's."""
        try:
            super().connect_to(address)  # type: ignore[no-untyped-call]
        except BaseException:
            self.connection_pool.sentinel_manager.doubt()
            raise

    def on_connect_check_health(self, check_health: bool = True) -> None:  # noqa: FBT001, FBT002 - redis-py's
        """As redis-py's; a server that is no primary is refused."""
        super().on_connect_check_health(check_health=check_health)
        self.send_command("INFO", "replication", check_health=False)  # type: ignore[no-untyped-call]
        try:
            told = self.read_response()
        except redis_errors.NoPermissionError:
            return
        if "role:master" not in str_if_bytes(told):
            self._leave(f"{self.host}:{self.port} is a replica")

    def check_health(self) -> None:
        """The Sentinels are asked instead of the server, which may be frozen."""

    def send_packed_command(self, command: Any, check_health: bool = True) -> None:  # noqa: FBT001, FBT002 - redis-py's
        """As redis-py's, to the server that is the primary now."""
        if not self._sock:
            # Once, without the retries of `connect`: who sends tries again.
            self._connect_retry()  # type: ignore[no-untyped-call]
        elif self._has_moved():
            self._leave_old()
        super().send_packed_command(  # type: ignore[no-untyped-call]
            command, check_health=check_health
        )

    def can_read(self, timeout: float | None = 0) -> bool:
        """As redis-py's."""
        if not self._sock:
            self.connect()
        return self._await_data(timeout)

    # What it takes differs between releases of redis-py.
    def read_response(  # type: ignore[override]
        self, *args: Any, disconnect_on_error: bool = True, **options: Any
    ) -> Any:
        """As redis-py's; a server that is replaced meanwhile is waited for no longer."""
        timeout = options.get("timeout", self.socket_timeout)
        if isinstance(timeout, float | int | None) and not self._await_data(timeout):
            if disconnect_on_error:
                self._drop()
            raise redis_errors.TimeoutError(f"Timeout reading from {self.host}:{self.port}")
        try:
            return super().read_response(*args, disconnect_on_error=disconnect_on_error, **options)
        except redis_errors.ResponseError as error:
            refusal = find_refusal(error)
            if refusal is not None and refusal.word in _DEMOTED:
                self._leave(f"{refusal.word}: {error}")
            raise

    def _await_data(self, timeout: float | None) -> bool:
        """Whether something came within so many seconds; None waits for ever."""
        until = float("inf") if timeout is None else time.monotonic() + timeout
        while True:
            left = until - time.monotonic()
            try:
                if self._parser.can_read(timeout=max(0.0, min(left, ASK_SECONDS))):
                    return True
            except (OSError, redis_errors.ConnectionError) as error:
                self._drop()
                raise redis_errors.ConnectionError(
                    f"Error while reading from {self.host}:{self.port}: {error}"
                ) from error
            if time.monotonic() >= until:
                return False
            if self._has_moved():
                self._leave_old()

    def _has_moved(self) -> bool:
        proxy = self.connection_pool
        manager = proxy.sentinel_manager
        return bool(manager.has_moved(proxy.service_name, (self.host, self.port)))

    def _leave_old(self) -> NoReturn:
        self._leave(f"{self.host}:{self.port} is the primary no more")

    def _leave(self, why: str) -> NoReturn:
        """The next try asks all Sentinels."""
        self.connection_pool.sentinel_manager.doubt()
        self._drop()
        raise redis_errors.ConnectionError(why)

    def _drop(self) -> None:
        self.disconnect()  # type: ignore[no-untyped-call]


class FollowingSSLConnection(FollowingConnection, SSLConnection):
    """The same over TLS."""


def open_primary(
    hosts: Sequence[Address],
    service: str,
    sentinel_options: Mapping[str, Any],
    options: Mapping[str, Any],
    *,
    tls: bool,
) -> Redis:
    """A client of a service's primary, without connecting.

    Args:
        hosts: the Sentinels.
        service: the name under which they watch the primary.
        sentinel_options: how Sentinels are connected to, as redis-py names it: login, TLS.
        options: how the primary is connected to, likewise.
        tls: whether the primary speaks TLS.
    """
    sentinels = Sentinels(
        hosts,
        sentinel_options,
        retry=Retry(ConstantBackoff(_RETRY_PAUSE_SECONDS), _RETRIES),
        health_check_interval=0,
        connection_class=FollowingSSLConnection if tls else FollowingConnection,
        **options,
    )
    client: Redis = sentinels.master_for(  # type: ignore[no-untyped-call]
        service, connection_pool_class=FollowingPool
    )
    return client


def follows_primary(client: Redis) -> bool:
    """Whether a client stays with the primary: it needs no Sentinels, or asks them as this module
    does.
    """
    manager = getattr(client.connection_pool, "sentinel_manager", None)
    return manager is None or isinstance(manager, Sentinels)


def reopen_primary(client: Redis, options: Mapping[str, Any]) -> Redis:
    """A client of the same service as another that asks Sentinels; it follows its primary, whatever
    the other does.

    Args:
        client: whose pool is redis-py's for Sentinels, or of this module.
        options: how the primary is connected to: those of the other client, as they shall be here.
    """
    pool: Any = client.connection_pool
    manager = pool.sentinel_manager
    places = [sentinel.connection_pool.connection_kwargs for sentinel in manager.sentinels]
    return open_primary(
        [(place["host"], int(place["port"])) for place in places],
        pool.service_name,
        manager.sentinel_kwargs,
        {name: value for name, value in options.items() if name not in _OWN},
        tls=issubclass(pool.connection_class, SSLConnection),
    )
