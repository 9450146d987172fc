"""What whoever leads a run asks of its store."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Protocol

from distflow.core.claim import NAMELESS, Code, Finish, Progress, WorkerFacts
from distflow.core.run import Event, HeldTask, RefusalKey, Repair, Vitals
from distflow.core.status import RunStatus, TaskStatus


class CoordinatorPort(Protocol):
    """The transitions that a coordinator makes, and what it looks at to find that something was
    lost.

    Every method with an ``epoch`` raises StaleEpoch where another coordinator has taken over, and
    RunGone where the run was deleted.
    """

    def acquire_lease(self, owner: str, ttl_seconds: float, *, force: bool = False) -> int:
        """Become the coordinator and return the new epoch, which is greater than every earlier one.
        An owner that holds the lease is told its epoch again.

        Args:
            owner: unique to this coordinator, kept over its retries.
            ttl_seconds: after which another may take over, unless the lease is renewed.
            force: take the lease from one who holds it.

        Raises:
            LeaseHeld: another holds it; the message names who.
            RunTooNew: a newer distflow made the run.
            RunGone: there is no such run.
        """

    def renew_lease(
        self, owner: str, epoch: int, ttl_seconds: float, *, queued: int, waiting: int
    ) -> None:
        """Keep the lease, and publish how many tasks are queued and waiting. A lease that lapsed is
        taken up again, if nobody has led the run since.
        """

    def release_lease(self, owner: str, epoch: int, *, is_over: bool = False) -> bool:
        """Give the lease up, if it is still held.

        Args:
            owner: who held it.
            epoch: of that lease. Another one, or a run that is gone, is no error here.
            is_over: nobody needs to know any more that somebody should lead the run.

        Returns:
            Whether nobody has led the run since. Where somebody has, it may stand in no list of
            active runs now although it is one.
        """

    def last_event_id(self) -> str:
        """The id of the newest event, ``0-0`` where there is none."""

    def read_events(self, after: str, *, block_ms: int | None = None) -> list[Event]:
        """The events after an id, oldest first: what at most 1,000 transitions told.

        Args:
            after: the id of the last event that is known; ``0-0`` for none.
            block_ms: how long to wait where there is none, in milliseconds; 0 waits for ever, None
                does not wait.
        """

    def trim_events(self, epoch: int, first_kept: str) -> None:
        """Drop the events before an id."""

    def settle_claim(self, epoch: int, batch: str, lost: Finish) -> Code:
        """End a claim whose worker is lost.

        Args:
            epoch: the caller's.
            batch: the one that holds the claim.
            lost: what becomes of the task, with the token of the claim, by which this is
                idempotent.

        Returns:
            RECORDED, or REFUSED where the claim has moved on.
        """

    def end_batch(self, epoch: int, batch: str) -> Code:
        """Give a lost batch up: OK, or BUSY where it holds a claim. Its worker is told so when it
        comes back.
        """

    def settle_unheld(
        self,
        epoch: int,
        outcomes: Sequence[tuple[str, bytes]],
        *,
        forgotten: Sequence[RefusalKey] = (),
    ) -> set[str]:
        """Give tasks that nobody holds an outcome.

        Args:
            epoch: the caller's.
            outcomes: a task and its encoded TaskResult each; one that it has already counts as
                given.
            forgotten: refusals that are taken away, once all is settled.

        Returns:
            The tasks that were left alone: they are claimed, or have another outcome.
        """

    def read_vitals(self) -> Vitals:
        """How much there is of what events tell: read at one instant, cheap at any size."""

    def record_repair(
        self, epoch: int, operation: str, repair: Repair, *, by: WorkerFacts = NAMELESS
    ) -> None:
        """Count a repair, keep it in the history, and tell of it.

        Args:
            epoch: the caller's.
            operation: one id per repair, kept over retries: idempotent by it.
            repair: what was found.
            by: the worker that could not read a job, where that is what went wrong: it stays as a
                refusal.
        """

    def hold_tasks(self, epoch: int, held: Sequence[HeldTask]) -> None:
        """Say which tasks are held by frozen workers: these, and no others."""

    def restore_indices(self) -> bool:
        """List the run again where an index has lost it; returns whether one had."""

    def begin_reopen(self, epoch: int, operation: str) -> None:
        """Refuse claims until the reopening is ended; a new generation begins, and the refusals of
        workers are forgotten. A reopening that was cut off is taken up: the same generation.

        Args:
            epoch: the caller's.
            operation: the id of this reopening, kept over retries: idempotent by it.

        Raises:
            WrongState: the run was never completely submitted.
        """

    def reopen_tasks(
        self, epoch: int, items: Sequence[tuple[str, TaskStatus | None, Progress, bool]]
    ) -> None:
        """Set outcomes aside, in the order given: dependents before their dependencies. A task that
        is not as the caller saw it, or is claimed, is left alone; so are successes and unknowns.

        Args:
            epoch: the caller's.
            items: task, the status that the caller saw, its next progress, and whether the
                evidence is kept for ever.

        Raises:
            WrongState: a person has stopped the reopening.
        """

    def set_times(
        self,
        epoch: int,
        waits: Sequence[tuple[str, int, int]],
        *,
        clock_at: tuple[int, int] | None = None,
        stop_at: tuple[int, int] | None = None,
    ) -> None:
        """The server's clock was set: move what the run waits for. Each is given by the time that
        the caller saw, and the right one, in Unix milliseconds; what has changed since stays.

        Args:
            epoch: the caller's.
            waits: of tasks, by name: before when they do not run.
            clock_at: since when the run's timeout counts.
            stop_at: when what runs of a cancelled run is stopped.
        """

    def set_status(
        self,
        new: RunStatus,
        allowed: Collection[RunStatus],
        *,
        epoch: int | None = None,
        reason: str = "",
        restart_clock: bool = False,
        grace_seconds: float | None = None,
    ) -> RunStatus:
        """Move the run to another status, and return it; a repeated move is none.

        Args:
            new: where to.
            allowed: from where.
            epoch: the coordinator's; None for a person.
            reason: why it was stopped, for people.
            restart_clock: its timeout starts anew.
            grace_seconds: of a cancellation: how long what runs may take to end by itself. Where
                the run is being cancelled already, the shorter grace counts.

        Raises:
            WrongState: it is in none of the allowed statuses; the message names its status.
            LookAgain: others went on cancelling it meanwhile.
            RunNotFound: there is no such run, says a person's call.
            RunTooNew: a newer distflow made it.
        """
