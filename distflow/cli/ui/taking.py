"""The options that say how a command takes over a snapshot."""

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
    help="If the exported run continued, at-most-once tasks may have started since the export: "
    "take them as unknown, run them, or refuse the snapshot.",
)

except_option = click.option(
    "--except",
    "without",
    metavar="TASK",
    multiple=True,
    help="Ignore what the snapshot has of this task. May be repeated.",
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
            help="Start from this export: what it records as done does not run again.",
        ),
        click.option(
            "--keep",
            is_flag=True,
            help="Keep outcomes of the snapshot even if the task's function or arguments changed.",
        ),
        click.option(
            "--rerun-changed",
            is_flag=True,
            help="Rerun tasks that changed since the snapshot, and everything downstream.",
        ),
        except_option,
        gap_option,
        click.option("--accept-gap", is_flag=True, hidden=True, help="The same as --gap run."),
    ]
    for option in reversed(options):
        call = option(call)
    return call
