"""Real servers that refuse: what they say is known, and a worker's commands run once they may."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from redis import Redis
from redis import exceptions as redis_errors

from distflow.store.redis.patience import Trouble, find_refusal
from distflow_worker.patient import WorkerRedis
from tests.support.cluster_front import REFUSALS, ClusterFront
from tests.support.redis_server import binaries_at_hand, version_name
from tests.support.refusing import BESIDE, WORDS, RefusingServer
from tests.support.wait import wait_for

_WRITE = "return redis.call('SET', KEYS[1], 'x')"
_READ = "return redis.call('GET', KEYS[1])"

#: Seconds that a server refuses here; one that loads answers a few times a second.
_SECONDS = 3.0


@pytest.fixture(scope="module", params=binaries_at_hand(), ids=version_name)
def server(request: pytest.FixtureRequest) -> Iterator[RefusingServer]:
    """One of each release at hand."""
    server = RefusingServer(request.param)
    yield server
    server.close()


@pytest.fixture(scope="module")
def usual() -> Iterator[RefusingServer]:
    """The usual one."""
    server = RefusingServer()
    yield server
    server.close()


@pytest.fixture(scope="module")
def front(usual: RefusingServer) -> Iterator[ClusterFront]:
    """Before the usual one."""
    front = ClusterFront(usual.url)
    yield front
    front.close()


def piped(client: Any, *commands: tuple[str, ...], together: bool) -> list[Any]:
    """The replies to a pipeline, or a transaction."""
    with client.pipeline(transaction=together) as pipeline:
        for command in commands:
            pipeline.execute_command(*command)
        replies: list[Any] = pipeline.execute()
        return replies


#: What is asked of a server in every way in which it is asked.
ASKED: dict[str, Callable[[Any], object]] = {
    "ping": lambda client: client.ping(),
    "a write": lambda client: client.set("refused", "x"),
    "a read": lambda client: client.get("refused"),
    "a wait": lambda client: client.blpop(["nothing"], timeout=0.5),
    "a wait that moves": lambda client: client.blmove("nothing", "moved", 0.5),
    "a wait for events": lambda client: client.xread({"events": "$"}, block=500),
    "a script that writes": lambda client: client.eval(_WRITE, 1, "refused"),
    "a script that reads": lambda client: client.eval(_READ, 1, "refused"),
    "a pipeline": lambda client: piped(client, ("GET", "a"), ("SET", "a", "x"), together=False),
    "a transaction": lambda client: piped(client, ("GET", "a"), ("SET", "a", "x"), together=True),
    "a script in a pipeline": lambda client: piped(
        client, ("EVAL", _WRITE, "1", "refused"), together=False
    ),
    "a script in a transaction": lambda client: piped(
        client, ("GET", "a"), ("EVAL", _WRITE, "1", "refused"), together=True
    ),
    "a database": lambda client: client.select(0),
}


def refusals(client: Any) -> dict[str, str]:
    """What was refused, and the word for it; empty where an error is not known for a refusal."""
    found: dict[str, str] = {}
    for what, ask in ASKED.items():
        try:
            ask(client)
        except redis_errors.RedisError as error:
            refusal = find_refusal(error)
            found[what] = refusal.word if refusal else f"{error!r}: {error}"
    return found


@pytest.mark.parametrize("word", WORDS)
def test_what_a_server_says_is_known(server: RefusingServer, word: str) -> None:
    """In a command, a pipeline, a transaction and a script, each server has words of its own."""
    with server.refusing(word, _SECONDS), server.client() as client:
        found = refusals(client)
    assert word in found.values()
    assert set(found.values()) <= {word, BESIDE.get(word)}


@pytest.mark.parametrize("word", REFUSALS)
def test_what_a_cluster_says_is_known(front: ClusterFront, word: str) -> None:
    """Likewise."""
    with front.refusing(word), Redis.from_url(front.url) as client:
        found = refusals(client)
    assert {*found} == {*ASKED} - {"ping", "a database"}
    assert set(found.values()) == {word}


def test_who_waits_at_a_demotion_is_told(server: RefusingServer) -> None:
    """A refusal as well: what a coordinator and an idle worker get from a primary that is one no
    more.
    """
    told: list[object] = []

    def wait_on(client: Any) -> None:
        try:
            told.append(client.blpop(["nothing"], timeout=20))
        except redis_errors.RedisError as error:
            told.append(find_refusal(error))

    with server.client() as client:
        waiting = threading.Thread(target=wait_on, args=(client,))
        waiting.start()
        wait_for(lambda: server.control.info("clients")["blocked_clients"], what="it to wait")
        with server.refusing("READONLY"):
            waiting.join()
    assert [getattr(refusal, "word", refusal) for refusal in told] == ["UNBLOCKED"]


class Listening:
    """Somebody who listens on a thread, as RQ's worker does."""

    def __init__(self, client: WorkerRedis) -> None:
        self.heard = threading.Event()
        self.is_over = False
        self.pubsub: Any = client.pubsub()
        self.pubsub.subscribe(channel=lambda _message: self.heard.set())
        self.thread = self.pubsub.run_in_thread(
            sleep_time=0.05, daemon=True, exception_handler=self._go_on
        )

    def _go_on(self, error: Exception, _pubsub: Any, _thread: Any) -> None:
        # RQ's thread ends here, or sleeps for two seconds.
        self.is_over = True
        raise error

    def close(self) -> None:
        self.thread.stop()
        self.thread.join()
        self.pubsub.close()


