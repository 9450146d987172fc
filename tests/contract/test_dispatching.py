"""What a coordinator relies on where batches travel."""

from __future__ import annotations

import pytest

from distflow.core.misfit import Registration
from distflow.errors import RedisFull
from tests.support.transports import BORN, Transport


def test_batches_wait_in_their_queues(transport: Transport) -> None:
    """Until a worker takes them, in the order in which they were sent."""
    batches = [transport.batch(), transport.batch(queue=1), transport.batch()]
    other = transport.batch(run="other")
    transport.dispatcher.dispatch([*batches, other])
    run_id, queues = batches[0].run_id, transport.queues
    assert transport.dispatcher.find_queued(run_id, queues) == {batch.id for batch in batches}
    assert transport.dispatcher.find_queued(run_id, queues[1:]) == {batches[1].id}
    assert transport.dispatcher.find_queued(other.run_id, queues) == {other.id}
    assert transport.dispatcher.find_queued(run_id, []) == set()
    worker = transport.connect(0)
    taken = [transport.take(worker) for _ in range(4)]
    assert taken == [batches[0].id, batches[2].id, other.id, ""]
    assert transport.dispatcher.find_queued(run_id, queues) == {batches[1].id}


def test_nothing_is_sent_by_sending_no_batches(transport: Transport) -> None:
    """A coordinator need not look whether there are any."""
    transport.dispatcher.dispatch([])
    assert transport.dispatcher.find_queued(transport.batch().run_id, transport.queues) == set()


def test_a_batch_may_be_sent_twice(transport: Transport) -> None:
    """A reply was lost, or copies are wanted: it is one batch still, also once it was taken."""
    batch = transport.batch(copies=2)
    worker = transport.connect(0)
    transport.dispatcher.dispatch([batch])
    transport.dispatcher.dispatch([batch, batch])
    assert transport.dispatcher.find_queued(batch.run_id, transport.queues) == {batch.id}
    assert transport.take(worker) == batch.id
    transport.dispatcher.dispatch([batch])
    taken = set(iter(lambda: transport.take(worker), ""))
    assert taken == {batch.id}
    assert transport.dispatcher.find_queued(batch.run_id, transport.queues) == set()


def test_what_is_withdrawn_reaches_no_worker(transport: Transport) -> None:
    """All of one run, copies too, and nothing of others; what was taken is at work."""
    mine = [transport.batch(), transport.batch(copies=2), transport.batch(queue=1)]
    other = transport.batch(run="other")
    worker = transport.connect(0, 1)
    transport.dispatcher.dispatch([*mine, other])
    assert transport.take(worker) == mine[0].id
    run_id, queues = other.run_id, transport.queues
    assert transport.dispatcher.withdraw(mine[0].run_id, queues) == 2
    assert transport.dispatcher.withdraw(mine[0].run_id, queues) == 0
    assert transport.dispatcher.find_queued(run_id, queues) == {other.id}
    assert transport.take(worker) == other.id
    assert transport.take(worker) == ""
    # It may be sent again.
    transport.dispatcher.dispatch(mine[1:2])
    assert transport.take(worker) == mine[1].id


def test_connected_workers_are_counted_and_listed(transport: Transport) -> None:
    """By the queues that they listen to, until they are gone."""
    first, both = transport.connect(0), transport.connect(0, 1)
    queues = transport.queues
    assert transport.dispatcher.count_workers(queues) == dict(zip(queues, (2, 1), strict=True))
    listed = transport.dispatcher.list_workers(queues)
    assert listed[queues[0]] == {Registration(first, BORN), Registration(both, BORN)}
    assert listed[queues[1]] == {Registration(both, BORN)}
    transport.disconnect(both)
    assert transport.dispatcher.count_workers(queues) == dict(zip(queues, (1, 0), strict=True))
    assert transport.dispatcher.list_workers(queues)[queues[1]] == set()
    assert transport.dispatcher.count_workers([]) == {}
    assert transport.dispatcher.list_workers([]) == {}


def test_a_probe_tells_whether_a_worker_lives_and_what_it_works_on(transport: Transport) -> None:
    """A worker that nobody knows is not connected, whatever else is said of it."""
    worker, gone = transport.connect(0), transport.connect(0)
    batch = transport.batch()
    transport.dispatcher.dispatch([batch])
    transport.disconnect(gone)
    idle = transport.dispatcher.probe_workers([worker])[worker]
    assert idle.connected
    assert list(idle.jobs) == []
    assert transport.take(worker) == batch.id
    probes = transport.dispatcher.probe_workers([worker, gone, "nobody"])
    assert list(probes[worker].jobs) == [batch.id]
    assert probes[worker].heard_at > 0
    assert [name for name, probe in probes.items() if probe.connected] == [worker]
    assert transport.dispatcher.probe_workers([]) == {}


def test_batches_that_nobody_gave_up_have_not_failed(transport: Transport) -> None:
    """Neither one that waits, nor one at work, nor one that nobody knows."""
    waiting, at_work = transport.batch(queue=1), transport.batch()
    transport.dispatcher.dispatch([waiting, at_work])
    assert transport.take(transport.connect(0)) == at_work.id
    asked = [waiting.id, at_work.id, transport.batch().id]
    assert transport.dispatcher.read_failures(asked) == {}
    assert transport.dispatcher.read_failures([]) == {}


def test_a_worker_is_stopped_at_the_job_that_it_works_on(transport: Transport) -> None:
    """It has gone on to another: that one is not hurt. Nor is anybody where there is no such
    worker.
    """
    first, second = transport.batch(), transport.batch()
    worker = transport.connect(0)
    transport.dispatcher.dispatch([first, second])
    assert [transport.take(worker) for _ in range(2)] == [first.id, second.id]
    transport.dispatcher.stop_job(first.id, worker)
    transport.dispatcher.stop_job(first.id, "nobody")
    assert not transport.stopped(worker)
    transport.dispatcher.stop_job(second.id, worker)
    assert transport.stopped(worker)


def test_a_full_transport_takes_no_batch(transport: Transport) -> None:
    """It says so at once, and takes them later."""
    batch = transport.batch()
    transport.fill()
    try:
        with pytest.raises(RedisFull):
            transport.dispatcher.dispatch([batch])
    finally:
        transport.make_room()
    assert transport.dispatcher.find_queued(batch.run_id, transport.queues) == set()
    transport.dispatcher.dispatch([batch])
    assert transport.dispatcher.find_queued(batch.run_id, transport.queues) == {batch.id}
