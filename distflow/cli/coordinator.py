"""``distflow coordinator``: the service that leads detached and orphaned runs."""

from __future__ import annotations

import logging
import time
from pathlib import Path

import click

from distflow.cli.ui.aside import run_aside
from distflow.cli.ui.common import ExitCode, connection_options, say
from distflow.cli.ui.connecting import open_connection
from distflow.cli.ui.interrupts import interruptible
from distflow.events.notice import Notice
from distflow.runs.client import Client

#: Events of runs that are reported, besides their start and end.
_TOLD = frozenset({"repair", "warning", "task_unknown", "task_resolved"})


@click.command("coordinator")
@connection_options
def coordinator(*, redis_url: str | None, data_dir: Path | None) -> int:
    """Lead detached runs, and runs whose coordinator died.

    Start several: each run has one coordinator at a time, and if one dies, the others take over
    its runs. On SIGTERM or Ctrl-C it hands its runs over at once, and exits with 0.
    """
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(message)s")
    with interruptible() as stop, open_connection(redis_url, data_dir, interrupt=stop) as backend:
        service = Client(backend).coordinator(stop, listener=_tell, report=_report)
        _report(f"coordinator {service.owner} is ready")
        for advice in backend.server_advice():
            _report(f"warning: {advice}")
        run_aside(service.run, "distflow-service")
        counts = service.counts
        _report(f"stopped; runs led: {counts.adopted}, to their end: {counts.ended}")
    return ExitCode.SUCCESS


def _report(line: str) -> None:
    say(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {line}")


def _tell(notice: Notice) -> None:
    if notice.kind in _TOLD:
        about = f" {notice.task}:" if notice.task else ""
        what = notice.message or notice.status
        _report(f"run {notice.run_id}: {notice.kind}{about} {what}")
