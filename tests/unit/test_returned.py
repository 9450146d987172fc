"""What the workflow of a run returns: from Python, in process and where runs live."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from distflow import Client, TaskRunnerBuilder
from distflow.backends.memory import MemoryBackend
from distflow.core.model import Ref
from distflow.core.status import RunStatus
from distflow.errors import Incomplete, RunFailed, WrongState
from distflow.runs.run import Run
from distflow.runs.transfer import export_run, import_run
from distflow.wire.codec import pack
from tests.support.grown import PIPELINE, grown_run, settle
from tests.support.stores import make_spec
from tests.support.tasks.returning import failing, plain, sums

SUMS = {"sum": 3, "parts": (0, 1, 2), "bad": [None, None], "of": 3}


@pytest.fixture
def client() -> Client:
    """Runs in memory, with a worker."""
    return Client(MemoryBackend())


def test_results_are_filled_in(client: Client) -> None:
    """Tasks stand for their results; a skipped one, or a tolerated failure, for None."""
    run = client.submit(sums)
    assert run.result(10) == SUMS
    assert client.run(run.run_id).result() == SUMS
    assert client.submit(plain, {"text": "x"}).result(10) == "x"


def test_a_workflow_that_returns_nothing(client: Client) -> None:
    """Its result is None, and its run keeps nothing for it."""
    run = client.submit(plain, {"text": None})
    assert (run.result(10), run.info().returns) == (None, None)


def test_a_failed_run_has_no_result(client: Client) -> None:
    """The error names the failure that came first."""
    run = client.submit(failing)
    with pytest.raises(RunFailed) as failed:
        run.result(10)
    run_id = run.run_id
    assert str(failed.value) == (
        f"run {run_id} is failure: task 'z' failed: ValueError: it broke; see "
        f"`distflow show {run_id} z`"
    )


def test_a_run_that_was_stopped_has_no_result(client: Client) -> None:
    """A cancelled run says why; one that waits for a person, how it goes on."""
    run = client.create(sums)
    store = run.store
    store.set_status(RunStatus.INTERRUPTED, {RunStatus.RUNNING})
    with pytest.raises(WrongState, match=f"continue it with `distflow resume {run.run_id}`"):
        run.result(5)
    store.set_status(RunStatus.CANCELLED, {RunStatus.INTERRUPTED}, reason="cancelled by me")
    with pytest.raises(RunFailed, match="is cancelled: cancelled by me; see `distflow status"):
        run.result(5)
    store.set_status(RunStatus.BLOCKED, {RunStatus.CANCELLED})
    with pytest.raises(RunFailed, match="is blocked: decide what became of it"):
        run.result(5)


def test_a_run_that_goes_on_has_no_result_yet(client: Client) -> None:
    """It can be waited for a while."""
    with pytest.raises(TimeoutError):
        client.create(sums).result(0.01)


def test_in_this_process() -> None:
    """A runner has what the workflow returned that it executed last."""
    runner = TaskRunnerBuilder().build()
    with pytest.raises(WrongState, match="nothing was executed"):
        runner.result()
    runner.execute(sums)
    assert runner.result() == SUMS
    runner.execute(failing, concurrency=1)
    with pytest.raises(RunFailed, match="task 'z' failed: ValueError: it broke"):
        runner.result()


def grown(client: Client) -> Run:
    """A run that has succeeded: a pipeline that returns the results of a map, and a report."""
    returns = pack({"rows": Ref("clean"), "report": Ref("report")})
    spec = replace(make_spec("grown"), version=2, returns=returns)
    store = client.backend.store("grown")
    store.create_run(spec, "made", PIPELINE)
    grown_run(store)  # type: ignore[arg-type]
    return client.run("grown")


def test_a_mapped_task_stands_for_all_results(client: Client) -> None:
    """Gathered as for any other reader: complete, or an error that names what is missing."""
    run = grown(client)
    store = client.backend.store("grown")
    for number in range(3):
        settle(store, f"clean[{number}]", data=number * 10)  # type: ignore[arg-type]
    settle(store, "report", data="all")  # type: ignore[arg-type]
    store.set_status(RunStatus.SUCCESS, {RunStatus.RUNNING})
    assert run.result() == {"rows": [0, 10, 20], "report": "all"}
    settle(store, "clean[1]", "failure", error="E: x")  # type: ignore[arg-type]
    with pytest.raises(Incomplete, match=r"'clean\[1\]' is failure"):
        run.result()


def test_what_is_returned_travels_with_the_run(client: Client, tmp_path: Path) -> None:
    """An export has it, and so has the run that is made of it."""
    run = client.submit(sums)
    run.wait(10)
    target = tmp_path / "file"
    export_run(run.store, target)
    import_run(target, client.store, run_id="copy")
    assert client.run("copy").info().returns == run.info().returns
    client.run("copy").resume()
    assert client.run("copy").result(10) == SUMS
