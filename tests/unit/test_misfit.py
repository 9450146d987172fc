"""Tasks that workers cannot run: what is held, tried again and failed, and the words for it."""

from __future__ import annotations

import pytest

from distflow.core.graph import Graph
from distflow.core.misfit import (
    Held,
    MisfitWatch,
    Registration,
    ScopeIndex,
    find_held,
    misfit_result,
    name_worker,
    name_workers,
    wanted_of,
)
from distflow.core.model import Grow, Loop, Task
from distflow.core.run import Refusal
from distflow.core.status import TaskStatus

F, G = "function m:f", "function m:g"

W1, W2, W3 = (Registration(name, "born") for name in ("w1", "w2", "w3"))
#: A process that is its own and only worker.
HERE = Registration("", "")


def refusal(by: Registration, scope: str = F, words: str = "no m", what: str = "m:f") -> Refusal:
    """What one worker says that it cannot run."""
    where = ("h", 7, "/srv") if by.name else ("", 0, "")
    return Refusal(scope, by.name, by.born, what, words, f"trace of {words}", *where, ("a",), 5.0)


TASKS = (
    Task("a", "m:f"),
    Task("b", "m:f", queue="other", condition="m:c"),
    Task("c", "m:g", verify="m:v", effects="at_most_once", depends_on=("a",)),
    Task("d", "m:g", loop=Loop("m:u", 3), condition="m:c"),
    Task("pay the bill", "m:h"),
)


@pytest.mark.parametrize(
    ("scope", "names"),
    [
        ("function m:f", "ab"),
        ("function m:g", "cd"),
        ("condition m:c", "bd"),
        ("until m:u", "d"),
        ("verify m:v", "c"),
        ("task b", "b"),
        ("task pay the bill", "pay the bill"),
        ("task m:f", ""),
        ("function m:c", ""),
        ("condition None", ""),
    ],
)
def test_a_refusal_is_true_of_all_tasks_of_its_scope(scope: str, names: str) -> None:
    """Those with the function or hook, or the one of the name; in the graph's order."""
    graph = Graph.compile(TASKS)
    found = ScopeIndex(graph).tasks(scope)
    assert "".join(graph.tasks[index].name for index in found) == names


def test_a_refusal_is_true_of_tasks_that_come_later() -> None:
    """A growing node has made them since the tasks were listed."""
    graph = Graph.compile([Task("n", "m:plan", grow=Grow("plan"))])
    index = ScopeIndex(graph)
    assert not index.tasks(F)
    graph.grow(0, [Task("n.a", "m:f"), Task("n.b", "m:g")])
    graph.grow(0, [Task("n.c", "m:f")])
    assert list(index.tasks(F)) == [1, 3]


def test_another_queue_has_other_workers() -> None:
    """What is held in one queue is none of the tasks of another."""
    index = ScopeIndex(Graph.compile(TASKS))
    assert [index.tasks_of(Held(F, queue)) for queue in ("default", "other", "none")] == [
        [0],
        [1],
        [],
    ]


def test_only_a_verify_hook_is_a_question() -> None:
    """What no worker can ask is left to a person; what none can run has failed."""
    scopes = ("verify m:v", "function verify", "task a", "condition m:c")
    assert [Held(scope, "q").is_question for scope in scopes] == [True, False, False, False]


@pytest.mark.parametrize(
    ("refused", "live", "held"),
    [
        ([W1], {"q": [W1]}, ["q"]),
        ([W1], {"q": [W1, W2]}, []),
        ([W1, W2], {"q": [W1, W2]}, ["q"]),
        ([W1, W2], {"q": [W2], "r": [W1], "s": [W1, W3]}, ["q", "r"]),
        ([], {"q": [W1]}, []),
        ([W1], {"q": []}, []),
        ([W1._replace(born="before")], {"q": [W1]}, []),
        ([HERE], {"q": [HERE]}, ["q"]),
    ],
)
def test_what_every_worker_of_a_queue_has_refused_is_held(
    refused: list[Registration], live: dict[str, list[Registration]], held: list[str]
) -> None:
    """A worker that started anew is another; where nobody listens none is a misfit."""
    assert find_held([refusal(by) for by in refused], live) == [Held(F, queue) for queue in held]


def test_each_scope_is_judged_by_itself() -> None:
    """And who cannot read its jobs decides nothing of any task."""
    some = [refusal(W1, F), refusal(W1, G), refusal(W2, G), refusal(W1, ""), refusal(W2, "")]
    assert find_held(some, {"r": [W1], "q": [W1, W2]}) == [
        Held(F, "r"),
        Held(G, "q"),
        Held(G, "r"),
    ]


def test_what_is_held_fails_when_no_other_worker_comes() -> None:
    """The patience counts from when it was held first, or since the newest worker came."""
    watch = MisfitWatch(60.0)
    held, both = Held(F, "q"), [refusal(W1), refusal(W2)]
    watch.look(both[:1], {"q": [W1], "r": []}, 100.0)
    assert watch.held == {held}
    watch.look(both[:1], {"q": [W1]}, 159.0)
    assert not watch.has_failed(held, 159.9)
    assert watch.has_failed(held, 160.0)
    # Another has come, and cannot either; then the first one is gone.
    watch.look(both, {"q": [W1, W2]}, 150.0)
    watch.look(both, {"q": [W2]}, 155.0)
    assert not watch.has_failed(held, 209.9)
    assert watch.has_failed(held, 210.0)


