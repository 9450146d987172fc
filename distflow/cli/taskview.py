"""How one task looks to a person: the text of ``distflow show``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from distflow.cli.common import Line
from distflow.cli.views import block, clip, columns, line, painted, span
from distflow.plain import json_text

#: Lines of a value, and of history, that are shown without ``--json``.
_VALUE_LINES = 40
_HISTORY_LINES = 20

#: Dependencies that are named without ``--json``.
_SHOWN_DEPENDENCIES = 10

_SATISFIED = "success"


def task_lines(document: Mapping[str, Any]) -> Iterator[Line]:
    """The text of a task document: see :func:`distflow.describe.task_document`."""
    yield line("task", f"{document['task']}", whole=True)
    yield line("run", document["run_id"], whole=True)
    tolerated = document["continue_on_error"] and document["status"] == "failure"
    goes_on = " (tolerated: what depends on it goes on)" if tolerated else ""
    yield painted("status".ljust(11), document["status"], goes_on)
    yield line("function", document["function"])
    effects = "" if document["effects"] == "normal" else f", effects {document['effects']}"
    yield line("queue", document["queue"] + effects)
    if document["effects"] == "at_most_once":
        yield line("key", document["key"], whole=True)
    if document["verify"]:
        yield line("verify", document["verify"])
    if document["saved"] is not None:
        yield line("saved", json_text(document["saved"]))
    yield from _live_lines(document)
    yield from _result_lines(document["result"])
    yield from _dependency_lines(document["dependencies"])
    yield from _history_lines(document["history"])


def _live_lines(document: Mapping[str, Any]) -> Iterator[str]:
    claim = document["claim"]
    if claim:
        began = "started" if claim["started_at"] else "claimed"
        when = claim["started_at"] or claim["claimed_at"]
        iteration = f", iteration {claim['iteration']}" if claim["iteration"] > 1 else ""
        yield line("attempt", f"{claim['attempt']}{iteration}, {began} {when}")
        yield line("worker", claim["worker"] or "not known yet")
    elif document["waits_until"]:
        yield line("waits", f"for attempt {document['next_attempt']} at {document['waits_until']}")
    elif document["result"] is None:
        open_names = [
            name for name, status in document["dependencies"].items() if status != _SATISFIED
        ]
        what = ", ".join(open_names[:_SHOWN_DEPENDENCIES])
        if len(open_names) > _SHOWN_DEPENDENCIES:
            what += f" and {len(open_names) - _SHOWN_DEPENDENCIES} more"
        yield line("waits for", what or f"a worker of queue {document['queue']!r}")


def _dependency_lines(dependencies: Mapping[str, str]) -> Iterator[str]:
    """A few of them, those that are no success first."""
    ordered = sorted(dependencies.items(), key=lambda item: item[1] == _SATISFIED)
    for name, status in ordered[:_SHOWN_DEPENDENCIES]:
        yield line("depends on", f"{name}: {status}")
    if len(ordered) > _SHOWN_DEPENDENCIES:
        yield line("depends on", f"and {len(ordered) - _SHOWN_DEPENDENCIES} more: see --json")


def _result_lines(result: Mapping[str, Any] | None) -> Iterator[str]:
    if result is None:
        return
    if result["attempt"]:
        yield line("attempt", str(result["attempt"]))
    if result["worker"]:
        yield line("worker", result["worker"])
    metrics = result["metrics"]
    if metrics:
        yield line("took", span(metrics["duration"]))
    message, error = result["message"] or "", result["error"] or ""
    # An exception's own message is in both.
    if message.strip() and not error.strip().endswith(message.strip()):
        yield from block("message", message.strip())
    if error:
        yield from block("error", error.strip())
    if result["status"] == _SATISFIED or result["data"] is not None:
        yield from _value_lines(result["data"])
    if result.get("traceback"):
        yield "traceback"
        for text in result["traceback"].rstrip().splitlines():
            yield "  " + text


def _value_lines(data: Any) -> Iterator[str]:
    lines = json_text(data, indent=2).splitlines()
    if len(lines) == 1:
        yield line("result", lines[0])
        return
    yield "result"
    for text in lines[:_VALUE_LINES]:
        yield "  " + text
    if len(lines) > _VALUE_LINES:
        yield f"  … {len(lines) - _VALUE_LINES} more lines: see --json"


def _history_lines(history: list[dict[str, Any]]) -> Iterator[str]:
    if not history:
        return
    yield "history"
    if len(history) > _HISTORY_LINES:
        yield f"  … {len(history) - _HISTORY_LINES} older entries: see --json"
    for entry in history[-_HISTORY_LINES:]:
        attempt = f", attempt {entry['attempt']}" if entry["attempt"] else ""
        status = f": {entry['status']}" if entry["status"] else ""
        by = f", by {entry['by']}" if entry["by"] else ""
        text = f"{entry['at']}  {entry['kind']}{attempt}{status}{by}"
        yield "  " + clip(text, columns() - 2)
        result = entry["result"] or {}
        why = entry["note"] or result.get("error") or result.get("message")
        if why:
            yield "    " + clip(why, columns() - 4)
