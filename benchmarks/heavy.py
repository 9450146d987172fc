"""A module that takes half a second to be imported, as one that needs pandas does."""

from __future__ import annotations

import time

#: What the import takes.
IMPORT_SECONDS = 0.5

time.sleep(IMPORT_SECONDS)


def nap(seconds: float) -> None:
    """Take so long."""
    time.sleep(seconds)
