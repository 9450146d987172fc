"""What a coordinator does with the tasks that growing nodes add to its run: no processes."""

from __future__ import annotations

from typing import Any

import pytest

from distflow.coordinator import mirror as mirror_module
from distflow.coordinator.settings import CoordinatorSettings
from distflow.core.claim import Code
from distflow.core.model import Grow, Task
from distflow.core.status import RunStatus, TaskStatus
from distflow.errors import DamagedRun, LookAgain
from distflow.wire.codec import encode_tasks
from tests.support.leading import Leading, played, played_node
from tests.unit.conftest import Lead


@pytest.fixture
def slowly(monkeypatch: pytest.MonkeyPatch) -> None:
    """A coordinator takes in one chunk per step, however small it is."""
    monkeypatch.setattr(mirror_module, "CHUNK_TASKS", 1)


@pytest.fixture(name="lead")
def many_workers(lead: Lead) -> Lead:
    """There are workers enough for all that is ready."""

    def leads(*tasks: Task, **options: Any) -> Leading:
        led = lead(*tasks, **options)
        for number in range(5):
            led.worker(f"idle-{number}")
        led.fleet.count_workers()
        return led

    return leads


def children(node: str, number: int, **fields: Any) -> list[Task]:
    """So many tasks below a node."""
    return [played(f"{node}[{position}]", **fields) for position in range(number)]


def expanded(led: Leading, *chunks: list[Task], node: str = "n") -> None:
    """A worker has run a growing node; nobody has looked yet."""
    worker = led.take(led.worker(f"of-{node}"), node)
    assert worker.expand(node, *chunks) == Code.RECORDED


def do(led: Leading, *names: str, status: str = "success") -> None:
    """Let workers end these tasks; they are queued."""
    for name in names:
        led.take(led.worker(f"of-{name}"), name).finish(name, status)


def queued(led: Leading) -> list[str]:
    """The tasks that are in queues, in the order in which they were sent."""
    return [task.name for batch in led.transport.queued.values() for task in batch.tasks]


# It grows


def test_children_are_sent_and_joined(lead: Lead) -> None:
    """What depends on the node waits for all of them; so many tasks are of the run in the end."""
    led = lead(played_node("n"), played("end", depends_on=("n",)))
    expanded(led, children("n", 2))
    led.step()
    assert queued(led) == ["n[0]", "n[1]"]
    assert led.state.counts[TaskStatus.PENDING] == 1
    do(led, "n[1]")
    led.step()
    assert queued(led) == ["n[0]"]
    do(led, "n[0]")
    led.step()
    assert queued(led) == ["end"]
    do(led, "end")
    assert led.step() == RunStatus.SUCCESS
    assert [notice.task for notice in led.told if notice.kind == "task_end"] == [
        "n",
        "n[1]",
        "n[0]",
        "end",
    ]


def test_a_node_without_children_has_joined(lead: Lead) -> None:
    """At once."""
    led = lead(played_node("n"), played("end", depends_on=("n",)))
    expanded(led, [])
    led.step()
    assert queued(led) == ["end"]


def test_children_may_expand_themselves(lead: Lead) -> None:
    """The outer node has joined when the inner one has."""
    led = lead(played_node("n"), played("end", depends_on=("n",)))
    expanded(led, [played_node("n.inner"), played("n.a")])
    led.step()
    expanded(led, children("n.inner", 1), node="n.inner")
    do(led, "n.a")
    led.step()
    assert queued(led) == ["n.inner[0]"]
    do(led, "n.inner[0]")
    led.step()
    assert queued(led) == ["end"]


def test_a_mapped_node_is_followed_element_by_element(lead: Lead) -> None:
    """Its expansion is enough for the second stage: each child waits for one of the first."""
    first = played_node("a", grow=Grow("map", Task("", "m:f")))
    second = played_node("b", "a", grow=Grow("map", Task("", "m:f"), shapes=("a",)))
    led = lead(first, second)
    expanded(led, children("a", 2), node="a")
    led.step()
    followers = [played(f"b[{n}]", depends_on=(f"a[{n}]",)) for n in range(2)]
    expanded(led, followers, node="b")
    do(led, "a[0]")
    led.step()
    assert sorted(queued(led)) == ["a[1]", "b[0]"]


