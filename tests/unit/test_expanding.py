"""How a worker runs growing nodes: what they make is committed whole with their success, or not at
all. On a run in memory, without a process.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from distflow import TaskRunnerBuilder, Workflow
from distflow.core.claim import Code, Finish, Growth
from distflow.core.model import MAP_FUNCTION, Expanded, Grow, Ref, Retry, Task, TaskResult
from distflow.core.run_options import RunOptions
from distflow.core.status import TaskStatus
from distflow.store.redis.keys import STAND_IN
from distflow.wire.codec import encode_result
from distflow.wire.gathering import StandIn, gather
from distflow_worker.context import RecordedResults
from distflow_worker.user_functions import load_function
from tests.support.stores import claim, finish
from tests.support.taking import Counted, Taken
from tests.support.tasks import planned

PLANNED = "tests.support.tasks.planned"
SUCCESS, FAILURE = TaskStatus.SUCCESS, TaskStatus.FAILURE


@pytest.fixture(autouse=True)
def plans() -> Iterator[list[Callable[..., Any]]]:
    """What plans do: nothing yet."""
    planned.ACTS.clear()
    yield planned.ACTS
    planned.ACTS.clear()


def mapped(*sources: Any, name: str = "n", function: str = "add", **child: Any) -> Task:
    """A map node."""
    key = child.pop("key", None)
    made = Task("", f"{PLANNED}:{function}", **child)
    above = tuple(source.task for source in sources if type(source) is Ref)
    return Task(
        name,
        MAP_FUNCTION,
        sources,
        depends_on=above,
        effects="idempotent",
        grow=Grow("map", made, key),
    )


def plan(*args: Any, name: str = "p", **fields: Any) -> Task:
    """A plan."""
    above = tuple(given.task for given in args if type(given) is Ref)
    fields.setdefault("depends_on", above)
    return Task(name, f"{PLANNED}:build", args, effects="idempotent", grow=Grow("plan"), **fields)


def end(store: Counted, epoch: int, name: str, result: TaskResult, **fields: Any) -> None:
    """A task ends; its claim is its name's."""
    status = result.status.value
    done = Finish(name, f"t-{name}", 1, "final", status, encode_result(result), **fields)
    finish(store, epoch, done, batch="before")


def given(**values: Any) -> Callable[[Counted, int], None]:
    """Tasks that have succeeded before."""

    def record(store: Counted, epoch: int) -> None:
        for name, value in values.items():
            claim(store, epoch, name, f"t-{name}", batch="before")
            end(store, epoch, name, TaskResult(SUCCESS, data=value))

    return record


def children(taken: Taken, node: str) -> list[Task]:
    """What a node has added to the run."""
    record = taken.store.read_expansion(node)
    assert record is not None
    tasks = [
        task
        for number in range(record.chunks)
        for task in taken.store.read_chunk(record.token, number) or ()
    ]
    assert len(tasks) == record.children
    return tasks


def is_bare(taken: Taken) -> bool:
    """Whether no node has left anything in the run."""
    expansions = taken.store.server.runs["run-1"].expansions
    return not expansions.records and not any(expansions.chunks.values())


# Maps


def test_a_map_commits_its_children_with_its_success() -> None:
    """The data of the node say which expansion it has; the stand-in what it stands for."""
    node = mapped(Ref("a"), kwargs={"more": 1})
    taken = Taken(Task("a", "m:f"), node, batch=["n"], before=given(a=[1, 2]))
    record = taken.store.read_expansion("n")
    assert record is not None
    assert taken.results["n"].data == Expanded(record.token, 2)
    assert [(task.name, task.args) for task in children(taken, "n")] == [
        *(("n[0]", (1,)), ("n[1]", (2,)))
    ]
    assert (record.seq, record.queues) == (1, ("default",))
    packed = taken.store.read_stand_in(record.token)
    assert packed is not None
    assert StandIn.decode(packed) == StandIn(2)
    assert ("finished", "n") in taken.told
    assert taken.unstarted == ()


def test_what_cannot_be_mapped_fails_in_one_line() -> None:
    """Nothing is written; there is no traceback, which would be distflow's own."""
    taken = Taken(Task("a", "m:f"), mapped(Ref("a")), batch=["n"], before=given(a="text"))
    result = taken.results["n"]
    assert result.status == FAILURE
    assert result.message == (
        "map 'n': the result of 'a' is of type str, and only a list, a tuple or a dict can be "
        "mapped; return one of them"
    )
    assert result.error == f"InvalidInput: {result.message}"
    assert result.traceback is None
    assert is_bare(taken)


