"""Text from outside is data: no command lets it do anything to a terminal or forge a line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from msgpack import packb

from distflow.cli import COMMANDS
from distflow.cli.coordinator import _tell
from distflow.core.model import Task
from distflow.core.status import RunStatus
from distflow.events.notice import Notice
from distflow.store.redis.keys import workers_key
from distflow.store.redis.worker_notes import WorkerNote
from distflow.wire.codec import pack
from tests.integration.cli_scene import Scene
from tests.support.redis_server import RedisServer
from tests.support.stores import again, claim, finish, make_spec

#: Clears the screen, in two ways; overwrites its line; forges lines for all who know another
#: character for their end; reorders what follows; rings; ends a text of C; is no character.
EVIL = "\x1b[2J\x9b2J\rFORGED\nFORGED\x0bFORGED\x85FORGED\u2028FORGED\u202e\x07\x00\x7f"

#: What an argument of a process can hold of it.
TYPED = EVIL.replace("\x00", "")

#: Tasks whose names do that, by what becomes of them.
NAMES = {kind: kind + EVIL for kind in ("done", "bad", "lost", "busy", "later", "tail")}

#: Of a process of its own, and tested as such: they show no more than these of what is outside.
OTHERS = {"run", "submit", "resume", "worker", "coordinator"}


@pytest.fixture
def scene(redis_server: RedisServer) -> Iterator[Scene]:
    """A run in which everything that a text can be put into has such a text."""
    scene = Scene(redis_server)
    store = scene.store()
    tasks = [
        Task(name, f"pkg.tasks:work{EVIL}", effects="at_most_once" if kind == "lost" else "normal")
        for kind, name in NAMES.items()
    ]
    tasks[-1] = tasks[-1]._replace(depends_on=tuple(NAMES.values())[:5], queue="q" + EVIL)
    params = {"day" + EVIL: EVIL, "bytes": EVIL.encode()}
    spec = replace(make_spec(), workflow="pkg.flows:etl" + EVIL, params=params)
    store.create_run(spec, "creation")
    store.append_tasks("creation", 0, tasks)
    store.seal_run("creation", len(tasks))
    epoch = store.acquire_lease("anna" + EVIL, 60.0)
    store.begin_batch(epoch, "b1", "worker" + EVIL, "job-1")
    said = {"message": EVIL, "traceback": f"Traceback:\n  {EVIL}", "worker": "worker" + EVIL}
    scene.settle(store, epoch, NAMES["done"], "success", data=[EVIL, {EVIL: EVIL.encode()}], **said)
    scene.settle(store, epoch, NAMES["bad"], "failure", error="ValueError: " + EVIL, **said)
    scene.settle(store, epoch, NAMES["lost"], "unknown", error="WorkerLost: " + EVIL, **said)
    claim(store, epoch, NAMES["busy"], "t-busy")
    store.save_note(NAMES["busy"], "t-busy", pack({EVIL: EVIL}))
    claim(store, epoch, NAMES["later"], "t-later")
    retried = again(NAMES["later"], "t-later", delay_ms=600_000)
    finish(store, epoch, retried._replace(note="OSError: " + EVIL))
    register(scene)
    yield scene
    scene.close()


def register(scene: Scene) -> None:
    """A worker whose registration has such texts too."""
    key, born = f"rq:worker:worker{TYPED}", "2026-01-01T00:00:00.000000Z"
    scene.client.sadd("rq:workers", key)
    texts = dict.fromkeys(("hostname", "state", "version", "python_version"), EVIL)
    scene.client.hset(key, mapping={**texts, "queues": "default", "pid": "7", "birth": born})
    note = WorkerNote(born, EVIL, 7, EVIL, distflow=EVIL, code=EVIL, refusal=EVIL)
    scene.client.hset(workers_key("distflow"), f"worker{TYPED}", packb(note._asdict()))


def is_harmless(output: str) -> bool:
    """Whether nothing is there but lines of what can be printed, none of them forged."""
    lines = output.split("\n")
    return all(line.isprintable() and not line.startswith("FORGED") for line in lines)


def holds_it(output: str) -> bool:
    """Whether it is JSON, and says all of the text."""
    return repr(EVIL)[1:-1] in repr(json.loads(output))


def test_no_command_lets_text_act(scene: Scene, tmp_path: Path) -> None:
    """Each shows the texts of the run, in every form that it has."""
    asked: set[str] = set()

    def ask(*words: str | Path) -> str:
        asked.add(str(words[0]))
        result = scene.cli(*words)
        assert not isinstance(result.exception, Exception), (words, result.exception)
        for stream in (result.stdout, result.stderr):
            assert is_harmless(stream), (words, stream)
        return result.stdout

    documents = [["status", "run-1"], ["status", "run-1", "--tasks"], ["runs"], ["workers"]]
    documents += [["show", "run-1", name] for name in NAMES.values()]
    for words in documents:
        assert "FORGED" in ask(*words)
        assert holds_it(ask(*words, "--json"))
    ask("show", "run-1", "nobody" + EVIL)
    for form in ("mermaid", "dot"):
        assert "FORGED" in ask("graph", "--run", "run-1", "--format", form)
    assert holds_it(ask("export", "run-1", "--format", "json", "-o", "-"))
    ask("export", "run-1", "-o", tmp_path / f"file{TYPED}")
    ask("snapshot", "drop", tmp_path / f"file{TYPED}", NAMES["done"].replace("\x00", ""))
    ask("import", tmp_path / f"file{TYPED}", "--run-id", "run-2")
    ask("pause", "run-1")
    ask("resolve", "run-1", NAMES["lost"], "--fail", "--note", TYPED)
    scene.store().set_status(RunStatus.FAILURE, {RunStatus.PAUSED}, reason="why" + EVIL)
    assert "FORGED" in ask("status", "run-1")
    ask("watch", "run-1")
    ask("cancel", "run-1")
    ask("delete", "run-1")
    ask("delete", "run-1", "--force")
    ask("purge", "--older-than", "1s" + EVIL)
    assert asked | OTHERS == COMMANDS.keys() | OTHERS


def test_no_notice_forges_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    """Nor does what a service tells of its runs."""
    _tell(Notice("task_resolved", "run-1", 0.0, "task" + EVIL, message="note" + EVIL))
    (line,) = capsys.readouterr().err.split("\n")[:-1]
    assert is_harmless(line)
    assert "FORGED" in line
