"""Announcer: tells whoever listens what happens to a run that is led here."""

from __future__ import annotations

from collections.abc import Callable

from distflow.core.run import Event
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
        self._translator = Translator(store, now, lambda _task: False)

    def tell(self, kind: str, task: str = "", *, status: str = "", message: str = "") -> None:
        """Something that no event of the stream tells."""
        if self._listener is not None:
            said = self._translator.other(EventKind(kind), task, status=status, message=message)
            self._listener(said)

    def tell_started(self, event: Event) -> None:
        """A task's function is called."""
        if self._listener is not None:
            self._listener(self._translator.started(event))

    def tell_finished(self, event: Event) -> None:
        """A task has an outcome."""
        if self._listener is not None:
            self._listener(self._translator.finished(event))

    def tell_waiting(self, event: Event) -> None:
        """A task runs again later."""
        if self._listener is not None:
            self._listener(self._translator.waiting(event))

    def tell_resolved(self, event: Event) -> None:
        """An unknown task was decided, or its hook could not tell."""
        if self._listener is not None:
            self._listener(self._translator.resolved(event))
