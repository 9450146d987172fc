"""A map node: what it makes of its sources, and what it refuses, in one line."""

from __future__ import annotations

import re
import time
from datetime import date
from typing import Any

import pytest

from distflow.core.expansion import CHUNK_TASKS, MAX_TASK_BYTES, MOST_NESTED
from distflow.core.model import MAP_FUNCTION, Grow, Ref, Retry, Task
from distflow.core.status import TaskStatus
from distflow.errors import Incomplete, InvalidInput
from distflow.wire.chunks import CHUNK_BYTES, pack_chunks
from distflow.wire.codec import encode_task, pack, unpack
from distflow.wire.extensions import register_type
from distflow.wire.gathering import StandIn
from distflow.wire.tasks import decode_tasks
from distflow_worker.made import Made
from distflow_worker.map_node import make_children
from distflow_worker.sources import read_sources
from distflow_worker.user_functions import Misfit
from tests.support.expanded import Recorded

CHILD = Task("", "m:f", retry=Retry(2), timeout=3.0, queue="q")
MOST = 1 << 24
MAPPED = "tests.support.tasks.mapped"


class Token:
    """A type of users."""

    def __init__(self, code: str) -> None:
        self.code = code


@pytest.fixture
def run() -> Recorded:
    """One without outcomes."""
    return Recorded()


def node(*sources: Any, child: Task = CHILD, name: str = "n", **grow: Any) -> Task:
    """A map node, as it travels."""
    above = [source.task for source in sources if type(source) is Ref]
    above += [ref.task for ref in child.kwargs.values() if type(ref) is Ref]
    grown = Grow("map", child, **grow)
    made = Task(name, MAP_FUNCTION, sources, depends_on=tuple(above), grow=grown)
    (read,) = decode_tasks(pack([encode_task(made)]))
    return read


def expand(run: Recorded, task: Task, most: int = MOST) -> Made:
    """What a node makes."""
    return make_children(task, read_sources(task, run.outcomes, run, most))


def children(made: Made) -> list[Task]:
    """The tasks of its chunks."""
    return [task for chunk in made.chunks for task in decode_tasks(chunk)]


def refusal(run: Recorded, task: Task, most: int = MOST) -> str:
    """Why a node cannot expand: one line."""
    with pytest.raises(InvalidInput) as raised:
        expand(run, task, most)
    (line,) = str(raised.value).splitlines()
    return line


def test_each_element_gets_a_task(run: Recorded) -> None:
    """With all of the options, the fixed arguments, and the element by value."""
    run.record("a", ["x", (1, date(2026, 1, 2)), {"k": b""}])
    run.record("b")
    child = CHILD._replace(kwargs={"fixed": 1, "other": Ref("b")})
    made = expand(run, node(Ref("a"), child=child))
    assert children(made) == [
        child._replace(name=f"n[{number}]", args=(element,), depends_on=("b",))
        for number, element in enumerate(["x", (1, date(2026, 1, 2)), {"k": b""}])
    ]
    assert made[2:] == (3, ("q",))
    assert StandIn.decode(made.stand_in) == StandIn(3)


def test_no_elements_make_no_tasks(run: Recorded) -> None:
    """There is one chunk nevertheless."""
    run.record("a", [])
    made = expand(run, node(Ref("a")))
    assert (made.chunks, made.children, made.queues) == ((b"\x90",), 0, ())
    assert StandIn.decode(made.stand_in).total == 0


def test_sources_are_zipped(run: Recorded) -> None:
    """Lists, tuples, dicts, results; a literal may have references."""
    run.record("a", (1, 2))
    made = expand(run, node(Ref("a"), [Ref("x"), [Ref("y"), 0]], {"k": 3, 7: 4}))
    assert [(each.name, each.args, each.depends_on) for each in children(made)] == [
        ("n[k]", (1, Ref("x"), ("k", 3)), ("x",)),
        ("n[7]", (2, [Ref("y"), 0], (7, 4)), ("y",)),
    ]
    assert StandIn.decode(made.stand_in).keys == ["k", 7]


