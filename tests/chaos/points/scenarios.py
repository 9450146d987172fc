"""The scenarios in which processes are hurt, and the roles that may be hurt in each."""

from __future__ import annotations

from collections.abc import Callable

from distflow import TaskStatus
from distflow.core.status import RunStatus
from distflow.store.redis.keys import DEFAULT_PREFIX, run_keys
from tests.chaos.points.case import Case
from tests.chaos.points.flows import SPREAD, SPREAD_LATE
from tests.chaos.points.growth import play_moved, play_overtaken, play_restored
from tests.chaos.points.lane import Lane, Play, Played
from tests.chaos.points.steps import import_elsewhere, is_made, judge
from tests.chaos.points.verdict import Broken


def play(lane: Lane, case: Case) -> Played:
    """Play a case, and judge it."""
    flow, steps = _SCENARIOS[case.scenario]
    workers, apart = 2 if case.scenario in _TWO_WORKERS else 1, case.scenario in _APART
    played = Play(lane, case, flow, workers, apart=apart)
    try:
        broken = steps(played)
    except (TimeoutError, AssertionError) as error:
        broken = [("loss", str(error))]
    except BaseException:
        played.end([("loss", "it was interrupted")])
        raise
    return played.end(broken)


def _play_whole(played: Play) -> list[Broken]:
    """A run from its first to its last task."""
    played.submit()
    role = played.case.role
    played.finish(role if role == "coordinator" else "resume")
    return judge(played)


def _play_apart(played: Play) -> list[Broken]:
    """The same, and every task has a job of its own."""
    played.submit(batch=False)
    played.finish()
    return judge(played)


def _play_shared(played: Play) -> list[Broken]:
    """A task turns out to be long, and what is behind it in its batch goes to another worker."""
    played.submit()
    run = played.run()
    names = [name for name in played.flow.tasks if name.startswith("other_")]

    def elsewhere() -> bool:
        played.serve()
        played.lead()
        return played.has_begun("hold") and None not in run.store.read_statuses(names)

    played.wait(elsewhere, "what shares a batch with the long task to end")
    played.witness.look(run)
    played.gate.touch()
    played.finish()
    return judge(played)


def _play_orphaned(played: Play) -> list[Broken]:
    """A FastWorker is killed, and its child ends the batch that it has."""
    played.submit()

    def begun() -> bool:
        played.serve()
        played.lead()
        return played.has_begun("hold")

    played.wait(begun, "the task to begin")
    played.orphan()
    played.finish()
    return judge(played)


def _play_spooled(played: Play) -> list[Broken]:
    """Redis is away when a task ends; its worker is killed, and another delivers the outcome."""
    played.submit()

    def begun() -> bool:
        played.serve()
        played.lead()
        return played.has_begun("hold")

    played.wait(begun, "the charge to begin")
    assert played.proxy is not None
    played.proxy.cut_off()
    played.gate.touch()

    def kept() -> bool:
        # Who was hurt before that may have lost it.
        return played.has_kept() or (bool(played.case.point) and played.fault.has_struck())

    played.wait(kept, "the outcome to be on disk")
    played.kill_workers()
    played.witness.look(played.run())
    played.proxy.let_in()
    played.finish()
    return judge(played)


def _play_lost(played: Play) -> list[Broken]:
    """The worker is killed inside a charge, and a person decides that nothing had happened."""
    played.submit()
    run = played.run()

    def begun() -> bool:
        played.serve()
        played.lead()
        return played.has_begun("hold")

    def unknown() -> bool:
        played.lead()
        # Its own loss is no failure that a person must look at, unless it had started.
        return run.store.read_statuses(["hold"]) == [TaskStatus.UNKNOWN]

    def decided() -> bool:
        return run.store.read_statuses(["hold"]) != [TaskStatus.UNKNOWN]

    played.wait(begun, "the charge to begin")
    played.kill_workers()
    played.wait(unknown, "the loss to be found")
    played.witness.look(run)
    played.gate.touch()
    played.witness.retried["hold"] += 1
    played.insist("resolve", decided, "resolve", played.run_id, "hold", "--retry")
    played.finish()
    return judge(played)


def _play_cancelled(played: Play) -> list[Broken]:
    """A person cancels a run whose task does not end, and resumes it afterwards."""
    played.submit()

    def begun() -> bool:
        played.serve()
        played.lead()
        return played.has_begun("hold")

    def cancelled() -> bool:
        return played.status() == RunStatus.CANCELLED

    played.wait(begun, "the task to begin")
    played.insist("cancel", cancelled, "cancel", played.run_id, "--grace", "0.3")
    played.witness.look(played.run())
    played.gate.touch()
    played.finish()
    return judge(played)


def _play_paused(played: Play) -> list[Broken]:
    """A person pauses a run, and resumes it."""
    played.submit()

    def begun() -> bool:
        played.serve()
        played.lead()
        return played.has_begun("hold")

    def paused() -> bool:
        return played.status() == RunStatus.PAUSED

    played.wait(begun, "the task to begin")
    played.insist("pause", paused, "pause", played.run_id)
    played.gate.touch()
    played.finish()
    return judge(played)


def _play_handed(played: Play) -> list[Broken]:
    """A service is stopped and hands its run over to the next."""
    played.submit()

    def begun() -> bool:
        played.serve()
        played.lead("coordinator")
        return played.has_begun("hold")

    played.wait(begun, "the task to begin")
    played.stop_leader()
    played.gate.touch()
    played.finish("coordinator")
    return judge(played)


