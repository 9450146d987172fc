"""Every commit has its crash points: who adds a boundary adds the points, or this fails."""

from __future__ import annotations

import subprocess
import sys
import timeit
from pathlib import Path

import pytest

from distflow import faults
from distflow.store.redis.scripts import script_names
from tests.support.points import ROOT, all_points, modules, read_code

#: Modules whose doors are named after the script that they call.
_SCRIPT_DOORS = {"scripts.py", "script_line.py"}


@pytest.mark.parametrize("path", list(modules()), ids=lambda path: str(path.relative_to(ROOT)))
def test_every_write_lies_between_points(path: Path) -> None:
    """Whatever changes something in Redis is inside a ``with commit(...)``."""
    code = read_code(path.read_text())
    assert code.unguarded == [], f"{path}: give these lines a commit"
    assert None not in code.commits or path.name in _SCRIPT_DOORS, "a commit has a plain name"


@pytest.mark.parametrize(
    "line",
    [
        "self._client.set(key, 1)",
        "pipeline.execute_command('SET', key, 1)",
        "change = client.sadd",
        "client.evalsha(sha, 0)",
        "queue.enqueue_many(jobs)",
        "send_command(client, worker, 'stop-job')",
        "self._connection.send_packed_command(parts)",
    ],
)
def test_a_write_without_points_is_seen(line: str) -> None:
    """The rule can fail: a write outside is found, and inside it is not."""
    assert read_code(line).unguarded == [1]
    guarded = read_code(f"with commit('name'):\n    {line}")
    assert guarded.unguarded == []
    assert guarded.commits == ["name"]


def test_waiting_is_no_write() -> None:
    """What asks whether writes are on disk changes nothing."""
    assert read_code("client.execute_command('WAITAOF', 1, 0, 100)").unguarded == []


def test_no_two_commits_share_a_name() -> None:
    """A point says where the process is."""
    names = [
        name for path in modules() for name in read_code(path.read_text()).commits if name
    ] + script_names()
    assert len(names) == len(set(names))
    reached = [point for path in modules() for point in read_code(path.read_text()).reached]
    assert len(reached) == len(set(reached))


def test_every_script_has_its_points() -> None:
    """Before it is sent, and once its reply has come."""
    points = all_points()
    for name in script_names():
        assert {f"{name}:before", f"{name}:after"} <= set(points)


def test_points_are_free_in_production() -> None:
    """Nothing is armed here, and nothing is done at a point."""
    assert faults._armed is None
    assert timeit.timeit(lambda: faults.reach("somewhere"), number=10_000) < 0.05


@pytest.mark.parametrize(
    "text", ["", "a", "a#1", "a#1=kill", "a#x=kill@f", "a#1=hug@f", "a#0=kill@f"]
)
def test_an_unreadable_fault_is_refused(text: str) -> None:
    """A run that was to be hurt and is not would show nothing."""
    done = subprocess.run(
        [sys.executable, "-c", "import distflow.faults"],
        env={faults.FAULT_VARIABLE: text},
        capture_output=True,
        check=False,
    )
    assert done.returncode == (1 if text else 0)
