"""``python -m tests.chaos.points.lead RUN_ID``: lead a run, with short intervals."""

from __future__ import annotations

import sys

from distflow import connect
from distflow.config import environment_url
from distflow.coordinator.settings import CoordinatorSettings


def main(run_id: str) -> None:
    """Resume a run whose coordinator looks after everything several times a second."""
    client = connect(environment_url())
    lease_seconds = CoordinatorSettings.from_environment().lease_seconds
    client.settings = CoordinatorSettings(
        lease_seconds=lease_seconds,
        watch_seconds=0.1,
        idle_seconds=0.1,
        unbegun_seconds=0.5,
        index_seconds=0.2,
    )
    run = client.run(run_id)
    run.resume()
    run.wait()


if __name__ == "__main__":
    main(sys.argv[1])
