"""Workflows as users write them: @task, @workflow, Workflow and TaskRef."""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable
from pathlib import PurePath
from typing import Any

import pytest

from distflow.authoring import TaskRef, Workflow
from distflow.core.model import Loop, Ref, Retry
from distflow.errors import InvalidInput, WorkflowInvalid
from distflow.wire.codec import decode_task, encode_task, pack, unpack
from tests.unit.authored import (
    HERE,
    build_with,
    by_name,
    clean,
    etl,
    extract,
    good_enough,
    is_monday,
    merge,
    open_flow,
    plain,
    probe,
    report,
)


def test_a_build_makes_tasks_out_of_calls() -> None:
    """The workflow of the front page: names, arguments, dependencies and order."""
    tasks = by_name(etl())
    assert list(tasks) == ["extract", "clean", "clean_2", "merge", "charge", "report"]
    assert tasks["extract"].args == ("2026-01-01",)
    assert tasks["extract"].function == f"{HERE}:extract"
    assert tasks["clean_2"].args == (Ref("extract"), 1)
    assert tasks["merge"].args == ([Ref("clean"), Ref("clean_2")],)
    assert tasks["merge"].kwargs == {"extra": {"rows": (Ref("extract"), 1)}}
    assert tasks["merge"].depends_on == ("clean", "clean_2", "extract")
    assert tasks["report"].depends_on == ("clean", "clean_2")
    assert tasks["charge"].effects == "at_most_once"
    assert (tasks["clean"].retry, tasks["clean"].timeout) == (Retry(2), 30)


def test_a_built_workflow_knows_its_parameters_and_where_it_is_from() -> None:
    """The parameters of the workflow are those of the run, defaults applied."""
    built = etl(parts=1)
    assert built.name == "etl"
    assert built.params == {"day": "2026-01-01", "parts": 1}
    assert built.reference == f"{HERE}:etl"
    assert etl.build({"day": "tue"}).params == {"day": "tue", "parts": 2}
    assert etl("wed").params["day"] == "wed"
    assert probe.name == "scratch"
    assert build_with(report).context == f"{HERE}:make_context"


def test_outside_a_build_a_task_is_the_plain_function() -> None:
    """Unit tests call a @task function and get what it returns, docstring and name included."""
    assert extract("tue") == ["tue"]
    assert clean.options(timeout=1)([1], part=2) == [1]
    assert extract.__name__ == "extract"
    etl()
    assert extract("wed") == ["wed"]


def test_a_failed_build_leaves_no_build_behind() -> None:
    """After a workflow function raised, a @task function is the plain function again."""

    def fail() -> Any:
        extract()
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        build_with(fail)
    assert extract("tue") == ["tue"]


def test_threads_of_a_build_call_the_plain_function() -> None:
    """The build belongs to the context that builds: a thread beside it runs tasks as functions."""
    seen = []

    def run_threads() -> Any:
        copied = contextvars.copy_context()
        for target in (
            lambda: seen.append(extract("a")),
            lambda: copied.run(lambda: seen.append(extract("b"))),
        ):
            thread = threading.Thread(target=target)
            thread.start()
            thread.join()

    built = build_with(run_threads)
    assert seen[0] == ["a"]
    assert isinstance(seen[1], TaskRef)
    assert list(by_name(built)) == ["extract"]


def test_default_names_skip_taken_ones() -> None:
    """A default name is the function's, then name_2, …, whatever explicit names took."""

    def body() -> Any:
        assert extract.options(name="extract_2")().name == "extract_2"
        assert [extract().name for _ in range(3)] == ["extract", "extract_3", "extract_4"]

    build_with(body)


def test_two_equal_explicit_names_are_an_error() -> None:
    """The name that stands twice is in the message."""

    def body() -> Any:
        extract.options(name="same")()
        report.options(name="same")()

    with pytest.raises(WorkflowInvalid, match=r"'same'.*another name"):
        build_with(body)


def test_arguments_are_frozen_when_the_call_is_made() -> None:
    """A list that grows after the call does not change the task."""

    def body() -> Any:
        rows = [1]
        merge(rows)
        rows.append(2)

    assert by_name(build_with(body))["merge"].args == ([1],)


def test_order_without_data() -> None:
    """after() and depends_on= take refs and names, and a single one without a list."""

    def body() -> Any:
        a = extract()
        report.options(depends_on=[a, "later"])()
        merge.options(name="later", depends_on="extract")([])
        merge.options(name="last", depends_on=a)([]).after("later", a).after("report")

    tasks = by_name(build_with(body))
    assert tasks["report"].depends_on == ("extract", "later")
    assert tasks["later"].depends_on == ("extract",)
    assert tasks["last"].depends_on == ("extract", "later", "report")


def test_a_ref_can_be_printed() -> None:
    """Debugging a workflow function with print works."""
    assert str(Workflow("w").add("a", report)) == "<TaskRef 'a'>"


