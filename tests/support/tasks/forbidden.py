"""A module that no guarded worker may import: it would tell."""

from __future__ import annotations

import os
from pathlib import Path

if "FORBIDDEN_WITNESS" in os.environ:
    Path(os.environ["FORBIDDEN_WITNESS"]).touch()


def always(ctx) -> bool:
    return True


def work(log: str) -> None: ...
