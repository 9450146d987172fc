"""The graph as text for Mermaid and Graphviz, coloured by status if statuses are given."""

from __future__ import annotations

import re
from collections.abc import Mapping

from distflow.core.graph import Graph
from distflow.core.status import RUNNING, TaskStatus, shown_status
from distflow.text import visible

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


def to_mermaid(graph: Graph, statuses: Mapping[str, TaskStatus] | None = None) -> str:
    """A Mermaid flowchart, dependencies above their dependents.

    Args:
        graph: what to draw.
        statuses: status by name of task: adds it to the label and colours the node. Tasks that
            it lacks are drawn plain.
    """
    statuses = statuses or {}
    lines = ["flowchart TD"]
    members: dict[str, list[str]] = {}
    for i, task in enumerate(graph.tasks):
        status = statuses.get(task.name)
        label = _mermaid_text(task.name)
        if status is not None:
            shown = shown_status(status)
            label += f"<br/>{shown}"
            members.setdefault(shown, []).append(f"n{i}")
        lines.append(f'    n{i}["{label}"]')
    lines += [
        f"    n{parent} --> n{i}" for i, parents in enumerate(graph.parents) for parent in parents
    ]
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
    statuses = statuses or {}
    lines = ["digraph workflow {", "    node [shape=box];"]
    for i, task in enumerate(graph.tasks):
        status = statuses.get(task.name)
        label = _dot_text(task.name)
        style = ""
        if status is not None:
            label += f"\\n{shown_status(status)}"
            fill = _FILLS.get(shown_status(status))
            style = f', style=filled, fillcolor="{fill}"' if fill else ""
        lines.append(f'    n{i} [label="{label}"{style}];')
    lines += [
        f"    n{parent} -> n{i};" for i, parents in enumerate(graph.parents) for parent in parents
    ]
    return "\n".join([*lines, "}"]) + "\n"


def _mermaid_text(name: str) -> str:
    # The expression matches ASCII only: letters of other scripts stay as they are.
    return _MERMAID_MARKUP.sub(
        lambda match: f"#{ord(match[0])};" if match[0].isascii() else match[0], visible(name)
    )


def _dot_text(name: str) -> str:
    # Graphviz interprets HTML entities in plain labels, too.
    return visible(name).replace("\\", "\\\\").replace('"', '\\"').replace("&", "&amp;")
