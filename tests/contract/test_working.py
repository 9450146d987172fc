"""What a coordinator relies on of the workers: a batch that is sent is run, and what became of its
tasks is in the run. The workers are RQ's own and ours, in this process.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from rq import Queue, SimpleWorker
from rq.job import Job, JobStatus
from rq.suspension import resume, suspend
from rq.worker import BaseWorker

from distflow.core.model import Loop, Ref, Retry, Task
from distflow.core.run_options import RunOptions
from distflow.wire.codec import pack
from distflow_worker import FastWorker, SafeJob, SafeSerializer
from distflow_worker.serializer import BATCH_FUNCTION
from tests.contract.working import Working
from tests.support.stores import claim, final, finish
from tests.support.tasks import ordinary, recording

RECORDING = "tests.support.tasks.recording"
BEHAVING = "tests.support.tasks.behaving"
SAVING = "tests.support.tasks.saving"
VERIFYING = "tests.support.tasks.verifying"

Work = Callable[..., Working]


@pytest.fixture(params=[SimpleWorker, FastWorker], ids=["simple", "fast"])
def worker_class(request: pytest.FixtureRequest) -> type[BaseWorker]:
    """One that runs a batch in its own process, and one that gives it to a child."""
    found: type[BaseWorker] = request.param
    return found


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """The witness."""
    return tmp_path / "log"


@pytest.fixture
def sending(redis_client: Redis, log: Path) -> Work:
    """``sending(*tasks)``: a run of these tasks."""
    return lambda *tasks, **options: Working(redis_client, log, *tasks, **options)


def behaving(name: str, *steps: str, **fields: Any) -> Task:
    """A task that does this, step by step."""
    return Task(name, f"{BEHAVING}:behave", args=(steps or ("ok",),), **fields)


def test_a_batch_is_run(sending: Work, worker_class: type[BaseWorker], log: Path) -> None:
    """Each task once, with what those before it returned; of its job nothing is left."""
    tasks = (
        Task("one", f"{RECORDING}:echo", args=(1,)),
        Task("two", f"{RECORDING}:echo", args=(Ref("one"),), depends_on=("one",)),
        behaving("fails", "raise"),
        behaving("again", "raise", retry=Retry(1, delay=60.0)),
    )
    working = sending(*tasks)
    batch = working.send()
    name = working.work(worker_class)
    results = working.results()
    assert {key: (each.status, each.data) for key, each in results.items()} == {
        "one": ("success", [1]),
        "two": ("success", [[1]]),
        "fails": ("failure", None),
    }
    assert results["fails"].error == "ValueError: call 1 of fails"
    assert {result.worker for result in results.values()} == {name}
    assert [line[0] for line in recording.lines(log)] == ["fails", "again"]
    waiting = working.store.read_progress()["again"]
    assert (waiting.attempt, waiting.not_before > 0) == (2, True)
    kinds = [(event.kind, event.task) for event in working.store.read_events("0-0")]
    assert ("finished", "two") in kinds
    assert ("waiting", "again") in kinds
    assert kinds[-1] == ("batch_ended", "")
    # A SimpleWorker leaves it to expire.
    assert working.dispatcher.find_queued("run-1", ["default"]) == set()
    assert working.dispatcher.read_failures([batch.id]) == {}
    assert working.store.read_claims() == {}


def test_a_batch_of_a_coordinator_that_is_superseded_is_not_run(
    sending: Work, worker_class: type[BaseWorker], log: Path
) -> None:
    """Another has sent the tasks anew: who comes with the old batch leaves them alone."""
    working = sending(behaving("a"))
    working.send()
    newer = working.store.acquire_lease("berta", 60.0, force=True)
    working.work(worker_class)
    assert recording.lines(log) == []
    working.send(epoch=newer)
    working.work(worker_class)
    assert working.statuses() == {"a": "success"}
    assert len(recording.lines(log)) == 1


def test_what_is_done_is_not_done_again(
    sending: Work, worker_class: type[BaseWorker], log: Path
) -> None:
    """Whoever sends it, and as often as it is sent."""
    working = sending(behaving("a"), behaving("b", depends_on=("a",)))
    for _ in range(2):
        working.send()
    working.work(worker_class)
    working.work(worker_class)
    assert [line[0] for line in recording.lines(log)] == ["a", "b"]


def test_conditions_loops_and_notes(sending: Work, log: Path) -> None:
    """What the user's code is asked before and after a call, and what it may look at."""
    tasks = (
        behaving("asked", condition=f"{BEHAVING}:always"),
        behaving("left", condition=f"{BEHAVING}:never"),
        behaving("loops", "again", "ok", loop=Loop(f"{BEHAVING}:until", 3)),
        Task("noted", f"{SAVING}:stuff", args=(100,)),
        Task("large", f"{SAVING}:stuff", args=(70_000,)),
    )
    working = sending(*tasks)
    working.send()
    working.work()
    # A loop's next iteration is a batch of its own.
    working.send(tasks[2])
    working.work()
    results = working.results()
    assert working.statuses() == {
        "asked": "success",
        "left": "skipped",
        "loops": "success",
        "noted": "success",
        "large": "failure",
    }
    assert results["noted"].data == 100
    assert (results["large"].error or "").startswith("NotEncodable: ")
    called = [line[0] for line in recording.lines(log)]
    assert called == ["?asked", "asked", "?left", "loops", "!loops", "loops", "!loops"]


