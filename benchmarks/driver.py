"""The client process of a measurement: ``python -m benchmarks.driver SYSTEM JOB OPTIONS FILE``."""

from __future__ import annotations

import json
import sys
from importlib import import_module
from pathlib import Path

from benchmarks.clients.port import BenchClient
from benchmarks.jobs import JOBS
from benchmarks.meter import peak_bytes
from benchmarks.systems import SYSTEMS, System


def open_client(system: System) -> BenchClient:
    """The client of a system; only its own library is imported for it."""
    module = import_module(f"benchmarks.clients.{system.client}")
    client: BenchClient = module.open_client(system)
    return client


def main(system_name: str, job: str, options: str, answer: str) -> None:
    """Do one job, and write what was measured as JSON."""
    client = open_client(SYSTEMS[system_name])
    client.wait_ready()
    try:
        found = JOBS[job](client, **json.loads(options))
    finally:
        client.close()
    found["client_peak_bytes"] = peak_bytes("self")
    Path(answer).write_text(json.dumps(found), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
