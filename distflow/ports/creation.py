"""What submit, import and delete ask of the store of a run."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

from distflow.core.claim import Progress
from distflow.core.expansion import Expansion
from distflow.core.model import Task
from distflow.core.readings import Creation
from distflow.core.run import RunSpec


class CreationPort(Protocol):
    """The transitions that make a run, each under the id of one creating operation, and unmake it.

    The caller keeps the operation over its retries: each step may be repeated under it. RunGone
    says that the run was deleted meanwhile; WrongState that another operation makes the run, or
    that it is made already.
    """

    def create_run(
        self, spec: RunSpec, operation: str, tasks: Sequence[Task] | None = None
    ) -> None:
        """Create the run: with all of its ``tasks``, or without any; then they are appended, and
        the run is sealed. It is listed, as active too, before it exists.

        Args:
            spec: what it is created from.
            operation: the id of this creation.
            tasks: all of them, in dependency order, whose arguments were checked; None appends them
                later. With tasks the run may run at once.

        Raises:
            RunExists: a run of this id was created by another operation.
        """

    def append_tasks(self, operation: str, chunk: int, tasks: Sequence[Task]) -> None:
        """Append tasks, whose arguments were checked, to the graph.

        Args:
            operation: the id of this creation.
            chunk: the number of this chunk, from 0; the same number again replaces it.
            tasks: those of the chunk, in dependency order.
        """

    def hydrate(
        self, operation: str, outcomes: Iterable[tuple[str, bytes | None, Progress | None]]
    ) -> None:
        """Put encoded TaskResults and progress from a snapshot into the run: task by task, None for
        what it has not.
        """

    def hydrate_notes(self, operation: str, notes: Sequence[tuple[str, bytes]]) -> None:
        """Put what tasks had saved, encoded, into the run."""

    def hydrate_expansions(
        self,
        operation: str,
        expansions: Iterable[tuple[str, Expansion, Iterable[Sequence[Task]], bytes]],
    ) -> None:
        """Put expansions from a snapshot into the run, before the outcomes of their children.

        Args:
            operation: the id of this creation.
            expansions: node, record, chunks and encoded stand-in of each. The token is that of the
                node's data; the caller numbers ``seq`` from 1.
        """

    def seal_run(self, operation: str, total: int) -> None:
        """End the creation: the run has ``total`` tasks, and they may run."""

    def read_creation(self) -> Creation | None:
        """How far the creation has come; None where the run is made, or there is none."""

    def discard_creation(self, operation: str, *, unlist: bool = False, made: bool = False) -> None:
        """Remove what an operation has written of a run that it has not sealed, so that the run can
        be created anew: whoever still writes under that operation gets RunGone or WrongState. If
        there is no such run, there is nothing else to do.

        Args:
            operation: the id of the creation.
            unlist: remove the run's entries in lists too, since there will be no next creation.
            made: remove a run that the operation has sealed as well, as long as nobody has led it:
                none of its tasks can have run.

        Raises:
            LookAgain: the run was sealed, led, or created anew, since the caller looked.
            RunTooNew: a newer distflow writes it.
        """

    def delete_run(self, *, force: bool = False) -> None:
        """Remove the run, all that is kept of it, and its entries in every list.

        Args:
            force: also where somebody leads it, workers hold tasks of it, or it is damaged.

        Raises:
            WrongState: it is being led or workers hold tasks of it, and ``force`` is off.
            RunNotFound: there is no such run; what was left of one is removed.
            RunTooNew: a newer distflow made it, and may keep more of it than is known here.
        """

    def mark_active(self, version: int | None) -> None:
        """List the run among those of its version that somebody should lead; None takes it off."""
