"""What a store keeps of a run besides its tasks: one flat map of names and texts.

A run is created with what :func:`encode_spec` writes; the scripts and a coordinator add what
becomes of it, and :func:`decode_info` reads all of it. The names are frozen: see ``version.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

import msgpack

from distflow.core.claim import READ_VERSIONS, check_version
from distflow.core.run import (
    UNKNOWN,
    HeldTask,
    RunInfo,
    RunSpec,
    ServerFacts,
    live_counts,
)
from distflow.core.run_options import KEPT_TYPES, USUAL_OPTIONS, RunOptions
from distflow.core.status import OUTCOMES, RunStatus
from distflow.core.stopping import stop_moment
from distflow.errors import RunNotFound
from distflow.wire.codec import pack, unpack

#: What is written, before it is bytes.
Fields = dict[str, str | bytes | int | float]

#: What is read: names and values.
Meta = Mapping[bytes, bytes]

#: Before the kind, in the names of the counters of repairs.
_REPAIRED = b"repaired_"

#: Options that are written although they say no more than their default: scripts read them.
_ALWAYS = ("max_result_bytes",)


def encode_spec(spec: RunSpec, queues: Collection[str] | None = None) -> Fields:
    """RunSpec -> what a run is created with; ``queues`` are those of its tasks, where all of them
    are known.
    """
    fields: Fields = {
        # Release 0.1 asks for `wire`, and leaves a run without it alone.
        **({"wire": 1} if spec.version == 1 else {"v": spec.version}),
        "workflow": spec.workflow,
        "params": pack(dict(spec.params)),
        "origin": spec.origin,
        **spec.server._asdict(),
        **{name: getattr(spec.options, name) for name in _ALWAYS},
    }
    for name in KEPT_TYPES:
        value = getattr(spec.options, name)
        if name not in _ALWAYS and value != getattr(USUAL_OPTIONS, name):
            fields[name] = int(value) if isinstance(value, bool) else value
    if spec.detached:
        fields["detached"] = 1
    if spec.returns is not None:
        fields["returns"] = spec.returns
    if queues is not None:
        fields["queues"] = pack(sorted(queues))
    return fields


def as_kept(fields: Fields) -> dict[bytes, bytes]:
    """What is written, as it is read: what a Redis makes of it."""
    return {
        name.encode(): value if isinstance(value, bytes) else str(value).encode()
        for name, value in fields.items()
    }


def decode_options(meta: Meta) -> RunOptions:
    """The options that a run keeps; those that it does not name are as they are by default."""
    return RunOptions(
        **{
            name: _OPTION_OF[types[-1]](meta[name.encode()])
            for name, types in KEPT_TYPES.items()
            if meta.get(name.encode())
        }
    )


#: Values of options by what they are: of several types, the last takes all of them.
_OPTION_OF: Mapping[type, Callable[[bytes], Any]] = {
    bool: lambda value: value != b"0",
    int: int,
    float: float,
    str: bytes.decode,
}


def _version(meta: Meta) -> int:
    """The version of a run; 0 where it is none."""
    return _number(meta, "v") or _number(meta, "wire")


def decode_spec(run_id: str, meta: Meta) -> RunSpec:
    """What a run of a version that is read here was created from."""
    return RunSpec(
        run_id=run_id,
        workflow=_text(meta, "workflow") or "",
        params=unpack(meta[b"params"], opaque=True),
        origin=_text(meta, "origin") or "",
        options=decode_options(meta),
        server=ServerFacts(*(_text(meta, name) or UNKNOWN for name in ServerFacts._fields)),
        detached=_text(meta, "detached") == "1",
        version=_version(meta),
        returns=meta.get(b"returns"),
    )


def decode_info(
    run_id: str, meta: Meta, *, claimed: int, coordinator: str | None, now: float
) -> RunInfo:
    """What a store has of a run.

    Args:
        run_id: the run.
        meta: its fields.
        claimed: how many of its tasks are claimed.
        coordinator: who leads it; None where nobody does.
        now: Unix seconds on the clock of the store.

    Raises:
        RunNotFound: it is no run.
        RunTooNew: its version is none that this distflow reads.
    """
    version = _version(meta)
    if version < READ_VERSIONS[0]:
        raise RunNotFound(f"run {run_id!r} holds no run that this version can read")
    check_version(run_id, version)
    spec = decode_spec(run_id, meta)
    counts = live_counts(
        _number(meta, "total"),
        {status.value: _number(meta, f"n_{status}") for status in OUTCOMES},
        running=claimed,
        queued=_number(meta, "n_queued"),
        waiting=_number(meta, "n_waiting"),
        led=coordinator is not None,
    )
    return RunInfo(
        run_id=run_id,
        version=version,
        workflow=spec.workflow,
        status=RunStatus(_text(meta, "status") or ""),
        params=spec.params,
        origin=spec.origin,
        options=spec.options,
        server=spec.server,
        total=_number(meta, "total"),
        epoch=_number(meta, "epoch"),
        generation=_number(meta, "generation"),
        created_at=_moment(meta, "created_at") or 0.0,
        started_at=_moment(meta, "started_at"),
        ended_at=_moment(meta, "ended_at"),
        counts=counts,
        coordinator=coordinator,
        as_of=now,
        rest_at=_moment(meta, "rest_at"),
        clock_at=_moment(meta, "clock_at"),
        rested_seconds=_number(meta, "rested") / 1000,
        stop_at=_stop_at(meta, now),
        reason=_text(meta, "reason"),
        gap=_text(meta, "gap") == "1",
        repairs={
            name.removeprefix(_REPAIRED).decode(): int(value)
            for name, value in sorted(meta.items())
            if name.startswith(_REPAIRED)
        },
        # What was held may have ended since.
        held=_held(meta[b"held"]) if claimed and b"held" in meta else (),
        queues=tuple(sorted(msgpack.unpackb(meta[b"queues"]))) if b"queues" in meta else (),
        returns=spec.returns,
    )


def _text(meta: Meta, name: str) -> str | None:
    value = meta.get(name.encode())
    return None if value is None else value.decode()


def _number(meta: Meta, name: str) -> int:
    return int(meta.get(name.encode(), 0))


def _moment(meta: Meta, name: str) -> float | None:
    value = meta.get(name.encode())
    return None if value is None else int(value) / 1000


def _held(packed: bytes) -> tuple[HeldTask, ...]:
    return tuple(
        HeldTask(task, worker, since / 1000) for task, worker, since in msgpack.unpackb(packed)
    )


def _stop_at(meta: Meta, now: float) -> float | None:
    stop_at = _text(meta, "stop_at")
    if stop_at is None:
        return None
    # In milliseconds, as it is written: two readings of one moment do not differ.
    asked = asked_grace(stop_at, _text(meta, "grace"))
    return stop_moment(int(stop_at), asked, round(now * 1000)) / 1000


def asked_grace(stop_at: str, grace: str | None) -> int | None:
    """In how many ms what runs was to be stopped: ``grace`` has that beside the time that was
    worked out by it; None where that is another one than ``stop_at``.
    """
    of, _, asked = (grace or "").partition(" ")
    return int(asked) if of == stop_at else None
