"""Workflows as users write them: @task, @workflow, Workflow and TaskRef."""
# ruff: noqa: D103  the functions that are no tests are what a user writes

from __future__ import annotations

import contextvars
import functools
import math
import operator
import threading
from collections import deque
from collections.abc import Callable
from pathlib import PurePath
from typing import Any

import pytest

from distflow.authoring import TaskRef, Workflow, check_importable, task, workflow
from distflow.core.model import Loop, Ref, Retry
from distflow.errors import InvalidInput, WorkflowInvalid

HERE = __name__


@task
def extract(day: Any = "mon") -> Any:
    return [day]


@task(retry=Retry(2), timeout=30, priority=5)
def clean(rows: Any, part: Any = 0) -> Any:
    return rows


@task
def merge(parts: Any, *, extra: Any = None) -> Any:
    return parts


@task(effects="at_most_once")
def charge(order: Any, *, ctx: Any) -> Any:
    return ctx.key, order


@task
def ctx_first(ctx: Any, order: Any, amount: Any = 1) -> Any:
    return order


@task
def report() -> Any:
    return "done"


def plain(a: Any, b: Any = 1) -> Any:
    return a


def ctx_varying(ctx: Any, *items: Any) -> Any:
    return items


def ctx_positional(ctx: Any, /) -> Any:
    return ctx


def is_monday(ctx: Any) -> Any:
    return True


def good_enough(ctx: Any, result: Any) -> Any:
    return True


def make_context(params: Any) -> Any:
    return params


async def asynchronous() -> Any:
    return 1


def generating() -> Any:
    yield 1


async def async_generating() -> Any:
    yield 1


def decorated_without_wraps(function: Any) -> Any:
    def wrapper(*args: Any) -> Any:
        return function(*args)

    return wrapper


class Holder:
    def __call__(self) -> Any:
        return 1

    def method(self) -> Any:
        return 1


hidden_lambda = lambda: 1  # noqa: E731
hidden_partial = functools.partial(plain, 1)
hidden_wrapper = decorated_without_wraps(plain)


@workflow
def etl(day: str = "2026-01-01", parts: int = 2) -> Any:
    rows = extract(day)
    cleaned = [clean(rows, i) for i in range(parts)]
    merged = merge(cleaned, extra={"rows": (rows, 1)})
    charge(merged)
    report().after(*cleaned)


@workflow(name="scratch", context=make_context)
def probe(action: Any) -> Any:
    """A workflow whose function calls what the test wants to see inside a build."""
    ACTIONS[action]()


ACTIONS: dict[str, Callable[[], Any]] = {}


def build_with(action: Any) -> Any:
    """Run ``action`` inside a build; returns the workflow."""
    ACTIONS["now"] = action
    return probe.build({"action": "now"})


def by_name(built: Any) -> Any:
    return {task.name: task for task in built.tasks}


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


@pytest.mark.parametrize(
    ("use", "hint"),
    [
        (bool, "condition="),
        (iter, "inside a task"),
        (len, "inside a task"),
        (hash, r"\.name"),
        (lambda ref: {ref: 1}, r"\.name"),
        (lambda ref: {ref}, r"\.name"),
        (lambda ref: ref[0], "inside a task"),
        (lambda ref: [*ref], "inside a task"),
        (lambda ref: 1 in ref, "inside a task"),
        (lambda ref: ref == 1, "condition="),
        (lambda ref: ref < 1, "condition="),
        (lambda ref: ref + 1, "inside a task"),
        (lambda ref: 1 - ref, "inside a task"),
        (lambda ref: range(3)[ref], "inside a task"),
        (int, "inside a task"),
        (lambda ref: f"/data/{ref}", "inside a task"),
    ],
)
def test_a_result_to_be_cannot_be_used_as_a_value(use: Any, hint: str) -> None:
    """Using a TaskRef as a value is an error that names its task and says what to do instead."""
    with pytest.raises(WorkflowInvalid, match=f"'extract'.*{hint}"):
        build_with(lambda: use(extract()))


def test_a_ref_can_be_printed() -> None:
    """Debugging a workflow function with print works."""
    assert str(Workflow("w").add("a", report)) == "<TaskRef 'a'>"


