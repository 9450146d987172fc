"""``distflow worker``: RQ's own worker in this process, with settings that suit distflow."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import click

from distflow import config
from distflow.backends.rq_worker import run_worker
from distflow.cli.ui.common import connection_options, redis_address
from distflow.cli.ui.connecting import open_connection
from distflow.errors import InvalidInput
from distflow.ids import new_worker_name
from distflow.local.private_redis import PrivateRedis
from distflow.ports.backend import Backend


@click.command("worker")
@click.argument("queues", metavar="[QUEUE]… [-- RQ OPTIONS]", nargs=-1, type=click.UNPROCESSED)
@click.option("--burst", is_flag=True, help="Exit when the queues are empty.")
@click.option(
    "--name", metavar="NAME", help="Name of the worker.  [default: host, pid and 4 digits]"
)
@click.option(
    "-w",
    "--worker-class",
    metavar="CLASS",
    help="Worker class, such as distflow_worker.FastWorker, which forks ahead, or"
    " rq.worker.SimpleWorker, which never forks.",
)
@click.option(
    "--allow",
    metavar="PATTERNS",
    help="Import only these modules and functions, such as myapp.*,other.tasks:send;"
    " run only distflow's jobs, and unpickle nothing."
    "  [default: DISTFLOW_ALLOW, else any function]",
)
@connection_options
def worker(
    queues: tuple[str, ...],
    *,
    burst: bool,
    name: str | None,
    worker_class: str | None,
    allow: str | None,
    redis_url: str | None,
    data_dir: Path | None,
) -> None:
    """Work on queues, the most urgent first.

    Without QUEUE, works on `default`. This is `rq worker` with short heartbeats, and it outlasts a
    Redis that is away or refuses; plain `rq worker` works too. Options of `rq worker` may follow
    after --.
    """
    with ExitStack() as stack:
        backend = stack.enter_context(open_connection(redis_url, data_dir))
        url = redis_address(redis_url)
        if data_dir:
            # The private Redis runs at least as long as this worker.
            url = stack.enter_context(PrivateRedis.start(data_dir)).url
        if name:
            _check_name(backend, name)
        backend.close()
        allow = config.allowed_functions() if allow is None else allow
        if allow is not None:
            _check_patterns(allow)
            config.allow_functions(allow)
        run_worker(
            url,
            queues,
            name or new_worker_name(),
            worker_class=worker_class,
            burst=burst,
            cautious=allow is not None,
        )


def _check_patterns(allow: str) -> None:
    if not all(pattern.strip() for pattern in allow.split(",")):
        raise InvalidInput(
            f"--allow {allow!r} (or DISTFLOW_ALLOW) has an empty pattern: give patterns such as "
            "'myapp.*,other.tasks:send'"
        )


def _check_name(backend: Backend, name: str) -> None:
    if backend.has_worker(name):
        raise InvalidInput(
            f"a worker named {name!r} exists already: use another --name "
            "(a killed worker keeps its name for up to 76 s)"
        )
