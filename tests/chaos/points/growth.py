"""The scenarios of a run that grows, beside those of every run."""

from __future__ import annotations

import math

from distflow.core.status import RunStatus
from distflow.runs.run import Run
from distflow.store.redis.keys import DEFAULT_PREFIX, run_keys
from tests.chaos.points.case import FREEZE_SECONDS
from tests.chaos.points.lane import Play
from tests.chaos.points.steps import import_elsewhere, judge
from tests.chaos.points.verdict import Broken


def play_overtaken(played: Play) -> list[Broken]:
    """A worker is frozen whole, and given up by the next leader: another makes what it was making,
    and it comes back.
    """
    played.is_observed = True
    played.submit()
    run = played.run()

    def frozen() -> bool:
        played.serve()
        played.lead()
        return played.freeze_struck() or played.status() == RunStatus.SUCCESS

    def overtaken() -> bool:
        played.lead()
        info = run.info()
        # One that had not begun its batch holds nothing, and what may not run twice waits for it.
        is_over = info.status == RunStatus.SUCCESS or bool(info.held)
        return is_over or bool(info.repairs.get("worker_frozen"))

    played.fault.freeze_seconds = math.inf
    played.wait(frozen, "a worker to be frozen")
    if played.fault.is_freezing:
        played.kill_leader()
        played.wait(overtaken, "the frozen worker to be given up")
        played.thaw()
    # One that is struck only now is woken as in every scenario.
    played.fault.freeze_seconds = FREEZE_SECONDS
    played.finish()
    return judge(played)


def _wait_for_plan(played: Play, run: Run) -> None:
    """Until a plan is at work, and everything else has been done."""

    def begun() -> bool:
        played.serve()
        played.lead()
        return played.has_begun("train[0]") and _rests(run)

    played.wait(begun, "everything but the plan to be done")


def play_restored(played: Play) -> list[Broken]:
    """Redis is restored to a time before a plan had expanded, and its leader knows the children."""
    played.submit()
    run = played.run()

    def expanded() -> bool:
        played.lead()
        return "train[0]" in run.store.read_expansions()

    # All else has been done by then: what is restored has all that had effects.
    _wait_for_plan(played, run)
    client, keys = played.lane.client.redis, run_keys(DEFAULT_PREFIX, played.run_id).all()
    kept = {key: (client.dump(key), client.pttl(key)) for key in keys}
    played.gate.touch()
    played.wait(expanded, "the plan to expand")
    played.kill_workers()
    with client.pipeline() as pipeline:
        for key, (packed, rest_ms) in kept.items():
            pipeline.delete(key)
            if packed is not None:
                pipeline.restore(key, max(0, rest_ms), packed)
        pipeline.execute()
    played.witness.forget("train[0]", "join")
    played.finish()
    return judge(played)


def play_moved(played: Play) -> list[Broken]:
    """A run that has grown is exported while a plan is at work, and imported under another name."""
    played.submit()
    run = played.run()

    _wait_for_plan(played, run)
    played.kill_leader()
    played.kill_workers()
    played.witness.look(run)
    played.witness.forget("train[0]")
    played.gate.touch()
    import_elsewhere(played, run)
    played.finish()
    return judge(played)


def _rests(run: Run) -> bool:
    """Whether one task is at work, and none else can be."""
    results = run.results()
    waiting = ("train[0]", "train", "join")
    return all(task.name in results or task.name in waiting for task in run.graph().tasks)
