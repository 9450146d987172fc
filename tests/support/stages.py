"""Where a scenario plays: in this process, or on stock RQ workers. The scenario is the same."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from itertools import accumulate
from pathlib import Path
from typing import Any, NamedTuple

from redis import Redis

from distflow import Snapshot, TaskResult, TaskRunnerBuilder, Workflow
from distflow.authoring import WorkflowTemplate
from distflow.events.notice import Notice
from distflow.events.vocabulary import EVENTS
from tests.support.tasks import recording
from tests.support.wait import wait_for


class Played(NamedTuple):
    """What became of a run."""

    status: str
    results: dict[str, TaskResult]
    notices: list[Notice]
    snapshot: Snapshot

    def statuses(self) -> dict[str, str]:
        """The outcome of every task."""
        return {name: result.status.value for name, result in self.results.items()}

    def events(self, task: str) -> list[str]:
        """What was told of a task, in order."""
        return [notice.kind for notice in self.notices if notice.task == task]


class Stage:
    """Plays scenarios.

    Args:
        folder: for the witness.
        redis: where stock workers listen; None plays in this process.
    """

    def __init__(self, folder: Path, redis: Redis | None) -> None:
        self.redis = redis
        #: The witness: what the tasks wrote.
        self.log = folder / "log"
        self.log.touch()

    def builder(self, context: Any = None) -> TaskRunnerBuilder:
        """A builder for a runner that works here."""
        builder = TaskRunnerBuilder(context)
        return builder if self.redis is None else builder.with_redis(self.redis)

    def play(
        self,
        workflow: Workflow | WorkflowTemplate,
        params: Mapping[str, Any] | None = None,
        *,
        builder: TaskRunnerBuilder | None = None,
        known: Mapping[str, TaskResult] | None = None,
        origin: str | None = None,
        **options: Any,
    ) -> Played:
        """Run a workflow to its end; ``options`` are those of ``TaskRunner.execute``."""
        builder = builder or self.builder()
        if known is not None:
            builder.with_snapshot(known, origin)
        notices: list[Notice] = []
        for event in EVENTS:
            builder.on(event, notices.append)
        runner = builder.build()
        results = runner.execute(workflow, {"log": str(self.log), **(params or {})}, **options)
        status = notices[-1].status if notices else ""
        return Played(str(status), results, notices, runner.snapshot())

    def start(self, workflow: Workflow, **options: Any) -> Callable[[], Played]:
        """Run a workflow on a thread; what is returned waits for its end."""
        ended: list[Played] = []
        thread = threading.Thread(
            target=lambda: ended.append(self.play(workflow, **options)), daemon=True
        )
        thread.start()

        def join() -> Played:
            thread.join(60)
            assert ended, "the run did not end"
            return ended[0]

        return join

    def lines(self, name: str) -> list[list[str]]:
        """What a task wrote, without its name."""
        return [line[1:] for line in recording.lines(self.log) if line and line[0] == name]

    def wait_for_line(self, *words: str) -> None:
        """Return when a task has written this."""
        wait_for(
            lambda: list(words) in [line[: len(words)] for line in recording.lines(self.log)],
            20,
            f"the line {words}",
        )

    def open_gate(self) -> None:
        """Let ``behaving.ignore`` end."""
        Path(f"{self.log}.open").touch()


def most_at_once(log: Path) -> int:
    """How many calls of ``behaving.occupy`` overlapped at most."""
    moments = sorted(
        (float(when), 1 if sign == "+" else -1) for _name, sign, when in recording.lines(log)
    )
    return max(accumulate(change for _when, change in moments))
