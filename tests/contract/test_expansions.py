"""What a run that may grow keeps of its graph; nothing of it before a node has expanded."""

from __future__ import annotations

from dataclasses import replace

import pytest

from distflow.core.model import Grow, Ref, Task
from distflow.core.run_options import RunOptions
from distflow.errors import LookAgain, RunNotFound
from distflow.wire.codec import pack
from tests.support.stores import RedisSubject, Subject, make_spec

GROWING = replace(make_spec(), version=2)
PLAN = Task("train", "pkg.plans:train", effects="idempotent", grow=Grow("plan"))


def test_nothing_has_expanded_yet(subject: Subject) -> None:
    """There are no records, and no chunks but those of the base graph."""
    store = subject.store
    assert store.read_expansions() == {}
    with pytest.raises(RunNotFound):
        store.read_chunk("token", 0)
    store.create_run(GROWING, "creation", [PLAN])
    assert (store.read_expansions(), store.read_vitals().expansions) == ({}, 0)
    assert store.read_expansion("train") is None
    assert store.read_stand_in("token") is None
    with pytest.raises(LookAgain, match="chunk 3 of the expansion token is not there"):
        store.read_chunk("token", 3)
    assert list(store.iter_tasks()) == [[PLAN]]


def test_a_run_tells_what_its_workflow_returned(subject: Subject) -> None:
    """As a template with Refs; a run whose workflow returns nothing has none."""
    returned = pack({"report": Ref("train")})
    subject.store.create_run(replace(GROWING, returns=returned), "creation", [PLAN])
    assert subject.store.read_info().returns == returned
    other = subject.connect("run-2")
    other.create_run(make_spec("run-2"), "creation", [])
    assert other.read_info().returns is None


def test_a_run_keeps_the_limits_that_it_was_given(subject: Subject) -> None:
    """Expansions are measured by them, whoever leads and works."""
    options = RunOptions(max_tasks=5, max_graph_bytes=4000)
    subject.store.create_run(replace(GROWING, options=options), "creation", [PLAN])
    assert subject.store.read_info().options == options


def test_a_graph_in_chunks_is_weighed_once(redis_subject: RedisSubject) -> None:
    """A chunk that is sent again counts once, in any order; a run of version 1 keeps neither
    figure: those of 0.1 have none.
    """
    store, keys = redis_subject.store, redis_subject.keys
    store.create_run(GROWING, "creation")
    chunks = {0: [PLAN], 1: [PLAN._replace(name="other"), PLAN._replace(name="third")]}
    for number in (1, 0, 1, 0):
        store.append_tasks("creation", number, chunks[number])
    store.seal_run("creation", 3)
    written = redis_subject.client.hvals(keys.graph)
    found = redis_subject.client.hmget(keys.meta, "base_chunks", "graph_bytes")
    assert [int(figure) for figure in found] == [2, sum(map(len, written))]
    assert list(store.iter_tasks()) == list(chunks.values())
    whole = RedisSubject(redis_subject.client)
    whole.store.create_run(GROWING, "creation", chunks[0])
    found = redis_subject.client.hmget(whole.keys.meta, "base_chunks", "graph_bytes")
    assert [int(figure) for figure in found] == [1, redis_subject.client.hstrlen(keys.graph, "0")]
    first = RedisSubject(redis_subject.client)
    first.store.create_run(make_spec(), "creation")
    first.store.append_tasks("creation", 0, chunks[0])
    assert redis_subject.client.hmget(first.keys.meta, "base_chunks", "graph_bytes") == [None, None]
