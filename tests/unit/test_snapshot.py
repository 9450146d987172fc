"""Snapshots: the mapping, the file, and what a new run takes over."""

from __future__ import annotations

import hashlib
import io
import itertools
import json
from pathlib import Path
from typing import Any

import pytest

from distflow.core.claim import Progress
from distflow.core.model import Metrics, Task, TaskResult
from distflow.core.status import TaskStatus
from distflow.errors import InvalidInput, SnapshotInvalid
from distflow.snapshot import Snapshot, mapping
from distflow.snapshot.reader import SnapshotReader
from distflow.snapshot.records import DIGEST_BYTES, FRAME_STRUCT, MAGIC, Header, Outcome
from distflow.snapshot.writer import SnapshotWriter
from distflow.wire.codec import decode_result, encode_result, encode_task, pack
from distflow.wire.fingerprint import fingerprint

SUCCESS, UNKNOWN, FAILURE = TaskStatus.SUCCESS, TaskStatus.UNKNOWN, TaskStatus.FAILURE
TASKS = (
    Task("a", "pkg:a", args=(1, (2, 3))),
    Task("b", "pkg:b", depends_on=("a",), effects="at_most_once"),
    Task("c", "pkg:c", depends_on=("b",)),
)
HEAD = len(MAGIC) + 2


def full_file() -> bytes:
    """A snapshot of a run, with every kind of record."""
    stream = io.BytesIO()
    writer = SnapshotWriter(stream)
    writer.write_header(Header("run-1", "pkg:flow", pack({"day": 1}), "0123", live=True))
    for task in TASKS:
        writer.write_graph(pack([encode_task(task)]), [fingerprint(task)])
    done = encode_result(TaskResult(SUCCESS, data={"n": 1}, attempt=2))
    lost = encode_result(TaskResult(UNKNOWN, attempt=3, started=True))
    writer.write_outcomes([Outcome("c", None, Progress(4, base=3))])
    writer.write_outcomes([Outcome("b", lost, Progress(4)), Outcome("a", done, None)])
    writer.write_superseded({"a": encode_result(TaskResult(FAILURE, error="E: x"))})
    writer.finish(live=True, once=0)
    return stream.getvalue()


FULL = full_file()


def boundaries(content: bytes) -> list[int]:
    """Where records begin and end."""
    found = [HEAD]
    while found[-1] < len(content) - DIGEST_BYTES:
        _kind, length = FRAME_STRUCT.unpack_from(content, found[-1])
        found.append(found[-1] + FRAME_STRUCT.size + length)
    return found


def refusal(path: Path, content: bytes) -> str:
    """The one line with which a file of this content is refused."""
    path.write_bytes(content)
    with pytest.raises(SnapshotInvalid) as refused:
        Snapshot.load(path)
    line = str(refused.value)
    assert line.startswith(f"{path}: ")
    assert "\n" not in line
    return line


def test_a_mapping_of_results() -> None:
    """TaskResults and dicts go in, equal TaskResults come out; the caller's dict is not kept."""
    metrics = {"start_time": 1.0, "end_time": 3.0, "duration": 2.0}
    given: dict[str, Any] = {
        "a": TaskResult(SUCCESS, data={1, 2}),
        "b": {"status": "failure", "error": "E: x", "metrics": metrics},
    }
    snapshot = Snapshot(given, origin="0123")
    given.clear()
    assert snapshot == {
        "a": TaskResult(SUCCESS, data={1, 2}),
        "b": TaskResult(FAILURE, error="E: x", metrics=Metrics(1.0, 3.0, 2.0)),
    }
    assert (snapshot.origin, snapshot.run_id, snapshot.live) == ("0123", None, False)
    assert "c" not in snapshot
    with pytest.raises(KeyError):
        snapshot["c"]


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("a", "done", "task 'a' has neither a TaskResult"),
        ("a", {"state": "success"}, "task 'a' has neither a TaskResult"),
        ("a", {"status": "running"}, "task 'a': TaskResult: status must be one of"),
        ("a", {"status": "success", "data": [object()]}, r"task 'a': data\[0\]"),
        (7, {"status": "success"}, "7 is not a task name"),
    ],
)
def test_what_is_no_result_is_refused_by_name(name: Any, value: Any, said: str) -> None:
    """A mapping with anything else names the task."""
    with pytest.raises(SnapshotInvalid, match=said):
        Snapshot({name: value})


