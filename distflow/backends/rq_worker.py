"""RQ's own worker in this process, with settings that suit distflow."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from rq.cli.cli import main as rq_main
from rq.utils import import_worker_class

# Not used here: imported so that forked work horses find it loaded.
import distflow_worker.settings  # noqa: F401
from distflow import config
from distflow.backends.redis_rq import open_backend
from distflow.errors import InvalidInput
from distflow_worker.delivery import deliver
from distflow_worker.redis_client import name_of

#: For `rq worker`: how long until RQ forgets a silent worker, and how often a busy one sends a
#: heartbeat; its connection outlasts a restart of Redis.
_SETTINGS = (
    *("--worker-ttl", "16", "--job-monitoring-interval", "1"),
    *("--connection-class", "distflow_worker.WorkerRedis"),
)

#: Reads no pickles, and runs only distflow's jobs.
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
    """Work on the queues of a Redis until the worker is stopped.

    Args:
        url: of the Redis.
        queues: their names, followed by options of `rq worker`.
        name: of the worker.
        worker_class: its dotted name; None is RQ's default.
        burst: exit when the queues are empty.
        cautious: unpickle nothing, and run only distflow's jobs.

    Raises:
        InvalidInput: the class cannot be imported, or an environment variable is not valid.
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
    """Deliver saved outcomes of this host's workers at once: a run may wait for them, and then no
    batch would come to trigger that.
    """
    spool = config.spool_folder()
    # A setting that is not a number is refused here, and not in the middle of a batch.
    config.outcome_seconds()
    if spool is not None:
        backend = open_backend(url, tries_once=True)
        deliver(spool, backend.redis, name_of(backend.redis), backend.prefix)
        backend.close()


def _check_class(name: str) -> None:
    # RQ looks for it there.
    sys.path.append(".")
    try:
        import_worker_class(name)
    except Exception as error:
        raise InvalidInput(
            f"--worker-class {name!r} cannot be imported: {error}; "
            "give a class such as rq.worker.SimpleWorker"
        ) from error
