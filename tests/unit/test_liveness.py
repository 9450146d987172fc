"""Which batches have lost their worker: no evidence short of a worker that is gone."""

from __future__ import annotations

from typing import Any

import pytest

from distflow.core.readings import WorkerProbe
from distflow.core.run import Beat
from distflow.core.watch.liveness import LivenessMonitor
from distflow.core.watch.network import NetworkWatch

STALE, SILENT, NETWORK = 3.0, 20.0, 10.0


def beat(at: int = 0, worker: str = "w", job: str = "j", task: str = "") -> Beat:
    """A beat of a batch; ``at`` is on Redis's clock, which nothing here reads."""
    return Beat(worker, job, at, task)


def probe(
    job: str = "j",
    *,
    connected: bool = True,
    heard_at: float = 0.0,
    overdue: float | None = None,
    drop_seconds: float | None = None,
) -> dict[str, WorkerProbe]:
    """What the transport says of worker ``w``."""
    return {"w": WorkerProbe(connected, [job], heard_at, overdue, drop_seconds)}


@pytest.fixture
def monitor() -> LivenessMonitor:
    """One that has seen nothing yet."""
    return LivenessMonitor("r", STALE, SILENT, NetworkWatch(NETWORK))


def test_a_beat_that_changes_is_no_suspect(monitor: LivenessMonitor) -> None:
    """However old its own time is: only whether it changed counts, on this host's clock."""
    for second in range(20):
        monitor.observe({"b": beat(at=second - 10**9)}, float(second))
        assert monitor.suspects(float(second)) == {}


def test_a_beat_that_stands_still_is_a_suspect(monitor: LivenessMonitor) -> None:
    """It is one from ``stale_seconds`` on, under its worker's name; and no more once it changes."""
    monitor.observe({"b": beat()}, 100.0)
    monitor.observe({"b": beat()}, 102.9)
    assert monitor.suspects(102.9) == {}
    assert monitor.suspects(103.0) == {"b": "w"}
    monitor.observe({"b": beat(task="next")}, 103.1)
    assert monitor.suspects(103.1) == {}


@pytest.mark.parametrize(
    ("probes", "lost"),
    [
        (probe(), False),
        (probe(connected=False), True),
        (probe(job="another"), True),
        (probe(job=""), True),
        ({}, True),
    ],
)
def test_a_stale_beat_alone_loses_nothing(
    monitor: LivenessMonitor, probes: dict[str, WorkerProbe], lost: bool
) -> None:
    """A task may hold the interpreter lock for minutes: its worker must be gone from Redis, or
    say that it works on something else.
    """
    monitor.observe({"b": beat()}, 0.0)
    monitor.observe({"b": beat()}, 60.0)
    assert monitor.suspects(60.0) == {"b": "w"}
    assert monitor.is_lost("b", probes, 60.0) is lost


def test_a_batch_that_claims_without_a_beat_is_lost(monitor: LivenessMonitor) -> None:
    """It was given up or it ended, and what it still holds nobody works on: no worker to ask."""
    monitor.observe({"b": None}, 0.0)
    assert monitor.suspects(2.9) == {}
    assert monitor.suspects(3.0) == {"b": ""}
    assert monitor.is_lost("b", probe(), 3.0)


def test_a_pause_of_the_coordinator_is_no_evidence(monitor: LivenessMonitor) -> None:
    """After a pause everything is seen afresh: a full ``stale_seconds`` must pass again."""
    monitor.observe({"b": beat()}, 0.0)
    monitor.forget()
    monitor.observe({"b": beat()}, 500.0)
    assert monitor.suspects(502.9) == {}
    assert monitor.suspects(503.0) == {"b": "w"}


def test_a_batch_that_ended_is_forgotten(monitor: LivenessMonitor) -> None:
    """A batch of the same name that comes back, as a job run twice does, starts afresh."""
    monitor.observe({"b": beat()}, 0.0)
    monitor.observe({}, 1.0)
    assert monitor.suspects(10.0) == {}
    monitor.observe({"b": beat()}, 10.0)
    assert monitor.suspects(12.0) == {}


def silent(count: int, of: int, at: int) -> dict[str, Beat | None]:
    """``of`` batches, ``count`` of which beat no more."""
    return {f"b{i}": beat(0 if i < count else at, worker=f"w{i}") for i in range(of)}


def run(monitor: LivenessMonitor, count: int, of: int, seconds: range) -> list[int]:
    """The seconds at which there were suspects."""
    found = []
    for second in seconds:
        monitor.observe(silent(count, of, second), float(second))
        if monitor.suspects(float(second)):
            found.append(second)
    return found


