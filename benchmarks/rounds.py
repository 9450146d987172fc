"""Rounds: every system in turn, again and again, so that the machine's noise hits all alike."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.stage import PATIENCE_SECONDS, Stage, StageFailed, staged
from benchmarks.systems import SYSTEMS, System

#: Nothing of the short form takes a third of it.
_SHORT_PATIENCE_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class Settings:
    """How much is measured, and of what.

    Args:
        rounds: how often each system is measured.
        short: small sizes, to see that the harness works.
        persistence: of every server: see :data:`benchmarks.server.PERSISTENCE`.
        only: names of systems, in order; empty means those of the table.
        million: whether the table of growth goes up to a million tasks.
    """

    rounds: int = 5
    short: bool = False
    persistence: str = "none"
    only: tuple[str, ...] = ()
    million: bool = False

    @property
    def patience_seconds(self) -> float:
        """After which one job of one system has failed."""
        return _SHORT_PATIENCE_SECONDS if self.short else PATIENCE_SECONDS

    def choose(self, names: Sequence[str], among: Sequence[str] = ()) -> list[System]:
        """The systems of a table that are to be measured: ``names``, or what was asked for and is
        in ``names`` or ``among``.
        """
        wanted = [name for name in self.only if name in (*names, *among)] if self.only else names
        return [SYSTEMS[name] for name in wanted]


@dataclass(slots=True)
class Measured:
    """What became of one system: what it measured per round, or why it could not."""

    system: System
    found: list[dict[str, Any]]
    error: str | None = None


def measure_rounds(
    systems: Sequence[System],
    settings: Settings,
    measure: Callable[[Stage], dict[str, Any]],
) -> Mapping[str, Measured]:
    """Measure systems in rounds, each time on a stage of its own.

    A system that is not there, or fails, is left out from then on.
    """
    measured = {system.name: Measured(system, [], _absence(system)) for system in systems}
    for turn in range(1, settings.rounds + 1):
        for one in measured.values():
            if one.error is not None:
                continue
            _say(f"round {turn} of {settings.rounds}: {one.system.label}")
            try:
                with staged(one.system, settings.persistence, settings.patience_seconds) as stage:
                    one.found.append(measure(stage))
            except (StageFailed, AssertionError) as error:
                one.error = str(error)
                _say(f"failed: {error}")
    return measured


def _absence(system: System) -> str | None:
    missing = system.missing()
    return None if missing is None else f"not available: there is no {missing}"


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")


def notes_of(measured: Mapping[str, Measured]) -> tuple[str, ...]:
    """What a reader should know of each system."""
    notes = [
        f"{one.system.label}: {text}"
        for one in measured.values()
        for text in (one.system.note, (one.error or "").partition("\n")[0])
        if text
    ]
    return tuple(notes)