def test_children_on_a_new_queue_find_their_workers(lead: Lead) -> None:
    """Its workers are counted, and its jobs are withdrawn like all others."""
    led = lead(played_node("n"))
    expanded(led, children("n", 1, queue="gpu"))
    led.step()
    assert "gpu" in led.fleet._queues
    led.take_over()
    assert [batch.queue for batch in led.transport.queued.values()] == ["gpu"]


def test_a_batch_says_of_which_expansions_its_tasks_are(lead: Lead) -> None:
    """A worker claims nothing under a record that Redis does not have."""
    led = lead(played_node("n"), played("a"))
    expanded(led, children("n", 1))
    led.step()
    led.step(0.1)
    token = led.store.read_expansions()["n"].token
    found = {batch.tasks[0].name: batch.records for batch in led.transport.sent}
    assert found == {"n": (), "a": (), "n[0]": (("n", token),)}


@pytest.mark.parametrize("takes_over", [True, False])
def test_failures_that_a_node_may_have_are_no_troubles(lead: Lead, takes_over: bool) -> None:
    """That is judged when all of its children have ended: then the run goes on, and they count as
    tolerated; for a successor, too.
    """
    grow = Grow("map", Task("", "m:f"), max_failures=1)
    led = lead(played_node("n", grow=grow), played("end", depends_on=("n",)))
    expanded(led, children("n", 3))
    led.step()
    do(led, "n[0]", status="failure")
    led.step()
    assert led.store.read_troubles(9).failed == ["n[0]"]
    do(led, "n[1]")
    led.step()
    do(led, "n[2]")
    led.take_over() if takes_over else led.step()
    troubles = led.store.read_troubles(9)
    assert (troubles.failed, troubles.tolerated) == ([], ["n[0]"])
    assert queued(led) == ["end"]
    do(led, "end")
    assert led.step() == RunStatus.SUCCESS


def test_more_failures_than_a_node_may_have(lead: Lead) -> None:
    """All of them are troubles, and nothing that waits for the node runs."""
    grow = Grow("map", Task("", "m:f"), max_failures=1)
    led = lead(played_node("n", grow=grow), played("end", depends_on=("n",)))
    expanded(led, children("n", 2))
    led.step()
    do(led, "n[0]", "n[1]", status="failure")
    assert led.step() == RunStatus.FAILURE
    assert led.store.read_troubles(9).failed == ["n[0]", "n[1]"]
    skipped = led.result("end")
    assert skipped is not None
    assert skipped.message == "not run: 'n[0]' ended as failure"


def test_children_that_no_worker_can_run(lead: Lead) -> None:
    """They fail as all tasks do; where their failure is tolerated, the run goes on."""
    settings = CoordinatorSettings(misfit_seconds=0.0)
    led = lead(played_node("n"), played("end", depends_on=("n",)), settings=settings)
    led.transport.workers.clear()
    worker = led.worker()
    led.take(worker, "n").expand("n", children("n", 1, continue_on_error=True))
    led.step()
    led.take(worker, "n[0]").refuse("n[0]")
    led.go_on(5.0)
    troubles = led.store.read_troubles(9)
    assert (troubles.failed, troubles.tolerated) == ([], ["n[0]"])
    assert led.sent_with("end") == 1


# A large expansion


@pytest.mark.usefixtures("slowly")
def test_a_large_expansion_takes_several_steps(lead: Lead) -> None:
    """One chunk each; what comes after the success of its node waits in order, and so does the
    success itself. The loop does not rest meanwhile.
    """
    led = lead(played_node("n"), played("a"), played("end", depends_on=("n",)))
    expanded(led, children("n", 2), [played("n[2]"), played("n[3]")], [played("n[4]")])
    *_, before, _done, _end = [event.id for event in led.server.runs["run-1"].events]
    do(led, "a")
    for there in (2, 4):
        led.step()
        assert len(led.state.graph) == 3 + there
        assert led.executor.last_event == before
        assert led.state.statuses[0] != TaskStatus.SUCCESS
        assert led.executor.wake_at <= led.clock.seconds
        assert led.executor.at_work
    # What is there is sent.
    assert queued(led) == ["n[0]", "n[1]", "n[2]", "n[3]"]
    led.step()
    assert led.state.statuses[:2] == [TaskStatus.SUCCESS] * 2
    assert led.executor.wake_at > led.clock.seconds
    do(led, *[f"n[{number}]" for number in range(5)])
    led.step()
    do(led, "end")
    assert led.step() == RunStatus.SUCCESS


