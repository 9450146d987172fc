"""Which outcomes and expansions of a snapshot file go into a new run, without holding the file in
memory.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from distflow.core.claim import Progress
from distflow.core.model import Task
from distflow.errors import SnapshotInvalid
from distflow.snapshot.branches import fields_of, find_dropped, refuse_started
from distflow.snapshot.gap import (
    gap_warning,
    may_add_once,
    may_have_started,
    may_start,
    stale_warning,
    without_warning,
)
from distflow.snapshot.reader import SnapshotReader
from distflow.snapshot.records import Outcome, SavedExpansion

#: Outcomes that are built at a time.
_CHUNK_TASKS = 1000

_LEAVE_OUT = "leave it out as well with --except {} (without=)"


class Arrivals:
    """Chooses which outcomes and expansions of a file go into the new run, chunk by chunk.

    Args:
        reader: the file.
        is_open: ``at_most_once`` tasks may have started since, and become unknown.
        without: tasks that are left out, in the file or not.

    Raises:
        SnapshotInvalid: with a task, what it had added would be left out, and run a second time.
    """

    def __init__(self, reader: SnapshotReader, *, is_open: bool, without: Sequence[str]) -> None:
        self._reader = reader
        self.is_open = is_open
        #: Tasks that are left out -> whether the run has such a task.
        self.without = dict.fromkeys(without, False)
        #: Nodes whose expansion is left out, and what they had added.
        self._dropped, self._gone = self._find_dropped()
        #: Nodes whose expansion goes in.
        self._expanded: set[str] = set()
        #: At-most-once tasks without an outcome that is kept, and nodes that may add some.
        self._once: set[str] = set()
        #: Tasks that depend on one that is left out.
        self._resting: set[str] = set()
        self._stale: list[str] = []
        self._started: list[str] = []
        self._unknown: list[str] = []
        self._count = 0

    def _find_dropped(self) -> tuple[set[str], set[str]]:
        if not self.without:
            return set(), set()
        expansions = ((saved.node, fields_of(saved)) for saved in self._reader.expansions())
        dropped = find_dropped(expansions, self.without)
        gone = {fields["name"] for made in dropped.values() for fields in made}
        packed = {
            known.task: known.packed
            for chunk in self._reader.outcomes()
            for known in (chunk if gone else ())
            if known.task in gone and known.packed is not None
        }
        refuse_started(dropped.values(), packed, self.without, is_open=self.is_open)
        for name in gone & self.without.keys():
            self.without[name] = True
        return set(dropped), gone

    def expansions(self) -> Iterator[SavedExpansion]:
        """The expansions that go in."""
        for saved in self._reader.expansions():
            if saved.node not in self._dropped:
                self._expanded.add(saved.node)
                # It adds nothing more.
                self._once.discard(saved.node)
                yield saved

    def keeps(self, name: str) -> bool:
        """Whether what is known about a task goes in."""
        left_out = name in self.without or name in self._gone or name in self._dropped
        return not left_out

    def note(self, tasks: Sequence[Task]) -> None:
        """Tasks of the run's graph."""
        for task in tasks:
            if task.name in self.without:
                self.without[task.name] = True
            if task.effects == "at_most_once" or (
                may_add_once(task) and task.name not in self._expanded
            ):
                self._once.add(task.name)
            if self.without and not (
                self.without.keys().isdisjoint(task.depends_on)
                and self._dropped.isdisjoint(task.depends_on)
            ):
                self._resting.add(task.name)

    def check_names(self) -> None:
        """Refuse names that the run does not have."""
        for name, found in self.without.items():
            if not found:
                raise SnapshotInvalid(f"--except {name}: the run has no such task")

    def translate(self, outcomes: Iterable[Outcome]) -> list[Outcome]:
        """The outcomes that go in, as they go in."""
        found = []
        for known in outcomes:
            name, packed, progress = known
            stands = packed is not None and not may_start(packed)
            if not self.keeps(name):
                if stands and name in self._once and name in self.without:
                    self._started.append(name)
                continue
            if name in self._once:
                self._once.discard(name)
                if self.is_open and not stands:
                    packed, progress = self._note_unknown(name, packed, progress)
            if stands and name in self._resting:
                self._stale.append(name)
            found.append(Outcome(name, packed, progress))
        return found

    def take_rest(self) -> Iterator[list[Outcome]]:
        """The tasks that the file has no outcome of, and that may have started since."""
        rest = [name for name in self._once if self.keeps(name)] if self.is_open else []
        for start in range(0, len(rest), _CHUNK_TASKS):
            names = sorted(rest[start : start + _CHUNK_TASKS])
            yield [Outcome(name, *self._note_unknown(name, None, None)) for name in names]

    def _note_unknown(
        self, name: str, packed: bytes | None, progress: Progress | None
    ) -> tuple[bytes, Progress]:
        self._count += 1
        if not self._unknown:
            self._unknown.append(name)
        return may_have_started(packed, progress)

    def warnings(self) -> Iterator[str]:
        """What a person should know, once everything is taken."""
        if self._unknown:
            yield gap_warning(self._count, self._unknown[0])
        if self._started:
            yield without_warning(self._started)
        if self._stale:
            yield stale_warning(self._stale, _LEAVE_OUT)
