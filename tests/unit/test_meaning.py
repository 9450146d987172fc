"""The reference of growing workflows says what a person reads off the rules."""

from __future__ import annotations

import random

import pytest

from tests.support.behaviour import give
from tests.support.drawn import draw_program
from tests.support.meaning import Known, Refused, read
from tests.support.programs import (
    Block,
    Call,
    Each,
    Given,
    Gives,
    Map,
    Of,
    Options,
    Plan,
    Program,
    Statement,
    Sub,
    from_plain,
    to_plain,
)

THREE = Call("files", gives=Gives("list", 3))
CLEAN = Map("clean", (Of("files"),))
MEASURE = Map("measure", (Of("clean"),))
JOIN = Call("join", (Of("measure"),))


def reading(*statements: Statement, **script: str) -> dict[str, str]:
    """The statuses of a program; in the names of the script, brackets are written as ``_``."""
    steps = {
        name.replace("_", "[") + "]" if "_" in name else name: (step,)
        for name, step in script.items()
    }
    told = read(Program(Block(statements), steps)).tasks
    return {name: meaning.status for name, meaning in told.items()}


def test_elements_go_their_way() -> None:
    """The second stage needs its own element alone, the join all of them."""
    found = reading(THREE, CLEAN, MEASURE, JOIN, clean_1="raise")
    assert found == {
        "files": "success",
        "clean": "success",
        "clean[0]": "success",
        "clean[1]": "failure",
        "clean[2]": "success",
        "measure": "success",
        "measure[0]": "success",
        "measure[1]": "skipped",
        "measure[2]": "success",
        "join": "skipped",
    }


@pytest.mark.parametrize(("most", "verdict"), [(1, "success"), (0.34, "success"), (0.3, "failure")])
def test_some_failures_are_allowed(most: float, verdict: str) -> None:
    """As a count, or as a share: what depends on them takes None."""
    clean = CLEAN._replace(max_failures=most)
    found = read(Program(Block((THREE, clean), Of("clean")), {"clean[1]": ("raise",)}))
    assert found.verdict == verdict
    assert found.tasks["clean[1]"].tolerated is (verdict == "success")
    assert (
        found.value == [found.tasks["clean[0]"].value, None, found.tasks["clean[2]"].value]
    ) is (verdict == "success")


def test_what_a_plan_builds_comes_behind_it() -> None:
    """With real values, also within another plan; what it returns has the data of its tasks."""
    inner = Block(
        (Each("part", Given(0)), Sub("sub", Block((Call("x"),), Of("x")))), [Of("part"), Of("sub")]
    )
    outer = Block((Plan("deep", inner, (Given(0),)),), {"got": Of("deep")})
    found = read(Program(Block((THREE, Plan("train", outer, (Of("files"),))), Of("train")), {}))
    parts = [f"train.deep.part{number}" for number in range(3)]
    assert [*found.tasks] == ["files", "train", "train.deep", *parts, "train.deep.sub.x"]
    values = [
        give(Gives(), name, (f"{element}", None))
        for name, element in zip(parts, found.tasks["files"].value, strict=True)
    ]
    assert found.value["got"][0] == values
    assert found.verdict == "success"


def test_nothing_joins_to_nothing() -> None:
    """Without elements the join is there at once, with an empty list."""
    none = THREE._replace(gives=Gives("list", 0))
    found = read(Program(Block((none, CLEAN, MEASURE, JOIN), Of("measure")), {}))
    assert (found.value, found.verdict, len(found.tasks)) == ([], "success", 4)


def test_what_cannot_be_mapped_fails() -> None:
    """At run time its node, in a plan the plan, and at once where nothing has to run."""
    number = Call("files", gives=Gives("number"))
    assert reading(number, CLEAN)["clean"] == "failure"
    assert (
        reading(number, Plan("p", Block((Map("m", (Given(0),)),)), (Of("files"),)))["p"]
        == "failure"
    )
    with pytest.raises(Refused):
        reading(Map("m", (7,)))


def test_keys_name_children() -> None:
    """Those of a dict, of a field, and of what is followed."""
    found = reading(
        Map("a", ({"x.": 1, "y": 2},)),
        Map("b", (Of("a"), [7, 8])),
        Map("c", ([{"id": "k"}],), key="id"),
    )
    assert [*found] == ["a", "a[x%2E]", "a[y]", "b", "b[x%2E]", "b[y]", "c", "c[k]"]


def test_what_is_known_stands() -> None:
    """A node that had expanded has the children that it had; what failed is called again."""
    program = Program(
        Block((THREE, CLEAN, JOIN._replace(args=(Of("clean"),)))), {"clean[1]": ("raise", "ok")}
    )
    before = read(program).tasks
    known = {
        name: Known(each.status, each.value, each.calls, made=each.made)
        for name, each in before.items()
    }
    after = read(program, known).tasks
    assert {name: each.calls for name, each in after.items() if each.calls} == {
        "clean[1]": 1,
        "join": 1,
    }


def test_retries_and_conditions_are_counted() -> None:
    """A condition is asked once, before the first attempt; that of a map before it expands."""
    twice = Call("twice", options=Options(retries=1, asks=True))
    asked = CLEAN._replace(options=Options(asks=True))
    found = read(
        Program(Block((THREE, asked, twice)), {"twice": ("raise", "ok"), "?clean": ("no",)})
    ).tasks
    assert (found["twice"].calls, found["twice"].asked, found["clean"].status) == (2, 1, "skipped")
    assert len(found) == 3


def test_drawn_programs_have_everything() -> None:
    """Whatever the rules are about comes up; and a program travels as an argument of its tasks."""
    seen, verdicts = set[str](), set[str]()
    for seed in range(150):
        program = draw_program(random.Random(seed))
        assert from_plain(to_plain(program.block)) == program.block
        found = read(program)
        verdicts.add(found.verdict)
        for name, meaning in found.tasks.items():
            seen.add(meaning.status)
            seen |= {"tolerated"} if meaning.tolerated else set()
            seen |= {"nested"} if name.count("[") > 1 or name.count(".") > 1 else set()
            seen |= {"empty"} if meaning.made == [] else set()
    assert verdicts == {"success", "failure", "cancelled", "blocked"}
    statuses = {"success", "failure", "skipped", "cancelled", "unknown", ""}
    assert seen == statuses | {"tolerated", "nested", "empty"}
