"""``distflow pause`` and ``distflow cancel``."""

from __future__ import annotations

import time
from pathlib import Path

import click

from distflow.cli.ui.common import (
    ExitCode,
    connection_options,
    exit_code_of,
    json_option,
    next_command,
    print_json,
    say,
)
from distflow.cli.ui.connecting import open_connection
from distflow.cli.ui.foreground import Foreground
from distflow.cli.ui.interrupts import interruptible
from distflow.cli.ui.narration import outcome_lines
from distflow.cli.ui.progress import open_display
from distflow.core.status import RunStatus
from distflow.errors import WrongState
from distflow.events.notice import Interrupt
from distflow.runs.client import Client
from distflow.runs.documents import status_document
from distflow.runs.run import Run

#: Seconds beyond the grace and the lease that a cancellation may take.
_PATIENCE_SECONDS = 30.0


@click.command()
@click.argument("run_id")
@connection_options
@json_option
def pause(*, run_id: str, redis_url: str | None, data_dir: Path | None, as_json: bool) -> int:
    """Start no more tasks of a run; running tasks finish."""
    with open_connection(redis_url, data_dir) as backend:
        run = Client(backend).run(run_id)
        try:
            run.pause()
        except WrongState as error:
            raise WrongState(f"{error}: only a running run can be paused") from None
        info = run.info()
        running = info.counts["running"]
        runs = "runs" if running == 1 else "run"
        say(f"run {run_id} is paused; {running} of its tasks still {runs}")
        say(f"continue: {next_command('resume', run_id)}")
        if as_json:
            print_json(status_document(info))
    return ExitCode.SUCCESS


@click.command()
@click.argument("run_id")
@click.option(
    "--grace",
    "grace_seconds",
    metavar="S",
    type=click.FloatRange(0),
    help="Seconds until tasks that still run are killed.  [default: 10]",
)
@connection_options
@json_option
def cancel(
    *,
    run_id: str,
    grace_seconds: float | None,
    redis_url: str | None,
    data_dir: Path | None,
    as_json: bool,
) -> int:
    """Start no more tasks of a run, and stop running ones.

    Exits with 0 once the run is cancelled, with 4 while it is still being cancelled.
    """
    with interruptible() as interrupt, open_connection(redis_url, data_dir) as backend:
        client = Client(backend)
        settings = client.settings
        grace = settings.grace_seconds if grace_seconds is None else grace_seconds
        run = client.run(run_id)
        try:
            run.cancel(grace_seconds=grace)
        except WrongState as error:
            raise WrongState(f"{error}: there is nothing to cancel") from None
        began = time.monotonic()
        patience = grace + settings.lease_seconds + _PATIENCE_SECONDS
        _carry_out(run, interrupt, began + patience)
        info = run.info()
        for line in outcome_lines(run, info):
            say(line)
        if as_json:
            print_json(status_document(info))
        return ExitCode.SUCCESS if info.status == RunStatus.CANCELLED else exit_code_of(info.status)


def _carry_out(run: Run, interrupt: Interrupt, deadline: float) -> None:
    def tend() -> None:
        # Once interrupted, its executor leaves the run as it is: cancelling.
        if time.monotonic() > deadline:
            interrupt.set()

    with open_display() as display:
        Foreground(run, display, interrupt, tend=tend).finish(reopen=False)
