"""The commands that decide: resolve, delete, purge."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click

from distflow.cli.ui.common import (
    connection_options,
    json_option,
    next_command,
    print_json,
    put,
    say,
)
from distflow.cli.ui.connecting import open_connection
from distflow.cli.ui.waits import go_on_command
from distflow.core.resolution import Decision
from distflow.core.run import RunInfo
from distflow.core.status import ACTIVE_RUNS, ENDED_RUNS, OVER_RUNS, TaskStatus
from distflow.errors import Damaged, InvalidInput, LookAgain, RunNotFound, RunTooNew, WrongState
from distflow.runs.client import Client
from distflow.runs.decisions import NOTHING
from distflow.runs.graph_reader import iter_graph
from distflow.runs.outlook import read_outlook
from distflow.runs.run import Run
from distflow.text import counted, span
from distflow.wire.as_json import parse_json

_UNIT_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


#: Stands for a ``--done`` without JSON: no user can type it.
_NO_JSON = ""


class _ResolveCommand(click.Command):
    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Let ``--done=-1`` be a number: click would take ``-1`` for an option."""
        spaced = [f"--done= {word[7:]}" if word.startswith("--done=-") else word for word in args]
        return super().parse_args(ctx, spaced)


@click.command("resolve", cls=_ResolveCommand)
@click.argument("run_id")
@click.argument("tasks", metavar="TASK…", nargs=-1)
@click.option("--all-unknown", is_flag=True, help="Instead of TASK: every unknown task of the run.")
@click.option(
    "--done",
    is_flag=False,
    flag_value=_NO_JSON,
    metavar="[JSON]",
    help="It happened; JSON is what the function would have returned.",
)
@click.option("--retry", is_flag=True, help="It did not happen: run it again.")
@click.option("--fail", is_flag=True, help="Make it a failure.")
@click.option("--note", default="", metavar="TEXT", help="A note for the history.")
@json_option
@connection_options
def resolve(
    run_id: str,
    tasks: tuple[str, ...],
    *,
    all_unknown: bool,
    done: str | None,
    retry: bool,
    fail: bool,
    note: str,
    as_json: bool,
    redis_url: str | None,
    data_dir: Path | None,
) -> None:
    """Decide how at-most-once tasks ended.

    Such a task is unknown because its worker was lost, or it started and failed. Find out what
    happened, then record it here; several tasks are decided all or none. A new decision can
    correct an earlier one until a dependent has started.
    """
    decision, data = _decision(done, retry=retry, fail=fail)
    if all_unknown == bool(tasks):
        raise InvalidInput("resolve needs the tasks to decide: TASK…, or --all-unknown")
    with open_connection(redis_url, data_dir) as backend:
        client = Client(backend)
        run = client.run(run_id)
        names = run.unknown_tasks() if all_unknown else list(tasks)
        statuses = run.resolve(names, decision, data, note=note) if names else {}
        info = run.info()
        lines = list(_resolved_lines(run, info, statuses))
    if as_json:
        document: dict[str, Any] = {"run_id": run_id, "decision": decision}
        if len(statuses) == 1:
            ((document["task"], document["status"]),) = statuses.items()
        document["tasks"] = statuses
        document |= {"unknown": info.counts["unknown"], "coordinator": info.coordinator}
        print_json(document)
        return
    for line in lines:
        put(line)


def _resolved_lines(run: Run, info: RunInfo, statuses: Mapping[str, TaskStatus]) -> Iterator[str]:
    """What was decided, and what to type next."""
    if not statuses:
        yield f"run {info.run_id} has no unknown task: there is nothing to decide"
        return
    for task, status in statuses.items():
        what = "will run again" if status == TaskStatus.READY else f"is {status} now"
        yield f"task {task!r} of run {info.run_id} {what}"
    left = info.counts["unknown"]
    if left:
        more = f"{counted(left, 'task')} {'is' if left == 1 else 'are'}"
        yield f"{more} still unknown: {next_command('status', info.run_id)}"
    if info.coordinator is not None and info.status in ACTIVE_RUNS:
        yield f"{info.coordinator} continues the run"
    elif read_outlook(run.store, info).resumes:
        yield f"continue the run: {go_on_command(info, run.engine.impatient)}"


@click.command("delete")
@click.argument("run_ids", metavar="RUN_ID…", nargs=-1, required=True)
@click.option(
    "--force",
    is_flag=True,
    help="Even if somebody leads it, or tasks of it are running or unknown.",
)
@json_option
@connection_options
def delete(
    run_ids: tuple[str, ...],
    *,
    force: bool,
    as_json: bool,
    redis_url: str | None,
    data_dir: Path | None,
) -> None:
    """Remove runs, with everything recorded about them."""
    with open_connection(redis_url, data_dir) as backend:
        client = Client(backend)
        # All are checked before the first is deleted.
        infos = {
            run_id: _find_deletable(client, run_id, force=force)
            for run_id in dict.fromkeys(run_ids)
        }
        for info in infos.values():
            if info is not None and not force:
                _check_deletable(info)
        for run_id, info in infos.items():
            _delete(client, run_id, info, force=force)
            if not as_json:
                put(f"deleted run {run_id}")
    if as_json:
        print_json({"deleted": list(infos)})


