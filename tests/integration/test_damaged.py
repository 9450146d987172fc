"""What Redis or an export holds is not what distflow writes: one line, no concern of others."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgpack
import pytest

from distflow import Workflow
from distflow.coordinator.service import CoordinatorService
from distflow.runs.client import connect
from distflow.snapshot.records import DIGEST_BYTES, FRAME_STRUCT, MAGIC, VERSION_STRUCT
from tests.integration.cli_scene import Scene
from tests.support.command_line import busy_run
from tests.support.redis_server import RedisServer
from tests.support.wait import wait_for

#: What a field is replaced by: no text, no number, no msgpack; another map; nothing.
JUNK = (b"\xff\xfe\x01junk", b"\x81\xa1a\xa1b", b"")

#: Field of a key, or the key itself: its value is of another type then.
DAMAGE: Sequence[tuple[str, str | None]] = (
    *(("meta", field) for field in ("status", "epoch", "params", "v", "queues", "total")),
    *(("results", "bad"), ("claims", "busy"), ("progress", "later"), ("beats", "b1")),
    *(("graph", "0"), ("meta", None), ("results", None), ("graph", None), ("history", None)),
)

LOOKING = (
    *(
        ["status", "run-1", "--tasks"],
        ["runs"],
        ["show", "run-1", "bad"],
        ["show", "run-1", "later"],
    ),
    *(["show", "run-1", "busy", "--json"], ["graph", "--run", "run-1"], ["watch", "run-1"]),
    *(["export", "run-1", "-o", "-"], ["resolve", "run-1", "lost", "--fail"], ["pause", "run-1"]),
)


@pytest.fixture
def scene(redis_server: RedisServer) -> Iterator[Scene]:
    """A run with a task in every state, that nobody leads."""
    scene = Scene(redis_server)
    busy_run(scene)
    scene.leave(scene.store(), scene.store().read_info().epoch)
    assert scene.cli("pause", "run-1").exit_code == 0
    yield scene
    scene.close()


def damage(client: Any, run_id: str, key: str, field: str | None, junk: bytes = JUNK[0]) -> None:
    """Put into Redis what distflow does not write."""
    name = f"distflow:{{{run_id}}}:{key}"
    if field is None:
        client.delete(name)
        client.lpush(name, junk)
    else:
        client.hset(name, field, junk)


@pytest.mark.parametrize(("key", "field"), DAMAGE)
def test_a_damaged_run_is_one_line(scene: Scene, key: str, field: str | None) -> None:
    """Whatever is damaged, each command says what, or does not need it; the run can be removed."""
    for junk in JUNK if field else JUNK[:1]:
        damage(scene.client, "run-1", key, field, junk)
        for words in LOOKING:
            done = scene.cli(*words)
            assert not isinstance(done.exception, Exception), (words, junk, done.exception)
            lines = done.stderr.splitlines()
            assert done.exit_code in (0, 2, 4, 5), (words, done.stderr)
            assert done.exit_code == 0 or words[0] == "watch" or len(lines) == 1, (words, lines)
    assert scene.cli("delete", "run-1", "--force").exit_code == 0
    assert scene.client.keys("distflow:{run-1}:*") == []


@pytest.mark.parametrize(("key", "field"), [("meta", None), ("meta", "status"), ("events", None)])
def test_a_service_leaves_a_damaged_run_aside(
    redis_server: RedisServer, key: str, field: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    """It says so, and leads the others, whether it had led that run before or not."""
    with connect(redis_server.url).redis as redis:
        client, stop = connect(redis), threading.Event()
        for run_id in ("first", "second", "third"):
            flow = Workflow("flow")
            flow.add("a", "time:sleep", (0,))
            client.create(flow, run_id=run_id, detach=True)
        damage(redis, "first", key, field)
        service = CoordinatorService(client.backend, stop)
        thread = threading.Thread(target=service.run)
        thread.start()
        try:
            wait_for(lambda: {"second", "third"} <= service.led.keys(), 10, "runs are led")
            damage(redis, "second", key, field)
            redis.xadd("distflow:{third}:events", {"e": msgpack.packb([["x", "", "", 1, "", 0.0]])})
            if key == "events":
                wait_for(lambda: "second" not in service.led, 10, "the run is set aside")
            assert "third" in service.led
            assert thread.is_alive()
        finally:
            stop.set()
            thread.join()
        assert "run first" in caplog.text
        assert "is set aside, trying again in 60 s" in caplog.text


def records_of(whole: bytes) -> list[tuple[bytes, bytes]]:
    """The records of an export."""
    records, at = [], len(MAGIC) + VERSION_STRUCT.size
    while at < len(whole) - DIGEST_BYTES:
        kind, size = FRAME_STRUCT.unpack_from(whole, at)
        at += FRAME_STRUCT.size
        records.append((kind, whole[at : at + size]))
        at += size
    return records


def test_a_damaged_export_is_one_line(scene: Scene, tmp_path: Path) -> None:
    """Also where its checksum is right: somebody wrote it so."""
    good, bad = tmp_path / "good", tmp_path / "bad"
    scene.cli("export", "run-1", "-o", good)
    whole = good.read_bytes()
    head, records = whole[: len(MAGIC) + VERSION_STRUCT.size], records_of(whole)
    for number, (kind, body) in enumerate(records):
        content = msgpack.unpackb(body, strict_map_key=False)
        for junk in (None, 7, "x", [], [7], [["a", 7, 7]], {}, {"run_id": 7}):
            changed = list(records)
            changed[number] = kind, msgpack.packb(junk)
            if isinstance(content, dict) and isinstance(junk, int):
                changed[number] = kind, msgpack.packb(dict.fromkeys(content, junk))
            summed = head + b"".join(FRAME_STRUCT.pack(k, len(b)) + b for k, b in changed)
            bad.write_bytes(summed + hashlib.sha256(summed).digest())
            done = scene.cli("import", bad, "--run-id", "other")
            assert not isinstance(done.exception, Exception), (kind, junk, done.exception)
            if done.exit_code == 0:
                assert scene.cli("delete", "other", "--force").exit_code == 0
            else:
                assert done.exit_code == 2
                assert len(done.stderr.splitlines()) == 1
                assert scene.client.keys("distflow:{other}:*") == []
