"""The graph as text for people, Mermaid and Graphviz, coloured by status if statuses are given.

The tasks of an expansion are one box with their number, however many they are.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from distflow.core.graph import Graph
from distflow.core.status import RUNNING, TaskStatus, shown_status
from distflow.core.tally import kind_of, tally_graph
from distflow.text import counted, visible

#: Fill colours, all light enough for black text. A task that has not been tried has none.
_FILLS: Mapping[str, str] = {
    TaskStatus.QUEUED: "#e0e7ff",
    RUNNING: "#93c5fd",
    TaskStatus.WAITING: "#fde68a",
    TaskStatus.SUCCESS: "#bbf7d0",
    TaskStatus.FAILURE: "#fca5a5",
    TaskStatus.SKIPPED: "#e5e7eb",
    TaskStatus.CANCELLED: "#d6d3d1",
    TaskStatus.UNKNOWN: "#f0abfc",
}

#: What Mermaid's parser, Markdown or HTML could mistake for markup: a first character that is not a
#: letter or digit, a dot after a digit (a numbered list), and punctuation.
_MERMAID_MARKUP = re.compile(r"^[!-/:-@\[-`{-~]|(?<=\d)\.|[^\w\s.,:/-]", re.ASCII)


class _Box(NamedTuple):
    """One box of the drawing: a task, or the children of a growing node."""

    key: str
    lines: tuple[str, ...]
    #: As shown; empty if not known.
    status: str = ""
    is_group: bool = False


class _Drawing(NamedTuple):
    boxes: list[_Box]
    #: From the key of one box to that of another.
    edges: list[tuple[str, str]]


def to_mermaid(graph: Graph, statuses: Mapping[str, TaskStatus] | None = None) -> str:
    """A Mermaid flowchart, dependencies above their dependents.

    Args:
        graph: what to draw.
        statuses: status by name of task: adds it to the label and colours the node. Tasks that
            it lacks are drawn plain.
    """
    drawing = _draw(graph, statuses or {})
    lines = ["flowchart TD"]
    members: dict[str, list[str]] = {}
    for box in drawing.boxes:
        label = "<br/>".join(map(_mermaid_text, box.lines))
        if box.status:
            members.setdefault(box.status, []).append(box.key)
        lines.append(f'    {box.key}[["{label}"]]' if box.is_group else f'    {box.key}["{label}"]')
    lines += [f"    {above} --> {below}" for above, below in drawing.edges]
    for shown, fill in _FILLS.items():
        if shown in members:
            lines.append(f"    classDef {shown} fill:{fill},color:#000")
            lines.append(f"    class {','.join(members[shown])} {shown}")
    return "\n".join(lines) + "\n"


def to_dot(graph: Graph, statuses: Mapping[str, TaskStatus] | None = None) -> str:
    """A Graphviz digraph, dependencies above their dependents.

    Args:
        graph: what to draw.
        statuses: status by name of task: adds it to the label and colours the node. Tasks that
            it lacks are drawn plain.
    """
    drawing = _draw(graph, statuses or {})
    lines = ["digraph workflow {", "    node [shape=box];"]
    for box in drawing.boxes:
        label = "\\n".join(map(_dot_text, box.lines))
        fill = _FILLS.get(box.status)
        shape = ", shape=box3d" if box.is_group else ""
        style = f', style=filled, fillcolor="{fill}"' if fill else ""
        lines.append(f'    {box.key} [label="{label}"{shape}{style}];')
    lines += [f"    {above} -> {below};" for above, below in drawing.edges]
    return "\n".join([*lines, "}"]) + "\n"


def to_text(graph: Graph, statuses: Mapping[str, TaskStatus] | None = None) -> str:
    """A line per box, dependencies above their dependents, each with what it depends on.

    Args:
        graph: what to list.
        statuses: status by name of task.
    """
    drawing = _draw(graph, statuses or {})
    boxes = {box.key: box for box in drawing.boxes}
    above: dict[str, list[str]] = {}
    for source, target in drawing.edges:
        above.setdefault(target, []).append(graph.tasks[int(source[1:])].name)
    keys = [f"{letter}{index}" for index in graph.reading_order() for letter in "nc"]
    lines = []
    for box in (boxes[key] for key in keys if key in boxes):
        name, *said = box.lines
        if not box.is_group and box.key in above:
            said.append(f"after {', '.join(above[box.key])}")
        line = f"{name}: {', '.join(said)}" if said else name
        lines.append(("  " if box.is_group else "") + visible(line))
    return "\n".join(lines) + "\n"


def _draw(graph: Graph, statuses: Mapping[str, TaskStatus]) -> _Drawing:
    """What to draw: the tasks of the workflow, and one box for what each of them has made."""
    drawing = _Drawing([], [])
    grown = [node for node in graph.grown_nodes() if graph.maker(node) < 0]
    groups = _draw_groups(graph, statuses, grown)
    for index, task in enumerate(graph.tasks):
        if graph.maker(index) >= 0:
            break
        status = statuses.get(task.name)
        shown = "" if status is None else shown_status(status)
        lines = (task.name, kind_of(graph, index), shown)
        drawing.boxes.append(_Box(f"n{index}", tuple(filter(None, lines)), shown))
        if index in groups:
            drawing.boxes.append(groups[index])
        drawing.edges.extend(_edges(graph, index))
    return drawing


def _edges(graph: Graph, index: int) -> Iterator[tuple[str, str]]:
    """What leads to a task, and to its children."""
    for parent in graph.parents[index]:
        if not graph.is_grown(parent):
            yield f"n{parent}", f"n{index}"
        elif not graph.follows(index, parent):
            # It waits for all of them.
            yield f"c{parent}", f"n{index}"
        else:
            yield f"n{parent}", f"n{index}"
            if graph.is_grown(index):
                yield f"c{parent}", f"c{index}"
    if graph.is_grown(index):
        yield f"n{index}", f"c{index}"


def _draw_groups(
    graph: Graph, statuses: Mapping[str, TaskStatus], nodes: list[int]
) -> dict[int, _Box]:
    """The boxes of these grown nodes' children."""
    if not nodes:
        return {}
    tallies = {graph.index[tally.node]: tally for tally in tally_graph(graph, statuses)}
    groups = {}
    for node in nodes:
        tally = tallies[node]
        name = f"{counted(tally.children, 'child', 'children')} of {tally.node}"
        status = ""
        if tally.failed:
            status = TaskStatus.FAILURE.value
        elif tally.done == tally.children and _all_succeeded(graph, statuses, node):
            status = TaskStatus.SUCCESS.value
        lines = (name, tally.words if statuses else "")
        groups[node] = _Box(f"c{node}", tuple(filter(None, lines)), status, is_group=True)
    return groups


def _all_succeeded(graph: Graph, statuses: Mapping[str, TaskStatus], node: int) -> bool:
    made = graph.expansion_of(node) or ()
    names = [graph.tasks[index].name for index in (node, *made)]
    return all(statuses.get(name) == TaskStatus.SUCCESS for name in names)


def _mermaid_text(name: str) -> str:
    # The expression matches ASCII only: letters of other scripts stay as they are.
    return _MERMAID_MARKUP.sub(
        lambda match: f"#{ord(match[0])};" if match[0].isascii() else match[0], visible(name)
    )


def _dot_text(name: str) -> str:
    # Graphviz interprets HTML entities in plain labels, too.
    return visible(name).replace("\\", "\\\\").replace('"', '\\"').replace("&", "&amp;")
