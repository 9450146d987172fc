"""What the tasks of a program make of what they take."""

from __future__ import annotations

import hashlib
from typing import Any

from tests.support.programs import Gives

#: What a task may say of itself.
SAID = ("failure", "skipped", "cancelled", "unknown")


def digest(*what: Any) -> str:
    """A short text that tells values apart."""
    return hashlib.sha256(repr(what).encode()).hexdigest()[:6]


def give(gives: Gives, name: str, values: Any) -> Any:
    """What a task of this name makes of what it takes."""
    text = digest(name, values)
    made = [f"{text}{position}" for position in range(gives.size)]
    if gives.kind == "number":
        return 7
    if gives.kind == "list":
        return made
    if gives.kind == "tuple":
        return tuple(made)
    if gives.kind == "dict":
        return {f"k{position}": each for position, each in enumerate(made)}
    if gives.kind == "pairs":
        return {b"%d" % position: each for position, each in enumerate(made)}
    if gives.kind == "records":
        return [{"id": f"r.{position}", "of": each} for position, each in enumerate(made)]
    if gives.kind == "twins":
        return [{"id": "r", "of": each} for each in made]
    if gives.kind == "lists":
        return [[each, f"{each}x"] for each in made]
    return text


def key_of(element: Any) -> str:
    """The key of an element, for a map that asks a function."""
    return f"{digest(element)}.[%]"
