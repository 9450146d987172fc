"""How soon: a single task there and back, and the first start of many."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from statistics import median, quantiles
from typing import Any

from benchmarks.machine import describe_machine
from benchmarks.results import NOTHING, Section, Table, number, spread
from benchmarks.rounds import Measured, Settings, measure_rounds, notes_of
from benchmarks.stage import Stage
from benchmarks.systems import OURS, PEERS, UNIT

_SYSTEMS = (UNIT, "rq-stock", *OURS, *(peer for peer in PEERS if peer != "rq-depends"))
_SHORT_SYSTEMS = (UNIT, "stock", "fast")
_TRIPS, _SHORT_TRIPS = 200, 10
_WIDTH, _SHORT_WIDTH = 5000, 100


def measure(settings: Settings) -> Section:
    """Both, of every system, in rounds."""
    machine = describe_machine()
    trips = _SHORT_TRIPS if settings.short else _TRIPS
    width = _SHORT_WIDTH if settings.short else _WIDTH

    def run(stage: Stage) -> dict[str, Any]:
        # The stock worker of RQ alone would take a minute for so many jobs, and starts the first
        # one no later for it.
        fewer = min(width, _TRIPS) if stage.system.name == "rq-stock" else width
        return {
            "trips": stage.drive("trips", count=trips)["seconds"],
            "first_start": stage.drive("first_start", width=fewer)["seconds"],
        }

    names = _SHORT_SYSTEMS if settings.short else _SYSTEMS
    measured = measure_rounds(settings.choose(names, _SYSTEMS), settings, run)
    records = {name: {"error": one.error, "rounds": one.found} for name, one in measured.items()}
    tables = (_table(measured, trips, width),)
    return Section("latency", machine, asdict(settings), tables, records)


def _table(measured: Mapping[str, Measured], trips: int, width: int) -> Table:
    rows = []
    references = [_medians(measured[name]) if name in measured else [] for name in _REFERENCES]
    for one in measured.values():
        middles = _medians(one)
        highs = [quantiles(found["trips"], n=100)[98] for found in one.found]
        rows.append(
            (
                one.system.label,
                spread(middles, 1000),
                spread(highs, 1000),
                *(
                    number(median(middles) / median(theirs)) if middles and theirs else NOTHING
                    for theirs in references
                ),
                spread([found["first_start"] for found in one.found], 1000),
            )
        )
    return Table(
        "Latency",
        ("system", "p50 ms", "p99 ms", "p50 × raw RQ", "p50 × raw RQ, stock", "first start ms"),
        tuple(rows),
        (
            (
                f"p50 and p99 of {trips} single tasks in each round, one after another: from the "
                "submit call to the client's having the outcome."
            ),
            f"First start: from the submit call of {width} independent tasks until the first runs.",
            *notes_of(measured),
        ),
    )


#: With what a single round trip is compared.
_REFERENCES = (UNIT, "rq-stock")


def _medians(one: Measured) -> list[float]:
    return [median(found["trips"]) for found in one.found]
