"""Snapshots: what is known to be done, and the portable file of it."""

from __future__ import annotations

from distflow.snapshot.hydration import hydration_outcomes
from distflow.snapshot.mapping import Snapshot

__all__ = ["Snapshot", "hydration_outcomes"]
