"""Announcer: reports what happens to a run that this process leads."""

from __future__ import annotations

from collections.abc import Callable, Collection

from distflow.core.model import Task
from distflow.core.run import Event
from distflow.core.status import TaskStatus
from distflow.events.notice import Listener
from distflow.events.translation import Translator
from distflow.events.vocabulary import EventKind
from distflow.ports.run_store import RunStore


class Announcer:
    """Reports to one listener, or to nobody.

    Args:
        store: the run.
        listener: called with notices; it must not raise.
        now: Unix seconds on Redis's clock.
    """

    def __init__(
        self, store: RunStore, listener: Listener | None, now: Callable[[], float]
    ) -> None:
        self._listener = listener
        self._translator = Translator(store, now)

    def begin(self, started: Collection[str]) -> None:
        """The run was read; ``started`` are its running tasks that had been reported as started."""
        self._translator.begin(started)

    def tell(self, kind: str, task: str = "", *, status: str = "", message: str = "") -> None:
        """Report something that is not in the event stream."""
        if self._listener is not None:
            said = self._translator.other(EventKind(kind), task, status=status, message=message)
            self._listener(said)

    def tell_event(self, event: Event, task: Task, before: TaskStatus) -> None:
        """Report an event of the stream; ``before`` is the task's status before it."""
        listener = self._listener
        # A run has many thousand events: without plugins and callbacks none becomes a notice.
        if listener is None or getattr(listener, "is_silent", False):
            return
        for notice in self._translator.notices_of(event, task, before):
            listener(notice)
