"""A dry run, printed: what would become of each task. What growing nodes have added before is
counted beside the node.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from importlib import import_module
from typing import Any, NamedTuple

from distflow.authoring import Workflow, check_workflow
from distflow.cli.ui.common import print_json, say, show
from distflow.core.graph import Graph
from distflow.core.model import Task, TaskResult, users_part
from distflow.core.status import TaskStatus
from distflow.ids import check_new_run_id, new_origin
from distflow.runs.takeover import NOTHING_TAKEN, Takeover, Taking, take_over
from distflow.snapshot import Snapshot
from distflow.snapshot.branches import fields_of
from distflow.text import counted
from distflow.wire.as_json import to_plain

#: The words of a dry run for each action.
_ACTIONS = {
    TaskStatus.SUCCESS: "run",
    TaskStatus.SKIPPED: "skip",
    TaskStatus.FAILURE: "fail",
    TaskStatus.PENDING: "wait",
}
_PLAIN_ACTIONS = frozenset({"keep", "run"})
_SAID = {
    "skip": "would be skipped",
    "fail": "would fail because of a condition",
    "wait": "would wait for a decision",
    "keep": "kept",
}


class _Line(NamedTuple):
    """What would become of a task of the workflow."""

    task: Task
    action: str
    #: Why, unless the action says it.
    why: str | None
    #: Of what it has added before: how many tasks by action.
    children: Mapping[str, int]

    @property
    def kind(self) -> str:
        """``map``, ``plan``, or ``call``."""
        return "call" if self.task.grow is None else self.task.grow.kind

    def text(self) -> str:
        """For a person, with tabs."""
        what = users_part(self.task).function
        said = [self.action, self.task.name, what if self.kind == "call" else f"{self.kind} {what}"]
        notes = [self.why] if self.why else []
        if self.children:
            counts = ", ".join(f"{count} {action}" for action, count in self.children.items())
            number = counted(sum(self.children.values()), "child", "children")
            notes.append(f"{number}: {counts}")
        return "\t".join([*said, *notes])

    def document(self) -> dict[str, Any]:
        """For ``--json``."""
        return {
            "name": self.task.name,
            "kind": self.kind,
            "action": self.action,
            "reason": self.why,
            "function": users_part(self.task).function,
            "depends_on": self.task.depends_on,
            "queue": self.task.queue,
            "effects": self.task.effects,
            "children": dict(self.children) or None,
        }


def print_dry_run(
    workflow: Workflow,
    run_id: str | None,
    snapshot: Snapshot | None,
    taking: Taking,
    *,
    as_json: bool,
) -> None:
    """Walk through a workflow, and print what would become of each task."""
    if run_id is not None:
        check_new_run_id(run_id)
    graph = check_workflow(workflow)
    taken = NOTHING_TAKEN if snapshot is None else take_over(snapshot, graph, taking)
    for warning in taken.warnings:
        say(f"warning: {warning}")
    origin = (snapshot and snapshot.origin) or new_origin()
    # Imported here: few commands need it, and its import is slow.
    results = import_module("distflow.runs.simulation").simulate(workflow, graph, taken, origin)
    actions = _find_actions(results, taken)
    lines = [_line(graph, taken, name, actions, results[name]) for name in _named(graph, actions)]
    if as_json:
        print_json(
            {
                "workflow": workflow.reference or workflow.name,
                "params": to_plain(workflow.params),
                "context": workflow.context,
                "tasks": [line.document() for line in lines],
            }
        )
        return
    for line in lines:
        show(line.text())
    counts = Counter(actions.values())
    parts = [f"{counted(counts['run'], 'task')} would run"]
    adding = sum(line.kind != "call" and line.action == "run" for line in lines)
    if adding:
        parts.append(f"{adding} of them would add tasks")
    parts += [f"{counts[action]} {words}" for action, words in _SAID.items() if counts[action]]
    say(f"{', '.join(parts)}; nothing was written")


def _find_actions(results: Mapping[str, TaskResult], taken: Takeover) -> dict[str, str]:
    """Task -> what would become of it."""
    known = {name for name, packed, _progress in taken.outcomes if packed}
    return {
        name: "keep" if name in known else _ACTIONS[result.status]
        for name, result in results.items()
    }


def _named(graph: Graph, actions: Mapping[str, str]) -> list[str]:
    """The tasks of the workflow itself, in the order in which they would run."""
    return [name for name in actions if name in graph.index]


def _line(
    graph: Graph, taken: Takeover, name: str, actions: Mapping[str, str], result: TaskResult
) -> _Line:
    action = actions[name]
    why = None if action in _PLAIN_ACTIONS else result.message
    saved = [saved for saved in taken.expansions if saved.node == name]
    children = Counter(actions[fields["name"]] for one in saved for fields in fields_of(one))
    return _Line(graph.tasks[graph.index[name]], action, why, children)
