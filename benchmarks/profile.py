"""``python -m benchmarks.profile SHAPE``: where the time of a coordinator or of a worker goes."""

from __future__ import annotations

import cProfile
import os
import pstats
from collections.abc import Callable
from typing import Any

import click
from rq import Queue, SimpleWorker

# As `rq worker -c` has it: what a batch needs is not imported in the profile.
import distflow_worker.settings  # noqa: F401
from benchmarks.clients.distflow import DistflowClient
from benchmarks.clients.port import URL_VARIABLE
from benchmarks.server import PERSISTENCE, running_server
from benchmarks.shapes import Shape, make_shape
from benchmarks.stage import end_cleanly, staged
from benchmarks.systems import OURS, SYSTEMS, System

_SIZES = {"fan": 5000, "chain": 2000, "layers": 50, "blocks": 10_000}
_WARM_TASKS = 200
#: Seconds without a job after which the profiled worker ends: longer than a coordinator needs to
#: see that there is one.
_IDLE_SECONDS = 3


@click.command()
@click.argument("shape", type=click.Choice(list(_SIZES)))
@click.option("--size", type=click.IntRange(min=1), help="See benchmarks.shapes.make_shape.")
@click.option("--system", type=click.Choice(OURS), default="stock", show_default=True)
@click.option(
    "--part",
    type=click.Choice(["describe", "create", "lead", "worker"]),
    default="lead",
    show_default=True,
    help="Building the workflow, writing the run, leading it, or a SimpleWorker that works on it.",
)
@click.option("--sort", type=click.Choice(["tottime", "cumtime", "ncalls"]), default="tottime")
@click.option("--top", default=30, show_default=True, help="Lines to print.")
@click.option("--persistence", type=click.Choice(list(PERSISTENCE)), default="none")
def main(
    shape: str, *, size: int | None, system: str, part: str, sort: str, top: int, persistence: str
) -> None:
    """Run a SHAPE under cProfile, which makes all of it slower, calls most of all."""
    end_cleanly()
    what = make_shape(shape, size or _SIZES[shape])
    if part == "worker":
        profile = _profile_worker(SYSTEMS[system], what, persistence)
    else:
        profile = _profile_client(SYSTEMS[system], what, part, persistence)
    pstats.Stats(profile).strip_dirs().sort_stats(sort).print_stats(top)


def _profile_client(system: System, shape: Shape, part: str, persistence: str) -> cProfile.Profile:
    """The client's part, with the workers of the system beside it."""
    with staged(system, persistence) as stage:
        os.environ[URL_VARIABLE] = stage.url
        client = DistflowClient(system)
        client.wait_ready()
        client.execute(client.describe(Shape.fan(_WARM_TASKS)))
        profile = cProfile.Profile()

        def call(name: str, function: Callable[..., Any], *args: Any, **options: Any) -> Any:
            if name == part:
                return profile.runcall(function, *args, **options)
            return function(*args, **options)

        workflow = call("describe", client.describe, shape)
        run = call("create", client.client.create, workflow)
        call("lead", run.executor().lead, reopen=False)
        client.finish(run)
        client.close()
    return profile


def _profile_worker(system: System, shape: Shape, persistence: str) -> cProfile.Profile:
    """A worker on this thread, which does not fork; the run is led on another."""
    with running_server(persistence) as server:
        os.environ[URL_VARIABLE] = server.url
        client = DistflowClient(system)
        redis = client.client.redis
        worker = SimpleWorker([Queue(connection=redis)], connection=redis)
        run = client.client.submit(client.describe(shape))
        profile = cProfile.Profile()
        profile.runcall(worker.work, max_idle_time=_IDLE_SECONDS, logging_level="WARNING")
        client.finish(run)
        client.close()
    return profile


if __name__ == "__main__":
    main()
