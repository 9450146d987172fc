"""What version 1 writes is what release 0.1 reads: its own code says so."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from distflow.core.model import Loop, Metrics, Ref, Retry, Task, TaskResult
from distflow.core.run import HeldTask, Repair
from distflow.core.run_options import RunOptions
from distflow.core.status import RunStatus, TaskStatus
from distflow.core.version import ADDED_FIELDS, run_version
from distflow.ids import task_key
from distflow.wire import codec
from distflow.wire.fingerprint import fingerprint
from tests.support.redis_server import RedisServer
from tests.support.release import THIS, Release
from tests.support.stores import (
    RedisSubject,
    again,
    claim,
    final,
    finish,
    make_spec,
    resolve,
)

HERE = Path(__file__).parent

#: Read by their place: one more is a TypeError in 0.1.
LISTS = ("Beat", "Claim", "Event", "HeldTask", "Outcome", "Metrics", "ServerFacts")

#: Read by name, and what is not known is a TypeError.
MAPS = ("Progress",)

#: Read by name, and what is not known is left out.
OPEN_MAPS = ("Header", "End", "TaskResult")

#: What a run may use of them, and be of version 1.
CHOSEN = {"Task": Task, "Retry": Retry, "Loop": Loop, "RunOptions": RunOptions}

#: A value of each field of a task that is not its default.
TASK: Mapping[str, Any] = {
    "name": "a",
    "function": "pkg:a",
    "args": (1, (2, [Ref("b")]), {"k": Ref("c")}),
    "kwargs": {"x": 2.5, "y": b"z"},
    "depends_on": ("b", "c"),
    "retry": Retry(3, 1.0, "exponential", 9.0, 0.5, 2),
    "loop": Loop("pkg:until", 5, 2.0, sees="data"),
    "timeout": 3.0,
    "condition": "pkg:wanted",
    "priority": -4,
    "continue_on_error": True,
    "queue": "slow",
    "effects": "at_most_once",
    "verify": "pkg:verify",
    "batch": False,
}

#: Of each part of a task: all of its fields of version 1, and another value for each.
PARTS: Mapping[str, Mapping[str, Any]] = {
    "retry": {
        "attempts": 2,
        "delay": 2.0,
        "backoff": "exponential",
        "max_delay": 5.0,
        "jitter": 0.25,
        "lost": 3,
    },
    "loop": {"until": "pkg:other", "max_iterations": 7, "interval": 1.5},
}

#: A value of each type that travels in version 1, and what they stand in.
VALUES: Sequence[Any] = (
    *(None, True, 1, -(2**63), 2**64 - 1, 1.5, "text", b"bytes", [1], {"k": 1}, {1: 2}),
    *((1, 2), {1, 2}, frozenset({1}), datetime(2026, 1, 2, 3, 4, 5, 6, UTC), date(2026, 1, 2)),
    *(timedelta(1, 2, 3), Decimal("1.50"), UUID(int=7), complex(1, 2), [({"k": {(1,)}},)]),
)


def ask(release: Release, what: str, *words: str, given: str = "") -> Any:
    """What the script ``telling.py`` says when a release runs it."""
    script = release.cwd / "tests/released/telling.py"
    done = subprocess.run(
        [str(release.python), str(script), what, *words],
        input=given,
        capture_output=True,
        text=True,
        check=False,
        cwd=release.cwd,
        env=release.environment(),
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def shapes(old: Release) -> dict[str, Any]:
    """What release 0.1 writes and reads."""
    found: dict[str, Any] = ask(old, "shapes")
    return found


@pytest.fixture(scope="module")
def present() -> dict[str, Any]:
    """What this source does."""
    found: dict[str, Any] = ask(THIS, "shapes")
    return found


def test_the_wheel_is_what_its_page_says() -> None:
    """Its bytes are those that can be built again from the commit of the release."""
    (wheel,) = HERE.glob("*.whl")
    said = re.search(r"`([0-9a-f]{64})`", (HERE / "README.md").read_text())
    assert said is not None
    assert hashlib.sha256(wheel.read_bytes()).hexdigest() == said[1]


def test_each_plays_its_own_release(old: Release) -> None:
    """The tests' tasks come from one folder; distflow does not."""
    program = "import distflow, distflow_worker, tests; print(distflow.__file__); print({})"
    homes = []
    for release in (old, THIS):
        command = [str(release.python), "-c", program.format("distflow_worker.__file__")]
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            check=True,
            cwd=release.cwd,
            env=release.environment(),
        )
        homes.append([Path(line) for line in done.stdout.split()])
    assert all(".venv-0.1" in path.parts for path in homes[0])
    assert [path.parents[1] for path in homes[1]] == [THIS.cwd, THIS.cwd / "workers"]


