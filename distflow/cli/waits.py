"""What a run waits for when nothing moves, and the command that mends it."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

import click
from redis.exceptions import RedisError
from rq.suspension import is_suspended

from distflow.cli.common import next_command
from distflow.core.run import RunInfo
from distflow.errors import RedisUnavailable
from distflow.ports import Dispatcher
from distflow.store.patience import describe_trouble

if TYPE_CHECKING:
    # Not for commands that only look at where runs stand: it costs them as much as all the rest.
    from distflow.client import Client

#: Seconds without a change after which a run is asked what it waits for, and how often then.
_STILL_SECONDS = 3.0
_AGAIN_SECONDS = 2.0


class Stall:
    """Notices that nothing moves. ``answer`` is what was found; empty while something does."""

    def __init__(self) -> None:
        self._counts: Mapping[str, int] = {}
        self._due_at = 0.0
        self.answer = ""

    def is_due(self, counts: Mapping[str, int]) -> bool:
        """Whether it is time to ask what the run waits for."""
        now = time.monotonic()
        if counts != self._counts:
            self._counts = counts
            self.answer = ""
            self._due_at = now + _STILL_SECONDS
        if now < self._due_at:
            return False
        self._due_at = now + _AGAIN_SECONDS
        return True


def go_on_command(info: RunInfo, dispatcher: Dispatcher) -> str:
    """The command that goes on with a run.

    That is ``resume``; on the private Redis of ``distflow run``, where nobody listens to the
    run's queues, it is one that starts workers as well.
    """
    accept = ("--accept-gap",) if info.gap else ()
    resume = next_command("resume", info.run_id, *accept)
    private = click.get_current_context().params.get("data_dir") is not None
    if not private or info.gap or ":" not in info.workflow:
        return resume
    if any(dispatcher.count_workers(info.queues).values()):
        return resume
    return next_command("run", info.workflow, "--run-id", info.run_id)


def describe_wait(
    client: Client, counts: Mapping[str, int], queues: Collection[str], *, leading: bool
) -> str:
    """What a run that stands still waits for; empty where its tasks simply take their time.

    Args:
        client: its Redis.
        counts: its tasks by status.
        queues: those that its open tasks are for.
        leading: whether the counts are this process's own. What another coordinator published
            may be out of date, where that one has died: nothing is concluded from it.
    """
    try:
        workers = client.impatient_dispatcher.count_workers(sorted(queues))
        suspended = is_suspended(client.redis)
    except RedisUnavailable as error:
        return str(error)
    except (RedisError, OSError) as error:
        return describe_trouble(error)
    if counts["running"]:
        return ""
    idle = [queue for queue, count in workers.items() if not count]
    if suspended and counts["queued"]:
        return "the workers are suspended: `rq resume` lets them go on"
    if idle:
        names = ", ".join(map(repr, idle))
        what = f"queue {names} has" if len(idle) == 1 else f"queues {names} have"
        return f"{what} no workers: start one by `{next_command('worker', *idle)}`"
    if not leading:
        return ""
    if counts["queued"]:
        return "the workers on its queues are busy with other work"
    if counts["waiting"]:
        return f"{counts['waiting']} tasks wait for the time of their next attempt"
    return ""