@pytest.mark.parametrize(("word", "cut"), [("MISCONF", False), ("BUSY", False), ("BUSY", True)])
def test_who_listens_goes_on_listening(usual: RefusingServer, word: str, *, cut: bool) -> None:
    """A refusal of PING, by which redis-py asks whether a connection is well, does not cut it: who
    is not subscribed counts as lost. One of SUBSCRIBE is tried again.
    """
    with ExitStack() as opened:
        client = opened.enter_context(WorkerRedis.from_url(usual.url))
        client.connection_pool.connection_kwargs["health_check_interval"] = 0.1
        listening = Listening(client)
        opened.callback(listening.close)
        wait_for(lambda: usual.control.pubsub_numsub("channel")[0][1], what="it to listen")
        connection = listening.pubsub.connection
        before = usual.control.client_list(_type="pubsub")
        if cut:
            usual.control.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
        asked = connection.next_health_check
        with usual.refusing(word):
            wait_for(
                lambda: connection.next_health_check > asked + 0.5 or connection._sock is None,
                what="some answers",
            )
        wait_for(lambda: usual.control.publish("channel", "x"), what="it to listen again")
        after = usual.control.client_list(_type="pubsub")
        assert ([each["id"] for each in before] == [each["id"] for each in after]) is not cut
        assert listening.heard.wait(10)
        assert not listening.is_over
        assert listening.thread.is_alive()


class Late:
    """What a patient client was asked while its server refused, on threads of their own."""

    def __init__(self, client: WorkerRedis, monkeypatch: pytest.MonkeyPatch) -> None:
        self._client = client
        self._threads: list[threading.Thread] = []
        self.answers: list[object] = []
        #: The threads whose call was refused.
        self._refused: set[int] = set()
        wait = Trouble.wait

        def note(trouble: Trouble, *args: Any) -> None:
            self._refused.add(threading.get_ident())
            wait(trouble, *args)

        monkeypatch.setattr(Trouble, "wait", note)

    def ask(self, call: Callable[[WorkerRedis], object]) -> None:
        def run() -> None:
            self.answers.append(call(self._client))

        self._threads.append(threading.Thread(target=run, daemon=True))
        self._threads[-1].start()

    def count_watching(self, client: Any) -> object:
        """As RQ does: read, then write if nobody else has, from the beginning where that fails."""
        with client.pipeline() as pipeline:
            while True:
                try:
                    pipeline.watch("watched")
                    pipeline.get("watched")
                    pipeline.multi()
                    pipeline.incr("watched")
                    return pipeline.execute()
                except redis_errors.WatchError:
                    self._refused.add(threading.get_ident())

    def wait_refused(self) -> None:
        """Until each call was refused or answered, the last apart: that may simply wait."""
        wait_for(
            lambda: all(
                thread.ident in self._refused or not thread.is_alive()
                for thread in self._threads[:-1]
            ),
            what="all calls to be refused",
        )

    def join(self) -> None:
        for thread in self._threads:
            thread.join(10)
        assert len(self.answers) == len(self._threads)


def count_in_pipeline(client: WorkerRedis, *, together: bool) -> object:
    """Count beside commands that may be refused alone, or not at all."""
    return piped(
        client,
        *(("GET", "nothing"), ("INCR", f"piped:{together}"), ("DEL", "nothing")),
        together=together,
    )


def count_in_script(client: WorkerRedis) -> object:
    """A transaction runs, and a script in it may be refused."""
    script = "return redis.call('INCR', KEYS[1])"
    return piped(client, ("GET", "a"), ("EVAL", script, "1", "in a script"), together=True)


@pytest.mark.parametrize("word", [*WORDS, *REFUSALS])
def test_a_command_of_a_worker_runs_once_it_may(
    usual: RefusingServer, front: ClusterFront, word: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And no more than once: a refused command has not run, its neighbours in a pipeline have."""
    usual.control.flushall()
    url = front.url if word in REFUSALS else usual.url
    with ExitStack() as opened:
        client = opened.enter_context(WorkerRedis.from_url(url))
        client.ping()
        late = Late(client, monkeypatch)
        refusing = front.refusing(word) if word in REFUSALS else usual.refusing(word, _SECONDS)
        with refusing:
            late.ask(lambda client: client.incr("plain"))
            late.ask(lambda client: count_in_pipeline(client, together=False))
            late.ask(lambda client: count_in_pipeline(client, together=True))
            late.ask(count_in_script)
            late.ask(late.count_watching)
            late.ask(lambda client: client.blpop(["given"], timeout=30))
            late.wait_refused()
        usual.control.rpush("given", "a job")
        late.join()
        counted = ("plain", "piped:False", "piped:True", "in a script", "watched")
        assert [usual.control.get(name) for name in counted] == [b"1"] * 5
