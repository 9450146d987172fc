"""Redis has other data than a coordinator knew of: all is read again, and what is missing is told.

Somebody has deleted events or outcomes, or Redis came back with older data.
"""

from __future__ import annotations

from distflow.coordinator.mirror import RunMirror
from distflow.coordinator.missing import Known, find_missing, name_missing
from distflow.coordinator.standing import read_standing
from distflow.coordinator.tools import Tools
from distflow.core.claim import NAMELESS, WorkerFacts
from distflow.core.run import Event, Repair
from distflow.errors import DistflowError, RunGone, RunNotFound, StaleEpoch


def record_repair(
    mirror: RunMirror, tools: Tools, repair: Repair, by: WorkerFacts = NAMELESS
) -> None:
    """Write a repair into the run's history, and tell of it; ``by`` is the worker that is to blame,
    if one is.
    """
    tools.store.record_repair(mirror.epoch, tools.chance.new_token(), repair, by=by)
    tools.announcer.tell("repair", message=repair.note)


def read_again(
    mirror: RunMirror, tools: Tools, kind: str, why: str, *, restarted: bool = False
) -> None:
    """Read where every task stands. It is a loss of data where something is missing.

    Args:
        mirror: the run.
        tools: its store.
        kind: of the repair, where nothing is missing.
        why: what was noticed, in words.
        restarted: whether another process of Redis answers.
    """
    known = mirror.known
    found = read_standing(tools.store, mirror.graph)
    events = _read_events(tools, known.last_event)
    missing = find_missing(mirror.graph, known, found, events, restarted=restarted)
    if missing:
        kind, why = "data_lost", f"{why}; Redis has lost {name_missing(missing)}"
    elif restarted:
        why += ": nothing that was recorded is missing"
    # This first: under another epoch there is nothing to be read again.
    record_repair(mirror, tools, Repair(kind, "", "", f"{why}; all is read again"))
    mirror.read_again(found)


def tell_restored(mirror: RunMirror, tools: Tools, known: Known) -> None:
    """Redis had come back with data from before this coordinator led the run; ``known`` is what it
    knew of it then.
    """
    found = read_standing(tools.store, mirror.graph)
    missing = find_missing(mirror.graph, known, found, (), restarted=True)
    names = name_missing(["who led the run", *missing])
    note = f"Redis came back with older data, without {names}: led anew"
    record_repair(mirror, tools, Repair("data_lost", "", "", note))


def raise_unless_forgotten(error: DistflowError, mirror: RunMirror, tools: Tools) -> None:
    """Raise what ends the leading, in place of what was run into; return where Redis has merely
    forgotten that this coordinator leads the run.
    """
    if not isinstance(error, StaleEpoch | RunGone | RunNotFound):
        raise error
    try:
        epoch = tools.store.read_info().epoch
    except RunNotFound:
        raise tools.server.explain_gone(tools.store, mirror.restarts) from error
    # Epochs grow with time: an older one is no other coordinator's.
    if epoch > mirror.epoch or not isinstance(error, StaleEpoch):
        raise error


def _read_events(tools: Tools, after: str) -> list[Event]:
    """All events after an id that there are now."""
    events: list[Event] = []
    while some := tools.store.read_events(events[-1].id if events else after):
        events += some
    return events
