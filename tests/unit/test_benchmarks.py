"""What the benchmarks say must be what was measured: their shapes, their numbers, their files."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.results import NOTHING, Section, Table, load, number, save, spread
from benchmarks.shapes import MOST_PARENTS, Shape, make_shape
from benchmarks.show import markdown
from benchmarks.systems import OURS, PEERS, SYSTEMS, UNIT


@pytest.mark.parametrize(
    ("name", "size", "total"),
    [("fan", 5, 6), ("chain", 5, 5), ("layers", 3, 120), ("blocks", 7, 7)],
)
def test_a_shape_has_its_size_in_dependency_order(name: str, size: int, total: int) -> None:
    """Each task's dependencies come before it, and there are as many tasks as the table says."""
    shape = make_shape(name, size)
    assert shape.total == total
    assert all(parent < place for place, some in enumerate(shape.parents) for parent in some)


def test_layers_are_the_same_every_time() -> None:
    """The random parents come from one seed: rounds and systems run the same graph."""
    shape = Shape.layers(3, 10)
    assert shape == Shape.layers(3, 10)
    assert all(len(set(parents)) == MOST_PARENTS for parents in shape.parents[10:])


def test_blocks_are_fans_with_joins() -> None:
    """2,500 tasks are two full blocks and a smaller one, and every leaf has its join."""
    shape = Shape.blocks(2500)
    joins = [place for place in range(shape.total) if shape.is_join(place)]
    assert joins == [999, 1999, 2499]
    assert sum(len(shape.parents[join]) for join in joins) == 2500 - len(joins)


def test_numbers_are_medians_with_their_spread() -> None:
    """One bad round does not move the figure, and is seen beside it."""
    assert spread([3.0, 1.0, 100.0]) == "3 (1\N{EN DASH}100)"
    assert spread([0.0123456], 1000) == "12.3"
    assert spread([]) == NOTHING
    assert number(12345.6) == "12,346"


def test_results_are_kept_by_table(tmp_path: Path) -> None:
    """A table that is measured again replaces itself and no other; a report has all of them."""
    file = tmp_path / "results.json"
    table = Table("Speed", ("system", "tasks/s"), (("ours", "7"),), ("A note.",))
    old = Section("latency", {"cpu": "old"}, {"rounds": 1}, (table,), {"raw": [1.5]})
    other = Section("growth", {"cpu": "x"}, {"rounds": 1}, ())
    new = Section("latency", {"cpu": "new"}, {"rounds": 5}, (table,), {"raw": [2.5]})
    for section in (old, other, new):
        save(section, file)
    assert load(file) == [new, other]
    lines = list(markdown(new))
    assert {"| system | tasks/s |", "|---|---:|", "| ours | 7 |", "- A note."} <= set(lines)
    assert lines[-1] == "Measured with rounds 5, on: cpu new."


def test_every_system_is_in_a_table_and_starts_two_workers_at_most() -> None:
    """The unit, ours and the peers are all known by name, and compared on equal terms."""
    assert {UNIT, *OURS, *PEERS} <= SYSTEMS.keys()
    assert all(len(system.workers) <= 2 for system in SYSTEMS.values())


def test_what_is_not_there_is_named() -> None:
    """A configuration whose class cannot be imported is reported as such, not measured."""
    assert SYSTEMS[UNIT].missing() is None
    absent = SYSTEMS["fast"].__class__(
        "x", "x", "distflow", needs=("distflow_worker:NoSuchWorker",)
    )
    assert absent.missing() == "distflow_worker:NoSuchWorker"
