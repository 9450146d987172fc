"""The commands that change snapshot files."""

from __future__ import annotations

from pathlib import Path

import click

from distflow.cli.ui.common import json_option, print_json, put, say
from distflow.snapshot import Snapshot
from distflow.snapshot.gap import stale_warning
from distflow.text import counted


@click.group("snapshot")
def snapshot() -> None:
    """Change snapshot files, as `distflow export` writes them."""


@snapshot.command("drop")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("tasks", metavar="TASK…", nargs=-1, required=True)
@click.option(
    "-o",
    "--output",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Leave FILE as it is, and write to this file.",
)
@json_option
def drop(file: Path, tasks: tuple[str, ...], *, output: Path | None, as_json: bool) -> None:
    """Remove the outcomes of tasks from a file.

    A run that starts from the file evaluates these tasks again. The outcomes of tasks that depend
    on them stay.
    """
    names = list(dict.fromkeys(tasks))
    left = Snapshot.load(file).without(*names)
    target = output or file
    left.dump(target)
    stale = left.dependents_of(names)
    if stale:
        say(f"warning: {stale_warning(stale, 'drop {} as well')}")
    if as_json:
        document = {"file": str(target), "dropped": names, "outcomes": len(left)}
        print_json({**document, "resting": stale})
        return
    what, rest = counted(len(names), "task"), counted(len(left), "outcome")
    put(f"took {what} out of {target}, which has {rest} now")
