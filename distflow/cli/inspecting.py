"""The commands that look: status, runs, watch, show, graph."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import click

from distflow.cli.common import (
    ExitCode,
    connection_options,
    exit_code_of,
    json_option,
    next_command,
    open_client,
    print_json,
    say,
)
from distflow.cli.leading import Foreground, interruptible
from distflow.cli.progress import open_display
from distflow.cli.taskview import task_lines
from distflow.cli.telling import outcome_lines
from distflow.cli.views import clip, colour, columns, span, status_lines
from distflow.cli.waits import go_on_command
from distflow.client import Client
from distflow.codec import decode_result
from distflow.core.graph import Graph
from distflow.core.render import to_dot, to_mermaid
from distflow.core.run import RunInfo
from distflow.core.status import TaskStatus
from distflow.describe import (
    done_count,
    find_task,
    iter_cuts,
    live_status,
    live_statuses,
    result_documents,
    status_document,
    survey_run,
    task_document,
    why_of,
)
from distflow.errors import InvalidInput, RunNotFound
from distflow.handle import Run
from distflow.params import load_workflow, parse_params

#: Seconds between two looks of ``watch`` at a run that nobody leads.
_POLL_SECONDS = 0.5

#: Columns of the list of runs beside the run's id, with some for the workflow.
_RUNS_COLUMNS = 54


@click.command("status")
@click.argument("run_id")
@click.option("--tasks", "with_tasks", is_flag=True, help="Every task, with --json its result.")
@json_option
@connection_options
def status(
    run_id: str, *, with_tasks: bool, as_json: bool, redis_url: str | None, data_dir: Path | None
) -> None:
    """Show where a run stands, and what it waits for."""
    with open_client(redis_url, data_dir) as client:
        run = client.run(run_id)
        info = run.info()
        if as_json:
            document = status_document(info)
            if with_tasks:
                document["results"] = result_documents(run.store)
            print_json(document)
            return
        survey = survey_run(run.store, info)
        workers = client.dispatcher.count_workers(survey.queues)
        for text in status_lines(info, survey, workers, go_on_command(run, info)):
            click.echo(text)
        if with_tasks:
            for text in _task_table(run, info):
                click.echo(text)


@click.command("runs")
@json_option
@connection_options
def runs(*, as_json: bool, redis_url: str | None, data_dir: Path | None) -> None:
    """List every run, the newest first."""
    with open_client(redis_url, data_dir) as client:
        run_ids = client.run_ids()[::-1]
        if as_json:
            print_json([status_document(info) for info in _infos(client, run_ids)])
            return
        if not run_ids:
            say("there are no runs: start one by `distflow submit MODULE:WORKFLOW`")
            return
        # A longer id moves its own row alone.
        width = min(max(map(len, run_ids)), max(8, columns() - _RUNS_COLUMNS))
        click.echo(f"{'RUN':<{width}}  {'STATUS':<11}  {'DONE':>13}  {'AGE':>6}  WORKFLOW")
        for info in _infos(client, run_ids):
            done = f"{done_count(info)}/{info.total}"
            age = span(info.as_of - info.created_at)
            row = f"{info.run_id:<{width}}  {colour(info.status, 11)}  {done:>13}  {age:>6}  "
            room = columns() - len(click.unstyle(row))
            click.echo(row + clip(info.workflow, max(room, 10)))


@click.command("watch")
@click.argument("run_id")
@json_option
@connection_options
@click.pass_context
def watch(
    ctx: click.Context,
    run_id: str,
    *,
    as_json: bool,
    redis_url: str | None,
    data_dir: Path | None,
) -> None:
    """Follow a run until it ends or stands still.

    The exit code is that of `distflow submit`.
    """
    with open_client(redis_url, data_dir) as client:
        run = client.run(run_id)
        interrupted = _follow(run)
        info = run.info()
        if as_json:
            print_json(status_document(info))
        else:
            seconds = (info.ended_at or info.as_of) - (info.started_at or info.created_at)
            for text in outcome_lines(run, info, max(0.0, seconds)):
                click.echo(text)
    ctx.exit(ExitCode.INTERRUPTED if interrupted else exit_code_of(info.status))


@click.command("show")
@click.argument("run_id")
@click.argument("task")
@json_option
@connection_options
def show(
    run_id: str, task: str, *, as_json: bool, redis_url: str | None, data_dir: Path | None
) -> None:
    """Show a task: its result, error, attempts and worker."""
    with open_client(redis_url, data_dir) as client:
        run = client.run(run_id)
        document = task_document(run.store, run.info(), find_task(run.store, task))
        if as_json:
            print_json(document)
            return
        for text in task_lines(document):
            click.echo(text)


@click.command("graph")
@click.argument("workflow", metavar="[MODULE:WORKFLOW]", required=False)
@click.option("-p", "--param", "pairs", metavar="K=V", multiple=True, help="Of the workflow.")
@click.option("--run", "run_id", metavar="RUN_ID", help="Draw a run, coloured by status.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["mermaid", "dot"]),
    default="mermaid",
    show_default=True,
)
@click.option("-o", "--output", type=click.Path(path_type=Path), help="A file, not stdout.")
@connection_options
def graph(
    workflow: str | None,
    *,
    pairs: tuple[str, ...],
    run_id: str | None,
    form: str,
    output: Path | None,
    redis_url: str | None,
    data_dir: Path | None,
) -> None:
    """Draw the DAG of a workflow, or of a run."""
    if (workflow is None) == (run_id is None):
        raise InvalidInput("graph draws one thing: give MODULE:WORKFLOW or --run RUN_ID")
    statuses: dict[str, TaskStatus] | None = None
    if workflow is not None:
        drawn = _build(workflow, pairs)
    elif pairs:
        raise InvalidInput("-p is for MODULE:WORKFLOW: a run has its parameters already")
    else:
        with open_client(redis_url, data_dir) as client:
            run = client.run(run_id or "")
            drawn = run.graph()
            statuses = live_statuses(run.store, drawn, run.info().as_of)
    text = (to_mermaid if form == "mermaid" else to_dot)(drawn, statuses)
    if output is None or str(output) == "-":
        click.echo(text, nl=False)
    else:
        output.write_text(text, encoding="utf-8")
        say(f"wrote {output}")


def _build(spec: str, pairs: tuple[str, ...]) -> Graph:
    template = load_workflow(spec)
    return template.build(parse_params(template, pairs)).compile()


def _infos(client: Client, run_ids: list[str]) -> Iterator[RunInfo]:
    for run_id in run_ids:
        try:
            yield client.store(run_id).read_info()
        except RunNotFound:
            # Its keys are gone, or were never written: the index may say more than there is.
            continue


def _task_table(run: Run, info: RunInfo) -> Iterator[str]:
    yield ""
    for task, cut in iter_cuts(run.store):
        state = live_status(cut, info.as_of)
        result = None if cut.packed is None else decode_result(cut.packed, opaque=True)
        took = span(result.metrics.duration) if result and result.metrics else ""
        attempt = result.attempt if result else cut.claim.attempt if cut.claim else 0
        start = f"{colour(state, 9)}  {attempt or '':>3}  {took:>7}  "
        room = columns() - len(click.unstyle(start))
        why = why_of(result) if result and state != TaskStatus.SUCCESS else ""
        yield start + clip(f"{task.name}: {why}" if why else task.name, room)


def _follow(run: Run) -> bool:
    """Show a run until it stands still or the watching is interrupted; whether it was."""
    with open_display() as display, interruptible() as interrupt:
        foreground = Foreground(run, display, interrupt)
        said = False
        while foreground.follow() is None:
            if not said:
                resume = next_command("resume", run.run_id)
                display.note(f"waits: nobody coordinates it: go on with it by `{resume}`")
                said = True
            time.sleep(_POLL_SECONDS)
        return interrupt.is_set()
