"""Copies of a batch: as many as a queue needs that swallows its entries, and no more."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable

import pytest

from distflow.core.batches import Batch
from distflow.core.claim import Code
from distflow.core.copies import CopyCounter
from distflow.core.run_options import RunOptions
from distflow.core.status import RunStatus
from tests.support.leading import Leading, played
from tests.unit.conftest import Lead


def workers(count: int) -> Callable[[str], int]:
    """So many are registered on every queue."""
    return lambda _queue: count


def test_a_queue_that_swallows_nothing_gets_one_entry() -> None:
    """And nobody counts its workers."""
    copies = CopyCounter()

    def count(_queue: str) -> int:
        raise AssertionError

    assert copies.take("q", count) == 1


def test_each_round_doubles_them() -> None:
    """The n-th loss in a row: 2^n copies, up to as many as there are workers."""
    copies = CopyCounter()
    sent = []
    for round_ in range(6):
        copies.note_vanished("q", sent_at=round_ - 0.5, now=float(round_))
        taken = copies.take("q", workers(20))
        copies.give_back("q", taken)
        sent.append(taken)
    assert sent == [2, 4, 8, 16, 20, 20]
    assert copies.take("other", workers(20)) == 1


def test_batches_that_vanish_together_are_one_round() -> None:
    """Four of one round, found one after the other: they were sent before the first was missed."""
    copies = CopyCounter()
    for found in range(4):
        copies.note_vanished("q", sent_at=1.0 + found / 10, now=6.0 + found / 10)
    assert copies.take("q", workers(20)) == 2


def test_copies_of_all_batches_together_are_bounded() -> None:
    """No more than the workers can be swallowed, whatever number of batches is sent."""
    copies = CopyCounter()
    for round_ in range(3):
        copies.note_vanished("q", float(round_), float(round_))
    taken = [copies.take("q", workers(10)) for _ in range(5)]
    assert taken == [8, 3, 1, 1, 1]
    copies.give_back("q", 8)
    assert copies.take("q", workers(10)) == 8


def test_a_batch_that_is_begun_ends_it() -> None:
    """Redis has handed an entry to a worker: no phantom waited before it."""
    copies = CopyCounter()
    copies.note_vanished("q", 0.0, 5.0)
    copies.note_begun("q")
    assert copies.take("q", workers(10)) == 1


# With a coordinator


class Phantoms:
    """A host that is gone: its workers are registered, and swallow an entry each."""

    def __init__(self, led: Leading, count: int) -> None:
        self.led = led
        self.left = count
        for number in range(count):
            led.worker(f"phantom{number}")
        self.seen = 0
        self.entries: deque[Batch] = deque()

    def look(self) -> Batch | None:
        """What a live worker gets now: the entries that phantoms have left."""
        for batch in self.led.transport.sent[self.seen :]:
            self.entries += [batch] * batch.copies
        self.seen = len(self.led.transport.sent)
        while self.entries and self.left:
            self.left -= 1
            # Popped: in no queue any more, once its last copy is.
            swallowed = self.entries.popleft()
            if swallowed not in self.entries:
                self.led.transport.queued.pop(swallowed.id, None)
        if not self.entries:
            return None
        batch = self.entries.popleft()
        if batch not in self.entries:
            self.led.transport.queued.pop(batch.id, None)
        return batch


@pytest.mark.parametrize("count", [0, 1, 2, 3, 8, 40])
def test_the_first_task_begins_after_a_few_rounds(lead: Lead, count: int) -> None:
    """One task, and so many phantoms before one live worker: the rounds are the logarithm of them,
    of 5 s each; one by one, 8 would take more than 40 s, and did 81.
    """
    led = lead(played("a", "at_most_once"))
    live = led.worker("live")
    phantoms = Phantoms(led, count)
    got = phantoms.look()
    began = led.clock.seconds
    while got is None:
        assert led.clock.seconds - began < 60, led.said("repair")
        led.go_on(0.5)
        got = phantoms.look()
    rounds = math.ceil(math.log2(count + 2)) - 1
    # Two looks at each; what is sent again need not wait as what a claim finds not ready.
    assert led.clock.seconds - began <= 6.0 * rounds + 0.5
    assert live.begin(got) == Code.OK
    # Whoever gets a copy leaves it to the first.
    assert all(led.worker("other").begin(each) == Code.STOPPED for each in phantoms.entries)
    led.go_on(1.5)
    assert live.claim("a") == Code.GRANTED
    assert live.finish("a") == Code.RECORDED
    assert led.step() == RunStatus.SUCCESS
    assert len(led.said("repair")) == rounds


def test_a_long_task_beside_ends_no_round(lead: Lead) -> None:
    """A worker that was at work before is no sign that entries are begun."""
    led = lead(played("long"), played("a"), options=RunOptions(batch=False))
    led.take(led.worker("busy"), "long")
    for _ in range(6):
        led.worker(f"phantom{_}")
    sent = []
    for _round in range(3):
        led.go_on(6.5)
        (batch,) = led.transport.queued.values()
        sent.append(batch.copies)
        led.transport.queued.clear()
    assert sent == [1, 2, 4]


def test_a_batch_that_was_begun_is_missed_later(lead: Lead) -> None:
    """Somebody deleted its beat while it had claimed nothing: the time counts from when it was seen
    last, since its worker may beat again.
    """
    led = lead(played("a"))
    (batch,) = led.transport.queued.values()
    led.transport.queued.clear()
    assert led.worker().begin(batch) == Code.OK
    led.go_on(10.0)
    led.transport.workers["w"].batch = None
    led.server.runs["run-1"].beats.clear()
    led.go_on(4.0)
    assert led.said("repair") == []
    led.go_on(3.0)
    assert len(led.said("repair")) == 1


def test_a_hook_that_was_swallowed_was_not_asked(lead: Lead) -> None:
    """Only what a worker began counts towards the times that a hook may lose its worker."""
    led = lead(played("a", "at_most_once", verify="m:hook"))
    worker = led.at_work("a")
    worker.die()
    led.go_on(6.0)
    for _round in range(6):
        led.transport.queued.clear()
        led.go_on(6.5)
    assert led.said("task_resolved") == []
    (batch,) = led.transport.queued.values()
    assert batch.verify
