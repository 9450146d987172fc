"""Redis has other data than the coordinator knew: read the run again, and report what is missing.

Somebody deleted events or outcomes, or Redis came back with older data.
"""

from __future__ import annotations

from distflow.coordinator.growth import read_grown
from distflow.coordinator.mirror import RunMirror
from distflow.coordinator.missing import Known, find_missing, name_missing
from distflow.coordinator.standing import read_standing
from distflow.coordinator.tools import Tools
from distflow.core.claim import NAMELESS, WorkerFacts
from distflow.core.graph import Graph
from distflow.core.run import Event, Repair
from distflow.errors import DistflowError, RunGone, RunNotFound, StaleEpoch


def record_repair(
    mirror: RunMirror, tools: Tools, repair: Repair, by: WorkerFacts = NAMELESS
) -> None:
    """Write a repair to the run's history, and announce it; ``by`` is the worker that caused it, if
    one did.
    """
    tools.store.record_repair(mirror.epoch, tools.chance.new_token(), repair, by=by)
    tools.announcer.tell("repair", message=repair.note)


def read_again(
    mirror: RunMirror, tools: Tools, kind: str, why: str, *, restarted: bool = False
) -> None:
    """Read the state of every task again. If something is missing, record a loss of data.

    Args:
        mirror: the run.
        tools: its store.
        kind: of the repair, if nothing is missing.
        why: what was noticed, in words.
        restarted: whether another Redis process answers.
    """
    known, graph = mirror.known, mirror.graph
    found = read_grown(tools.store, mirror.growth)
    events = _read_events(tools, known.last_event)
    missing = find_missing(
        graph,
        known,
        found.of(graph),
        events,
        expansions=found.growth.tokens(),
        restarted=restarted,
    )
    if missing:
        kind, why = "data_lost", f"{why}; Redis has lost {name_missing(missing)}"
    elif restarted:
        why += ": no recorded data is missing"
    # The repair comes first: it raises if another epoch leads the run, and then there is nothing to
    # read.
    record_repair(mirror, tools, Repair(kind, "", "", f"{why}; the run is read again"))
    mirror.read_again(found)


def tell_restored(mirror: RunMirror, tools: Tools, graph: Graph, known: Known) -> None:
    """Report that Redis came back with data from before this coordinator led the run; ``graph`` and
    ``known`` are what it knew about the run before that.
    """
    found, expansions = read_standing(tools.store, graph), mirror.growth.tokens()
    missing = find_missing(graph, known, found, (), expansions=expansions, restarted=True)
    names = name_missing(["its coordinator's lease", *missing])
    note = f"Redis came back with older data, without {names}: the run is led anew"
    record_repair(mirror, tools, Repair("data_lost", "", "", note))


def raise_unless_forgotten(error: DistflowError, mirror: RunMirror, tools: Tools) -> None:
    """Raise the error that ends the leadership, in place of the one that was caught. Return if
    Redis has merely forgotten that this coordinator leads the run.
    """
    if not isinstance(error, StaleEpoch | RunGone | RunNotFound):
        raise error
    try:
        epoch = tools.store.read_info().epoch
    except RunNotFound:
        raise tools.server.explain_gone(tools.store, mirror.restarts) from error
    # Epochs only grow: an older one is not another coordinator's.
    if epoch > mirror.epoch or not isinstance(error, StaleEpoch):
        raise error


def _read_events(tools: Tools, after: str) -> list[Event]:
    """All present events after an id."""
    events: list[Event] = []
    while some := tools.store.read_events(events[-1].id if events else after):
        events += some
    return events
