"""What a table of benchmarks is: made by ``benchmarks.tables``, shown, saved and reported."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any, Self

#: In place of a number that there is not.
NOTHING = "–"

#: From here on a number is shown without decimals.
_WHOLE_FROM = 100


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of text for people; ``records`` are the measured numbers behind them."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Section:
    """All that one command measured."""

    name: str
    machine: dict[str, str]
    settings: dict[str, Any]
    tables: tuple[Table, ...]
    records: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> Self:
        """The inverse of ``asdict``, by way of JSON."""
        tables = tuple(
            Table(
                table["title"],
                tuple(table["columns"]),
                tuple(tuple(row) for row in table["rows"]),
                tuple(table["notes"]),
            )
            for table in document["tables"]
        )
        return cls(**{**document, "tables": tables})


def save(section: Section, path: Path) -> None:
    """Put a section into a file of results, in place of an earlier one of its name."""
    sections = {one.name: one for one in load(path)} if path.exists() else {}
    sections[section.name] = section
    documents = [asdict(one) for one in sections.values()]
    path.write_text(json.dumps({"sections": documents}, indent=1), encoding="utf-8")


def load(path: Path) -> list[Section]:
    """The sections of a file of results.

    Raises:
        OSError: it cannot be read.
        ValueError: it is no file of results.
    """
    document = json.loads(path.read_text(encoding="utf-8"))
    return [Section.from_json(section) for section in document["sections"]]


def spread(values: Sequence[float], scale: float = 1.0) -> str:
    """``median (least–most)`` for people; one value stands alone."""
    if not values:
        return NOTHING
    middle = number(median(values) * scale)
    if len(values) == 1:
        return middle
    return f"{middle} ({number(min(values) * scale)}–{number(max(values) * scale)})"


def number(value: float) -> str:
    """Three significant digits; whole from 100 on."""
    return f"{value:,.0f}" if abs(value) >= _WHOLE_FROM else f"{value:.3g}"
