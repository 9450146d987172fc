"""A workflow that is called while another is built becomes a part of it; what workflows return."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from distflow import workflow
from distflow.authoring import Workflow
from distflow.core.model import Ref
from distflow.errors import InvalidInput, WorkflowInvalid
from tests.unit.authored import (
    HERE,
    async_flow,
    build_with,
    by_name,
    clean,
    etl,
    extract,
    generator_flow,
    merge,
    open_flow,
    report,
    returning_flow,
)


@workflow
def inner(rows: Any, parts: int = 1) -> Any:
    """Cleans rows, in order."""
    done = [clean(rows, number) for number in range(parts)]
    report.options(name="last", depends_on="first")().after("clean")
    report.options(name="first")()
    return {"rows": done, "parts": parts}


@workflow
def middle(rows: Any) -> Any:
    """A workflow in a workflow in a workflow."""
    return inner(inner(rows)["rows"])["rows"][0]


@workflow
def endless() -> None:
    """Calls itself."""
    endless()


@workflow(context=f"{HERE}:make_context")
def with_context() -> None:
    """Has the context of the scratch workflow."""
    report()


@workflow(context=f"{HERE}:plain")
def with_another() -> None:
    """Has another."""
    report()


def test_its_tasks_are_those_of_the_outer_one() -> None:
    """Under its name; what it returns comes back; results go in and out as arguments."""

    def outer() -> None:
        found = inner(extract(), parts=2)
        assert found["parts"] == 2
        merge(found["rows"]).after(inner(1)["rows"][0])

    tasks = by_name(build_with(outer))
    assert list(tasks) == [
        *("extract", "inner.clean", "inner.clean_2", "inner.last", "inner.first"),
        *("merge", "inner_2.clean", "inner_2.last", "inner_2.first"),
    ]
    assert tasks["inner.clean_2"].args == (Ref("extract"), 1)
    assert tasks["inner.last"].depends_on == ("inner.first", "inner.clean")
    assert tasks["inner_2.last"].depends_on == ("inner_2.first", "inner_2.clean")
    assert tasks["merge"].args == ([Ref("inner.clean"), Ref("inner.clean_2")],)
    assert tasks["merge"].depends_on == ("inner.clean", "inner.clean_2", "inner_2.clean")


def test_it_may_have_a_name_of_its_own() -> None:
    """Chosen for a call; a name that is taken is refused then."""

    def outer() -> None:
        inner.options(name="first")(1)
        middle.options(name="second")(2)

    tasks = list(by_name(build_with(outer)))
    assert tasks[0] == "first.clean"
    assert tasks[3:7:3] == ["second.inner.clean", "second.inner_2.clean"]
    assert inner.options(name="first")(rows=1).name == "first"
    assert inner.name == "inner"

    def twice() -> None:
        inner.options(name="first")(1)
        inner.options(name="first")(1)

    with pytest.raises(WorkflowInvalid, match=r"'first': .* has a sub-workflow of this name"):
        build_with(twice)
    with pytest.raises(InvalidInput, match="'inner': name must be a text"):
        inner.options(name="")


def test_names_of_tasks_and_sub_workflows_are_one() -> None:
    """So that no name is below that of a task by chance."""

    def outer() -> None:
        report.options(name="inner")()
        inner(1)

    assert list(by_name(build_with(outer)))[1] == "inner_2.clean"
    with pytest.raises(WorkflowInvalid, match=r"'inner': .* has a sub-workflow of this name"):
        build_with(lambda: (inner(1), report.options(name="inner")()))
    with pytest.raises(WorkflowInvalid, match=r"'inner': .* has a task of this name"):
        build_with(lambda: (report.options(name="inner")(), inner.options(name="inner")(1)))
    with pytest.raises(WorkflowInvalid, match=r"task 'inner.first': .* has a task of this name"):
        build_with(lambda: (clean.options(name="inner.first")(1), inner(1)))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (with_another, "'with_another' has context='.*:plain', .* 'scratch', .*make_context"),
        (endless, "sub-workflows nest deeper than 100 levels; one of them calls itself"),
        (inner, "'inner' needs a value for parameter 'rows'"),
        (lambda: inner(1, 2, 3), "'inner': too many positional arguments"),
        (lambda: inner(1, other=2), "'inner': got an unexpected keyword argument 'other'"),
        (lambda: inner(row=1), "'inner' has no parameter 'row'; did you mean 'rows'"),
        (lambda: inner.build({"rows": 1}), "'inner' is built while workflow 'scratch' is: call"),
        (returning_flow, "'returning_flow' returns a Workflow"),
        (async_flow, "is async"),
        (generator_flow, "is a generator function"),
        (open_flow, "'day'"),
    ],
)
def test_a_wrong_call_is_one_line(wrong: Callable[[], Any], message: str) -> None:
    """The outer workflow is not built."""
    with pytest.raises((InvalidInput, KeyError), match=message):
        build_with(wrong)
    assert report() == "done"


def test_the_context_of_the_outer_one() -> None:
    """The same context is no other one."""
    assert list(by_name(build_with(with_context))) == ["with_context.report"]


def test_after_an_error_names_are_those_of_the_outer_one() -> None:
    """Whoever catches what a sub-workflow raises goes on with the names of its own."""

    def failing() -> None:
        with pytest.raises(TypeError):
            inner(extract(), parts="two")
        report()

    assert "report" in by_name(build_with(failing))


def test_parameters_may_be_results() -> None:
    """They are arguments, and no parameters of the run."""
    built = build_with(lambda: inner(extract()))
    assert set(built.params) == {"action"}


@pytest.mark.parametrize(
    ("returned", "kept"),
    [
        (lambda: None, None),
        (extract, Ref("extract")),
        (
            lambda: {"a": [extract(), (1, extract())]},
            {"a": [Ref("extract"), (1, Ref("extract_2"))]},
        ),
        (lambda: 7, 7),
        (lambda: inner(1), {"rows": [Ref("inner.clean")], "parts": 1}),
        (lambda: clean.map([1]), Ref("clean")),
    ],
)
def test_what_a_workflow_returns(returned: Callable[[], Any], kept: Any) -> None:
    """A template of the run's result: it stays with the workflow."""
    ACTION.clear()
    ACTION.append(returned)
    built = answering()
    assert built.returns == kept
    assert built.evolve({}, None).returns == kept
    assert built.with_context(f"{HERE}:make_context").returns == kept


