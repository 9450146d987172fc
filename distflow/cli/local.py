"""``distflow run``: a private Redis, stock workers and a coordinator, for the length of a run."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import click

from distflow.authoring import Workflow
from distflow.cli.common import ExitCode, json_option, next_command
from distflow.cli.leading import interruptible, see_through
from distflow.cli.running import build_workflow, print_run_id, run_options
from distflow.client import Client, connect
from distflow.codec import to_plain
from distflow.core.status import RunStatus
from distflow.errors import InvalidInput, RunExists, RunNotFound
from distflow.handle import Run
from distflow.local.server import PrivateRedis
from distflow.local.workers import LocalWorkers
from distflow.snapshot import Snapshot

#: Seconds between two looks at whether the workers live.
_ENSURE_SECONDS = 0.5


@click.command()
@run_options
@click.option(
    "--workers",
    "worker_count",
    metavar="N",
    type=click.IntRange(1),
    default=2,
    show_default=True,
    help="Stock `rq worker` processes to start.",
)
@click.option(
    "--data",
    "data_dir",
    metavar="DIR",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path(".distflow"),
    show_default=True,
    help="Where the private Redis keeps its data, and the workers their logs.",
)
@json_option
def run(
    *,
    workflow_path: str,
    pairs: tuple[str, ...],
    run_id: str | None,
    snapshot_path: Path | None,
    keep: bool,
    concurrency: int | None,
    timeout: float | None,
    worker_count: int,
    data_dir: Path,
    as_json: bool,
) -> int:
    """Run a workflow here, with no server installed.

    Starts a private Redis (append-only, fsync always), workers and a coordinator, and ends them
    all when the run stands still. With the --run-id of a run that did not succeed yet, it goes on
    with that one.
    """
    workflow = build_workflow(workflow_path, pairs)
    snapshot = Snapshot.load(snapshot_path) if snapshot_path else None
    with interruptible() as interrupt, PrivateRedis.start(data_dir) as server:
        client = connect(server.url)
        earlier = _earlier_run(client, run_id, workflow)
        started = earlier or client.create(
            workflow,
            run_id=run_id,
            snapshot=snapshot,
            keep=keep,
            concurrency=concurrency,
            timeout=timeout,
        )
        print_run_id(started, as_json=as_json)
        queues = sorted({task.queue for task in started.graph().tasks})
        workers = LocalWorkers(
            server.url, count=worker_count, data_dir=server.data_dir, queues=queues
        )
        return _run_with(workers, started, interrupt, reopen=earlier is not None, as_json=as_json)


def _run_with(
    workers: LocalWorkers, run: Run, interrupt: threading.Event, *, reopen: bool, as_json: bool
) -> ExitCode:
    looked_at = time.monotonic()

    def tend() -> None:
        nonlocal looked_at
        if time.monotonic() - looked_at >= _ENSURE_SECONDS:
            looked_at = time.monotonic()
            workers.ensure()

    with workers:
        try:
            return see_through(run, interrupt, reopen=reopen, as_json=as_json, tend=tend)
        except KeyboardInterrupt:
            # Asked a second time: what runs is not waited for.
            workers.stop(0.0)
            raise


def _earlier_run(client: Client, run_id: str | None, workflow: Workflow) -> Run | None:
    """The run of this id that is to be gone on with; None where there is none yet.

    Raises:
        RunExists: it has succeeded.
        InvalidInput: it is of another workflow, or has other parameters.
    """
    if run_id is None:
        return None
    try:
        run = client.run(run_id)
    except RunNotFound:
        return None
    info = run.info()
    if info.status == RunStatus.SUCCESS:
        raise RunExists(
            f"run {run_id} has succeeded: take another --run-id, or see "
            f"`{next_command('status', run_id)}`"
        )
    reference = workflow.reference or workflow.name
    if info.workflow != reference:
        raise InvalidInput(
            f"run {run_id} is of workflow {info.workflow}, not {reference}: take another --run-id"
        )
    if to_plain(info.params) != to_plain(workflow.params):
        raise InvalidInput(
            f"run {run_id} has other parameters: go on with it by "
            f"`{next_command('resume', run_id)}`, or take another --run-id"
        )
    return run
