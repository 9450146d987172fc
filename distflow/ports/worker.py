"""What a worker asks of the store of a run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from distflow.core.claim import (
    NAMELESS,
    Advance,
    BatchOpening,
    ClaimRequest,
    Code,
    Finish,
    Refused,
    Unknown,
    WorkerFacts,
)
from distflow.core.expansion import Expansion
from distflow.core.resolution import Answer, Resolution
from distflow.core.status import TaskStatus
from distflow.errors import RunGone


class WorkerPort(Protocol):
    """The transitions that workers make: begin, claim, start, finish, beat.

    What the run does not allow is an answer here, not an error: a worker goes on to its next task.
    Its answers carry a :class:`~distflow.core.claim.Code`; every method that returns one may also
    return GONE, where the run is not there any more.
    """

    run_id: str

    def begin_batch(self, epoch: int, batch: str, worker: str, job: str) -> BatchOpening:
        """Say that a batch was taken off its queue. The same worker may say so again.

        Args:
            epoch: of the coordinator that sent the batch.
            batch: its id.
            worker: its name.
            job: the id of the job that runs the batch.

        Returns:
            OK with what the batch's tasks need; STALE_EPOCH where another coordinator leads the run
            now; STOPPED where the run is not running, or another worker has begun the batch.
        """

    def advance(  # noqa: PLR0913 - by name
        self,
        epoch: int,
        batch: str,
        finishes: Sequence[Finish] = (),
        claims: Sequence[ClaimRequest] = (),
        *,
        released: Sequence[tuple[str, str]] = (),
        ending: bool = False,
        unstarted: Sequence[str] = (),
        refused: Sequence[Refused] = (),
        by: WorkerFacts = NAMELESS,
        records: Sequence[tuple[str, str]] = (),
        meanwhile: Callable[[], object] | None = None,
    ) -> Advance:
        """Record outcomes, claim what is next, end the batch: one step, in this order.

        Tokens make it idempotent: a repeated finish is RECORDED again, a repeated claim GRANTED
        again while it is held.

        Args:
            epoch: of the coordinator that sent the batch. Outcomes are taken whatever it is.
            batch: the batch.
            finishes: outcomes, in the order in which they came. One whose token holds its claim is
                RECORDED, and so is one of a task that was given up as unknown meanwhile. Any other
                is REFUSED, and goes to the history as evidence. One with a ``growth`` records the
                expansion too: if a chunk of it is missing it is answered WRONG_STATE, and if the
                run would be larger than its limits allow, TOO_LARGE; then nothing is recorded, and
                the claim stays. Whatever else ends the claim of a growing node deletes the chunks
                that its token has written.
            claims: what is claimed next, in this order. Each is GRANTED or answered with the code
                that says why not.
            released: task and token of claims that are given back: nothing was done with them.
            ending: whether the batch is over.
            unstarted: names of the tasks that a batch that is ``ending`` leaves to others.
            refused: what this worker cannot run: their claims are given back, with the reason.
            by: this worker, where it refuses something.
            records: node and token of the expansions that tasks of the batch are of. If the run
                does not have one of them, claims are answered STALE_EPOCH.
            meanwhile: called at most once while the answer is awaited, if the store can; it must
                not raise.
        """

    def start_task(self, task: str, token: str, *, on_disk: bool = True) -> Code:
        """Mark that a claimed task may have effects from here on, and tell of it.

        Args:
            task: its name.
            token: of its claim, by which the call is idempotent.
            on_disk: whether the mark must outlive the server, where the run wants that.

        Returns:
            GRANTED; REFUSED where the token holds nothing; STOPPED where the run is being
            cancelled.

        Raises:
            NotOnDisk: the run wants such marks on the server's disk, and this one is not there.
        """

    def beat(
        self, batch: str, worker: str, job: str, task: str, *, overdue: bool = False
    ) -> tuple[Code, str]:
        """Say that a batch lives.

        Args:
            batch: its id.
            worker: its name.
            job: the id of the job that runs the batch.
            task: the name of the task at work, empty between two.
            overdue: whether it has run longer than its timeout.

        Returns:
            OK and the run's status; REFUSED and nothing where the batch was given up.
        """

    def write_chunk(self, task: str, token: str, number: int, packed: bytes) -> Code:
        """Write a chunk of the expansion of a growing node. It counts once a finish has recorded
        the expansion.

        Args:
            task: the node.
            token: of its claim.
            number: of the chunk, from 0; -1 for what the expansion stands for. The same number
                again replaces it.
            packed: the tasks of the chunk, as a base graph has them; or the stand-in.

        Returns:
            GRANTED, or REFUSED where the token does not hold the claim.
        """

    def save_note(self, task: str, token: str, packed: bytes) -> Code:
        """Keep what an attempt wants the next ones to know; it replaces what was kept before.

        Args:
            task: its name.
            token: of its claim. One that was given up as unknown may save too.
            packed: the note, encoded.

        Returns:
            OK, or REFUSED where the token holds nothing.
        """

    def fetch_note(self, task: str) -> bytes | None:
        """What an attempt at a task saved last, encoded; None where nothing was."""

    def fetch_unknown(self, task: str) -> Unknown | None:
        """The outcome of a task that is unknown; None where it is not (any more)."""

    def resolve_task(
        self,
        operation: str,
        decision: Answer,
        resolution: Resolution,
        who: str,
        note: str,
    ) -> TaskStatus:
        """Decide an unknown task, and return its status from now on.

        Args:
            operation: the caller's id for this decision, kept over its retries: idempotent by it.
            decision: ``done`` and ``fail`` come with an outcome, ``retry`` with a progress;
                ``undecided``, with neither, is what a hook says that could not tell.
            resolution: that, and the unknown outcome that the caller saw.
            who: for the history.
            note: for the history.

        Raises:
            WrongState: the task is not unknown, or not the one that was seen; the message says
                what it is.
            RunNotFound: there is no such run.
            RunTooNew: a newer distflow made it.
        """

    def explain_gone(self) -> RunGone:
        """Why the run, which was there, is not: an error to be raised."""

    def fetch_expansion(self, node: str) -> tuple[Expansion, bytes] | None:
        """What a node has added to the run, and the encoded stand-in; None where it has not
        expanded.
        """

    def fetch_statuses(self, names: Sequence[str]) -> list[TaskStatus | None]:
        """The statuses of tasks, in order; None where there is no outcome."""

    def fetch_results(self, names: Sequence[str]) -> list[bytes | None]:
        """The encoded TaskResults of tasks, in order; None where there is no outcome."""

    def list_results(self) -> list[str]:
        """The names of the tasks that have an outcome."""
