"""RQ's keys and channels that distflow reads or writes itself.

RQ 3 puts the value of ``RQ_KEY_PREFIX`` before each of them, as of the import of RQ. RQ 2.12
ignores the variable. Coordinators and workers find each other only under the same prefix.
"""

from __future__ import annotations

import re

import rq.defaults

#: The default prefix, and the only one of RQ 2.12.
DEFAULT_PREFIX = "rq"

#: The prefix of this process.
PREFIX: str = getattr(rq.defaults, "RQ_KEY_PREFIX", DEFAULT_PREFIX)

#: The set of all registered workers' keys.
WORKERS_KEY = f"{PREFIX}:workers"

#: Exists while the workers are suspended.
SUSPENDED_KEY = f"{PREFIX}:suspended"

#: The field of a worker's hash in which RQ 2.12 keeps the id of its job.
CURRENT_JOB_FIELD = "current_job"

_WORKER_PREFIX = f"{PREFIX}:worker:"

#: What RQ 3 accepts as a prefix.
_PREFIX = re.compile(r"[A-Za-z0-9_.:{}-]+")


def worker_key(worker: str) -> str:
    """The hash that describes a worker."""
    return _WORKER_PREFIX + worker


def worker_name(key: str, prefix: str = PREFIX) -> str:
    """The name of the worker that a hash describes."""
    return key.removeprefix(f"{prefix}:worker:")


def executions_key(worker: str) -> str:
    """The set in which RQ 3 keeps what a worker works on, each ``<job id>:<execution id>``."""
    return f"{_WORKER_PREFIX}{worker}:executions"


def queue_key(queue: str, prefix: str = PREFIX) -> str:
    """The list of the ids of a queue's jobs."""
    return f"{prefix}:queue:{queue}"


def queue_workers_key(queue: str, prefix: str = PREFIX) -> str:
    """The set of the keys of a queue's workers."""
    return f"{prefix}:workers:{queue}"


def command_channel(worker: str, prefix: str = PREFIX) -> str:
    """The channel on which a worker listens for commands."""
    return f"{prefix}:pubsub:{worker}"


#: Matches the channels of all workers, whatever their prefix.
COMMAND_CHANNELS = command_channel("*", "*")


def prefix_of(channel: str) -> str:
    """The prefix of a worker, from its channel; empty if the channel is not a worker's."""
    prefix, _, worker = channel.partition(":pubsub:")
    return prefix if worker and _PREFIX.fullmatch(prefix) else ""
