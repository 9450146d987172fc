"""Which functions this process may import, as ``DISTFLOW_ALLOW`` says.

Its patterns, with commas between them, are ``MODULE`` or ``MODULE:NAME``. In both parts ``*``,
``?`` and ``[...]`` stand for what they do in names of files, and ``*`` for dots too.
"""

from __future__ import annotations

import socket
from fnmatch import fnmatchcase
from typing import Any

from distflow import config
from distflow.errors import NotAllowed


def check_reference(reference: str) -> None:
    """Before its module is imported, see that a function may be.

    Args:
        reference: ``"pkg.module:name"``.

    Raises:
        NotAllowed: no pattern matches it.
    """
    allowed = config.allowed_functions()
    if allowed is None or _matches(allowed, reference):
        return
    raise NotAllowed(
        f"function {reference!r} is not allowed on host {socket.gethostname()}: no pattern of "
        f"{config.ALLOW_VARIABLE}={allowed!r} matches it; nothing was imported"
    )


def check_home(reference: str, function: Any) -> None:
    """See that what an allowed name gave was defined in that module, or is allowed itself.

    ``myapp.shell:run`` may have been imported there from ``subprocess``.

    Raises:
        NotAllowed: it comes from elsewhere, or does not tell where from.
    """
    allowed = config.allowed_functions()
    if allowed is None:
        return
    module = getattr(function, "__module__", None)
    if module == reference.partition(":")[0]:
        return
    name = getattr(function, "__qualname__", type(function).__qualname__)
    home = f"{module}:{name}"
    if module and _matches(allowed, home):
        return
    raise NotAllowed(
        f"function {reference!r} is not allowed on host {socket.gethostname()}: it is {home!r}, "
        f"which no pattern of {config.ALLOW_VARIABLE}={allowed!r} matches"
    )


def _matches(patterns: str, reference: str) -> bool:
    module, _, name = reference.partition(":")
    for pattern in patterns.split(","):
        module_pattern, _, name_pattern = pattern.strip().partition(":")
        if fnmatchcase(module, module_pattern) and fnmatchcase(name, name_pattern or "*"):
            return True
    return False
