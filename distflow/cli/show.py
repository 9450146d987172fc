"""The commands that look into a run: watch, show, graph."""

from __future__ import annotations

import time
from pathlib import Path

import click

from distflow.authoring.params import load_workflow, parse_params
from distflow.cli.ui.common import (
    ExitCode,
    connection_options,
    exit_code_of,
    json_option,
    print_json,
    put,
    say,
)
from distflow.cli.ui.connecting import LOOKING_PATIENCE_SECONDS, open_connection
from distflow.cli.ui.foreground import Foreground
from distflow.cli.ui.interrupts import interruptible
from distflow.cli.ui.narration import outcome_lines
from distflow.cli.ui.progress import open_display
from distflow.cli.ui.task_view import task_lines
from distflow.cli.ui.views import step_command
from distflow.core.graph import Graph
from distflow.core.render import to_dot, to_mermaid, to_text
from distflow.core.status import TaskStatus
from distflow.errors import InvalidInput
from distflow.runs.client import Client
from distflow.runs.documents import read_task, status_document, task_document
from distflow.runs.lookup import find_task, live_statuses
from distflow.runs.outlook import next_steps, read_outlook
from distflow.runs.returned import returned_document
from distflow.runs.run import Run

#: How graphs are drawn.
_FORMATS = {"mermaid": to_mermaid, "dot": to_dot, "text": to_text}

#: Seconds between two looks of ``watch`` at a run that nobody leads.
_POLL_SECONDS = 0.5


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

    Exits with the same codes as `distflow submit`.
    """
    with open_connection(redis_url, data_dir, patience_seconds=LOOKING_PATIENCE_SECONDS) as backend:
        run = Client(backend).run(run_id)
        interrupted = _follow(run)
        info = run.info()
        if as_json:
            print_json({**status_document(info), "result": returned_document(run.store, info)})
        else:
            for text in outcome_lines(run, info):
                put(text)
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
    with open_connection(redis_url, data_dir, patience_seconds=LOOKING_PATIENCE_SECONDS) as backend:
        run = Client(backend).run(run_id)
        info = run.info()
        reading = read_task(run.store, info, find_task(run.store, task))
        document = task_document(info, reading, step_command)
        if as_json:
            print_json(document)
            return
        for text in task_lines(document, reading.waits):
            put(text)


@click.command("graph")
@click.argument("workflow", metavar="[MODULE:WORKFLOW]", required=False)
@click.option(
    "-p", "--param", "pairs", metavar="K=V", multiple=True, help="A parameter of the workflow."
)
@click.option("--run", "run_id", metavar="RUN_ID", help="Draw a run, coloured by status.")
@click.option(
    "--format",
    "form",
    type=click.Choice(list(_FORMATS)),
    default="mermaid",
    show_default=True,
    help="text has a line per task.",
)
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), help="Write to this file, not to stdout."
)
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
    """Draw the DAG of a workflow, or of a run.

    The tasks that a map or a plan has added are one box with their number.
    """
    if (workflow is None) == (run_id is None):
        raise InvalidInput("graph draws one thing: give MODULE:WORKFLOW or --run RUN_ID")
    statuses: dict[str, TaskStatus] | None = None
    if workflow is not None:
        drawn = _build(workflow, pairs)
    elif pairs:
        raise InvalidInput("-p goes with MODULE:WORKFLOW: a run has its parameters already")
    else:
        with open_connection(
            redis_url, data_dir, patience_seconds=LOOKING_PATIENCE_SECONDS
        ) as backend:
            run = Client(backend).run(run_id or "")
            drawn = run.graph()
            statuses = live_statuses(run.store, drawn, run.info().as_of)
    text = _FORMATS[form](drawn, statuses)
    if output is None or str(output) == "-":
        for each in text.splitlines():
            put(each)
    else:
        output.write_text(text, encoding="utf-8")
        say(f"wrote {output}")


def _build(spec: str, pairs: tuple[str, ...]) -> Graph:
    template = load_workflow(spec)
    return template.build(parse_params(template, pairs)).compile()


def _follow(run: Run) -> bool:
    """Show a run until it stands still or the watching is interrupted; True if interrupted."""
    with open_display() as display, interruptible() as interrupt:
        foreground = Foreground(run, display, interrupt)
        said = False
        while foreground.follow() is None:
            if not said:
                info = run.info()
                for step in next_steps(info, read_outlook(run.store, info)):
                    display.note(f"waits: {step.why}: `{step_command(step)}`")
                said = True
            time.sleep(_POLL_SECONDS)
        return interrupt.is_set()
