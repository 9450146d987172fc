"""A run that grows is exported after every call that its coordinator and its workers make; each of
the files is imported, and finished.
"""

from __future__ import annotations

import io
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from distflow import Client
from distflow.backends.memory import MemoryBackend
from distflow.core.status import RunStatus, TaskStatus
from distflow.events.notice import Notice
from distflow.runs.exporter import Exporter
from distflow.runs.transfer import import_run
from distflow.snapshot import Snapshot
from distflow.store.memory.store import MemoryRunStore
from tests.support.tasks.fan_out import fan_out

#: The transitions after which a file is written.
WRITES = (
    *("create_run", "seal_run", "begin_batch", "advance", "start_task", "write_chunk"),
    *("end_batch", "settle_unheld", "tolerate", "set_status", "release_lease"),
)


class Photographed(MemoryRunStore):
    """A store that is exported after every transition."""

    files: dict[bytes, None] = {}  # noqa: RUF012 - one for all stores of a test
    lock = threading.Lock()

    def __getattribute__(self, name: str) -> Any:
        found = super().__getattribute__(name)
        if name not in WRITES:
            return found

        def call(*args: Any, **more: Any) -> Any:
            answer = found(*args, **more)
            stream = io.BytesIO()
            Exporter(MemoryRunStore(self.run_id, server=self.server), stream).write()
            with self.lock:
                self.files[stream.getvalue()] = None
            return answer

        return call


class Studio(MemoryBackend):
    """A backend whose stores are exported."""

    def store(self, run_id: str) -> MemoryRunStore:
        return Photographed(run_id, server=self.server)


def finish(file: Path) -> tuple[RunStatus, Any, Counter[str]]:
    """Import a file and finish its run: how it ended, what it returned, and what was called."""
    client = Client(MemoryBackend())
    import_run(file, client.store, run_id="copy", gap="run")
    called: Counter[str] = Counter()

    def hear(notice: Notice) -> None:
        if notice.kind == "task_start":
            called[notice.task] += 1

    run = client.run("copy")
    run.resume(listener=hear)
    status = run.wait(20)
    return status, run.result() if status == RunStatus.SUCCESS else None, called


@pytest.mark.parametrize("allowed", [0, 1])
def test_every_moment_of_a_run_can_be_taken_up(tmp_path: Path, allowed: int) -> None:
    """The copy ends as the run does, returns the same, and calls nothing that was done."""
    Photographed.files = {}
    client = Client(Studio())
    params = {"count": 3, "bad": 1 if allowed else -1, "allowed": allowed}
    run = client.submit(fan_out, params)
    assert run.wait(20) == RunStatus.SUCCESS
    expected = run.result()
    assert expected["rows"] == [0, None if allowed else 2, 4]
    files = list(Photographed.files)
    assert len(files) > 12
    for number, content in enumerate(files):
        file = tmp_path / f"{number}"
        file.write_bytes(content)
        known = Snapshot.load(file)
        done = {name for name, result in known.items() if result.status == TaskStatus.SUCCESS}
        status, returned, called = finish(file)
        assert (status, returned) == (RunStatus.SUCCESS, expected), number
        assert not done & called.keys(), number
        again = {name for name, count in called.items() if count > 1}
        assert not again, number
