"""Why a run is missing: what the evidence says, and no more."""

from __future__ import annotations

import time
from typing import Any

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import NoPermissionError

from distflow.errors import RunForgotten, RunGone, RunNotFound
from distflow.store.redis import absence as absence_module
from distflow.store.redis.absence import Evidence, explain_gone, explain_missing, look_for
from tests.support.leading import Leading, played
from tests.unit.conftest import Lead

MEND = (
    "restore its AOF or RDB and continue with `distflow resume r`, or recreate the run from an "
    "export with `distflow import FILE`"
)


@pytest.mark.parametrize(
    ("evidence", "kind", "message"),
    [
        (
            Evidence(restarted=True, listed=False, others=True),
            RunForgotten,
            f"Redis has forgotten run r: it has restarted and came back without it; {MEND}",
        ),
        (
            Evidence(restarted=False, listed=True, others=True),
            RunForgotten,
            f"Redis has forgotten run r: it is still listed there, but its keys are gone; {MEND}",
        ),
        (
            Evidence(restarted=False, listed=False, others=False),
            RunForgotten,
            (
                "Redis has forgotten run r, or somebody deleted it: no run is left there; if "
                f"nobody did, {MEND}"
            ),
        ),
        (Evidence(restarted=False, listed=False, others=True), RunGone, "run r was deleted"),
        (
            Evidence(restarted=None, listed=False, others=True),
            RunGone,
            "run r is gone: Redis has forgotten it, or somebody deleted it",
        ),
        # A worker may not look at the list of runs.
        (Evidence(restarted=False, listed=None, others=None), RunGone, "run r was deleted"),
        (
            Evidence(None, None, None),
            RunGone,
            "run r is gone: Redis has forgotten it, or somebody deleted it",
        ),
    ],
)
def test_a_run_that_was_there(evidence: Evidence, kind: type[RunGone], message: str) -> None:
    """Who has led it, or worked on it."""
    gone = explain_gone("r", evidence)
    assert (type(gone), str(gone)) == (kind, message)


@pytest.mark.parametrize(
    ("evidence", "message"),
    [
        (
            Evidence(restarted=None, listed=True, others=True),
            (
                "there is no run 'r', although it is listed: a deletion was cut off, which "
                f"`distflow delete r` ends, or Redis has forgotten run r: {MEND}"
            ),
        ),
        (
            Evidence(restarted=None, listed=False, others=False),
            (
                "there is no run 'r', and no other: if there was one, Redis has forgotten run r: "
                f"{MEND}"
            ),
        ),
        (
            Evidence(restarted=None, listed=False, others=True),
            "there is no run 'r': `distflow runs` lists all runs",
        ),
    ],
)
def test_a_run_that_may_never_have_been(evidence: Evidence, message: str) -> None:
    """Who was given its id."""
    missing = explain_missing("r", evidence)
    assert isinstance(missing, RunNotFound)
    assert str(missing) == message


# The evidence


class Server:
    """What a Redis answers; each may be an error."""

    def __init__(self, info: Any, score: Any = 1.0, any_runs: Any = 1) -> None:
        self.answers = [info, score, any_runs]

    def pipeline(self, *, transaction: bool) -> Server:
        assert not transaction
        return self

    def info(self, section: str) -> None:
        assert section == "server"

    def zscore(self, key: str, run_id: str) -> None:
        assert (key, run_id) == ("p:runs", "r")

    def exists(self, key: str) -> None:
        assert key == "p:runs"

    def execute(self, *, raise_on_error: bool) -> list[Any]:
        assert not raise_on_error
        if isinstance(self.answers[0], RedisConnectionError):
            raise self.answers[0]
        return self.answers


@pytest.mark.parametrize(
    ("seen_seconds_ago", "restarted"),
    [
        (None, None),
        (20.0, True),
        (10.6, True),
        (10.4, None),
        (9.6, None),
        (9.4, False),
        (0.1, False),
    ],
)
def test_a_process_is_younger_than_the_last_look(
    monkeypatch: pytest.MonkeyPatch, seen_seconds_ago: float | None, restarted: bool | None
) -> None:
    """Both by the server's own clock: it began between 90 and 91, and it is 100.5 now."""
    monkeypatch.setattr(time, "monotonic", lambda: 5000.0)
    monkeypatch.setattr(absence_module, "time", time)
    server = Server({"server_time_usec": 100_500_000, "uptime_in_seconds": 10})
    seen_at = None if seen_seconds_ago is None else 5000.0 - seen_seconds_ago
    assert look_for(server, "p", "r", seen_at) == Evidence(restarted, listed=True, others=True)


def test_what_redis_does_not_tell_is_no_evidence() -> None:
    """The rights of the user, an older server, and a Redis that is away."""
    refused = NoPermissionError("NOPERM")
    assert look_for(Server({}, None, 0), "p", "r", 1.0) == Evidence(
        None, listed=False, others=False
    )
    assert look_for(Server(refused, refused, refused), "p", "r", 1.0) == Evidence(None, None, None)
    away = Server(RedisConnectionError("away"))
    assert look_for(away, "p", "r", 1.0) == Evidence(None, None, None)


# As a coordinator tells it


def lose(leading: Leading) -> None:
    """The run is not there any more."""
    del leading.server.runs["run-1"]


def restart(leading: Leading, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process of Redis answers from now on."""
    server = leading.store.read_server()._replace(server_id="another")
    monkeypatch.setattr(leading.store, "read_server", lambda: server)


@pytest.mark.parametrize("seconds", [0.1, 5.0])
def test_a_run_that_went_with_a_restart_is_forgotten(
    lead: Lead, monkeypatch: pytest.MonkeyPatch, seconds: float
) -> None:
    """Whether the restart was seen before the loss, or only the loss."""
    leading = lead(played("a"))
    leading.at_work("a")
    lose(leading)
    restart(leading, monkeypatch)
    leading.clock.sleep(seconds)
    with pytest.raises(RunForgotten, match="another Redis process answers, and has no data"):
        leading.go_on(40.0)


def test_a_run_that_went_by_itself_was_deleted(lead: Lead) -> None:
    """Under the same process; what its store says counts."""
    leading = lead(played("a"))
    leading.at_work("a")
    lose(leading)
    with pytest.raises(RunGone, match="run run-1 was deleted") as raised:
        leading.go_on(40.0)
    assert not isinstance(raised.value, RunForgotten)
