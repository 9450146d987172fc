"""A batch as it travels: its bytes are those of release 0.1, and what is no batch is refused."""

from __future__ import annotations

from typing import Any

import pytest

from distflow.core.batches import Batch
from distflow.core.model import Task
from distflow.errors import Damaged, DistflowError
from distflow.wire.batch_payload import batch_payload, decode_payload, encode_payload
from distflow.wire.codec import encode_task, pack_decoded, unpack

TASKS = (
    Task("a", "m:f", effects="idempotent", continue_on_error=True),
    Task("b", "m:g", (1,), depends_on=("a", "elsewhere"), timeout=2.5, condition="m:c"),
)
BATCH = Batch("b1", "default", TASKS, "run-1", 17, expected={"m:f": 0.25}, version=2)


def test_it_travels_under_the_names_of_the_first_release() -> None:
    """Byte for byte, in that order, with nothing said that says nothing."""
    a, b = (pack_decoded(encode_task(task)) for task in TASKS)
    needs = [["a", True]]
    first = {"name": "a", "function": "m:f", "effects": "idempotent", "needs": [], "body": a}
    second = {"name": "b", "function": "m:g", "effects": "normal", "needs": needs, "body": b}
    tasks = [first, {**second, "timeout": 2.5, "asks": True}]
    wire = {"wire": 2, "prefix": "p", "run_id": "run-1", "epoch": 17, "batch": "b1"}
    expected = pack_decoded({**wire, "tasks": tasks, "expected": {"m:f": 0.25}})
    assert encode_payload(batch_payload(BATCH, "p")) == expected
    asked = encode_payload(batch_payload(BATCH._replace(verify=True, tasks=TASKS[:1]), "p"))
    assert unpack(asked)["tasks"] == [{**first, "verify": True}]


@pytest.mark.parametrize("verify", [False, True])
@pytest.mark.parametrize("records", [(), (("n", "t1"), ("n[3]", "t2"))])
def test_a_worker_reads_what_was_sent(verify: bool, records: tuple[tuple[str, str], ...]) -> None:
    """There and back, and past what a later release may say besides."""
    sent = batch_payload(BATCH._replace(verify=verify, records=records), "p")
    assert sent.records == records
    assert decode_payload(encode_payload(sent)) == sent
    fields = unpack(encode_payload(sent))
    fields["later"] = 1
    fields["tasks"][0]["later"] = 1
    assert decode_payload(pack_decoded(fields)) == sent


@pytest.mark.parametrize(
    "more",
    [
        {"prefix": 1},
        {"epoch": "17"},
        {"tasks": None},
        {"tasks": [7]},
        {"tasks": [{"name": "a"}]},
        {"tasks": [{"name": 1, "function": "m:f", "effects": "", "needs": [], "body": b""}]},
        {"tasks": [{"name": "a", "function": "m:f", "effects": "", "needs": [1], "body": b""}]},
        {"expected": []},
        {"records": [["n"]]},
        {"records": 1},
    ],
)
def test_what_is_no_batch_is_damage(more: dict[str, Any]) -> None:
    """One error says so, before anything of the batch has begun."""
    fields = {**unpack(encode_payload(batch_payload(BATCH, "p"))), **more}
    with pytest.raises(Damaged, match="the job is not a batch"):
        decode_payload(pack_decoded(fields))
    with pytest.raises(Damaged, match="the job is not a batch"):
        decode_payload(pack_decoded(7))


def test_a_version_that_is_not_read_here_is_named() -> None:
    """Before anything else of it is looked at: what else such a batch says is not known."""
    with pytest.raises(DistflowError, match=r"run r is of version 3, .* needs a newer distflow"):
        decode_payload(pack_decoded({"wire": 3, "run_id": "r"}))
