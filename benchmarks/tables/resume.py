"""How soon a run that is half done goes on when a person resumes it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from benchmarks.machine import describe_machine
from benchmarks.results import Section, Table, spread
from benchmarks.rounds import Measured, Settings, measure_rounds, notes_of
from benchmarks.stage import Stage
from benchmarks.systems import OURS

_SYSTEMS = ("stock", "fast")
_SIZES, _SHORT_SIZES = (10_000, 100_000), (2000,)
_MILLION = 1_000_000


def measure(settings: Settings) -> Section:
    """Each size, in rounds."""
    machine = describe_machine()
    sizes = _SHORT_SIZES if settings.short else _SIZES
    if settings.million:
        sizes = (*sizes, _MILLION)

    def run(stage: Stage) -> dict[str, Any]:
        return {str(total): _resume(stage, total) for total in sizes}

    measured = measure_rounds(settings.choose(_SYSTEMS, OURS), settings, run)
    records = {name: {"error": one.error, "rounds": one.found} for name, one in measured.items()}
    tables = (_table(measured, sizes),)
    return Section("resume", machine, asdict(settings), tables, records)


def _resume(stage: Stage, total: int) -> dict[str, Any]:
    run_id = f"resume-{total}"
    stage.drive("resume", total=total, phase="half", run_id=run_id)
    return stage.drive("resume", total=total, phase="rest", run_id=run_id)


def _table(measured: Mapping[str, Measured], sizes: tuple[int, ...]) -> Table:
    rows = []
    for one in measured.values():
        for total in sizes:
            found = [turn[str(total)] for turn in one.found]
            rows.append(
                (
                    one.system.label,
                    f"{total:,}",
                    spread([turn["done"] for turn in found]),
                    spread([turn["first_start"] for turn in found]),
                    spread([turn["seconds"] for turn in found]),
                    spread([turn["client_peak_bytes"] for turn in found], 2**-20),
                )
            )
    return Table(
        "Resume",
        ("system", "tasks", "done before", "first start s", "end s", "coordinator MiB"),
        tuple(rows),
        (
            (
                "Fans of 1,000 with joins. One process leads the run until half of it is done; "
                "another resumes it. From its call until the first task is claimed, and until the "
                "end."
            ),
            *notes_of(measured),
        ),
    )
