"""Announcer: tells a listener what happens to a run, with the reasons that events leave out."""

from __future__ import annotations

from collections.abc import Callable

from distflow.core.model import TaskResult
from distflow.core.run import Event
from distflow.core.status import TaskStatus
from distflow.events.notice import Listener, Notice
from distflow.ports.run_store import RunStore
from distflow.wire.codec import decode_result

#: Status of a finished task -> the event that tells of it; ``task_end`` of the others.
_EVENT_OF = {"unknown": "task_unknown", "skipped": "task_skipped"}


def decision_words(event: Event) -> tuple[str, str]:
    """The kind of notice that tells of a ``resolved`` event, and its message."""
    said = f"{event.worker}: {event.note}" if event.note else event.worker
    if event.status == TaskStatus.UNKNOWN:
        return "warning", f"{event.task} stays unknown, by {said}"
    return "task_resolved", f"by {said}"


class _ResultReader:
    """Reads the outcome of a task once.

    Args:
        store: its run.
        task: its name.
    """

    def __init__(self, store: RunStore, task: str) -> None:
        self._store = store
        self._task = task
        self._found: list[TaskResult | None] = []

    def __call__(self) -> TaskResult | None:
        """The outcome; values of types that are not registered here stay as they are."""
        if not self._found:
            packed = self._store.read_results([self._task])[0]
            self._found = [None if packed is None else decode_result(packed, opaque=True)]
        return self._found[0]


class Announcer:
    """Tells one listener, or nobody.

    Args:
        store: the run; it is asked why a task failed.
        listener: told; it must not raise.
        now: Unix seconds on Redis's clock.
    """

    def __init__(
        self, store: RunStore, listener: Listener | None, now: Callable[[], float]
    ) -> None:
        self._store = store
        self._listener = listener
        self._now = now

    def tell(self, kind: str, task: str = "", *, status: str = "", message: str = "") -> None:
        """Something that happened to the run, or to a task that never ran."""
        reader = _ResultReader(self._store, task) if task and status else None
        self._hand_on(Event("", "", task, status), kind, message, reader)

    def tell_started(self, event: Event) -> None:
        """A task's function is called."""
        if self._listener is None:
            return
        self._hand_on(event._replace(status="running"), "task_start", "")

    def tell_finished(self, event: Event) -> None:
        """A task has an outcome; where it is no success, with what it says of itself."""
        if self._listener is None:
            return
        why = ""
        reader = _ResultReader(self._store, event.task)
        if event.status != TaskStatus.SUCCESS:
            result = reader()
            if result is not None:
                why = result.error or result.message or ""
        self._hand_on(event, _EVENT_OF.get(event.status, "task_end"), why, reader)

    def tell_waiting(self, event: Event) -> None:
        """A task runs again later."""
        left = event.not_before / 1000 - self._now()
        again = f"it runs again in {left:.1f} s" if left > 0 else "it runs again"
        self._hand_on(event, "task_retry", f"{event.note}; {again}" if event.note else again)

    def tell_resolved(self, event: Event) -> None:
        """An unknown task was decided, or its hook could not tell."""
        kind, message = decision_words(event)
        self._hand_on(event, kind, message, _ResultReader(self._store, event.task))

    def _hand_on(
        self, event: Event, kind: str, message: str, reader: _ResultReader | None = None
    ) -> None:
        if self._listener is None:
            return
        run_id, at = self._store.run_id, self._now()
        told = (event.task, event.status, event.attempt, event.worker, event.duration)
        notice = Notice(kind, run_id, at, *told, message)
        self._listener(notice if reader is None else notice._replace(read_result=reader))