def test_what_is_held_anew_has_its_patience_anew() -> None:
    """Somebody could run it meanwhile: the seconds before that do not count."""
    watch = MisfitWatch(60.0)
    held = Held(F, "q")
    watch.look([refusal(W1)], {"q": [W1]}, 100.0)
    watch.look([], {"q": [W1]}, 130.0)
    assert watch.held == frozenset()
    watch.look([refusal(W1)], {"q": [W1]}, 140.0)
    assert not watch.has_failed(held, 199.0)
    assert watch.has_failed(held, 200.0)


def test_a_worker_that_comes_again_is_no_other() -> None:
    """One that is away for a moment keeps nothing alive."""
    watch = MisfitWatch(60.0)
    for now, live in ((100.0, [W1, W2]), (120.0, [W1]), (140.0, [W1, W2])):
        watch.look([refusal(W1), refusal(W2)], {"q": live}, now)
    assert watch.has_failed(Held(F, "q"), 160.0)


def test_a_worker_is_new_to_each_queue_by_itself() -> None:
    """That it was seen at another queue does not make it an old one here."""
    watch = MisfitWatch(60.0)
    both = [refusal(W1), refusal(W2)]
    watch.look(both, {"q": [W1], "r": [W2]}, 100.0)
    watch.look(both, {"q": [W1, W2], "r": [W2]}, 150.0)
    assert not watch.has_failed(Held(F, "q"), 209.0)
    assert watch.has_failed(Held(F, "r"), 160.0)


def test_a_process_of_its_own_waits_for_nobody() -> None:
    """There is no other worker that could come; beside a named one there may be."""
    watch = MisfitWatch(60.0)
    watch.look([refusal(HERE)], {"q": [HERE]}, 0.0)
    assert watch.has_failed(Held(F, "q"), 0.0)
    watch.look([refusal(HERE), refusal(W1)], {"q": [HERE, W1]}, 0.0)
    assert not watch.has_failed(Held(F, "q"), 0.0)


def test_what_is_held_is_tried_now_and_then() -> None:
    """After a second, then twice as long each time, up to 15 s; anew when it is held anew."""
    watch = MisfitWatch(60.0)
    held, now = Held(F, "q"), 100.0
    watch.look([refusal(W1)], {"q": [W1]}, now)
    for pause in (1.0, 2.0, 4.0, 8.0, 15.0, 15.0):
        watch.look([refusal(W1)], {"q": [W1]}, now)
        assert not watch.is_due(held, now + pause - 0.01)
        now += pause
        assert watch.is_due(held, now)
    watch.look([], {"q": [W1]}, now)
    watch.look([refusal(W1)], {"q": [W1]}, now)
    assert not watch.is_due(held, now + 0.99)
    assert watch.is_due(held, now + 1.0)


def test_a_failure_is_told_in_the_words_of_all_workers() -> None:
    """Those who say the same are named together; the traceback is the first one's."""
    result = misfit_result([refusal(W1), refusal(W2, words="other m"), refusal(W3)])
    assert result.status == TaskStatus.FAILURE
    assert result.message == "no worker can run it: m:f is missing on each"
    assert result.error == (
        "no m (worker w1 on host h, pid 7, in /srv, worker w3 on host h, pid 7, in /srv); "
        "other m (worker w2 on host h, pid 7, in /srv)"
    )
    assert (result.traceback, result.attempt, result.started) == ("trace of no m", 0, False)


def test_a_failure_in_this_process_names_no_worker() -> None:
    """Its words are the message as well."""
    result = misfit_result([refusal(HERE)])
    assert (result.status, result.message, result.error, result.traceback) == (
        TaskStatus.FAILURE,
        "no m",
        "no m",
        "trace of no m",
    )


@pytest.mark.parametrize(
    ("host", "pid", "directory", "said"),
    [
        ("h", 7, "/srv", "worker w1 on host h, pid 7, in /srv"),
        ("h", 0, "", "worker w1 on host h"),
        ("", 7, "", "worker w1, pid 7"),
        ("", 0, "/srv", "worker w1, in /srv"),
        ("", 0, "", "worker w1"),
    ],
)
def test_a_worker_is_named_by_what_is_known_of_it(
    host: str, pid: int, directory: str, said: str
) -> None:
    """What it has not told is left out."""
    assert name_worker(refusal(W1)._replace(host=host, pid=pid, directory=directory)) == said


@pytest.mark.parametrize(
    ("count", "last"), [(1, "w0"), (5, "w4"), (6, "w4 and 1 more"), (9, "w4 and 4 more")]
)
def test_five_workers_are_named(count: int, last: str) -> None:
    """The others are counted."""
    workers = [Registration(f"w{number}", "born") for number in range(count)]
    bare = [refusal(by)._replace(host="", pid=0, directory="") for by in workers]
    names = [f"worker w{number}" for number in range(min(count, 5) - 1)]
    assert name_workers(bare) == ", ".join([*names, f"worker {last}"])


@pytest.mark.parametrize(
    ("scope", "wanted"),
    [
        ("", "the jobs of this run"),
        ("function shop:charge", "shop:charge"),
        ("task pay the bill", "task pay the bill"),
        ("condition shop:is_open", "the condition shop:is_open"),
        ("until shop:done", "the until shop:done"),
        ("verify shop:was_charged", "the verify shop:was_charged"),
    ],
)
def test_what_was_to_be_run_is_named(scope: str, wanted: str) -> None:
    """As a warning says it."""
    assert wanted_of(refusal(W1, scope)) == wanted
