"""The commands that move a run: export and import."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from shutil import copyfileobj

import click

from distflow.cli.submit import warn_of_durability
from distflow.cli.ui.common import (
    connection_options,
    json_option,
    next_command,
    print_json,
    put,
    say,
)
from distflow.cli.ui.connecting import LOOKING_PATIENCE_SECONDS, open_connection
from distflow.cli.ui.run_options import durability_option, eviction_option
from distflow.cli.ui.taking import except_option, gap_option
from distflow.errors import InvalidInput
from distflow.runs.client import Client
from distflow.runs.exporter import ExportSummary
from distflow.runs.transfer import export_run, import_run
from distflow.snapshot.gap import Gap
from distflow.text import counted

_STDOUT = "-"


@click.command("export")
@click.argument("run_id")
@click.option(
    "-o",
    "--output",
    metavar="FILE",
    help="Where to write; - is stdout.  [default: RUN_ID.distflow]",
)
@click.option(
    "--format",
    "form",
    type=click.Choice(["msgpack", "json"]),
    default="msgpack",
    show_default=True,
    help="JSON is for reading and cannot be imported; its file is RUN_ID.json.",
)
@json_option
@connection_options
def export(
    run_id: str,
    output: str | None,
    form: str,
    *,
    as_json: bool,
    redis_url: str | None,
    data_dir: Path | None,
) -> None:
    """Write a run to a file, even while it runs.

    Import the file elsewhere with `distflow import`, and resume the run there.
    """
    plain = form == "json"
    target = output or f"{run_id}.{'json' if plain else 'distflow'}"
    if target == _STDOUT and as_json:
        raise InvalidInput("--json prints to stdout, and so would the export: give -o FILE")
    if target == _STDOUT and not plain and sys.stdout.isatty():
        raise InvalidInput("a terminal cannot show msgpack: give -o FILE, or --format json")
    with open_connection(redis_url, data_dir, patience_seconds=LOOKING_PATIENCE_SECONDS) as backend:
        store = Client(backend).run(run_id).store
        if target == _STDOUT:
            summary = export_run(store, sys.stdout.buffer, as_json=plain)
        else:
            summary = export_run(store, target, as_json=plain)
    if not plain and summary.live and summary.once:
        once = counted(summary.once, "at_most_once task")
        say(
            f"warning: {once} had not started: if the run continues here, the import takes them "
            "as unknown"
        )
    if as_json:
        print_json({**summary._asdict(), "file": target, "format": form})
        return
    say(_describe(summary, "stdout" if target == _STDOUT else target))
    if not plain and target != _STDOUT:
        say(f"import it elsewhere with `distflow import {target}`")


@click.command("import")
@click.argument("file", metavar="FILE")
@click.option("--run-id", metavar="ID", help="Id of the new run.  [default: as exported]")
@except_option
@gap_option
@durability_option
@eviction_option
@json_option
@connection_options
def import_(
    file: str,
    run_id: str | None,
    *,
    without: tuple[str, ...],
    gap: Gap,
    durability: str | None,
    allow_eviction: bool,
    as_json: bool,
    redis_url: str | None,
    data_dir: Path | None,
) -> None:
    """Create a run from an exported one.

    FILE may be - for stdin. `distflow resume` then runs what remains.
    """
    with (
        open_connection(redis_url, data_dir, create=True) as backend,
        _readable(file) as source,
    ):
        client = Client(backend)
        server = client.settle_server(durability, allow_eviction=allow_eviction)
        made = import_run(
            source,
            client.store,
            run_id=run_id,
            server=server,
            make_undo=client.brief_store,
            gap=gap,
            without=without,
            warn=lambda warning: say(f"warning: {warning}"),
        )
        run = client.run(made)
        unknown = run.info().counts["unknown"]
        warn_of_durability(run)
    resume = next_command("resume", made)
    if as_json:
        # Runs with a gap are no longer created.
        print_json({"run_id": made, "gap": False, "unknown": unknown, "resume": resume})
        return
    put(made)
    say(f"continue it with `{resume}`")


@contextmanager
def _readable(file: str) -> Iterator[str]:
    """A path to read from: stdin is copied, since the file is read twice."""
    if file != _STDOUT:
        yield file
        return
    with tempfile.NamedTemporaryFile(prefix="stdin-", suffix=".distflow") as copy:
        copyfileobj(sys.stdin.buffer, copy)
        copy.flush()
        yield copy.name


def _describe(summary: ExportSummary, target: str) -> str:
    known = ", ".join(f"{count} {status}" for status, count in summary.outcomes.items())
    live = "; it had not ended" if summary.live else ""
    return (
        f"exported run {summary.run_id} to {target}: {counted(summary.tasks, 'task')}"
        f"{f' ({known})' if known else ''}, {summary.size:,} bytes{live}"
    )
