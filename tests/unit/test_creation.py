"""How a run is written where Redis does not take it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from distflow.core.graph import Graph
from distflow.core.model import Grow, Task
from distflow.core.run import RunSpec
from distflow.core.status import RunStatus
from distflow.errors import RedisRefuses, RedisUnavailable, RunNotFound
from distflow.runs.run_writer import is_frozen, write_run
from distflow.runs.takeover import Takeover
from distflow.store.memory.store import MemoryRunStore, MemoryServer

#: More than one script writes: what a task had saved.
NOTED = Takeover([], [("a", b"note")], [])


class Refused(MemoryRunStore):
    """A store that was refused for as long as it is patient; ``calls`` is how often."""

    calls = 0

    def create_run(
        self, spec: RunSpec, operation: str, tasks: Sequence[Task] | None = None
    ) -> None:
        self.calls += 1
        raise RedisRefuses


def test_who_has_waited_in_vain_does_not_wait_again() -> None:
    """What may have been written is taken back by the store that has little patience: a submit ends
    after a minute, and not after two.
    """
    server = MemoryServer()
    store, undo = Refused("r", server=server), MemoryRunStore("r", server=server)
    spec = RunSpec("r", "m:flow", {}, "origin")
    with pytest.raises(RedisRefuses):
        write_run(store, spec, Graph.compile([Task("a", "m:f")]), undo=undo)
    assert store.calls == 1
    with pytest.raises(RunNotFound):
        undo.read_info()


@pytest.mark.parametrize("is_led", [False, True])
def test_a_run_whose_making_nobody_confirmed(is_led: bool) -> None:
    """Its writer gives up without a reply. Without a leader the run goes away; with one it stays,
    since tasks of it may have run.
    """
    server = MemoryServer()

    class Unanswered(MemoryRunStore):
        """Redis has made the run, and the reply never comes."""

        def create_run(
            self, spec: RunSpec, operation: str, tasks: Sequence[Task] | None = None
        ) -> None:
            super().create_run(spec, operation, tasks)
            if is_led:
                undo.acquire_lease("a service", 30.0)
            raise RedisUnavailable

    store, undo = Unanswered("r", server=server), MemoryRunStore("r", server=server)
    with pytest.raises(RedisUnavailable):
        write_run(
            store, RunSpec("r", "m:flow", {}, "o"), Graph.compile([Task("a", "m:f")]), undo=undo
        )
    assert bool(server.runs) == is_led


def test_a_writer_that_slept_takes_back_its_own_alone() -> None:
    """It was taken for dead, and its run was created anew and is at work: what cuts the writer off
    now must not remove that.
    """
    server = MemoryServer()
    store, other = MemoryRunStore("r", server=server), MemoryRunStore("r", server=server)
    spec, task = RunSpec("r", "m:flow", {}, "origin"), Task("a", "m:f")

    def sleep(written: int) -> None:
        if written:
            cut_off = other.read_creation()
            assert cut_off is not None
            other.discard_creation(cut_off.operation)
            other.create_run(spec, "second", [task])
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_run(
            store,
            spec,
            Graph.compile([task]),
            taken=Takeover([], [("a", b"note")], []),
            progress=sleep,
        )
    assert other.read_status() == RunStatus.RUNNING
    assert server.active == {"r"}


def test_a_creation_that_is_interrupted_leaves_nothing() -> None:
    """Neither the run nor its place in a list."""
    server = MemoryServer()
    store = MemoryRunStore("r", server=server)
    spec, task = RunSpec("r", "m:flow", {}, "origin"), Task("a", "m:f")

    def interrupt(written: int) -> None:
        if written:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_run(
            store,
            spec,
            Graph.compile([task]),
            taken=Takeover([], [("a", b"note")], []),
            progress=interrupt,
        )
    assert (server.runs, server.active, server.index) == ({}, set(), [])


@pytest.mark.parametrize("where", ["args", "kwargs", "child"])
def test_what_may_change_is_not_kept_in_memory(where: str) -> None:
    """A value of a registered type may be changed after the run was written; plain values are
    copies of their own.
    """
    for value, frozen in (({"a": [1, (2,)]}, True), ({"a": [Changeable()]}, False)):
        fields: dict[str, Any] = {"args": ([1],), "grow": Grow("map", Task("", "m:f"))}
        if where == "args":
            fields["args"] = (value,)
        elif where == "kwargs":
            fields = {"kwargs": {"given": value}}
        else:
            fields["grow"] = Grow("map", Task("", "m:f", kwargs={"given": value}))
        assert is_frozen(Graph.compile([Task("a", "m:f", **fields)])) is frozen


class Changeable:
    """Not a type that msgpack has."""
