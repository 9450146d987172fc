"""RQ's keys and channels that distflow reads or writes itself.

RQ 3 puts the variable ``RQ_KEY_PREFIX`` before each of them, as it stood when RQ was imported. RQ
2.12 ignores the variable. Coordinators and workers meet under the same prefix only.
"""

from __future__ import annotations

import rq.defaults

#: The prefix without any setting, and the only one of RQ 2.12.
DEFAULT_PREFIX = "rq"

#: The prefix of this process.
PREFIX: str = getattr(rq.defaults, "RQ_KEY_PREFIX", DEFAULT_PREFIX)

#: The set of all registered workers' keys.
WORKERS_KEY = f"{PREFIX}:workers"

#: Exists while the workers are suspended.
SUSPENDED_KEY = f"{PREFIX}:suspended"

#: Field of a worker's hash in which RQ 2.12 keeps the id of its job.
CURRENT_JOB_FIELD = "current_job"

_WORKER_PREFIX = f"{PREFIX}:worker:"


def worker_key(worker: str) -> str:
    """The hash that describes a worker."""
    return _WORKER_PREFIX + worker


def worker_name(key: str) -> str:
    """The name of the worker that a hash describes."""
    return key.removeprefix(_WORKER_PREFIX)


def executions_key(worker: str) -> str:
    """The set in which RQ 3 keeps what a worker works on, each ``<job id>:<execution id>``."""
    return f"{_WORKER_PREFIX}{worker}:executions"


def queue_workers_key(queue: str) -> str:
    """The set of the keys of a queue's workers."""
    return f"{WORKERS_KEY}:{queue}"


def command_channel(worker: str) -> str:
    """The channel on which a worker listens for commands."""
    return f"{PREFIX}:pubsub:{worker}"
