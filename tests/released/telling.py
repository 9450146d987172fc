"""A script that either release runs: what it writes, and what it makes of what the other wrote.

``python telling.py WHAT [URL PREFIX]`` prints JSON. Nothing is imported but what release 0.1 has.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from importlib import import_module
from typing import Any

from redis import Redis

from distflow.core.claim import Code, Progress
from distflow.core.graph import Graph
from distflow.core.model import Loop, Metrics, Retry, Task, TaskResult
from distflow.core.run import Beat, Claim, Event, HeldTask, ServerFacts
from distflow.ids import task_key
from distflow.snapshot.records import End, Header, Outcome


def _either(today: str, in_0_1: str) -> Any:
    """A module, which may have moved since 0.1."""
    try:
        return import_module(today)
    except ModuleNotFoundError:
        return import_module(in_0_1)


RunOptions = _either("distflow.core.run_options", "distflow.core.run").RunOptions
codec = _either("distflow.wire.codec", "distflow.codec")
fingerprint = _either("distflow.wire.fingerprint", "distflow.fingerprint").fingerprint
read_standing = _either(
    "distflow.coordinator.standing", "distflow.coordinator.reopen"
).read_standing
RunKeys = _either("distflow.store.redis.keys", "distflow.store.keys").RunKeys
RedisRunStore = _either("distflow.store.redis.store", "distflow.store.redis").RedisRunStore

_SHAPES: tuple[Any, ...] = (
    *(Beat, Claim, End, Event, Header, HeldTask, Loop, Metrics, Outcome),
    *(Progress, Retry, RunOptions, ServerFacts, Task, TaskResult),
)

_CODES = range(128)

_INFO = (
    *("workflow", "status", "params", "origin", "server", "total", "epoch"),
    *("generation", "repairs", "held", "queues", "gap"),
)


def _fields(kind: Any) -> list[str]:
    if dataclasses.is_dataclass(kind):
        return [field.name for field in dataclasses.fields(kind)]
    return list(kind._fields)


def shapes() -> dict[str, Any]:
    """The fields of all that travels, in their order; codes, keys and extension types."""
    keys = RunKeys("p", "r").all()
    # Where 0.1 has it; it may have moved since.
    find = codec.extension_of_code
    extensions = [code for code in _CODES if find(code) is not None]
    return {
        **{kind.__name__: _fields(kind) for kind in _SHAPES},
        "codes": {code.name: code.value for code in Code},
        "keys": keys,
        "extensions": extensions,
    }


def recode(packed: bytes) -> list[str]:
    """Decode a task or a result, and encode what was understood of it; of a task also what it is
    known by in a snapshot, and to whom it charges.
    """
    fields = codec.unpack(packed, opaque=True)
    if "status" in fields:
        return [codec.encode_result(codec.decode_result(packed, opaque=True)).hex()]
    task = codec.decode_task(fields)
    again = codec.pack(codec.encode_task(task)).hex()
    return [again, fingerprint(task), task_key("0123abcd", task.name)]


def _said(options: Any) -> dict[str, Any]:
    """The options that are not as they are by default."""
    plain, names = RunOptions(), _fields(RunOptions)
    values = {name: getattr(options, name) for name in names}
    return {name: value for name, value in values.items() if value != getattr(plain, name)}


def read(url: str, prefix: str) -> dict[str, Any]:
    """Everything that a coordinator, a person and an export read of the run ``run-1``."""
    store = RedisRunStore(Redis.from_url(url), "run-1", prefix=prefix)
    tasks = [task for chunk in store.iter_tasks() for task in chunk]
    names = [task.name for task in tasks]
    standing = read_standing(store, Graph.compile(tasks))
    info = store.read_info()
    told = {
        "tasks": [codec.encode_task(task) for task in tasks],
        "options": _said(info.options),
        "info": [getattr(info, name) for name in _INFO],
        "counts": sorted(info.counts.items()),
        "standing": (standing.statuses, standing.claims, standing.progress),
        "beats": store.read_beats(),
        "cut": store.read_cut(names),
        "events": store.read_events("0-0"),
        "history": store.read_history(),
        "troubles": tuple(store.read_troubles(10)),
        "unknown": [_asked(store.fetch_unknown(name)) for name in names],
    }
    return {name: repr(value) for name, value in told.items()}


def _asked(unknown: Any) -> Any:
    return unknown and (unknown.packed, unknown.lost)


def main() -> None:
    """Print what was asked for."""
    what, *words = sys.argv[1:]
    told: Any
    if what == "shapes":
        told = shapes()
    elif what == "recode":
        told = [recode(bytes.fromhex(line)) for line in sys.stdin.read().split()]
    else:
        told = read(*words)
    sys.stdout.write(json.dumps(told))


main()
