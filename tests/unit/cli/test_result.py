"""What the workflow of a run has returned, as commands say it."""

from __future__ import annotations

import json

from tests.support.command_line import WIDTH, MemoryScene


def test_submit_prints_the_result(staffed: MemoryScene) -> None:
    """In one line that fits the terminal; JSON has all of it."""
    done = staffed.cli("submit", "tests.support.tasks.returning:sums", "--run-id", "r")
    assert (done.exit_code, done.stdout) == (0, "r\n")
    said = '{"sum": 3, "parts": [0, 1, 2], "bad": [null, null], "of": 3}'
    assert f"result: {said}" in done.stderr.splitlines()
    words = ("submit", "tests.support.tasks.returning:plain", "-p", f"text={'x' * 200}")
    (line,) = [
        line for line in staffed.cli(*words).stderr.splitlines() if line.startswith("result: ")
    ]
    assert len(line) == WIDTH
    assert json.loads(staffed.cli(*words, "--json").stdout)["result"] == "x" * 200
    assert json.loads(staffed.cli("watch", "r", "--json").stdout)["result"] == json.loads(said)
    assert f"result: {said}" in staffed.cli("watch", "r").stdout


def test_a_failed_run_prints_none(staffed: MemoryScene) -> None:
    """Neither does one that returns nothing."""
    failed = staffed.cli("submit", "tests.support.tasks.returning:failing", "--json")
    assert "result:" not in failed.stderr
    assert json.loads(failed.stdout)["result"] is None
    nothing = staffed.cli("submit", "tests.support.tasks.returning:plain", "-p", "text=null")
    assert nothing.exit_code == 0
