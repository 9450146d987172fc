"""What a run that may grow keeps of its graph; nothing of it before a node has expanded."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from unittest.mock import ANY

import pytest

from distflow.core.claim import ClaimRequest, Code, Refused, WorkerFacts
from distflow.core.expansion import Expansion
from distflow.core.model import Ref
from distflow.core.run_options import RunOptions
from distflow.core.status import TaskStatus
from distflow.errors import LookAgain, RedisRefuses, RunNotFound, WrongState
from distflow.ports.run_store import RunStore
from distflow.wire.codec import pack
from tests.support.planning import (
    CHUNKS,
    GROWING,
    PLAN,
    STAND_IN,
    child,
    expand,
    grown,
    lead,
    write,
)
from tests.support.stores import RedisSubject, Subject, again, claim, final, finish, make_spec


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


def test_a_node_expands_with_its_success(subject: Subject) -> None:
    """Children, queues and the record are there in one step, and the chunks are what was written:
    the same for whoever asks again, and whoever tells it again.
    """
    store = subject.store
    epoch = lead(store, PLAN)
    claim(store, epoch, "train", "t1")
    before = store.read_info()
    write(store, "t1", CHUNKS)
    assert (store.read_expansions(), store.read_info()) == ({}, replace(before, as_of=ANY))
    assert list(store.iter_tasks()) == [[PLAN]]
    done = grown("train", "t1", CHUNKS)
    for _delivery in range(2):
        assert finish(store, epoch, done) == Code.RECORDED
        record = Expansion("t1", 1, 2, 3, ("default", "gpu"))
        assert store.read_expansions() == {"train": record}
        assert store.read_expansion("train") == record
        assert store.fetch_expansion("train") == (record, STAND_IN)
        assert [store.read_chunk("t1", number) for number in (0, 1)] == CHUNKS
        assert store.read_stand_in("t1") == STAND_IN
        info = store.read_info()
        assert (info.total, info.queues, info.pending) == (4, ("default", "gpu"), 3)
        assert store.read_vitals().expansions == 1
        assert list(store.iter_tasks()) == [[PLAN]]
    assert [event.kind for event in store.read_events("0-0")] == ["claimed", "finished"]
    assert store.fetch_statuses(["train", "train.a"]) == [TaskStatus.SUCCESS, None]
    assert store.fetch_expansion("other") is None


def test_an_expansion_may_be_empty(subject: Subject) -> None:
    """It has one chunk, and no queue."""
    store = subject.store
    epoch = lead(store, PLAN)
    claim(store, epoch, "train", "t1")
    write(store, "t1", [[]])
    assert finish(store, epoch, grown("train", "t1", [[]])) == Code.RECORDED
    assert store.read_expansion("train") == Expansion("t1", 1, 1, 0, ())
    assert store.read_chunk("t1", 0) == []
    assert store.read_info().total == 1


def test_expansions_are_numbered_as_they_come(subject: Subject) -> None:
    """So that every reader has the graph in the same order."""
    store = subject.store
    nodes = [PLAN._replace(name=name) for name in ("z", "a", "m")]
    epoch = lead(store, *nodes)
    for number, node in enumerate(nodes, 1):
        expand(store, epoch, node.name, f"t{number}", CHUNKS)
    found = store.read_expansions()
    assert [(node, record.seq) for node, record in found.items()] == [("z", 1), ("a", 2), ("m", 3)]
    assert store.read_info().total == 12


@pytest.mark.parametrize("missing", [0, 1, -1])
def test_an_expansion_is_whole_or_not_recorded(subject: Subject, missing: int) -> None:
    """A chunk is missing, as after a Redis lost its newest writes: nothing changes, the claim
    stays, and the worker may write them again and repeat its finish.
    """
    store = subject.store
    epoch = lead(store, PLAN)
    claim(store, epoch, "train", "t1")
    write(store, "t1", CHUNKS, without=missing)
    before = subject.dump()
    done = grown("train", "t1", CHUNKS)
    assert finish(store, epoch, done) == Code.WRONG_STATE
    assert subject.dump() == before
    write(store, "t1", CHUNKS)
    assert finish(store, epoch, done) == Code.RECORDED
    assert [store.read_chunk("t1", number) for number in (0, 1)] == CHUNKS
    assert store.read_stand_in("t1") == STAND_IN


def test_a_chunk_that_is_sent_again_counts_once(subject: Subject) -> None:
    """The reply to it was lost; and it may come in any order."""
    store = subject.store
    epoch = lead(store, PLAN)
    claim(store, epoch, "train", "t1")
    write(store, "t1", CHUNKS)
    before = subject.dump()
    write(store, "t1", CHUNKS)
    assert subject.dump() == before
    assert finish(store, epoch, grown("train", "t1", CHUNKS)) == Code.RECORDED


@pytest.mark.parametrize(
    "options",
    [RunOptions(max_tasks=3), RunOptions(max_graph_bytes=300)],
    ids=["tasks", "bytes"],
)
def test_a_run_does_not_outgrow_its_limits(subject: Subject, options: RunOptions) -> None:
    """The finish is refused and the claim stays: the worker records a failure instead, which
    deletes the chunks. What fits is taken.
    """
    store = subject.store
    epoch = lead(store, PLAN, PLAN._replace(name="small"), options=options)
    claim(store, epoch, "train", "t1")
    write(store, "t1", CHUNKS)
    done = grown("train", "t1", CHUNKS)
    for _delivery in range(2):
        assert finish(store, epoch, done) == Code.TOO_LARGE
        assert store.read_claims().keys() == {"train"}
        assert store.read_results(["train"]) == [None]
        assert (store.read_expansions(), store.read_info().total) == ({}, 2)
    failed = final("train", "t1", "failure", error="TooLarge: no")._replace(grows=True)
    assert finish(store, epoch, failed) == Code.RECORDED
    assert subject.tokens_in_graph() == set()
    expand(store, epoch, "small", "t2", [[child("small", "a")]])
    assert store.read_info().total == 3


def test_limits_count_what_was_added_before(subject: Subject) -> None:
    """The second expansion is the one that does not fit."""
    store = subject.store
    options = RunOptions(max_tasks=6)
    epoch = lead(store, PLAN, PLAN._replace(name="next"), options=options)
    expand(store, epoch, "train", "t1", CHUNKS)
    claim(store, epoch, "next", "t2")
    write(store, "t2", CHUNKS)
    assert finish(store, epoch, grown("next", "t2", CHUNKS)) == Code.TOO_LARGE


def test_the_bytes_of_a_graph_are_added_up(redis_subject: RedisSubject) -> None:
    """Of all chunks that count, however often they were written; not of what was dropped."""
    store, client, keys = redis_subject.store, redis_subject.client, redis_subject.keys
    epoch = lead(store, PLAN, PLAN._replace(name="next"))
    claim(store, epoch, "next", "t0")
    write(store, "t0", CHUNKS)
    finish(store, epoch, again("next", "t0")._replace(grows=True))
    claim(store, epoch, "train", "t1")
    write(store, "t1", [CHUNKS[0], [*CHUNKS[1], *CHUNKS[0]]])
    write(store, "t1", CHUNKS)
    assert client.hget(keys.meta, "growing") == b"1"
    finish(store, epoch, grown("train", "t1", CHUNKS))
    chunks = client.hgetall(keys.graph)
    assert sorted(chunks) == [b"0", b"t1:0", b"t1:1", b"t1:value"]
    assert int(client.hget(keys.meta, "graph_bytes")) == sum(map(len, chunks.values()))
    assert client.hget(keys.meta, "growing") == b"0"


def test_what_exceeds_the_limit_fills_no_redis(redis_subject: RedisSubject) -> None:
    """Chunks beyond it are counted, and not kept."""
    store, client, keys = redis_subject.store, redis_subject.client, redis_subject.keys
    epoch = lead(store, PLAN, options=RunOptions(max_graph_bytes=2000))
    claim(store, epoch, "train", "t1")
    for number in range(3):
        assert store.write_chunk("train", "t1", number, b"x" * 900) == Code.GRANTED
    assert store.write_chunk("train", "t1", -1, STAND_IN) == Code.GRANTED
    assert sorted(client.hkeys(keys.graph)) == [b"0", b"t1", b"t1:0", b"t1:1"]
    done = grown("train", "t1", [[], [], []])
    assert finish(store, epoch, done) == Code.TOO_LARGE
    finish(store, epoch, final("train", "t1", "failure")._replace(grows=True))
    assert client.hkeys(keys.graph) == [b"0"]


def _fail(store: RunStore, epoch: int) -> None:
    finish(store, epoch, final("train", "t1", "failure")._replace(grows=True))


def _wait(store: RunStore, epoch: int) -> None:
    finish(store, epoch, again("train", "t1")._replace(grows=True))


def _release(store: RunStore, epoch: int) -> None:
    store.advance(epoch, "b1", released=[("train", "t1")])


def _refuse(store: RunStore, epoch: int) -> None:
    refused = Refused("train", "t1", "task train", "m:f", "ImportError: no")
    store.advance(epoch, "b1", refused=[refused], by=WorkerFacts("w1", "born", "host", 7, "/srv"))


def _lose(store: RunStore, epoch: int) -> None:
    store.settle_claim(epoch, "b1", again("train", "t1")._replace(grows=True))


def _lose_for_good(store: RunStore, epoch: int) -> None:
    store.settle_claim(epoch, "b1", final("train", "t1", "failure")._replace(grows=True))


def _plain(store: RunStore, epoch: int) -> None:
    finish(store, epoch, final("train", "t1", data=[1])._replace(grows=True))


@pytest.mark.parametrize(
    "end",
    [_fail, _wait, _release, _refuse, _lose, _lose_for_good, _plain],
    ids=lambda end: end.__name__,
)
def test_chunks_go_with_their_claim(subject: Subject, end: Callable[[RunStore, int], None]) -> None:
    """Whatever ends it without an expansion deletes them: nobody else knows of them. Who comes back
    late writes nothing, and records nothing.
    """
    store = subject.store
    epoch = lead(store, PLAN)
    claim(store, epoch, "train", "t1")
    write(store, "t1", CHUNKS)
    assert subject.tokens_in_graph() == {"t1"}
    end(store, epoch)
    assert subject.tokens_in_graph() == set()
    assert store.write_chunk("train", "t1", 0, b"") == Code.REFUSED
    assert finish(store, epoch, grown("train", "t1", CHUNKS)) == Code.REFUSED
    assert subject.tokens_in_graph() == set()
    assert (store.read_expansions(), store.read_info().total) == ({}, 1)


def test_a_planner_that_slept_changes_nothing(subject: Subject) -> None:
    """It was given up, and another has expanded the node: differently."""
    store = subject.store
    epoch = lead(store, PLAN)
    claim(store, epoch, "train", "t1")
    write(store, "t1", CHUNKS)
    _lose(store, epoch)
    expand(store, epoch, "train", "t2", [[child("train", "z")]])
    before = subject.dump()
    assert store.write_chunk("train", "t1", 0, b"") == Code.REFUSED
    assert subject.dump() == before
    assert finish(store, epoch, grown("train", "t1", CHUNKS)) == Code.REFUSED
    assert store.read_expansions() == {"train": Expansion("t2", 1, 1, 1, ("default",))}
    assert store.read_chunk("t2", 0) == [child("train", "z")]


def test_a_released_claim_leaves_the_chunks_of_others(subject: Subject) -> None:
    """A batch gives back what it has not begun, while another node is growing."""
    store = subject.store
    epoch = lead(store, PLAN, PLAN._replace(name="next"))
    claim(store, epoch, "train", "t1")
    write(store, "t1", CHUNKS)
    claim(store, epoch, "next", "t2", batch="b2")
    store.advance(epoch, "b2", released=[("next", "t2")])
    assert finish(store, epoch, grown("train", "t1", CHUNKS)) == Code.RECORDED


def test_claims_rest_on_the_record_that_their_coordinator_read(subject: Subject) -> None:
    """Where Redis is one from before it, or the node was expanded differently since, the batch is
    void; a claim whose reply was lost is the caller's all the same.
    """
    store = subject.store
    epoch = lead(store, PLAN, PLAN._replace(name="next"))
    expand(store, epoch, "train", "t1", CHUNKS)
    store.begin_batch(epoch, "b2", "w1", "job")

    def ask(token: str, *records: tuple[str, str]) -> Code:
        wanted = ClaimRequest("train.a", token, start=True)
        return store.advance(epoch, "b2", claims=[wanted], records=records).claims[0].code

    assert ask("t9", ("train", "t0")) == Code.STALE_EPOCH
    assert ask("t9", ("train", "t1"), ("next", "t2")) == Code.STALE_EPOCH
    assert ask("t9", ("train", "t1")) == Code.GRANTED
    assert ask("t9", ("train", "t0")) == Code.GRANTED
    assert ask("t8", ("train", "t1")) == Code.BUSY


def test_a_full_redis_takes_no_chunks(subject: Subject) -> None:
    """They are bytes of the user's; the failure that follows is taken, and so is an expansion."""
    store = subject.store
    epoch = lead(store, PLAN, PLAN._replace(name="next"))
    claim(store, epoch, "train", "t1")
    claim(store, epoch, "next", "t2", batch="b2")
    write(store, "t1", CHUNKS)
    subject.fill()
    impatient = subject.connect_impatient()
    with pytest.raises(RedisRefuses):
        impatient.write_chunk("next", "t2", 0, b"x")
    assert finish(store, epoch, grown("train", "t1", CHUNKS)) == Code.RECORDED
    failed = final("next", "t2", "failure")._replace(grows=True)
    assert finish(store, epoch, failed, batch="b2") == Code.RECORDED
    subject.make_room()


