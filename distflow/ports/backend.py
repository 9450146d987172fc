"""Where runs live: all that the layers above the adapters know of it."""

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

    Threads may share one. While the transport is away or refuses, a call is tried again for as long
    as the backend is patient; then it raises RedisUnavailable, or RedisRefuses, which is one.
    """

    @property
    def dispatcher(self) -> Dispatcher:
        """How batches reach workers: the same object each time."""

    @property
    def service(self) -> ServicePort:
        """What one coordinator of many runs asks: the same object each time."""

    def store(self, run_id: str) -> RunStore:
        """The store of a run, whether there is such a run or not."""

    def with_patience(self, seconds: float) -> Backend:
        """The same runs over the same connection, with another patience; 0 tries each call once.

        It need not be closed.
        """

    def run_ids(self) -> list[str]:
        """The id of every run, oldest first."""

    def coordinators(self) -> list[str]:
        """The coordinators that are there for detached and orphaned runs."""

    def workers(self) -> list[WorkerInfo]:
        """The workers that are registered, by name."""

    def has_worker(self, name: str) -> bool:
        """Whether a worker of this name is registered; a worker has the rights to ask."""

    def are_workers_suspended(self) -> bool:
        """Whether somebody has told all workers to take no jobs."""

    def find_apart(self, run_id: str, queues: Collection[str]) -> list[Apart]:
        """Those of the queues where batches of a run wait although the only workers that listen to
        a queue of this name cannot see them. Nothing is found where that cannot be looked at.
        """

    def settle_server(self, durability: str | None, *, allow_eviction: bool) -> ServerFacts:
        """What a new run records of its server.

        Args:
            durability: ``"waitaof"``, or None for what the server's settings give.
            allow_eviction: whether a server may be used that throws keys away, or may one day.

        Raises:
            InvalidInput: the server throws keys away, or cannot give what is wanted.
        """

    def find_write_refusal(self) -> str | None:
        """Why nothing can be written at this moment, and what ends that; None where it can, or
        where the server does not tell at once.
        """

    def server_advice(self) -> list[str]:
        """What whoever runs the server should set, a line each."""

    def hurry(self, is_told_to_end: Callable[[], bool]) -> None:
        """From when that answers True, calls wait two seconds more at most, whatever the patience.
        Views by :meth:`with_patience` follow.
        """

    def translate_errors(self) -> AbstractContextManager[None]:
        """In its block, what the transport itself raises becomes RedisUnavailable. It is for what
        no patience helps against and no other error says: a missing right, say.
        """

    def close(self) -> None:
        """Close the connection."""
