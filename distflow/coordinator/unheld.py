"""Writes what follows without any worker: outcomes of tasks that nobody holds, and which failures
are tolerated.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from distflow.coordinator.mirror import RunMirror
from distflow.coordinator.tools import Tools
from distflow.core.model import TaskResult
from distflow.core.run import Event, RefusalKey
from distflow.core.status import TaskStatus
from distflow.logs import get_logger
from distflow.wire.codec import encode_result

_log = get_logger("distflow.coordinator")


def settle_unheld(
    mirror: RunMirror,
    tools: Tools,
    kind: str,
    outcomes: Sequence[tuple[int, TaskResult]],
    forgotten: Sequence[RefusalKey] = (),
) -> list[int]:
    """Give an outcome to tasks that nobody holds, and announce it by an event of this kind, if one
    is given. Returns these tasks; or none, if some of them had moved on: then the run is read
    again.
    """
    # Keep the number of attempts so far: a resume must not count from 1 again.
    tried: dict[str, int] = {}
    if outcomes:
        found = tools.store.read_progress()
        tried = {name: known.attempt - 1 for name, known in found.items()}
    graph = mirror.graph
    named = [(graph.tasks[index].name, result) for index, result in outcomes]
    tolerated = [
        graph.tasks[index].name
        for index, result in outcomes
        if result.status == TaskStatus.FAILURE
        and graph.tasks[index].continue_on_error
        and graph.maker(index) >= 0
    ]
    left = tools.store.settle_unheld(
        mirror.epoch,
        [
            (name, encode_result(replace(result, attempt=tried.get(name, 0))))
            for name, result in named
        ],
        forgotten=forgotten,
        tolerated=tolerated,
    )
    for name, result in named:
        if kind and name not in left:
            tools.announcer.tell(kind, name, status=result.status, message=result.message or "")
    if left:
        # The store is right: read what it has.
        _log.warning(
            "run %s: reading it again: %d tasks had moved on", tools.store.run_id, len(left)
        )
        mirror.read_again()
        return []
    return [index for index, _result in outcomes]


def write_skips(mirror: RunMirror, tools: Tools) -> None:
    """Record as skipped the tasks that cannot run because a dependency ended badly."""
    skips = mirror.state.take_skips()
    if skips:
        outcomes = [
            (skip.task, TaskResult(TaskStatus.SKIPPED, message=skip.message)) for skip in skips
        ]
        settle_unheld(mirror, tools, "task_skipped", outcomes)


def write_tolerated(mirror: RunMirror, tools: Tools) -> None:
    """Record which failures turned out to be tolerated: they are no troubles of the run."""
    tolerated = mirror.state.dependencies.take_tolerated()
    if tolerated:
        names = [mirror.graph.tasks[index].name for index in tolerated]
        tools.store.tolerate(mirror.epoch, names)


def settle_failed(
    mirror: RunMirror,
    tools: Tools,
    outcomes: Sequence[tuple[int, TaskResult]],
    forgotten: Sequence[RefusalKey],
) -> None:
    """Fail tasks that no worker can run, and forget the refusals that led to it."""
    for index in settle_unheld(mirror, tools, "", outcomes, forgotten):
        task, before = mirror.graph.tasks[index], mirror.state.statuses[index]
        told = Event("", "finished", task.name, TaskStatus.FAILURE.value)
        mirror.state.on_finished(index, TaskStatus.FAILURE)
        tools.announcer.tell_event(told, task, before)