def test_a_ref_of_another_workflow_is_an_error() -> None:
    """The message names the task and both workflows."""
    other = Workflow("other").add("a", report)
    here = Workflow("here")
    uses: list[Callable[[], Any]] = [
        lambda: here.add("b", plain, (other,)),
        lambda: here.add("c", report, depends_on=[other]),
        lambda: here.add("d", report).after(other),
    ]
    for use in uses:
        with pytest.raises(WorkflowInvalid, match=r"'a'.*another workflow.*'other'.*'here'"):
            use()


def test_a_ref_of_an_earlier_build_is_an_error() -> None:
    """A ref that was kept from one build does not fit the next."""
    kept = []
    build_with(lambda: kept.append(extract()))
    with pytest.raises(WorkflowInvalid, match="another build"):
        build_with(lambda: clean(kept[0]))


def in_main() -> Any:
    return 1


in_main.__module__ = "__main__"


def test_what_workers_cannot_import_is_refused_by_name() -> None:
    """Every kind of function that has no importable name, or no plain call, is named."""

    def local() -> Any:
        return 1

    seed = 1

    def closure() -> Any:
        return seed

    for function, message in [
        (lambda: 1, "lambda"),
        (hidden_lambda, "lambda"),
        (local, "'local' is a local function of"),
        (closure, "'closure' is a closure of"),
        (hidden_wrapper, "'wrapper' is a closure of 'decorated_without_wraps'.*functools.wraps"),
        (hidden_partial, "functools.partial of 'plain'"),
        (Holder.method, "'Holder.method' is a method"),
        (Holder().method, "'Holder.method' is a method"),
        (Holder(), "an instance of Holder"),
        (asynchronous, "'asynchronous' is async"),
        (async_generating, "'async_generating' is async"),
        (generating, "'generating' is a generator"),
        (in_main, "'in_main' is a function of __main__"),
        ("__main__:f", "'f' is a function of __main__"),
        ("no colon", "'no colon' is not of the form 'pkg.module:name'"),
        ("examples/etl.py:clean", "such as 'examples.etl:clean'"),
        (7, "7 is neither"),
    ]:
        with pytest.raises(WorkflowInvalid, match=f"task 'x': .*{message}"):
            Workflow("w").add("x", function)
        if callable(function) or isinstance(function, str):
            with pytest.raises(WorkflowInvalid, match=f"task 'x': condition: .*{message}"):
                Workflow("w").add("x", report, condition=function)


def test_decorated_functions_are_refused_when_they_are_used() -> None:
    """@task on a local function is the plain function; in a build it is refused by name."""

    @task
    def local_task() -> Any:
        return 1

    assert local_task() == 1
    with pytest.raises(WorkflowInvalid, match="task 'local_task': 'local_task' is a local"):
        build_with(local_task)


def test_a_function_hidden_by_another_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a module has under the function's name must be that function."""
    kept = plain
    monkeypatch.setitem(globals(), "plain", report)
    with pytest.raises(WorkflowInvalid, match=r"would not find 'plain'.*something else"):
        Workflow("w").add("x", kept)


def test_ctx_is_given_and_not_passed() -> None:
    """Passing ctx oneself is refused, wherever the function has it."""
    for call in (lambda: charge("o1", ctx=1), lambda: report(ctx=1)):
        with pytest.raises(WorkflowInvalid, match="'ctx' is given by distflow"):
            build_with(call)


def test_ctx_may_come_first() -> None:
    """Arguments after a leading ctx are stored by name, since workers pass ctx by name."""
    stored = by_name(build_with(lambda: ctx_first("o1", 2)))["ctx_first"]
    assert stored.args == ()
    assert stored.kwargs == {"order": "o1", "amount": 2}
    for function in (ctx_varying, ctx_positional):
        with pytest.raises(WorkflowInvalid, match=r"'ctx'.*keyword-only"):
            Workflow("w").add("x", function)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: clean(), "missing a required argument: 'rows'"),  # noqa: PLW0108
        (lambda: clean(1, 2, 3), "too many positional"),
        (lambda: clean(1, prat=2), "unexpected keyword argument 'prat'"),
        (lambda: charge(), "missing a required argument: 'order'"),  # noqa: PLW0108
        (lambda: ctx_first("o", order="p"), "multiple values for argument 'order'"),
    ],
)
def test_wrong_arguments_are_found_at_the_build(call: Any, message: str) -> None:
    """The task, the argument and what the function takes are named."""
    with pytest.raises(WorkflowInvalid, match=f"^task '.*{message}.*takes \\("):
        build_with(call)


