"""The record of an expansion as bytes: a list of the fields of Expansion."""

from __future__ import annotations

from msgpack import packb, unpackb

from distflow.core.expansion import Expansion


def encode_expansion(expansion: Expansion) -> bytes:
    """Expansion -> bytes."""
    packed: bytes = packb(expansion)
    return packed


def decode_expansion(packed: bytes) -> Expansion:
    """Bytes -> Expansion.

    Raises:
        ValueError: the bytes are no record; also other errors of the kind, see ``MALFORMED``.
    """
    token, seq, chunks, children, queues = unpackb(packed)
    return Expansion(token, seq, chunks, children, tuple(queues))