def test_a_dict_with_other_keys_is_named_by_position(run: Recorded) -> None:
    """Bytes and booleans are no names."""
    made = expand(run, node({b"k": 1, True: 2}))
    assert [each.name for each in children(made)] == ["n[0]", "n[1]"]


@pytest.mark.parametrize("keys", [3, ["DE", 7, "a.b"]])
def test_a_mapped_task_is_followed_element_by_element(run: Recorded, keys: Any) -> None:
    """Its children's data are not read, and need not be there; the keys are the same."""
    run.expand("a", StandIn(keys))
    run.record("b", {"x": 1, "y": 2, "z": 3})
    made = expand(run, node(Ref("b"), Ref("a"), shapes=("a",)))
    named = ["0", "1", "2"] if keys == 3 else ["DE", "7", "a%2Eb"]
    assert [(each.name, each.args[1], each.depends_on) for each in children(made)] == [
        (f"n[{key}]", Ref(f"a[{key}]"), (f"a[{key}]",)) for key in named
    ]
    assert StandIn.decode(made.stand_in).keys == keys
    assert run.fetched == []


def test_what_was_followed_may_be_plain_data(run: Recorded) -> None:
    """Somebody decided what the mapped task returned."""
    run.record("a", ["x"])
    (child,) = children(expand(run, node(Ref("a"), shapes=("a",))))
    assert (child.args, child.depends_on) == (("x",), ())


def test_a_mapped_task_that_is_not_followed_is_gathered(run: Recorded) -> None:
    """As with a key: its results have to be known."""
    run.expand("a", StandIn(2))
    run.record("a[0]", {"id": "x"})
    with pytest.raises(Incomplete, match=r"'a\[1\]' has no outcome"):
        expand(run, node(Ref("a"), key="id"))
    run.record("a[1]", {"id": "y"})
    made = expand(run, node(Ref("a"), key="id"))
    assert [(each.name, each.args) for each in children(made)] == [
        ("n[x]", ({"id": "x"},)),
        ("n[y]", ({"id": "y"},)),
    ]


@pytest.mark.parametrize(
    ("key", "elements", "names"),
    [
        ("id", [{"id": "a"}, {"id": 2}], ["n[a]", "n[2]"]),
        ("year", [date(2025, 1, 1), date(2026, 1, 1)], ["n[2025]", "n[2026]"]),
        (f"{MAPPED}:first", ["DE", "FR"], ["n[D]", "n[F]"]),
        (f"{MAPPED}:first", [(1, 2), (3, 4)], ["n[1]", "n[3]"]),
    ],
)
def test_a_key_names_the_tasks(
    run: Recorded, key: str, elements: list[Any], names: list[str]
) -> None:
    """An item, an attribute, or what a function returns."""
    run.record("a", elements)
    made = expand(run, node(Ref("a"), key=key))
    assert [each.name for each in children(made)] == names
    assert [each.args for each in children(made)] == [(element,) for element in elements]


def test_values_of_users_types_are_passed_on(run: Recorded) -> None:
    """Whether they are registered in this process or not; a key function gets them as they are."""
    register_type(44, Token, lambda token: token.code, Token)
    run.record("a", [Token("x"), Token("y")])
    plain, keyed = node(Ref("a")), node(Ref("a"), key=f"{MAPPED}:of_type")
    assert [unpack(pack(each.args[0])).code for each in children(expand(run, plain))] == ["x", "y"]
    assert [each.name for each in children(expand(run, keyed))] == ["n[x]", "n[y]"]
    line = refusal(run, node(Ref("a"), key="code"))
    assert line.startswith("map 'n': element 0 is of a registered type, which only your code can")


