"""Snapshots: what is known to be done, and the portable file of it."""

from __future__ import annotations

from distflow.snapshot.mapping import Snapshot

__all__ = ["Snapshot"]
