"""What a store keeps of a run: the names and texts of release 0.1, there and back."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import pytest

from distflow.core.model import Ref
from distflow.core.run import RunSpec, ServerFacts
from distflow.core.run_options import (
    KEPT_TYPES,
    MAX_RESULT_BYTES,
    RUN_OPTIONS,
    NewRunOptions,
    RunKeywords,
    RunOptions,
)
from distflow.errors import InvalidInput, RunNotFound, RunTooNew
from distflow.wire.codec import pack
from distflow.wire.run_fields import as_kept, decode_info, decode_options, decode_spec, encode_spec

SAID: dict[str, Any] = {
    "concurrency": 3,
    "timeout": 2.5,
    "context": "pkg:make",
    "max_result_bytes": 1000,
    "batch": False,
    "max_tasks": 7,
    "max_graph_bytes": 9000,
}
PLAIN = RunSpec("r", "pkg:flow", {"day": 1}, "0123", server=ServerFacts("rdb", "redis 7", "x"))


def test_a_plain_run_has_the_fields_of_the_first_release() -> None:
    """With nothing said of what is as it is by default, but for what scripts read."""
    params = pack({"day": 1})
    facts = {"durability": "rdb", "redis_version": "redis 7", "maxmemory_policy": "x"}
    common = {"workflow": "pkg:flow", "params": params, "origin": "0123", **facts}
    written = {"wire": 1, **common, "max_result_bytes": MAX_RESULT_BYTES}
    assert list(encode_spec(PLAIN).items()) == list(written.items())
    assert encode_spec(PLAIN, ["b", "a"]) == {**written, "queues": pack(["a", "b"])}


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("detached", [False, True])
def test_what_is_written_is_read(version: int, detached: bool) -> None:
    """Every option of a run, and all that it was created from."""
    spec = RunSpec("r", "f", {}, "0", RunOptions(**SAID), detached=detached, version=version)
    spec = replace(spec, returns=pack([Ref("a")]))
    meta = as_kept(encode_spec(spec))
    assert (b"wire" in meta, b"v" in meta) == (version == 1, version == 2)
    assert (meta[b"batch"], meta[b"timeout"]) == (b"0", b"2.5")
    assert decode_spec("r", meta) == spec
    assert decode_options({}) == RunOptions()


def test_what_became_of_a_run_is_read() -> None:
    """Counters, moments in ms, repairs and what a person asked for."""
    more = {b"status": b"running", b"total": b"5", b"n_success": b"2", b"n_queued": b"1"}
    times = {b"created_at": b"1000", b"started_at": b"2000", b"stop_at": b"9000"}
    seen = {b"repaired_worker_lost": b"4", b"held": pack([["a", "w", 1500]]), b"rested": b"250"}
    meta = {**as_kept(encode_spec(PLAIN, ["q"])), **more, **times, **seen, b"grace": b"9000 100"}
    info = decode_info("r", meta, claimed=1, coordinator="anna", now=3.0)
    assert (info.counts["success"], info.counts["queued"], info.counts["running"]) == (2, 1, 1)
    assert (info.created_at, info.started_at, info.ended_at) == (1.0, 2.0, None)
    assert (info.stop_at, info.rested_seconds, info.queues) == (3.1, 0.25, ("q",))
    assert info.repairs == {"worker_lost": 4}
    assert [(held.task, held.since) for held in info.held] == [("a", 1.5)]
    left = decode_info("r", meta, claimed=0, coordinator=None, now=3.0)
    assert (left.counts["queued"], left.held) == (0, ())


def test_what_is_no_run_is_not_read() -> None:
    """A hash of somebody else's, and a run of a newer distflow."""
    for meta, error in (({b"status": b"running"}, RunNotFound), ({b"v": b"3"}, RunTooNew)):
        with pytest.raises(error):
            decode_info("r", meta, claimed=0, coordinator=None, now=0.0)


def test_the_table_has_every_option() -> None:
    """The two values, the names that callers write, and the table agree."""
    kept = {field.name for field in fields(RunOptions)}
    asked = {field.name for field in fields(NewRunOptions)}
    assert set(KEPT_TYPES) == kept == set(SAID)
    assert {option.name for option in RUN_OPTIONS} == kept | asked
    assert set(RunKeywords.__annotations__) == asked


@pytest.mark.parametrize("name", [option.name for option in RUN_OPTIONS if option.check])
@pytest.mark.parametrize("value", [0, -1, "2", float("nan"), object()])
def test_a_wrong_option_is_one_line(name: str, value: Any) -> None:
    """It names the option; what a run keeps of the others is what was asked for."""
    with pytest.raises(InvalidInput, match=f"^{name} must be .*, not "):
        NewRunOptions(**{name: value})
    asked = NewRunOptions(concurrency=2, batch=False, detach=True, max_graph_bytes=5)
    assert asked.kept("pkg:make") == RunOptions(2, None, "pkg:make", batch=False, max_graph_bytes=5)
