"""Where modules are found: in the working directory first, in submitters and workers alike.

RQ appends that directory to the path, so an older installed copy of a module would win.
"""

from __future__ import annotations

import os
import sys
from types import ModuleType

#: The directory that this process searches first; empty if Python's own order stands.
_first: list[str] = []


def look_here_first() -> None:
    """Look for modules in the working directory first, as ``python -m`` does."""
    try:
        here = os.getcwd()  # noqa: PTH109 - not worth the import of pathlib in each work horse
    except FileNotFoundError:
        return
    _first[:] = [here]
    if sys.path[:1] not in ([here], [""]):
        sys.path[:] = [here, *(folder for folder in sys.path if folder != here)]


def place_of(module: ModuleType) -> str:
    """The file that a module was loaded from, for messages."""
    file = getattr(module, "__file__", None)
    if file:
        return str(file)
    folders = list(getattr(module, "__path__", ()))
    return str(folders[0]) if folders else "built into Python"


def find_other_copy(name: str) -> str:
    """Why a module is not the one in the working directory: it, or its package, was imported from
    elsewhere before, such as from the standard library. Empty if it is the one.
    """
    top = name.partition(".")[0]
    loaded = sys.modules.get(top)
    if loaded is None or not _first:
        return ""
    base = f"{_first[0]}/{top}"
    for file in (f"{base}/__init__.py", f"{base}.py"):
        if os.path.isfile(file):  # noqa: PTH113 - as above
            place = place_of(loaded)
            same = os.path.exists(place) and os.path.samefile(place, file)  # noqa: PTH110, PTH121
            return (
                "" if same else f"{place} was imported as {top!r} before {file}: rename the latter"
            )
    return ""
