"""The code that runs in RQ workers: RQ jobs name ``distflow_worker.batch.run_batch``.

The names below are for options of ``rq worker``. They are imported on first use, since work horses
import this package for every job.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from distflow_worker.fast import FastWorker
    from distflow_worker.job import SafeJob
    from distflow_worker.patient import WorkerRedis
    from distflow_worker.serializer import SafeSerializer

_HOMES = {
    "FastWorker": "distflow_worker.fast",
    "SafeJob": "distflow_worker.job",
    "SafeSerializer": "distflow_worker.serializer",
    "WorkerRedis": "distflow_worker.patient",
}

__all__ = ["FastWorker", "SafeJob", "SafeSerializer", "WorkerRedis"]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'distflow_worker' has no attribute {name!r}")
    return getattr(import_module(home), name)
