"""Tasks that fail in ways of which some are worth another try."""

from __future__ import annotations

from distflow import GiveUp, Retry, RetryAfter, task, workflow
from tests.support.tasks.recording import note


class Busy(ConnectionError):
    """A service says that it has no time."""


@task
def fail_with(kind, *, ctx):
    """Fail in the first attempt, in one of these ways."""
    note(ctx.params["log"], ctx.task, ctx.attempt)
    if ctx.attempt > 1:
        return kind
    if kind == "busy":
        raise Busy("come back later")
    if kind == "later":
        raise RetryAfter(0.01) from Busy("too many requests")
    if kind == "never":
        raise GiveUp("there is no such customer")
    raise ValueError("not a number")


@workflow
def waiting(log: str):
    """One task that waits for long after its first attempt."""
    fail_with.options(name="patient", retry=Retry(1, delay=600.0))("busy")
