"""What became of a run that was hurt, against what the witness saw: promises 1 to 6."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

from distflow import Snapshot, TaskResult, TaskStatus
from distflow.core.graph import Graph
from distflow.core.model import MAP_FUNCTION
from distflow.core.status import RunStatus
from distflow.runs.run import Run
from tests.chaos.soak.person import Deed, read_deeds
from tests.chaos.soak.planned import Flow
from tests.chaos.soak.verdict import Case, judge_task, match_names
from tests.support.tasks.recording import lines

#: ``(kind, what)``: a promise that was broken.
Broken = tuple[str, str]


class Witness:
    """What is seen of a run from outside, again and again while it is hurt.

    Args:
        log: what its tasks write; of this run, and of those it was made of.
    """

    def __init__(self, log: Path) -> None:
        self._log = log
        #: Task -> how often it had been called when its success was first read.
        self._done: dict[str, int] = {}
        #: Charges that had started, and were not in an export.
        self._missing: set[str] = set()
        self.broken: list[Broken] = []
        #: What the names of tasks begin with whose outcomes Redis had, and has forgotten.
        self._forgotten: tuple[str, ...] = ()
        #: Task -> how often it was decided that nothing had happened.
        self.retried: Counter[str] = Counter()

    def deeds(self) -> dict[str, list[Deed]]:
        """What was done, by task."""
        found: dict[str, list[Deed]] = defaultdict(list)
        for (_run, task), deeds in read_deeds(self._log).items():
            found[task] += deeds
        return found

    def _calls(self) -> Counter[str]:
        return Counter(
            task for task, deeds in self.deeds().items() for deed in deeds if deed.word == "start"
        )

    def forget(self, *prefixes: str) -> None:
        """Redis is as it was before the tasks whose names begin so had an outcome."""
        self._done = {task: n for task, n in self._done.items() if not task.startswith(prefixes)}
        self._forgotten = prefixes

    def look(self, run: Run) -> None:
        """Look at the run as it stands: its cut is consistent; whose success is there never starts
        again.
        """
        begun = {task for task, deeds in self.deeds().items() if _has_begun(deeds)}
        snapshot = run.snapshot()
        graph = run.graph()
        self.broken += _judge_cut(graph, snapshot)
        for task in begun:
            once = task in graph.index and graph.tasks[graph.index[task]].effects == "at_most_once"
            if once and not self.retried[task] and task not in snapshot:
                self._missing.add(task)
        # The calls are counted after their success was read: no later one may be among them.
        calls = self._calls()
        for task, result in snapshot.items():
            if result.status == TaskStatus.SUCCESS:
                self._done.setdefault(task, calls[task])

    def judge(self, run: Run, flow: Flow) -> list[Broken]:
        """What was promised of the run and is not so, once it has ended."""
        info, results = run.info(), run.results()
        history = run.store.read_history()
        lost = Counter(entry.task for entry in history if entry.kind == "lost")
        deeds, calls = self.deeds(), self._calls()
        broken = [*self.broken, *_judge_cut(run.graph(), run.snapshot())]
        if info.status != RunStatus.SUCCESS:
            broken.append(("loss", f"it is {info.status}: {dict(info.counts)}"))
        planned_tasks, strange = match_names(flow.tasks, [*results])
        broken += strange
        broken += [
            ("double", f"{task} was called, and is no task of the run")
            for task in deeds.keys() - results.keys() - flow.tasks.keys()
            if not task.startswith(self._forgotten)
        ]
        for task, planned in planned_tasks.items():
            result = results.get(task)
            if result is None:
                broken.append(("loss", f"{task} has no outcome"))
                continue
            is_known = not task.startswith(self._forgotten)
            judged = planned if is_known else planned._replace(kind="node")
            case = Case(judged, result, deeds[task], lost[task], self.retried[task])
            broken += [(kind, f"{task}: {what}") for kind, what in judge_task(case)]
        # One that vouched for having done nothing may have done so just before it was exported.
        for task in sorted(self._missing):
            if _has_begun(deeds[task]):
                broken.append(("cut", f"{task} had started, and was not in an export"))
        for task, before in self._done.items():
            if calls[task] > before:
                broken.append(("double", f"{task} was called again after its success was read"))
        broken += self._judge_order(run.graph(), results)
        return broken

    def _judge_order(self, graph: Graph, results: dict[str, TaskResult]) -> Iterator[Broken]:
        """No task began before what it depends on had ended."""
        first: dict[str, int] = {}
        ended: dict[str, int] = {}
        for number, (word, _run, task, *_rest) in enumerate(lines(self._log)):
            if word == "start":
                first.setdefault(task, number)
            elif word == "end" or (task in graph.index and _tolerates(graph, graph.index[task])):
                ended.setdefault(task, number)
        for index, child in enumerate(graph.tasks):
            for parent in _rests_on(graph, index):
                if parent not in results:
                    continue
                decided = (results[parent].message or "").startswith("resolved by")
                lost = (results[parent].error or "").startswith("WorkerLost")
                if child.name not in first or decided or lost:
                    continue
                if parent not in ended or ended[parent] > first[child.name]:
                    yield "order", f"{child.name} began before {parent} had ended"


def _has_begun(deeds: list[Deed]) -> bool:
    """Whether it may have had effects: one that vouched for having done nothing has not."""
    words = {deed.word for deed in deeds}
    return "start" in words and "raised" not in words


def _judge_cut(graph: Graph, snapshot: Snapshot) -> Iterator[Broken]:
    """What each success rests on is there too."""
    for name, result in snapshot.items():
        if result.status != TaskStatus.SUCCESS or name not in graph.index:
            continue
        index = graph.index[name]
        maker = graph.maker(index)
        above = [graph.tasks[maker].name] if maker >= 0 else []
        for parent in (*above, *_rests_on(graph, index)):
            found = snapshot.get(parent)
            tolerated = _tolerates(graph, graph.index[parent])
            if found is not None and found.status == TaskStatus.SUCCESS:
                continue
            if tolerated and (
                (found is not None and found.status == TaskStatus.FAILURE)
                or parent in snapshot._superseded
            ):
                continue
            yield "cut", f"{name} is a success in an export without that of {parent}"


def _rests_on(graph: Graph, index: int) -> Iterator[str]:
    """The tasks whose ends a task waits for: with a node, those of its children."""
    waiting = [each for each in graph.parents[index] if not graph.follows(index, each)]
    # The list grows while it is iterated.
    for each in waiting:
        made = graph.expansion_of(each)
        waiting += made or ()
        # The function of a map is not the user's: it writes nothing.
        if made is None or graph.tasks[each].function != MAP_FUNCTION:
            yield graph.tasks[each].name


def _tolerates(graph: Graph, index: int) -> bool:
    """Whether a failure of a task may be tolerated."""
    maker = graph.maker(index)
    made_by = graph.tasks[maker].grow if maker >= 0 else None
    allows = made_by is not None and made_by.max_failures is not None
    return graph.tasks[index].continue_on_error or allows
