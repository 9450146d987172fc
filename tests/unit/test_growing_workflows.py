"""Workflows that grow, executed as users do it: in this process, without Redis."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distflow import Retry, TaskResult, TaskRunnerBuilder, Workflow, task, workflow
from distflow.core.status import TaskStatus
from tests.support.tasks.planned import ACTS, add, build, total

#: Seconds that tasks wait for each other; an error, not a limit.
PATIENCE = 30

#: Tasks that are at work at once meet here.
MEETING: list[threading.Barrier] = []


@pytest.fixture(autouse=True)
def acts() -> Iterator[None]:
    """What the plan of a test does is its own."""
    yield
    ACTS.clear()
    MEETING.clear()


def run(made: Callable[[], Any] | Workflow) -> tuple[dict[str, TaskResult], Any]:
    """Execute a workflow; returns its results, and what it returned."""
    runner = TaskRunnerBuilder().build()
    built = made if isinstance(made, Workflow) else workflow(name="test")(made)()
    return runner.execute(built), runner.result()


def failed(act: Callable[..., Any]) -> TaskResult:
    """The result of a plan that does something wrong; nothing else has run."""
    ACTS.append(act)
    built = workflow(name="test")(build)()
    results = TaskRunnerBuilder().build().execute(built)
    assert list(results) == ["build"]
    return results["build"]


@task
def meet(number: int) -> int:
    """Wait until all that are expected are at work."""
    MEETING[0].wait(PATIENCE)
    return number


@task
def items(count: int) -> list[int]:
    """A list."""
    return list(range(count))


@workflow
def sums(count: int) -> Any:
    """A sub-workflow that maps."""
    return total(add.map(items(count), more=1))


def test_maps_nest_in_plans_and_plans_in_maps() -> None:
    """To any depth, with the results of all of them joined."""

    def part(numbers: list[int], depth: int) -> Any:
        here = total(add.map(numbers, more=depth))
        if depth == 3:
            return [here]
        return [here, *[build(numbers[1:], depth + 1) for _ in range(2)]]

    ACTS.append(part)

    def outer() -> Any:
        return build.map([[1, 2, 3], [4]], [0, 0])

    results, returned = run(outer)
    # Here, tasks and plans are the plain functions.
    assert returned == [part([1, 2, 3], 0), part([4], 0)]
    assert results["build[0].build_2.build.add[0]"].data == 5
    assert all(result.status == TaskStatus.SUCCESS for result in results.values())


def program() -> st.SearchStrategy[Any]:
    """What a random plan does: ``(kind, body)``."""
    numbers = st.lists(st.integers(0, 9), max_size=3)
    leaf = st.one_of(
        st.tuples(st.just("add"), st.integers(0, 9)),
        st.tuples(st.sampled_from(["map", "chain", "total", "pairs"]), numbers),
    )
    return st.recursive(
        leaf,
        lambda inner: st.one_of(
            st.tuples(st.sampled_from(["plan", "part"]), inner),
            st.tuples(st.sampled_from(["plans", "list"]), st.lists(inner, max_size=3)),
        ),
        max_leaves=8,
    )


def interpret(step: tuple[str, Any]) -> Any:
    """Do it: with tasks, or with plain functions."""
    kind, body = step
    doing: dict[str, Callable[[], Any]] = {
        "add": lambda: add(body, more=1),
        "map": lambda: add.map(body, more=1),
        "chain": lambda: add.map(add.map(body), more=2),
        "total": lambda: total(add.map(body)),
        "pairs": lambda: add.map(add.map(body), body),
        "plan": lambda: build(body),
        "plans": lambda: build.map(body),
        "part": lambda: parts(body),
        "list": lambda: {"all": [interpret(each) for each in body]},
    }
    return doing[kind]()


@workflow
def parts(step: Any) -> Any:
    """A sub-workflow."""
    return (interpret(step),)


@settings(max_examples=40, deadline=None)
@given(program())
def test_a_run_gives_what_plain_python_gives(step: tuple[str, Any]) -> None:
    """Whatever a workflow and its plans build."""
    ACTS[:] = [interpret]
    results, returned = run(lambda: interpret(step))
    assert returned == build(step)
    assert all(result.status == TaskStatus.SUCCESS for result in results.values())


def test_a_sub_workflow_grows_where_it_is_called() -> None:
    """In a workflow and in a plan."""
    ACTS.append(lambda: {"both": [sums(2), sums(3)]})

    def outer() -> Any:
        return sums(4), build()

    results, returned = run(outer)
    assert returned == (10, {"both": [3, 6]})
    assert {"sums.add[3]", "build.sums_2.add[2]"} <= results.keys()


def test_the_children_of_a_map_run_at_once() -> None:
    """However few tasks the workflow had to begin with."""
    MEETING.append(threading.Barrier(8))
    _results, returned = run(lambda: meet.map(list(range(8))))
    assert returned == list(range(8))


def test_results_of_tasks_may_be_elements() -> None:
    """Each child waits for its own."""

    def plain() -> Any:
        parts = [total(items(3)), total(items(4))]
        return add.map(parts, [10, 20])

    results, returned = run(plain)
    assert returned == [13, 26]
    assert results["add[1]"].data == 26


def test_nothing_to_do() -> None:
    """A map without elements, and a plan without tasks, stand for what they are."""
    ACTS.append(lambda: "nothing")
    _results, returned = run(lambda: [add.map([]), total(add.map(items(0))), build()])
    assert returned == [[], 0, "nothing"]


@pytest.mark.parametrize(
    ("act", "error"),
    [
        (lambda: 1 if total([]) else 2, "'build.total' cannot be used as true or false while"),
        (lambda: add(1).after("elsewhere"), "'elsewhere', which is neither a task of plan 'build'"),
        (lambda: add(1).after(add(2).after("add")), "form a cycle: build.add -> build.add_2"),
        (lambda: [add.options(name="x")(1) for _ in "ab"], "'build.x': plan 'build' has a task"),
        (lambda: add.map({1, 2}), "'build.add': map takes a list, .*, not a set"),
        (lambda: {1: object()}, "plan 'build': what it returns: .*object cannot be stored"),
    ],
)
def test_what_is_wrong_in_a_plan_is_a_failure_in_one_line(
    act: Callable[[], Any], error: str
) -> None:
    """Of its own task, and nothing of it is in the run."""
    result = failed(act)
    assert result.status == TaskStatus.FAILURE
    assert str(result.error).startswith("WorkflowInvalid: ")
    assert "\n" not in str(result.error)
    assert re.search(error, str(result.error)), result.error


def test_what_shows_when_elements_are_there_fails_the_map() -> None:
    """The plan that made the map has succeeded."""
    ACTS.append(lambda: add.map(items(2), [1]))
    results = TaskRunnerBuilder().build().execute(workflow(name="test")(build)())
    assert results["build"].status == TaskStatus.SUCCESS
    assert "different numbers of elements" in str(results["build.add"].error)


def test_a_plan_that_calls_itself_for_ever_ends() -> None:
    """At the depth that a run may have."""
    ACTS.append(lambda depth: build(depth + 1))
    results = TaskRunnerBuilder().build().execute(workflow(name="test")(lambda: build(0))())
    deepest = ".".join(["build"] * 100)
    assert results[deepest].status == TaskStatus.FAILURE
    assert "nest deeper than 100 levels" in str(results[deepest].error)
    assert len(results) == 100


def test_a_ref_of_another_run_is_refused() -> None:
    """A plan may have kept one where its module is: it stands for nothing here."""
    kept: list[Any] = []
    ACTS.append(lambda: kept.append(add(1)))
    run(build)
    result = failed(lambda: total([kept[0]]))
    assert "'build.add' is a task of another workflow or another build" in str(result.error)
    result = failed(lambda: kept[0])
    assert "what it returns: 'build.add' is a task of another workflow" in str(result.error)


def test_a_plan_is_a_task_of_its_run() -> None:
    """It gets ``ctx``, is retried, and may be followed by others."""
    tries: list[int] = []

    def act() -> Any:
        tries.append(1)
        if len(tries) < 3:
            raise ConnectionError("not yet")
        return add(len(tries))

    ACTS.append(act)

    def outer() -> Any:
        node = build.options(retry=Retry(2))()
        return total([node, node])

    results, returned = run(outer)
    assert returned == 6
    assert results["build"].attempt == 3
