"""``.map`` as users write it: what node it makes, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from distflow import task
from distflow.authoring import Workflow, check_workflow
from distflow.core.model import MAP_FUNCTION, Grow, Loop, Ref, Retry, Task
from distflow.core.run_options import RunOptions
from distflow.core.version import run_version
from distflow.errors import InvalidInput, WorkflowInvalid
from distflow.wire.codec import decode_task, encode_task, pack, unpack
from tests.unit.authored import (
    HERE,
    build_with,
    by_name,
    charge,
    clean,
    compare,
    ctx_before,
    extract,
    good_enough,
    keyed,
    measure,
    merge,
    name_of,
    plain,
    report,
    score_all,
)


def build(action: Callable[[], Any]) -> dict[str, Task]:
    """The tasks of a workflow whose function does this."""
    tasks: dict[str, Task] = by_name(build_with(action))
    return tasks


def grow_of(node: Task) -> Grow:
    """What makes the task a growing node."""
    assert node.grow is not None
    return node.grow


def child_of(node: Task) -> Task:
    """What a map makes of each element."""
    child = grow_of(node).child
    assert child is not None
    return child


def test_a_map_is_a_node() -> None:
    """It waits for what it maps and for its fixed arguments; the options are its children's."""

    def mapping() -> None:
        measure.map(extract(), strict=report(), max_failures=0.1)

    tasks = build(mapping)
    assert list(tasks) == ["extract", "report", "measure"]
    node, child = tasks["measure"], child_of(tasks["measure"])
    assert (node.function, node.args, node.kwargs) == (MAP_FUNCTION, (Ref("extract"),), {})
    assert node.depends_on == ("extract", "report")
    assert (node.effects, node.queue, node.priority) == ("idempotent", "many", 3)
    assert (node.condition, child.condition) == (f"{HERE}:is_monday", None)
    assert grow_of(node)._replace(child=None) == Grow("map", None, None, 0.1, ())
    assert (child.name, child.function, child.args) == ("", f"{HERE}:measure", ())
    assert child.kwargs == {"strict": Ref("report")}
    assert (child.queue, child.priority, child.effects) == ("many", 3, "normal")


def test_options_are_those_of_the_children() -> None:
    """But for the condition and the order, which are the node's."""
    loop = Loop(good_enough, 3)
    chosen = clean.options(
        name="tidy", retry=Retry(4), loop=loop, timeout=5, batch=False, continue_on_error=True
    )

    def mapping() -> None:
        chosen.options(depends_on="report").map([1, 2]).after(extract())
        report()

    node = build(mapping)["tidy"]
    child = child_of(node)
    assert (child.retry, child.timeout, child.batch) == (Retry(4), 5, False)
    assert child.continue_on_error
    assert child.loop is not None
    assert child.loop.until == f"{HERE}:good_enough"
    assert (node.retry, node.timeout, node.loop, node.verify) == (None, None, None, None)
    assert not node.continue_on_error
    assert node.depends_on == ("report", "extract")


def test_literals_travel_in_the_node() -> None:
    """A list, a tuple, a dict, a list of results; the copies are the node's own."""
    rows = [1, 2]

    def mapping() -> None:
        clean.map(rows)
        clean.map((1, 2))
        clean.map({"a": 1})
        clean.map([])
        clean.map([extract(), 2])
        rows.append(3)

    tasks = build(mapping)
    maps = [task.args for task in tasks.values() if task.grow]
    assert maps == [([1, 2],), ((1, 2),), ({"a": 1},), ([],), ([Ref("extract"), 2],)]
    assert tasks["clean_5"].depends_on == ("extract",)
    assert tasks["clean_5"].grow is not None
    assert not grow_of(tasks["clean_5"]).shapes


