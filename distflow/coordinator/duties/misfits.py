"""MisfitDuty: what becomes of tasks that workers refuse, since something is missing there."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence

from distflow.coordinator.mirror import RunMirror
from distflow.coordinator.settings import CoordinatorSettings
from distflow.core.misfit import (
    Held,
    MisfitWatch,
    Registration,
    ScopeIndex,
    misfit_result,
    name_worker,
    wanted_of,
)
from distflow.core.run import Refusal, RefusalKey
from distflow.core.state import TaskStateManager
from distflow.core.status import RunStatus
from distflow.events.announcer import Announcer
from distflow.ports.dispatcher import Dispatcher
from distflow.ports.run_store import RunStore

#: Seconds after which the refusals of a worker that is gone are forgotten.
_GONE_SECONDS = 60.0


class MisfitDuty:
    """Holds back what every worker of a queue has refused, tries it now and then, and lets it fail
    when no other worker has come in time. Costs nothing while nothing is refused.

    Args:
        led: the run.
        store: the same.
        dispatcher: knows the workers.
        announcer: told of refusals.
        settings: intervals and patience.
    """

    def __init__(
        self,
        led: RunMirror,
        store: RunStore,
        dispatcher: Dispatcher,
        announcer: Announcer,
        settings: CoordinatorSettings,
    ) -> None:
        self._led = led
        self._store = store
        self._dispatcher = dispatcher
        self._announcer = announcer
        self._settings = settings
        self._watch = MisfitWatch(settings.misfit_seconds)
        self._refusals: Sequence[Refusal] = ()
        self._live: Mapping[str, set[Registration]] = {}
        #: Found when the first refusal comes.
        self._scopes: ScopeIndex | None = None
        #: What is held back, and in which state that was said.
        self._held: frozenset[Held] = frozenset()
        self._state: TaskStateManager = led.state
        #: What was told already: of one worker, and of all.
        self._told: set[RefusalKey] = set()
        self._told_held: set[Held] = set()
        #: Since when workers are gone that have refused something.
        self._gone: dict[Registration, float] = {}
        #: When to look again, on the monotonic clock.
        self.due = float("inf")

    def look(self) -> None:
        """Look again at what was refused, if something was, and do what follows."""
        led, now = self._led, time.monotonic()
        able = list(self._find_able(led.take_ran()))
        if not able and not led.was_refused and now < self.due:
            return
        led.was_refused = False
        self._refusals = self._store.read_refusals()
        led.notes_who_runs = bool(self._refusals)
        self.due = now + self._settings.watch_seconds if self._refusals else float("inf")
        if not self._refusals and not self._held:
            return
        self._live = self._dispatcher.list_workers(led.outbox.queues)
        forgotten = {*able, *self._find_gone(now)}
        self._refusals = [each for each in self._refusals if each.key not in forgotten]
        self._watch.look(self._refusals, self._live, now)
        self._tell()
        failed: dict[int, Held] = {}
        if led.status == RunStatus.RUNNING:
            failed, over = self._find_failed(now)
            forgotten.update(over)
        self._settle(failed, forgotten)
        self._hold(now)

    # How

    def _find_able(self, ran: Iterable[tuple[int, str]]) -> Iterable[RefusalKey]:
        """The refusals of workers that have run such a task after all: they were mended."""
        for index, worker in dict.fromkeys(ran):
            mine = [each for each in self._refusals if each.worker == worker]
            for refusal in mine:
                if not refusal.scope or index in self._index.tasks(refusal.scope):
                    yield refusal.key

    def _find_gone(self, now: float) -> Iterable[RefusalKey]:
        """The refusals of workers that have been gone for a while: there may be ever more."""
        live = {worker for workers in self._live.values() for worker in workers}
        by = {each.key: Registration(each.worker, each.born) for each in self._refusals}
        gone = set(by.values()) - live
        self._gone = {worker: self._gone.get(worker, now) for worker in gone}
        return [
            key
            for key, worker in by.items()
            if worker in gone and now - self._gone[worker] >= _GONE_SECONDS
        ]

    def _tell(self) -> None:
        for refusal in self._refusals:
            # A job that cannot be read is told as a repair.
            if refusal.key in self._told or not (refusal.worker and refusal.scope):
                continue
            self._told.add(refusal.key)
            what = wanted_of(refusal)
            self._announcer.tell(
                "warning", message=f"{name_worker(refusal)} cannot run {what}: {refusal.words}"
            )
        for held in sorted(self._watch.held - self._told_held):
            self._told_held.add(held)
            mine = self._refused(held)
            seconds = self._settings.misfit_seconds
            if mine[0].worker and seconds:
                self._announcer.tell(
                    "warning",
                    message=f"no worker on queue {held.queue!r} can run {wanted_of(mine[0])}: it "
                    f"fails unless one that can comes within {seconds:g} s",
                )
        self._told_held &= self._watch.held

    def _refused(self, held: Held) -> list[Refusal]:
        """The refusals of something by the workers of a queue that are there."""
        live = self._live[held.queue]
        return [
            each
            for each in self._refusals
            if each.scope == held.scope and Registration(each.worker, each.born) in live
        ]

    def _find_failed(self, now: float) -> tuple[dict[int, Held], list[RefusalKey]]:
        """The tasks and hooks for which no worker has come, and the refusals that then say nothing
        more: what needs the same later is tried anew.
        """
        failed: dict[int, Held] = {}
        over: list[RefusalKey] = []
        for held in sorted(self._watch.held):
            if self._watch.has_failed(held, now):
                over += [refusal.key for refusal in self._refused(held)]
                failed.update(dict.fromkeys(self._index.tasks_of(held), held))
        return failed, over

    @property
    def _index(self) -> ScopeIndex:
        self._scopes = self._scopes or ScopeIndex(self._led.graph)
        return self._scopes

    def _settle(self, failed: Mapping[int, Held], forgotten: set[RefusalKey]) -> None:
        led = self._led
        results = {held: misfit_result(self._refused(held)) for held in set(failed.values())}
        for index in led.state.questions.give_up(failed):
            result = results[failed[index]]
            led.tell_unanswered(index, f"no worker can ask its verify hook: {result.error}")
        tasks = [index for index, held in failed.items() if not held.is_question]
        outcomes = [(index, results[failed[index]]) for index in led.state.unheld(tasks)]
        if outcomes or forgotten:
            led.settle_failed(outcomes, sorted(forgotten))
            # What else needs the same is asked for anew, at once.
            led.was_refused, self.due = True, time.monotonic()

    def _hold(self, now: float) -> None:
        """Bar what is held, and try a task of it now and then."""
        led = self._led
        if self._held != self._watch.held or self._state is not led.state:
            self._held, self._state = self._watch.held, led.state
            barred = [held for held in self._held if not held.is_question]
            led.state.bar({index for held in barred for index in self._index.tasks_of(held)})
        for held in self._held:
            if not held.is_question and self._watch.is_due(held, now):
                led.state.try_one(self._index.tasks_of(held))
