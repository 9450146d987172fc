"""What the id of a run may be."""

from __future__ import annotations

from pathlib import Path

import pytest

from distflow.errors import InvalidInput
from distflow.ids import check_new_run_id, check_run_id
from tests.support.command_line import run_here


@pytest.mark.parametrize("run_id", ["a", "2026-11-27", "_x", "A-", "x" * 100])
def test_usable(run_id: str) -> None:
    """Letters, digits, ``_`` and ``-``."""
    assert check_new_run_id(run_id) == check_run_id(run_id) == run_id


@pytest.mark.parametrize("run_id", ["", "a b", "ä", "x" * 101, "a\n", "a/b", 7, None])
def test_not_usable(run_id: object) -> None:
    """Anything else, whatever its type."""
    for check in (check_run_id, check_new_run_id):
        with pytest.raises(InvalidInput, match="is not valid: use 1 to 100"):
            check(run_id)


def test_no_new_run_is_named_as_an_option() -> None:
    """Commands could not name it; a run that has such an id is read."""
    with pytest.raises(InvalidInput, match="'-x' begins with '-', as options do"):
        check_new_run_id("-x")
    assert check_run_id("-x") == "-x"


@pytest.mark.parametrize(
    "command", [["runs"], ["status", "x"], ["show", "x", "y"], ["submit", "W"]]
)
def test_a_private_redis_is_spoken_of(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the usual Redis is away, and `distflow run` has left one in this folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("distflow.store.redis.connection._REACH_SECONDS", 0.0)
    (tmp_path / "flows.py").write_text("import distflow\nW = distflow.Workflow('w')\n")
    words = [word.replace("W", "flows:W") for word in command]
    nowhere = "redis://127.0.0.1:1/0"
    assert "--data" not in run_here(nowhere, *words).stderr
    (tmp_path / ".distflow").mkdir()
    done = run_here(nowhere, *words)
    assert done.exit_code == 5
    (line,) = done.stderr.splitlines()
    assert line.startswith("distflow: Redis at redis://127.0.0.1:1/0 cannot be reached")
    assert line.endswith("; for the runs of `distflow run` in this folder, add --data .distflow")
    assert "--data" not in run_here(nowhere, *words, "--redis", nowhere).stderr