def test_a_map_over_a_map_goes_element_by_element() -> None:
    """Unless a key names its children: then the elements have to be known."""

    def mapping() -> None:
        rows = clean.map([1, 2])
        sizes = measure.map(rows)
        compare.options(name="both").map(rows, sizes)
        compare.options(name="same").map(rows, rows)
        compare.options(name="beside").map(rows, [1, 2])
        measure.options(name="keyed").map(rows, key="name")
        score_all.map(rows)
        merge(rows)

    tasks = build(mapping)
    shapes = {name: grow_of(task).shapes for name, task in tasks.items() if task.grow}
    assert shapes == {
        "clean": (),
        "measure": ("clean",),
        "both": ("clean", "measure"),
        "same": ("clean",),
        "beside": ("clean",),
        "keyed": (),
        "score_all": ("clean",),
    }
    assert tasks["merge"].args == (Ref("clean"),)
    assert tasks["both"].depends_on == ("clean", "measure")


def test_a_map_over_a_mapped_plan_takes_complete_data() -> None:
    """So does one over any other task."""

    def mapping() -> None:
        measure.map(score_all.map([[1], [2]]))
        measure.map(score_all([1]))
        measure.map(extract())

    tasks = build(mapping)
    assert all(not task.grow.shapes for task in tasks.values() if task.grow)


@pytest.mark.parametrize(
    "wait",
    [
        lambda rows: measure.map(rows).after(rows),
        lambda rows: measure.map(rows).after("clean"),
        lambda rows: measure.options(depends_on=[rows]).map(rows),
    ],
)
def test_who_waits_for_a_map_waits_for_all_of_it(wait: Callable[[Any], Any]) -> None:
    """Order without data is asked for: then nothing is followed element by element."""
    tasks = build(lambda: wait(clean.map([1])))
    assert tasks["measure"].depends_on == ("clean",)
    assert grow_of(tasks["measure"]).shapes == ()
    tasks = build(lambda: measure.map(clean.map([1])).after(report()))
    assert grow_of(tasks["measure"]).shapes == ("clean",)


def test_a_mapped_plan() -> None:
    """Its child is a growing node itself."""
    node = build(lambda: score_all.map([[1], [2]], least=1))["score_all"]
    child = child_of(node)
    assert (child.grow, child.effects, child.kwargs) == (Grow("plan"), "idempotent", {"least": 1})
    assert (child.retry, child.timeout, child.queue) == (Retry(1), 9, "plans")
    assert node.queue == "plans"


@pytest.mark.parametrize(
    ("key", "kept"),
    [("name", "name"), (name_of, f"{HERE}:name_of"), ("pkg.mod:name", "pkg.mod:name")],
)
def test_what_names_the_children(key: Any, kept: str) -> None:
    """An item or attribute, or a function of the element."""
    node = build(lambda: charge.map([{"name": "a"}], key=key))["charge"]
    assert grow_of(node).key == kept
    assert child_of(node).effects == "at_most_once"


def test_maps_of_a_workflow_made_with_add() -> None:
    """The same nodes without decorators."""
    dag = Workflow("ad hoc")
    rows = dag.add("rows", extract)
    dag.map("tidy", plain, [rows], {"b": 2}, key="id", max_failures=3, queue="q")
    dag.map(None, "operator:neg", [[1, 2]])
    tasks = by_name(dag)
    assert list(tasks) == ["rows", "tidy", "neg"]
    assert tasks["tidy"].queue == "q"
    assert grow_of(tasks["tidy"]).max_failures == 3
    assert child_of(tasks["neg"]).function == "operator:neg"
    check_workflow(dag)


def test_a_map_survives_the_wire_and_makes_a_run_of_version_2() -> None:
    """What workers read is what was built."""

    def mapping() -> None:
        measure.map(extract(), strict=report(), max_failures=2, key="name")

    tasks = build(mapping)
    node = tasks["measure"]
    assert decode_task(unpack(pack(encode_task(node)))) == node
    assert run_version(tasks.values(), RunOptions()) == 2
    del tasks["measure"]
    assert run_version(tasks.values(), RunOptions()) == 1


