"""What a workflow refuses, by name and with the mend."""

from __future__ import annotations

import math
import operator
from collections import deque
from collections.abc import Callable
from pathlib import PurePath
from typing import Any

import pytest

from distflow import TaskRunnerBuilder
from distflow.authoring import Workflow, check_importable, check_workflow, task
from distflow.core.model import Loop
from distflow.errors import WorkflowInvalid
from tests.unit import authored
from tests.unit.authored import (
    HERE,
    Holder,
    async_flow,
    async_generating,
    asynchronous,
    build_with,
    by_name,
    charge,
    clean,
    ctx_first,
    ctx_positional,
    ctx_varying,
    etl,
    extract,
    generating,
    generator_flow,
    good_enough,
    hidden_lambda,
    hidden_partial,
    hidden_wrapper,
    in_main,
    is_monday,
    merge,
    plain,
    report,
    returning_flow,
)


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
    monkeypatch.setattr(authored, "plain", report)
    with pytest.raises(WorkflowInvalid, match=r"would not find 'plain'.*something else"):
        Workflow("w").add("x", kept)


def test_ctx_is_given_and_not_passed() -> None:
    """Passing ctx oneself is refused, wherever the function has it."""
    for call in (lambda: charge("o1", ctx=1), lambda: report(ctx=1)):
        with pytest.raises(WorkflowInvalid, match="distflow passes 'ctx' itself"):
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
        ({"zzz": 1}, "no option 'zzz'; there are batch, condition, "),
        ({"timeout": 0}, "timeout must be a number of seconds above 0, not 0"),
        ({"timeout": math.nan}, "timeout"),
        ({"timeout": math.inf}, "timeout"),
        ({"timeout": True}, "timeout"),
        ({"timeout": "3"}, "timeout"),
        ({"priority": 1.5}, "priority must be an integer"),
        ({"priority": 2**64}, "priority"),
        (
            {"effects": "once"},
            "effects must be 'normal' or 'idempotent' or 'at_most_once', not 'once'",
        ),
        ({"retry": 3}, r"retry must be a Retry\(\.\.\.\), not 3"),
        ({"loop": 3}, r"loop must be a Loop\(\.\.\.\), not 3"),
        ({"queue": ""}, "queue must be the name of an RQ queue"),
        ({"queue": None}, "queue"),
        ({"continue_on_error": 1}, "continue_on_error must be True or False, not 1"),
        ({"condition": 1}, "condition must be a module-level function"),
        ({"name": ""}, "name must be a text"),
        ({"name": "\ud800"}, "name must be a text"),
        ({"loop": Loop("m:f", 3), "effects": "at_most_once"}, "loop runs a task again"),
        ({"verify": 1, "effects": "at_most_once"}, "verify must be a module-level function"),
        (
            {"verify": "m:f"},
            "verify finds out .* effects='at_most_once' can become unknown; add that, or",
        ),
        ({"verify": "m:f", "effects": "idempotent"}, "verify finds out"),
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


def test_verify_and_other_effects_meet_from_two_places() -> None:
    """Nobody would ever ask the hook of a task that can never be unknown."""
    checked = charge.options(verify=good_enough)
    with pytest.raises(WorkflowInvalid, match=r"'charge'.*verify.*at_most_once"):
        checked.options(effects="normal")
    checked.options(effects="normal", verify=None)


def test_hooks_that_cannot_be_called_are_refused() -> None:
    """A condition takes (ctx), until (ctx, result), verify (key, ctx), a context
    (params[, snapshot]).
    """
    with pytest.raises(WorkflowInvalid, match=r"condition: good_enough.*does not take 1 pos"):
        Workflow("w").add("a", report, condition=good_enough)
    with pytest.raises(WorkflowInvalid, match=r"until: is_monday.*does not take 2 pos"):
        Workflow("w").add("a", report, loop=Loop(is_monday, 2))
    with pytest.raises(WorkflowInvalid, match=r"verify: is_monday.*does not take 2 pos"):
        Workflow("w").add("a", report, effects="at_most_once", verify=is_monday)
    with pytest.raises(WorkflowInvalid, match=r"verify: a lambda has no name"):
        Workflow("w").add("a", report, effects="at_most_once", verify=lambda _key, _ctx: None)
    with pytest.raises(WorkflowInvalid, match=r"context: report.*does not take 1 or 2 pos"):
        Workflow("w", context=report)


def test_after_takes_no_list() -> None:
    """The common slip .after(refs) is answered with the mend."""
    with pytest.raises(WorkflowInvalid, match=r"\.after\(\*refs\)"):
        build_with(lambda: report().after([extract()]))


def test_workflow_functions_whose_body_would_not_build_are_refused() -> None:
    """An async def, generators and functions that return a Workflow would build nothing."""
    for template, message in [
        (async_flow, "async"),
        (generator_flow, "generator"),
        (returning_flow, "remove @workflow"),
    ]:
        with pytest.raises(WorkflowInvalid, match=message):
            template()


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
        ({"function": f"{HERE}:HERE"}, "task 'a': .*is not a function"),
        ({"function": f"{HERE}:asynchronous"}, "task 'a': 'asynchronous' is async"),
        ({"function": f"{HERE}:plain"}, "task 'a': missing a required argument: 'a'"),
        ({"function": f"{HERE}:ctx_first", "args": (1,)}, "task 'a': .*'ctx' before other"),
        ({"condition": f"{HERE}:good_enough"}, "task 'a': condition: .*does not take 1"),
        ({"condition": f"{HERE}:is_mondya"}, "condition: .*did you mean 'is_monday'"),
        ({"loop": Loop(f"{HERE}:is_monday", 2)}, "until: .*does not take 2"),
        (
            {"verify": f"{HERE}:is_monday", "effects": "at_most_once"},
            "task 'a': verify: .*does not take 2",
        ),
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


def test_a_workflow_is_told_all_that_is_wrong_with_it() -> None:
    """Its graph, its functions and hooks, each of them once; before anything runs."""
    flow = Workflow("w")
    flow.add("a", f"{HERE}:claen", depends_on=["x"])
    flow.add("b", f"{HERE}:claen")
    flow.add("c", f"{HERE}:plain", condition="no_such_pkg.mod:f")
    flow.add("d", report, loop=Loop(f"{HERE}:is_monday", 2))
    for check in (check_workflow, TaskRunnerBuilder().build().execute):
        with pytest.raises(WorkflowInvalid, match="5 problems: ") as refused:
            check(flow)
        assert [(problem.kind, problem.task) for problem in refused.value.problems] == [
            ("missing_dependency", "a"),
            ("not_importable", "a"),
            ("wrong_call", "c"),
            ("not_importable", "c"),
            ("wrong_call", "d"),
        ]


def test_what_is_refused_at_once_is_one_problem() -> None:
    """Whoever lists problems need not ask where an error came from."""
    with pytest.raises(WorkflowInvalid) as refused:
        Workflow("w").add("a", lambda: 1)
    (problem,) = refused.value.problems
    assert (problem.kind, problem.message) == ("invalid", str(refused.value))
