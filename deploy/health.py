"""Whether a coordinator, or a worker, of this host is alive: exits with 0, or 1 and a line.

``python health.py coordinator|worker``, with the address of Redis in the environment: for the
health checks of containers, each of which is a host of its own.
"""

from __future__ import annotations

import socket
import sys
from datetime import UTC, datetime

from rq.utils import utcparse

from distflow import connect
from distflow.config import environment_url
from distflow.errors import DistflowError
from distflow.rq_compat.rq_keys import WORKERS_KEY
from distflow.runs.client import Client

#: A worker of `distflow worker` that lives says so each second or two.
_SILENT_SECONDS = 30.0


def coordinator_is_alive(client: Client, host: str) -> bool:
    """Whether a coordinator of the host has announced itself in the last seconds."""
    return any(owner.rsplit(":", 2)[0] == host for owner in client.coordinators())


def worker_is_alive(client: Client, host: str) -> bool:
    """Whether an RQ worker of the host has said lately that it is there."""
    keys = client.redis.smembers(WORKERS_KEY)
    pipeline = client.redis.pipeline(transaction=False)
    for key in keys:
        pipeline.hmget(key, "hostname", "last_heartbeat")
    now = datetime.now(UTC)
    return any(
        at_host == host.encode()
        and beat is not None
        and (now - utcparse(beat.decode())).total_seconds() < _SILENT_SECONDS
        for at_host, beat in pipeline.execute()
    )


CHECKS = {"coordinator": coordinator_is_alive, "worker": worker_is_alive}


def main() -> None:
    """Ask Redis."""
    if len(sys.argv) != 2 or sys.argv[1] not in CHECKS:  # noqa: PLR2004 - the script and a word
        sys.exit(f"usage: python health.py {'|'.join(CHECKS)}")
    what, host = sys.argv[1], socket.gethostname()
    try:
        alive = CHECKS[what](connect(environment_url()), host)
    except DistflowError as error:
        sys.exit(str(error))
    if not alive:
        sys.exit(f"no {what} of {host} is alive")


if __name__ == "__main__":
    main()
