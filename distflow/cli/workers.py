"""``distflow workers``: which workers there are, and where they run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click

from distflow.cli.ui.common import connection_options, json_option, print_json, put, say
from distflow.cli.ui.connecting import open_to_look
from distflow.core.readings import WorkerInfo
from distflow.wire.as_json import iso_time

_HEAD = ("WORKER", "STATE", "QUEUES", "HOST", "PID", "DISTFLOW", "RQ", "PYTHON", "CODE", "IN")


@click.command("workers")
@json_option
@connection_options
def workers(*, as_json: bool, redis_url: str | None, data_dir: Path | None) -> None:
    """List the registered workers, and where they run.

    A worker reports what RQ does not know with its first batch; until then that is `?`.
    """
    with open_to_look(redis_url, data_dir) as backend:
        found = backend.workers()
    if as_json:
        print_json([_document(each) for each in found])
        return
    if not found:
        say("there are no workers: start one with `distflow worker`")
        return
    for text in _table(found):
        put(text)


def _document(worker: WorkerInfo) -> dict[str, Any]:
    """What ``--json`` prints of a worker: null for what is not known."""
    document = {name: value or None for name, value in worker._asdict().items()}
    times = {name: iso_time(document[name]) for name in ("started_at", "heard_at")}
    return {**document, "queues": list(worker.queues), **times}


def _table(found: Sequence[WorkerInfo]) -> Iterator[str]:
    rows = [_HEAD, *map(_row, found)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    refusals = ["", *(each.refusal for each in found)]
    for row, refusal in zip(rows, refusals, strict=True):
        cells = (f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True))
        yield "  ".join(cells).rstrip()
        if refusal:
            yield f"  it cannot run something in its last batch: {refusal}"


def _row(each: WorkerInfo) -> tuple[str, ...]:
    # A worker that has reported nothing may still have a DISTFLOW_CODE.
    code = each.code or ("-" if each.distflow else "?")
    queues = ",".join(each.queues) or "?"
    versions = (each.distflow or "?", each.rq or "?", each.python or "?")
    where = (each.host or "?", str(each.pid or "?"))
    return (each.name, each.state, queues, *where, *versions, code, each.directory or "?")
