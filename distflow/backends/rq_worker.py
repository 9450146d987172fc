"""RQ's own worker in this process, with the settings that suit distflow."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from rq.cli.cli import main as rq_main
from rq.utils import import_worker_class

# Not used here: a work horse that is forked from this process finds loaded what it needs.
import distflow_worker.settings  # noqa: F401
from distflow import config
from distflow.backends.redis_rq import open_backend
from distflow.errors import InvalidInput
from distflow_worker.delivery import deliver
from distflow_worker.redis_client import name_of

#: For `rq worker`: RQ forgets a worker that is silent for so long, and a busy one beats so often;
#: its connection outlasts a restart of Redis.
_SETTINGS = (
    *("--worker-ttl", "16", "--job-monitoring-interval", "1"),
    *("--connection-class", "distflow_worker.WorkerRedis"),
)

#: Reads no pickles, and runs distflow's jobs alone.
_CAUTIOUS = (
    "--serializer",
    "distflow_worker.SafeSerializer",
    "--job-class",
    "distflow_worker.SafeJob",
)


def run_worker(
    url: str,
    queues: Sequence[str],
    name: str,
    *,
    worker_class: str | None = None,
    burst: bool = False,
    cautious: bool = False,
) -> None:
    """Work on the queues of a Redis, until the worker is told to end.

    Args:
        url: of the Redis.
        queues: their names, and options of `rq worker` behind them.
        name: of the worker.
        worker_class: its dotted name; None is RQ's usual one.
        burst: end when the queues are empty.
        cautious: unpickle nothing, and run distflow's jobs alone.

    Raises:
        InvalidInput: the class cannot be imported, or a setting of the environment is not usable.
    """
    options = [*_SETTINGS, "--name", name]
    if burst:
        options.append("--burst")
    if worker_class:
        _check_class(worker_class)
        options += ["--worker-class", worker_class]
    if cautious:
        options += _CAUTIOUS
    _deliver(url)
    arguments = ["worker", "--url", url, *options, *queues]
    rq_main.main(arguments, prog_name="rq", standalone_mode=False)


def _deliver(url: str) -> None:
    """What workers of this host could not tell may be what a run waits for: no batch comes then."""
    spool = config.spool_folder()
    # Here, and not in the midst of a batch, is a setting refused that is no number.
    config.outcome_seconds()
    if spool is not None:
        backend = open_backend(url, tries_once=True)
        deliver(spool, backend.redis, name_of(backend.redis), backend.prefix)
        backend.close()


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