def test_a_key_function_that_fails_is_shown() -> None:
    """Its traceback is the user's."""
    taken = Taken(mapped([1], key="tests.support.tasks.mapped:refuse"))
    result = taken.results["n"]
    assert result.message is not None
    assert "raised ValueError: no 1, for element 0" in result.message
    assert result.traceback is not None
    assert "mapped.py" in result.traceback
    assert is_bare(taken)


def test_a_key_function_may_be_missing_here() -> None:
    """The worker is a misfit: another may have it."""
    taken = Taken(mapped([1], key="nowhere.at_all:key"))
    assert "n" not in taken.results
    assert list(taken.unstarted) == ["n"]
    assert ("released", "n") in taken.told
    (refusal,) = taken.store.read_refusals()
    assert (refusal.scope, refusal.what) == ("task n", "nowhere.at_all:key")


def test_a_map_is_allowed_wherever_its_tasks_may_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """It runs distflow's own code; a key function has to be allowed as any function."""
    monkeypatch.setenv("DISTFLOW_ALLOW", "elsewhere")
    # What was imported before was allowed then.
    load_function.cache_clear()
    assert Taken(mapped([1])).results["n"].status == SUCCESS
    taken = Taken(mapped([1], key="tests.support.tasks.mapped:first"))
    (refusal,) = taken.store.read_refusals()
    assert "is not allowed on host" in refusal.words


# Plans


def test_a_plan_commits_what_it_builds(plans: list[Callable[..., Any]]) -> None:
    """Its function is called with real values; it returns a value with references in it."""

    def build(values: list[int], more: int) -> Any:
        sums = [planned.add(value, more=more) for value in values]
        broken = planned.fail(sums[0])
        rest = planned.add.map(values)
        inner = planned.build_again(planned.total(rest))
        return {"total": planned.total(sums), "broken": broken, "plain": 7, "inner": inner}

    plans.append(build)
    node = plan(Ref("a"), 5)
    taken = Taken(Task("a", "m:f"), node, batch=["p"], before=given(a=[1, 2]))
    record = taken.store.read_expansion("p")
    assert record is not None
    assert taken.results["p"].data == Expanded(record.token, 7)
    tasks = {task.name: task for task in children(taken, "p")}
    assert tasks["p.add"].args == (1,)
    assert tasks["p.fail"].depends_on == ("p.add",)
    assert tasks["p.build_again"].grow == Grow("plan")
    assert record.queues == ("default", "slow")
    packed = taken.store.read_stand_in(record.token)
    assert packed is not None
    stand_in = StandIn.decode(packed)
    assert stand_in.value == {
        "total": Ref("p.total_2"),
        "broken": Ref("p.fail"),
        "plain": 7,
        "inner": Ref("p.build_again"),
    }
    assert stand_in.names == [name.removeprefix("p.") for name in tasks]
    assert stand_in.tolerates == ["fail"]
    assert sorted(stand_in.grows) == ["add_3", "build_again"]  # type: ignore[arg-type]


def test_a_plan_may_build_nothing(plans: list[Callable[..., Any]]) -> None:
    """It stands for what it returned."""
    plans.append(lambda: ["just", "this"])
    taken = Taken(plan())
    assert children(taken, "p") == []
    packed = encode_result(taken.results["p"])
    assert gather("p", packed, taken.store) == ["just", "this"]


def test_a_plan_may_return_a_result(plans: list[Callable[..., Any]]) -> None:
    """A success says something besides; anything else adds no tasks."""
    plans.append(lambda: TaskResult(SUCCESS, message="said", data=[planned.add(1)]))
    taken = Taken(plan())
    assert taken.results["p"].message == "said"
    assert [task.name for task in children(taken, "p")] == ["p.add"]
    for status in (TaskStatus.SKIPPED, FAILURE, TaskStatus.CANCELLED):
        plans.append(lambda status=status: TaskResult(status, data=planned.add(1)))
        taken = Taken(plan())
        assert (taken.results["p"].status, taken.results["p"].data) == (status, None)
        assert is_bare(taken)


def test_a_plan_is_tried_again(plans: list[Callable[..., Any]]) -> None:
    """As any task; what its first try would have made is gone."""

    def build() -> None:
        planned.add(1)
        raise ValueError("not yet")

    plans.append(build)
    taken = Taken(plan(retry=Retry(1)))
    assert ("waiting", "p") in taken.told
    assert is_bare(taken)


#: A reference that another build has left.
LEFT_OVER: list[Any] = []


def _cycle() -> None:
    first = planned.add(1)
    first.after(planned.add(first))