def _play_unlisted(played: Play) -> list[Broken]:
    """The run is gone from the lists of runs, and its coordinator puts it back."""
    played.submit()
    client, run_id = played.lane.client.redis, played.run_id

    def begun() -> bool:
        played.serve()
        played.lead("mender")
        return played.has_begun("hold")

    def listed() -> bool:
        played.lead("mender")
        active = client.sismember("distflow:active", run_id)
        return bool(active) and client.zscore("distflow:runs", run_id) is not None

    played.wait(begun, "the task to begin")
    client.srem("distflow:active", run_id)
    client.zrem("distflow:runs", run_id)
    played.wait(listed, "the run to be listed again")
    played.gate.touch()
    played.finish("mender")
    return judge(played)


def _play_submitted(played: Play) -> list[Broken]:
    """A person submits: there is a run, or it can be deleted and submitted again."""
    words = ["submit", "tests.chaos.points.flows:hurt", "--run-id", played.run_id, "--detach"]
    words += ["-p", f"name={played.flow_name}", "-p", f"log={played.log}"]
    words += ["-p", f"gate={played.gate}", "-p", f"queue={played.lane.queue}"]
    played.insist("submit", lambda: is_made(played), *words)
    played.finish()
    return judge(played)


def _play_imported(played: Play) -> list[Broken]:
    """A run that failed halfway is exported, imported under another name, and goes on there."""
    played.submit()
    run = played.run()

    def failed() -> bool:
        played.serve()
        return run.status() == RunStatus.FAILURE

    played.lead()
    played.wait(failed, "the first half to end")
    played.witness.look(run)
    import_elsewhere(played, run)
    played.finish()
    return judge(played)


def _play_deleted(played: Play) -> list[Broken]:
    """A person deletes a run that has ended: nothing of it is left."""
    played.submit()
    played.finish()
    broken = judge(played)
    client, keys = played.lane.client.redis, run_keys(DEFAULT_PREFIX, played.run_id).all()

    def gone() -> bool:
        return not client.exists(*keys)

    played.insist("delete", gone, "delete", played.run_id)
    run_id = played.run_id
    if client.zscore("distflow:runs", run_id) is not None:
        # It was cut off behind its last key: asked again, it says so, and takes it off the lists.
        played.command("delete", "delete", played.run_id).process.wait(30)
    listed = client.zscore("distflow:runs", run_id) is not None
    if listed or client.sismember("distflow:active", run_id):
        broken.append(("loss", "a run that is gone is listed"))
    return broken


_SCENARIOS: dict[str, tuple[str, Callable[[Play], list[Broken]]]] = {
    "whole": ("whole", _play_whole),
    "small": ("small", _play_whole),
    "batched": ("batched", _play_whole),
    "apart": ("batched", _play_apart),
    "shared": ("shared", _play_shared),
    "orphaned": ("held", _play_orphaned),
    "spooled": ("charged", _play_spooled),
    "lost": ("charged", _play_lost),
    "cancelled": ("held", _play_cancelled),
    "paused": ("held", _play_paused),
    "handed": ("held", _play_handed),
    "unlisted": ("held", _play_unlisted),
    "submitted": ("half", _play_submitted),
    "imported": ("half", _play_imported),
    "deleted": ("half", _play_deleted),
    "spread": (SPREAD, _play_whole),
    "spread to two": (SPREAD, _play_whole),
    "overtaken": (SPREAD, play_overtaken),
    "moved": (SPREAD_LATE, play_moved),
    "restored": (SPREAD_LATE, play_restored),
}

_TWO_WORKERS = frozenset({"shared", "overtaken", "moved", "spread to two", "restored"})

#: In these the workers have a way to Redis of their own.
_APART = frozenset({"spooled"})

#: Every scenario with every role that may be hurt at a point in it.
PLAYED = (
    ("whole", "resume"),
    ("whole", "worker"),
    ("whole", "simple"),
    ("whole", "fast"),
    ("whole", "coordinator"),
    ("batched", "resume"),
    ("batched", "worker"),
    ("batched", "fast"),
    ("batched", "both"),
    ("apart", "resume"),
    ("apart", "fast"),
    ("shared", "resume"),
    ("shared", "worker"),
    ("shared", "fast"),
    ("orphaned", "fast"),
    ("spooled", "worker"),
    ("spooled", "fast"),
    ("lost", "resume"),
    ("lost", "resolve"),
    ("cancelled", "resume"),
    ("cancelled", "cancel"),
    ("paused", "resume"),
    ("paused", "pause"),
    ("handed", "coordinator"),
    ("unlisted", "mender"),
    ("submitted", "submit"),
    ("imported", "import"),
    ("deleted", "delete"),
    ("spread", "resume"),
    ("spread", "worker"),
    ("spread", "simple"),
    ("spread", "both"),
    ("spread", "coordinator"),
    ("spread to two", "worker"),
    ("spread to two", "fast"),
    ("overtaken", "worker"),
    ("moved", "import"),
    ("restored", "resume"),
)

#: Likewise with every role whose commands may be hurt on their way.
PROXIED = (
    ("small", "resume"),
    ("small", "worker"),
    ("small", "fast"),
    ("spread", "resume"),
    ("spread", "worker"),
    ("spread", "fast"),
)
