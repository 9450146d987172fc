"""What a coordinator tells those who watch it: progress displays, loggers, plugins."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import NamedTuple, Protocol

from distflow.core.model import TaskResult


def _nothing() -> None:
    """The result of a notice that is about no outcome."""


class Notice(NamedTuple):
    """Something that happened to a run.

    ``kind`` is one of :data:`~distflow.events.vocabulary.EVENTS`; the table there says which of the
    other fields it has. ``at`` is Unix seconds; ``duration`` seconds.
    """

    kind: str
    run_id: str
    at: float
    task: str = ""
    status: str = ""
    attempt: int = 0
    worker: str = ""
    duration: float = 0.0
    message: str = ""
    #: Reads the outcome that this is about: most who listen do not ask for it.
    read_result: Callable[[], TaskResult | None] = _nothing
    #: Whether it is of a dry run: nothing has happened.
    simulated: bool = False

    @property
    def result(self) -> TaskResult | None:
        """The outcome that a ``task_end``, ``task_skipped``, ``task_unknown`` or ``task_resolved``
        tells of, read from the run when it is first asked for; None for other kinds, and for a task
        that has no outcome (any more).

        Raises:
            RedisUnavailable: it is away.
        """
        return self.read_result()


#: Told of everything.
Listener = Callable[[Notice], None]

#: Registered for one kind of event.
Callback = Listener


class Signal(Protocol):
    """Anything that says whether to stop, such as ``threading.Event``."""

    def is_set(self) -> bool:
        """Whether to stop."""


class Interrupt(threading.Event):
    """When it is set, a coordinator leaves its run: as it is, to be resumed by a person."""

    #: Set before it: the run goes on, under whoever leads it next.
    hands_over = False
