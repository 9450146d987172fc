"""Runs that stand at some point for long, for those who measure what a coordinator does then."""

from __future__ import annotations

from distflow import Retry, TaskResult, TaskStatus, task, workflow
from tests.support.tasks.recording import note


@task
def unsure():
    """Nobody knows how it ended."""
    return TaskResult(TaskStatus.UNKNOWN, message="it did not say")


@task(retry=Retry(1, delay=600.0))
def patient():
    """Tried again in ten minutes."""
    raise ValueError("later")


@task
def tell(given, log):
    note(log, "told")
    return given


@workflow
def waiting(log: str) -> None:
    """Nothing is at work: one task waits for a time, one for a decision."""
    patient()
    tell(unsure(), log)
