"""How one task looks to a person: the text of ``distflow show``, never cut."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from distflow.cli.ui.common import Line
from distflow.cli.ui.views import block, clip, line, painted
from distflow.core.waits import Wait
from distflow.runs.wait_words import task_words
from distflow.text import one_line, span
from distflow.wire.as_json import json_text

_SATISFIED = "success"

#: Characters of what a growing node stands for: JSON has all of it.
_LONGEST_VALUE = 500

#: Options with a line of their own.
_ELSEWHERE = frozenset({"queue", "effects", "verify"})


def _line(label: str, text: str) -> str:
    return line(label, one_line(text), whole=True)


def task_lines(document: Mapping[str, Any], waits: Sequence[Wait]) -> Iterator[Line]:
    """The text of a task document, see :func:`distflow.runs.documents.task_document`, and of what
    the task waits for.
    """
    yield _line("task", f"{document['task']}")
    yield _line("run", document["run_id"])
    tolerated = document["continue_on_error"] and document["status"] == "failure"
    goes_on = " (tolerated: its dependents run anyway)" if tolerated else ""
    yield painted("status".ljust(11), document["status"], goes_on)
    if document["kind"] != "call":
        yield _line("kind", document["kind"])
    yield _line("function", document["function"])
    effects = "" if document["effects"] == "normal" else f", effects {document['effects']}"
    yield _line("queue", document["queue"] + effects)
    if document["effects"] == "at_most_once":
        yield _line("key", document["key"])
    if document["verify"]:
        yield _line("verify", document["verify"])
    options = document["options"].items()
    more = [f"{name} {json_text(value)}" for name, value in options if name not in _ELSEWHERE]
    if more:
        yield _line("options", ", ".join(more))
    if document["saved"] is not None:
        yield _line("saved", json_text(document["saved"]))
    yield from _live_lines(document, waits)
    children = document["children"]
    if children is not None:
        yield _line("children", _counts_text(children))
    yield from _result_lines(document["result"], is_node=children is not None)
    yield from _dependency_lines(document["dependencies"])
    yield from _history_lines(document["history"])


def _live_lines(document: Mapping[str, Any], waits: Sequence[Wait]) -> Iterator[str]:
    claim = document["claim"]
    if claim:
        began = "started" if claim["started_at"] else "claimed"
        when = claim["started_at"] or claim["claimed_at"]
        iteration = f", iteration {claim['iteration']}" if claim["iteration"] > 1 else ""
        yield _line("attempt", f"{claim['attempt']}{iteration}, {began} {when}")
        yield _line("worker", claim["worker"] or "not known yet")
    said = task_words(waits, document["run_id"])
    if said is not None:
        yield _line(*said)


def _dependency_lines(dependencies: Mapping[str, str]) -> Iterator[str]:
    """Dependencies without success come first."""
    for name, status in sorted(dependencies.items(), key=lambda item: item[1] == _SATISFIED):
        yield _line("depends on", f"{name}: {status}")


def _counts_text(children: Mapping[str, int]) -> str:
    """``100: 37 success, 2 failure, 61 pending``."""
    known = [f"{count} {status}" for status, count in children.items() if status != "total"]
    return f"{children['total']}{': ' if known else ''}{', '.join(known)}"


def _result_lines(result: Mapping[str, Any] | None, *, is_node: bool) -> Iterator[str]:
    """``is_node``: the data are gathered, and null until all children have ended well."""
    if result is None:
        return
    if result["attempt"]:
        yield _line("attempt", str(result["attempt"]))
    if result["worker"]:
        host = f", on {result['host']}" if result["host"] else ""
        yield _line("worker", result["worker"] + host)
    metrics = result["metrics"]
    if metrics:
        yield _line("took", span(metrics["duration"]))
    message, error = result["message"] or "", result["error"] or ""
    # The exception's message is in the error and in the traceback.
    if message.strip() and not error.strip().endswith(message.strip()):
        yield from block("message", message.strip())
    if error:
        yield from block("error", error.strip())
    if is_node and result["data"] is not None:
        yield _line("result", clip(json_text(result["data"]), _LONGEST_VALUE))
    elif not is_node and (result["status"] == _SATISFIED or result["data"] is not None):
        yield from _value_lines(result["data"])
    if result.get("traceback"):
        yield "traceback"
        for text in result["traceback"].rstrip().splitlines():
            yield "  " + text


def _value_lines(data: Any) -> Iterator[str]:
    lines = json_text(data, indent=2).splitlines()
    if len(lines) == 1:
        yield _line("result", lines[0])
        return
    yield "result"
    for text in lines:
        yield "  " + text


def _history_lines(history: list[dict[str, Any]]) -> Iterator[str]:
    if not history:
        return
    yield "history"
    for entry in history:
        attempt = f", attempt {entry['attempt']}" if entry["attempt"] else ""
        status = f": {entry['status']}" if entry["status"] else ""
        by = f", by {entry['by']}" if entry["by"] else ""
        text = f"{entry['at']}  {entry['kind']}{attempt}{status}{by}"
        yield "  " + text
        result = entry["result"] or {}
        why = entry["note"] or result.get("error") or result.get("message")
        if why:
            yield "    " + one_line(why)