@pytest.mark.parametrize("name", [*LISTS, *MAPS])
def test_a_frozen_shape(shapes: dict[str, Any], present: dict[str, Any], name: str) -> None:
    """Not a field more, nor fewer, nor in another order: a new fact goes to a new key."""
    assert present[name] == shapes[name]


@pytest.mark.parametrize("name", OPEN_MAPS)
def test_a_shape_that_may_grow(shapes: dict[str, Any], present: dict[str, Any], name: str) -> None:
    """What 0.1 reads is there still."""
    assert set(shapes[name]) <= set(present[name])


@pytest.mark.parametrize("name", CHOSEN)
def test_a_new_option_names_its_version(
    shapes: dict[str, Any], present: dict[str, Any], name: str
) -> None:
    """0.1 drops an option of a task that it does not know, without a word: a run that uses one is
    none of version 1. The list is ``ADDED_FIELDS``.
    """
    added = ADDED_FIELDS[CHOSEN[name]]
    known = [field for field in present[name] if field not in added]
    assert known == shapes[name], (
        f"release 0.1 does not know every field of {name}: name the new ones in ADDED_FIELDS "
        "of distflow/core/version.py, and leave them out of what is written where they say nothing"
    )
    assert set(added) <= set(present[name])


def test_codes_keys_and_types(shapes: dict[str, Any], present: dict[str, Any]) -> None:
    """Codes and keys may be added; a type that 0.1 cannot decode is of runs of version 2 alone: the
    data of a growing node that has expanded.
    """
    assert shapes["codes"].items() <= present["codes"].items()
    assert set(shapes["keys"]) <= set(present["keys"])
    expanded = 11
    assert present["extensions"] == [*shapes["extensions"], expanded]


def tasks_of_version_1() -> list[Task]:
    """One with each option of version 1 alone, and one with all; each part with each of its own."""
    some = Task("a", "pkg:a")
    found = [some, *(some._replace(**{name: value}) for name, value in TASK.items())]
    least: dict[str, Any] = {"attempts": 1}
    for name, value in PARTS["retry"].items():
        found.append(some._replace(retry=Retry(**{**least, name: value})))
    least = {"until": "pkg:until", "max_iterations": 2, "sees": "data"}
    for name, value in PARTS["loop"].items():
        found.append(some._replace(loop=Loop(**{**least, name: value})))
    return [*found, Task(**TASK)]


def test_the_tasks_below_have_every_option() -> None:
    """So that none is forgotten when one is added to version 1; which cannot be."""
    for kind, values in ((Task, TASK), (Retry, PARTS["retry"]), (Loop, PARTS["loop"])):
        assert set(values) == set(kind._fields) - set(ADDED_FIELDS[kind])


def test_a_task_of_version_1_is_understood(old: Release) -> None:
    """0.1 decodes it, and what it has understood is the same again, byte by byte; in a snapshot it
    is known by the same mark, and its ``ctx.key`` is the same.
    """
    tasks = tasks_of_version_1()
    assert run_version(tasks, RunOptions()) == 1
    packed = [codec.pack(codec.encode_task(task)).hex() for task in tasks]
    wanted = [
        [again, fingerprint(task), task_key("0123abcd", task.name)]
        for again, task in zip(packed, tasks, strict=True)
    ]
    assert ask(old, "recode", given="\n".join(packed)) == wanted


