"""Many runs at once under one coordinator service, beside one run of as many tasks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from statistics import median
from typing import Any

from benchmarks.machine import describe_machine
from benchmarks.results import NOTHING, Section, Table, number, spread
from benchmarks.rounds import Measured, Settings, measure_rounds, notes_of
from benchmarks.stage import Stage
from benchmarks.systems import OURS

_SYSTEMS = ("stock", "fast")
_EACH = 20
_COUNTS, _SHORT_COUNTS = (1, 10, 100, 1000), (1, 10)


def measure(settings: Settings) -> Section:
    """Each number of runs, and the one run that they are compared with, in rounds."""
    machine = describe_machine()
    counts = _SHORT_COUNTS if settings.short else _COUNTS
    whole = max(counts) * _EACH

    def run(stage: Stage) -> dict[str, Any]:
        found = {
            str(count): stage.drive("runs", runs=count, each=_EACH, block=_EACH) for count in counts
        }
        found["whole"] = stage.drive("runs", runs=1, each=whole, block=_EACH)
        return found

    measured = measure_rounds(settings.choose(_SYSTEMS, OURS), settings, run)
    records = {name: {"error": one.error, "rounds": one.found} for name, one in measured.items()}
    tables = (_table(measured, counts, whole),)
    return Section("runs", machine, asdict(settings), tables, records)


def _table(measured: Mapping[str, Measured], counts: tuple[int, ...], whole: int) -> Table:
    rows = []
    for one in measured.values():
        reference = _rates(one, "whole")
        for key in (*map(str, counts), "whole"):
            rates = _rates(one, key)
            costs = [turn[key]["client_cpu_seconds"] / turn[key]["tasks"] for turn in one.found]
            creation = [turn[key]["create_seconds"] for turn in one.found]
            share = number(median(rates) / median(reference)) if reference else NOTHING
            what = f"1 × {whole:,}" if key == "whole" else f"{int(key):,} × {_EACH}"
            rows.append(
                (
                    one.system.label,
                    what,
                    spread(rates),
                    share,
                    spread(costs, 1e6),
                    spread(creation),
                )
            )
    return Table(
        "Runs at once",
        ("system", "runs × tasks", "tasks/s", "× one run", "service CPU µs/task", "created in s"),
        tuple(rows),
        (
            (
                f"Fans of {_EACH - 1} with joins. The runs are there before the one coordinator "
                "service starts: from its start until the last run has ended."
            ),
            *notes_of(measured),
        ),
    )


def _rates(one: Measured, key: str) -> list[float]:
    return [turn[key]["tasks"] / turn[key]["seconds"] for turn in one.found]
