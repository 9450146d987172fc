"""OutcomeKeeper: no outcome is lost because Redis does not accept it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import NamedTuple, Protocol, TypeVar

from distflow.core.claim import Finish
from distflow.errors import RedisUnavailable
from distflow.logs import get_logger

_log = get_logger("distflow.worker")

_T = TypeVar("_T")

#: Writes outcomes to disk; imported when the first one is not accepted: few processes need it.
_SPOOL = "distflow_worker.spool"

#: Seconds for which a call without outcomes is tried.
_CLAIM_SECONDS = 60.0

#: After this many seconds of trouble, calls are this many seconds apart.
_BUSY_SECONDS = 60.0
_PAUSE_SECONDS = 1.0


class Home(NamedTuple):
    """Where outcomes belong: the Redis (see ``redis_client.name_of``), run and batch."""

    redis: str
    prefix: str
    run_id: str
    #: The run's origin: another run with the same id has a different one.
    origin: str
    #: The version of the run.
    wire: int
    epoch: int
    batch: str


class Kept(Protocol):
    """An outcome on disk that this process will record itself."""

    def drop(self) -> None:
        """Redis has it: delete the file."""

    def let_go(self) -> None:
        """Let other processes deliver it."""


class OutcomeKeeper:
    """Keeps the outcomes of one batch until Redis has them.

    It sends them again and again. As soon as Redis has not accepted them for a moment it also
    writes them to disk, so that they survive this process, whatever ends it. While it lives, no
    other process delivers them.

    Args:
        home: where they belong.
        folder: for outcomes that Redis does not accept; None keeps nothing on disk.
        seconds: how long to keep sending them.
    """

    def __init__(self, home: Home, folder: str | None, seconds: float) -> None:
        self._home = home
        self._folder = folder
        self._seconds = seconds
        #: Files by token.
        self._kept: dict[str, Kept] = {}
        self._has_warned = False

    def tell(self, finishes: Sequence[Finish], call: Callable[[], _T], *, once: bool = False) -> _T:
        """Call until Redis has accepted these outcomes, and return its reply.

        Args:
            finishes: the outcomes that the call records; a call without any is tried for a minute.
            call: tries for about a second, and may be repeated.
            once: try once, since the caller will try again.

        Raises:
            RedisUnavailable: the time is up, and they are on disk, unless that is switched off. If
                the disk refuses them, this continues for as long as it takes.
        """
        began = time.monotonic()
        while True:
            try:
                answer = call()
                break
            except RedisUnavailable as error:
                waited = time.monotonic() - began
                limit = self._seconds if finishes else _CLAIM_SECONDS
                safe = self.keep(finishes, str(error)) or self._folder is None
                if once or (waited >= limit and safe):
                    raise
                if waited >= _BUSY_SECONDS:
                    time.sleep(_PAUSE_SECONDS)
        if self._has_warned:
            self._has_warned = False
            _log.warning("batch %s: Redis has taken its outcomes", self._home.batch)
        for finish in finishes:
            if kept := self._kept.pop(finish.token, None):
                kept.drop()
        return answer

    def settle(self, finishes: Sequence[Finish], call: Callable[[], _T]) -> _T:
        """As :meth:`tell`, for a process that ends afterwards: unrecorded outcomes are on disk.

        Raises:
            RedisUnavailable: as :meth:`tell`.
        """
        try:
            return self.tell(finishes, call)
        except BaseException as error:
            self.keep(finishes, f"{type(error).__name__}: {error}")
            raise
        finally:
            self.let_go()

    def keep(self, finishes: Sequence[Finish], why: str) -> bool:
        """Write outcomes to disk, unless they are there already; returns whether they are on
        disk.
        """
        fresh = [finish for finish in finishes if finish.token not in self._kept]
        if not fresh:
            return True
        names = ", ".join(finish.task for finish in fresh)
        if self._folder is None:
            self._warn(f"the outcomes of {names} are not recorded, and kept in memory alone: {why}")
            return False
        try:
            spool = import_module(_SPOOL).Spool(self._folder)
            for finish in fresh:
                self._kept[finish.token] = spool.keep(self._home, finish)
        except OSError as error:
            self._warn(
                f"the outcomes of {names} are not recorded ({why}), and cannot be kept in "
                f"{self._folder}: {error}; both are tried again"
            )
            return False
        self._has_warned = True
        _log.warning(
            "batch %s: the outcomes of %s are not recorded: %s; they are kept in %s until Redis "
            "has them",
            self._home.batch,
            names,
            why,
            self._folder,
        )
        return True

    def let_go(self) -> None:
        """Leave what is on disk to the next batch on this host."""
        for kept in self._kept.values():
            kept.let_go()
        self._kept.clear()

    def _warn(self, what: str) -> None:
        """Warn once, until Redis has accepted something."""
        if not self._has_warned:
            self._has_warned = True
            _log.warning("batch %s: %s", self._home.batch, what)
