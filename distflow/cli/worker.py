"""``distflow worker``: RQ's own worker in this process, with the settings that suit distflow."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from pathlib import Path

import click
from rq.cli.cli import main as rq_main
from rq.utils import import_worker_class

# Not used here: a work horse that is forked from this process finds loaded what it needs.
import distflow_worker.settings  # noqa: F401
from distflow import config
from distflow.cli.ui.clients import open_client
from distflow.cli.ui.common import connection_options, redis_address
from distflow.errors import InvalidInput
from distflow.ids import new_worker_name
from distflow.local.server import PrivateRedis
from distflow.rq_compat.keys import worker_key
from distflow.runs.client import Client
from distflow_worker.connection import name_of
from distflow_worker.delivery import deliver

#: For `rq worker`: RQ forgets a worker that is silent for so long, and a busy one beats so often;
#: its connection outlasts a restart of Redis.
_SETTINGS = (
    *("--worker-ttl", "16", "--job-monitoring-interval", "1"),
    *("--connection-class", "distflow_worker.WorkerRedis"),
)


@click.command("worker")
@click.argument("queues", metavar="[QUEUE]… [-- RQ OPTIONS]", nargs=-1, type=click.UNPROCESSED)
@click.option("--burst", is_flag=True, help="End when the queues are empty.")
@click.option("--name", metavar="NAME", help="Of the worker.  [default: host, pid and 4 digits]")
@click.option(
    "-w",
    "--worker-class",
    metavar="CLASS",
    help="Such as distflow_worker.FastWorker, which forks ahead, or rq.worker.SimpleWorker, which"
    " never forks.",
)
@click.option(
    "--allow",
    metavar="PATTERNS",
    help="Import the tasks of these modules and these functions only, such as"
    " myapp.*,other.tasks:send; unpickle nothing, and run distflow's jobs alone."
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

    Where none is named, on `default`. It is `rq worker` with short heartbeats and a connection
    that outlasts a Redis that is away or refuses; plain `rq worker` works too. Options of
    `rq worker` may follow after --.
    """
    with ExitStack() as stack:
        client = stack.enter_context(open_client(redis_url, data_dir))
        url = redis_address(redis_url)
        if data_dir:
            # Its server stays while this worker does.
            url = stack.enter_context(PrivateRedis.start(data_dir)).url
        options = [*_SETTINGS]
        if burst:
            options.append("--burst")
        if name:
            _check_name(client, name)
        options += ["--name", name or new_worker_name()]
        if worker_class:
            _check_class(worker_class)
            options += ["--worker-class", worker_class]
        allow = config.allowed_functions() if allow is None else allow
        if allow is not None:
            _check_patterns(allow)
            config.allow_functions(allow)
            options += ["--serializer", "distflow_worker.SafeSerializer"]
            options += ["--job-class", "distflow_worker.SafeJob"]
        _deliver(client)
        client.redis.close()
        arguments = ["worker", "--url", url, *options, *queues]
        rq_main.main(arguments, prog_name="rq", standalone_mode=False)


def _deliver(client: Client) -> None:
    """What workers of this host could not tell may be what a run waits for: no batch comes then."""
    spool = config.spool_folder()
    # Here, and not in the midst of a batch, is a setting refused that is no number.
    config.outcome_seconds()
    if spool is not None:
        deliver(spool, client.redis, name_of(client.redis), client.prefix)


def _check_patterns(allow: str) -> None:
    if not all(pattern.strip() for pattern in allow.split(",")):
        raise InvalidInput(
            f"--allow {allow!r} (or DISTFLOW_ALLOW) has an empty pattern: give such as "
            "'myapp.*,other.tasks:send'"
        )


def _check_name(client: Client, name: str) -> None:
    key, redis = worker_key(name), client.redis
    if client.patiently(lambda: redis.exists(key) and not redis.hexists(key, "death")):
        raise InvalidInput(
            f"a worker named {name!r} is there already: take another --name "
            "(one that was killed keeps its name for up to 76 s)"
        )


def _check_class(name: str) -> None:
    # Where RQ looks for it.
    sys.path.append(".")
    try:
        import_worker_class(name)
    except Exception as error:
        raise InvalidInput(
            f"--worker-class {name!r} cannot be imported: {error}; "
            "take such as rq.worker.SimpleWorker"
        ) from error