def test_where_most_are_silent_the_network_is_suspected(monitor: LivenessMonitor) -> None:
    """Most batches at once are held back for ``network_seconds``, and then given up after all."""
    assert run(monitor, count=3, of=4, seconds=range(20)) == list(range(12, 20))


@pytest.mark.parametrize(("count", "of"), [(1, 1), (2, 2), (3, 6), (5, 20)])
def test_a_few_are_not_held_back(monitor: LivenessMonitor, count: int, of: int) -> None:
    """Two workers that die together, or half of many, are no network: that would be slow."""
    assert run(monitor, count, of, seconds=range(8)) == [3, 4, 5, 6, 7]


def test_a_network_that_comes_back_loses_nobody(monitor: LivenessMonitor) -> None:
    """Each event has its own patience: one that passed is no evidence for the next."""
    assert run(monitor, count=4, of=4, seconds=range(12)) == []
    # All beat again, and go silent a second time.
    back: Any = silent(0, 4, 99)
    monitor.observe(back, 12.0)
    assert monitor.suspects(12.0) == {}
    for second in range(13, 24):
        monitor.observe(back, float(second))
        assert monitor.suspects(float(second)) == {}
    assert len(monitor.suspects(24.0)) == 4


def test_a_pause_ends_the_patience_too(monitor: LivenessMonitor) -> None:
    """What was silent before a pause of this process does not count towards the hold-off."""
    assert run(monitor, count=4, of=4, seconds=range(12)) == []
    monitor.forget()
    for second in (100, 104, 113):
        monitor.observe(silent(4, 4, second), float(second))
    assert monitor.suspects(104.0) == {}
    assert monitor.suspects(113.9) == {}
    assert len(monitor.suspects(114.0)) == 4


def test_the_network_is_judged_over_all_runs() -> None:
    """Four runs of one batch each, all silent: none of them knows more than its own."""
    network = NetworkWatch(NETWORK)
    monitors = [LivenessMonitor(f"r{number}", STALE, SILENT, network) for number in range(4)]
    found = []
    for second in range(15):
        for monitor in monitors:
            monitor.observe({"b": beat()}, float(second))
            if monitor.suspects(float(second)):
                found.append(second)
    assert found == [12] * 4 + [13] * 4 + [14] * 4
    # Those that left, since their runs ended, are no evidence.
    for monitor in monitors[:2]:
        monitor.forget()
    assert monitors[3].suspects(14.0) == {"b": "w"}


def watched(monitor: LivenessMonitor, probes: list[dict[str, WorkerProbe]]) -> None:
    """Let a batch begin at second 1, and be probed at the seconds after."""
    monitor.observe({}, 0.0)
    monitor.observe({"b": beat()}, 1.0)
    assert monitor.unmeasured(1.0) == set()
    for second, seen in enumerate(probes, 2):
        monitor.observe({"b": beat(at=second)}, second - 0.5)
        monitor.observe({"b": beat(at=second)}, float(second))
        if monitor.unmeasured(float(second)):
            monitor.measure(seen, float(second))


@pytest.mark.parametrize(
    ("due_in", "overdue", "frozen"),
    [
        # A worker that beats each second, and one by RQ's defaults: each by its own measure.
        (0.5, 1.9, False),
        (0.5, 2.5, True),
        (28.0, 13.0, False),
        (28.0, 16.0, True),
        # One that does not fork sends nothing while it works.
        (359.0, 60.0, False),
    ],
)
def test_a_worker_that_is_silent_too_is_frozen(
    monitor: LivenessMonitor, due_in: float, overdue: float, frozen: bool
) -> None:
    """Its heartbeat is overdue by half the interval that was seen, and by 2 s at least."""
    watched(monitor, [probe(heard_at=1.0, overdue=-due_in)])
    assert monitor.unmeasured(3.0) == set()
    assert monitor.is_frozen("b", probe(heard_at=1.0, overdue=overdue)) is frozen


def test_the_interval_is_seen_by_changes(monitor: LivenessMonitor) -> None:
    """A coordinator that came later knows it from the first heartbeat that it sees come."""
    monitor.observe({"b": beat()}, 10.0)
    monitor.observe({"b": beat()}, 11.0)
    assert monitor.unmeasured(11.0) == {"w"}
    monitor.measure(probe(heard_at=5.0, overdue=-0.4), 11.0)
    assert monitor.unmeasured(11.0) == {"w"}
    # Not known yet: half of RQ's default is waited for.
    assert not monitor.is_frozen("b", probe(heard_at=5.0, overdue=14.0))
    assert monitor.is_frozen("b", probe(heard_at=5.0, overdue=16.0))
    monitor.measure(probe(heard_at=6.0, overdue=-0.4), 12.0)
    assert monitor.unmeasured(12.0) == set()
    assert monitor.is_frozen("b", probe(heard_at=6.0, overdue=2.5))


