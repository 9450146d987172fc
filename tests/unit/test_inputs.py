"""What the tasks of a batch get from their dependencies, made elsewhere or in the batch itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgpack
import pytest

from distflow.core.claim import Code
from distflow.core.model import Effects, Ref, Task, TaskResult
from distflow.core.status import TaskStatus
from distflow.wire.codec import encode_result
from distflow_worker.inputs import LARGE_BYTES, BatchInputs
from tests.support.stores import claim, final, finish
from tests.support.taking import Counted, Taken

TASKS = "tests.support.tasks.handing"

#: Bytes of a result that is kept for others of the batch, and of one that is not.
SMALL, LARGE = 1000, 300_000


def make(name: str, size: int, effects: Effects = "idempotent") -> Task:
    """A task that brings so much."""
    return Task(name, f"{TASKS}:make", args=(size,), effects=effects)


def after(name: str, function: str, *parents: str, **fields: Any) -> Task:
    """A task that is given the name of its dependency, or what that brought."""
    given = parents[0] if function == "look_up" else Ref(parents[0])
    fields.setdefault("effects", "idempotent")
    return Task(name, f"{TASKS}:{function}", args=(given,), depends_on=parents, **fields)


@pytest.mark.parametrize("size", [SMALL, LARGE])
@pytest.mark.parametrize("effects", ["normal", "idempotent"])
def test_tasks_of_a_batch_hand_on_what_they_made(size: int, effects: Effects) -> None:
    """However much it is, and also where both were claimed together, before either had run."""
    taken = Taken(
        make("a", size, effects),
        after("b", "measure", "a", effects=effects),
        after("c", "look_up", "a", effects=effects),
        short=True,
    )
    assert taken.results["b"].data == size, taken.results["b"]
    assert taken.results["c"].data == ["success", size], taken.results["c"]
    if effects == "idempotent":
        assert taken.store.claimed[0] == ["a", "b", "c"]


@pytest.mark.parametrize("effects", ["normal", "idempotent"])
def test_what_was_made_in_the_batch_is_not_fetched(effects: Effects) -> None:
    """A small result goes from hand to hand: no round trip for it."""
    tasks = (make("a", SMALL, effects), after("b", "measure", "a", effects=effects))
    taken = Taken(*tasks, short=True)
    assert taken.results["b"].data == SMALL
    assert taken.store.fetched == []


def test_a_tolerated_failure_of_the_batch_is_looked_at() -> None:
    """Its outcome may not be recorded yet when the next task of the group asks for it."""
    failing = Task("a", f"{TASKS}:fail", effects="idempotent", continue_on_error=True)
    taken = Taken(failing, after("b", "look_up", "a"), short=True)
    assert taken.results["b"].data == ["failure", 0]


def test_a_condition_looks_at_what_the_batch_made() -> None:
    """As the function does."""
    asking = after("b", "measure", "a", condition=f"{TASKS}:has_much")
    taken = Taken(make("a", SMALL), asking, short=True)
    assert taken.results["b"].data == SMALL


def test_large_results_are_not_held_back() -> None:
    """What a group has not recorded yet is in this process's memory alone, and goes to Redis in one
    call: there is no more of it than of one large result.
    """
    count = 8
    tasks = [make(f"t{number}", LARGE) for number in range(count)]
    taken = Taken(*tasks, short=True)
    assert taken.store.claimed[0] == [task.name for task in tasks]
    assert max(map(len, taken.store.finished)) == 1
    assert len(taken.results) == count


def test_small_results_are_recorded_together() -> None:
    """A group of short tasks is one call, and not one per task."""
    taken = Taken(*[make(f"t{number}", SMALL) for number in range(20)], short=True)
    assert len(taken.store.finished) <= 3
    assert len(taken.results) == 20


def record(size: int, *names: str) -> Any:
    """Lets tasks outside of the batch have succeeded with so much."""

    def before(store: Counted, epoch: int) -> None:
        for name in names:
            claim(store, epoch, name, f"t-{name}", batch="other")
            done = final(name, f"t-{name}", data="x" * size)
            assert finish(store, epoch, done, batch="other") == Code.RECORDED

    return before


def test_small_inputs_are_fetched_ahead() -> None:
    """Those of the next tasks of the batch come along with the first, in one call, and once."""
    parents = [make(f"p{number}", SMALL) for number in range(3)]
    children = [
        after(f"c{number}", "measure", f"p{number % 3}", effects="normal") for number in range(6)
    ]
    names = [parent.name for parent in parents]
    taken = Taken(
        *parents,
        *children,
        batch=[child.name for child in children],
        before=record(SMALL, *names),
    )
    assert taken.store.fetched == [names]
    assert all(taken.results[child.name].data == SMALL for child in children)


def test_large_inputs_are_fetched_when_they_are_wanted() -> None:
    """The first that turns out to be large ends the fetching ahead, and none is kept for long: the
    batch may have more of them than fit into memory.
    """
    parents = [make(f"p{number}", LARGE) for number in range(70)]
    children = [
        after(f"c{number}", "measure", f"p{number}", effects="normal") for number in range(70)
    ]
    taken = Taken(
        *parents,
        *children,
        batch=[child.name for child in children],
        before=record(LARGE, *[parent.name for parent in parents]),
    )
    first, *others = taken.store.fetched
    assert len(first) == 4
    assert others == [[f"p{number}"] for number in range(1, 70)]
    assert all(taken.results[child.name].data == LARGE for child in children)


def named(count: int) -> list[tuple[str, bytes]]:
    """So many tasks of a batch, each with a dependency of its own."""
    return [(f"c{n}", msgpack.packb({"depends_on": [f"p{n}"]})) for n in range(count)]


@pytest.mark.parametrize(
    ("size", "expected"),
    [(100, [4, 16, 64, 64]), (100_000, [4, 16, 64, 64]), (250_000, [4, 16, 32, 32])],
)
def test_more_is_fetched_ahead_as_long_as_it_is_little(size: int, expected: list[int]) -> None:
    """Few at first, since nobody knows how large they are; never much more than 8 MiB at once. What
    is kept is bounded as well: a worker's memory does not grow with its batch.
    """
    asked: list[int] = []
    packed = b"x" * size

    def fetch(names: Sequence[str]) -> list[bytes | None]:
        asked.append(len(names))
        return [packed for _ in names]

    inputs = BatchInputs(fetch, named(200))
    for number in range(200):
        assert inputs.get([f"p{number}"], number) == [packed]
    assert asked[:4] == expected
    assert max(asked) * size <= 8 * 1024 * 1024 + 64 * size
    assert sum(map(len, inputs._fetched._packed.values())) <= 8 * 1024 * 1024


def test_what_a_batch_has_made_does_not_pile_up() -> None:
    """The newest are kept, among which is whatever is not recorded yet; others are fetched."""
    asked: list[Sequence[str]] = []

    def fetch(names: Sequence[str]) -> list[bytes | None]:
        asked.append(list(names))
        return [b"fetched" for _ in names]

    inputs = BatchInputs(fetch, named(100))
    for number in range(100):
        inputs.note(f"c{number}", b"x" * 200_000)
    assert inputs.get(["c99", "c60"], 99) == [b"x" * 200_000] * 2
    assert inputs.get(["c0"], 99) == [b"fetched"]
    assert asked == [["c0"]]
    inputs.note("c99", b"again")
    assert inputs.get(["c99"], 99) == [b"again"]


def test_what_was_fetched_is_not_fetched_again() -> None:
    """A task beyond those that were fetched ahead for needs another result: what is known by then
    is left out.
    """
    parents = [make("p", SMALL), make("late", SMALL)]
    children = [after(f"c{number}", "measure", "p", effects="normal") for number in range(70)]
    children[66] = after("c66", "measure", "late", effects="normal")
    taken = Taken(
        *parents,
        *children,
        batch=[child.name for child in children],
        before=record(SMALL, "p", "late"),
    )
    assert taken.store.fetched == [["p"], ["late"]]


def test_a_large_result_of_the_batch_is_not_kept() -> None:
    """It is recorded at once, and is read where it is wanted: many of them may not fit."""
    large, small = b"x" * (LARGE_BYTES + 1), b"x" * LARGE_BYTES
    asked: list[Sequence[str]] = []

    def fetch(names: Sequence[str]) -> list[bytes | None]:
        asked.append(list(names))
        return [large for _ in names]

    inputs = BatchInputs(fetch, [("a", b""), ("b", b"")])
    inputs.note("a", large)
    inputs.note("b", small)
    assert inputs.get(["b", "a"], 1) == [small, large]
    assert inputs.get(["a"], 1) == [large]
    assert asked == [["a"], ["a"]]


def test_what_the_batch_makes_itself_is_not_asked_for_before() -> None:
    """Fetching ahead leaves out what does not exist yet: nothing in its place is kept."""
    parents = [make("p", SMALL)]
    mine = [
        after("c0", "measure", "p", effects="normal"),
        make("a", SMALL, "normal"),
        after("c1", "measure", "a", effects="normal"),
    ]
    taken = Taken(*parents, *mine, batch=[task.name for task in mine], before=record(SMALL, "p"))
    assert taken.store.fetched == [["p"]]
    assert taken.results["c1"].data == SMALL


def test_a_result_that_redis_lost_fails_the_task_that_needs_it() -> None:
    """Redis came back with older data: the task fails, and says what is missing."""

    def before(store: Counted, epoch: int) -> None:
        record(SMALL, "p")(store, epoch)
        del store.server.runs["run-1"].results["p"]

    tasks = (make("p", SMALL), after("c", "measure", "p", effects="normal"))
    # The claim was granted when the result was there: no dependency in the batch is looked at.
    taken = Taken(*tasks, batch=["c"], before=before)
    result = taken.results["c"]
    assert result.status == TaskStatus.FAILURE
    assert result.message == "Redis has no result of 'p' any more: restore its data"


def test_a_tolerated_failure_gives_nothing() -> None:
    """None stands in the place of what it would have brought."""

    def before(store: Counted, epoch: int) -> None:
        claim(store, epoch, "p", "t", batch="other")
        finish(store, epoch, final("p", "t", "failure"), batch="other")

    parent = Task("p", f"{TASKS}:fail", continue_on_error=True)
    taken = Taken(parent, after("c", "measure", "p", effects="normal"), batch=["c"], before=before)
    result = taken.results["c"]
    assert result.error == "TypeError: object of type 'NoneType' has no len()"


def test_a_result_just_as_large_as_may_be_kept_is_kept() -> None:
    """The limit is one of the encoded result: what is kept and what is recorded at once are judged
    by the same measure, so that nothing falls between the two.
    """
    overhead = len(encode_result(TaskResult(TaskStatus.SUCCESS, data="x" * LARGE))) - LARGE
    for size in range(256 * 1024 - overhead - 400, 256 * 1024 + 100, 50):
        taken = Taken(make("a", size), after("b", "measure", "a"), short=True)
        assert taken.results["b"].data == size
