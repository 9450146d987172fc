"""What a run waits for when nothing moves, and the command that fixes it."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping

import click

from distflow.cli.ui.common import next_command
from distflow.cli.ui.views import step_command
from distflow.core.run import RunInfo
from distflow.core.waits import stall_waits
from distflow.errors import RedisDenied, RedisUnavailable
from distflow.ports.backend import Backend
from distflow.runs.facts import read_stall
from distflow.runs.outlook import stall_step
from distflow.runs.wait_words import stall_words

#: Seconds without a change until it is worked out what a run waits for, and how often from then on.
_STILL_SECONDS = 3.0
_AGAIN_SECONDS = 2.0


class Stall:
    """Notices that nothing moves. ``answer`` says why; empty while something moves."""

    def __init__(self) -> None:
        self._counts: Mapping[str, int] = {}
        self._due_at = 0.0
        self.answer = ""

    def is_due(self, counts: Mapping[str, int]) -> bool:
        """Whether it is time to work out what the run waits for."""
        now = time.monotonic()
        if counts != self._counts:
            self._counts = counts
            self.answer = ""
            self._due_at = now + _STILL_SECONDS
        if now < self._due_at:
            return False
        self._due_at = now + _AGAIN_SECONDS
        return True


def go_on_command(info: RunInfo, backend: Backend) -> str:
    """The command that continues a run.

    That is ``resume``; on the private Redis of ``distflow run`` without workers on the run's
    queues, it is a command that starts workers as well.
    """
    accept = ("--accept-gap",) if info.gap else ()
    resume = next_command("resume", info.run_id, *accept)
    private = click.get_current_context().params.get("data_dir") is not None
    if not private or info.gap or ":" not in info.workflow:
        return resume
    if any(backend.dispatcher.count_workers(info.queues).values()):
        return resume
    return next_command("run", info.workflow, "--run-id", info.run_id)


def describe_wait(
    impatient: Backend,
    run_id: str,
    counts: Mapping[str, int],
    queues: Collection[str],
    *,
    leading: bool,
) -> str:
    """What a run that stands still waits for; empty if its tasks are just slow.

    Args:
        impatient: the backend of the run; it tries every call once.
        run_id: the run.
        counts: its tasks by status.
        queues: the queues of its open tasks.
        leading: see :func:`~distflow.core.waits.stall_waits`.
    """
    try:
        with impatient.translate_errors():
            facts = read_stall(impatient, run_id, counts, queues, leading=leading)
    except (RedisUnavailable, RedisDenied) as error:
        return str(error)
    except OSError as error:
        return f"Redis cannot be reached: {error}"
    waits = stall_waits(facts, counts, leading=leading)
    step = stall_step(waits)
    return stall_words(waits, counts, step_command(step) if step else "")