def test_what_tells_no_heartbeat_is_never_frozen(monitor: LivenessMonitor) -> None:
    """A transport without heartbeats: nothing is concluded from that."""
    watched(monitor, [probe()])
    assert not monitor.is_frozen("b", probe())


def test_after_a_rest_the_interval_is_that_of_the_job(monitor: LivenessMonitor) -> None:
    """The last look was long ago, since nothing was at work: that is no age of a heartbeat."""
    monitor.observe({}, 0.0)
    monitor.rest(99.0)
    monitor.observe({"b": beat()}, 100.0)
    monitor.measure(probe(heard_at=1.0, overdue=-0.5), 101.0)
    assert monitor.is_frozen("b", probe(heard_at=1.0, overdue=2.5))


@pytest.mark.parametrize(
    ("due_in", "overdue", "drop_seconds", "lost"),
    [
        # Redis keeps the connection of a host that is gone for long, or does not tell.
        (0.5, 19.0, 600.0, False),
        (0.5, 20.0, 600.0, True),
        (0.5, 20.0, None, True),
        # By RQ's defaults the next heartbeat may have been due half a minute later.
        (28.0, 19.0, 600.0, False),
        (28.0, 20.0, 600.0, True),
        # It would have been dropped by now: its host lives, and it is frozen.
        (0.5, 59.0, 20.0, False),
        (0.5, 59.0, 0.0, False),
        # A worker that does not fork says nothing while it works, nor does one that never did.
        (359.0, 59.0, 600.0, False),
        (0.5, None, 600.0, False),
        # One that beats each minute does tell; one that beats less often does not.
        (58.0, 20.0, 600.0, True),
        (58.5, 59.0, 600.0, False),
    ],
)
def test_a_silent_worker_may_have_lost_its_host(
    monitor: LivenessMonitor,
    due_in: float,
    overdue: float | None,
    drop_seconds: float | None,
    lost: bool,
) -> None:
    """Where Redis's own keepalive would take longer, silence of 20 s is enough."""
    watched(monitor, [probe(heard_at=1.0, overdue=-due_in)])
    seen = probe(heard_at=1.0, overdue=overdue, drop_seconds=drop_seconds)
    # Its last beat came at second 1.5.
    assert not monitor.is_lost("b", seen, 21.4)
    assert monitor.is_lost("b", seen, 21.5) is lost


def test_what_was_never_measured_is_told_by_the_transport_alone(monitor: LivenessMonitor) -> None:
    """Half of RQ's default is waited for; without a beat or a probe nothing is concluded."""
    monitor.observe({"b": beat(), "claims": None}, 1.0)
    assert not monitor.is_frozen("b", probe(overdue=14.9))
    assert monitor.is_frozen("b", probe(overdue=15.0))
    assert not monitor.is_frozen("b", {})
    assert not monitor.is_frozen("claims", probe(overdue=99.0))


def test_a_transport_whose_clock_was_set_is_not_believed(monitor: LivenessMonitor) -> None:
    """A heartbeat is as late as this host's clock says, which the transport's may only add to
    before anybody knows that it was set.
    """
    watched(monitor, [probe(heard_at=1.0, overdue=-0.5)])
    set_forward, set_back = probe(heard_at=1.0, overdue=1e6), probe(heard_at=1.0, overdue=-1e6)
    # Seen from here the next heartbeat is due at second 2.5.
    monitor.observe({"b": beat(2)}, 4.4)
    assert monitor.is_frozen("b", set_forward)
    assert not monitor.is_frozen("b", set_back)
    monitor.distrust()
    assert not monitor.is_frozen("b", set_forward)
    monitor.observe({"b": beat(2)}, 4.5)
    assert monitor.is_frozen("b", set_forward)
    assert monitor.is_frozen("b", set_back)


def test_a_transport_that_forgot_its_jobs_loses_nothing(monitor: LivenessMonitor) -> None:
    """Where its clock was set, what it knew may have expired; a worker at another job is lost."""
    forgot, other = {"w": WorkerProbe(True, [], 0.0, None, None)}, probe(job="another")
    monitor.observe({"b": beat()}, 0.0)
    assert monitor.is_lost("b", forgot, 60.0)
    monitor.distrust()
    assert not monitor.is_lost("b", forgot, 60.0)
    assert monitor.is_lost("b", other, 60.0)


