"""Chance: names that nobody else makes, and delays that differ."""

from __future__ import annotations

import random
from typing import Protocol

from distflow.ids import new_token


class Chance(Protocol):
    """What must not be foreseen."""

    def new_token(self) -> str:
        """A token or operation id that nobody else has."""

    def roll(self) -> float:
        """A number from 0 to 1, 1 left out: the share of a jitter."""


class SystemChance:
    """The real one."""

    def new_token(self) -> str:
        """See :func:`distflow.ids.new_token`."""
        return new_token()

    def roll(self) -> float:
        """See :meth:`Chance.roll`."""
        return random.random()


SYSTEM_CHANCE = SystemChance()
