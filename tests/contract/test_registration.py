"""How a worker knows its registration, what it notes of itself, and how long it rests."""

from __future__ import annotations

import itertools
import time
from typing import Any

import msgpack
import pytest
from redis import Redis
from redis import exceptions as redis_errors

from distflow.dispatch.roster import read_workers
from distflow.rq_compat.rq_keys import WORKERS_KEY, worker_key
from distflow.store.redis.keys import workers_key
from distflow.store.redis.worker_notes import STAYS_MS, WorkerNote, read_notes, write_note
from distflow_worker.registration import Registration, find_registration

_prefixes = itertools.count(1)


@pytest.fixture
def prefix() -> str:
    """Of keys that no other test uses."""
    return f"registered{next(_prefixes)}"


def register(client: Any, name: str, born: str = "2026-01-01T00:00:00.000000Z") -> None:
    """What RQ writes of a worker."""
    fields = {"birth": born, "pid": "41", "hostname": "host-1", "queues": "a,b", "state": "idle"}
    client.hset(worker_key(name), mapping=fields)
    client.sadd(WORKERS_KEY, worker_key(name))


def test_a_rest_grows_until_a_batch_is_fine(redis_client: Redis, prefix: str) -> None:
    """1, 2, 4 ... 30 seconds, over all work horses of a worker: each is a process of its own, which
    remembers nothing.
    """
    register(redis_client, "w1")

    def rest(refusal: str) -> float:
        return Registration(redis_client, prefix, "w1").rest_seconds(refusal)

    assert rest("") == 0
    assert [rest("m:f: no") for _batch in range(7)] == [1, 2, 4, 8, 16, 30, 30]
    note = read_notes(redis_client, prefix)["w1"]
    assert (note.rests, note.refusal, note.pid, note.host) == (7, "m:f: no", 41, "host-1")
    assert rest("") == 0
    note = read_notes(redis_client, prefix)["w1"]
    assert (note.rests, note.refusal) == (0, "")
    assert rest("m:f: no") == 1
    # Another worker of the same name begins anew.
    register(redis_client, "w1", "2026-01-02T00:00:00.000000Z")
    assert rest("m:f: no") == 1


def test_a_note_is_written_when_it_says_something_new(
    redis_client: Redis, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the first batch, for another version of the code, and after an hour: it stays a day."""
    register(redis_client, "w1")
    written: list[WorkerNote] = []

    def write(client: Redis, where: str, worker: str, note: WorkerNote) -> None:
        written.append(note)
        write_note(client, where, worker, note)

    monkeypatch.setattr("distflow.store.redis.worker_notes.write_note", write)
    for code in ("", "", "v2", "v2"):
        monkeypatch.setenv("DISTFLOW_CODE", code)
        Registration(redis_client, prefix, "w1")
    assert [note.code for note in written] == ["", "v2"]
    now = time.time()
    monkeypatch.setattr("distflow_worker.registration.time.time", lambda: now + 3700)
    Registration(redis_client, prefix, "w1")
    assert len(written) == 3
    assert 0 < redis_client.pttl(workers_key(prefix)) <= STAYS_MS


def test_notes_of_a_day_ago_go(redis_client: Redis, prefix: str) -> None:
    """Whoever writes one takes them away; so are those from before a clock was set back."""
    note = WorkerNote("born", "host", 7, "/srv")
    for name in ("old", "ahead", "kept"):
        write_note(redis_client, prefix, name, note)
    for name, days in (("old", -1.1), ("ahead", 1.1)):
        kept = read_notes(redis_client, prefix)[name]
        moved = kept._replace(at=int(kept.at + days * STAYS_MS))
        redis_client.hset(workers_key(prefix), name, msgpack.packb(moved._asdict()))
    write_note(redis_client, prefix, "new", note)
    assert set(read_notes(redis_client, prefix)) == {"kept", "new"}


def test_a_redis_that_refuses_ends_nothing(prefix: str) -> None:
    """A user without rights to the notes, or a Redis that is away: the worker goes on, and is known
    by what the process itself knows.
    """

    class Refusing:
        def pipeline(self, **_options: Any) -> Refusing:
            return self

        def hmget(self, *_words: str) -> None: ...
        def hget(self, *_words: str) -> None: ...

        def execute(self, **_options: Any) -> Any:
            raise redis_errors.ConnectionError("away")

        def evalsha(self, *_words: Any) -> Any:
            raise redis_errors.NoPermissionError("no")

    client: Any = Refusing()
    registration = Registration(client, prefix, "w1")
    assert (registration.facts.name, registration.facts.born) == ("w1", "")
    assert registration.facts.pid > 0
    assert registration.rest_seconds("m:f: no") == 1
    # It is asked again with the next batch.
    assert find_registration(client, prefix, "w1") is not find_registration(client, prefix, "w1")


def test_a_process_that_stays_asks_seldom(redis_client: Redis, prefix: str) -> None:
    """A FastWorker's child, a SimpleWorker: thousands of batches a minute."""
    register(redis_client, "w1")
    first = find_registration(redis_client, prefix, "w1")
    assert find_registration(redis_client, prefix, "w1") is first


def test_who_is_there(redis_client: Redis, prefix: str) -> None:
    """RQ's registrations, with what was noted by the same worker; one whose processes are gone."""
    register(redis_client, "w-here")
    register(redis_client, "w-new")
    write_note(redis_client, prefix, "w-here", WorkerNote("another", "host", 7, "/old"))
    Registration(redis_client, prefix, "w-new").rest_seconds("m:f: no")
    found = {each.name: each for each in read_workers(redis_client, prefix)}
    here, new = found["w-here"], found["w-new"]
    assert (here.directory, here.distflow, here.refusal) == ("", "", "")
    assert (new.state, new.queues, new.host, new.pid) == ("gone", ("a", "b"), "host-1", 41)
    assert new.directory
    assert new.refusal == "m:f: no"
    redis_client.delete(worker_key("w-here"), worker_key("w-new"))
    redis_client.srem(WORKERS_KEY, worker_key("w-here"), worker_key("w-new"))
