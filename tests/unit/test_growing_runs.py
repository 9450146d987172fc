"""Runs that grow come to what their programs mean, whoever leads them and however often: in memory,
with take-overs, resumes and exports in their midst.

``DISTFLOW_GROWN`` says how many (30).
"""

from __future__ import annotations

import os
import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from distflow.coordinator import mirror
from distflow.core.resolution import Decision
from distflow.core.status import RunStatus, TaskStatus
from distflow.runs import run_writer
from distflow.runs.transfer import import_run
from distflow.wire import chunks
from tests.support.drawn import draw_program
from tests.support.growing_checks import (
    check_cut,
    check_order,
    check_tasks,
    check_value,
    known_of,
)
from tests.support.growing_scene import Scene
from tests.support.meaning import Known, read
from tests.support.programs import Block, Call, Given, Map, Of, Options, Program
from tests.support.tasks.recording import lines

EXAMPLES = int(os.environ.get("DISTFLOW_GROWN", "30"))

_DECISIONS: tuple[Decision, ...] = ("done", "done", "retry", "fail")

often = settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


@pytest.fixture(scope="module", autouse=True)
def small_chunks() -> Iterator[None]:
    """Graphs and expansions of a few tasks have several chunks; leaders take in one per step."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mirror, "CHUNK_TASKS", 1)
        patch.setattr(chunks, "CHUNK_TASKS", 2)
        patch.setattr(run_writer, "CHUNK_TASKS", 3)
        yield


@pytest.fixture(scope="module")
def shared_log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The witness of the examples that run one after another."""
    return tmp_path_factory.mktemp("growing") / "log"


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


@settings(often, max_examples=EXAMPLES // 2)
@given(st.integers(0, 1 << 32))
def test_a_person_decides_on_what_is_unknown(shared_log: Path, seed: int) -> None:
    """Whatever the task is: a plan that was done is what the person says, and builds nothing."""
    chance = random.Random(seed)
    program = draw_program(chance)
    first = read(program)
    scene = Scene(program, shared_log)
    if scene.leader().lead() != RunStatus.BLOCKED:
        return
    results = scene.run.results()
    before = Counter(line[0] for line in lines(shared_log))
    # Whatever has ended stands.
    known = {name: at._replace(started=True) for name, at in known_of(first, results).items()}
    for name in scene.run.unknown_tasks():
        decision = chance.choice(_DECISIONS)
        data = ["decided", name] if decision == "done" else None
        scene.run.resolve(name, decision, data)
        status = {"done": "success", "fail": "failure", "retry": ""}[decision]
        known[name] = Known(status, data, known[name].attempt, started=decision != "retry")
    again = read(program, known)
    status = scene.leader().lead()
    check_tasks(again, scene.run.results(), shared_log, before=before)
    assert status == again.verdict
    check_value(again, scene.run)


@settings(often, max_examples=EXAMPLES // 2)
@given(st.integers(0, 1 << 32))
def test_a_run_that_was_cancelled_goes_on(shared_log: Path, seed: int) -> None:
    """Wherever it was: every task that there is ends, and a resume does the rest."""
    chance = random.Random(seed)
    program = draw_program(chance, unknown=False)
    first = read(program)
    scene = Scene(program, shared_log)
    steps = scene.steps()
    for _ in range(chance.randint(1, 12)):
        if next(steps):
            return
    scene.run.cancel()
    assert list(steps)[-1]
    results = scene.run.results()
    assert results.keys() == {task.name for task in scene.run.graph().tasks}
    assert len(results) == scene.run.info().total
    before = Counter(line[0] for line in lines(shared_log))
    again = read(program, known_of(first, results))
    status = scene.leader().lead(reopen=True, force=True)
    check_tasks(again, scene.run.results(), shared_log, before=before)
    assert status == again.verdict
    check_value(again, scene.run)


def test_what_rests_on_a_tolerated_failure_is_not_done_again(tmp_path: Path) -> None:
    """The failure is evaluated again in the run that starts from the export, and the plan that took
    its None keeps what it has built.
    """
    built = Block((Call("pay", (Given(0),), options=Options(effects="at_most_once")),), Of("pay"))
    rows = Map("rows", ([7, 8],), max_failures=1)
    paid = Map("paid", (Of("rows"),), block=built)
    program = Program(Block((rows, paid), Of("paid")), {"rows[0]": ("raise",)})
    log = tmp_path / "log"
    first = Scene(program, log)
    assert first.leader().lead() == RunStatus.SUCCESS
    second = Scene(program, log, first.run.snapshot())
    assert second.leader().lead() == RunStatus.SUCCESS
    assert [line[0] for line in lines(log)] == ["rows[0]"]
    assert second.run.result() == first.run.result()


@settings(often, max_examples=EXAMPLES // 6)
@given(st.integers(0, 1 << 32))
def test_every_export_is_a_consistent_cut_and_goes_on(shared_log: Path, seed: int) -> None:
    """At every moment of a run; and a run that starts from one of them comes to the same, without
    calling what was done, or expanding what had expanded.
    """
    chance = random.Random(seed)
    program = draw_program(chance, unknown=False)
    meant = read(program)
    scene = Scene(program, shared_log)
    cuts = []
    for _ended in scene.steps():
        cuts.append(scene.run.snapshot())
        check_cut(scene.run.graph(), cuts[-1])
    cut = chance.choice(cuts)
    is_import = chance.random() < 0.5
    known = known_of(meant, dict(cut), cut.progress)
    if is_import:
        shared_log.write_text("")
        file = shared_log.with_name("export")
        cut.dump(file)
        run = scene.client.run(import_run(file, scene.backend.store, run_id="run-2", gap="run"))
    else:
        # What failed, or was between two attempts, begins anew.
        known = {
            name: at for name, at in known.items() if at.status == TaskStatus.SUCCESS or at.started
        }
        scene = Scene(program, shared_log, cut)
        run = scene.run
    again = read(program, known)
    status = scene.leader(run).lead(reopen=is_import)
    check_tasks(again, run.results(), shared_log)
    assert status == again.verdict
    check_value(again, run)