ACTION: list[Callable[[], Any]] = []


@workflow
def answering() -> Any:
    """Returns what the test wants."""
    return ACTION[0]()


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        (object, "workflow 'answering': what it returns: value: .*object cannot be stored"),
        (lambda: [1, {"a": object()}], r"what it returns: \[1\]\['a'\]: .*object cannot be stored"),
        (lambda: {1: {2}, "x": 1 << 70}, r"what it returns: \['x'\]: an integer of more than 64"),
        (lambda: Workflow("x"), "'answering' returns a Workflow"),
    ],
)
def test_what_a_workflow_cannot_return(returned: Callable[[], Any], message: str) -> None:
    """One line, when it is built."""
    ACTION.clear()
    ACTION.append(returned)
    with pytest.raises(WorkflowInvalid, match=message):
        answering()
    assert etl().returns is None


def test_a_workflow_made_with_add_returns_what_is_set() -> None:
    """Nothing at first."""
    dag = Workflow("ad hoc")
    assert dag.returns is None
    first = dag.add("a", report)
    dag.returns = {"first": [first]}
    assert dag.returns == {"first": [Ref("a")]}
    assert dag.build({"day": "mon"}).returns == dag.returns
    with pytest.raises(
        WorkflowInvalid, match=r"'other': what it returns: 'a' is a task of another"
    ):
        Workflow("other").returns = first
    with pytest.raises(
        WorkflowInvalid, match=r"'ad hoc': what it returns: \[0\]: .*cannot be stored"
    ):
        dag.returns = [object()]
    assert dag.returns == {"first": [Ref("a")]}
