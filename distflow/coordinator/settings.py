"""How a coordinator behaves: intervals and patience, in seconds."""

from __future__ import annotations

from dataclasses import dataclass

from distflow.config import lease_seconds, misfit_seconds


@dataclass(frozen=True, slots=True)
class CoordinatorSettings:
    """Intervals and patience of a coordinator, in seconds."""

    #: After which another coordinator may take a run over from one that does not renew.
    lease_seconds: float = 10.0
    #: How long a read of events waits for the next one.
    tick_seconds: float = 0.25
    #: Between two looks at workers and their batches.
    watch_seconds: float = 1.0
    #: Between two looks at a run of which nothing is at work.
    idle_seconds: float = 30.0
    #: A batch whose beat did not change for so long is suspect.
    stale_seconds: float = 3.0
    #: A worker that is silent for so long, beyond its next heartbeat too, is lost although Redis
    #: has not dropped its connection: where Redis's own keepalive takes longer.
    silent_seconds: float = 20.0
    #: A batch that no worker began and no queue holds for so long is sent again.
    unbegun_seconds: float = 5.0
    #: Where most batches go silent at once, the network is suspected before the workers.
    network_seconds: float = 10.0
    #: Between two looks whether the run is in the indices of runs. That is asked at the look that
    #: comes next, up to ``idle_seconds`` later: within 5 minutes in all.
    index_seconds: float = 265.0
    #: How long a task may go on beyond its timeout before the coordinator has its process killed:
    #: its worker's own means come first.
    overdue_seconds: float = 5.0
    #: How long a task that none of its workers can run, since a module is missing there, waits for
    #: another worker: it fails when none has come for so long.
    misfit_seconds: float = 60.0
    #: How long cancelled tasks may take to end by themselves before they are killed.
    grace_seconds: float = 10.0

    @classmethod
    def from_environment(cls) -> CoordinatorSettings:
        """The defaults, with ``DISTFLOW_LEASE_SECONDS`` and ``DISTFLOW_MISFIT_SECONDS`` where these
        are set.

        Raises:
            InvalidInput: one of them is no such number of seconds.
        """
        usual = cls()
        return cls(
            lease_seconds=lease_seconds(usual.lease_seconds),
            misfit_seconds=misfit_seconds(usual.misfit_seconds),
        )
