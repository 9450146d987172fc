"""Where modules are found: in the working directory first, by who submits and by every worker.

RQ appends that directory to the path, so that an older installed copy of a module would win there.
"""

from __future__ import annotations

import os
import sys
from types import ModuleType

#: Where this process was told to look first; empty where that was left as Python has it.
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
    """The file that a module was found in, for messages."""
    file = getattr(module, "__file__", None)
    if file:
        return str(file)
    folders = list(getattr(module, "__path__", ()))
    return str(folders[0]) if folders else "built into Python"


def find_other_copy(name: str) -> str:
    """Why a module is not the one that is found here first: it, or its package, was imported before
    from elsewhere, as a module of the standard library may have been. Empty where it is that one.
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
            return "" if same else f"{place} was imported as {top!r} before {file}: rename that"
    return ""
