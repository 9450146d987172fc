"""What is read of a run: nothing here changes anything."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

from distflow.core.claim import Progress
from distflow.core.expansion import Expansion
from distflow.core.model import Task
from distflow.core.readings import Problems, RunHead, RunReading, ServerInfo
from distflow.core.run import Beat, Claim, HistoryEntry, Refusal, RunInfo, TaskCut
from distflow.core.status import RunStatus, TaskStatus


class ReadingPort(Protocol):
    """Reads of a run. Where there is no such run, what does not raise RunNotFound finds nothing.

    Each raises DamagedRun where what is kept is nothing that distflow writes.
    """

    def read_info(self) -> RunInfo:
        """The run in short, whatever its size.

        Raises:
            RunNotFound: there is no such run.
            RunTooNew: a newer distflow made it.
        """

    def read_status(self) -> RunStatus:
        """The run's status alone.

        Raises:
            RunNotFound: there is no such run.
            RunTooNew: a newer distflow made it.
        """

    def read_head(self, *, with_tasks: bool = True, with_server: bool = True) -> RunHead:
        """What whoever leads the run reads of it first, in one round trip.

        Args:
            with_tasks: whether the first tasks of the graph are read too.
            with_server: whether the server is asked about too.

        Raises:
            RunNotFound: there is no such run.
            RunTooNew: a newer distflow made it.
        """

    def read_standing(self, names: Sequence[str]) -> RunReading:
        """Where the run and some tasks stand, in one round trip: of names that are not too many.

        Raises:
            RunNotFound: there is no such run.
            RunTooNew: a newer distflow made it.
        """

    def iter_tasks(self, start: int = 0) -> Iterator[list[Task]]:
        """The graph that the run was created with, a chunk at a time, from chunk number ``start``
        on.
        """

    def read_expansions(self) -> dict[str, Expansion]:
        """What growing nodes have added to the graph, by node, in the order of their ``seq``."""

    def read_expansion(self, node: str) -> Expansion | None:
        """What a node has added; None where it has not expanded."""

    def read_chunk(self, token: str, number: int) -> list[Task]:
        """The tasks of one chunk of an expansion.

        Args:
            token: of the expansion.
            number: of the chunk, from 0.

        Raises:
            LookAgain: there is no such chunk (any more): nor is the expansion recorded.
            RunNotFound: there is no such run.
        """

    def read_stand_in(self, token: str) -> bytes | None:
        """What an expansion stands for, encoded; None where there is no such expansion."""

    def read_stand_ins(self, tokens: Sequence[str]) -> list[bytes | None]:
        """The same of several expansions, in one round trip."""

    def read_statuses(self, names: Sequence[str]) -> list[TaskStatus | None]:
        """The outcomes' statuses without their data, in order; None where there is none yet."""

    def read_results(self, names: Sequence[str]) -> list[bytes | None]:
        """The encoded TaskResults of tasks, in order; None where there is no outcome."""

    def read_cut(self, names: Sequence[str]) -> list[TaskCut]:
        """Outcome, claim, progress and note of tasks, read at one instant."""

    def read_troubles(self, limit: int) -> Problems:
        """The tasks that failed or are unknown, at most ``limit`` of each kind by name."""

    def read_claims(self) -> dict[str, Claim]:
        """Every claim that is held now, by task."""

    def read_progress(self) -> dict[str, Progress]:
        """Every task's progress, where it has some."""

    def sample_progress(self, most: int) -> dict[str, Progress]:
        """As :meth:`read_progress`, of about ``most`` tasks where there are more."""

    def read_beats(self) -> dict[str, Beat]:
        """Every batch that has begun and not ended, with its last beat."""

    def read_refusals(self) -> list[Refusal]:
        """What workers cannot run, the oldest first."""

    def read_history(
        self, task: str | None = None, *, newest: int | None = None
    ) -> list[HistoryEntry]:
        """The history, oldest first.

        Args:
            task: of this one alone; None is all.
            newest: only of so many of the newest entries; None is all. They are counted before
                ``task`` chooses among them.
        """

    def read_server(self) -> ServerInfo:
        """The server's clock, and which process of it answers."""