def test_a_context_is_made_once(sending: Work, log: Path) -> None:
    """For all tasks of a run in a process; and anew for the next coordinator's batches."""
    tasks = [Task(name, f"{BEHAVING}:greeting") for name in ("a", "b", "c")]
    options = RunOptions(context=f"{BEHAVING}:remember")
    working = sending(*tasks, options=options, who="anna")
    working.send(*tasks[:2])
    working.work()
    assert recording.lines(log) == [["factory"]]
    epoch = working.store.acquire_lease("berta", 60.0, force=True)
    working.send(tasks[2], epoch=epoch)
    working.work()
    assert {each.data for each in working.results().values()} == {"hello anna"}
    assert recording.lines(log) == [["factory"]] * 2


def test_a_context_sees_what_is_done(sending: Work) -> None:
    """A factory that takes two arguments is given the outcomes of the run as they are then."""
    first, second = behaving("first"), Task("second", f"{BEHAVING}:greeting")
    working = sending(first, second, options=RunOptions(context=f"{BEHAVING}:replay"))
    working.send(first)
    working.work(FastWorker)
    working.send(second)
    working.work(FastWorker)
    assert working.results()["second"].data == [1, {"first": "ok"}, False]


def test_only_dependencies_are_looked_at(sending: Work) -> None:
    """By name, with all that is known of how they ended."""
    tasks = (
        behaving("good"),
        behaving("bad", "failure", continue_on_error=True),
        Task("sees", f"{BEHAVING}:look", args=("good", "bad"), depends_on=("good", "bad")),
        Task("peeks", f"{BEHAVING}:look_elsewhere", args=("good",)),
    )
    working = sending(*tasks)
    working.send()
    working.work()
    results = working.results()
    assert results["sees"].data == [
        ["success", None, "ok"],
        ["failure", "said so itself: failure", None],
    ]
    assert "does not depend on 'good'" in (results["peeks"].error or "")


def test_a_timeout_ends_a_task(sending: Work, log: Path) -> None:
    """And the batch with it: what comes after is left to others."""
    slow = Task("slow", f"{RECORDING}:hold", args=(str(log), "no gate"), timeout=0.2)
    working = sending(slow, behaving("after"))
    working.send()
    working.work(FastWorker)
    assert working.results()["slow"].error == "TaskTimeout: ran longer than 0.2 s"
    assert working.store.read_claims() == {}
    assert "after" not in working.results()


