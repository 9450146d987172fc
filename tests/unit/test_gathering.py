"""Gathering: what a node that has expanded stands for, complete, or an error that says why not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgpack
import pytest

from distflow.core.model import Ref
from distflow.core.status import TaskStatus
from distflow.errors import Damaged, Incomplete
from distflow.wire.gathering import StandIn, gather, gather_result, gather_results
from tests.support.expanded import Recorded

SUCCESS, FAILURE = TaskStatus.SUCCESS, TaskStatus.FAILURE


@pytest.fixture
def run() -> Recorded:
    """One without outcomes."""
    return Recorded()


def test_plain_data_is_what_it_is(run: Recorded) -> None:
    """Of a failure that is tolerated nothing is taken."""
    run.record("a", [1, 2])
    run.record("b", "left", FAILURE)
    assert (run.value("a"), run.value("b")) == ([1, 2], None)


@pytest.mark.parametrize(
    ("keys", "children"),
    [(3, ["n[0]", "n[1]", "n[2]"]), (["DE", 7, "a.b"], ["n[DE]", "n[7]", "n[a%2Eb]"]), (0, [])],
)
def test_a_map_stands_for_the_list_of_its_results(
    run: Recorded, keys: Any, children: list[str]
) -> None:
    """In the order of its elements."""
    run.expand("n", StandIn(keys))
    for number, child in enumerate(children):
        run.record(child, number)
    assert run.value("n") == list(range(len(children)))
    found = gather_results("n", run.outcomes["n"], run)
    assert [result.data for result in found] == list(range(len(children)))
    assert gather_result("n", run.outcomes["n"], run).data == run.value("n")


def test_a_plan_stands_for_what_it_returned(run: Recorded) -> None:
    """With its refs replaced; no other data is fetched."""
    value = {"best": Ref("p.b"), "all": [Ref("p.a"), 1], "also": (Ref("p.b"),)}
    run.expand("p", StandIn(names=["a", "b", "c"], value=value))
    for child in "abc":
        run.record(f"p.{child}", child.upper())
    assert run.value("p") == {"best": "B", "all": ["A", 1], "also": ("B",)}
    assert sorted(run.fetched) == ["p.a", "p.b"]
    results = gather_results("p", run.outcomes["p"], run)
    assert [result.data for result in results] == ["A", "B", "C"]


def test_nodes_nest(run: Recorded) -> None:
    """A mapped plan that maps, and a plan that nobody asks for the value of."""
    run.expand("m", StandIn(2, grows=True))
    for number in range(2):
        node = f"m[{number}]"
        run.expand(node, StandIn(names=["s", "x"], value=Ref(f"{node}.s"), grows=["s", "x"]))
        run.expand(f"{node}.s", StandIn(["a", "b"]))
        run.expand(f"{node}.x", StandIn(1))
        run.record(f"{node}.s[a]", number)
        run.record(f"{node}.s[b]", -number)
        run.record(f"{node}.x[0]")
    assert run.value("m") == [[0, 0], [1, -1]]
    del run.outcomes["m[1].x[0]"]
    with pytest.raises(Incomplete, match=r"'m\[1\].x' are incomplete: 'm\[1\].x\[0\]' has no"):
        run.value("m")


@pytest.mark.parametrize("status", [FAILURE, TaskStatus.SKIPPED, TaskStatus.UNKNOWN, None])
@pytest.mark.parametrize("how", ["map", "plan", "unused"])
def test_what_is_incomplete_is_an_error(run: Recorded, status: TaskStatus | None, how: str) -> None:
    """It names the node and the child."""
    child = "n[1]" if how == "map" else "n.b"
    if how == "map":
        run.expand("n", StandIn(2))
        run.record("n[0]")
    else:
        value = None if how == "unused" else [Ref("n.b")]
        run.expand("n", StandIn(names=["a", "b"], value=value))
        run.record("n.a")
    if status:
        run.record(child, status=status)
    for ask in (gather, gather_result, gather_results):
        with pytest.raises(Incomplete) as raised:
            ask("n", run.outcomes["n"], run)
        what = f"is {status}" if status else "has no outcome"
        assert str(raised.value) == f"the results of 'n' are incomplete: {child!r} {what}"


@pytest.mark.parametrize(
    ("stand_in", "children"),
    [
        (StandIn(3, tolerates=True), ["n[0]", "n[1]", "n[2]"]),
        (StandIn(3, tolerates=2), ["n[0]", "n[1]", "n[2]"]),
        (StandIn(names=["a", "b", "c"], tolerates=["a", "c"]), ["n.a", "n.b", "n.c"]),
    ],
)
def test_tolerated_failures_count_as_none(
    run: Recorded, stand_in: StandIn, children: list[str]
) -> None:
    """As many as are tolerated; ``ctx.results_of`` has what they were."""
    if stand_in.names:
        stand_in = stand_in._replace(value=[Ref(child) for child in children])
    run.expand("n", stand_in)
    for child, status in zip(children, [FAILURE, SUCCESS, FAILURE], strict=True):
        run.record(child, 1, status)
    assert run.value("n") == [None, 1, None]
    assert [each.status for each in gather_results("n", run.outcomes["n"], run)] == [
        *(FAILURE, SUCCESS, FAILURE)
    ]
    run.record(children[1], 1, FAILURE if stand_in.tolerates is not True else TaskStatus.SKIPPED)
    with pytest.raises(Incomplete):
        run.value("n")


def test_what_redis_has_lost_is_named(run: Recorded) -> None:
    """The record, another one in its place, or one of another size."""
    run.expand("n", StandIn(1))
    run.record("n[0]")
    record, packed = run.expansions.pop("n")
    with pytest.raises(Incomplete, match="the expansion of 'n' is not in Redis any more"):
        run.value("n")
    run.expansions["n"] = record._replace(token="other"), packed
    with pytest.raises(Incomplete, match="not in Redis"):
        run.value("n")
    run.expansions["n"] = record, StandIn(2).encode()
    with pytest.raises(Incomplete, match="has 1 children, and the expansion in Redis has 2"):
        run.value("n")
    run.expansions["n"] = record, msgpack.packb({"strange": 1})
    with pytest.raises(Damaged, match="not what a node stands for"):
        run.value("n")


def test_what_has_not_expanded_has_no_children(run: Recorded) -> None:
    """A task, or a node that was given its data."""
    run.record("a", [1])
    with pytest.raises(KeyError, match="'a' has no children"):
        gather_results("a", run.outcomes["a"], run)


def test_many_results_come_in_few_calls(run: Recorded, monkeypatch: pytest.MonkeyPatch) -> None:
    """As long as they are small."""
    count, calls = 10_000, []
    plain = run.fetch_results

    def fetch(names: Sequence[str]) -> list[bytes | None]:
        calls.append(len(names))
        return plain(names)

    monkeypatch.setattr(run, "fetch_results", fetch)
    run.expand("n", StandIn(count))
    for number in range(count):
        run.record(f"n[{number}]", number)
    assert run.value("n") == list(range(count))
    assert calls == [64, 256, 1024, 4096, 4096, 464]
    run.record("n[0]", "x" * 100_000)
    run.outcomes.update({f"n[{number}]": run.outcomes["n[0]"] for number in range(200)})
    calls.clear()
    assert len(run.value("n")) == count
    assert calls[:3] == [64, 83, 83]