def test_a_type_that_a_key_function_needs_may_be_missing_here(run: Recorded) -> None:
    """Another worker may have it."""
    run.outcomes["a"] = b"\x82\xa6status\xa7success\xa4data\x91\xc7\x01\x63\xa0"
    assert [each.name for each in children(expand(run, node(Ref("a"))))] == ["n[0]"]
    with pytest.raises(Misfit, match="the elements of n"):
        expand(run, node(Ref("a"), key=f"{MAPPED}:first"))


@pytest.mark.parametrize(
    ("child", "grow", "tolerates"),
    [
        (CHILD, {}, False),
        (CHILD._replace(continue_on_error=True), {"max_failures": 1}, True),
        (CHILD, {"max_failures": 2}, 2),
        (CHILD, {"max_failures": 0.3}, 1),
        (CHILD, {"max_failures": 0.1}, 0),
    ],
)
def test_the_stand_in_says_which_failures_are_tolerated(
    run: Recorded, child: Task, grow: dict[str, Any], tolerates: Any
) -> None:
    """A share is worked out, and rounded down."""
    made = expand(run, node(list("abcde"), child=child, **grow))
    assert StandIn.decode(made.stand_in).tolerates is tolerates or tolerates > 0


def test_a_mapped_plan_makes_plans(run: Recorded) -> None:
    """The stand-in says that they grow."""
    made = expand(run, node([1], child=CHILD._replace(grow=Grow("plan"))))
    assert [each.grow for each in children(made)] == [Grow("plan")]
    assert StandIn.decode(made.stand_in).grows is True


# What is refused


@pytest.mark.parametrize("value", ["text", {1}, 7, None, b"x"])
def test_what_is_no_list_is_refused(run: Recorded, value: Any) -> None:
    """A text has letters, and a set has no order: neither is meant."""
    run.record("a", value)
    what = "None" if value is None else f"of type {type(value).__name__}"
    assert refusal(run, node(Ref("a"))) == (
        f"map 'n': the result of 'a' is {what}, and only a list, a tuple or a dict can be mapped; "
        "return one of them"
    )


def test_a_tolerated_failure_cannot_be_mapped(run: Recorded) -> None:
    """It stands for None, followed or not."""
    run.record("a", [1], TaskStatus.FAILURE)
    for shapes in ((), ("a",)):
        assert "the result of 'a' is None" in refusal(run, node(Ref("a"), shapes=shapes))


def test_sources_of_different_lengths_are_refused(run: Recorded) -> None:
    """Each is named with its number of elements."""
    run.record("a", [1, 2])
    run.expand("b", StandIn(3))
    assert refusal(run, node(Ref("a"), Ref("b"), [1], shapes=("b",))) == (
        "map 'n': its sources have different numbers of elements: the result of 'a' has 2, 'b' has "
        "3, source 3 has 1; map lists of equal length"
    )


@pytest.mark.parametrize(
    ("elements", "key", "what"),
    [
        ([{"id": 1}, {"id": "1"}], "id", "1, '1', is that of element 0, too: keys must differ"),
        ({1: 0, "1": 0}, None, "1, '1', is that of element 0, too: keys must differ as text"),
        ([{"id": ""}], "id", "0, '', is 0 characters long: keys have 1 to 200"),
        ([{"id": "x" * 201}], "id", "is 201 characters long: keys have 1 to 200"),
        ([{"id": 1.5}], "id", "0, 1.5, is of type float: keys are texts or numbers"),
        ([{"id": True}], "id", "of type bool"),
    ],
)
def test_keys_that_cannot_name_a_task_are_refused(
    run: Recorded, elements: Any, key: str | None, what: str
) -> None:
    """The element is named by its position."""
    run.record("a", elements)
    line = refusal(run, node(Ref("a"), key=key))
    assert line.startswith("map 'n': the key of element ")
    assert what in line
    assert line.endswith("; give another key=")


