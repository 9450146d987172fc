"""Workflows of whose tasks a test says what they do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from distflow import Workflow, task, workflow

#: What the tasks :func:`meddle` do, in their order.
MEDDLING: list[Callable[[], object]] = []


def meddle() -> Any:
    """Do what is next, and return what that returns."""
    return MEDDLING.pop(0)()


@task
def step() -> Any:
    return meddle()


@task
def after(_before: Any) -> str:
    return "done"


@workflow
def meddled():
    """A step, and one behind it."""
    after(step())


def skipped(_deps: Any) -> bool:
    """A condition."""
    return False


def broken(_deps: Any) -> bool:
    """A condition that cannot be asked."""
    raise LookupError("no such table")


def conditional() -> Workflow:
    """A task that is left out, and one whose condition fails."""
    dag = Workflow("conditional")
    dag.add("first", meddle)
    dag.add("unwanted", meddle, condition=skipped)
    dag.add("unclear", meddle, condition=broken)
    return dag


conditions = conditional()


@workflow
def bad(day: str):
    raise KeyError(day)
