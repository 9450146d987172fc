"""Crash at every step: a seeded sample. ``make chaos-full`` plays every case."""

from __future__ import annotations

import os
import random
import sys
from pathlib import Path

import pytest
from redis import Redis
from redis.exceptions import ConnectionError as RedisConnectionError

from distflow import faults
from tests.chaos.points.__main__ import cases_of, play_all
from tests.chaos.points.case import BOTH, COUNT, PROXY, Case, Fault
from tests.support.redis_server import RedisServer
from tests.support.session_process import SessionProcess
from tests.support.wait import wait_for

#: Another one draws other cases.
SEED = int(os.environ.get("DISTFLOW_SEED", "1"))

#: Commits that every run of batches reaches, by the role that does.
_REACHED = {
    "resume": ("acquire_lease", "dispatch"),
    "worker": ("begin_batch", "advance", "start_task", "call"),
    "fast": ("begin_batch", "advance", "start_task", "call", "release_job"),
    BOTH: ("begin_batch", "advance", "start_task", "call"),
}

_INCREMENT = """
import sys
from redis import Redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from distflow.faults import commit, reach
client = Redis.from_url(sys.argv[1], retry=Retry(NoBackoff(), 0))
for _ in range(3):
    with commit("increment"):
        client.incr("count")
reach("end")
"""


@pytest.mark.timeout(120)
def test_a_sample_of_points() -> None:
    """Promises 1 to 6: coordinators, workers, and FastWorkers with and without their child are
    killed, hit by an exception, frozen or cut off at points of theirs, in the midst of batches; the
    run comes to its end, and nothing is lost or done twice.
    """
    chance = random.Random(SEED)
    cases = []
    for role, names in _REACHED.items():
        point = chance.choice(names) + chance.choice((faults.BEFORE, faults.AFTER))
        kind = "kill" if role == BOTH else chance.choice(faults.KINDS)
        cases.append(Case("batched", role, point, 1, kind))
    played = play_all(cases, 4)
    assert [each.broken for each in played if each.broken] == []
    assert [each.case for each in played if not each.struck] == []


#: Commits of workers while a run grows; each reaches them some twenty times.
_GROWING = ("write_chunk", "advance")


@pytest.mark.timeout(120)
def test_a_sample_of_growth() -> None:
    """Promise 8: workers are hurt while they write what maps and plans have made; no child is
    missing, made twice or different, nothing is charged twice, and every export is consistent.
    """
    chance = random.Random(SEED)
    cases = []
    for scenario, role in (("spread", BOTH), ("spread to two", "fast")):
        point = chance.choice(_GROWING) + chance.choice((faults.BEFORE, faults.AFTER))
        kind = "kill" if role == BOTH else chance.choice(faults.KINDS)
        cases.append(Case(scenario, role, point, chance.randint(1, 12), kind))
    played = play_all(cases, len(cases))
    assert [each.broken for each in played if each.broken] == []
    assert [each.case for each in played if not each.struck] == []


@pytest.mark.timeout(120)
def test_a_sample_of_commands() -> None:
    """Promises 1 to 4: the k-th command of a coordinator or a worker never reaches Redis, or its
    reply is lost or late; statuses are right, and effects happen once.
    """
    counted = play_all([Case("small", role, PROXY, kind=COUNT) for role in ("resume", "fast")], 2)
    cases = random.Random(SEED).sample(list(cases_of(counted)), 3)
    played = play_all(cases, 3)
    assert [each.broken for each in (*counted, *played) if each.broken] == []
    assert any(each.struck for each in played)


def started(case: Case, folder: Path, url: str) -> SessionProcess:
    """A process that increments a number three times, hurt as the case says."""
    fault = Fault(case, folder, url)
    words = [sys.executable, "-c", _INCREMENT, url]
    return SessionProcess("increment", words, env=fault.environment(case.role))


@pytest.mark.parametrize(
    ("point", "kind", "count", "told"),
    [
        ("increment:before", "kill", 1, ""),
        ("increment:after", "kill", 2, ""),
        ("increment:before", "raise", 1, "InjectedFault"),
        ("increment:after", "raise", 2, "InjectedFault"),
        ("increment:before", "cut", 2, "ConnectionError"),
        ("end", "raise", 3, ""),
    ],
)
def test_a_fault_strikes_once(
    point: str, kind: str, count: int, told: str, redis_server: RedisServer, tmp_path: Path
) -> None:
    """The second time, and never again: also not in the processes that come after. A cut before a
    command loses its reply: Redis has done it.
    """
    with redis_server.client(decode_responses=True) as client:
        process = started(Case("", "role", point, 2, kind), tmp_path, redis_server.url)
        status = process.process.wait(20)
        assert client.get("count") == str(count)
        assert told in process.log()
        assert (status == 0) is (point == "end"), process.log()
        process.close()
        again = started(Case("", "role", point, 2, kind), tmp_path, redis_server.url)
        struck = point == "end"
        assert (again.process.wait(20) != 0) is struck
        again.close()


def test_a_frozen_process_is_woken(redis_server: RedisServer, tmp_path: Path) -> None:
    """It stands still for two seconds, and goes on."""
    case = Case("", "role", "increment:after", 2, "freeze")
    process = started(case, tmp_path, redis_server.url)
    fault = Fault(case, tmp_path, redis_server.url)
    with redis_server.client(decode_responses=True) as client:
        wait_for(lambda: fault.is_freezing, what="the freeze")
        stat = Path(f"/proc/{process.pid}/stat")
        wait_for(lambda: stat.read_text().rpartition(")")[2].split()[0] == "T", what="state T")
        assert client.get("count") == "2"

        def ended() -> bool:
            fault.tend()
            return process.has_ended()

        wait_for(ended, what="the process to go on")
        assert client.get("count") == "3"
    process.close()


def test_a_cut_ends_every_connection(redis_server: RedisServer) -> None:
    """Those of other threads and clients too; the next command makes another."""
    with redis_server.client() as client, redis_server.client() as other:
        old = client.client_id(), other.client_id()
        faults._cut(lose_reply=False)
        assert client.client_id() not in old
        assert other.client_id() not in old


def test_a_lost_reply_is_lost(redis_server: RedisServer) -> None:
    """Redis has done the command, and its caller cannot know."""
    with Redis.from_url(redis_server.url, retry=None) as client:
        client.set("count", 0)
        faults._cut(lose_reply=True)
        with pytest.raises(RedisConnectionError):
            client.incr("count")
        assert client.get("count") == b"1"
