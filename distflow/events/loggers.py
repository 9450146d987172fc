"""Loggers: callbacks that write a line per event."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import IO, Literal

from distflow.errors import InvalidInput
from distflow.events.notice import Callback, Notice
from distflow.text import visible
from distflow.wire.as_json import iso_time, json_text


def event_logger(form: Literal["text", "json"], stream: IO[str] | None = None) -> Callback:
    """A callback that writes one line per notice.

    Args:
        form: ``json`` writes one object per line with run, task, event, time, status and duration.
        stream: where to; None is standard error, as it is at each line.

    Raises:
        InvalidInput: there is no such form.
    """
    if form not in ("text", "json"):
        raise InvalidInput(f"a logger is 'text' or 'json', not {form!r}")
    render = _json_line if form == "json" else _text_line

    def write(notice: Notice) -> None:
        print(render(notice), file=stream or sys.stderr, flush=True)

    return write


def _json_line(notice: Notice) -> str:
    fields = {
        "run": notice.run_id,
        "task": notice.task or None,
        "event": notice.kind,
        "time": iso_time(notice.at),
        "status": notice.status or None,
        "duration": notice.duration,
        "attempt": notice.attempt or None,
        "worker": notice.worker or None,
        "message": notice.message or None,
        **({"simulated": True} if notice.simulated else {}),
    }
    return json_text(fields)


def _text_line(notice: Notice) -> str:
    words: Iterable[str] = (
        iso_time(notice.at) or "",
        notice.run_id,
        notice.kind,
        notice.task,
        notice.status,
        f"attempt {notice.attempt}" if notice.attempt > 1 else "",
        f"{notice.duration:.3f} s" if notice.duration else "",
        notice.message,
        "(simulated)" if notice.simulated else "",
    )
    return visible(" ".join(word for word in words if word))
