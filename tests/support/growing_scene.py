"""Runs of programs in memory, led batch by batch."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from pathlib import Path

from distflow import Snapshot
from distflow.backends.memory import MemoryBackend
from distflow.coordinator.executor import WorkflowExecutor
from distflow.coordinator.sending import send_batches
from distflow.core.run import Event
from distflow.ports.backend import Backend
from distflow.ports.run_store import RunStore
from distflow.runs.client import Client
from distflow.runs.run import Run
from distflow.runs.takeover import Taking
from tests.support.programs import Program
from tests.support.tasks.programmed import write

#: How long a leader waits for events while nothing can be worked on.
_BLOCK_MS = 20


class Scene:
    """A run of a program in memory.

    Args:
        program: what it is of.
        log: what its tasks write.
        snapshot: what it starts from.
    """

    def __init__(self, program: Program, log: Path, snapshot: Snapshot | None = None) -> None:
        log.write_text("")
        self.backend = MemoryBackend(workers=2)
        self.client = Client(self.backend)
        # The run that a snapshot is of goes on: what may run once runs in both.
        taking, flow = Taking(gap="run"), write(program, log)
        self.run = self.client.create(flow, run_id="run-1", snapshot=snapshot, taking=taking)

    def leader(self, run: Run | None = None) -> WorkflowExecutor:
        """A coordinator of the run, or of another."""
        return WorkflowExecutor((run or self.run).store, self.backend.dispatcher)

    def lead_a_while(self, batches: int) -> bool:
        """A coordinator leads until so many batches have run, and dies with others sent; returns
        whether the run has ended before.
        """
        for count, ended in enumerate(self.steps(force=True)):
            if ended or count == batches:
                return ended
        return True

    def steps(self, *, force: bool = False) -> Iterator[bool]:
        """Lead the run batch by batch; True is the end."""
        return lead_in_steps(self.leader(), self.run.store, self.backend, force=force)


def lead_in_steps(
    executor: WorkflowExecutor, store: RunStore, backend: Backend, *, force: bool = False
) -> Generator[bool, None, None]:
    """Lead a run step by step; True is the end. Whoever takes no more steps dies."""
    executor.begin(force=force)
    events: Sequence[Event] = ()
    try:
        while executor.step(events) is None:
            send_batches(backend.dispatcher, executor.take_batches(), executor.keep)
            yield False
            # In memory, whoever waits for events works.
            events = store.read_events(executor.last_event, block_ms=_BLOCK_MS)
        yield True
    finally:
        executor.abandon()
