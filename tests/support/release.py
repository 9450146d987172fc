"""Which distflow a process plays: the one that is tested, or release 0.1 as its users have it."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

#: Processes run here, so that task modules are imported by the name that tests import them by:
#: ``tests.support.tasks.…``.
ROOT = Path(__file__).parents[2]

#: Where ``make`` installs release 0.1 with the dependencies that it had: RQ 2.12 above all.
ENVIRONMENT = ROOT / ".venv-0.1"


class Release(NamedTuple):
    """How a process is started that plays a release; ``path`` are folders that its modules come
    from, before those of its environment.
    """

    name: str
    python: Path
    cwd: Path
    path: tuple[Path, ...] = ()

    def environment(self, more: Mapping[str, str] | None = None) -> dict[str, str]:
        """That of its processes."""
        kept = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        path = {"PYTHONPATH": os.pathsep.join(map(str, self.path))} if self.path else {}
        return {**kept, **path, **(more or {})}

    def command(self, *words: str) -> list[str]:
        """A ``distflow`` command line."""
        return [str(self.python), "-m", "distflow.cli", *words]


#: What is tested, in the environment of the tests.
THIS = Release("this", Path(sys.executable), ROOT)

#: The same on the dependencies of release 0.1: its coordinator knows no workers of a newer RQ.
BESIDE = Release("this", ENVIRONMENT / "bin/python", ROOT, (ROOT, ROOT / "workers"))


def released(folder: Path) -> Release:
    """Release 0.1.

    Args:
        folder: an empty one, from which its processes import the tests' tasks, and nothing else.
    """
    python = ENVIRONMENT / "bin/python"
    assert python.exists(), "release 0.1 is not installed: make .venv-0.1/.installed"
    (folder / "tests").symlink_to(ROOT / "tests", target_is_directory=True)
    return Release("0.1", python, folder)
