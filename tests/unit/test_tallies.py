"""How often somebody who follows a run counts its children."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from distflow.core.status import TaskStatus
from distflow.core.tally import Tally
from distflow.runs.tallies import TallyReader, read_tallies
from distflow.store.memory.store import MemoryRunStore
from tests.support.grown import PIPELINE, grown_run, settle
from tests.support.stores import make_spec


class Counted(MemoryRunStore):
    """Counts the names whose statuses are read, and lets time pass for each."""

    def __init__(self) -> None:
        super().__init__("run-1")
        self.create_run(replace(make_spec(), version=2), "made", PIPELINE)
        grown_run(self, 50)
        self.names = 0
        self.now = 1000.0

    def read_statuses(self, names: Sequence[str]) -> list[TaskStatus | None]:
        self.names += len(names)
        self.now += len(names) / 100
        return super().read_statuses(names)


def test_whoever_follows_rests_the_longer_the_more_there_is_to_count() -> None:
    """A count that takes a second is made again after twenty."""
    store = Counted()
    reader = TallyReader(store, lambda: store.now)
    info = store.read_info()
    first = reader.read(info)
    assert [tally.done for tally in first] == [0, 0]
    settle(store, "clean[0]")
    store.now += 19.0
    assert (reader.read(info), store.names) == (first, 100)
    store.now += 2.0
    assert [tally.done for tally in reader.read(info)] == [1, 0]
    assert store.names == 200


def test_a_run_in_which_all_is_well_is_not_counted() -> None:
    """Where no task is open and none has failed, all children are done."""
    store = Counted()
    settle(store, "report")
    for node in ("clean", "sizes"):
        for number in range(50):
            settle(store, f"{node}[{number}]")
    found = read_tallies(store, store.read_info())
    assert found == [Tally("clean", "map", 50, 50, 0), Tally("sizes", "map", 50, 50, 0)]
    assert store.names == 0
    settle(store, "sizes[7]", "failure")
    assert read_tallies(store, store.read_info())[1].failed == 1
