"""LeaseKeeper: renews the lease of a run while its coordinator works."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self

from distflow.errors import DistflowError, RedisUnavailable
from distflow.ports import RunStore

_log = logging.getLogger("distflow.coordinator")


class LeaseKeeper:
    """Renews a lease three times in its life, on a thread of its own.

    Args:
        store: the run; its patience should be short, since the next renewal comes soon.
        owner: who holds the lease.
        epoch: that the lease was given.
        lease_seconds: its time to live.
        load: tells how many tasks are queued and waiting.
    """

    def __init__(
        self,
        store: RunStore,
        owner: str,
        epoch: int,
        lease_seconds: float,
        load: Callable[[], tuple[int, int]],
    ) -> None:
        self._store = store
        self._owner = owner
        self._epoch = epoch
        self._lease_seconds = lease_seconds
        self._load = load
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="distflow-lease", daemon=True)
        #: Set when the lease was lost: another took over, or the run was deleted.
        self.lost: DistflowError | None = None

    def __enter__(self) -> Self:
        """Start to renew."""
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop, and let a renewal that is under way end: it must not follow the release."""
        self._over.set()
        self._thread.join(timeout=self._lease_seconds)

    def _keep(self) -> None:
        warned = False
        while not self._over.wait(self._lease_seconds / 3):
            queued, waiting = self._load()
            try:
                self._store.renew_lease(
                    self._owner, self._epoch, self._lease_seconds, queued=queued, waiting=waiting
                )
                warned = False
            except RedisUnavailable as error:
                # Once for each time that Redis is away: a person reads this.
                level = logging.DEBUG if warned else logging.WARNING
                _log.log(level, "run %s: its lease was not renewed: %s", self._store.run_id, error)
                warned = True
            except DistflowError as error:
                self.lost = error
                return