def test_only_what_is_looked_at_is_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Loading, counting and dumping a large snapshot decode nothing; an access decodes one."""
    path = tmp_path / "s"
    Snapshot({f"t{n}": {"status": "success", "data": n} for n in range(50)}).dump(path)
    decoded: list[bytes] = []
    real = decode_result

    def count(packed: bytes, **options: str) -> TaskResult:
        decoded.append(packed)
        return real(packed, task=options["task"])

    monkeypatch.setattr(mapping, "decode_result", count)
    loaded = Snapshot.load(path)
    loaded.dump(tmp_path / "again")
    assert len(loaded) == 50
    assert "t7" in loaded
    assert decoded == []
    assert loaded["t7"].data == 7
    assert len(decoded) == 1


def test_a_file_of_a_run_keeps_everything(tmp_path: Path) -> None:
    """Loaded and dumped again it has the same content, the graph too: it can be imported."""
    path = tmp_path / "s"
    path.write_bytes(FULL)
    snapshot = Snapshot.load(path)
    assert dict(snapshot) == {
        "a": TaskResult(SUCCESS, data={"n": 1}, attempt=2),
        "b": TaskResult(UNKNOWN, attempt=3, started=True),
    }
    assert snapshot.progress == {"b": Progress(4), "c": Progress(4, base=3)}
    assert snapshot.fingerprints == {task.name: fingerprint(task) for task in TASKS}
    assert (snapshot.run_id, snapshot.origin, snapshot.live) == ("run-1", "0123", True)
    copy = tmp_path / "copy"
    snapshot.dump(copy)
    again = Snapshot.load(copy)
    assert (again, again.progress, again.live) == (snapshot, snapshot.progress, True)
    assert json.loads(again.to_json()) == json.loads(snapshot.to_json())
    with copy.open("rb") as stream:
        reader = SnapshotReader(stream, "copy")
        assert reader.end == SnapshotReader(io.BytesIO(FULL), "full").end
        graph = [packed for packed, _fingerprints in reader.graph()]
    assert graph == [pack([encode_task(task)]) for task in TASKS]


def test_a_mapping_goes_through_a_file(tmp_path: Path) -> None:
    """Results, origin and fingerprints survive, though there is no graph."""
    path = tmp_path / "s"
    snapshot = Snapshot({"a": {"status": "success"}}, origin="0123", fingerprints={"a": "f0"})
    snapshot.dump(str(path))
    loaded = Snapshot.load(str(path))
    assert loaded == snapshot
    assert (loaded.origin, loaded.fingerprints) == ("0123", {"a": "f0"})
    stream = io.BytesIO()
    snapshot.dump(stream)
    assert stream.getvalue() == path.read_bytes()


def test_json_is_for_people() -> None:
    """The JSON form has the promised keys and no NaN, whatever the data."""
    data = {"nan": float("nan"), "raw": b"\xff", "set": {1}}
    document = json.loads(Snapshot({"a": TaskResult(SUCCESS, data=data)}).to_json())
    assert (document["format"], document["version"]) == ("distflow-snapshot", 1)
    assert (document["run_id"], document["workflow"], document["live"]) == (None, None, False)
    assert document["results"]["a"] == {
        "status": "success",
        "data": {"nan": "nan", "raw": "ff", "set": [1]},
        "attempt": 0,
    }


def test_a_truncated_file_is_refused(tmp_path: Path) -> None:
    """At every record's boundary, and at every other byte: it says that it is truncated."""
    path = tmp_path / "s"
    assert len(boundaries(FULL)) == 9
    for length in range(1, len(FULL)):
        assert "is truncated" in refusal(path, FULL[:length])
    assert "is empty" in refusal(path, b"")


def test_a_record_that_was_left_out_is_refused(tmp_path: Path) -> None:
    """Also where the frames fit together: the checksum covers them all."""
    places = boundaries(FULL)
    for start, end in itertools.pairwise(places[:-1]):
        assert "fails its checksum" in refusal(tmp_path / "s", FULL[:start] + FULL[end:])


