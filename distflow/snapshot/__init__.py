"""Snapshots: what is known to be done, and its portable file."""

from __future__ import annotations

from distflow.snapshot.mapping import Snapshot

__all__ = ["Snapshot"]
