"""A run that grows, beside the same graph built beforehand, and what it costs other runs."""

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
_SHORT_SYSTEMS = ("stock",)
_SIZE, _SHORT_SIZE = 100_000, 500
_RUNS, _EACH = 20, 100
_SHORT_RUNS, _SHORT_EACH = 2, 5


def measure(settings: Settings) -> Section:
    """Both graphs, and other runs beside the one that grows, in rounds."""
    machine = describe_machine()
    size = _SHORT_SIZE if settings.short else _SIZE
    runs, each = (_SHORT_RUNS, _SHORT_EACH) if settings.short else (_RUNS, _EACH)

    def run(stage: Stage) -> dict[str, Any]:
        return {
            "found": stage.drive("mapped", size=size, found=True),
            "built": stage.drive("mapped", size=size, found=False),
            "beside": stage.drive("beside", size=size, runs=runs, each=each),
        }

    names = _SHORT_SYSTEMS if settings.short else _SYSTEMS
    measured = measure_rounds(settings.choose(names, OURS), settings, run)
    records = {name: {"error": one.error, "rounds": one.found} for name, one in measured.items()}
    tables = (_speeds(measured, size), _delays(measured, size, runs))
    return Section("mapped", machine, asdict(settings), tables, records)


def _speeds(measured: Mapping[str, Measured], size: int) -> Table:
    rows = []
    for one in measured.values():
        built = _rates(one, "built")
        for key, label in (("found", "found at run time"), ("built", "built beforehand")):
            rates, found = _rates(one, key), [turn[key] for turn in one.found]
            rows.append(
                (
                    one.system.label,
                    label,
                    spread(rates),
                    number(median(rates) / median(built)) if built else NOTHING,
                    spread([turn["client_cpu_seconds"] / turn["tasks"] for turn in found], 1e6),
                    spread([turn["coordinate_bytes"] / turn["tasks"] for turn in found]),
                    spread([turn["redis_bytes"] / turn["tasks"] for turn in found]),
                )
            )
    columns = ("tasks/s", "× built", "client CPU µs", "client B", "Redis B")
    return Table(
        "A graph that grows",
        ("system", "the graph is", *columns),
        tuple(rows),
        (
            (
                f"A list of {size:,}, mapped through two stages element by element, and joined. "
                "From the submit call to the client's seeing the end; per task. The client "
                "coordinates; its bytes are the growth of its peak once the graph is described."
            ),
            *notes_of(measured),
        ),
    )


def _delays(measured: Mapping[str, Measured], size: int, runs: int) -> Table:
    rows = [
        (
            one.system.label,
            spread([turn["beside"]["tasks"] / turn["beside"]["seconds"] for turn in one.found]),
            spread([turn["beside"]["longest_seconds"] for turn in one.found], 1000),
        )
        for one in measured.values()
    ]
    return Table(
        f"{runs} other runs of one service",
        ("system", "tasks/s", "longest delay ms"),
        tuple(rows),
        (
            (
                f"Beside a list of {size:,} that is mapped as above. The delay is the longest "
                "time for which the service looked at no run's events."
            ),
        ),
    )


def _rates(one: Measured, key: str) -> list[float]:
    return [turn[key]["tasks"] / turn[key]["seconds"] for turn in one.found]
