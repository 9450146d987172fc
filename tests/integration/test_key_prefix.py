"""RQ_KEY_PREFIX of RQ 3: distflow works under any, and says where coordinator and workers have
different ones. RQ 2.12 ignores it, and so does distflow there.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import click
import pytest
import rq.executions
from redis import Redis
from rq import Queue
from rq.command import PUBSUB_CHANNEL_TEMPLATE
from rq.suspension import WORKERS_SUSPENDED, resume, suspend
from rq.worker import BaseWorker
from rq.worker_registration import WORKERS_BY_QUEUE_KEY

from distflow.backends.redis_rq import RedisBackend
from distflow.cli.ui.waits import describe_wait
from distflow.rq_compat import rq_keys as keys
from tests.conftest import StartWorker
from tests.integration.cli_scene import WIDTH, Scene
from tests.support.cli import kill_cli, run_cli, start_cli, status_of
from tests.support.redis_server import RedisServer
from tests.support.tasks import recording
from tests.support.wait import wait_for
from tests.support.worker_process import FAST, FORKING, SIMPLE, key_prefix

#: With braces, all of RQ lies in one slot of a Redis Cluster.
TEAM = "{team}"

#: As `distflow worker` starts RQ's worker.
BRISK = ("--worker-ttl", "16", "--job-monitoring-interval", "1")


@pytest.fixture
def scene(redis_server: RedisServer) -> Iterator[Scene]:
    """The shared server, emptied."""
    scene = Scene(redis_server)
    yield scene
    scene.client.close()


@pytest.mark.parametrize("worker_class", [FORKING, SIMPLE, FAST])
def test_a_run_under_a_prefix(
    redis_server: RedisServer,
    start_worker: StartWorker,
    tmp_path: Path,
    worker_class: str,
) -> None:
    """Workers and coordinator find each other, also where a worker is lost; nothing of RQ's is
    under another prefix.
    """
    env = {"RQ_KEY_PREFIX": TEAM}
    start = partial(
        start_worker, redis_server.url, worker_class=worker_class, env=env, extra_args=BRISK
    )
    first = start()
    log, gate = tmp_path / "log", tmp_path / "gate"
    flow = "tests.support.tasks.recording:holding"
    words = (
        "submit",
        flow,
        "--run-id",
        "r",
        "-p",
        f"log={log}",
        "-p",
        f"gate={gate}",
        "-p",
        "lost=1",
    )
    submitting = start_cli(redis_server.url, *words, env=env)
    wait_for(lambda: recording.lines(log), 30, "the task to begin")
    first.kill()
    start()
    gate.touch()
    out, err = submitting.communicate(timeout=60)
    assert submitting.returncode == 0, (out, err)
    assert status_of(redis_server.url, "r")["repairs"] == {"worker_lost": 1}
    with redis_server.client() as client:
        prefix = key_prefix(TEAM)
        assert list(client.scan_iter(f"{prefix}:worker:*"))
        others = set(client.scan_iter("*")) - set(client.scan_iter("distflow:*"))
        assert {key for key in others if not key.decode().startswith(f"{prefix}:")} == set()


# Coordinator and workers that miss each other: what Redis has of them, whatever their RQ is


@contextmanager
def listening(client: Any, prefix: str, queue: str = "default", name: str = "w9") -> Iterator[None]:
    """A worker is connected."""
    client.sadd(f"{prefix}:workers:{queue}", f"{prefix}:worker:{name}")
    with client.pubsub() as pubsub:
        pubsub.subscribe(f"{prefix}:pubsub:{name}")
        assert pubsub.get_message(timeout=5)
        yield


def send(scene: Scene, prefix: str) -> None:
    """A batch of a run that is led waits in a queue."""
    store, epoch = scene.open_run("a")
    store.renew_lease("anna", epoch, 60.0, queued=1, waiting=0)
    scene.client.rpush(f"{prefix}:queue:default", "run-1-1-1")


def ask(scene: Scene, client: Any = None) -> dict[str, str]:
    """What ``status``, and who watches or leads the run, say that it waits for."""
    told = {"status": scene.cli("status", "run-1").stdout}
    counts = scene.store().read_info().counts
    backend = RedisBackend(client or scene.client, patience_seconds=0.0)
    for leading, who in ((False, "watches"), (True, "leads")):
        with click.Context(click.Command(who)):
            told[who] = describe_wait(backend, "run-1", counts, {"default"}, leading=leading)
    return told


def test_workers_with_another_prefix(scene: Scene) -> None:
    """This process has the prefix of the coordinator: whoever asks is told both prefixes, and the
    command that starts a worker which fits.
    """
    send(scene, "rq")
    command = "env RQ_KEY_PREFIX=rq distflow worker default"
    with listening(scene.client, "team"):
        told = ask(scene)
    for words in told.values():
        assert "a worker of queue 'default' with RQ_KEY_PREFIX=rq, as its coordinator" in words
        assert "1 has RQ_KEY_PREFIX=team" in words
        assert command in words
    assert max(map(len, told["status"].splitlines())) <= WIDTH
    assert "nobody listens" not in told["status"]
    gone = ask(scene)
    assert not any("RQ_KEY_PREFIX" in words for words in gone.values())
    assert "nobody listens to queue 'default'" in gone["status"]


def test_a_coordinator_with_another_prefix(scene: Scene) -> None:
    """This process has the prefix of the workers: it says so all the same, since the batches are
    found under the other one.
    """
    send(scene, TEAM)
    with listening(scene.client, "rq"), listening(scene.client, TEAM, "other"):
        told = ask(scene)
    for who in ("status", "watches"):
        assert f"with RQ_KEY_PREFIX={TEAM}, as its coordinator" in told[who]
        assert "1 has RQ_KEY_PREFIX=rq" in told[who]
        assert f"env 'RQ_KEY_PREFIX={TEAM}' distflow worker default" in told[who]


def test_suspended_workers(scene: Scene) -> None:
    """Who watches or leads the run says so: no worker need be started."""
    send(scene, "rq")
    suspend(scene.client)
    try:
        told = ask(scene)
    finally:
        resume(scene.client)
    words = "the workers are suspended: resume them with `rq resume`"
    assert (told["leads"], told["watches"]) == (words, words)


def test_who_finds_each_other_is_left_alone(scene: Scene) -> None:
    """Others may use the same Redis under another prefix. A channel that is no worker's, and a
    worker that is not connected, mean nothing.
    """
    send(scene, "rq")
    scene.client.sadd("gone:workers:default", "gone:worker:w1")
    with listening(scene.client, "team"), listening(scene.client, "rq"):
        served = ask(scene)
    with listening(scene.client, "not a prefix"), scene.client.pubsub() as pubsub:
        pubsub.subscribe("team:pubsub:", ":pubsub:w1", "pubsub")
        assert pubsub.get_message(timeout=5)
        alone = ask(scene)
    for told in (served, alone):
        assert not any("RQ_KEY_PREFIX" in words for words in told.values())


@pytest.mark.parametrize(
    "rights", [["-pubsub", "+pubsub|numsub"], ["resetkeys", "~distflow:*", "~rq:*"]]
)
def test_who_may_not_look(scene: Scene, rights: list[str]) -> None:
    """A user with fewer rights is told what can be known without them."""
    send(scene, "rq")
    rules = ["reset", "on", ">secret", "allkeys", "allchannels", "+@all"]
    scene.client.execute_command("ACL", "SETUSER", "looker", *rules, *rights)
    url = scene.url.replace("unix://", "unix://looker:secret@")
    with listening(scene.client, "team"), Redis.from_url(url) as looker:
        told = ask(scene, looker)
    assert "queue 'default' has no workers" in told["leads"]


def test_a_worker_of_another_prefix(
    redis_server: RedisServer, start_worker: StartWorker, tmp_path: Path
) -> None:
    """As it comes about: RQ 3 takes the variable from the environment of the worker alone. With RQ
    2.12 the run goes on.
    """
    start_worker(redis_server.url, env={"RQ_KEY_PREFIX": TEAM})
    flow = "tests.support.tasks.recording:holding"
    log = tmp_path / "log"
    words = ("-p", f"log={log}", "-p", f"gate={tmp_path}")
    submitting = start_cli(redis_server.url, "submit", flow, "--run-id", "r", *words)
    missed = f"1 has RQ_KEY_PREFIX={TEAM}"
    try:
        if key_prefix(TEAM) == TEAM:
            wait_for(
                lambda: missed in run_cli(redis_server.url, "status", "r").stdout, 30, "the words"
            )
        else:
            assert submitting.wait(30) == 0
    finally:
        kill_cli(submitting)


def test_the_keys_are_those_of_rq() -> None:
    """As RQ makes them, for this prefix."""
    assert keys.worker_key("w") == BaseWorker.redis_worker_namespace_prefix + "w"
    assert keys.worker_name(keys.worker_key("w")) == "w"
    assert BaseWorker.redis_workers_keys == keys.WORKERS_KEY
    assert keys.queue_workers_key("q") == WORKERS_BY_QUEUE_KEY % "q"
    assert keys.queue_key("q") == Queue("q", connection=Redis()).key
    assert keys.command_channel("w") == PUBSUB_CHANNEL_TEMPLATE % "w"
    assert keys.SUSPENDED_KEY == WORKERS_SUSPENDED
    template = getattr(rq.executions, "WORKER_EXECUTIONS_KEY_TEMPLATE", "rq:worker:{0}:executions")
    assert keys.executions_key("w") == template.format("w")
