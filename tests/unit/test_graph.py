"""The compiled graph, its drawings and the fingerprints of its tasks."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distflow.core.graph import Graph
from distflow.core.model import Ref, Retry, Task
from distflow.core.render import to_dot, to_mermaid
from distflow.core.status import TaskStatus
from distflow.errors import WorkflowInvalid
from distflow.wire import codec
from distflow.wire.fingerprint import fingerprint

AWKWARD = [
    'say "hi"',
    "a\nb",
    "x[1](2){3}",
    "<b>&amp;</b>",
    "1. item",
    "é 漢字 🎉",
    "`md` #1;",
    "\\N",
]


def tasks_of(**dependencies: list[str]) -> list[Task]:
    """Tasks by name of what each depends on."""
    return [Task(name, "m:f", depends_on=tuple(d)) for name, d in dependencies.items()]


def test_adjacency_holds_each_dependency_once() -> None:
    """Indices are positions; a dependency that is named twice counts once."""
    graph = Graph.compile(tasks_of(d=["b", "c", "b"], b=["a"], c=["a"], a=[]))
    assert len(graph) == 4
    assert graph.index == {"d": 0, "b": 1, "c": 2, "a": 3}
    assert graph.parents == [(1, 2), (3,), (3,), ()]
    assert graph.children == [(), (0,), (0,), (1, 2)]
    assert list(graph.order) == [3, 1, 2, 0]


def test_no_tasks_are_a_graph_too() -> None:
    """A workflow whose discovery found nothing to do is valid."""
    assert len(Graph.compile([])) == 0


@given(st.integers(0, 30), st.randoms(use_true_random=False))
def test_the_order_has_dependencies_first(size: int, rng: random.Random) -> None:
    """Any random DAG, declared in any order, is put in dependency order."""
    tasks = [
        Task(f"t{i}", "m:f", depends_on=tuple(f"t{j}" for j in range(i) if rng.random() < 0.2))
        for i in range(size)
    ]
    rng.shuffle(tasks)
    graph = Graph.compile(tasks)
    position = {task: at for at, task in enumerate(graph.order)}
    assert sorted(graph.order) == list(range(size))
    read = {task: at for at, task in enumerate(graph.reading_order())}
    assert len(read) == size
    for child, parents in enumerate(graph.parents):
        assert all(position[parent] < position[child] for parent in parents)
        assert all(read[parent] < read[child] for parent in parents)
        assert all(child in graph.children[parent] for parent in parents)


def test_results_are_read_as_the_tasks_were_added() -> None:
    """But a dependency that was added later comes first."""
    forward = Graph.compile(tasks_of(a=[], b=["a"], c=[], d=["b"]))
    assert list(forward.reading_order()) == [0, 1, 2, 3]
    mixed = Graph.compile(tasks_of(a=["c"], b=[], c=[], d=["a"]))
    assert [mixed.tasks[index].name for index in mixed.reading_order()] == ["b", "c", "a", "d"]


def test_a_name_that_stands_twice_is_named() -> None:
    """Two tasks of one name are refused by that name."""
    with pytest.raises(WorkflowInvalid, match="two tasks are named 'a'"):
        Graph.compile([Task("a", "m:f"), Task("b", "m:f"), Task("a", "m:f")])
    with pytest.raises(WorkflowInvalid, match="3 tasks are named 'a'") as refused:
        Graph.compile([Task("b", "m:f"), *[Task("a", "m:f")] * 3])
    problems = [(problem.kind, problem.task) for problem in refused.value.problems]
    assert problems == [("duplicate_name", "a")]
    with pytest.raises(WorkflowInvalid, match=r"two tasks are named 'a'.* depends on 'x'"):
        Graph.compile([Task("a", "m:f"), Task("a", "m:f"), Task("b", "m:f", depends_on=("x",))])


def test_everything_that_is_wrong_is_told_at_once() -> None:
    """By kind and task: each missing dependency, and a cycle of each group that has one."""
    wrong = tasks_of(a=["x", "y"], b=["z", "c"], c=["b"], d=["e"], e=["f"], f=["d"], g=["c"])
    with pytest.raises(WorkflowInvalid) as refused:
        Graph.compile(wrong)
    assert [(problem.kind, problem.task) for problem in refused.value.problems] == [
        ("missing_dependency", "a"),
        ("missing_dependency", "a"),
        ("missing_dependency", "b"),
        ("cycle", "b"),
        ("cycle", "d"),
    ]
    said = str(refused.value)
    assert said.startswith(
        "5 problems: task 'a' depends on 'x', which the workflow does not have; "
    )
    assert "b -> c -> b" in said
    many = [Task(f"t{n}", "m:f", depends_on=("x",)) for n in range(30)]
    with pytest.raises(WorkflowInvalid, match=r"30 problems: .*; and 20 more$") as refused:
        Graph.compile(many)
    assert len(refused.value.problems) == 30


def test_a_missing_dependency_is_named() -> None:
    """The message names the task and what it depends on."""
    with pytest.raises(
        WorkflowInvalid, match="task 'b' depends on 'x', which the workflow does not have"
    ):
        Graph.compile(tasks_of(a=[], b=["a", "x"]))


@pytest.mark.parametrize(
    ("dependencies", "path"),
    [
        ({"a": ["c"], "b": ["a"], "c": ["b"], "d": ["c"], "e": []}, "a -> b -> c -> a;"),
        ({"z": ["a"], "a": ["a"]}, "cycle: a -> a;"),
        ({"tail": ["y"], "x": ["y"], "y": ["x"], "root": []}, "cycle: x -> y -> x;"),
    ],
)
def test_a_cycle_is_shown_with_its_path(dependencies: Any, path: str) -> None:
    """Only the tasks of the cycle are named, each before its dependent."""
    with pytest.raises(WorkflowInvalid) as refused:
        Graph.compile(tasks_of(**dependencies))
    assert path in str(refused.value)


def test_a_long_cycle_stays_one_readable_line() -> None:
    """A cycle of a thousand tasks is cut in the middle of its path."""
    tasks = [Task(f"t{i}", "m:f", depends_on=(f"t{(i - 1) % 1000}",)) for i in range(1000)]
    with pytest.raises(
        WorkflowInvalid, match=r"t0 -> t1 .*\(989 more\).* -> t999 -> t0;"
    ) as refused:
        Graph.compile(tasks)
    assert str(refused.value).count(" -> ") == 12


def ring(size: int, prefix: str = "t") -> list[Task]:
    """Tasks of which each depends on the one before, and the first on the last."""
    names = [f"{prefix}{i}" for i in range(size)]
    return [Task(name, "m:f", depends_on=(names[i - 1],)) for i, name in enumerate(names)]


def test_a_cycle_of_eleven_tasks_is_shown_whole() -> None:
    """A path has room for twelve names; of thirteen one is left out."""
    with pytest.raises(WorkflowInvalid) as refused:
        Graph.compile(ring(11))
    assert "cycle: " + " -> ".join(f"t{i % 11}" for i in range(12)) in str(refused.value)
    with pytest.raises(WorkflowInvalid, match=r"t5 -> \(1 more\) -> t7"):
        Graph.compile(ring(12))


def test_a_name_that_breaks_lines_is_quoted_in_a_path() -> None:
    """A message stays one line."""
    tasks = [Task("a\nb", "m:f", depends_on=("c",)), Task("c", "m:f", depends_on=("a\nb",))]
    with pytest.raises(WorkflowInvalid, match=r"cycle: 'a\\nb' -> c -> 'a\\nb'"):
        Graph.compile(tasks)


def test_ten_cycles_are_told_at_most() -> None:
    """Who made more finds them when these are broken."""
    for count, told in ((9, 9), (12, 10)):
        tasks = [task for number in range(count) for task in ring(2, f"ring{number}-")]
        with pytest.raises(WorkflowInvalid) as refused:
            Graph.compile(tasks)
        assert [problem.kind for problem in refused.value.problems] == ["cycle"] * told


def test_a_graph_is_shown_by_its_size() -> None:
    """Not by its tasks, of which there may be a million."""
    assert repr(Graph.compile([])) == "<Graph of 0 tasks>"
    assert repr(Graph.compile([Task("a", "m:f")])) == "<Graph of 1 task>"


@pytest.mark.parametrize("chain", [True, False], ids=["chain", "random"])
def test_100_000_tasks_compile_in_under_2_seconds(chain: Any) -> None:
    """Compiling is linear and does not recurse, a chain of 100,000 tasks included."""
    rng = random.Random(7)
    tasks = [
        Task(f"t{i}", "m:f", depends_on=(f"t{i - 1 if chain else rng.randrange(i)}",) if i else ())
        for i in range(100_000)
    ]
    rng.shuffle(tasks)
    before = time.process_time()
    graph = Graph.compile(tasks)
    assert time.process_time() - before < 2.0
    assert len(graph.order) == 100_000


def test_mermaid_draws_edges_and_colours_by_status() -> None:
    """The chart has a node per task, an edge per dependency, and a class per status seen."""
    graph = Graph.compile(tasks_of(a=[], b=["a"], c=["a"]))
    text = to_mermaid(graph, {"a": TaskStatus.SUCCESS, "b": TaskStatus.FAILURE})
    assert text.splitlines() == [
        "flowchart TD",
        '    n0["a<br/>success"]',
        '    n1["b<br/>failure"]',
        '    n2["c"]',
        "    n0 --> n1",
        "    n0 --> n2",
        "    classDef success fill:#bbf7d0,color:#000",
        "    class n0 success",
        "    classDef failure fill:#fca5a5,color:#000",
        "    class n1 failure",
    ]


def test_dot_draws_edges_and_colours_by_status() -> None:
    """The digraph has a node per task, an edge per dependency, filled where a status is known."""
    graph = Graph.compile(tasks_of(a=[], b=["a"]))
    assert to_dot(graph, {"a": TaskStatus.SUCCESS}).splitlines() == [
        "digraph workflow {",
        "    node [shape=box];",
        '    n0 [label="a\\nsuccess", style=filled, fillcolor="#bbf7d0"];',
        '    n1 [label="b"];',
        "    n0 -> n1;",
        "}",
    ]


@pytest.mark.parametrize("name", AWKWARD)
def test_no_name_breaks_out_of_its_mermaid_label(name: str) -> None:
    """Whatever a name holds, its node stays one quoted line free of markup."""
    line = to_mermaid(Graph.compile([Task(name, "m:f")])).splitlines()[1]
    label = line.removeprefix('    n0["').removesuffix('"]')
    assert f'    n0["{label}"]' == line
    assert not set(label) & set('"<>[](){}`&\\')


@pytest.mark.parametrize(
    ("name", "label"),
    [("1. item", "1#46; item"), ("- item", "#45; item"), ("__x__", "#95;_x__"), ("a.b_2", "a.b_2")],
)
def test_mermaid_takes_no_name_for_markdown(name: str, label: str) -> None:
    """Mermaid reads lists and emphasis in labels: what would start them is escaped."""
    assert f'n0["{label}"]' in to_mermaid(Graph.compile([Task(name, "m:f")]))


@pytest.mark.parametrize("name", AWKWARD)
def test_no_name_breaks_out_of_its_dot_label(name: str) -> None:
    """Whatever a name holds, its label is one string with quotes and backslashes escaped."""
    line = to_dot(Graph.compile([Task(name, "m:f")])).splitlines()[2]
    label = line.removeprefix('    n0 [label="').removesuffix('"];')
    assert f'    n0 [label="{label}"];' == line
    assert '"' not in label.replace("\\\\", "").replace('\\"', "")
    visible = "a\\nb" if name == "a\nb" else name
    assert label.replace("&amp;", "&").replace('\\"', '"').replace("\\\\", "\\") == visible


BASE = Task("t", "m:f", (1, Ref("a")), {"day": "mon", "n": {"x": 1, "y": 2}}, ("a", "b"))


@pytest.mark.parametrize(
    "changed",
    [
        BASE._replace(function="m:g"),
        BASE._replace(args=(2, Ref("a"))),
        BASE._replace(args=(1, Ref("b"))),
        BASE._replace(args=(1, "a")),
        BASE._replace(args=([1, Ref("a")],)),
        BASE._replace(args=(True, Ref("a"))),
        BASE._replace(kwargs={"day": "tue", "n": {"x": 1, "y": 2}}),
        BASE._replace(kwargs={"day": "mon", "n": [["x", 1], ["y", 2]]}),
        BASE._replace(depends_on=("a",)),
    ],
)
def test_a_fingerprint_sees_function_arguments_and_dependencies(changed: Any) -> None:
    """A task that would do something else has another fingerprint."""
    assert fingerprint(changed) != fingerprint(BASE)


def test_a_fingerprint_overlooks_what_does_not_matter() -> None:
    """Order of keys, dependencies and set elements, name and policy make no difference."""
    same = Task(
        "u",
        "m:f",
        (1, Ref("a")),
        {"n": {"y": 2, "x": 1}, "day": "mon"},
        ("b", "a", "b"),
        retry=Retry(3),
        timeout=5.0,
    )
    assert fingerprint(same) == fingerprint(BASE)
    numbers = [0, 8, 16, 1]  # 0, 8 and 16 collide in a small set: its order is that of insertion
    backwards = numbers[::-1]
    one, other = set(numbers), set(backwards)
    assert list(one) != list(other)
    assert fingerprint(Task("t", "m:f", (one,))) == fingerprint(Task("t", "m:f", (other,)))


def test_a_fingerprint_outlives_the_wire() -> None:
    """A task read back from Redis has the fingerprint that it had at submit."""
    task = BASE._replace(args=((1, 2), {"s"}, datetime(2026, 1, 1, tzinfo=UTC), b"\0", 1.5))
    wire = codec.unpack(codec.pack(codec.encode_task(task)))
    assert fingerprint(codec.decode_task(wire)) == fingerprint(task)


def test_a_fingerprint_is_the_same_in_every_process() -> None:
    """Hash seeds differ between processes; fingerprints of sets do not."""
    script = (
        "from distflow.core.model import Task\n"
        "from distflow.wire.fingerprint import fingerprint\n"
        "print(fingerprint(Task('t', 'm:f', ({'a', 'b', 'c', 'd'}, frozenset('xyz')))))"
    )
    seen = {
        subprocess.run(
            [sys.executable, "-c", script],
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(sys.path)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        for seed in ("1", "2", "3")
    }
    assert len(seen) == 1
    assert len(seen.pop()) == 16
