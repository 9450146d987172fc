"""How a coordinator behaves: intervals and patience, in seconds."""

from __future__ import annotations

from dataclasses import dataclass

from distflow.config import lease_seconds, misfit_seconds


@dataclass(frozen=True, slots=True)
class CoordinatorSettings:
    """Intervals and patience of a coordinator, in seconds."""

    #: After this time another coordinator may take over a run whose lease was not renewed.
    lease_seconds: float = 10.0
    #: How long a read of events waits for the next one.
    tick_seconds: float = 0.25
    #: Between two checks of workers and their batches.
    watch_seconds: float = 1.0
    #: Between two checks of a run that has nothing running.
    idle_seconds: float = 30.0
    #: A batch whose beat has not changed for this long is suspect.
    stale_seconds: float = 3.0
    #: A worker that is silent for this long, and this long overdue with its own heartbeat, is lost
    #: even while Redis holds its connection: Redis's keepalive may take longer.
    silent_seconds: float = 20.0
    #: A batch that no worker has begun and no queue holds for this long is sent again.
    unbegun_seconds: float = 5.0
    #: If most batches go silent together, the network is suspected, and for this long no worker.
    network_seconds: float = 10.0
    #: Between two checks whether the run is in the indices of runs. It is done with the next
    #: regular check, up to ``idle_seconds`` later: within 5 minutes in all.
    index_seconds: float = 265.0
    #: How long a task may run beyond its timeout before the coordinator has its process killed:
    #: normally its worker acts first.
    overdue_seconds: float = 5.0
    #: How long a task that no present worker can run (a module is missing there, say) waits for
    #: another worker before it fails.
    misfit_seconds: float = 60.0
    #: How long running tasks of a cancelled run may take to end by themselves before they are
    #: killed.
    grace_seconds: float = 10.0

    @classmethod
    def from_environment(cls) -> CoordinatorSettings:
        """The defaults, overridden by ``DISTFLOW_LEASE_SECONDS`` and ``DISTFLOW_MISFIT_SECONDS`` if
        set.

        Raises:
            InvalidInput: one of them is not a valid number of seconds.
        """
        usual = cls()
        return cls(
            lease_seconds=lease_seconds(usual.lease_seconds),
            misfit_seconds=misfit_seconds(usual.misfit_seconds),
        )