def test_what_a_worker_cannot_run_it_gives_back(
    sending: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing of it counts as tried; the run is told who could not, and what was missing. The
    others of the batch are run.
    """
    monkeypatch.setattr("distflow_worker.registration.LONGEST_REST_SECONDS", 0.0)
    absent = "tests.support.tasks.nowhere:work"
    working = sending(Task("lost", absent), behaving("found"), Task("same", absent))
    working.send()
    name = working.work()
    assert working.statuses() == {"found": "success"}
    assert working.store.read_claims() == {}
    (refusal,) = working.store.read_refusals()
    assert (refusal.worker, refusal.tasks) == (name, ("lost", "same"))
    assert "tests.support.tasks.nowhere" in refusal.words


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        ("done", "success"),
        ("failed", "failure"),
        ("not_done", None),
        ("raises_not_done", None),
        ("raises", "unknown"),
        ("talks", "unknown"),
        ("unencodable", "unknown"),
        ("saves", "unknown"),
    ],
)
def test_a_verify_hook_decides(sending: Work, log: Path, answer: str, status: str | None) -> None:
    """What it answers becomes of the task; whatever else it does leaves the task unknown. The task
    itself is not called.
    """
    hook = f"{VERIFYING}:look_up"
    task = Task(answer, f"{VERIFYING}:charge", effects="at_most_once", verify=hook)
    working = sending(task)
    lose(working, task)
    working.send(verify=True)
    working.work()
    assert working.store.read_statuses([answer]) == [status]
    assert [line[0] for line in recording.lines(log)] == ["verify"]
    if status == "success":
        assert working.results()[answer].data == "job-7"


def lose(working: Working, task: Task) -> None:
    """A worker started the task, saved a note, and is gone."""
    store = working.store
    claim(store, working.epoch, task.name, "t1", batch="lost")
    store.save_note(task.name, "t1", pack({"job": "job-7"}))
    finish(store, working.epoch, final(task.name, "t1", "unknown", started=True), batch="lost")


# Jobs that end otherwise


def test_a_job_that_no_worker_reads_has_failed(
    sending: Work, worker_class: type[BaseWorker]
) -> None:
    """A coordinator of a newer release has sent it: RQ's record says which worker, and why."""
    working = sending(behaving("a"))
    batch = working.send(version=99)
    name = working.work(worker_class)
    failure = working.dispatcher.read_failures([batch.id])[batch.id]
    assert name in failure.words
    assert "version 99" in failure.words
    assert failure.by.name == name
    assert failure.by.pid == os.getpid()
    assert working.results() == {}


def test_a_job_of_another_kind_is_run_as_ever(
    sending: Work, worker_class: type[BaseWorker], log: Path
) -> None:
    """Batches and other jobs share a queue; one that names the function of batches and is none
    fails in RQ's own way.
    """
    working = sending(behaving("a"))
    queue = Queue(connection=working.client)
    before = queue.enqueue(ordinary.add, 1, second=2)
    working.send()
    wrong = queue.enqueue(BATCH_FUNCTION, "no payload", "too much")
    after = queue.enqueue(ordinary.fail, str(log))
    working.work(worker_class)
    assert working.statuses() == {"a": "success"}
    answer: Any = before.return_value(refresh=True)
    assert answer["sum"] == 3
    assert [job.get_status(refresh=True) for job in (before, wrong, after)] == [
        JobStatus.FINISHED,
        JobStatus.FAILED,
        JobStatus.FAILED,
    ]


def test_a_cautious_worker_runs_batches_alone(sending: Work, log: Path) -> None:
    """It unpickles nothing, and calls nobody back."""
    working = sending(behaving("a"))
    stranger = Queue(connection=working.client).enqueue(ordinary.hold, str(log), str(log))
    batch = working.send()
    calling: Any = {"success_callback_name": f"{RECORDING}:echo", "webhooks": "x"}
    working.client.hset(Job.key_for(batch.id), mapping=calling)
    working.work(job_class=SafeJob, serializer=SafeSerializer)
    assert working.statuses() == {"a": "success"}
    assert [line[0] for line in recording.lines(log)] == ["a"]
    assert stranger.get_status(refresh=True) == JobStatus.FAILED
    # Who is called back by such a name fails the job.
    assert working.dispatcher.read_failures([batch.id]) == {}


def test_a_child_that_dies_is_judged_by_rq(sending: Work) -> None:
    """The job has failed, with the worker that had it; the claim stays, for whoever leads. The next
    batch has a child of its own.
    """
    hook = f"{VERIFYING}:look_up"
    dies = Task("dies", f"{VERIFYING}:charge", effects="at_most_once", verify=hook)
    working = sending(dies, behaving("after"))
    batch = working.send(dies)
    working.send(working.tasks[1])
    name = working.work(FastWorker)
    failure = working.dispatcher.read_failures([batch.id])[batch.id]
    assert failure.by.name == name
    assert working.store.read_claims().keys() == {"dies"}
    assert working.statuses() == {"after": "success"}


def test_a_child_is_replaced_after_its_share(
    sending: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a task leaves in its process does not stay for ever."""
    pids = []
    for jobs in ("1", "1000"):
        monkeypatch.setenv("DISTFLOW_FAST_JOBS", jobs)
        tasks = [Task(name, "os:getpid") for name in ("a", "b")]
        working = sending(*tasks)
        for task in tasks:
            working.send(task)
        working.work(FastWorker)
        pids.append({result.data for result in working.results().values()})
        working.store.delete_run(force=True)
    assert [len(each) for each in pids] == [2, 1]
    assert os.getpid() not in pids[0] | pids[1]


@pytest.mark.parametrize("variable", ["DISTFLOW_FAST_JOBS", "DISTFLOW_FAST_RSS_MB"])
def test_a_share_that_is_no_number_is_refused(
    redis_client: Redis,
    variable: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Before the worker takes anything: one line that names the variable."""
    monkeypatch.setenv(variable, "many")
    with pytest.raises(SystemExit):
        FastWorker(["default"], connection=redis_client)
    assert f"{variable}='many'" in capsys.readouterr().err


def test_a_suspended_worker_takes_nothing(
    sending: Work, worker_class: type[BaseWorker], log: Path
) -> None:
    """Until somebody says ``rq resume``."""
    working = sending(behaving("a"))
    working.send()
    suspend(working.client)
    working.work(worker_class)
    assert recording.lines(log) == []
    resume(working.client)
    working.work(worker_class)
    assert working.statuses() == {"a": "success"}
