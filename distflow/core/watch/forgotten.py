"""ForgottenClaims: finds tasks whose claims disappeared without any event that reports their
end.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping


class ForgottenClaims:
    """Finds tasks that were claimed, no longer have a claim, and whose end no event reports: Redis
    came back with older data.

    Args:
        stale_seconds: how long the same claim must be missing. There is always a moment between the
            end of a claim and the reading of its event.
    """

    def __init__(self, stale_seconds: float) -> None:
        self._stale_seconds = stale_seconds
        #: (task, when its claim was seen) -> since when the claim is missing.
        self._missing: dict[tuple[str, float], float] = {}

    def look(self, running: Mapping[str, float], claimed: Collection[str], now: float) -> bool:
        """Whether a claim has been missing for too long.

        Args:
            running: the tasks that run according to events, with when their claim was seen.
            claimed: the tasks that have a claim.
            now: the clock of ``running``, in seconds.
        """
        missing = [claim for claim in running.items() if claim[0] not in claimed]
        self._missing = {claim: self._missing.get(claim, now) for claim in missing}
        return any(now - since > self._stale_seconds for since in self._missing.values())
