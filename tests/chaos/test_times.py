"""One of the times that are promised; `make chaos-full` measures all. And their verdict, which can
be bad.
"""

from __future__ import annotations

import pytest

from tests.chaos.times.__main__ import Played, play_all
from tests.chaos.times.promises import PROMISES, Promise, entry_lost


def test_a_lost_entry_is_sent_again_in_time(capsys: pytest.CaptureFixture[str]) -> None:
    """With the real settings: 5 s after it was lost, and the line says so."""
    (promise,) = [promise for promise in PROMISES if promise.measure is entry_lost]
    (played,) = play_all([promise])
    assert played.error == ""
    assert played.seconds >= promise.least
    assert promise.name in capsys.readouterr().out


def fail(*_args: object) -> float:
    """A scene that cannot be set."""
    raise LookupError("no such thing")


@pytest.mark.parametrize(
    ("seconds", "error", "word"),
    [
        (5.0, "", "kept"),
        (3.0, "", "kept"),
        (5.1, "", "BROKEN"),
        (2.9, "", "BROKEN"),
        (4.0, "AssertionError: no", "BROKEN"),
    ],
)
def test_what_keeps_a_promise(seconds: float, error: str, word: str) -> None:
    """Neither too late, nor too early: what is given up sooner is given up without evidence."""
    played = Played(Promise("it is found", 5.0, fail, 3.0), seconds, error)
    assert str(played).startswith(word)
    assert played.holds is (word == "kept")


def test_what_cannot_be_measured_is_not_kept(capsys: pytest.CaptureFixture[str]) -> None:
    """The others are played all the same."""
    promises = [Promise("broken", 5.0, fail), Promise("kept", 5.0, lambda _scene, _wait: 1.0)]
    played = {each.promise.name: each for each in play_all(promises)}
    assert played["broken"].error == "LookupError: no such thing"
    assert not played["broken"].holds
    assert played["kept"].holds
    assert "within 5 s: 1.0 s" in capsys.readouterr().out
