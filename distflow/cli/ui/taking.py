"""How a command is told to take a snapshot over."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

import click

from distflow.runs.takeover import Taking
from distflow.snapshot.gap import GAPS, Gap

gap_option = click.option(
    "--gap",
    type=click.Choice(GAPS),
    default="unknown",
    show_default=True,
    help="At-most-once tasks that may have started since the export, where its run went on, come "
    "in as unknown, or they run, or the snapshot is refused.",
)

except_option = click.option(
    "--except",
    "without",
    metavar="TASK",
    multiple=True,
    help="As if the snapshot did not have what became of this task. May be repeated.",
)


def taking_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """``--snapshot`` as ``snapshot_path``, and how it is taken over, as one ``taking``."""

    @wraps(command)
    def call(
        *,
        gap: Gap,
        accept_gap: bool,
        keep: bool,
        rerun_changed: bool,
        without: tuple[str, ...],
        **rest: Any,
    ) -> Any:
        taking = Taking("run" if accept_gap else gap, keep, rerun_changed, without)
        return command(taking=taking, **rest)

    options = [
        click.option(
            "--snapshot",
            "snapshot_path",
            metavar="FILE",
            type=click.Path(exists=True, dir_okay=False, path_type=Path),
            help="What this export says is done does not run again.",
        ),
        click.option(
            "--keep",
            is_flag=True,
            help="Take what it has of tasks whose function or arguments have changed, too.",
        ),
        click.option(
            "--rerun-changed",
            is_flag=True,
            help="Run tasks again that have changed since, and all that is downstream of them.",
        ),
        except_option,
        gap_option,
        click.option("--accept-gap", is_flag=True, hidden=True, help="As --gap run."),
    ]
    for option in reversed(options):
        call = option(call)
    return call
