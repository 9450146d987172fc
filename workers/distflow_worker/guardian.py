"""Guardian: the process that ends a work horse whose task does not end by itself.

It is forked from the horse before any task runs, and shares only a socket with it: a task that
swallows exceptions, holds the interpreter lock or blocks in C cannot affect it. It also records the
outcome of a task that it has ended, since the horse no longer can.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import time
from collections.abc import Callable
from contextlib import nullcontext, suppress
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import msgpack
from redis import Redis
from redis.exceptions import RedisError

from distflow.core.claim import ClaimReply, Finish
from distflow.core.outcome import timed_out
from distflow.errors import DistflowError
from distflow.logs import get_logger
from distflow.store.redis.worker import WorkerStore
from distflow.wire.batch_payload import BatchPayload
from distflow_worker.attempt import AttemptRun
from distflow_worker.beat import Heartbeat
from distflow_worker.context import RunView
from distflow_worker.finish_buffer import PIECE_SECONDS, Held
from distflow_worker.inputs import BatchInputs
from distflow_worker.process import Original
from distflow_worker.process_group import ProcessGroup
from distflow_worker.redis_client import open_like
from distflow_worker.sequence import VERIFY

if TYPE_CHECKING:
    # Imported only if there is something to record.
    from distflow_worker.outcomes import OutcomeKeeper

_log = get_logger("distflow.worker")

#: Seconds that an interrupted task has to end by itself, beyond its timeout.
SOFT_SECONDS = 1.0

#: Seconds between two checks whether the horse is alive: one of its children may hold the socket
#: open.
_LOOK_SECONDS = 0.5

#: The answer that a task is no longer guarded.
DISARMED = b"."


class Guarded(NamedTuple):
    """The batch whose tasks are guarded."""

    connection: Redis
    payload: BatchPayload
    worker: str
    job: str
    max_result_bytes: int
    #: Makes the keeper of outcomes that Redis does not accept.
    make_keeper: Callable[[], OutcomeKeeper]

    def store(self, **options: Any) -> WorkerStore:
        """The store of the run, over a connection of its own."""
        client = open_like(self.connection)
        return WorkerStore(client, self.payload.run_id, prefix=self.payload.prefix, **options)


class Call(NamedTuple):
    """A call of a task's function, as announced by the horse.

    ``token``, ``reply`` and ``started_at`` are those of its claim; a verify hook has none.
    """

    task: str
    seconds: float
    token: str = ""
    reply: tuple[int, ...] = ()
    started_at: float = 0.0


class Guardian:
    """Watches one batch for one horse.

    Args:
        channel: to the horse, which sends a Call before each call, and None after it; None is
            answered.
        guarded: the batch.
        group: the processes to end.
    """

    def __init__(self, channel: socket.socket, guarded: Guarded, group: ProcessGroup) -> None:
        self._channel = channel
        self._guarded = guarded
        self._group = group
        self._call: Call | None = None
        self._due_at = 0.0
        self._heartbeat: Heartbeat | None = None

    def run(self) -> None:
        """Watch until the horse is gone."""
        messages = msgpack.Unpacker()
        while True:
            if select.select([self._channel], [], [], self._wait_seconds())[0]:
                sent = self._receive()
                if not sent:
                    self._bury()
                    return
                messages.feed(sent)
                for message in messages:
                    self._take(message)
            elif os.getppid() != self._group.pid:
                self._bury()
                return
            elif self._call is not None and self._look(self._call):
                return

    def _wait_seconds(self) -> float | None:
        if self._call is None:
            return None
        end_at = self._due_at + (SOFT_SECONDS if self._heartbeat else 0.0)
        return max(0.0, min(_LOOK_SECONDS, end_at - time.monotonic()))

    def _receive(self) -> bytes:
        try:
            return self._channel.recv(1 << 16)
        except OSError:
            return b""

    def _take(self, message: Any) -> None:
        if message is not None:
            self._call = Call(*message)
            self._due_at = time.monotonic() + self._call.seconds
            return
        self._call = None
        if self._heartbeat is not None:
            self._heartbeat.__exit__(None, None, None)
            self._heartbeat = None
        with suppress(OSError):
            self._channel.send(DISARMED)

    def _bury(self) -> None:
        """The horse was killed: end what its task started."""
        if self._call is not None:
            self._group.end()

    def _look(self, call: Call) -> bool:
        """Check the time; returns whether the task was ended."""
        now = time.monotonic()
        if now >= self._due_at and self._heartbeat is None:
            self._heartbeat = self._beat(call)
        if now < self._due_at + SOFT_SECONDS:
            return False
        _log.warning("task %s goes on beyond its timeout: its process is ended", call.task)
        self._group.end()
        try:
            self._record(call)
        except (DistflowError, RedisError) as error:
            # The coordinator will find the batch lost, and know from its beats that the task was
            # overdue.
            _log.warning("task %s: its timeout was not recorded: %s", call.task, error)
        return True

    def _beat(self, call: Call) -> Heartbeat:
        """Beat on behalf of a horse that may hold the interpreter lock: whatever happens next,
        Redis knows that the task was overdue.
        """
        guarded = self._guarded
        heartbeat = Heartbeat(
            guarded.store(patience_seconds=0.0),
            guarded.payload.batch,
            guarded.worker,
            guarded.job,
            is_overdue=lambda: True,
            at_once=True,
        )
        heartbeat.task = call.task
        return heartbeat.__enter__()

    def _record(self, call: Call) -> None:
        """Record the outcome, and end the batch."""
        guarded = self._guarded
        store = guarded.store()
        view = RunView(
            store=store,
            worker=guarded.worker,
            origin="",
            params={},
            context=lambda: None,
            max_result_bytes=guarded.max_result_bytes,
            cancelled=lambda: False,
            stopping=lambda: False,
            deadline=nullcontext,
            original=Original(),
        )
        names = [header.name for header in guarded.payload.tasks]
        position = names.index(call.task)
        body = guarded.payload.tasks[position].body
        finishes = []
        if call.token:
            finishes.append(self._finish(call, view, position))
        else:
            import_module(VERIFY).Verification(view, call.task, body).time_out(call.seconds)
        tell = partial(
            store.with_patience(PIECE_SECONDS).advance,
            guarded.payload.epoch,
            guarded.payload.batch,
            finishes,
            ending=True,
            unstarted=names[position + 1 :],
        )
        guarded.make_keeper().settle(finishes, tell)

    def _finish(self, call: Call, view: RunView, position: int) -> Finish:
        header = self._guarded.payload.tasks[position]
        held = Held(call.token, ClaimReply(*call.reply))  # type: ignore[arg-type]
        attempt = AttemptRun(view, header, BatchInputs(view.store.fetch_results, []), position)
        attempt.take(held)
        # The user's modules, which may register types, are not imported here.
        attempt.read_body(opaque=True)
        attempt.started = True
        # The clock may have been set back since the task started.
        attempt.started_at = call.started_at
        attempt.ended_at = max(call.started_at, time.time())
        return attempt.finish(timed_out(call.seconds))


def guard(channel: socket.socket, guarded: Guarded, group: ProcessGroup) -> None:
    """The whole life of the forked process."""
    try:
        # Keep out of signals to the horse's group and session.
        os.setsid()
        for number in (signal.SIGALRM, signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_DFL)
        _let_go_of_files(channel.fileno())
        Guardian(channel, guarded, group).run()
    except BaseException:  # noqa: BLE001 - no code of the horse may run on in this process
        _log.exception("the guardian of batch %s failed", guarded.payload.batch)
    finally:
        # Nothing of the horse's may be finalised or flushed twice.
        os._exit(0)


def _let_go_of_files(kept: int) -> None:
    """Close the horse's files: its worker would count as alive as long as a connection of it is
    open.

    Point each descriptor to /dev/null instead: an object that still has it may close it later.
    """
    nothing = os.open(os.devnull, os.O_RDWR)
    for number in [int(entry.name) for entry in Path("/dev/fd").iterdir()]:
        if number > 2 and number not in (kept, nothing):  # noqa: PLR2004 - stderr stays
            os.dup2(nothing, number, inheritable=False)
