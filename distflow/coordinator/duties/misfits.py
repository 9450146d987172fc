"""MisfitDuty: handles tasks that workers refuse because something is missing there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from distflow.coordinator.duties.duty import NEVER, Duty
from distflow.coordinator.mirror import RunMirror
from distflow.coordinator.tools import Tools
from distflow.coordinator.unheld import settle_failed
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

#: Seconds after which the refusals of a worker that is gone are forgotten.
_GONE_SECONDS = 60.0


class MisfitDuty(Duty):
    """Holds back what every worker of a queue has refused, tries it again now and then, and fails
    it if no able worker joins in time. Costs nothing while nothing is refused.

    Args:
        mirror: the run.
        tools: its store, and what is known about workers.
    """

    def __init__(self, mirror: RunMirror, tools: Tools) -> None:
        self._mirror = mirror
        self._tools = tools
        self._watch = MisfitWatch(tools.settings.misfit_seconds)
        self._refusals: Sequence[Refusal] = ()
        self._live: Mapping[str, set[Registration]] = {}
        #: Built on the first refusal.
        self._scopes: ScopeIndex | None = None
        #: What is held back, the state that was told so, and how many tasks it had.
        self._held: frozenset[Held] = frozenset()
        self._state: TaskStateManager = mirror.state
        self._size = len(mirror.graph)
        #: What was reported already: about one worker, and about all of a queue.
        self._told: set[RefusalKey] = set()
        self._told_held: set[Held] = set()
        #: Workers that refused something and are gone -> since when.
        self._gone: dict[Registration, float] = {}
        #: When to look again, on the monotonic clock.
        self._look_at = NEVER

    def due(self, now: float) -> float:
        """A while after the last check; at once after a refusal, or when a refused task may run
        after all.
        """
        mirror = self._mirror
        return now if mirror.was_refused or mirror.has_run else self._look_at

    def act(self, now: float) -> None:
        """Read the refusals again, if there are any, and act on them."""
        mirror = self._mirror
        able = list(self._find_able(mirror.take_ran()))
        if not able and not mirror.was_refused and now < self._look_at:
            return
        mirror.was_refused = False
        self._refusals = self._tools.store.read_refusals()
        mirror.notes_who_runs = bool(self._refusals)
        self._look_at = now + self._tools.settings.watch_seconds if self._refusals else NEVER
        if not self._refusals and not self._held:
            return
        self._live = self._tools.dispatcher.list_workers(mirror.outbox.queues)
        forgotten = {*able, *self._find_gone(now)}
        self._refusals = [each for each in self._refusals if each.key not in forgotten]
        self._watch.look(self._refusals, self._live, now)
        self._tell()
        failed: dict[int, Held] = {}
        if mirror.status == RunStatus.RUNNING:
            failed, over = self._find_failed(now)
            forgotten.update(over)
        self._settle(failed, forgotten)
        self._hold(now)

    # How

    def _find_able(self, ran: Iterable[tuple[int, str]]) -> Iterable[RefusalKey]:
        """Refusals by workers that have since run such a task: somebody fixed them."""
        for index, worker in dict.fromkeys(ran):
            mine = [each for each in self._refusals if each.worker == worker]
            for refusal in mine:
                if not refusal.scope or index in self._index.tasks(refusal.scope):
                    yield refusal.key

    def _find_gone(self, now: float) -> Iterable[RefusalKey]:
        """Refusals by workers that have been gone for a while: they would pile up for ever."""
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
            # A job that cannot be read is reported as a repair.
            if refusal.key in self._told or not (refusal.worker and refusal.scope):
                continue
            self._told.add(refusal.key)
            what = wanted_of(refusal)
            self._tools.announcer.tell(
                "warning", message=f"{name_worker(refusal)} cannot run {what}: {refusal.words}"
            )
        for held in sorted(self._watch.held - self._told_held):
            self._told_held.add(held)
            mine = self._refused(held)
            seconds = self._tools.settings.misfit_seconds
            if mine[0].worker and seconds:
                self._tools.announcer.tell(
                    "warning",
                    message=f"no worker on queue {held.queue!r} can run {wanted_of(mine[0])}: "
                    f"it fails unless a worker that can joins within {seconds:g} s",
                )
        self._told_held &= self._watch.held

    def _refused(self, held: Held) -> list[Refusal]:
        """Refusals of one thing by the present workers of a queue."""
        live = self._live[held.queue]
        return [
            each
            for each in self._refusals
            if each.scope == held.scope and Registration(each.worker, each.born) in live
        ]

    def _find_failed(self, now: float) -> tuple[dict[int, Held], list[RefusalKey]]:
        """The tasks and hooks for which no able worker came in time, and the refusals to forget
        with them: what needs the same thing later is tried afresh.
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
        graph = self._mirror.graph
        if self._scopes is None or self._scopes.graph is not graph:
            self._scopes = ScopeIndex(graph)
        return self._scopes

    def _settle(self, failed: Mapping[int, Held], forgotten: set[RefusalKey]) -> None:
        mirror = self._mirror
        results = {held: misfit_result(self._refused(held)) for held in set(failed.values())}
        for index in mirror.state.questions.give_up(failed):
            result = results[failed[index]]
            mirror.tell_unanswered(index, f"no worker can ask its verify hook: {result.error}")
        tasks = [index for index, held in failed.items() if not held.is_question]
        outcomes = [(index, results[failed[index]]) for index in mirror.state.unheld(tasks)]
        if outcomes or forgotten:
            settle_failed(mirror, self._tools, outcomes, sorted(forgotten))
            # Tasks that need the same thing are tried again at once.
            mirror.was_refused, self._look_at = True, self._tools.clock.monotonic()

    def _hold(self, now: float) -> None:
        """Bar what is held back, and try one task of it now and then."""
        mirror = self._mirror
        known = self._held, self._state, self._size
        if known != (self._watch.held, mirror.state, len(mirror.graph)):
            self._held, self._state = self._watch.held, mirror.state
            self._size = len(mirror.graph)
            barred = [held for held in self._held if not held.is_question]
            mirror.state.bar({index for held in barred for index in self._index.tasks_of(held)})
        for held in self._held:
            if not held.is_question and self._watch.is_due(held, now):
                mirror.state.try_one(self._index.tasks_of(held))
