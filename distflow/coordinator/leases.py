"""LeaseKeeper: renews the leases of runs while their coordinator works."""

from __future__ import annotations

import logging
import os
import socket
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import NamedTuple

from distflow.chance import Chance
from distflow.clock import Clock
from distflow.core.status import ACTIVE_RUNS
from distflow.errors import DistflowError, RedisUnavailable, RunGone, RunNotFound
from distflow.logs import get_logger
from distflow.ports.run_store import RunStore
from distflow.ports.service import Renewal

_log = get_logger("distflow.coordinator")

#: Renews leases; returns for each lease None, or why it is lost.
Renew = Callable[[Sequence[Renewal]], Sequence[DistflowError | None]]


def new_owner(chance: Chance) -> str:
    """A unique name for a coordinator: host, pid and random letters."""
    return f"{socket.gethostname()}:{os.getpid()}:{chance.new_token()[:6]}"


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
    #: Returns how many tasks are queued and waiting.
    load: Callable[[], tuple[int, int]]


class LeaseKeeper:
    """Renews leases three times per lease length, on its own thread.

    Args:
        renew: renews leases; its patience should be short, since the next renewal comes soon.
        owner: who holds them.
        lease_seconds: the length of a lease.
        clock: its thread waits by this.
    """

    def __init__(self, renew: Renew, owner: str, lease_seconds: float, clock: Clock) -> None:
        self._renew = renew
        self._owner = owner
        self._lease_seconds = lease_seconds
        self._clock = clock
        self._leases: dict[str, _Lease] = {}
        self._lost: dict[str, DistflowError] = {}
        #: Held during a renewal: none may follow a release.
        self._renewing = threading.Lock()
        #: The thread that renews leases, and the signal that ends it; None while there are no
        #: leases.
        self._thread: threading.Thread | None = None
        self._over = threading.Event()

    def add(self, run_id: str, epoch: int, load: Callable[[], tuple[int, int]]) -> None:
        """Keep a lease that was just acquired; ``load`` is called at each renewal."""
        self._lost.pop(run_id, None)
        self._leases[run_id] = _Lease(epoch, load)
        if self._thread is None:
            self._over = threading.Event()
            self._thread = threading.Thread(
                target=self._keep, args=(self._over,), name="distflow-lease", daemon=True
            )
            self._thread.start()

    def drop(self, run_id: str) -> None:
        """Stop keeping a lease; a renewal under way may still complete."""
        self._leases.pop(run_id, None)
        self._lost.pop(run_id, None)

    def settle(self) -> None:
        """Wait for a renewal under way: it must not follow a release."""
        if self._renewing.acquire(timeout=self._lease_seconds):
            self._renewing.release()

    def close(self) -> None:
        """Stop keeping all leases and end the thread; the next lease starts another."""
        self._leases.clear()
        self._over.set()
        self._thread = None
        self.settle()

    def lost_runs(self) -> list[str]:
        """The runs whose lease was lost."""
        return list(self._lost)

    def lost(self, run_id: str) -> DistflowError | None:
        """Why a lease was lost (another coordinator took over, the run was deleted), or None."""
        return self._lost.get(run_id)

    def _keep(self, over: threading.Event) -> None:
        warned = False
        while not self._clock.wait(over, self._lease_seconds / 3):
            try:
                self.renew()
                warned = False
            except DistflowError as error:
                # Whatever it is, a right taken away included: the leases lapse unless this goes on.
                # One warning per outage of Redis: a person reads this.
                level = logging.DEBUG if warned else logging.WARNING
                _log.log(level, "the leases of %s were not renewed: %s", self._owner, error)
                warned = True

    def renew(self) -> None:
        """Renew every lease now.

        Raises:
            RedisUnavailable: none was renewed.
        """
        with self._renewing:
            self._renew_all()

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


class RunLease:
    """The lease of one run: taken, kept, and given up.

    Args:
        store: the run.
        impatient: the same with little patience, for releasing: an unreleased lease lapses by
            itself.
        owner: who holds it.
        keeper: renews it.
        lease_seconds: its length.
    """

    def __init__(
        self,
        store: RunStore,
        impatient: RunStore,
        owner: str,
        keeper: LeaseKeeper,
        lease_seconds: float,
    ) -> None:
        self._store = store
        self._impatient = impatient
        self._keeper = keeper
        self._lease_seconds = lease_seconds
        self.owner = owner
        #: 0 before it is first held.
        self.epoch = 0

    def acquire(self, load: Callable[[], tuple[int, int]], *, force: bool = False) -> None:
        """Take it (with ``force`` even from another holder), and keep it; ``load`` is called at
        each renewal.
        """
        self.epoch = self._store.acquire_lease(self.owner, self._lease_seconds, force=force)
        self._keeper.add(self._store.run_id, self.epoch, load)

    def check(self) -> None:
        """Raise why it was lost, if it was."""
        lost = self._keeper.lost(self._store.run_id)
        if lost is not None:
            raise lost

    def drop(self) -> None:
        """Stop keeping it: it lapses by itself."""
        self._keeper.drop(self._store.run_id)

    def release(self, *, is_over: bool) -> None:
        """Release it; if the run ``is_over``, also take the run off the list of active ones."""
        if not self.epoch:
            return
        self._keeper.settle()
        # Nobody else would take the run off the list, so this call is patient.
        store = self._store if is_over else self._impatient
        try:
            kept = store.release_lease(self.owner, self.epoch, is_over=is_over)
            if is_over and not kept:
                _relist(store)
        except DistflowError as error:
            # The lease lapses by itself, and what ended the coordinator matters more.
            _log.warning("run %s: its lease was not released: %s", store.run_id, error)


def _relist(store: RunStore) -> None:
    """Put the run back on the list of active runs if it was resumed: a coordinator may freeze
    between ending a run and taking it off the list, and do the latter only now.
    """
    with suppress(RunGone, RunNotFound):
        info = store.read_info()
        if info.status in ACTIVE_RUNS:
            store.mark_active(info.version)
