"""Whether what became of a run of a program is what the program means."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import pytest

from distflow import DistflowError, Snapshot, TaskResult
from distflow.core.claim import Progress
from distflow.core.graph import Graph
from distflow.core.model import MAP_FUNCTION, Expanded
from distflow.errors import Incomplete
from distflow.runs.run import Run
from tests.support.cases import said
from tests.support.meaning import Known, Meaning, Read
from tests.support.tasks.recording import lines


def check_tasks(
    meant: Read, results: Mapping[str, TaskResult], log: Path, *, before: Counter[str] | None = None
) -> None:
    """Each task there should be, and no other, ended as it should, after as many calls.

    Args:
        meant: what its program means.
        results: of the run; a task may have none, or one that is pending.
        log: what its tasks wrote.
        before: how many lines of each task are of an earlier run.
    """
    calls = Counter(line[0] for line in lines(log))
    calls.subtract(before or {})
    found, wanted = {}, {}
    for name in meant.tasks.keys() | {name for name in results if said(results[name])}:
        meaning, result = meant.tasks.get(name, Meaning("none")), results.get(name)
        # The function of a map is not the test's.
        is_counted = not meaning.is_map
        found[name] = said(result), calls[name] * is_counted, calls[f"?{name}"]
        wanted[name] = meaning.status, meaning.calls * is_counted, meaning.asked
    differing = {
        name: (found[name], wanted[name], results.get(name))
        for name in found
        if found[name] != wanted[name]
    }
    assert not differing, differing
    for name, meaning in meant.tasks.items():
        if name in results:
            _check_outcome(name, meaning, results[name], meant.tasks)


def _check_outcome(
    name: str, meaning: Meaning, result: TaskResult, tasks: Mapping[str, Meaning]
) -> None:
    """Its data, and what the message of its skip names."""
    if meaning.status == "success" and meaning.made is None:
        assert result.data == meaning.value, (name, result, meaning)
    if meaning.roots and name not in meaning.roots:
        cause = re.fullmatch(r"not run: '(.+)' ended as (\w+)", result.message or "")
        assert cause, (name, result)
        assert cause[1] in meaning.roots, (name, result, meaning)
        assert cause[2] == tasks[cause[1]].status, (name, result)


def check_value(meant: Read, run: Run) -> None:
    """A run that is a success has what its workflow returned, if that is complete."""
    if meant.verdict != "success":
        with pytest.raises(DistflowError):
            run.result(timeout=0)
    elif meant.is_complete:
        assert run.result(timeout=0) == meant.value
    else:
        with pytest.raises(Incomplete):
            run.result(timeout=0)


def check_cut(graph: Graph, snapshot: Snapshot) -> None:
    """What each success rests on is there, too; and what a node has added, with what that is."""
    for name, result in snapshot.items():
        index = graph.index[name]
        grown = isinstance(result.data, Expanded) or name in snapshot.expansions
        assert grown is (graph.is_grown(index) and result.status == "success"), name
        if result.status == "success":
            for above in rests_on(graph, index, maps=True):
                assert above in snapshot or above in snapshot.superseded, (name, above)
                if above in snapshot and snapshot[above].status != "success":
                    assert may_be_tolerated(graph, graph.index[above]), (name, above)


def may_be_tolerated(graph: Graph, index: int) -> bool:
    """Whether a failure of a task may be tolerated."""
    maker = graph.maker(index)
    made_by = graph.tasks[maker].grow if maker >= 0 else None
    allows = made_by is not None and made_by.max_failures is not None
    return graph.tasks[index].continue_on_error or allows


def check_order(graph: Graph, log: Path) -> None:
    """Nothing begins before the last call of what it rests on, and no call comes twice."""
    written = lines(log)
    first: dict[str, int] = {}
    last: dict[str, int] = {}
    for number, line in enumerate(written):
        name = line[0].lstrip("?")
        first.setdefault(name, number)
        last[name] = number
    assert len({tuple(line) for line in written}) == len(written), "an attempt was repeated"
    for index, task in enumerate(graph.tasks):
        if task.name not in first:
            continue
        for above in rests_on(graph, index):
            if above in last:
                assert last[above] < first[task.name], f"{task.name} began before {above} ended"


def rests_on(graph: Graph, index: int, *, maps: bool = False) -> Sequence[str]:
    """The tasks whose ends a task waits for: with a node, those of its children.

    Args:
        graph: with all that it has grown by.
        index: of the task.
        maps: with the nodes of maps themselves, whose function is not the test's.
    """
    waiting = [each for each in graph.parents[index] if not graph.follows(index, each)]
    maker = graph.maker(index)
    names = [graph.tasks[maker].name] if maker >= 0 else []
    # The list grows while it is iterated.
    for each in waiting:
        waiting += graph.expansion_of(each) or ()
        names.append(graph.tasks[each].name)
    return [
        name for name in names if maps or graph.tasks[graph.index[name]].function != MAP_FUNCTION
    ]


def known_of(
    meant: Read,
    results: Mapping[str, TaskResult],
    progress: Mapping[str, Progress] = MappingProxyType({}),
) -> dict[str, Known]:
    """What a later run starts from, given the outcomes of one whose program means this.

    Args:
        meant: what the program means.
        results: the outcomes.
        progress: what is known of tasks between two attempts.
    """
    known = {
        name: Known("", None, each.attempt - 1, each.started) for name, each in progress.items()
    }
    for name, result in results.items():
        if said(result):
            made = meant.tasks[name].made
            value = result.data if made is None else meant.tasks[name].value
            known[name] = Known(said(result), value, result.attempt, result.started, made)
    return known