def test_a_run_that_is_deleted_takes_its_expansions_along(subject: Subject) -> None:
    """Also in the middle of one: its worker is told that the run is gone."""
    store = subject.store
    epoch = lead(store, PLAN, PLAN._replace(name="next"))
    expand(store, epoch, "train", "t1", CHUNKS)
    claim(store, epoch, "next", "t2")
    write(store, "t2", CHUNKS)
    store.delete_run(force=True)
    assert store.write_chunk("next", "t2", 0, b"") == Code.GONE
    assert finish(store, epoch, grown("next", "t2", CHUNKS)) == Code.GONE
    assert (store.read_expansions(), store.fetch_expansion("train")) == ({}, None)
    if isinstance(subject, RedisSubject):
        assert subject.client.keys(f"{subject.prefix}:*") == []


def test_statuses_are_fetched_however_many(subject: Subject) -> None:
    """A join of many children asks for all of them."""
    store = subject.store
    epoch = lead(store, PLAN)
    claim(store, epoch, "train", "t1")
    finish(store, epoch, final("train", "t1"))
    names = [f"none{number}" for number in range(9000)]
    found = store.fetch_statuses([*names, "train"])
    assert found == [*[None] * 9000, TaskStatus.SUCCESS]
    assert store.fetch_statuses([]) == []


