"""Announcer: tells whoever listens what happens to a run that is led here."""

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
    """Tells one listener, or nobody.

    Args:
        store: the run.
        listener: told; it must not raise.
        now: Unix seconds on Redis's clock.
    """

    def __init__(
        self, store: RunStore, listener: Listener | None, now: Callable[[], float]
    ) -> None:
        self._listener = listener
        self._translator = Translator(store, now)

    def begin(self, started: Collection[str]) -> None:
        """The run was read, whose tasks that are at work had been started or not."""
        self._translator.begin(started)

    def tell(self, kind: str, task: str = "", *, status: str = "", message: str = "") -> None:
        """Something that no event of the stream tells."""
        if self._listener is not None:
            said = self._translator.other(EventKind(kind), task, status=status, message=message)
            self._listener(said)

    def tell_event(self, event: Event, task: Task, before: TaskStatus) -> None:
        """What an event of the stream tells of a task, which had a status before it."""
        if self._listener is not None:
            for notice in self._translator.notices_of(event, task, before):
                self._listener(notice)
