"""How the cost of a task grows with the size of its run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from benchmarks.machine import describe_machine
from benchmarks.results import Section, Table, spread
from benchmarks.rounds import Measured, Settings, measure_rounds, notes_of
from benchmarks.stage import Stage
from benchmarks.systems import OURS

_SYSTEMS = ("stock", "stock-idempotent", "fast")
_SHORT_SYSTEMS = ("stock",)
_SIZES, _SHORT_SIZES = (1000, 10_000, 100_000), (1000, 2000)
_MILLION = 1_000_000
#: Numbers of a run -> columns per task.
_PER_TASK = (
    ("describe_seconds", "describe µs", 1e6),
    ("create_cpu_seconds", "create CPU µs", 1e6),
    ("coordinate_cpu_seconds", "coordinate CPU µs", 1e6),
    ("describe_bytes", "describe B", 1.0),
    ("coordinate_bytes", "coordinate B", 1.0),
    ("redis_commands", "Redis commands", 1.0),
    ("redis_requests", "requests", 1.0),
    ("redis_cpu_seconds", "Redis CPU µs", 1e6),
    ("redis_script_seconds", "scripts µs", 1e6),
    ("redis_bytes", "Redis B", 1.0),
)


def measure(settings: Settings) -> Section:
    """Each size, in rounds; the million in each of them too."""
    machine = describe_machine()
    sizes = _SHORT_SIZES if settings.short else _SIZES
    if settings.million:
        sizes = (*sizes, _MILLION)

    def run(stage: Stage) -> dict[str, Any]:
        return {str(total): stage.drive("size", total=total) for total in sizes}

    names = _SHORT_SYSTEMS if settings.short else _SYSTEMS
    measured = measure_rounds(settings.choose(names, OURS), settings, run)
    records = {name: {"error": one.error, "rounds": one.found} for name, one in measured.items()}
    tables = (_table(measured, sizes),)
    return Section("growth", machine, asdict(settings), tables, records)


def _table(measured: Mapping[str, Measured], sizes: tuple[int, ...]) -> Table:
    rows = []
    for one in measured.values():
        for total in sizes:
            found = [turn[str(total)] for turn in one.found]
            rows.append(
                (
                    one.system.label,
                    f"{total:,}",
                    spread([total / turn["seconds"] for turn in found]),
                    *(
                        spread([turn[key] / total for turn in found], scale)
                        for key, _column, scale in _PER_TASK
                    ),
                    spread([turn["all_peak_bytes"] for turn in found], 2**-20),
                    spread([turn["status_seconds"] for turn in found], 1000),
                )
            )
    columns = ("system", "tasks", "tasks/s", *(column for _key, column, _scale in _PER_TASK))
    return Table(
        "Growth of one run",
        (*columns, "all MiB", "status ms"),
        tuple(rows),
        (
            (
                "Fans of 1,000 with joins; per task unless it says otherwise. Describing is "
                "building the Workflow, creating is writing the run, coordinating all that "
                "follows. Bytes are the growth of the process's peak. Memory of all: the "
                "peaks of client, workers and Redis together; what forks share counts for each."
            ),
            *notes_of(measured),
        ),
    )