def test_expansions_come_from_a_snapshot(subject: Subject) -> None:
    """They are as if nodes had expanded here, however often a step is repeated; further ones come
    after them, and the limits count them.
    """
    store = subject.store
    options = RunOptions(max_tasks=7)
    store.create_run(replace(GROWING, options=options), "creation")
    store.append_tasks("creation", 0, [PLAN, PLAN._replace(name="next")])
    nested = PLAN._replace(name="train.c")
    chunks = [CHUNKS[0], [nested]]
    brought = [
        ("train", Expansion("t1", 1, 2, 3, ("default", "gpu")), chunks, STAND_IN),
        ("train.c", Expansion("t2", 2, 1, 1, ("default",)), [[child("train.c", "x")]], STAND_IN),
    ]
    for _delivery in range(2):
        store.hydrate_expansions("creation", brought)
    with pytest.raises(WrongState):
        store.hydrate_expansions("another", brought)
    packed = grown("train", "t1", chunks).packed
    store.hydrate("creation", [("train", packed, None)])
    store.seal_run("creation", 6)
    assert store.read_expansions() == {node: record for node, record, *_rest in brought}
    assert [store.read_chunk("t1", number) for number in (0, 1)] == chunks
    assert store.fetch_expansion("train.c") == (brought[1][1], STAND_IN)
    assert [len(tasks) for tasks in store.iter_tasks()] == [2]
    assert store.read_info().queues == ("default", "gpu")
    epoch = store.acquire_lease("anna", 60.0)
    expand(store, epoch, "next", "t3", [[child("next", "a")]])
    assert store.read_expansion("next") == Expansion("t3", 3, 1, 1, ("default",))
    claim(store, epoch, "train.c", "t4")
    write(store, "t4", [[child("train.c", "y")]])
    code = finish(store, epoch, grown("train.c", "t4", [[child("train.c", "y")]]))
    assert code == Code.TOO_LARGE


