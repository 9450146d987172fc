"""The persons of a soak: they submit, decide what is unknown, and ask for resumes."""

from __future__ import annotations

import queue
import threading
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from redis.exceptions import RedisError

from distflow import TaskStatus, connect
from distflow.core.status import RunStatus
from distflow.errors import DistflowError
from distflow.runs.run import Run
from tests.chaos.soak.flows import random_flow
from tests.chaos.soak.planned import Flow
from tests.support.tasks.recording import lines
from tests.support.tasks.soaking import process_name

_ROUND_SECONDS = 0.2


class Deed(NamedTuple):
    """A line of the witness."""

    word: str
    attempt: int
    iteration: int
    process: str


def read_deeds(log: Path) -> dict[tuple[str, str], list[Deed]]:
    """What was done outside, by run and task, in its order."""
    deeds: dict[tuple[str, str], list[Deed]] = defaultdict(list)
    for word, run_id, task, attempt, iteration, process in lines(log):
        deeds[run_id, task].append(Deed(word, int(attempt), int(iteration), process))
    return deeds


def is_inside(deeds: list[Deed]) -> bool:
    """Whether a process that lives is in the task still: it may yet do something."""
    begun = [deed for deed in deeds if deed.word == "start"]
    ended = {deed[1:] for deed in deeds if deed.word in ("end", "raised")}
    return any(
        deed[1:] not in ended and process_name(deed.process.partition(":")[0]) == deed.process
        for deed in begun
    )


class Person(threading.Thread):
    """Works until ``settled``: closed, and every run is a success; or until it is told ``over``.

    So many runs are open at a time.
    """

    def __init__(self, url: str, seed: int, log: Path, open_runs: int) -> None:
        super().__init__(name="person", daemon=True)
        self._client = connect(url)
        self._seed = seed
        self._log = log
        self._open_runs = open_runs
        self._number = 0
        self._open: set[str] = set()
        #: Every run, with what must become of its tasks.
        self.flows: dict[str, Flow] = {}
        #: The ids of runs that somebody should resume.
        self.resumes: queue.SimpleQueue[str] = queue.SimpleQueue()
        self.counts: Counter[str] = Counter()
        #: (run, task) -> how often it was decided that nothing had happened.
        self.retried: Counter[tuple[str, str]] = Counter()
        #: Nothing more is submitted.
        self.closed = threading.Event()
        self.settled = threading.Event()
        self.over = threading.Event()

    def run(self) -> None:
        """Look at every run, again and again."""
        while not self.over.is_set():
            try:
                self._submit()
                for run_id in sorted(self._open):
                    self._look(self._client.run(run_id))
            except (DistflowError, RedisError, OSError) as error:
                self.counts[f"told {type(error).__name__}"] += 1
            if self.closed.is_set() and not self._open:
                self.settled.set()
            self.over.wait(_ROUND_SECONDS)

    def waits(self) -> Iterator[str]:
        """What the runs that are not done yet wait for."""
        for run_id in sorted(self._open):
            run = self._client.run(run_id)
            info = run.info()
            counts = {what: count for what, count in info.counts.items() if count}
            claims = {task: claim.batch for task, claim in run.store.read_claims().items()}
            yield (
                f"{run_id} is {info.status}, led by {info.coordinator}: {counts} of {info.total}, "
                f"claims {claims}, beats {run.store.read_beats()}, held {info.held}"
            )

    def _submit(self) -> None:
        if self.closed.is_set() or len(self._open) >= self._open_runs:
            return
        self._number += 1
        run_id = f"soak-{self._number}"
        flow = random_flow(self._seed, self._number, str(self._log))
        self._client.submit(flow.workflow, run_id=run_id, detach=True, batch=flow.batch)
        # Where that raised, nobody was told that there is a run: nothing is promised of it.
        self.flows[run_id] = flow
        self._open.add(run_id)

    def _look(self, run: Run) -> None:
        status = run.status()
        if status == RunStatus.SUCCESS:
            self._open.discard(run.run_id)
        elif status == RunStatus.FAILURE:
            self.resumes.put(run.run_id)
        elif run.info().counts["unknown"]:
            self._decide(run)
        elif status == RunStatus.BLOCKED:
            self.resumes.put(run.run_id)

    def _decide(self, run: Run) -> None:
        """Say what the witness says, of each task in which nobody can do anything any more."""
        for task, result in run.results().items():
            if result.status != TaskStatus.UNKNOWN:
                continue
            if is_inside(read_deeds(self._log)[run.run_id, task]):
                self.counts["waited for a frozen worker"] += 1
                continue
            deeds = read_deeds(self._log)[run.run_id, task]
            done = any(deed.word == "effect" for deed in deeds)
            # Counted before: the decision may stand although its answer was lost.
            self.retried[run.run_id, task] += not done
            run.resolve(task, "done" if done else "retry", task if done else None)
            self.counts["decided: done" if done else "decided: retry"] += 1