def test_outside_of_a_build_a_map_calls_the_function() -> None:
    """As does the plain function."""
    assert measure.map([1, 2]) == [10, 20]
    assert compare.map((3, 2), [1, 1], max_failures=1) == [2, 1]
    assert clean.map({"a": 1}, part=2, key="name") == [("a", 1)]
    assert measure.map([]) == []
    with pytest.raises(WorkflowInvalid, match=r"@task 'compare': .*different lengths: 2 and 1"):
        compare.map([1, 2], [1])


#: What a type checker would refuse.
_NUMBER: Any = 3


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (clean.map, "'clean': map needs something to map over"),
        (lambda: clean.map({1, 2}), r"'clean': map takes .* not a set, which has no order.*sorted"),
        (lambda: clean.map(frozenset()), "not a set, which has no order"),
        (lambda: clean.map("abc"), r"'clean': map takes a list, .*, not 'abc'$"),
        (lambda: clean.map(b"abc"), r"not b'abc'$"),
        (lambda: clean.map(7), r"not 7$"),
        (lambda: clean.map(None), r"not None$"),
        (lambda: clean.map(range(3)), r"not range\(0, 3\): use list\(\.\.\.\)$"),
        (lambda: clean.map(x for x in [1]), r"not <generator .*: use list\(\.\.\.\)$"),
        (lambda: compare.map([1, 2], [1]), "'compare': .* have different lengths: 2 and 1"),
        (lambda: clean.map([object()]), r"'clean': argument \[0\]\[0\]: .*object cannot be stored"),
        (lambda: clean.map([1], part=object()), r"'clean': argument \['part'\]: "),
        (lambda: keyed.map([1]), "keyed' has a parameter 'key', which is one of map itself"),
        (lambda: compare.map([1]), "'compare': missing a required argument: 'right'"),
        (lambda: clean.map([1], [1], [1]), "'clean': too many positional arguments"),
        (lambda: clean.map([1], other=1), "'clean': got an unexpected keyword argument 'other'"),
        (lambda: clean.map([1], ctx=1), "'clean': distflow passes 'ctx' itself"),
        (lambda: ctx_before.map([1]), "ctx_before' takes 'ctx' before its elements"),
        (lambda: charge.map([1]), "'charge': a map of an at_most_once task needs key="),
        (lambda: charge.map({"a": 1}), "a map of an at_most_once task needs key="),
        (lambda: charge.map(clean.map([1])), "a map of an at_most_once task needs key="),
        (lambda: clean.map([1], key=""), r"'clean': key must be the name .* not ''$"),
        (lambda: clean.map([1], key=_NUMBER), r"key must be the name of an item .* not 3$"),
        (lambda: clean.map([1], key=lambda row: row), "key: a lambda has no name to import"),
        (lambda: clean.map([1], key="a b:c"), "key: 'a b:c' is not of the form"),
        (lambda: clean.map([1], key=compare.options()), r"key: compare\(.*does not take 1 pos"),
        (lambda: clean.map([extract()], key="name"), "one of them is the result of a task; map"),
        *[
            (
                lambda wrong=wrong: clean.map([1], max_failures=wrong),
                rf"'clean': max_failures must be a count, .* not {wrong!r}$",
            )
            for wrong in (-1, 1.0, 0.0, 1.5, True, "1", float("nan"))
        ],
    ],
)
def test_a_wrong_map_is_one_line(wrong: Callable[[], Any], message: str) -> None:
    """It names the node, what is wrong, and what to write."""
    with pytest.raises(WorkflowInvalid, match=message) as caught:
        build_with(wrong)
    assert "\n" not in str(caught.value)


