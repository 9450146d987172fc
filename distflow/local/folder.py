"""The data folder is private to a user: it holds results of tasks, and logs of workers."""

from __future__ import annotations

import os
import re
import stat
from io import FileIO
from pathlib import Path

#: What distflow and its server put into a data folder.
_OURS = re.compile(
    r"(start|users|server)\.lock|redis\.(log|sock)|socket-folder|written-by|worker-\d+\.log"
    r"|appendonlydir|appendonly\.aof|dump\.rdb|temp-.*"
)

_OTHERS = stat.S_IRWXG | stat.S_IRWXO


def close_folder(folder: Path) -> None:
    """Make a data folder private. A folder that holds other things as well is left as it is: it was
    not made for this alone.
    """
    status = folder.stat()
    if not status.st_mode & _OTHERS or status.st_uid != os.geteuid():
        return
    if all(_OURS.fullmatch(path.name) for path in folder.iterdir()):
        folder.chmod(stat.S_IMODE(status.st_mode) & ~_OTHERS)


def open_log(path: Path) -> FileIO:
    """Open a log for appending, unreadable to other users."""
    return FileIO(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab")
