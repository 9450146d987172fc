"""What a run cost: Redis's own counters, the keys it left, and the memory of processes."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

from redis import Redis

from distflow.local.processes import session_members

_SCRIPT_COMMANDS = ("cmdstat_eval", "cmdstat_evalsha", "cmdstat_fcall")
_KEYS_AT_ONCE = 1000
_SAMPLE_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class RedisUse:
    """What a server has done since it started, or between two looks at it."""

    #: Every command, those inside scripts included.
    commands: float
    #: Reads from its clients' sockets: one per round trip, or per 16 KiB of a longer pipeline.
    requests: float
    cpu_seconds: float
    script_seconds: float

    @classmethod
    def read(cls, client: Redis) -> Self:
        """Now."""
        found: dict[str, Any] = {
            **client.info("stats"),
            **client.info("cpu"),
            **client.info("commandstats"),
        }
        scripts = (found.get(name, {"usec": 0})["usec"] for name in _SCRIPT_COMMANDS)
        return cls(
            commands=found["total_commands_processed"],
            requests=found["total_reads_processed"],
            cpu_seconds=found["used_cpu_user"] + found["used_cpu_sys"],
            script_seconds=sum(scripts) / 1e6,
        )

    def since(self, earlier: RedisUse) -> RedisUse:
        """What was done between two looks."""
        return RedisUse(
            self.commands - earlier.commands,
            self.requests - earlier.requests,
            self.cpu_seconds - earlier.cpu_seconds,
            self.script_seconds - earlier.script_seconds,
        )


def bytes_of_keys(client: Redis) -> int:
    """What all keys of a server take, values and the dictionary's entries included."""
    total = 0
    batch: list[bytes] = []
    for key in client.scan_iter(count=_KEYS_AT_ONCE):
        batch.append(key)
        if len(batch) == _KEYS_AT_ONCE:
            total += _bytes_of(client, batch)
            batch = []
    return total + _bytes_of(client, batch)


def _bytes_of(client: Redis, keys: list[bytes]) -> int:
    pipeline: Any = client.pipeline(transaction=False)
    for key in keys:
        # 0 samples: every element is looked at.
        pipeline.memory_usage(key, samples=0)
    return sum(size or 0 for size in pipeline.execute())


def peak_bytes(pid: int | Literal["self"]) -> int:
    """The most memory that a process has had resident; 0 where it is gone."""
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return 0


class MemoryWatch:
    """The largest resident memory of any process of some sessions, and of the sum of all.

    It looks every half second, since work horses come and go; what lives for less may be missed.
    """

    def __init__(self, sessions: Iterable[int]) -> None:
        self._sessions = list(sessions)
        self._peaks: dict[int, int] = {}
        self._largest_sum = 0
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._done.set()
        self._thread.join()

    def look(self) -> None:
        """Note what is resident now."""
        pids = [pid for session in self._sessions for pid in session_members(session)]
        now = {pid: peak_bytes(pid) for pid in pids}
        self._peaks.update(now)
        self._largest_sum = max(self._largest_sum, sum(now.values()))

    @property
    def largest(self) -> int:
        """Bytes of the one process that had most."""
        return max(self._peaks.values(), default=0)

    @property
    def largest_sum(self) -> int:
        """Bytes of the peaks of all processes that were there together."""
        return self._largest_sum

    def _watch(self) -> None:
        self.look()
        while not self._done.wait(_SAMPLE_SECONDS):
            self.look()
