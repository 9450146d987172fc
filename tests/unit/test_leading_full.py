"""What a coordinator does while Redis has no room: it leads on, and sends work when there is."""

from __future__ import annotations

from distflow.core.status import RunStatus
from tests.support.leading import Leading, played
from tests.unit.conftest import Lead


def fill(led: Leading, *, full: bool = True) -> None:
    """Let Redis have no room, or let it have some again."""
    led.server.full = led.transport.full = full


def test_work_waits_for_room(lead: Lead) -> None:
    """For as long as it takes: it is asked about once a second, and is sent within a second."""
    led = lead(played("a"), played("b", depends_on=("a",)))
    worker = led.at_work("a")
    fill(led)
    worker.finish("a")
    led.go_on(120.0)
    assert led.sent_with("b") == 0
    assert 60 <= led.transport.refused <= 125
    fill(led, full=False)
    led.go_on(2.0)
    assert led.sent_with("b") == 1
    led.take(worker, "b").finish("b")
    assert led.step() == RunStatus.SUCCESS


def test_a_question_waits_for_room(lead: Lead) -> None:
    """A hook that could not be asked is asked later, and not in vain."""
    led = lead(played("a", "at_most_once", verify="m:v"))
    worker = led.at_work("a")
    fill(led)
    worker.die()
    led.go_on(60.0)
    fill(led, full=False)
    led.go_on(2.0)
    assert [batch.verify for batch in led.transport.sent] == [False, True]


def test_a_run_is_cancelled_without_room(lead: Lead) -> None:
    """What was to be sent is cancelled, and the run ends."""
    led = lead(played("a"), played("b", depends_on=("a",)))
    worker = led.at_work("a")
    fill(led)
    worker.finish("a")
    led.go_on(5.0)
    led.store.set_status(RunStatus.CANCELLING, {RunStatus.RUNNING}, grace_seconds=1.0)
    assert led.go_on(3.0) == RunStatus.CANCELLED
    assert led.info.counts["cancelled"] == 1


def test_a_lost_worker_is_found_without_room(lead: Lead) -> None:
    """Its task is to run again, and does when there is room."""
    led = lead(played("a", "idempotent"))
    worker = led.at_work("a")
    fill(led)
    worker.die()
    led.go_on(10.0)
    assert led.store.read_claims() == {}
    fill(led, full=False)
    led.go_on(2.0)
    assert led.sent_with("a") == 2