@pytest.mark.parametrize(
    ("value", "path"),
    [
        ([{"a": PurePath("x")}], r"\[0\]\[0\]\['a'\]"),
        (deque(), r"\[0\]"),
        ({1.5: 1}, r"\[0\]: a key of type float"),
        (2**70, r"\[0\]: an integer of more"),
    ],
)
def test_arguments_that_cannot_travel_are_named_with_their_path(value: Any, path: str) -> None:
    """What the codec cannot encode is refused at the build, with the task and the path."""
    with pytest.raises(WorkflowInvalid, match=f"task 'clean': argument {path}"):
        build_with(lambda: clean(value))
    with pytest.raises(WorkflowInvalid, match=r"task 'merge': argument \['extra'\]"):
        build_with(lambda: merge([], extra=value))


def test_endless_nesting_is_refused() -> None:
    """A list that holds itself is an error, not a crash."""
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(WorkflowInvalid, match="nested deeper"):
        build_with(lambda: clean(endless))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"timeuot": 1}, "no option 'timeuot'; did you mean 'timeout'"),
        ({"zzz": 1}, "no option 'zzz'; there are condition, "),
        ({"timeout": 0}, "timeout is a number of seconds above 0, not 0"),
        ({"timeout": math.nan}, "timeout"),
        ({"timeout": math.inf}, "timeout"),
        ({"timeout": True}, "timeout"),
        ({"timeout": "3"}, "timeout"),
        ({"priority": 1.5}, "priority is an integer"),
        ({"priority": 2**64}, "priority"),
        ({"effects": "once"}, "effects is 'normal' or 'idempotent' or 'at_most_once', not 'once'"),
        ({"retry": 3}, r"retry is a Retry\(\.\.\.\), not 3"),
        ({"loop": 3}, r"loop is a Loop\(\.\.\.\), not 3"),
        ({"queue": ""}, "queue is the name of an RQ queue"),
        ({"queue": None}, "queue"),
        ({"continue_on_error": 1}, "continue_on_error is True or False, not 1"),
        ({"condition": 1}, "condition is a module-level function"),
        ({"name": ""}, "name is a text"),
        ({"name": "\ud800"}, "name is a text"),
        ({"loop": Loop("m:f", 3), "effects": "at_most_once"}, "loop runs a task again"),
    ],
)
def test_options_are_checked_wherever_they_are_given(options: Any, message: str) -> None:
    """A wrong option is refused by name at @task, at .options and at Workflow.add."""
    for use in (
        lambda: task(**options)(plain),
        lambda: report.options(**options),
        lambda: Workflow("w").add(options.pop("name", "x"), report, **options),
    ):
        with pytest.raises(WorkflowInvalid, match=message):
            use()


def test_loop_and_at_most_once_meet_from_two_places() -> None:
    """A loop at a call site of an at_most_once task is refused too."""
    with pytest.raises(WorkflowInvalid, match=r"'charge'.*loop.*at_most_once"):
        charge.options(loop=Loop(good_enough, 3))


def test_hooks_are_stored_by_path() -> None:
    """condition, Loop.until and context may be functions or paths; both become paths."""
    flow = Workflow("w", context="pkg.ctx:make")
    flow.add("a", plain, (1,), condition=is_monday, loop=Loop(good_enough, 3, 1.5))
    flow.add("b", "pkg.mod:f", condition="pkg.mod:c", loop=Loop("pkg.mod:u", 2))
    a, b = flow.tasks
    assert (a.condition, a.loop) == (f"{HERE}:is_monday", Loop(f"{HERE}:good_enough", 3, 1.5))
    assert (b.function, b.condition, b.loop and b.loop.until) == (
        "pkg.mod:f",
        "pkg.mod:c",
        "pkg.mod:u",
    )
    assert flow.context == "pkg.ctx:make"


