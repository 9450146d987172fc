"""Expansions: what growing nodes have added to their runs, and how their children are named."""

from __future__ import annotations

from typing import NamedTuple

#: How deep growing nodes may nest.
MOST_NESTED = 100

#: Most bytes of one encoded task, mainly its arguments. It travels whole in an RQ job.
MAX_TASK_BYTES = 16 * 1024 * 1024

#: Tasks in one chunk of a graph or of an expansion.
CHUNK_TASKS = 4096


class Expansion(NamedTuple):
    """The record of what a growing node has added to its run.

    ``token`` is that of the claim that made it, and part of the names of its chunks; ``seq`` is its
    place among the expansions of the run, from 1. The rest is as in
    :class:`~distflow.core.claim.Growth`.
    """

    token: str
    seq: int
    chunks: int
    children: int
    queues: tuple[str, ...]


def child_name(node: str, key: str | int) -> str:
    """The name of the child that a ``map`` node makes of the element with this key: ``clean[7]``,
    ``clean[DE]``. In a key, ``%``, ``[``, ``]``, ``.`` and control characters are escaped.
    """
    text = str(key)
    if not text.isalnum():
        text = "".join(_escaped(letter) for letter in text)
    return f"{node}[{text}]"


def _escaped(letter: str) -> str:
    if letter in "%[]." or not letter.isprintable():
        return "".join(f"%{byte:02X}" for byte in letter.encode())
    return letter


def is_below(name: str, node: str) -> bool:
    """Whether a name is one of those that belong to the children of a growing node."""
    return name.startswith(node) and name[len(node) : len(node) + 1] in ("[", ".")


def nesting(name: str) -> int:
    """How deep in expansions a task of this name is, at most: its name may have a ``[`` or ``.`` of
    its own.
    """
    return name.count("[") + name.count(".")
