"""The contract between a coordinator and the store of a run."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Protocol

from distflow.core.claim import NAMELESS, Code, Finish, Progress, WorkerFacts
from distflow.core.run import Event, HeldTask, RefusalKey, Repair, Vitals
from distflow.core.status import RunStatus, TaskStatus


class CoordinatorPort(Protocol):
    """The transitions that a coordinator makes, and what it reads to find out that data were lost.

    Every method with an ``epoch`` raises StaleEpoch if another coordinator has taken over, and
    RunGone if the run was deleted.
    """

    def acquire_lease(self, owner: str, ttl_seconds: float, *, force: bool = False) -> int:
        """Become the coordinator and return the new epoch, which is greater than every earlier one.
        An owner that already holds the lease gets its epoch again.

        Args:
            owner: unique to this coordinator, the same in its retries.
            ttl_seconds: after which another coordinator may take over, unless the lease is renewed.
            force: take the lease from its holder.

        Raises:
            LeaseHeld: another holds it; the message names who.
            RunTooNew: a newer distflow made the run.
            RunGone: there is no such run.
        """

    def renew_lease(
        self, owner: str, epoch: int, ttl_seconds: float, *, queued: int, waiting: int
    ) -> None:
        """Keep the lease, and publish how many tasks are queued and waiting. An expired lease is
        taken again if nobody has led the run since.
        """

    def release_lease(self, owner: str, epoch: int, *, is_over: bool = False) -> bool:
        """Give the lease up, if it is still held.

        Args:
            owner: who held it.
            epoch: of that lease. Another epoch, or a deleted run, is not an error here.
            is_over: nobody needs to lead the run any more.

        Returns:
            Whether nobody has led the run since. If somebody has, an active run may be missing from
            the lists of active runs now.
        """

    def last_event_id(self) -> str:
        """The id of the newest event, ``0-0`` if there is none."""

    def read_events(self, after: str, *, block_ms: int | None = None) -> list[Event]:
        """The events after an id, oldest first: those of at most 1,000 transitions.

        Args:
            after: the id of the last known event; ``0-0`` for none.
            block_ms: how long to wait for one, in milliseconds; 0 waits for ever, None does not
                wait.
        """

    def trim_events(self, epoch: int, first_kept: str) -> None:
        """Drop the events before an id."""

    def settle_claim(self, epoch: int, batch: str, lost: Finish) -> Code:
        """End a claim whose worker is lost.

        Args:
            epoch: the caller's.
            batch: the batch that holds the claim.
            lost: what becomes of the task, with the token of the claim, which makes this
                idempotent.

        Returns:
            RECORDED, or REFUSED if the claim has changed.
        """

    def end_batch(self, epoch: int, batch: str) -> Code:
        """Give up a lost batch: OK, or BUSY if it holds a claim. Its worker learns that when it
        comes back.
        """

    def settle_unheld(
        self,
        epoch: int,
        outcomes: Sequence[tuple[str, bytes]],
        *,
        forgotten: Sequence[RefusalKey] = (),
        tolerated: Collection[str] = (),
    ) -> set[str]:
        """Record outcomes of tasks that nobody holds.

        Args:
            epoch: the caller's.
            outcomes: pairs of a task and its encoded TaskResult; a task that has this outcome
                already counts as settled.
            forgotten: refusals to remove once everything is settled.
            tolerated: of the tasks that an expansion has added, those whose failure is tolerated;
                it is known of the others.

        Returns:
            The tasks that were left alone: they are claimed, or have another outcome.
        """

    def tolerate(self, epoch: int, names: Sequence[str]) -> None:
        """Count failures as tolerated, because their node may have so many: it changes what
        ``read_troubles`` says of them, no outcome. What is no failure any more is left alone.
        """

    def read_vitals(self) -> Vitals:
        """The counters that events change: read at one instant, cheap at any size."""

    def record_repair(
        self, epoch: int, operation: str, repair: Repair, *, by: WorkerFacts = NAMELESS
    ) -> None:
        """Count a repair, record it in the history, and send an event.

        Args:
            epoch: the caller's.
            operation: one id per repair, the same in retries, which makes this idempotent.
            repair: what was found.
            by: the worker that could not read a job, if that was wrong: it is kept as a refusal.
        """

    def hold_tasks(self, epoch: int, held: Sequence[HeldTask]) -> None:
        """Record which tasks frozen workers hold: these, and no others."""

    def restore_indices(self) -> bool:
        """List the run again in indices that have lost it; returns whether any had."""

    def begin_reopen(self, epoch: int, operation: str) -> None:
        """Refuse claims until the reopening ends; start a new generation, and forget the refusals
        of workers. A reopening that was cut off is continued, in the same generation.

        Args:
            epoch: the caller's.
            operation: the id of this reopening, the same in retries, which makes this idempotent.

        Raises:
            WrongState: the run was never completely submitted.
        """

    def reopen_tasks(
        self, epoch: int, items: Sequence[tuple[str, TaskStatus | None, Progress, bool]]
    ) -> None:
        """Set outcomes aside, in the given order: dependents before their dependencies. A task that
        has changed since the caller read it, or is claimed, is left alone; so are successes and
        unknown tasks.

        Args:
            epoch: the caller's.
            items: task, the status that the caller read, its next progress, and whether the
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
        """The server's clock was set: move the times that the run waits for. Each comes as the time
        that the caller read and the right one, in Unix milliseconds; a time that has changed since
        stays.

        Args:
            epoch: the caller's.
            waits: of tasks, by name: when they may run.
            clock_at: when the run's timeout started to count.
            stop_at: when the running tasks of a cancelled run are stopped.
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
        """Move the run to another status, and return it; repeating a move changes nothing.

        Args:
            new: the new status.
            allowed: the statuses from which to move.
            epoch: the coordinator's; None for a person.
            reason: why it was stopped, for people.
            restart_clock: whether its timeout starts anew.
            grace_seconds: of a cancellation: how long running tasks may take to finish. If the run
                is being cancelled already, the shorter grace counts.

        Raises:
            WrongState: it is in none of the allowed statuses; the message names its status.
            LookAgain: others carried on its cancellation in the meantime.
            RunNotFound: there is no such run, in a call by a person.
            RunTooNew: a newer distflow made it.
        """