def test_a_result_is_understood(old: Release) -> None:
    """Whatever its task returned."""
    full = TaskResult(
        TaskStatus.FAILURE,
        message="m",
        error="E: x",
        metrics=Metrics(1.0, 3.0, 2.0),
        attempt=2,
        worker="w",
        traceback="t",
        started=True,
    )
    results = [full, *(TaskResult(TaskStatus.SUCCESS, data=value) for value in VALUES)]
    packed = [codec.encode_result(result).hex() for result in results]
    assert ask(old, "recode", given="\n".join(packed)) == [[again] for again in packed]


def test_where_it_ran_is_left_out(old: Release) -> None:
    """By 0.1, which reads the rest."""
    result = TaskResult(TaskStatus.SUCCESS, data=1, worker="w")
    told = codec.encode_result(replace(result, host="web-1")).hex()
    assert ask(old, "recode", given=told) == [[codec.encode_result(result).hex()]]


def test_a_repeated_hour_is_read(old: Release) -> None:
    """The second half past two of a night is the half past two of 0.1, which knew no other."""
    second = datetime(2026, 10, 25, 2, 30, tzinfo=timezone(timedelta(hours=1)), fold=1)
    told, read = (
        codec.encode_result(TaskResult(TaskStatus.SUCCESS, data=moment)).hex()
        for moment in (second, second.replace(fold=0))
    )
    assert told != read
    assert ask(old, "recode", given=told) == [[read]]


def busy_run(subject: RedisSubject) -> None:
    """A run of version 1 to which everything has happened that leaves a trace."""
    store = subject.store
    names = ["done", "failed", "later", "unknown", "decided", "held", "lost", "early", "skipped"]
    tasks = [Task(name, "pkg.tasks:work") for name in names]
    tasks[1] = tasks[1]._replace(continue_on_error=True)
    tasks[3] = tasks[3]._replace(effects="at_most_once", verify="pkg.tasks:look")
    tasks.append(Task(**TASK)._replace(depends_on=()))
    store.create_run(make_spec(concurrency=9), "creation", tasks)
    epoch = store.acquire_lease("anna", 60.0)
    for name in names:
        if name != "skipped":
            claim(store, epoch, name, f"t-{name}", batch=f"b-{name}")
    finish(store, epoch, final("done", "t-done", data={1, 2}))
    finish(store, epoch, final("failed", "t-failed", "failure", error="E: x"))
    finish(store, epoch, again("later", "t-later", delay_ms=300_000))
    for name in ("unknown", "decided"):
        store.save_note(name, f"t-{name}", b"\xa3job")
        finish(store, epoch, final(name, f"t-{name}", "unknown", keep=True))
    resolve(store, "op", "decided", "retry", b"", "anna", "it did not happen")
    store.beat("b-held", "w1", "job", "held", overdue=True)
    store.hold_tasks(epoch, [HeldTask("held", "w1", 1.5)])
    store.settle_claim(epoch, "b-lost", again("lost", "t-lost", lost=1))
    store.end_batch(epoch, "b-lost")
    store.advance(epoch, "b-early", released=[("early", "t-early")], ending=True, unstarted=["x"])
    store.settle_unheld(epoch, [("skipped", final("skipped", "", "skipped").packed)])
    store.record_repair(epoch, "op", Repair("worker_lost", "b-lost", "w2", "was killed"))
    finish(store, epoch, final("done", "stranger"))
    store.set_status(RunStatus.PAUSED, {RunStatus.RUNNING}, epoch=epoch, reason="by hand")


def test_what_lies_in_redis_is_understood(old: Release, redis_server: RedisServer) -> None:
    """0.1 reads of a run of version 1 what this source reads: claims, progress, beats, events,
    history, and all that is told in short.
    """
    with redis_server.client() as client:
        subject = RedisSubject(client)
        busy_run(subject)
        asked = (redis_server.url, subject.prefix)
        mine, its = ask(THIS, "read", *asked), ask(old, "read", *asked)
        kinds = {event.kind for event in subject.store.read_events("0-0")}
        told = {"claimed", "finished", "waiting", "resolved", "released", "refused", "repaired"}
        assert kinds == told | {"moved", "batch_ended"}
    assert mine == its
    assert all(len(told) > len("[]") for told in its.values())
