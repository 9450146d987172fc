"""The commands that show where runs stand: status, runs. They import as little as possible, since
they are typed often and must answer at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import click

from distflow.cli.ui.common import Line, connection_options, json_option, print_json, put, say
from distflow.cli.ui.connecting import open_to_look
from distflow.cli.ui.views import clip, columns, painted, status_lines, step_command
from distflow.cli.ui.waits import go_on_command
from distflow.core.run import RunInfo
from distflow.core.status import TaskStatus, shown_status
from distflow.core.waits import run_waits, time_wait
from distflow.errors import Damaged, RunNotFound, RunTooNew
from distflow.ids import check_run_id
from distflow.ports.backend import Backend
from distflow.ports.run_store import RunStore
from distflow.runs.documents import (
    done_count,
    misfit_documents,
    result_documents,
    status_document,
    wait_documents,
)
from distflow.runs.facts import read_facts
from distflow.runs.lookup import iter_cuts, live_status
from distflow.runs.outlook import Step, read_outlook
from distflow.runs.survey import survey_run, why_of
from distflow.runs.tallies import outermost, read_tallies
from distflow.runs.wait_words import timed_words
from distflow.text import span
from distflow.wire.codec import decode_result

#: How many tasks of each kind are named: to a person, and in JSON.
_SHOWN_NAMES, _JSON_NAMES = 10, 100

#: Columns of the list of runs besides the run's id, with some for the workflow.
_RUNS_COLUMNS = 54


@click.command("status")
@click.argument("run_id")
@click.option(
    "--tasks", "with_tasks", is_flag=True, help="List every task; with --json, also its result."
)
@json_option
@connection_options
def status(
    run_id: str, *, with_tasks: bool, as_json: bool, redis_url: str | None, data_dir: Path | None
) -> None:
    """Show where a run stands, and what it waits for."""
    with open_to_look(redis_url, data_dir) as backend:
        store = backend.store(check_run_id(run_id))
        info = store.read_info()
        survey = survey_run(store, info, limit=_JSON_NAMES if as_json else _SHOWN_NAMES)
        facts = read_facts(backend, info, survey)
        waits, again = run_waits(facts), go_on_command(info, backend)
        tallies = read_tallies(store, info)
        if as_json:
            document = status_document(info)
            document["misfits"] = misfit_documents(facts.workers)
            document["waits"] = wait_documents(info, waits, partial(_command, again))
            document["expansions"] = [tally._asdict() for tally in outermost(tallies)[:_JSON_NAMES]]
            if with_tasks:
                document["results"] = result_documents(store)
            print_json(document)
            return
        outlook = read_outlook(store, info, survey)
        for text in status_lines(info, survey, outlook, waits, again, tallies):
            put(text)
        if with_tasks:
            for text in _task_table(store, info):
                put(text)


@click.command("runs")
@json_option
@connection_options
def runs(*, as_json: bool, redis_url: str | None, data_dir: Path | None) -> None:
    """List all runs, newest first."""
    with open_to_look(redis_url, data_dir) as backend:
        run_ids = backend.run_ids()[::-1]
        if as_json:
            print_json([status_document(info) for info in _infos(backend, run_ids)])
            return
        if not run_ids:
            say("there are no runs: start one with `distflow submit MODULE:WORKFLOW`")
            return
        # A longer id shifts only its own row.
        width = min(max(map(len, run_ids)), max(8, columns() - _RUNS_COLUMNS))
        put(f"{'RUN':<{width}}  {'STATUS':<11}  {'DONE':>13}  {'AGE':>6}  WORKFLOW")
        for info in _infos(backend, run_ids):
            done = f"{done_count(info)}/{info.total}"
            age = span(info.as_of - info.created_at)
            row = painted(
                f"{info.run_id:<{width}}  ", info.status, f"  {done:>13}  {age:>6}  ", width=11
            )
            room = max(10, columns() - len(str(row)))
            put(row._replace(after=row.after + clip(info.workflow, room)))


def _command(again: str, step: Step) -> str:
    """What to type; ``again`` is the command that continues the run."""
    return again if step.is_resume else step_command(step)


def _infos(backend: Backend, run_ids: list[str]) -> Iterator[RunInfo]:
    for run_id in run_ids:
        try:
            yield backend.store(run_id).read_info()
        except RunNotFound:
            # Its keys are gone, or were never written: the index may list more than there is.
            continue
        except (RunTooNew, Damaged) as error:
            say(str(error))


def _task_table(store: RunStore, info: RunInfo) -> Iterator[Line]:
    yield ""
    yield f"{'STATUS':<9}  {'TRY':>3}  {'TOOK':>7}  TASK"
    for task, cut in iter_cuts(store):
        state = live_status(cut, info.as_of)
        result = cut.packed and decode_result(cut.packed, opaque=True, task=task.name)
        took = span(result.metrics.duration) if result and result.metrics else ""
        said = task.name
        if result:
            attempt, why = result.attempt, why_of(result) if state != TaskStatus.SUCCESS else ""
            said = f"{task.name}: {why}" if why else task.name
        elif state == TaskStatus.WAITING and cut.progress:
            attempt = cut.progress.attempt
            said = timed_words(time_wait(task.name, cut.progress), info.as_of)
        else:
            attempt = cut.claim.attempt if cut.claim else 0
        row = painted("", shown_status(state), f"  {attempt or '':>3}  {took:>7}  ", width=9)
        yield row._replace(after=row.after + clip(said, columns() - len(str(row))))
