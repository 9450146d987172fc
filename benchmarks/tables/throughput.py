"""Tasks per second, the ratios to raw RQ and to each peer, and what a task costs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from statistics import median
from typing import Any

from benchmarks.machine import describe_machine
from benchmarks.results import NOTHING, Section, Table, number, spread
from benchmarks.rounds import Measured, Settings, measure_rounds, notes_of
from benchmarks.stage import Stage
from benchmarks.systems import OURS, PEERS, UNIT, System

_SHAPES = ("fan", "chain", "layers")
_SIZES = {"fan": 5000, "chain": 500, "layers": 50}
#: A chain of ours is over too soon to be measured well.
_OUR_SIZES = {**_SIZES, "chain": 2000}
_SHORT_SIZES = {"fan": 200, "chain": 50, "layers": 4}
_SYSTEMS = (UNIT, *OURS, *PEERS)
_SHORT_SYSTEMS = (UNIT, "stock", "stock-idempotent", "fast")


def measure(settings: Settings) -> Section:
    """Every system with every shape, in rounds."""
    machine = describe_machine()
    systems = settings.choose(_SHORT_SYSTEMS if settings.short else _SYSTEMS, _SYSTEMS)
    sizes = {system.name: _sizes(system, settings) for system in systems}

    def run(stage: Stage) -> dict[str, Any]:
        return stage.drive("shapes", shapes=list(sizes[stage.system.name].items()))

    measured = measure_rounds(systems, settings, run)
    tables = [_speed(measured), _ratios(measured), *(_costs(measured, name) for name in _SHAPES)]
    records = {
        name: {"error": one.error, "sizes": sizes[name], "rounds": one.found}
        for name, one in measured.items()
    }
    return Section("throughput", machine, asdict(settings), tuple(tables), records)


def _sizes(system: System, settings: Settings) -> dict[str, int]:
    if settings.short:
        # Small enough for every system.
        sizes = _SHORT_SIZES
    elif system.is_distflow:
        sizes = _OUR_SIZES
    else:
        sizes = {**_SIZES, **system.sizes}
    return {name: size for name, size in sizes.items() if name not in system.lacks}


def _rates(one: Measured, shape: str) -> list[float]:
    """Tasks per second, of each round."""
    return [
        found[shape]["tasks"] / found[shape]["seconds"] for found in one.found if shape in found
    ]


def _speed(measured: Mapping[str, Measured]) -> Table:
    unit = _rates(measured[UNIT], "fan") if UNIT in measured else []
    rows = []
    for one in measured.values():
        row = [one.system.label]
        for shape in _SHAPES:
            rates = _rates(one, shape)
            tasks = [found[shape]["tasks"] for found in one.found if shape in found]
            row.append(f"{tasks[0]:,}" if tasks else NOTHING)
            row.append(spread(rates))
            row.append(number(median(rates) / median(unit)) if rates and unit else NOTHING)
        rows.append(tuple(row))
    columns = [
        column for shape in _SHAPES for column in (f"{shape}: tasks", f"{shape}: tasks/s", "× unit")
    ]
    return Table(
        "Throughput",
        ("system", *columns),
        tuple(rows),
        (
            "The unit is raw RQ's independent jobs: enqueue_many, two SimpleWorkers.",
            (
                "Medians over the rounds (least–most). From the submit call to the client's seeing "
                "the end; the client is a process of its own, and coordinates distflow's runs."
            ),
            *notes_of(measured),
        ),
    )


def _ratios(measured: Mapping[str, Measured]) -> Table:
    """How many times as fast ours are as each peer, shape by shape."""
    rows = []
    for ours in OURS:
        for shape in _SHAPES:
            mine = _rates(measured[ours], shape) if ours in measured else []
            if not mine:
                continue
            row = [measured[ours].system.label, shape]
            for peer in PEERS:
                theirs = _rates(measured[peer], shape) if peer in measured else []
                row.append(number(median(mine) / median(theirs)) if theirs else NOTHING)
            rows.append(tuple(row))
    return Table("Times as fast as each peer", ("system", "shape", *PEERS), tuple(rows))


_COST_COLUMNS = (
    "system",
    "Redis commands",
    "requests",
    "Redis CPU µs",
    "scripts µs",
    "client CPU µs",
    "describe µs",
    "Redis bytes",
    "client MiB",
    "worker MiB",
    "all MiB",
)


def _costs(measured: Mapping[str, Measured], shape: str) -> Table:
    rows = []
    for one in measured.values():
        rounds = [found for found in one.found if shape in found]
        if not rounds:
            continue
        rows.append(
            (
                one.system.label,
                *(
                    spread([found[shape][key] / found[shape]["tasks"] for found in rounds], scale)
                    for key, scale in (
                        ("redis_commands", 1.0),
                        ("redis_requests", 1.0),
                        ("redis_cpu_seconds", 1e6),
                        ("redis_script_seconds", 1e6),
                        ("client_cpu_seconds", 1e6),
                        ("describe_seconds", 1e6),
                        ("redis_bytes", 1.0),
                    )
                ),
                *(
                    number(max(found[key] for found in rounds) / 2**20)
                    for key in ("client_peak_bytes", "worker_peak_bytes", "all_peak_bytes")
                ),
            )
        )
    return Table(
        f"What a task of the {shape} costs",
        _COST_COLUMNS,
        tuple(rows),
        (
            (
                "Commands include those inside scripts; requests are reads of the server from its "
                "clients. The client coordinates where the system is distflow. Memory is the peak "
                "of one process, and of all at once, Redis included, over all shapes; what forks "
                "share counts for each."
            ),
        ),
    )
