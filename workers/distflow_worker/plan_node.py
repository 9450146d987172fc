"""What a ``plan`` node does: it calls the user's function, which builds tasks.

A work horse imports this only for such a node: what workflows are written with costs time.
"""

from __future__ import annotations

from typing import Any

from distflow.authoring.fragments import Fragment, build_fragment
from distflow.core.model import Task, find_refs
from distflow.core.outcome import Outcome
from distflow.core.status import TaskStatus
from distflow.errors import NotEncodable
from distflow.wire.chunks import pack_chunks
from distflow.wire.codec import encode_task, pack_decoded
from distflow.wire.gathering import StandIn
from distflow_worker.expanding import check_nesting, expand
from distflow_worker.made import Made
from distflow_worker.steps import AttemptRecord, returned_outcome


def grow(record: AttemptRecord) -> Outcome:
    """Call the function of a plan, and keep the tasks that it builds.

    Raises:
        WorkflowInvalid: they are not valid.
        NotEncodable: what it returned is too large.
        BaseException: whatever the function raises.
    """
    task, view, function = record.task, record.view, record.function
    assert function is not None, "its import comes first"
    args, kwargs = record.arguments

    def call() -> Any:
        returned = function(*args, **kwargs)
        # What the function has forked builds nothing.
        view.original.end_copy()
        return returned

    fragment = build_fragment(task, call, context=view.factory or None)
    outcome = returned_outcome(fragment.result or fragment.value)
    if outcome.status != TaskStatus.SUCCESS:
        # It adds no tasks, so that refs to them stand for nothing.
        return outcome._replace(data=None if find_refs(fragment.value) else fragment.value)
    made = _make(task, fragment, view.max_result_bytes)
    return outcome._replace(data=expand(record, made))


def _make(task: Task, fragment: Fragment, max_bytes: int) -> Made:
    check_nesting(task.name)
    size = len(pack_decoded(fragment.value))
    if size > max_bytes:
        raise NotEncodable(
            f"data: {size:,} bytes encoded, more than max_result_bytes ({max_bytes:,}); store it "
            "elsewhere and return its location"
        )
    tasks, start = fragment.tasks, len(task.name) + 1
    stand_in = StandIn(
        names=[each.name[start:] for each in tasks],
        value=fragment.value,
        tolerates=[each.name[start:] for each in tasks if each.continue_on_error],
        grows=[each.name[start:] for each in tasks if each.grow is not None],
    )
    chunks = tuple(pack_chunks(map(encode_task, tasks)))
    queues = tuple(sorted({each.queue for each in tasks}))
    return Made(chunks, stand_in.encode(), len(tasks), queues)
