"""Which functions this process may import, according to ``DISTFLOW_ALLOW``.

Its patterns, separated by commas, are ``MODULE``, for the ``@task`` functions of a module, or
``MODULE:NAME``, for any function. In both parts ``*``, ``?`` and ``[...]`` work as for file names;
``*`` matches dots, too.
"""

from __future__ import annotations

import socket
from fnmatch import fnmatchcase
from typing import Any

from distflow import config
from distflow.errors import NotAllowed


def check_reference(reference: str) -> None:
    """Check that a function may be imported, before its module is.

    Args:
        reference: ``"pkg.module:name"``.

    Raises:
        NotAllowed: no pattern matches it.
    """
    allowed = config.allowed_functions()
    # Whether it is a task is known only after the import.
    if allowed is None or _admits(allowed, reference, is_task=True):
        return
    raise NotAllowed(
        f"function {reference!r} is not allowed on host {socket.gethostname()}: no pattern of "
        f"{config.ALLOW_VARIABLE}={allowed!r} matches it; nothing was imported"
    )


def check_home(reference: str, function: Any, *, is_task: bool) -> None:
    """Check that what was imported may be called: it is a task, or a pattern names it; and it was
    defined in that module, or is also allowed where it was defined.

    For example, ``myapp.shell:run`` may have been imported there from ``subprocess``.

    Args:
        reference: ``"pkg.module:name"``.
        function: what was found there, with ``@task`` removed.
        is_task: whether it had one.

    Raises:
        NotAllowed: it may not be called, or does not tell where it was defined.
    """
    allowed = config.allowed_functions()
    if allowed is None:
        return
    at_home = getattr(function, "__module__", None)
    name = getattr(function, "__qualname__", type(function).__qualname__)
    home = f"{at_home}:{name}"
    where = f"function {reference!r} is not allowed on host {socket.gethostname()}"
    if not _admits(allowed, reference, is_task=is_task):
        module = reference.partition(":")[0]
        raise NotAllowed(
            f"{where}: it is no @task, and {config.ALLOW_VARIABLE}={allowed!r} does not name it: "
            f"add {reference!r}, or {module + ':*'!r} for every function of that module"
        )
    if at_home == reference.partition(":")[0]:
        return
    if not at_home or not _admits(allowed, home, is_task=is_task):
        raise NotAllowed(
            f"{where}: it is {home!r}, which no pattern of {config.ALLOW_VARIABLE}={allowed!r} "
            "matches"
        )


def _admits(patterns: str, reference: str, *, is_task: bool) -> bool:
    module, _, name = reference.partition(":")
    for pattern in patterns.split(","):
        module_pattern, named, name_pattern = pattern.strip().partition(":")
        if not fnmatchcase(module, module_pattern):
            continue
        # ``MODULE:`` names nothing.
        if fnmatchcase(name, name_pattern) if named else is_task:
            return True
    return False
