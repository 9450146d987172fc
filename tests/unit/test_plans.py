"""``@plan``: a node in a workflow, a builder on a worker, a plain function elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

import distflow
from distflow import TaskResult, plan, task, workflow
from distflow.authoring import PlanFunction, TaskRef, Workflow, check_workflow
from distflow.authoring.fragments import Fragment, build_fragment
from distflow.core.graph import Graph
from distflow.core.model import Grow, Loop, Ref, Retry, Task
from distflow.core.status import TaskStatus
from distflow.errors import WorkflowInvalid
from tests.unit.authored import (
    HERE,
    build_with,
    by_name,
    charge,
    clean,
    extract,
    merge,
    plain,
    report,
    score_all,
)

NODE = Task("train", f"{HERE}:score_all", grow=Grow("plan"), depends_on=("pick", "clean[3]"))


def planned(call: Callable[[], Any], **limits: Any) -> Fragment:
    """What a plan makes whose function does this."""
    return build_fragment(NODE, call, **limits)


def names_of(fragment: Fragment) -> list[str]:
    """The names of its children."""
    return [each.name for each in fragment.tasks]


def test_a_call_of_a_plan_is_a_node() -> None:
    """It keeps the options of a task; it is always idempotent."""
    tasks = by_name(build_with(lambda: score_all(extract(), least=2)))
    node = tasks["score_all"]
    assert (node.function, node.args, node.kwargs) == (
        f"{HERE}:score_all",
        (Ref("extract"),),
        {"least": 2},
    )
    assert (node.grow, node.effects) == (Grow("plan"), "idempotent")
    assert (node.retry, node.timeout, node.queue) == (Retry(1), 9, "plans")
    assert node.depends_on == ("extract",)


def test_options_and_kinds_of_plans() -> None:
    """``.options`` of a plan is a plan; ``Workflow.add`` makes a node of it, too."""
    chosen = score_all.options(name="train", continue_on_error=True)
    assert type(chosen) is PlanFunction
    assert repr(chosen) == f"<plan {HERE}:score_all>"
    dag = Workflow("ad hoc")
    dag.add(None, chosen, ([1],), condition="operator:not_")
    (node,) = dag.tasks
    assert (node.name, node.grow, node.condition) == ("train", Grow("plan"), "operator:not_")
    check_workflow(dag)
    assert distflow.plan is plan


def test_outside_of_a_build_a_plan_is_the_plain_function() -> None:
    """Its body calls plain functions."""
    assert score_all([1, 2, 3], least=1) == {"best": [2, 3], "count": 2}
    assert score_all.map([[1], [2]]) == [{"best": [1], "count": 1}, {"best": [2], "count": 1}]


def test_a_workflow_in_a_plain_plan_is_a_plain_function() -> None:
    """A task that it calls may still build one, for a run of its own."""
    assert plan(uses_part)() == ([[4]], "part")
    assert type(part(4)) is Workflow
    with pytest.raises(ZeroDivisionError):
        plan(raises)()
    assert type(part(4)) is Workflow


def uses_part() -> Any:
    """Calls a workflow, and a task that builds it."""
    return part(4), builds_part()


def raises() -> Any:
    """Fails."""
    return 1 / 0


@task
def builds_part() -> str:
    """Makes a workflow, as for a run of its own."""
    built = part(4)
    assert isinstance(built, Workflow)
    return built.name


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"effects": "at_most_once"}, "always idempotent; remove effects='at_most_once'"),
        ({"loop": Loop("m:u", 2)}, "a plan has no loop; remove it, or give it to a task"),
        ({"verify": "m:v"}, "a plan has no verify; remove it"),
        ({"timeout": -1}, "timeout must be a number of seconds above 0"),
        ({"tiemout": 1}, "no option 'tiemout'; did you mean 'timeout'"),
    ],
)
def test_options_that_a_plan_does_not_have(options: Any, message: str) -> None:
    """Refused where they are written: at the decorator, at the call, by ``Workflow.add``."""
    with pytest.raises(WorkflowInvalid, match=f"@plan 'plain': .*{message}"):
        plan(**options)(plain)
    with pytest.raises(WorkflowInvalid, match=f"@plan 'score_all': .*{message}"):
        score_all.options(**options)
    with pytest.raises(WorkflowInvalid, match=f"task 'x': .*{message}"):
        Workflow("ad hoc").add("x", score_all, ([1],), **options)
    with pytest.raises(WorkflowInvalid, match=f"task 'x': .*{message}"):
        Workflow("ad hoc").map("x", score_all, [[1]], **options)


def test_a_function_is_a_task_or_a_plan() -> None:
    """Not both: workers would find the outer one."""
    with pytest.raises(WorkflowInvalid, match="@plan 'clean': it has @task already; keep one"):
        plan(clean)
    with pytest.raises(WorkflowInvalid, match="@task 'score_all': it has @plan already; keep one"):
        task(score_all)


def test_a_plan_must_be_a_function_that_workers_find() -> None:
    """As a task."""
    with pytest.raises(WorkflowInvalid, match="@plan got 5, which is not a function"):
        plan(5)  # type: ignore[call-overload]
    dag = Workflow("ad hoc")
    dag.add("x", f"{HERE}:score_all", ([1],))
    with pytest.raises(WorkflowInvalid, match=r"'x': .*is a @plan: give it as the function itself"):
        check_workflow(dag)


def test_a_fragment() -> None:
    """The children have full names and come after what they depend on; the value refers to them."""

    def train() -> Any:
        scores = [clean(row) for row in (1, 2)]
        late = merge(scores)
        early = report()
        late.after(early)
        return {"best": late, "all": (scores, 7)}

    fragment = planned(train)
    assert names_of(fragment) == ["train.clean", "train.clean_2", "train.report", "train.merge"]
    merged = fragment.tasks[-1]
    assert merged.args == ([Ref("train.clean"), Ref("train.clean_2")],)
    assert merged.depends_on == ("train.clean", "train.clean_2", "train.report")
    assert fragment.value == {
        "best": Ref("train.merge"),
        "all": ([Ref("train.clean"), Ref("train.clean_2")], 7),
    }
    assert fragment.result is None


def test_a_fragment_may_be_empty_or_return_plain_values() -> None:
    """A plan may find nothing to do."""
    assert planned(lambda: None) == Fragment((), None)
    assert planned(lambda: [1, "two"]) == Fragment((), [1, "two"])
    assert names_of(planned(report)) == ["train.report"]


def test_a_fragment_has_nodes_of_every_kind() -> None:
    """Maps, plans, maps of plans, and inlined workflows."""

    def train() -> Any:
        rows = clean.map([1, 2])
        merge.map(rows)
        score_all(rows)
        score_all.options(name="each").map([[1]])
        return part(3)

    fragment = planned(train)
    assert names_of(fragment) == [
        *("train.clean", "train.merge", "train.score_all", "train.each"),
        *("train.part.extract", "train.part.clean"),
    ]
    by = {each.name: each for each in fragment.tasks}
    grow = by["train.merge"].grow
    assert grow is not None
    assert grow.shapes == ("train.clean",)
    assert by["train.score_all"].depends_on == ("train.clean",)
    assert by["train.part.clean"].depends_on == ("train.part.extract",)
    assert fragment.value == [Ref("train.part.clean")]


@workflow
def part(number: int) -> Any:
    """A workflow to inline."""
    rows = extract(number)
    return [clean(rows)]


def test_children_may_depend_on_what_the_plan_depends_on() -> None:
    """By name, and on each other by the names that the plan gives them."""

    def train() -> None:
        report.options(depends_on=["pick", "clean[3]", "clean"])()
        clean(1).after("pick")

    fragment = planned(train)
    by = {each.name: each for each in fragment.tasks}
    assert by["train.report"].depends_on == ("pick", "clean[3]", "train.clean")
    assert by["train.clean"].depends_on == ("pick",)
    assert names_of(fragment) == ["train.clean", "train.report"]
    graph = Graph.compile([Task("pick", "m:f"), Task("clean[3]", "m:f"), NODE])
    graph.grow(2, fragment.tasks)


def test_a_plan_that_returns_a_task_result() -> None:
    """A success stands for its data; with any other status nothing is added."""

    def done() -> Any:
        return TaskResult(TaskStatus.SUCCESS, message="fine", data=[report()])

    def failed() -> Any:
        report()
        return TaskResult(TaskStatus.FAILURE, error="no")

    fragment = planned(done)
    assert (names_of(fragment), fragment.value) == (["train.report"], [Ref("train.report")])
    assert fragment.result is not None
    assert fragment.result.message == "fine"
    fragment = planned(failed)
    assert (fragment.tasks, fragment.value) == ((), None)
    assert fragment.result is not None
    assert fragment.result.status == TaskStatus.FAILURE


def test_what_the_function_raises_goes_through() -> None:
    """And leaves no build behind."""

    def fail() -> Any:
        report()
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        planned(fail)
    assert report() == "done"


def test_functions_are_not_imported() -> None:
    """They may be for workers of another queue."""
    absent = "absent.module:f"

    def train() -> Any:
        ref = report()
        assert isinstance(ref.owner, Workflow)
        return ref.owner.add("far", absent, queue="gpu", condition="absent.module:c")

    assert planned(train).tasks[1].function == absent


kept: list[TaskRef] = []


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (
            lambda: (clean.options(name="a")(1), report.options(name="a")()),
            "task 'train.a': plan 'train' has a task of this name already",
        ),
        (
            lambda: report().after(merge([], extra=1).after("report")),
            "dependencies form a cycle: train.report -> train.merge -> train.report",
        ),
        (
            lambda: report().after("elsewhere"),
            "'train.report' depends on 'elsewhere', which is neither a task of plan 'train' nor",
        ),
        (
            lambda: report().after("pick.more"),
            "depends on 'pick.more', which is neither",
        ),
        (
            lambda: clean(kept[0]),
            "'train.clean': 'extract' is a task of another workflow or another build",
        ),
        (
            lambda: kept[0],
            "plan 'train': what it returns: 'extract' is a task of another workflow",
        ),
        (
            lambda: 1 if report() else 2,
            "'train.report' cannot be used as true or false while the plan is built, .*condition=",
        ),
        (lambda: report() > 3, "'train.report' cannot be compared while the plan is built"),
        (lambda: [*report()], r"cannot be iterated over while .* or use \.map\(\.\.\.\)"),
        (lambda: f"{report()}", "cannot be put into text"),
        (lambda: {report()}, "cannot be a dict key or an element of a set"),
        (object, "plan 'train': what it returns: value: .*object cannot be stored"),
        (lambda: [Workflow("x")], r"what it returns: \[0\]: .*Workflow cannot be stored"),
        (lambda: part.build({"number": 1}), "'part' is built while plan 'train' is: call it"),
        (lambda: clean.map({1}), "'train.clean': map takes .* not a set"),
        (lambda: charge.map([1]), "'train.charge': a map of an at_most_once task needs key="),
        (lambda: clean(object()), "'train.clean': argument"),
        (clean, "'train.clean': missing a required argument: 'rows'"),
        (
            lambda: (clean.map([1]), report.options(name="clean[0]")()),
            "'train.clean\\[0\\]': names that begin so are those of the children of 'train.clean'",
        ),
        (
            lambda: (score_all([1]), report.options(name="score_all.x")()),
            "those of the children of 'train.score_all'",
        ),
    ],
)
def test_a_wrong_fragment_is_one_line(wrong: Callable[[], Any], message: str) -> None:
    """Nothing of it is added."""
    kept.clear()
    build_with(lambda: kept.append(extract()))
    with pytest.raises(WorkflowInvalid, match=message) as caught:
        planned(wrong)
    assert "\n" not in str(caught.value)


def test_all_that_is_wrong_is_said_at_once() -> None:
    """In one line."""

    def train() -> None:
        report().after("elsewhere")
        clean.map([1])
        merge.options(name="clean[1]")([])

    with pytest.raises(WorkflowInvalid, match=r"^2 problems: .*elsewhere.*; .*children of"):
        planned(train)


def test_a_plan_makes_no_more_tasks_than_its_run_may_have() -> None:
    """It ends where it exceeds them, before it holds them all."""

    def train(count: int) -> None:
        for _ in range(count):
            report()

    assert len(planned(partial(train, 3), max_tasks=3).tasks) == 3
    for count in (4, 10**9):
        with pytest.raises(WorkflowInvalid, match=r"'train' makes more than 3 tasks.*max_tasks"):
            planned(partial(train, count), max_tasks=3)


def test_growing_nodes_nest_100_levels() -> None:
    """A recursion that does not end is named; a task as deep is none."""
    deep = NODE._replace(name=".".join(["deep"] * 100), depends_on=())
    assert len(build_fragment(deep, report).tasks) == 1
    for wrong in (lambda: score_all([1]), lambda: clean.map([1])):
        with pytest.raises(WorkflowInvalid, match="nest deeper than 100 levels; end the") as told:
            build_fragment(deep, wrong)
        assert len(str(told.value)) < 200
    shallow = deep._replace(name=".".join(["deep"] * 99))
    assert len(build_fragment(shallow, lambda: score_all([1])).tasks) == 1


def test_a_sub_workflow_of_a_plan_has_the_context_of_the_run() -> None:
    """Or none."""
    assert planned(other_context, context=f"{HERE}:make_context").tasks
    with pytest.raises(WorkflowInvalid, match=r"context=.*a run has one context.*'train', none"):
        planned(other_context)


@workflow(context=f"{HERE}:make_context")
def other_context() -> None:
    """A workflow with a context."""
    report()
