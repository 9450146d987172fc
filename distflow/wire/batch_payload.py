"""How a task travels in a batch."""

from __future__ import annotations

from typing import Any

from distflow.core.batch import Batch
from distflow.wire.codec import encode_task, pack_decoded


def batch_headers(batch: Batch) -> list[dict[str, Any]]:
    """Per task what a worker must know before it may import the user's code, and the rest as
    bytes, which it reads afterwards.
    """
    asked = {"verify": True} if batch.verify else {}
    mates = {mate.name: mate.continue_on_error for mate in batch.tasks}
    return [
        {
            "name": task.name,
            "function": task.function,
            "effects": task.effects,
            "needs": [[name, mates[name]] for name in task.depends_on if name in mates],
            "body": pack_decoded(encode_task(task)),
            **({} if task.timeout is None else {"timeout": task.timeout}),
            **({} if task.condition is None else {"asks": True}),
            **asked,
        }
        for task in batch.tasks
    ]
