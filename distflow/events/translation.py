"""Translator: makes notices of what the stream of a run tells, for who leads it and who follows."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator

from distflow.core.model import Task, TaskResult
from distflow.core.run import Event
from distflow.core.status import OUTCOMES, RUNNING, TaskStatus
from distflow.events.notice import Notice
from distflow.events.vocabulary import EventKind
from distflow.ports.run_store import RunStore
from distflow.wire.codec import decode_result

#: Status of a finished task -> the event that tells of it; TASK_END of the others.
_END_OF = {
    TaskStatus.UNKNOWN.value: EventKind.TASK_UNKNOWN,
    TaskStatus.SKIPPED.value: EventKind.TASK_SKIPPED,
}


class ResultReader:
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


class Translator:
    """Translates the events of one run.

    Args:
        store: the run; it is asked why a task failed.
        now: Unix seconds on Redis's clock.
    """

    def __init__(self, store: RunStore, now: Callable[[], float]) -> None:
        self._store = store
        self._now = now
        #: Tasks at work of whose start was told.
        self._started: set[str] = set()
        #: Tasks that became unknown: their worker may tell after all how they ended.
        self._unknown: set[str] = set()

    def begin(self, started: Collection[str]) -> None:
        """What follows happens after these tasks at work were started."""
        self._started = set(started)

    def notices_of(
        self, event: Event, task: Task | None = None, before: TaskStatus | None = None
    ) -> Iterator[Notice]:
        """What there is to tell of an event: nothing, one notice, or two.

        Args:
            event: the next one of the run.
            task: that which it is about. Where it is None, no claim is told as a start.
            before: its status before the event, if that is known.
        """
        name, kind = event.task, event.kind
        if kind == "started" or (kind == "claimed" and task is not None and _starts_at_claim(task)):
            yield from self._start(event)
        elif kind in ("finished", "waiting"):
            # Where nothing told of its start, it was short or its worker is of 0.1: how long it
            # took says whether its function was called. The late outcome of an unknown task is that
            # of an attempt that was told of.
            if event.duration and before not in OUTCOMES and name not in self._unknown:
                yield from self._start(event)
            self._started.discard(name)
            is_unknown = kind == "finished" and event.status == TaskStatus.UNKNOWN
            (self._unknown.add if is_unknown else self._unknown.discard)(name)
            yield self.finished(event) if kind == "finished" else self.waiting(event)
        elif kind == "released":
            self._started.discard(name)
        elif kind == "resolved":
            if event.status != TaskStatus.UNKNOWN:
                self._unknown.discard(name)
            yield self.resolved(event)
        elif kind == "repaired":
            yield self.other(EventKind.REPAIR, message=event.note)

    def _start(self, event: Event) -> Iterator[Notice]:
        """Told once per attempt that calls the function."""
        if event.task not in self._started:
            self._started.add(event.task)
            yield self.started(event)

    # One event each

    def started(self, event: Event) -> Notice:
        """A task's function is called."""
        # Where its end tells of it, that has a duration: a start has none.
        began = event._replace(status=RUNNING, duration=0.0)
        return self._make(EventKind.TASK_START, began, "")

    def finished(self, event: Event) -> Notice:
        """A task has an outcome; where it is no success, with what it says of itself."""
        why, reader = "", ResultReader(self._store, event.task)
        if event.status != TaskStatus.SUCCESS:
            result = reader()
            if result is not None:
                why = result.error or result.message or ""
        return self._make(_END_OF.get(event.status, EventKind.TASK_END), event, why, reader)

    def waiting(self, event: Event) -> Notice:
        """A task runs again later."""
        left = event.not_before / 1000 - self._now()
        again = f"it runs again in {left:.1f} s" if left > 0 else "it runs again"
        return self._make(
            EventKind.TASK_RETRY, event, f"{event.note}; {again}" if event.note else again
        )

    def resolved(self, event: Event) -> Notice:
        """An unknown task was decided, or its hook could not tell."""
        said = f"{event.worker}: {event.note}" if event.note else event.worker
        if event.status == TaskStatus.UNKNOWN:
            return self._make(EventKind.WARNING, event, f"{event.task} stays unknown, by {said}")
        reader = ResultReader(self._store, event.task)
        return self._make(EventKind.TASK_RESOLVED, event, f"by {said}", reader)

    def other(
        self, kind: EventKind, task: str = "", *, status: str = "", message: str = ""
    ) -> Notice:
        """Something that no event tells: of the run, or of a task that never ran."""
        reader = ResultReader(self._store, task) if task and status else None
        return self._make(kind, Event("", "", task, status), message, reader)

    def _make(
        self, kind: EventKind, event: Event, message: str, reader: ResultReader | None = None
    ) -> Notice:
        told = (event.task, event.status, event.attempt, event.worker, event.duration)
        notice = Notice(kind.value, self._store.run_id, self._now(), *told, message)
        return notice if reader is None else notice._replace(read_result=reader)


def _starts_at_claim(task: Task) -> bool:
    """Whether whoever claims a task calls its function at once. A worker asks a condition first,
    and marks the start of an ``at_most_once`` task: then an event of its own tells of the start.
    """
    return task.condition is None and task.effects != "at_most_once"
