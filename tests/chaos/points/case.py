"""One case: which process is hurt where, when and how; and how that is told to the process."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from distflow.faults import FAULT_VARIABLE, FROZEN_SUFFIX, LOG_VARIABLE
from tests.support.proxy import Proxy

#: In the place of a point: what is hurt is a command on its way to Redis and back, whichever.
PROXY = "proxy"

#: Counts the commands, and does nothing to any.
COUNT = "count"

#: The role of a worker that is killed with all its processes.
BOTH = "both"

#: Seconds that a frozen process stays so, unless its scenario says otherwise.
FREEZE_SECONDS = 2.0


class Case(NamedTuple):
    """In a scenario, processes of a role are hurt: the n-th time that one reaches the point.

    Without a point nothing is hurt, and what is reached is written down.
    """

    scenario: str
    role: str
    point: str = ""
    nth: int = 1
    kind: str = ""

    def __str__(self) -> str:
        if not self.point:
            return f"{self.scenario}/{self.role} unhurt"
        return f"{self.scenario}/{self.role} {self.point}#{self.nth}={self.kind}"


class Fault:
    """The fault of a case, as its processes get it.

    Args:
        case: the case.
        folder: for its file.
        url: of Redis.
    """

    def __init__(self, case: Case, folder: Path, url: str) -> None:
        self.case = case
        self._url = url
        self._file = folder / "fault"
        self._frozen = Path(f"{self._file}{FROZEN_SUFFIX}")
        self._thaw_at: float | None = None
        #: How long a frozen process stays so.
        self.freeze_seconds = FREEZE_SECONDS

    def url(self, role: str) -> str:
        """Where a process of a role finds Redis."""
        return self._url

    def environment(self, role: str) -> Mapping[str, str]:
        """The variables for a process of a role."""
        case = self.case
        if role != case.role:
            return {}
        if not case.point:
            return {LOG_VARIABLE: str(self._file)}
        # All processes of a worker are killed while the one at the point stands there.
        kind = "freeze" if role == BOTH else case.kind
        return {FAULT_VARIABLE: f"{case.point}#{case.nth}={kind}@{self._file}"}

    def reached(self) -> Counter[str]:
        """The points that were reached, of a case without a fault."""
        return Counter(self._file.read_text().split()) if self._file.exists() else Counter()

    def has_struck(self) -> bool:
        """Whether the point was reached often enough."""
        return self._file.exists() and self._file.stat().st_size >= self.case.nth

    def close(self) -> None:
        """The case is over."""

    @property
    def is_freezing(self) -> bool:
        """Whether a process is frozen now."""
        return self._frozen.exists()

    def frozen_pid(self) -> int:
        """The process that is frozen now; 0 where none is."""
        text = self._frozen.read_text() if self._frozen.exists() else ""
        return int(text or 0)

    def forget(self) -> None:
        """Who was frozen is gone."""
        self._frozen.unlink()

    def tend(self) -> None:
        """Wake a process that has been frozen for long enough."""
        if not self._frozen.exists() or not (text := self._frozen.read_text()):
            return
        if self.case.role == BOTH:
            # It is to be killed as it stands.
            return
        now = time.monotonic()
        if self._thaw_at is None:
            self._thaw_at = now + self.freeze_seconds
        elif now >= self._thaw_at:
            self._frozen.unlink()
            with suppress(ProcessLookupError):
                os.kill(int(text), signal.SIGCONT)


class ProxyFault(Fault):
    """All connections of a role go through a proxy, which does something at the n-th command."""

    def __init__(self, case: Case, folder: Path, url: str) -> None:
        super().__init__(case, folder, url)
        self._proxy = Proxy(url)
        if case.kind != COUNT:
            self._proxy.arm(case.nth, case.kind)

    def url(self, role: str) -> str:
        """Where a process of a role finds Redis."""
        return self._proxy.url if role == self.case.role else super().url(role)

    def environment(self, role: str) -> Mapping[str, str]:
        """Nothing more."""
        return {}

    def reached(self) -> Counter[str]:
        """How many commands there were."""
        return Counter({PROXY: len(self._proxy.commands)})

    def has_struck(self) -> bool:
        """Whether there were so many commands."""
        return self._proxy.has_struck()

    def close(self) -> None:
        """Cut every connection."""
        self._proxy.close()


def make_fault(case: Case, folder: Path, url: str) -> Fault:
    """The fault of a case on the Redis of this URL."""
    return (ProxyFault if case.point == PROXY else Fault)(case, folder, url)
