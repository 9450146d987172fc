"""A workflow that fans out over what it finds, in two stages, and a plan."""

from __future__ import annotations

from typing import Any

from distflow import plan, task, workflow


@task
def list_files(count: int) -> list[int]:
    """What there is."""
    return list(range(count))


@task
def clean(file: int, bad: int = -1) -> int:
    """Doubles it; fails for the bad one."""
    if file == bad:
        raise ValueError(f"file {file} is bad")
    return file * 2


@task
def measure(row: int | None) -> int:
    """Its size; 0 of what is missing."""
    return 0 if row is None else row + 1


@task
def add(values: list[int | None]) -> int:
    """Their sum, without what is missing."""
    return sum(value for value in values if value is not None)


@plan
def halves(rows: list[int | None]) -> Any:
    """The sums of both halves."""
    middle = len(rows) // 2
    return {"low": add.options(name="low")(rows[:middle]), "high": add(rows[middle:])}


@workflow
def fan_out(count: int = 3, bad: int = -1, allowed: int = 0) -> Any:
    """Finds files, cleans and measures each, and joins them in two ways."""
    rows = clean.map(list_files(count), bad=bad, max_failures=allowed or None)
    sizes = measure.map(rows)
    return {"rows": rows, "sum": add(sizes), "halves": halves(rows)}
