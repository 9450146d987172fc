"""The contract of a backend: all that the layers above the adapters know about where runs live."""

from __future__ import annotations

from collections.abc import Callable, Collection
from contextlib import AbstractContextManager
from typing import Protocol, runtime_checkable

from distflow.core.readings import Apart, WorkerInfo
from distflow.core.run import ServerFacts
from distflow.ports.dispatcher import Dispatcher
from distflow.ports.run_store import RunStore
from distflow.ports.service import ServicePort


@runtime_checkable
class Backend(Protocol):
    """The runs of one installation: their stores, and how their batches reach workers.

    Threads may share one. While the transport is away or refuses, a call is retried until the
    backend's patience ends; then it raises RedisUnavailable, or its subclass RedisRefuses.
    """

    @property
    def dispatcher(self) -> Dispatcher:
        """How batches reach workers: the same object each time."""

    @property
    def service(self) -> ServicePort:
        """What a coordinator of many runs calls: the same object each time."""

    def store(self, run_id: str) -> RunStore:
        """The store of a run, which need not exist."""

    def with_patience(self, seconds: float) -> Backend:
        """The same runs over the same connection, with another patience; 0 tries each call once.

        It need not be closed.
        """

    def run_ids(self) -> list[str]:
        """The id of every run, oldest first."""

    def coordinators(self) -> list[str]:
        """The coordinators that lead detached and orphaned runs."""

    def workers(self) -> list[WorkerInfo]:
        """The workers that are registered, by name."""

    def has_worker(self, name: str) -> bool:
        """Whether a worker of this name is registered; the rights of a worker suffice to ask."""

    def are_workers_suspended(self) -> bool:
        """Whether all workers are suspended: they take no jobs."""

    def find_apart(self, run_id: str, queues: Collection[str]) -> list[Apart]:
        """The queues where batches of a run wait, but whose workers cannot see them, since they
        listen to another queue of this name. Finds nothing if that cannot be checked.
        """

    def settle_server(self, durability: str | None, *, allow_eviction: bool) -> ServerFacts:
        """What a new run records about its server.

        Args:
            durability: ``"waitaof"``, or None to rely on the server's settings.
            allow_eviction: whether to accept a server that may evict keys.

        Raises:
            InvalidInput: the server may evict keys, or does not offer that durability.
        """

    def find_write_refusal(self) -> str | None:
        """Why nothing can be written now, and what ends that; None if writes are accepted, or if
        the server does not answer at once.
        """

    def server_advice(self) -> list[str]:
        """Settings that the operator of the server should change, a line each."""

    def hurry(self, is_told_to_end: Callable[[], bool]) -> None:
        """Once the function returns True, calls wait at most two more seconds, whatever the
        patience; so do views made by :meth:`with_patience`.
        """

    def translate_errors(self) -> AbstractContextManager[None]:
        """In its block, errors of the transport become RedisUnavailable. It is for errors that
        neither patience nor another error covers, such as a missing right.
        """

    def close(self) -> None:
        """Close the connection."""
