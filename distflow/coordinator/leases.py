"""LeaseKeeper: renews the leases of runs while their coordinator works."""

from __future__ import annotations

import logging
import os
import socket
import threading
from collections.abc import Callable, Sequence
from typing import NamedTuple

from distflow.errors import DistflowError, RedisUnavailable
from distflow.ids import new_token
from distflow.logs import get_logger
from distflow.ports.run_store import RunStore
from distflow.ports.service import Renewal

_log = get_logger("distflow.coordinator")

#: Renews leases; answers per lease None, or why it is lost.
Renew = Callable[[Sequence[Renewal]], Sequence[DistflowError | None]]


def new_owner() -> str:
    """A name for a coordinator, unlike every other: host, process, and some letters."""
    return f"{socket.gethostname()}:{os.getpid()}:{new_token()[:6]}"


def renew_with(store: RunStore) -> Renew:
    """Renews the lease of one run through its own store."""

    def renew(renewals: Sequence[Renewal]) -> list[DistflowError | None]:
        answers: list[DistflowError | None] = []
        for renewal in renewals:
            try:
                store.renew_lease(
                    renewal.owner,
                    renewal.epoch,
                    renewal.ttl_seconds,
                    queued=renewal.queued,
                    waiting=renewal.waiting,
                )
            except RedisUnavailable:
                raise
            except DistflowError as error:
                answers.append(error)
            else:
                answers.append(None)
        return answers

    return renew


class _Lease(NamedTuple):
    epoch: int
    #: Tells how many tasks are queued and waiting.
    load: Callable[[], tuple[int, int]]


class LeaseKeeper:
    """Renews leases three times in their life, on a thread of its own.

    Args:
        renew: renews leases; its patience should be short, since the next renewal comes soon.
        owner: who holds them.
        lease_seconds: their time to live.
    """

    def __init__(self, renew: Renew, owner: str, lease_seconds: float) -> None:
        self._renew = renew
        self._owner = owner
        self._lease_seconds = lease_seconds
        self._leases: dict[str, _Lease] = {}
        self._lost: dict[str, DistflowError] = {}
        #: Held while leases are renewed: a renewal must not follow a release.
        self._renewing = threading.Lock()
        self._over = threading.Event()
        self._thread: threading.Thread | None = None

    def add(self, run_id: str, epoch: int, load: Callable[[], tuple[int, int]]) -> None:
        """Keep a lease that was just acquired; ``load`` is asked at each renewal."""
        self._lost.pop(run_id, None)
        self._leases[run_id] = _Lease(epoch, load)
        if self._thread is None:
            self._thread = threading.Thread(target=self._keep, name="distflow-lease", daemon=True)
            self._thread.start()

    def drop(self, run_id: str) -> None:
        """Keep a lease no more; a renewal that is under way may still end."""
        self._leases.pop(run_id, None)
        self._lost.pop(run_id, None)

    def settle(self) -> None:
        """Wait for a renewal that is under way: it must not follow a release."""
        if self._renewing.acquire(timeout=self._lease_seconds):
            self._renewing.release()

    def close(self) -> None:
        """Keep no lease any more."""
        self._leases.clear()
        self._over.set()
        self.settle()

    def lost_runs(self) -> list[str]:
        """The runs whose lease was lost."""
        return list(self._lost)

    def lost(self, run_id: str) -> DistflowError | None:
        """Why a lease was lost (another took over, the run was deleted), or None."""
        return self._lost.get(run_id)

    def _keep(self) -> None:
        warned = False
        while not self._over.wait(self._lease_seconds / 3):
            try:
                with self._renewing:
                    self._renew_all()
                warned = False
            except RedisUnavailable as error:
                # Once for each time that Redis is away: a person reads this.
                level = logging.DEBUG if warned else logging.WARNING
                _log.log(level, "the leases of %s were not renewed: %s", self._owner, error)
                warned = True

    def _renew_all(self) -> None:
        leases = self._leases.copy()
        renewals = []
        for run_id, lease in leases.items():
            queued, waiting = lease.load()
            renewals.append(
                Renewal(run_id, self._owner, lease.epoch, self._lease_seconds, queued, waiting)
            )
        if not renewals:
            return
        for renewal, error in zip(renewals, self._renew(renewals), strict=True):
            if error is not None and self._leases.get(renewal.run_id) == leases[renewal.run_id]:
                self._lost[renewal.run_id] = error
                del self._leases[renewal.run_id]