@click.command("purge")
@click.option(
    "--older-than", metavar="AGE", required=True, help="Time since the end: 90s, 15m, 12h, 30d, 8w."
)
@click.option("--dry-run", is_flag=True, help="Only list what would be deleted.")
@json_option
@connection_options
def purge(
    older_than: str, *, dry_run: bool, as_json: bool, redis_url: str | None, data_dir: Path | None
) -> None:
    """Remove runs that ended long ago. Runs that wait for a person stay."""
    seconds = parse_age(older_than)
    deleted: list[str] = []
    with open_connection(redis_url, data_dir) as backend:
        client = Client(backend)
        for run_id in client.run_ids():
            try:
                info = client.store(run_id).read_info()
                if not _is_older(info, seconds):
                    continue
                if not dry_run:
                    _delete(client, run_id, info, force=False)
            except (RunNotFound, WrongState):
                # It was deleted or resumed since it was listed.
                continue
            except (RunTooNew, Damaged) as error:
                say(str(error))
                continue
            deleted.append(run_id)
            if not as_json:
                age = span(info.as_of - (info.ended_at or 0.0))
                verb = "would delete" if dry_run else "deleted"
                put(f"{verb} run {run_id}: {info.status}, ended {age} ago")
    if as_json:
        print_json({"deleted": deleted, "dry_run": dry_run})
    elif not deleted:
        say(f"no run ended more than {older_than} ago")


def parse_age(text: str) -> float:
    """``"30d"`` -> seconds; units s, m, h, d, w.

    Raises:
        InvalidInput: the text does not have that form.
    """
    match = re.fullmatch(r"(\d{1,9}(?:\.\d{1,9})?)([smhdw])", text.strip(), re.ASCII)
    if not match:
        raise InvalidInput(
            f"--older-than {text!r} is not an age: use a number and s, m, h, d or w, such as 30d"
        )
    return float(match[1]) * _UNIT_SECONDS[match[2]]


def _decision(done: str | None, *, retry: bool, fail: bool) -> tuple[Decision, Any]:
    if (done is not None) + retry + fail != 1:
        raise InvalidInput("resolve needs one decision: --done [JSON], --retry or --fail")
    if done is None or not done.strip():
        return ("done" if done is not None else "retry" if retry else "fail"), NOTHING
    try:
        return "done", parse_json(done)
    except ValueError as error:
        raise InvalidInput(
            f"--done {done!r:.60} is not JSON ({error}): quote text as '\"text\"', and put a "
            "--done without JSON last"
        ) from None


def _find_deletable(client: Client, run_id: str, *, force: bool) -> RunInfo | None:
    """A run that exists; None if it is damaged, and ``force`` deletes it anyway."""
    try:
        return client.run(run_id).info()
    except Damaged:
        if not force:
            raise
        return None
    except RunNotFound:
        # A deletion that was cut off after its last key has left the id in the lists of runs: this
        # removes it there, and reports the same.
        client.store(run_id).delete_run()
        raise


def _check_deletable(info: RunInfo) -> None:
    """Refuse a run with running tasks, or with unknown ones, of which no other record exists."""
    running, unknown = info.counts["running"], info.counts["unknown"]
    if info.coordinator is not None:
        what = f"is led by {info.coordinator}"
    elif running:
        what = f"has {counted(running, 'task')} at work"
    elif unknown:
        status = next_command("status", info.run_id)
        raise WrongState(
            f"run {info.run_id} has {counted(unknown, 'unknown task')}, see "
            f"`{status}`: decide, or delete it with --force"
        )
    else:
        return
    if info.status in OVER_RUNS:
        # The run ended without them: an ended run cannot be cancelled.
        mend = "wait until they end"
    else:
        mend = f"cancel it first with `{next_command('cancel', info.run_id)}`"
    raise WrongState(f"run {info.run_id} {what}: {mend}, or delete it with --force")


def _is_older(info: RunInfo, seconds: float) -> bool:
    ended = info.status in OVER_RUNS and info.ended_at is not None
    return ended and info.as_of - (info.ended_at or 0.0) > seconds


def _delete(client: Client, run_id: str, info: RunInfo | None, *, force: bool) -> None:
    store = client.store(run_id)
    queues: set[str] = set()
    if info is None or info.status not in ENDED_RUNS:
        # A coordinator that was killed has left its jobs in the queues.
        try:
            queues = {task.queue for tasks in iter_graph(store) for task in tasks}
        except (Damaged, LookAgain):
            # Nobody knows which jobs; a worker that takes one finds no run.
            if not force:
                raise
    store.delete_run(force=force)
    client.backend.dispatcher.withdraw(run_id, queues)