def test_hooks_are_stored_by_path() -> None:
    """condition, verify, Loop.until and context may be functions or paths; both become paths."""
    flow = Workflow("w", context="pkg.ctx:make")
    flow.add("a", plain, (1,), condition=is_monday, loop=Loop(good_enough, 3, 1.5))
    flow.add("b", "pkg.mod:f", condition="pkg.mod:c", loop=Loop("pkg.mod:u", 2))
    once: Any = "at_most_once"
    flow.add("c", plain, (1,), effects=once, verify=good_enough)
    flow.add("d", "pkg.mod:f", effects=once, verify="pkg.mod:v")
    a, b, c, d = flow.tasks
    assert (c.verify, d.verify, a.verify) == (f"{HERE}:good_enough", "pkg.mod:v", None)
    assert [decode_task(unpack(pack(encode_task(task)))) for task in (c, d)] == [c, d]
    assert (a.condition, a.loop) == (f"{HERE}:is_monday", Loop(f"{HERE}:good_enough", 3, 1.5))
    assert (b.function, b.condition, b.loop and b.loop.until) == (
        "pkg.mod:f",
        "pkg.mod:c",
        "pkg.mod:u",
    )
    assert flow.context == "pkg.ctx:make"


def test_add_for_generated_graphs() -> None:
    """Workflow.add takes args, kwargs and every option, and the options of a @task function."""
    flow = Workflow("w")
    a = flow.add("a", clean, ([],), priority=1)
    flow.add("b", plain, [a], {"b": 2}, depends_on=["a"], continue_on_error=True, queue="q")
    assert flow.add(None, plain, (a,)).name == "plain"
    assert flow.add(None, "pkg.mod:plain").name == "plain_2"
    first, second, *_ = flow.tasks
    assert (first.retry, first.timeout, first.priority) == (Retry(2), 30, 1)
    assert (second.args, second.kwargs, second.queue) == ((Ref("a"),), {"b": 2}, "q")
    with pytest.raises(WorkflowInvalid, match="task 'a': workflow 'w' has a task of this name"):
        flow.add("a", report)


def test_validate_names_what_is_wrong() -> None:
    """A missing dependency and a cycle made with after() are found by validate and by a build."""
    flow = Workflow("w")
    a = flow.add("a", report)
    b = flow.add("b", plain, (a,))
    flow.validate()
    a.after(b)
    with pytest.raises(WorkflowInvalid, match="a -> b -> a"):
        flow.validate()
    with pytest.raises(WorkflowInvalid, match="'report' depends on 'nothing'"):
        build_with(lambda: report().after("nothing"))


def test_drawings_of_a_workflow() -> None:
    """to_mermaid and to_dot show the tasks and their dependencies."""
    assert "n0 --> n1" in etl().to_mermaid()
    assert 'n0 [label="extract"]' in etl().to_dot()
    assert len(etl().compile()) == 6


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"dya": 1}, "'etl' has no parameter 'dya'; did you mean 'day'"),
        ({"zz": 1}, "'etl' has no parameter 'zz'; it has day, parts"),
        ({"day": PurePath("x")}, r"'etl': parameter \['day'\]: pathlib"),
    ],
)
def test_wrong_parameters_are_named(params: Any, message: str) -> None:
    """Unknown parameters and values that cannot be recorded are named, before anything is built."""
    builds: list[Callable[[], Any]] = [lambda: etl.build(params), lambda: etl(**params)]
    for build in builds:
        with pytest.raises(InvalidInput, match=message):
            build()


def test_a_missing_parameter_is_named() -> None:
    """A parameter without a default needs a value."""
    for build in (probe, probe.build):
        with pytest.raises(InvalidInput, match="'scratch' needs a value for parameter 'action'"):
            build()
    with pytest.raises(InvalidInput, match="'etl': too many positional"):
        etl(1, 2, 3)


def test_a_workflow_may_take_any_parameters() -> None:
    """A workflow function with **parameters records those it is given."""
    assert open_flow(day="tue").params == {"day": "tue"}


def test_parameters_of_a_workflow_made_with_add() -> None:
    """A Workflow takes any parameters for its run; one that was built has its own already."""
    flow = Workflow("w")
    flow.add("a", report)
    run = flow.build({"day": "tue"})
    assert (run.params, flow.params, run.tasks) == ({"day": "tue"}, {}, flow.tasks)
    assert flow.build() is flow
    with pytest.raises(InvalidInput, match="'etl' was built with its parameters already"):
        etl().build({"day": "tue"})


def test_a_copy_has_names_of_its_own() -> None:
    """What is added to it is not in the workflow that it was made of."""
    dag = Workflow("ad hoc")
    dag.add("a", report)
    copied = dag.build({"day": "mon"})
    copied.add("b", report)
    dag.add("b", report)
    with pytest.raises(WorkflowInvalid, match="'a': workflow 'ad hoc' has a task of this name"):
        copied.add("a", report)
    assert list(by_name(copied)) == list(by_name(dag)) == ["a", "b"]