@pytest.mark.parametrize(
    ("element", "key", "what"),
    [
        ({"id": 1}, "name", "element 0 is of type dict, and has no 'name'"),
        ([1], "name", "element 0 is of type list, and has no 'name'"),
        (
            1,
            f"{MAPPED}:refuse",
            "its key 'tests.support.tasks.mapped:refuse' raised ValueError: no",
        ),
    ],
)
def test_elements_without_a_key_are_refused(
    run: Recorded, element: Any, key: str, what: str
) -> None:
    """Whatever is to give it."""
    run.record("a", [element])
    assert what in refusal(run, node(Ref("a"), key=key))


def test_too_many_bytes_are_refused(run: Recorded) -> None:
    """Those of the elements of each source together."""
    run.expand("a", StandIn(2))
    run.record("a[0]", "x" * 600)
    run.record("a[1]", "x" * 600)
    assert refusal(run, node([1, 2], Ref("a")), most=1000) == (
        "map 'n': the elements of the result of 'a' have 1,207 bytes encoded, more than "
        "max_result_bytes (1,000); store them elsewhere and map their locations"
    )
    assert len(children(expand(run, node(Ref("a")), most=1207))) == 2


def test_what_nests_too_deep_to_travel_is_refused(run: Recorded) -> None:
    """A pair of a dict is one level more than the dict itself."""
    deep: Any = 1
    for _ in range(24):
        deep = (deep,)
    run.record("a", [deep])
    run.record("b", {"k": deep})
    assert len(children(expand(run, node(Ref("a"))))) == 1
    line = refusal(run, node(Ref("b")))
    assert line.startswith("map 'n': an element of the result of 'b' cannot be encoded: nested")


def test_a_reference_in_data_is_refused(run: Recorded) -> None:
    """It stands for nothing there."""
    run.record("a", [{"x": [Ref("secret")]}])
    assert "has a reference to a task among its elements" in refusal(run, node(Ref("a")))


def test_nodes_nest_only_so_deep(run: Recorded) -> None:
    """Beyond that, something calls itself."""
    name = "n" + "[0]" * (MOST_NESTED - 1)
    assert expand(run, node([1], name=name)).children == 1
    line = refusal(run, node([1], name=f"{name}[0]"))
    assert re.search(r"nests deeper than 100 levels; end the recursion earlier", line)


# Sizes


def test_chunks_are_cut_by_number_and_size() -> None:
    """None has more tasks than a chunk of a graph; a large task has one of its own."""
    small = encode_task(Task("a", "m:f"))
    counts = [len(decode_tasks(chunk)) for chunk in pack_chunks([small] * (CHUNK_TASKS + 1))]
    assert counts == [CHUNK_TASKS, 1]
    assert len(list(pack_chunks([small] * CHUNK_TASKS))) == 1
    third = encode_task(Task("a", "m:f", args=("x" * (CHUNK_BYTES // 3),)))
    assert [len(decode_tasks(chunk)) for chunk in pack_chunks([third] * 5)] == [2, 2, 1]
    huge = encode_task(Task("a", "m:f", args=("x" * (CHUNK_BYTES + 1),)))
    assert [len(decode_tasks(chunk)) for chunk in pack_chunks([huge, small])] == [1, 1]


def test_a_child_is_no_larger_than_any_task() -> None:
    """It travels whole to its worker."""
    most = encode_task(Task("a", "m:f", args=("x" * (MAX_TASK_BYTES - 40),)))
    assert len(list(pack_chunks([most]))) == 1
    more = encode_task(Task("a", "m:f", args=("x" * MAX_TASK_BYTES,)))
    with pytest.raises(InvalidInput, match=r"^task 'a' has 16,7.* bytes encoded, more than 16,7"):
        list(pack_chunks([more]))


def test_a_hundred_thousand_elements_take_no_time(run: Recorded) -> None:
    """Within seconds, whatever they are: here a second of the processor is plenty."""
    run.record("a", [{"name": f"file-{number}", "size": number} for number in range(100_000)])
    began = time.process_time()
    made = expand(run, node(Ref("a")))
    assert time.process_time() - began < 3
    assert (made.children, len(made.chunks)) == (100_000, 25)
