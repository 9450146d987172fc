"""Runs that grow come to what their programs mean, whoever leads them and however often: in memory,
with take-overs, resumes and exports in their midst.

``DISTFLOW_GROWN`` says how many (60).
"""

from __future__ import annotations

import os
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from distflow.backends.memory import MemoryBackend
from distflow.coordinator.executor import WorkflowExecutor
from distflow.coordinator.sending import send_batches
from distflow.core.run import Event
from distflow.core.status import RunStatus
from distflow.runs.client import Client
from distflow.runs.run import Run
from tests.support.drawn import draw_program
from tests.support.growing_checks import check_order, check_tasks, check_value, known_of
from tests.support.meaning import read
from tests.support.programs import Program
from tests.support.tasks.programmed import write
from tests.support.tasks.recording import lines

EXAMPLES = int(os.environ.get("DISTFLOW_GROWN", "60"))

#: How long a leader waits for events while nothing can be worked on.
_BLOCK_MS = 20

often = settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


@pytest.fixture(scope="module")
def shared_log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The witness of the examples that run one after another."""
    return tmp_path_factory.mktemp("growing") / "log"


class Scene:
    """A run of a program in memory.

    Args:
        program: what it is of.
        log: what its tasks write.
    """

    def __init__(self, program: Program, log: Path) -> None:
        log.write_text("")
        self.backend = MemoryBackend(workers=2)
        self.client = Client(self.backend)
        self.run = self.client.create(write(program, log), run_id="run-1")

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
        executor, store = self.leader(), self.run.store
        executor.begin(force=force)
        events: Sequence[Event] = ()
        try:
            while executor.step(events) is None:
                send_batches(self.backend.dispatcher, executor.take_batches(), executor.keep)
                yield False
                # Whoever waits for events works.
                events = store.read_events(executor.last_event, block_ms=_BLOCK_MS)
            yield True
        finally:
            executor.abandon()


@often
@given(st.integers(0, 1 << 32))
def test_a_run_that_is_taken_over_is_what_it_means(shared_log: Path, seed: int) -> None:
    """Statuses, values, calls and their order: as if one leader had seen all of it."""
    chance = random.Random(seed)
    program = draw_program(chance)
    meant = read(program)
    scene = Scene(program, shared_log)
    while chance.random() < 0.7 and not scene.lead_a_while(chance.randint(0, 4)):
        pass
    status = scene.leader().lead(force=True)
    check_tasks(meant, scene.run.results(), shared_log)
    check_order(scene.run.graph(), shared_log)
    assert status == meant.verdict
    check_value(meant, scene.run)
    assert scene.run.info().repairs == {}
    assert scene.run.info().total == len(meant.tasks)


@often
@given(st.integers(0, 1 << 32))
def test_a_resume_goes_on_where_a_run_ended(shared_log: Path, seed: int) -> None:
    """No node expands again; what failed is evaluated again, with what its node had given it."""
    chance = random.Random(seed)
    program = draw_program(chance, unknown=False)
    first = read(program)
    scene = Scene(program, shared_log)
    if scene.leader().lead() == RunStatus.SUCCESS:
        return
    results = scene.run.results()
    before = Counter(line[0] for line in lines(shared_log))
    again = read(program, known_of(first, results))
    status = scene.leader().lead(reopen=True)
    check_tasks(again, scene.run.results(), shared_log, before=before)
    assert status == again.verdict
    assert scene.run.info().total == len(again.tasks)
