"""What a stock work horse pays for distflow: it imports the worker's side for every job."""

from __future__ import annotations

import subprocess
import sys

#: Modules that are slow to import and that no job needs.
HEAVY = (
    "rich",
    "click",
    "distflow.runs.client",
    "distflow.coordinator",
    "distflow.ports.run_store",
)

_PROGRAM = """
import sys, time
import rq, rq.job, rq.worker, rq.suspension, rq.connections
began = time.perf_counter()
import distflow_worker.batch
print(time.perf_counter() - began)
# What Cython puts there beside its own modules was not imported, and differs from build to build.
modules = list(sys.modules.items())
print(" ".join(name for name, module in modules if getattr(module, "__spec__", None)))
"""


def _import_worker() -> tuple[float, set[str]]:
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM], capture_output=True, text=True, check=True
    )
    seconds, modules = done.stdout.splitlines()
    return float(seconds), set(modules.split())


def test_a_job_imports_nothing_heavy() -> None:
    """Neither the terminal's libraries nor the coordinator's side are loaded in a work horse."""
    _seconds, modules = _import_worker()
    assert modules.isdisjoint(HEAVY)


def test_import_costs_few_modules() -> None:
    """At most 46 modules beyond RQ's: a count that no busy machine can disturb."""
    before = subprocess.run(
        [sys.executable, "-c", _PROGRAM.replace("import distflow_worker.batch\n", "")],
        capture_output=True,
        text=True,
        check=True,
    )
    base = set(before.stdout.splitlines()[1].split())
    _seconds, modules = _import_worker()
    assert len(modules - base) <= 46, sorted(modules - base)