BAD: list[tuple[str, Callable[[], Any], str]] = [
    ("exists", lambda: [planned.add.options(name="x")(1) for _ in "ab"], "of this name already"),
    ("cycle", _cycle, "the dependencies form a cycle"),
    ("foreign", lambda: planned.add(1).after("elsewhere"), "neither a task of plan 'p' nor one"),
    ("value", lambda: planned.add(1) + 1, "cannot be computed with"),
    ("ref", lambda: LEFT_OVER[0], "of another"),
    ("data", object, "cannot be stored"),
    ("large", lambda: "x" * (1 << 24), "more than max_result_bytes (16,777,216)"),
    ("task", lambda: planned.add("x" * (1 << 24)), "encoded, more than 16,777,216: store its arg"),
]


@pytest.mark.parametrize(("build", "why"), [row[1:] for row in BAD], ids=[row[0] for row in BAD])
def test_what_a_plan_may_not_build_fails_it(
    plans: list[Callable[..., Any]], build: Callable[[], Any], why: str
) -> None:
    """In one line; nothing is half-written."""
    plans.append(lambda: LEFT_OVER.append(planned.add(1)))
    Taken(plan())
    plans.append(build)
    taken = Taken(plan())
    result = taken.results["p"]
    assert result.status == FAILURE
    assert result.message is not None
    assert why in result.message
    assert len(result.message.splitlines()) == 1
    assert is_bare(taken)


def test_recursion_ends(plans: list[Callable[..., Any]]) -> None:
    """A plan that calls itself names itself, over and over."""
    plans.append(planned.build)
    taken = Taken(plan(name="p" + ".build" * 100))
    (result,) = taken.results.values()
    assert result.message is not None
    assert "nest deeper than 100 levels; end the recursion earlier" in result.message
    assert is_bare(taken)


# Committing


class Losing(Counted):
    """A store that loses chunks."""

    #: How many.
    losses = 1

    def write_chunk(self, task: str, token: str, number: int, packed: bytes) -> Code:
        if number == 0 and Losing.losses:
            Losing.losses -= 1
            return Code.GRANTED
        return super().write_chunk(task, token, number, packed)


@pytest.mark.parametrize("losses", [1, 4, 5])
def test_what_redis_has_lost_is_written_again(monkeypatch: pytest.MonkeyPatch, losses: int) -> None:
    """A few times; a Redis that always loses it fails the task."""
    monkeypatch.setattr(Losing, "losses", losses)
    monkeypatch.setattr("tests.support.taking.Counted", Losing)
    taken = Taken(mapped([1, 2]))
    if losses < 5:
        assert len(children(taken, "n")) == 2
        return
    assert taken.results["n"].message == "Redis has lost the tasks that it made, 5 times"
    assert is_bare(taken)


def test_a_run_has_room_for_so_many_tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond, the node fails; nothing is left of what it had written."""
    limited = RunOptions(max_tasks=3)
    monkeypatch.setattr("tests.support.taking.RunOptions", lambda: limited)
    assert Taken(mapped([1, 2])).results["n"].status == SUCCESS
    taken = Taken(mapped([1, 2, 3]))
    result = taken.results["n"]
    assert (result.status, result.data) == (FAILURE, None)
    assert result.message == (
        "TooLarge: its 3 tasks would make the run larger than its max_tasks or max_graph_bytes: "
        "give each task more to do, or submit with a higher --max-tasks"
    )
    assert is_bare(taken)


def test_a_node_that_another_worker_has_adds_nothing(plans: list[Callable[..., Any]]) -> None:
    """The claim is gone when it is to write: what it made does not count."""

    def lose() -> None:
        planned.add(1)
        stores[0].server.runs["run-1"].claims.clear()

    stores: list[Counted] = []
    plans.append(lose)
    taken = Taken(plan(), before=lambda store, _epoch: stores.append(store))
    assert taken.results == {}
    assert is_bare(taken)


def test_what_a_node_writes_is_no_part_of_its_timeout(
    plans: list[Callable[..., Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The call is guarded, and nothing else."""
    guarded: list[str] = []

    class Guard:
        def __init__(self, seconds: float | None) -> None:
            guarded.append(f"{seconds}")

        def __enter__(self) -> None:
            guarded.append("begins")

        def __exit__(self, *_: object) -> None:
            guarded.append("ends")

    def write(self: Counted, *args: Any) -> Code:
        guarded.append("writes")
        return plain(self, *args)

    plain = Counted.write_chunk
    monkeypatch.setattr(Counted, "write_chunk", write)
    plans.append(lambda: planned.add(1))
    Taken(plan(timeout=5.0), deadline=Guard)
    assert guarded == ["5.0", "begins", "ends", "writes", "writes"]


