"""Tools: what a coordinator needs to lead one run."""

from __future__ import annotations

from typing import NamedTuple

from distflow.chance import Chance
from distflow.clock import Clock
from distflow.coordinator.fleet import Fleet, Shared
from distflow.coordinator.server_clock import ServerClock
from distflow.coordinator.settings import CoordinatorSettings
from distflow.events.announcer import Announcer
from distflow.events.notice import Interrupt, Listener, Signal
from distflow.ports.dispatcher import Dispatcher
from distflow.ports.run_store import RunStore


class Tools(NamedTuple):
    """What the mirror of a run and its duties work with."""

    store: RunStore
    dispatcher: Dispatcher
    settings: CoordinatorSettings
    announcer: Announcer
    #: Shared with the other runs of the coordinator.
    fleet: Fleet
    server: ServerClock
    clock: Clock
    chance: Chance
    #: When set, the run is left as it is, or handed over.
    interrupt: Interrupt
    #: When set, the run is cancelled.
    cancel: Signal | None = None

    @classmethod
    def of(
        cls,
        shared: Shared,
        store: RunStore,
        dispatcher: Dispatcher,
        settings: CoordinatorSettings,
        *,
        listener: Listener | None,
        interrupt: Interrupt | None,
        cancel: Signal | None,
    ) -> Tools:
        """The tools for one run of a process."""
        return cls(
            store,
            dispatcher,
            settings,
            Announcer(store, listener, shared.server.now),
            shared.fleet,
            shared.server,
            shared.clock,
            shared.chance,
            interrupt or Interrupt(),
            cancel,
        )
