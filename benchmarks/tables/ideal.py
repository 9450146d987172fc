"""How close a run comes to what is ideal: long tasks, costly imports, and another run beside it."""

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

#: Case -> its size, that of the short form, and what it is.
_CASES: Mapping[str, tuple[float, float, str]] = {
    "pair": (1.0, 0.3, "two tasks of {size:g} s"),
    "stages": (1.0, 0.2, "six stages of two tasks of {size:g} s"),
    "forks": (1.0, 0.2, "six times two of {size:g} s behind a short one"),
    "heavy": (120, 20, "{size:g} × 20 ms, the import 0.5 s"),
    "beside": (6000, 400, "10 ms, priority 9, beside {size:,g} × 10 ms"),
}


def measure(settings: Settings) -> Section:
    """Every case, each time by a new client, in rounds."""
    machine = describe_machine()
    sizes = {name: case[1] if settings.short else case[0] for name, case in _CASES.items()}

    def run(stage: Stage) -> dict[str, Any]:
        return {name: stage.drive("ideal", case=name, size=size) for name, size in sizes.items()}

    measured = measure_rounds(settings.choose(_SYSTEMS, OURS), settings, run)
    records = {name: {"error": one.error, "rounds": one.found} for name, one in measured.items()}
    return Section("ideal", machine, asdict(settings), (_table(measured, sizes),), records)


def _table(measured: Mapping[str, Measured], sizes: Mapping[str, float]) -> Table:
    rows = []
    for one in measured.values():
        for name, size in sizes.items():
            found = [turn[name] for turn in one.found]
            rows.append(
                (
                    one.system.label,
                    _CASES[name][2].format(size=size),
                    spread([turn["ideal"] for turn in found]),
                    spread([turn["seconds"] for turn in found]),
                    spread([turn["seconds"] / turn["ideal"] for turn in found]),
                )
            )
    return Table(
        "Ideal and real",
        ("system", "what", "ideal s", "real s", "× ideal"),
        tuple(rows),
        (
            (
                "From the submit call to the client's seeing the end; the client has timed none of "
                "the functions before. Ideal is what two workers need for the calls alone, and one "
                "import each; for the task beside another run, what it takes on idle workers."
            ),
            *notes_of(measured),
        ),
    )