@pytest.mark.usefixtures("slowly")
def test_events_of_one_transition_are_applied_together(lead: Lead) -> None:
    """The success and the end of its batch have one id: neither is lost."""
    led = lead(played_node("n"))
    expanded(led, children("n", 1), [played("n[1]")])
    led.step()
    led.step()
    assert led.fleet.out.total() == len(led.transport.queued) == 2


@pytest.mark.usefixtures("slowly")
def test_a_run_is_read_again_in_the_middle_of_an_expansion(lead: Lead) -> None:
    """Somebody deleted the events: what is left of the expansion is read with all the rest."""
    led = lead(played_node("n"))
    expanded(led, children("n", 2), [played("n[2]")])
    led.step()
    led.server.runs["run-1"].events.clear()
    led.go_on(15.0)
    assert led.state.statuses[0] == TaskStatus.SUCCESS
    assert sorted(queued(led)) == ["n[0]", "n[1]", "n[2]"]
    assert led.info.repairs == {"events_lost": 1}


@pytest.mark.usefixtures("slowly")
def test_the_wait_for_a_large_expansion_is_no_loss(lead: Lead) -> None:
    """Claims end, batches end, outcomes come: the events that report them wait."""
    led = lead(played_node("n"), played("a"))
    worker = led.at_work("a")
    expanded(led, *[[task] for task in children("n", 30)])
    worker.finish("a")
    led.go_on(10.0)
    assert led.info.repairs == {}
    assert led.state.graph.is_grown(0)
    led.go_on(10.0)
    assert led.state.counts[TaskStatus.SUCCESS] == 2
    assert led.info.repairs == {}


# Plain data


def test_a_node_that_was_given_data_has_no_children(lead: Lead) -> None:
    """A worker reports data of its own (of a dry run, say): what depends on the node has it."""
    led = lead(played_node("n"), played("end", depends_on=("n",)))
    led.take(led.worker(), "n").finish("n")
    led.step()
    assert queued(led) == ["end"]
    led.take_over()
    assert queued(led) == ["end"]


@pytest.mark.parametrize("takes_over", [True, False])
def test_an_expansion_without_its_record_is_damage(lead: Lead, takes_over: bool) -> None:
    """Somebody deleted it: the run cannot go on, and says so."""
    led = lead(played_node("n"))
    expanded(led, children("n", 1))
    led.server.runs["run-1"].expansions.records.clear()
    with pytest.raises(DamagedRun, match="the expansion of 'n' is missing"):
        led.take_over() if takes_over else led.step()


# Somebody else takes it over


@pytest.mark.usefixtures("slowly")
@pytest.mark.parametrize("steps", [0, 1, 2, 3])
def test_a_successor_finds_all_children(lead: Lead, steps: int) -> None:
    """Whenever its predecessor died: before it saw the success of the node, between chunks, after
    that.
    """
    led = lead(played_node("n"), played("end", depends_on=("n",)))
    expanded(led, [played("n[0]")], [played("n[1]")], [played_node("n[2]")])
    for _ in range(steps):
        led.step()
    led.take_over()
    assert sorted(queued(led)) == ["n[0]", "n[1]", "n[2]"]
    expanded(led, children("n[2]", 1), node="n[2]")
    do(led, "n[0]", "n[1]")
    led.take_over()
    assert queued(led) == ["n[2][0]"]
    do(led, "n[2][0]")
    led.step()
    do(led, "end")
    assert led.step() == RunStatus.SUCCESS