def test_a_snapshot_is_weighed_once(redis_subject: RedisSubject) -> None:
    """Its chunks count as those that were written here."""
    store, client, keys = redis_subject.store, redis_subject.client, redis_subject.keys
    store.create_run(GROWING, "creation")
    store.append_tasks("creation", 0, [PLAN])
    brought = [("train", Expansion("t1", 1, 2, 3, ("gpu",)), CHUNKS, STAND_IN)]
    for _delivery in range(2):
        store.hydrate_expansions("creation", brought)
    total = sum(map(len, client.hvals(keys.graph)))
    assert int(client.hget(keys.meta, "graph_bytes")) == total
    assert client.hget(keys.meta, "base_chunks") == b"1"


def test_a_creation_that_is_discarded_leaves_no_expansions(subject: Subject) -> None:
    """The next run of this name begins with none."""
    store = subject.store
    store.create_run(GROWING, "creation")
    store.hydrate_expansions(
        "creation", [("train", Expansion("t1", 1, 2, 3, ("gpu",)), CHUNKS, STAND_IN)]
    )
    created = store.read_creation()
    assert created is not None
    store.discard_creation("creation")
    lead(store, PLAN)
    assert (store.read_expansions(), subject.tokens_in_graph()) == ({}, set())


def test_tasks_that_do_not_grow_cost_nothing_more(redis_subject: RedisSubject) -> None:
    """A finish and a claim ask Redis as often in a run that has grown, and is growing, as in one
    that cannot; a claim under a record costs one command.
    """
    client = redis_subject.client

    def calls(store: RunStore, epoch: int, token: str, *records: tuple[str, str]) -> int:
        claim(store, epoch, f"a{token}", token)
        wanted = ClaimRequest(f"b{token}", f"{token}b", start=True)
        client.config_resetstat()
        answer = store.advance(epoch, "b1", [final(f"a{token}", token)], [wanted], records=records)
        stats = client.info("commandstats")
        assert (answer.finishes, answer.claims[0].code) == ((Code.RECORDED,), Code.GRANTED)
        return sum(each["calls"] for name, each in stats.items() if "config" not in name)

    plain = redis_subject.connect("run-2")
    plain.create_run(make_spec("run-2"), "creation", [child("x", "y")])
    usual = calls(plain, plain.acquire_lease("anna", 60.0), "t1")
    store = redis_subject.store
    epoch = lead(store, PLAN, PLAN._replace(name="next"))
    expand(store, epoch, "train", "t0", CHUNKS)
    claim(store, epoch, "next", "t9")
    write(store, "t9", CHUNKS)
    assert calls(store, epoch, "t1") == usual
    assert calls(store, epoch, "t2", ("train", "t0")) == usual + 1
