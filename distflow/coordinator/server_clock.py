"""ServerClock: Redis's clock relative to this host's, and which Redis process answers."""

from __future__ import annotations

from distflow.clock import Clock
from distflow.core.readings import ServerInfo
from distflow.errors import RunForgotten, RunGone
from distflow.ports.run_store import RunStore

#: A clock that is off by less than this many seconds since the last check was not set: it merely
#: runs a little faster or slower than this host's.
_SLEWED_SECONDS = 1.0


class ServerClock:
    """Checks Redis now and then: its clock may be set, and it may restart with older data.

    Args:
        store: of any run on that Redis.
        clock: this host's.
        watch_seconds: between two checks.
    """

    def __init__(self, store: RunStore, clock: Clock, watch_seconds: float) -> None:
        self._store = store
        self._clock = clock
        self._watch_seconds = watch_seconds
        self._server_id = ""
        #: When Redis was last checked, on the monotonic clock.
        self.looked_at = float("-inf")
        #: Redis's clock minus this host's monotonic clock, in seconds.
        self.offset = 0.0
        #: How often Redis's clock was found to have been set.
        self.sets = 0
        #: How often Redis was found to have restarted, or to have been replaced by another.
        self.restarts = 0

    def look(self, server: ServerInfo | None = None) -> bool:
        """Check again if the last check is old; returns whether it was. ``server`` is what was just
        read from Redis, if it was.
        """
        now = self._clock.monotonic()
        if now - self.looked_at < self._watch_seconds:
            return False
        # A reply may be as old as the time that it took to arrive.
        asked_at = now
        server = server or self._store.read_server()
        before, self.looked_at = self.looked_at, self._clock.monotonic()
        if before > float("-inf"):
            early = server.now - (asked_at + self.offset)
            late = server.now - (self.looked_at + self.offset)
            self.sets += early < -_SLEWED_SECONDS or late > _SLEWED_SECONDS
        # Redis's clock may be set: take the offset anew each time.
        self.offset = server.now - self.looked_at
        if server.server_id:
            self.restarts += bool(self._server_id) and server.server_id != self._server_id
            self._server_id = server.server_id
        return True

    def now(self) -> float:
        """Unix seconds on Redis's clock, derived from this host's monotonic clock."""
        return self._clock.monotonic() + self.offset

    def now_ms(self) -> int:
        """Unix milliseconds on Redis's clock."""
        return int(self.now() * 1000)

    def explain_gone(self, store: RunStore, restarts: int) -> RunGone:
        """Why a run is missing that existed when Redis had restarted ``restarts`` times."""
        server = self._store.read_server()
        another = bool(self._server_id) and server.server_id not in ("", self._server_id)
        if another or restarts != self.restarts:
            why = "another Redis process answers, and has no data of it"
            return RunForgotten.because(store.run_id, why)
        return store.explain_gone()
