"""OverdueTasks: finds tasks that run on after their timeout because nothing on their host ends
them.

A worker normally ends such a task by itself, within 3 seconds. This is for workers that cannot.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

from distflow.core.run import Beat, Claim


class OverdueTasks:
    """Watches the running tasks that have a timeout.

    Args:
        timeout_of: returns the timeout of a task in seconds; None if it has none.
        patience_seconds: how long a task may be overdue.
    """

    def __init__(self, timeout_of: Callable[[str], float | None], patience_seconds: float) -> None:
        self._timeout = timeout_of
        self._patience_seconds = patience_seconds
        #: (batch, task) -> when it started, on the monotonic clock, as first computed: Redis's
        #: clock may be set later.
        self._began: dict[tuple[str, str], float] = {}
        #: (batch, task) -> since when it is seen as overdue, on the monotonic clock.
        self._since: dict[tuple[str, str], float] = {}
        #: Those whose batch was already reported for stopping.
        self._stopped: set[tuple[str, str]] = set()

    def look(
        self,
        beats: Mapping[str, Beat],
        claims: Mapping[str, Claim],
        silent: Collection[str],
        *,
        monotonic: float,
        now: float,
    ) -> set[str]:
        """The batches to stop.

        Args:
            beats: of every batch.
            claims: of every claimed task.
            silent: batches without beats whose worker is alive.
            monotonic: seconds on the coordinator's own clock.
            now: Unix seconds on Redis's clock.
        """
        late = []
        self._began = {
            (claim.batch, name): self._began.get(
                (claim.batch, name), monotonic - max(0.0, now - claim.started / 1000)
            )
            for name, claim in claims.items()
            if claim.started and self._timeout(name) is not None
        }
        for name, claim in claims.items():
            beat = beats.get(claim.batch)
            told = beat is not None and _tells(beat, name)
            # A start that was recorded with the claim precedes the call by an import, which may
            # take long: a worker that still beats knows better.
            if told or (claim.batch in silent and self._has_passed(name, claim, monotonic)):
                late.append((claim.batch, name))
        self._since = {key: self._since.get(key, monotonic) for key in late}
        self._stopped = {
            key for key, since in self._since.items() if monotonic - since > self._patience_seconds
        }
        return {batch for batch, _name in self._stopped}

    def is_overdue(self, task: str, batch: str, beats: Mapping[str, Beat]) -> bool:
        """Whether a task of a lost worker had run longer than its timeout by then."""
        beat = beats.get(batch)
        return (beat is not None and _tells(beat, task)) or (batch, task) in self._stopped

    def _has_passed(self, name: str, claim: Claim, monotonic: float) -> bool:
        timeout, began = self._timeout(name), self._began.get((claim.batch, name))
        return timeout is not None and began is not None and began < monotonic - timeout


def _tells(beat: Beat, task: str) -> bool:
    return beat.overdue and beat.task == task
