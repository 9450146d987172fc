"""What a coordinator tells those who watch it: progress displays, loggers, plugins."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol


class Notice(NamedTuple):
    """Something that happened to a run.

    ``kind`` is ``workflow_start | workflow_end | task_start | task_end | task_skipped | task_retry
    | task_unknown | task_resolved``, or ``repair`` and ``warning``, which only have a message.
    ``at`` is Unix seconds; ``duration`` seconds.
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


Listener = Callable[[Notice], None]


class Signal(Protocol):
    """Anything that says whether to stop, such as ``threading.Event``."""

    def is_set(self) -> bool:
        """Whether to stop."""
