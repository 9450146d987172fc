"""What travels in the job of a batch, and how a worker reads it.

The names on the wire are frozen: workers and coordinators of release 0.1 write and read them. What
says nothing is left out, and what is not known here is passed over.
"""

from __future__ import annotations

from collections.abc import Mapping
from operator import itemgetter
from typing import TYPE_CHECKING, Any, NamedTuple

from distflow.core.claim import READ_VERSIONS, said_versions
from distflow.errors import Damaged, DistflowError
from distflow.wire.codec import encode_task, pack_decoded, unpack

if TYPE_CHECKING:
    # Work horses read payloads and make none: they need neither module.
    from distflow.core.batches import Batch
    from distflow.core.model import Effects, Task


class TaskHeader(NamedTuple):
    """What a worker must know of a task before it may import the user's code, and the rest as
    bytes, which it reads afterwards.
    """

    name: str
    #: ``"pkg.module:name"``.
    function: str
    effects: Effects
    #: The dependencies in the same batch, and whether a failure of each is tolerated.
    needs: tuple[tuple[str, bool], ...]
    #: The whole task, encoded.
    body: bytes
    #: Seconds; None is any time.
    timeout: float | None = None
    #: Whether it has a condition.
    asks: bool = False
    #: Whether it is unknown: its verify hook is asked, and it is not claimed.
    verify: bool = False


class BatchPayload(NamedTuple):
    """A batch as it travels."""

    #: Of the run.
    version: int
    #: Of the run's keys.
    prefix: str
    run_id: str
    #: Of the coordinator that sent it.
    epoch: int
    #: Its id.
    batch: str
    tasks: tuple[TaskHeader, ...]
    #: Run times in ms by function, of those that were measured.
    expected: Mapping[str, float]
    #: See :class:`~distflow.core.batches.Batch`.
    records: tuple[tuple[str, str], ...] = ()


def batch_payload(batch: Batch, prefix: str) -> BatchPayload:
    """What a batch of a run below a prefix sends to its worker."""
    mates = {mate.name: mate.continue_on_error for mate in batch.tasks}
    headers = tuple(
        TaskHeader(
            task.name,
            task.function,
            task.effects,
            _needs(task, mates) if task.depends_on else (),
            pack_decoded(encode_task(task)),
            task.timeout,
            task.condition is not None,
            batch.verify,
        )
        for task in batch.tasks
    )
    whose = batch.version, prefix, batch.run_id, batch.epoch, batch.id
    return BatchPayload(*whose, headers, batch.expected, batch.records)


def _needs(task: Task, mates: Mapping[str, bool]) -> tuple[tuple[str, bool], ...]:
    return tuple([(name, mates[name]) for name in task.depends_on if name in mates])


def encode_payload(payload: BatchPayload) -> bytes:
    """BatchPayload -> the bytes of its job."""
    fields = {
        "wire": payload.version,
        "prefix": payload.prefix,
        "run_id": payload.run_id,
        "epoch": payload.epoch,
        "batch": payload.batch,
        "tasks": [_encode_header(header) for header in payload.tasks],
        "expected": dict(payload.expected),
    }
    if payload.records:
        fields["records"] = [list(record) for record in payload.records]
    return pack_decoded(fields)


def _encode_header(header: TaskHeader) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "name": header.name,
        "function": header.function,
        "effects": header.effects,
        "needs": [list(need) for need in header.needs] if header.needs else [],
        "body": header.body,
    }
    if header.timeout is not None:
        fields["timeout"] = header.timeout
    if header.asks:
        fields["asks"] = True
    if header.verify:
        fields["verify"] = True
    return fields


def decode_payload(packed: bytes) -> BatchPayload:
    """The bytes of a job -> BatchPayload.

    Raises:
        DistflowError: the run is of a version that is not read here.
        Damaged: the bytes are no batch.
    """
    fields = unpack(packed)
    try:
        version = fields["wire"]
        if version not in READ_VERSIONS:
            raise DistflowError(
                f"run {fields['run_id']} is of version {version}, but this worker reads "
                f"versions {said_versions()}: it needs a newer distflow"
            )
        _check(fields)
        return BatchPayload(
            version,
            fields["prefix"],
            fields["run_id"],
            fields["epoch"],
            fields["batch"],
            tuple([_decode_header(header) for header in fields["tasks"]]),
            fields["expected"],
            tuple([(node, token) for node, token in fields.get("records", ())]),
        )
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        raise Damaged(f"the job is not a batch ({type(error).__name__}: {error})") from error


#: What each header has, got in one step: a batch may have a thousand.
_get_all = itemgetter("name", "function", "effects", "needs", "body")
_ALL = 5


def _decode_header(fields: Mapping[str, Any]) -> TaskHeader:
    name, function, effects, needs, body = _get_all(fields)
    if not (isinstance(name, str) and isinstance(function, str) and isinstance(body, bytes)):
        raise TypeError(f"a task is {fields!r:.60}")
    if needs:
        needs = tuple([(mate, tolerated) for mate, tolerated in needs])
    if len(fields) == _ALL:
        return TaskHeader(name, function, effects, needs or (), body)
    more = fields.get("timeout"), fields.get("asks", False), fields.get("verify", False)
    return TaskHeader(name, function, effects, needs or (), body, *more)


def _check(fields: Mapping[str, Any]) -> None:
    texts = fields["prefix"], fields["run_id"], fields["batch"]
    if not all(isinstance(text, str) for text in texts):
        raise TypeError(f"its prefix, run and id are {texts!r:.60}")
    if not (isinstance(fields["epoch"], int) and isinstance(fields["expected"], dict)):
        raise TypeError(f"its epoch is {fields['epoch']!r:.40}")
