"""ServicePort in memory: every run of one memory server."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from distflow.core.readings import UnledRun
from distflow.core.run import Event
from distflow.errors import DistflowError
from distflow.ports.service import LONGEST_ANNOUNCEMENT_SECONDS, Renewal, ServicePort
from distflow.store.memory.server import MemoryServer
from distflow.store.memory.store import MemoryRunStore


class MemoryServiceStore(ServicePort):
    """All runs of a memory server: asks each run's own store."""

    def __init__(self, server: MemoryServer) -> None:
        self._server = server

    def announce(self, owner: str, ttl_seconds: float) -> None:
        with self._server.changed:
            self._server.coordinators[owner] = self._server.now_ms() + int(ttl_seconds * 1000)

    def withdraw_announcement(self, owner: str) -> None:
        with self._server.changed:
            self._server.coordinators.pop(owner, None)

    def list_coordinators(self) -> list[str]:
        with self._server.changed:
            now = self._server.now_ms()
            last = now + LONGEST_ANNOUNCEMENT_SECONDS * 1000
            ends = sorted((end, owner) for owner, end in self._server.coordinators.items())
            return [owner for end, owner in ends if now <= end <= last]

    def list_active(self) -> set[str]:
        with self._server.changed:
            return set(self._server.active)

    def find_unled(self, run_ids: Sequence[str]) -> dict[str, UnledRun]:
        with self._server.changed:
            now = self._server.now_ms()
            runs = {run_id: self._server.runs.get(run_id) for run_id in run_ids}
            return {
                run_id: UnledRun(
                    run.status,
                    (now - run.created_at) / 1000,
                    detached=run.spec.detached,
                    led_before=run.epoch > 0,
                )
                for run_id, run in runs.items()
                if run is not None and run.holder(now) is None
            }

    def shorten_leases(self, run_ids: Sequence[str]) -> None:
        with self._server.changed:
            now = self._server.now_ms()
            for run_id in run_ids:
                run = self._server.runs.get(run_id)
                if run is not None:
                    run.shorten_lease(now)

    def renew_leases(self, renewals: Sequence[Renewal]) -> list[DistflowError | None]:
        return [self._renew(renewal) for renewal in renewals]

    def _renew(self, renewal: Renewal) -> DistflowError | None:
        run_id, owner, epoch, ttl_seconds, queued, waiting = renewal
        try:
            self._open(run_id).renew_lease(
                owner, epoch, ttl_seconds, queued=queued, waiting=waiting
            )
        except DistflowError as error:
            return error
        return None

    def release_leases(self, owner: str, epochs: Mapping[str, int]) -> None:
        for run_id, epoch in epochs.items():
            self._open(run_id).release_lease(owner, epoch)

    def read_events(
        self, after: Mapping[str, str], *, block_ms: int | None = None
    ) -> dict[str, list[Event]]:
        stores = {run_id: self._open(run_id) for run_id in after}

        def find() -> dict[str, list[Event]]:
            found = {run_id: store.read_events(after[run_id]) for run_id, store in stores.items()}
            return {run_id: events for run_id, events in found.items() if events}

        return self._server.wait_for(find, block_ms) if stores else {}

    def _open(self, run_id: str) -> MemoryRunStore:
        return MemoryRunStore(run_id, server=self._server)
