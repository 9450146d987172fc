"""The store as a coordinator and a person at the command line use it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from itertools import chain
from typing import Any

import msgpack

from distflow.core.claim import Code, Finish, Progress
from distflow.core.run import Event, RefusalKey
from distflow.core.status import ENDED_RUNS, RunStatus, TaskStatus
from distflow.errors import LeaseHeld, WrongState
from distflow.store.redis.base import StoreBase
from distflow.store.redis.keys import active_keys
from distflow.store.redis.scripts import ScriptCall, run_scripts
from distflow.store.redis.worker import finish_fields
from distflow.wire.codec import pack

#: Names that one call of a script is given: it must not hold Redis for long.
_NAMES_PER_CALL = 1000


class LeadStore(StoreBase):
    """The transitions that whoever leads a run makes, and the decisions of people."""

    def acquire_lease(self, owner: str, ttl_seconds: float, *, force: bool = False) -> int:
        """Become the coordinator and return the new epoch.

        Args:
            owner: unique to this coordinator, kept over its retries.
            ttl_seconds: after which another may take over, unless it is renewed.
            force: take the lease from one who holds it.

        Raises:
            LeaseHeld: another holds it; the message names who.
            RunTooNew: a newer distflow made the run.
            RunGone: there is no such run.
        """
        keys = (self.keys.meta, self.keys.lease, self.keys.history)
        ttl_ms = int(ttl_seconds * 1000)
        code, *rest = self._run("acquire_lease", keys, owner, ttl_ms, int(force))
        self._require(code)
        if code == Code.HELD:
            raise LeaseHeld(f"run {self.run_id} is led by {rest[0].decode()}")
        return int(rest[0])

    def renew_lease(
        self, owner: str, epoch: int, ttl_seconds: float, *, queued: int, waiting: int
    ) -> None:
        """Keep the lease, and publish how many tasks are queued and waiting.

        Raises:
            StaleEpoch: another coordinator has taken over.
        """
        keys = (self.keys.meta, self.keys.lease)
        ttl_ms = int(ttl_seconds * 1000)
        codes = self._run("renew_lease", keys, owner, ttl_ms, epoch, queued, waiting)
        self._require(codes[0])

    def release_lease(self, owner: str, epoch: int, *, is_over: bool = False) -> bool:
        """Give the lease up, if it is still held. Of a run that ``is_over`` nobody needs to know
        any more that somebody should lead it.

        Returns:
            Whether nobody has led the run since. Where somebody has, it may stand in no list of
            active runs now although it is one.
        """
        call = ScriptCall("release_lease", (self.keys.meta, self.keys.lease), (owner, epoch))
        lists = active_keys(self.prefix) if is_over else []
        unlist = [("SREM", key, self.run_id) for key in lists]
        replies = self._patiently(lambda: run_scripts(self.client, [call], before=unlist))
        return bool(replies[0] == Code.OK)

    def read_events(self, after: str, *, block_ms: int | None = None) -> list[Event]:
        """The events after an id, oldest first: what at most 1,000 transitions told; waits for one
        up to ``block_ms``.
        """
        found = self._patiently(
            lambda: self.client.xread({self.keys.events: after}, count=1000, block=block_ms)
        )
        return parse_streams(found).get(self.keys.events, [])

    def trim_events(self, epoch: int, first_kept: str) -> None:
        """Drop the events before an id."""
        keys = (self.keys.meta, self.keys.events)
        self._require(self._run("trim_events", keys, epoch, first_kept))

    def settle_claim(self, epoch: int, batch: str, lost: Finish) -> Code:
        """End a claim whose worker is lost: RECORDED, or REFUSED where it has moved on."""
        keys = self.keys
        request = msgpack.packb({**finish_fields(lost), "batch": batch, "worker": lost.worker})
        code = self._run(
            "settle_claim",
            (
                keys.meta,
                keys.results,
                keys.claims,
                keys.progress,
                keys.beats,
                keys.events,
                keys.history,
                keys.troubles,
                keys.traits,
            ),
            epoch,
            request,
            lost.packed,
        )
        self._require(code)
        return Code(code)

    def end_batch(self, epoch: int, batch: str) -> Code:
        """Give a lost batch up: OK, or BUSY where it holds a claim. Its worker is told so when it
        comes back.
        """
        keys = (self.keys.meta, self.keys.beats, self.keys.claims)
        code = self._run("end_batch", keys, epoch, batch)
        self._require(code)
        return Code(code)

    def settle_unheld(
        self,
        epoch: int,
        outcomes: Sequence[tuple[str, bytes]],
        *,
        forgotten: Sequence[RefusalKey] = (),
    ) -> set[str]:
        """Give tasks that nobody holds an encoded outcome; returns those that were left alone.

        Args:
            epoch: the caller's.
            outcomes: a task and its TaskResult each.
            forgotten: refusals that are taken away, once all is settled.

        Raises:
            StaleEpoch: another coordinator has taken over.
        """
        keys = self.keys
        used = (
            *(keys.meta, keys.results, keys.claims, keys.progress),
            *(keys.troubles, keys.traits, keys.refusals),
        )
        left: set[str] = set()
        for start in range(0, max(1, len(outcomes)), _NAMES_PER_CALL):
            chunk = outcomes[start : start + _NAMES_PER_CALL]
            is_last = start + _NAMES_PER_CALL >= len(outcomes)
            flat = [part for pair in chunk for part in pair]
            told = msgpack.packb(forgotten if is_last else ())
            code, indices = self._run("settle_unheld", used, epoch, told, *flat)
            self._require(code)
            left.update(chunk[index][0] for index in indices)
        return left

    def begin_reopen(self, epoch: int, operation: str) -> None:
        """Refuse claims until the reopening is ended; a new generation begins."""
        code = self._run("begin_reopen", (self.keys.meta, self.keys.refusals), epoch, operation)
        self._require(code)
        if code == Code.WRONG_STATE:
            raise WrongState(
                f"run {self.run_id} was never completely submitted: remove it by "
                f"`distflow delete {self.run_id}`, and submit again"
            )

    def reopen_tasks(
        self, epoch: int, items: Sequence[tuple[str, TaskStatus | None, Progress, bool]]
    ) -> None:
        """Set outcomes aside, in the order given: dependents before their dependencies.

        Args:
            epoch: the caller's.
            items: task, the status that the caller saw, its next progress, and whether the
                evidence is kept for ever.

        Raises:
            WrongState: a person has stopped the reopening.
        """
        keys = self.keys
        used = (
            *(keys.meta, keys.results, keys.claims),
            *(keys.progress, keys.history, keys.troubles),
        )
        for start in range(0, len(items), _NAMES_PER_CALL):
            flat: list[str | bytes | int] = []
            for name, seen, progress, keep in items[start : start + _NAMES_PER_CALL]:
                flat += (name, seen or "", pack(progress._asdict()), int(keep))
            code = self._run("reopen_tasks", used, epoch, *flat)
            self._require(code)
            if code == Code.WRONG_STATE:
                raise WrongState(f"run {self.run_id} is not being reopened any more")

    def set_times(
        self,
        epoch: int,
        waits: Sequence[tuple[str, int, int]],
        *,
        clock_at: tuple[int, int] | None = None,
        stop_at: tuple[int, int] | None = None,
    ) -> None:
        """Redis's clock was set: move what the run waits for. Each is given by the time that the
        caller saw, and the right one, in Unix ms; what has changed since stays.

        Args:
            epoch: the caller's.
            waits: of tasks, by name: before when they do not run.
            clock_at: since when the run's timeout counts.
            stop_at: when what runs of a cancelled run is stopped.

        Raises:
            StaleEpoch: another coordinator has taken over.
        """
        moved: list[tuple[str, int, int]] = [
            (f":{task}", seen, right) for task, seen, right in waits
        ]
        for name, times in (("clock_at", clock_at), ("stop_at", stop_at)):
            if times is not None:
                moved.append((name, *times))
        keys = (self.keys.meta, self.keys.progress)
        for start in range(0, len(moved), _NAMES_PER_CALL):
            flat = [part for some in moved[start : start + _NAMES_PER_CALL] for part in some]
            self._require(self._run("set_times", keys, epoch, *flat))

    def set_status(
        self,
        new: RunStatus,
        allowed: Collection[RunStatus],
        *,
        epoch: int | None = None,
        reason: str = "",
        restart_clock: bool = False,
        grace_seconds: float | None = None,
    ) -> RunStatus:
        """Move the run to another status, and return it; a repeated move is none.

        Args:
            new: where to.
            allowed: from where.
            epoch: the coordinator's; None for a person.
            reason: why it was stopped, for people.
            restart_clock: its timeout starts anew.
            grace_seconds: of a cancellation: how long what runs may take to end by itself. Where
                the run is being cancelled already, the shorter grace counts.

        Raises:
            WrongState: it is in none of the allowed statuses; the message names its status.
            RunNotFound: there is no such run.
            StaleEpoch: another coordinator has taken over.
        """
        code, status = self._run(
            "set_status",
            (self.keys.meta, self.keys.events),
            "" if epoch is None else epoch,
            new.value,
            reason,
            int(new in ENDED_RUNS),
            int(restart_clock),
            "" if grace_seconds is None else int(grace_seconds * 1000),
            *(status.value for status in allowed),
        )
        if code == Code.GONE and epoch is None:
            raise self._missing()
        self._require(code)
        if code == Code.WRONG_STATE:
            raise WrongState(f"run {self.run_id} is {status.decode()}")
        return new


def parse_streams(found: Any) -> dict[str, list[Event]]:
    """What XREAD answered: the events of each stream, by its key."""
    # RESP2 answers [[key, entries]], RESP3 {key: [entries]}.
    if isinstance(found, dict):
        streams = [(key, chain.from_iterable(parts)) for key, parts in found.items()]
    else:
        streams = found or []
    return {
        key.decode(): [
            Event(entry_id.decode(), *told)
            for entry_id, fields in entries
            for told in msgpack.unpackb(fields[b"e"], use_list=False)
        ]
        for key, entries in streams
    }