def test_hooks_that_cannot_be_called_are_refused() -> None:
    """A condition takes (ctx), until takes (ctx, result), a context (params[, snapshot])."""
    with pytest.raises(WorkflowInvalid, match=r"condition: good_enough.*does not take 1 pos"):
        Workflow("w").add("a", report, condition=good_enough)
    with pytest.raises(WorkflowInvalid, match=r"until: is_monday.*does not take 2 pos"):
        Workflow("w").add("a", report, loop=Loop(is_monday, 2))
    with pytest.raises(WorkflowInvalid, match=r"context: report.*does not take 1 or 2 pos"):
        Workflow("w", context=report)


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


def test_after_takes_no_list() -> None:
    """The common slip .after(refs) is answered with the mend."""
    with pytest.raises(WorkflowInvalid, match=r"\.after\(\*refs\)"):
        build_with(lambda: report().after([extract()]))


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


@workflow
async def async_flow() -> Any:
    extract()


@workflow
def generator_flow() -> Any:
    yield extract()


@workflow
def returning_flow() -> Any:
    return Workflow("inner")


@workflow
def open_flow(**more: Any) -> Any:
    extract(more["day"])


def test_workflow_functions_whose_body_would_not_build_are_refused() -> None:
    """An async def, generators and functions that return a Workflow would build nothing."""
    for template, message in [
        (async_flow, "async"),
        (generator_flow, "generator"),
        (returning_flow, "take @workflow away"),
    ]:
        with pytest.raises(WorkflowInvalid, match=message):
            template()


def test_a_workflow_may_take_any_parameters() -> None:
    """A workflow function with **parameters records those it is given."""
    assert open_flow(day="tue").params == {"day": "tue"}


def test_workflows_do_not_nest() -> None:
    """Calling a workflow while another is built is an error with a hint."""
    with pytest.raises(WorkflowInvalid, match=r"'etl' is called while 'scratch' is built.*share"):
        build_with(etl)


def test_parameters_of_a_workflow_made_with_add() -> None:
    """A Workflow takes any parameters for its run; one that was built has its own already."""
    flow = Workflow("w")
    flow.add("a", report)
    run = flow.build({"day": "tue"})
    assert (run.params, flow.params, run.tasks) == ({"day": "tue"}, {}, flow.tasks)
    assert flow.build() is flow
    with pytest.raises(InvalidInput, match="'etl' was built with its parameters already"):
        etl().build({"day": "tue"})


def test_check_importable_accepts_what_workers_can_import() -> None:
    """Functions and paths of importable modules pass, built-ins too."""
    flow = Workflow("w", context=f"{HERE}:make_context")
    flow.add("a", f"{HERE}:clean", ([1],), condition=f"{HERE}:is_monday")
    flow.add("b", f"{HERE}:plain", (1,), loop=Loop(f"{HERE}:good_enough", 2))
    flow.add("c", operator.add, (1, 2))
    flow.add("d", f"{HERE}:charge", ("o1",))
    flow.add("e", f"{HERE}:ctx_first", (), {"order": "o1"})
    check_importable(flow)
    check_importable(etl())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"function": "no_such_pkg.mod:f"}, "task 'a': .*'no_such_pkg' is not found"),
        ({"function": f"{HERE}:claen"}, "task 'a': .*no function 'claen'; did you mean 'clean'"),
        ({"function": f"{HERE}:HERE"}, "task 'a': .*is no function"),
        ({"function": f"{HERE}:asynchronous"}, "task 'a': 'asynchronous' is async"),
        ({"function": f"{HERE}:plain"}, "task 'a': missing a required argument: 'a'"),
        ({"function": f"{HERE}:ctx_first", "args": (1,)}, "task 'a': .*'ctx' before other"),
        ({"condition": f"{HERE}:good_enough"}, "task 'a': condition: .*does not take 1"),
        ({"condition": f"{HERE}:is_mondya"}, "condition: .*did you mean 'is_monday'"),
        ({"loop": Loop(f"{HERE}:is_monday", 2)}, "until: .*does not take 2"),
        ({"context": f"{HERE}:report"}, "workflow 'w': context: .*does not take 1 or 2"),
    ],
)
def test_check_importable_names_what_fails(options: Any, message: str) -> None:
    """The check before a submit names the task, the function and the reason."""
    flow = Workflow("w", context=options.pop("context", None))
    flow.add("a", options.pop("function", report), options.pop("args", ()), **options)
    flow.validate()
    with pytest.raises(WorkflowInvalid, match=message):
        check_importable(flow)
