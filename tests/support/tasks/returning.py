"""Workflows that return something."""

from __future__ import annotations

from typing import Any

from distflow import TaskResult, TaskStatus, task, workflow


@task
def number(value: int) -> int:
    """A value."""
    return value


@task
def add(values: list[int]) -> int:
    """Their sum."""
    return sum(values)


@task
def fail(text: str) -> None:
    """Always fails."""
    raise ValueError(text)


@task
def skip() -> TaskResult:
    """Says that it was skipped."""
    return TaskResult(TaskStatus.SKIPPED)


@workflow
def sums(count: int = 3) -> Any:
    """Numbers and their sum."""
    numbers = [number.options(name=f"n{value}")(value) for value in range(count)]
    bad = fail.options(continue_on_error=True)("no")
    return {"sum": add(numbers), "parts": tuple(numbers), "bad": [bad, skip()], "of": count}


@workflow
def failing() -> Any:
    """Fails twice: the first failure has the last name."""
    first = fail.options(name="z")("it broke")
    fail.options(name="a")("then this")
    return first


@workflow
def plain(text: str = "done") -> str:
    """Returns what it was given, and has one task."""
    number(1)
    return text