def test_a_node_that_expands_while_its_run_is_read(
    lead: Lead, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Statuses are read first: the success comes after them, and is told by an event."""
    led = lead(played_node("a"), played_node("n"))
    worker = led.take(led.worker(), "n")
    expanded(led, children("a", 1), node="a")
    read = led.store.read_expansions

    def reads() -> Any:
        monkeypatch.undo()
        worker.expand("n", children("n", 1))
        return read()

    monkeypatch.setattr(led.store, "read_expansions", reads)
    led.take_over()
    assert sorted(queued(led)) == ["a[0]", "n[0]"]
    assert led.step() is None
    assert led.state.counts[TaskStatus.SUCCESS] == 2


# Redis comes back with older data


def forget(led: Leading, *tasks: str, node: str = "n") -> None:
    """Redis comes back with data from before a node expanded, and from before it was claimed."""
    run = led.server.runs["run-1"]
    for name in (node, *tasks):
        run.results.pop(name, None)
    record = run.expansions.records.pop(node)
    del run.expansions.chunks[record.token]
    run.total -= record.children


@pytest.mark.usefixtures("slowly")
@pytest.mark.parametrize("steps", [1, 2, 3])
def test_an_older_redis_has_no_children(lead: Lead, steps: int) -> None:
    """All is read anew, the graph too: the node expands once more, differently perhaps."""
    led = lead(played_node("n"), played("end", depends_on=("n",)))
    expanded(led, [played("n[0]")], [played("n[1]")])
    for _ in range(steps):
        led.step()
    graph = led.state.graph
    led.transport.queued.clear()
    forget(led)
    led.go_on(10.0)
    assert led.state.graph is not graph
    assert len(led.state.graph) == 2
    if steps == 3:
        assert any("n: expansion" in said for said in led.said("repair"))
    expanded(led, [played("n.other", queue="gpu")])
    led.step()
    assert queued(led) == ["n.other"]
    do(led, "n.other")
    led.step()
    do(led, "end")
    assert led.step() == RunStatus.SUCCESS


def test_an_expansion_that_was_lost_before_it_was_read(lead: Lead) -> None:
    """Its event had been read before: the run is read again, and that is reported."""
    led = lead(played_node("n"), played("a"))
    do(led, "a")
    expanded(led, children("n", 1))
    led.transport.queued.clear()
    forget(led)
    led.go_on(1.0)
    assert led.info.repairs == {"data_lost": 1}
    assert led.sent_with("n") == 2


def test_an_older_redis_with_another_expansion(lead: Lead) -> None:
    """It expanded again before anybody looked: under another token."""
    led = lead(played_node("n"))
    expanded(led, children("n", 3))
    led.step()
    led.transport.queued.clear()
    run = led.server.runs["run-1"]
    record = run.expansions.records["n"]
    run.expansions.records["n"] = record._replace(token="other", children=1)
    run.expansions.chunks["other"] = run.expansions.chunks.pop(record.token)
    led.executor._leadership.led.mirror.read_again()
    assert led.executor._leadership.led.mirror.growth.tokens() == {"n": "other"}


# It stops


@pytest.mark.usefixtures("slowly")
@pytest.mark.parametrize("steps", [0, 1, 2])
def test_children_of_a_run_that_is_cancelled(lead: Lead, steps: int) -> None:
    """A planner ends while the run is cancelled, or it was cancelled in the middle of the
    expansion: all children are cancelled.
    """
    led = lead(played_node("n"), played("end", depends_on=("n",)))
    worker = led.at_work("n")
    if not steps:
        led.cancel.set()
        led.go_on(1.0)
    worker.expand("n", [played("n[0]")], [played("n[1]")], [played("n[2]")])
    for _ in range(steps):
        led.step()
    led.cancel.set()
    assert led.go_on(5.0) == RunStatus.CANCELLED
    for name in ("n[0]", "n[1]", "n[2]", "end"):
        result = led.result(name)
        assert result is not None
        assert result.status == TaskStatus.CANCELLED
    assert led.info.pending == 0


@pytest.mark.usefixtures("slowly")
def test_a_run_that_is_paused_in_the_middle_of_an_expansion(lead: Lead) -> None:
    """It is left to the next one, who reads all of it."""
    led = lead(played_node("n"))
    expanded(led, [played("n[0]")], [played("n[1]")])
    led.step()
    led.store.set_status(RunStatus.PAUSED, {RunStatus.RUNNING})
    assert led.go_on(5.0) == RunStatus.PAUSED
    led.executor.end()
    led.store.set_status(RunStatus.RUNNING, {RunStatus.PAUSED})
    led.executor = led.make_executor()
    led.begin()
    assert sorted(queued(led)) == ["n[0]", "n[1]"]


# It is resumed


def test_a_resume_runs_failed_children_again(lead: Lead) -> None:
    """The node that made them has succeeded: it never expands again."""
    led = lead(played_node("n"), played("end", depends_on=("n",)))
    expanded(led, children("n", 2))
    led.step()
    do(led, "n[0]", "n[1]", status="failure")
    assert led.step() == RunStatus.FAILURE
    led.executor.end()
    led.executor = led.make_executor()
    led.begin(reopen=True)
    assert sorted(queued(led)) == ["n[0]", "n[1]"]
    do(led, "n[0]", "n[1]")
    led.step()
    do(led, "end")
    assert led.step() == RunStatus.SUCCESS
    assert led.sent_with("n") == 1


def test_a_node_that_expands_while_its_run_is_reopened(
    lead: Lead, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker has had it all the time."""
    led = lead(played_node("n"), played("a"))
    worker = led.take(led.worker(), "n")
    led.executor.end()
    led.store.set_status(RunStatus.INTERRUPTED, {RunStatus.RUNNING})
    reopen = led.store.reopen_tasks

    def reopens(*args: Any) -> None:
        worker.expand("n", children("n", 1))
        reopen(*args)

    monkeypatch.setattr(led.store, "reopen_tasks", reopens)
    led.executor = led.make_executor()
    led.begin(reopen=True)
    assert sorted(queued(led)) == ["a", "n[0]"]


# Workers are lost


def test_a_lost_planner_is_sent_again(lead: Lead) -> None:
    """It is idempotent: nothing of what it wrote counts, and it goes away with its claim."""
    led = lead(played_node("n"))
    worker = led.at_work("n")
    token = worker.held["n"][0]
    chunk = encode_tasks(children("n", 1))
    assert led.store.write_chunk("n", token, 0, chunk) == Code.GRANTED
    worker.die()
    led.go_on(10.0)
    assert led.sent_with("n") == 2
    with pytest.raises(LookAgain):
        led.store.read_chunk(token, 0)
    assert worker.expand("n", [played("n.other")], granted=Code.REFUSED) == Code.REFUSED
    expanded(led, children("n", 1))
    led.step()
    assert queued(led) == ["n[0]"]


def test_new_children_that_no_worker_can_run_are_not_sent(lead: Lead) -> None:
    """What every worker has refused before is held back from the start."""
    led = lead(played_node("n"), played("a"))
    led.transport.workers.clear()
    worker = led.worker()
    led.take(worker, "a").refuse("a")
    led.go_on(3.0)
    led.take(worker, "n").expand("n", children("n", 2))
    led.go_on(3.0)
    assert led.state.counts[TaskStatus.WAITING] >= 2
    assert led.sent_with("n[1]") == 0


def test_a_claim_of_an_unknown_task_is_settled(lead: Lead) -> None:
    """Redis has it, and no expansion has that task: nothing breaks, and the run ends."""
    led = lead(played("a"))
    worker = led.at_work("a")
    run = led.server.runs["run-1"]
    run.claims["gone[3]"] = run.claims["a"]._replace(token="other", batch="b-gone")
    worker.beat()
    led.go_on(10.0)
    assert list(run.claims) == ["a"]
    worker.finish("a")
    led.go_on(2.0)
    assert led.info.status == RunStatus.SUCCESS


# Nothing is asked of a run that does not grow


def test_a_run_without_growing_nodes_is_asked_nothing_more(
    lead: Lead, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither by who takes it over nor while it runs."""
    led = lead(played("a"), played("b", depends_on=("a",)))

    def refuse(*_args: Any) -> Any:
        raise AssertionError("it was asked for expansions")

    for name in ("read_expansions", "read_expansion", "read_chunk"):
        monkeypatch.setattr(led.store, name, refuse)
    do(led, "a")
    led.step()
    led.take_over()
    do(led, "b")
    assert led.step() == RunStatus.SUCCESS
