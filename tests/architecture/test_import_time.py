"""What is paid for distflow where it counts: by a work horse, for every job, and by a command that
only looks.
"""

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


#: What a look at a run that is at rest needs nothing of: each takes as long as all the rest.
UNSEEN = ("rq", "distflow.coordinator", "distflow.runs.client", "distflow_worker")

_LOOK = """
import sys
import distflow.cli.status
import distflow.backends.redis_rq as backends
backend = backends.RedisBackend(backends.RedisClient())
backend.store("run"), backend.with_patience(0.0), backend.translate_errors()
print(" ".join(sys.modules))
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


def test_a_look_imports_no_rq() -> None:
    """``status`` and ``runs`` are typed often: RQ is loaded where workers are asked about."""
    done = subprocess.run([sys.executable, "-c", _LOOK], capture_output=True, text=True, check=True)
    assert set(done.stdout.split()).isdisjoint(UNSEEN)
