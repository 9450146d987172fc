"""Clients that find their primary through Sentinels and follow it within seconds.

redis-py asks the Sentinels only when it connects. That is not enough: a frozen primary keeps its
connections, so a client waits for its socket timeout, and redis-py's health check then connects to
the same address again. And a primary that wakes up takes writes for some ten seconds until a
Sentinel demotes it, and those are lost. So a connection of this module asks

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

#: Seconds between two queries to the Sentinels, also while waiting for a reply.
ASK_SECONDS = 1.0

#: Timeout of a Sentinel in seconds; one that did not answer is left alone for as long.
SENTINEL_TIMEOUT_SECONDS = 1.0
REST_SECONDS = 30.0

#: Retries of one command: the first try may only find that its connection is lost.
_RETRIES = 3
_RETRY_PAUSE_SECONDS = 0.2

#: How a server refuses that is no longer a primary.
_DEMOTED = frozenset({"READONLY", "UNBLOCKED", "MASTERDOWN"})

#: Connection options that :func:`open_primary` sets itself.
_OWN = frozenset({"retry", "health_check_interval", "connection_pool"})

Address = tuple[str, int]


class Primary(NamedTuple):
    """The primary according to one Sentinel. ``epoch`` counts failovers: the higher one is
    newer.
    """

    epoch: int
    address: Address


class Sentinels(Sentinel):
    """The Sentinels of one service: redis-py's, plus a comparison of their answers.

    Args:
        hosts: their addresses.
        options: for connections to them.
        connection_options: for connections to the primary.
    """

    def __init__(
        self, hosts: Sequence[Address], options: Mapping[str, Any], **connection_options: Any
    ) -> None:
        brief = {
            "socket_timeout": SENTINEL_TIMEOUT_SECONDS,
            "socket_connect_timeout": SENTINEL_TIMEOUT_SECONDS,
            "retry": Retry(NoBackoff(), 0),
            # Under RESP3, redis-py's versions parse the replies differently.
            "protocol": 2,
        }
        super().__init__(  # type: ignore[no-untyped-call]
            hosts, sentinel_kwargs={**options, **brief}, **connection_options
        )
        self._known: Primary | None = None
        self._asked_at = float("-inf")
        self._sure_until = float("-inf")
        self._turn = 0
        #: Index of a Sentinel that did not answer -> until when it is left alone.
        self._resting: dict[int, float] = {}

    def discover_master(self, service_name: str) -> Address:
        """The primary's address, from the Sentinel that knows of the latest failover. A recent
        answer is reused, unless there is doubt.

        Raises:
            MasterNotFoundError: no Sentinel knows it; the message says why for each.
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
            # Ask every Sentinel the next time, since none helped.
            self._resting.clear()
            raise MasterNotFoundError(
                f"no Sentinel knows the primary of {service_name!r}: {'; '.join(failures)}"
            )
        self._known = max(answers)
        self._sure_until = self._asked_at + ASK_SECONDS
        return self._known.address

    def doubt(self) -> None:
        """Something is wrong with the primary: the next connection asks all Sentinels."""
        self._sure_until = float("-inf")

    def has_moved(self, service_name: str, address: Address) -> bool:
        """Whether the primary is known to be elsewhere. Asks one Sentinel, in turn, unless one was
        asked within the last second.
        """
        now = time.monotonic()
        if now - self._asked_at >= ASK_SECONDS:
            # Set this first, so that other threads do not ask as well.
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
        """A Sentinel's answer, or why it has none."""
        sentinel: Any = self.sentinels[position]
        name = "{host}:{port}".format_map(sentinel.connection_pool.connection_kwargs)
        if time.monotonic() < self._resting.get(position, 0.0):
            return f"{name} did not answer"
        try:
            # The epoch is read first: a failover in between makes the address newer, never older.
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
        """As redis-py's; when all connections go, those to Sentinels go, too."""
        super().disconnect(inuse_connections)
        if inuse_connections:
            for sentinel in self.sentinel_manager.sentinels:
                sentinel.connection_pool.disconnect()


class FollowingConnection(SentinelManagedConnection):
    """A connection to the primary of a service; it moves when another server becomes primary."""

    _sock: Any

    def connect(self) -> None:
        """As redis-py's; a connection to a former primary is made anew."""
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
        """As redis-py's; refuses a server that is not a primary."""
        super().on_connect_check_health(check_health=check_health)
        self.send_command("INFO", "replication", check_health=False)  # type: ignore[no-untyped-call]
        try:
            told = self.read_response()
        except redis_errors.NoPermissionError:
            return
        if "role:master" not in str_if_bytes(told):
            self._leave(f"{self.host}:{self.port} is a replica")

    def check_health(self) -> None:
        """Ask the Sentinels instead of the server, which may be frozen."""

    def send_packed_command(self, command: Any, check_health: bool = True) -> None:  # noqa: FBT001, FBT002 - redis-py's
        """As redis-py's, to the server that is the primary now."""
        if not self._sock:
            # Once, without the retries of `connect`: the sender tries again.
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

    # Its parameters differ between releases of redis-py.
    def read_response(  # type: ignore[override]
        self, *args: Any, disconnect_on_error: bool = True, **options: Any
    ) -> Any:
        """As redis-py's; stops waiting for a server that is replaced meanwhile."""
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
        """Whether data arrived within this many seconds; None waits for ever."""
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
        self._leave(f"{self.host}:{self.port} is no longer the primary")

    def _leave(self, why: str) -> NoReturn:
        """Leave this server; the next try asks all Sentinels."""
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
        service: the name under which they monitor the primary.
        sentinel_options: redis-py's options for connections to Sentinels: login, TLS.
        options: the same for connections to the primary.
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
    """Whether a client stays with the primary: it uses no Sentinels, or follows them as this module
    does.
    """
    manager = getattr(client.connection_pool, "sentinel_manager", None)
    return manager is None or isinstance(manager, Sentinels)


def reopen_primary(client: Redis, options: Mapping[str, Any]) -> Redis:
    """A client for the same service as another client that uses Sentinels; this one follows the
    primary, whatever the other does.

    Args:
        client: its pool is redis-py's for Sentinels, or of this module.
        options: for connections to the primary: the other client's, adapted.
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
