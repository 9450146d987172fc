"""What one coordinator of many runs asks of what holds them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

from distflow.core.readings import UnledRun
from distflow.core.run import Event
from distflow.errors import DistflowError

#: Seconds that an announcement holds at most: one that ends later is from before the server's clock
#: was set back, and counts for nothing.
LONGEST_ANNOUNCEMENT_SECONDS = 60.0


class Renewal(NamedTuple):
    """A lease to be kept, and what is published with it: tasks that are queued and waiting."""

    run_id: str
    owner: str
    epoch: int
    ttl_seconds: float
    queued: int
    waiting: int


class ServicePort(Protocol):
    """All runs of one server, asked about together.

    Every call may be repeated: it does what it did, or nothing. A run that is gone or damaged is no
    concern of the others in the same call. Each method raises RedisUnavailable where the server
    stays away for longer than the caller is patient.
    """

    def announce(self, owner: str, ttl_seconds: float) -> None:
        """Say that a coordinator is there for detached and orphaned runs. A full server takes it.

        Args:
            owner: unique to this coordinator.
            ttl_seconds: how long that holds, up to LONGEST_ANNOUNCEMENT_SECONDS; each call begins
                anew.
        """

    def withdraw_announcement(self, owner: str) -> None:
        """Say that a coordinator is there no more."""

    def list_coordinators(self) -> list[str]:
        """The owners whose announcement holds, sorted by when it ends."""

    def list_active(self) -> set[str]:
        """The ids of the runs that somebody should lead, and of some that stand still."""

    def find_unled(self, run_ids: Sequence[str]) -> dict[str, UnledRun]:
        """Those of the runs that exist and that nobody leads, by id."""

    def shorten_leases(self, run_ids: Sequence[str]) -> None:
        """Let no lease of these runs last longer than its holder asked for, as it would where the
        server's clock was set back. What is not led, or is no run, stays as it is.
        """

    def renew_leases(self, renewals: Sequence[Renewal]) -> list[DistflowError | None]:
        """Keep leases of one owner, and publish how much its runs have queued and waiting. A lease
        that lapsed is taken up again, if nobody has led its run since.

        Args:
            renewals: one for each run; owner and time to live are the same in all of them.

        Returns:
            None for each lease that is kept, in order; else why it is lost: StaleEpoch where
            another has taken the run over, RunGone where it is not there any more.
        """

    def release_leases(self, owner: str, epochs: Mapping[str, int]) -> None:
        """Give leases up, as far as they are still held.

        Args:
            owner: who holds them.
            epochs: the epoch of each run, by id.
        """

    def read_events(
        self, after: Mapping[str, str], *, block_ms: int | None = None
    ) -> dict[str, list[Event]]:
        """The events of runs, oldest first: what at most 1,000 transitions of each told.

        Args:
            after: the id of the last event that is known, by run id; ``0-0`` for none.
            block_ms: how long to wait where there is none, in milliseconds; 0 waits for ever, None
                does not wait. With no run there is nothing to wait for.

        Returns:
            The events by run id, of the runs that have some.

        Raises:
            DamagedRun: the events of one run are not what distflow writes.
        """