@pytest.mark.parametrize(("due_in", "again"), [(0.5, set()), (58.0, set()), (58.5, {"w"})])
def test_a_long_interval_is_measured_again_where_the_clock_was_set(
    monitor: LivenessMonitor, due_in: float, again: set[str]
) -> None:
    """More than a minute may be the setting of the clock; what the new clock tells counts."""
    watched(monitor, [probe(heard_at=1.0, overdue=-due_in)])
    monitor.distrust()
    assert monitor.unmeasured(3.0) == again


def test_most_is_more_than_half() -> None:
    """From the first look on, of all runs together; a run that left counts no more."""
    network = NetworkWatch(NETWORK)
    assert network.is_suspect("r", 5, 3, 0.0)
    assert not network.is_suspect("other", 1, 0, 1.0)
    network.leave("other")
    assert network.is_suspect("r", 5, 3, 2.0)
    assert not network.is_suspect("busy", 10, 0, 3.0)
    assert not network.is_suspect("r", 5, 3, 3.0)


def test_each_worker_is_measured_by_itself(monitor: LivenessMonitor) -> None:
    """Whatever is known, or unknown, of the batches that stand before its own."""
    monitor.observe({}, 0.0)
    monitor.observe({"claims": None, "gone": beat(worker="v"), "b": beat()}, 1.0)
    monitor.measure(probe(heard_at=1.0, overdue=-0.5), 2.0)
    assert monitor.unmeasured(2.0) == {"v"}
    monitor.observe({"b": beat(), "next": beat(worker="u")}, 3.0)
    said = {"u": WorkerProbe(True, ["j"], 3.0, -0.5, None)}
    monitor.measure(probe(heard_at=1.0, overdue=-0.5) | said, 4.0)
    assert monitor.unmeasured(4.0) == set()


def test_after_a_pause_no_age_of_a_heartbeat_is_known(monitor: LivenessMonitor) -> None:
    """The batch may have begun at any time before: its worker is measured by the next one."""
    monitor.observe({"b": beat()}, 0.0)
    monitor.forget()
    monitor.observe({"b": beat()}, 500.0)
    monitor.measure(probe(heard_at=1.0, overdue=-0.5), 501.0)
    assert monitor.unmeasured(501.0) == {"w"}


@pytest.mark.parametrize(
    ("heard_at", "overdue", "looked", "frozen"),
    [
        # Another heartbeat came: the next is due at 4.5.
        (3.0, -0.5, 6.4, False),
        (3.0, -0.5, 6.5, True),
        # None came; that the transport's clock was set back makes it due no later than at 2.5.
        (1.0, -1e6, 4.4, False),
        (1.0, -1e6, 4.5, True),
        # It was set back, and one came: the next is due after one interval, at 6.5.
        (3.0, -50.0, 8.4, False),
        (3.0, -50.0, 8.5, True),
    ],
)
def test_when_the_next_heartbeat_is_due(
    monitor: LivenessMonitor, heard_at: float, overdue: float, looked: float, frozen: bool
) -> None:
    """It is known from the last that came, and by an interval of 2.5 s at most."""
    watched(monitor, [probe(heard_at=1.0, overdue=-0.5)])
    monitor.measure(probe(heard_at=heard_at, overdue=overdue), 4.0)
    monitor.observe({"b": beat(2)}, looked)
    assert monitor.is_frozen("b", probe(heard_at=heard_at, overdue=-1e6)) is frozen


def test_an_interval_is_measured_once(monitor: LivenessMonitor) -> None:
    """A coordinator that did not look for half a minute takes no worker for a slow one."""
    watched(monitor, [probe(heard_at=1.0, overdue=-0.5)])
    monitor.measure(probe(heard_at=31.9, overdue=-0.5), 32.0)
    assert monitor.is_frozen("b", probe(heard_at=31.9, overdue=2.5))


def test_the_heartbeat_from_before_a_clock_was_set_measures_nothing(
    monitor: LivenessMonitor,
) -> None:
    """The two clocks do not fit together; the first that comes after it does."""
    watched(monitor, [probe(heard_at=1.0, overdue=-58.5)])
    monitor.distrust()
    for second in (10.0, 11.0):
        monitor.measure(probe(heard_at=1.0, overdue=-1000.0), second)
        assert monitor.unmeasured(second) == {"w"}
    monitor.measure(probe(heard_at=11.9, overdue=-0.5), 12.0)
    assert monitor.unmeasured(12.0) == set()
    monitor.observe({"b": beat(2)}, 14.5)
    assert monitor.is_frozen("b", probe(heard_at=11.9, overdue=0.0))
