"""``distflow submit`` and ``distflow resume``."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from pathlib import Path

import click

from distflow.authoring import Workflow
from distflow.authoring.params import load_workflow, parse_params, read_pairs
from distflow.cli.ui.common import (
    ExitCode,
    connection_options,
    exit_code_of,
    json_option,
    next_command,
    print_json,
    say,
    show,
)
from distflow.cli.ui.connecting import open_connection
from distflow.cli.ui.dry_run import print_dry_run
from distflow.cli.ui.foreground import see_through
from distflow.cli.ui.interrupts import interruptible
from distflow.cli.ui.narration import outcome_lines
from distflow.cli.ui.progress import WritingProgress
from distflow.cli.ui.run_options import detach_option, eviction_option, run_options
from distflow.cli.ui.waits import go_on_command
from distflow.core.run import RunInfo
from distflow.core.run_options import NewRunOptions
from distflow.core.status import RESTING_RUNS
from distflow.errors import DistflowError, InvalidInput
from distflow.ids import check_run_id
from distflow.runs.advice import durability_warnings
from distflow.runs.client import Client
from distflow.runs.documents import status_document
from distflow.runs.earlier import find_or_create
from distflow.runs.run import Run
from distflow.runs.takeover import Taking
from distflow.snapshot import Snapshot


@click.command()
@run_options(detach_option, eviction_option)
@click.option("--or-resume", is_flag=True, help="If a run of this --run-id exists, continue it.")
@click.option(
    "--dry-run",
    is_flag=True,
    help="Print what would run, in order, and write nothing. Conditions are called, here.",
)
@connection_options
@json_option
def submit(
    *,
    workflow_path: str,
    pairs: tuple[str, ...],
    run_id: str | None,
    snapshot_path: Path | None,
    taking: Taking,
    options: NewRunOptions,
    or_resume: bool,
    dry_run: bool,
    redis_url: str | None,
    data_dir: Path | None,
    as_json: bool,
) -> int:
    """Create a run and coordinate it here until it ends.

    Prints the run's id as the first line on stdout. Ctrl-C leaves the run as it is, to be resumed;
    SIGTERM hands it over to other coordinators. Start workers elsewhere, with `distflow worker` or
    `rq worker`.
    """
    if or_resume and (run_id is None or dry_run):
        raise InvalidInput("--or-resume needs the --run-id to continue, and no --dry-run")
    # An existing run keeps its parameters: they need not be given again.
    template = load_workflow(workflow_path)
    given = read_pairs(template, pairs)
    workflow = None if or_resume else build_workflow(workflow_path, pairs)
    snapshot = Snapshot.load(snapshot_path) if snapshot_path else None
    if workflow and dry_run:
        print_dry_run(workflow, run_id, snapshot, taking, as_json=as_json)
        return ExitCode.SUCCESS
    with (
        interruptible(hands_over=True) as interrupt,
        open_connection(redis_url, data_dir, create=True, interrupt=interrupt) as backend,
    ):
        client = Client(backend)
        create = partial(
            client.create,
            run_id=run_id,
            snapshot=snapshot,
            taking=taking,
            options=options,
            progress=WritingProgress(interrupt),
        )
        if workflow:
            run, earlier = create(workflow), False
        else:
            run, earlier = find_or_create(
                client.engine,
                check_run_id(run_id or ""),
                template.reference or template.name,
                given,
                lambda: create(build_workflow(workflow_path, pairs)),
            )
        # The coordinator reads the graph from Redis: a large one need not be in memory twice.
        del workflow
        print_run_id(run, as_json=as_json)
        if earlier:
            say(f"run {run.run_id} exists already: continuing it")
            check_gap(run, accept_gap=taking.gap == "run")
            warn_of_durability(run)
        else:
            for warning in run.warnings:
                say(f"warning: {warning}")
        if not options.detach:
            return see_through(run, interrupt, reopen=earlier, as_json=as_json)
        info = run.info()
        for line in _detached_lines(run, info):
            say(line)
        if as_json:
            print_json(status_document(info))
        # A run that existed before may need more than a coordinator.
        return exit_code_of(info.status) if info.status in RESTING_RUNS else ExitCode.SUCCESS


@click.command()
@click.argument("run_id")
@click.option(
    "--force", is_flag=True, help="Take the run over at once from the coordinator that leads it."
)
@click.option(
    "--accept-gap",
    is_flag=True,
    hidden=True,
    help="Resume an import of 0.1 although the run it was exported from may have continued.",
)
@connection_options
@json_option
def resume(
    *,
    run_id: str,
    force: bool,
    accept_gap: bool,
    redis_url: str | None,
    data_dir: Path | None,
    as_json: bool,
) -> int:
    """Finish a run: keep what succeeded, evaluate the rest again.

    If another coordinator leads the run, unpauses and follows it, and takes it over if that
    coordinator dies. Never restarts an at-most-once task that has started.
    """
    with (
        interruptible(hands_over=True) as interrupt,
        open_connection(redis_url, data_dir, interrupt=interrupt) as backend,
    ):
        run = Client(backend).run(run_id)
        check_gap(run, accept_gap=accept_gap)
        warn_of_durability(run)
        return see_through(run, interrupt, reopen=True, force=force, as_json=as_json)


def _detached_lines(run: Run, info: RunInfo) -> Iterable[str]:
    """Who will lead a detached run, and the next command."""
    if info.status in RESTING_RUNS:
        return outcome_lines(run, info)
    watch = next_command("watch", run.run_id)
    if info.coordinator is not None:
        return [f"{info.coordinator} leads it: {watch}"]
    count = len(run.engine.backend.coordinators())
    if not count:
        lead = f"or lead it here: {next_command('resume', run.run_id)}"
        return [f"no coordinator is running: start `{next_command('coordinator')}`", lead]
    who = "a coordinator will" if count == 1 else f"one of {count} coordinators will"
    return [f"{who} lead it: {watch}"]


def build_workflow(path: str, pairs: tuple[str, ...]) -> Workflow:
    """Find a workflow and build it with its parameters.

    Raises:
        InvalidInput: it cannot be found or built; the message has the type and place of an error of
            the user's own code.
    """
    template = load_workflow(path)
    params = parse_params(template, pairs)
    try:
        return template.build(params)
    except DistflowError:
        raise
    except Exception as error:
        what = f"{type(error).__name__}: {error}".rstrip(": ")
        raise InvalidInput(f"workflow {path!r} cannot be built: {what}{_place(error)}") from error


def _place(error: Exception) -> str:
    """``" (etl.py, line 3)"``: where an error was raised."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return f" ({trace.tb_frame.f_code.co_filename}, line {trace.tb_lineno})" if trace else ""


def check_gap(run: Run, *, accept_gap: bool) -> None:
    """Refuse to resume the import of a run that may have continued, unless a person accepts that.

    Raises:
        InvalidInput: it was not accepted.
    """
    if run.info().gap and not accept_gap:
        raise InvalidInput(
            f"run {run.run_id} was imported from a run that had not ended, and at-most-once tasks "
            "may have started there since: make sure that it stands still, then resume with "
            "--accept-gap"
        )


def print_run_id(run: Run, *, as_json: bool) -> None:
    """Print the run's id, alone on its line, before anything runs."""
    if as_json:
        say(run.run_id)
        return
    try:
        show(run.run_id)
    except OSError:
        # Else nobody would know that the run exists.
        again = go_on_command(run.info(), run.engine.impatient)
        say(f"run {run.run_id} was created: continue it with `{again}`")
        raise


def warn_of_durability(run: Run) -> None:
    """Warn if the run's Redis may lose data."""
    for warning in durability_warnings(run.store):
        say(f"warning: {warning}")
