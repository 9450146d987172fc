"""Results as users give them to a snapshot: TaskResults, or dicts with their fields."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from distflow.core.model import Metrics, TaskResult
from distflow.core.status import TaskStatus
from distflow.errors import DistflowError, SnapshotInvalid
from distflow.wire.codec import encode_result


def pack_given(results: Mapping[str, TaskResult | Mapping[str, Any]]) -> dict[str, bytes]:
    """Encode results by task name; ``pending`` ones are left out.

    Raises:
        SnapshotInvalid: one is not a TaskResult, or its data cannot be encoded.
    """
    return {name: _encode(name, value) for name, value in results.items() if not _is_pending(value)}


def _is_pending(value: object) -> bool:
    """Whether a result says that its task has no outcome, as those of ``execute`` may."""
    status = value.get("status") if isinstance(value, Mapping) else getattr(value, "status", None)
    return status == TaskStatus.PENDING


def _encode(name: str, value: TaskResult | Mapping[str, Any]) -> bytes:
    if not isinstance(name, str):
        raise SnapshotInvalid(f"snapshot: {name!r} is not a task name: names are text")
    try:
        if not isinstance(value, TaskResult):
            fields = dict(value)
            metrics = fields.get("metrics")
            if isinstance(metrics, Mapping):
                fields["metrics"] = Metrics(**metrics)
            value = TaskResult(**fields)
        return encode_result(value)
    except (TypeError, ValueError) as error:
        raise SnapshotInvalid(
            f"snapshot: task {name!r} has neither a TaskResult nor a dict of its fields: {error}"
        ) from error
    except DistflowError as error:
        raise SnapshotInvalid(f"snapshot: task {name!r}: {error}") from error