def test_every_flipped_byte_is_refused(tmp_path: Path) -> None:
    """One wrong bit or byte anywhere, length, content or checksum: nothing of it is used."""
    path = tmp_path / "s"
    said = set()
    for position in range(len(FULL)):
        for mask in (0x01, 0x80, 0xFF):
            damaged = bytearray(FULL)
            damaged[position] ^= mask
            said.add(refusal(path, bytes(damaged)).split("; ")[0].removeprefix(f"{path}: "))
    assert "fails its checksum: it was damaged" in said
    assert "is not a distflow snapshot" in said
    assert "truncated" in refusal(path, FULL + b"\0")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b'{"format": "distflow-snapshot"}', "JSON is for reading and cannot be imported"),
        (b"PK\x03\x04" * 20, "is not a distflow snapshot"),
        (MAGIC + b"\0\3" + FULL[HEAD:], "is a snapshot of version 3, .* reads versions 1 and 2"),
    ],
)
def test_what_is_no_snapshot_is_told_apart(tmp_path: Path, content: bytes, said: str) -> None:
    """Each in one line that names the file, the fault and the mend."""
    with pytest.raises(SnapshotInvalid, match=said):
        raise SnapshotInvalid(refusal(tmp_path / "s", content))


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    """A missing file and a folder are answered in one line."""
    for path, said in ((tmp_path / "none", "No such file"), (tmp_path, "Is a directory")):
        with pytest.raises(SnapshotInvalid, match=f"{path}: cannot be read: {said}"):
            Snapshot.load(path)


def test_strange_content_under_a_right_checksum_is_refused(tmp_path: Path) -> None:
    """A file that another program made gives a line, and no traceback."""
    places = boundaries(FULL)
    for start, end in itertools.pairwise(places):
        kind = FULL[start : start + 1]
        for body in (b"\xc1", b"\x07", b"\x91\x07"):
            strange = FULL[:start] + FRAME_STRUCT.pack(kind, len(body)) + body + FULL[end:-32]
            line = refusal(tmp_path / "s", strange + hashlib.sha256(strange).digest())
            assert "has content that this version cannot read" in line


def test_a_dump_that_fails_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Never half a file under the final name, and no rest beside it."""
    path = tmp_path / "s"
    Snapshot({"a": {"status": "success"}}).dump(path)
    before = path.read_bytes()

    def fail(*args: Any, **options: Any) -> None:
        assert len(list(tmp_path.iterdir())) == 2
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(SnapshotWriter, "finish", fail)
    with pytest.raises(InvalidInput, match=f"{path}: cannot be written: No space left"):
        Snapshot({"b": {"status": "success"}}).dump(path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_targets_that_are_no_files(tmp_path: Path) -> None:
    """A folder is refused; a link stays a link; a device is written, not replaced."""
    snapshot = Snapshot({"a": {"status": "success"}})
    with pytest.raises(InvalidInput, match="it is a folder"):
        snapshot.dump(tmp_path)
    with pytest.raises(InvalidInput, match="No such file"):
        snapshot.dump(tmp_path / "none" / "s")
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "s")
    snapshot.dump(link)
    assert link.is_symlink()
    assert Snapshot.load(tmp_path / "s") == snapshot
    snapshot.dump("/dev/null")
    assert Path("/dev/null").is_char_device()


def test_some_tasks_are_taken_out(tmp_path: Path) -> None:
    """What became of them is gone, what they are stays: their run may be imported still."""
    path = tmp_path / "s"
    path.write_bytes(FULL)
    left = Snapshot.load(path).without("a", "c")
    assert dict(left) == {"b": TaskResult(UNKNOWN, attempt=3, started=True)}
    assert (left.progress, left.superseded) == ({"b": Progress(4)}, {})
    assert left.fingerprints.keys() == {"a", "b", "c"}
    assert left.dependents_of(["a"]) == ["b"]
    left.dump(path)
    assert Snapshot.load(path) == left
    assert Snapshot.load(path).without("b").once == left.once + 1
    with pytest.raises(SnapshotInvalid, match="no task 'z'"):
        left.without("z")
