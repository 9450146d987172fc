"""``distflow run``: a private Redis, stock workers and a coordinator, for the length of a run."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from distflow.authoring.params import load_workflow, read_pairs
from distflow.cli.submit import build_workflow, check_gap, print_run_id
from distflow.cli.ui.common import ExitCode, json_option, next_command
from distflow.cli.ui.connecting import DATA_FOLDER, connected
from distflow.cli.ui.foreground import see_through
from distflow.cli.ui.interrupts import interruptible
from distflow.cli.ui.progress import WritingProgress
from distflow.cli.ui.run_options import run_options
from distflow.core.run_options import NewRunOptions
from distflow.core.status import RunStatus
from distflow.core.version import FIRST
from distflow.errors import DistflowError, RunExists
from distflow.local.private_redis import PrivateRedis
from distflow.local.workers import LocalWorkers
from distflow.runs.client import Client
from distflow.runs.earlier import find_earlier
from distflow.runs.run import Run
from distflow.runs.takeover import Taking
from distflow.snapshot import Snapshot

#: Seconds between two checks whether the workers live.
_ENSURE_SECONDS = 0.5

#: Workers to start by default.
_WORKERS = 2


@click.command()
@run_options()
@click.option(
    "--workers",
    "worker_count",
    metavar="N",
    type=click.IntRange(1),
    default=_WORKERS,
    show_default=True,
    help="How many stock `rq worker` processes to start.",
)
@click.option(
    "--data",
    "data_dir",
    metavar="DIR",
    type=click.Path(path_type=Path, file_okay=False),
    default=DATA_FOLDER,
    show_default=True,
    help="Folder for the data of the private Redis and the logs of the workers.",
)
@json_option
def run(
    *,
    workflow_path: str,
    pairs: tuple[str, ...],
    run_id: str | None,
    snapshot_path: Path | None,
    taking: Taking,
    options: NewRunOptions,
    worker_count: int,
    data_dir: Path,
    as_json: bool,
) -> int:
    """Run a workflow here, no server needed.

    Starts a private Redis (append-only, fsync always), workers and a coordinator, and stops them
    all when the run ends or stands still. With the --run-id of a run that has not succeeded,
    continues that run with its parameters.
    """
    # An earlier run keeps its parameters: they need not be given again.
    workflow = build_workflow(workflow_path, pairs) if run_id is None else None
    template = load_workflow(workflow_path)
    given = read_pairs(template, pairs)
    snapshot = Snapshot.load(snapshot_path) if snapshot_path else None
    with (
        interruptible() as interrupt,
        PrivateRedis.start(data_dir) as server,
        connected(server.url) as backend,
    ):
        # This command starts all of its workers: no other will come that has what is missing.
        client = Client(backend)
        client.settings = replace(client.settings, misfit_seconds=0.0)
        earlier = _earlier_run(client, run_id, template.reference or template.name, given)
        started = earlier or client.create(
            workflow or build_workflow(workflow_path, pairs),
            run_id=run_id,
            snapshot=snapshot,
            taking=taking,
            options=options,
            progress=WritingProgress(interrupt),
        )
        # The coordinator reads the graph from Redis: a large one need not be in memory twice.
        del workflow
        print_run_id(started, as_json=as_json)
        info = started.info()
        workers = LocalWorkers(
            server.url, count=worker_count, data_dir=server.data_dir, queues=info.queues
        )
        more = () if worker_count == _WORKERS else ("--workers", str(worker_count))
        again = next_command("run", workflow_path, "--run-id", started.run_id, *more)

        def ensure() -> None:
            if info.version > FIRST:
                # What its tasks add may be for other queues.
                with suppress(DistflowError):
                    workers.serve(started.engine.impatient.store(info.run_id).read_info().queues)
            workers.ensure()

        def see(tend: Callable[[], object]) -> ExitCode:
            reopen = earlier is not None
            return see_through(
                started, interrupt, reopen=reopen, as_json=as_json, tend=tend, again=again
            )

        return _run_with(workers, ensure, see)


def _run_with(
    workers: LocalWorkers,
    ensure: Callable[[], object],
    see: Callable[[Callable[[], object]], ExitCode],
) -> ExitCode:
    """Call ``see`` with a function that keeps the workers alive by ``ensure``, while they run."""
    looked_at = time.monotonic()

    def tend() -> None:
        nonlocal looked_at
        if time.monotonic() - looked_at >= _ENSURE_SECONDS:
            looked_at = time.monotonic()
            ensure()

    with workers:
        try:
            return see(tend)
        except KeyboardInterrupt:
            # Interrupted a second time: do not wait for running tasks.
            workers.stop(0.0)
            raise


def _earlier_run(
    client: Client, run_id: str | None, reference: str, given: Mapping[str, Any]
) -> Run | None:
    """The run of this id, to be continued; None if there is none yet.

    Args:
        client: its Redis.
        run_id: None if no id was given.
        reference: the workflow that it must be a run of.
        given: the parameters that were typed; the others are the run's own.

    Raises:
        RunExists: it has succeeded.
        InvalidInput: it is a run of another workflow, has other parameters than those given, or may
            have continued where it was exported.
    """
    if run_id is None:
        return None
    run = find_earlier(client.engine, run_id, reference, given)
    if run is None:
        return None
    if run.status() == RunStatus.SUCCESS:
        raise RunExists(
            f"run {run_id} has succeeded: use another --run-id, or see "
            f"`{next_command('status', run_id)}`"
        )
    check_gap(run, accept_gap=False)
    return run
