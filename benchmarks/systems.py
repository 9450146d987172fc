"""The systems that are measured: how each one's workers start, and who speaks to it."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field, replace
from importlib import import_module
from typing import Literal

_RQ_WORKER = (sys.executable, "-m", "rq.cli", "worker", "--quiet", "--url", "{url}")
_SIMPLE = ("-w", "rq.worker.SimpleWorker")
_FAST = ("-w", "distflow_worker.FastWorker")
_PRELOADED = ("-c", "distflow_worker.settings")
_NAMED = ("--name", "bench-{number}")


@dataclass(frozen=True, slots=True)
class System:
    """One configuration of one system."""

    name: str
    label: str
    #: Module of ``benchmarks.clients``; its ``open_client`` makes the client.
    client: str
    #: Command lines, in which ``{url}`` and ``{number}`` are replaced.
    workers: tuple[tuple[str, ...], ...] = ()
    #: ``module`` or ``module:name``: what must be there.
    needs: tuple[str, ...] = ()
    effects: Literal["normal", "idempotent"] = "normal"
    #: Shape -> size, where it is not what the table says: too slow, or quadratic.
    sizes: dict[str, int] = field(default_factory=dict)
    #: Shapes that it cannot express.
    lacks: tuple[str, ...] = ()
    note: str = ""

    @property
    def is_distflow(self) -> bool:
        """Whether it is ours."""
        return self.client == "distflow"

    def missing(self) -> str | None:
        """What is not there; None where it can be measured."""
        for need in self.needs:
            module, _, name = need.partition(":")
            try:
                found = import_module(module)
                if name:
                    getattr(found, name)
            except (ImportError, AttributeError):
                return need
        return None


def _rq_workers(*options: str) -> tuple[tuple[str, ...], ...]:
    return ((*_RQ_WORKER, *_NAMED, *options),) * 2


_UNIT = System(
    "rq",
    "raw RQ, SimpleWorker ×2",
    "rq",
    _rq_workers(*_SIMPLE),
    lacks=("chain", "layers"),
    note="independent jobs alone: no join",
)
_STOCK = System("stock", "distflow, rq worker ×2", "distflow", _rq_workers(*_PRELOADED))
_FAST_WORKER = System(
    "fast",
    "distflow, FastWorker ×2",
    "distflow",
    _rq_workers(*_FAST, *_PRELOADED),
    needs=("distflow_worker:FastWorker",),
)

_ALL = (
    _UNIT,
    replace(_UNIT, name="rq-stock", label="raw RQ, rq worker ×2", workers=_rq_workers()),
    replace(
        _UNIT,
        name="rq-depends",
        label="raw RQ, depends_on",
        lacks=(),
        sizes={"fan": 300},
        note="its join is quadratic: a small one",
    ),
    _STOCK,
    replace(
        _STOCK,
        name="stock-idempotent",
        label="distflow, rq worker ×2, idempotent",
        effects="idempotent",
    ),
    _FAST_WORKER,
    replace(
        _FAST_WORKER,
        name="fast-idempotent",
        label="distflow, FastWorker ×2, idempotent",
        effects="idempotent",
    ),
    replace(
        _STOCK,
        name="simple",
        label="distflow, SimpleWorker ×2",
        workers=_rq_workers(*_SIMPLE, *_PRELOADED),
    ),
    replace(
        _STOCK,
        name="cold",
        label="distflow, rq worker ×2, not preloaded",
        workers=_rq_workers(),
    ),
    System(
        "celery",
        "Celery, prefork 2",
        "celery",
        (
            (
                *(sys.executable, "-m", "celery", "-A", "benchmarks.clients.celery", "worker"),
                *("--concurrency", "2", "--pool", "prefork", "--loglevel", "ERROR"),
                *("--without-gossip", "--without-mingle", "--without-heartbeat"),
            ),
        ),
        needs=("celery",),
        note="no graphs: the client sends a layer when it has seen the end of the one before",
    ),
    System(
        "dramatiq",
        "Dramatiq, 2 processes × 1 thread",
        "dramatiq",
        (
            (
                *(sys.executable, "-m", "dramatiq", "benchmarks.clients.dramatiq"),
                *("--processes", "2", "--threads", "1"),
            ),
        ),
        needs=("dramatiq",),
        lacks=("layers",),
        sizes={"chain": 250},
        note="its join gets no results; no graphs; a longer chain exceeds Python's recursion",
    ),
    System(
        "huey",
        "Huey, 2 processes",
        "huey",
        (
            (
                *(sys.executable, "-m", "huey.bin.huey_consumer", "benchmarks.clients.huey.app"),
                *("--workers", "2", "--worker-type", "process", "--quiet"),
            ),
        ),
        needs=("huey",),
        lacks=("layers",),
        sizes={"chain": 250},
        note="no graphs; a longer chain exceeds Python's recursion",
    ),
    System(
        "dask",
        "Dask distributed, 2 × 1 thread",
        "dask",
        needs=("distributed",),
        note="no Redis; the scheduler is in the client's process",
    ),
)

#: Every system by its name, in the order of the tables.
SYSTEMS = {system.name: system for system in _ALL}

#: What everything is compared with.
UNIT = _UNIT.name
PEERS = ("rq-depends", "celery", "dramatiq", "huey", "dask")
OURS = tuple(system.name for system in _ALL if system.is_distflow)