def test_a_plan_that_takes_too_long_adds_nothing(plans: list[Callable[..., Any]]) -> None:
    """Its thread goes on alone, and is refused when it comes to write."""
    written = threading.Event()

    def build() -> Any:
        time.sleep(0.2)
        written.set()
        return planned.add(1)

    plans.append(build)
    flow = Workflow("slow")
    flow.add("p", planned.build, timeout=0.05)
    flow.add("after", planned.add, depends_on="p")
    result = TaskRunnerBuilder().build().execute(flow)
    assert result["p"].error == "TaskTimeout: ran longer than 0.05 s"
    assert result["after"].status == TaskStatus.SKIPPED
    assert written.wait(5)


# What depends on them


def expanded(node: str, *children: TaskResult) -> Callable[[Counted, int], None]:
    """A mapped node that has expanded, and its children's results."""

    def record(store: Counted, epoch: int) -> None:
        token, count = f"t-{node}", len(children)
        claim(store, epoch, node, token, batch="before")
        store.write_chunk(node, token, 0, b"\x90")
        store.write_chunk(node, token, STAND_IN, StandIn(count, tolerates=True).encode())
        success = TaskResult(SUCCESS, data=Expanded(token, count))
        end(store, epoch, node, success, grows=True, growth=Growth(1, count, ()))
        for number, result in enumerate(children):
            name = f"{node}[{number}]"
            claim(store, epoch, name, f"t-{name}", batch="before")
            end(store, epoch, name, result)

    return record


CHILDREN = (
    TaskResult(SUCCESS, data=1),
    TaskResult(FAILURE, error="ValueError: no"),
    TaskResult(SUCCESS, data=3),
)
LOOK = Task("look", f"{PLANNED}:look", ([Ref("n")],), depends_on=("n",))


def test_a_task_gets_the_list_of_all_results(plans: list[Callable[..., Any]]) -> None:
    """As an argument and by its context: None for a failure that is tolerated, which the TaskResult
    tells more of.
    """

    def look(given: Any, ctx: Any) -> Any:
        results = ctx.results_of("n")
        return [given, ctx.result_of("n").data, [result.error for result in results]]

    plans.append(look)
    taken = Taken(mapped([1, 2, 3]), LOOK, batch=["look"], before=expanded("n", *CHILDREN))
    data = [1, None, 3]
    assert taken.results["look"].data == [[data], data, [None, "ValueError: no", None]]


def test_results_of_are_those_of_dependencies(plans: list[Callable[..., Any]]) -> None:
    """Of others nothing is read, and a task makes no tasks."""

    def look(_given: Any, ctx: Any) -> Any:
        found = []
        for name in ("other", "plain"):
            with pytest.raises(KeyError) as raised:
                ctx.results_of(name)
            found.append(raised.value.args[0])
        return found

    plans.append(look)
    task = LOOK._replace(args=([],), depends_on=("plain",))
    taken = Taken(Task("plain", "m:f"), task, batch=["look"], before=given(plain=1))
    assert taken.results["look"].data == [
        "task 'look' does not depend on 'other'",
        "'plain' has no children: it is no node that has expanded",
    ]


def test_what_is_incomplete_is_no_input(plans: list[Callable[..., Any]]) -> None:
    """Should Redis have lost a result, the task fails, and says whose."""

    def lose(store: Counted, epoch: int) -> None:
        expanded("n", *CHILDREN)(store, epoch)
        del store.server.runs["run-1"].results["n[2]"]

    taken = Taken(mapped([1, 2, 3]), LOOK, batch=["look"], before=lose)
    assert taken.results["look"].message == (
        "the results of 'n' are incomplete: 'n[2]' has no outcome"
    )


def test_the_results_of_a_run_are_gathered() -> None:
    """For a context factory: once they are complete."""
    taken = Taken(mapped([1]), mapped([1], name="m"), batch=[], before=expanded("n", *CHILDREN))
    assert RecordedResults(taken.store)["n"].data == [1, None, 3]
    del taken.store.server.runs["run-1"].results["n[0]"]
    assert RecordedResults(taken.store)["n"].data == Expanded("t-n", 3)


def test_claims_name_the_expansions_that_their_tasks_are_of() -> None:
    """Where the run does not have one, the batch is void: an older Redis is back."""
    known = expanded("n", *CHILDREN)
    child = Task("n[3]", f"{PLANNED}:add", (1,))
    for token, is_run in (("t-n", True), ("other", False)):
        taken = Taken(mapped([1]), child, batch=["n[3]"], before=known, records=(("n", token),))
        assert ("n[3]" in taken.results) == is_run
        assert list(taken.unstarted) == ([] if is_run else ["n[3]"])


def test_a_dry_run_makes_no_tasks(plans: list[Callable[..., Any]]) -> None:
    """The nodes are successes without children."""
    plans.append(lambda: planned.add(1))
    taken = Taken(plan(), mapped([1]), simulated=True)
    assert {result.status for result in taken.results.values()} == {SUCCESS}
    assert is_bare(taken)