def test_a_result_of_another_build_is_refused() -> None:
    """As an argument of any other task."""
    kept: list[Any] = []
    build_with(lambda: kept.append(clean.map([1])))
    with pytest.raises(WorkflowInvalid, match="'clean' is a task of another workflow"):
        build_with(lambda: measure.map(kept[0]))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("x", clean, 5), "'x': what to map over must be a list of sources, not 5"),
        (("x", clean, [[1]], {"ctx": 1}), "'x': distflow passes 'ctx' itself"),
        (("x", clean, [[1]], 3), "'x': fixed must be a mapping of arguments by name"),
        (("", clean, [[1]]), "name must be a text"),
    ],
)
def test_a_wrong_map_of_a_workflow(arguments: Any, message: str) -> None:
    """What a call of ``.map`` cannot get wrong."""
    with pytest.raises(InvalidInput, match=message):
        Workflow("ad hoc").map(*arguments)


@pytest.mark.parametrize(
    ("function", "sources", "fixed", "kind", "message"),
    [
        ("operator:nothing", [[1]], {}, "not_importable", "has no function 'nothing'"),
        ("operator:add", [[1]], {}, "wrong_call", "'x': missing a required argument: 'b'"),
        (f"{HERE}:keyed", [[1]], {}, "wrong_call", "has a parameter 'key'"),
        (f"{HERE}:ctx_before", [[1]], {}, "wrong_call", "takes 'ctx' before its elements"),
        (f"{HERE}:score_all", [[1]], {}, "wrong_call", "is a @plan: give it as the function"),
        (f"{HERE}:clean", [[1]], {"no": 1}, "wrong_call", "unexpected keyword argument 'no'"),
    ],
)
def test_what_a_check_finds(
    function: str, sources: Any, fixed: Any, kind: str, message: str
) -> None:
    """The function of the children is imported and bound as that of any task."""
    dag = Workflow("ad hoc")
    dag.map("x", function, sources, fixed)
    with pytest.raises(WorkflowInvalid, match=message) as caught:
        check_workflow(dag)
    assert [(problem.kind, problem.task) for problem in caught.value.problems] == [(kind, "x")]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"condition": "operator:nothing"}, "'x': condition: .* no function 'nothing'"),
        ({"key": "operator:nothing"}, "'x': key: .* no function 'nothing'"),
        ({"key": "operator:add"}, "'x': key: add.* does not take 1 positional"),
        ({"loop": Loop("operator:nothing", 2)}, "'x': Loop.until: .* no function 'nothing'"),
        (
            {"key": "a", "effects": "at_most_once", "verify": "operator:nothing"},
            "'x': verify: .* no function 'nothing'",
        ),
    ],
)
def test_hooks_of_a_map_are_checked(options: dict[str, Any], message: str) -> None:
    """Those of the node and those of its children."""
    dag = Workflow("ad hoc")
    dag.map("x", clean, [[1]], **options)
    with pytest.raises(WorkflowInvalid, match=message):
        check_workflow(dag)


@pytest.mark.parametrize("name", ["clean[0]", "clean.x", "clean[0].b", "clean["])
def test_names_of_children_are_theirs(name: str) -> None:
    """No other task may have one, before or after the node."""

    def colliding() -> None:
        report.options(name=name)()
        clean.map([1])

    with pytest.raises(WorkflowInvalid, match="children of 'clean', which grows the graph") as told:
        build_with(colliding)
    assert [(p.kind, p.task) for p in told.value.problems] == [("reserved_name", name)]
    build_with(lambda: (clean(1), report.options(name=name)()))

    def more() -> None:
        colliding()
        report().after("nobody")

    with pytest.raises(WorkflowInvalid) as told:
        build_with(more)
    assert [p.kind for p in told.value.problems] == ["missing_dependency", "reserved_name"]
    build_with(lambda: (clean.map([1]), report.options(name="cleaner.x")()))


@task
def many(row: Any, **key: Any) -> Any:
    """Takes anything by name."""
    return row


def test_a_function_that_takes_anything() -> None:
    """Fixed arguments go where its parameters are."""
    assert child_of(build(lambda: many.map([1], other=2))["many"]).kwargs == {"other": 2}
