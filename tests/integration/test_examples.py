"""The examples: what users copy, and what the demo rests on."""

from __future__ import annotations

import json
import sysconfig
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from distflow import connect
from distflow.authoring import WorkflowTemplate, check_importable
from distflow.core.status import RunStatus
from examples import demo, payments, stdlib_index
from examples.chart import HEIGHT, WIDTH, draw_report
from examples.payments import Charge, find_mistakes
from examples.stage import DemoFailed
from tests.conftest import StartWorker
from tests.support.redis_server import RedisServer

ROOT = Path(sysconfig.get_path("stdlib"))

#: Seconds in which a small run must end.
PATIENCE = 60.0


@pytest.fixture
def run(
    redis_server: RedisServer, start_worker: StartWorker
) -> Callable[..., tuple[RunStatus, dict[str, Any]]]:
    """``run(workflow, **params)`` on two stock workers: its status, and the data by task."""
    for _ in range(2):
        start_worker(redis_server.url)

    def submit(workflow: WorkflowTemplate, **params: Any) -> tuple[RunStatus, dict[str, Any]]:
        run = connect(redis_server.url).submit(workflow, params)
        status = run.wait(PATIENCE)
        return status, {name: result.data for name, result in run.results().items()}

    return submit


@pytest.mark.parametrize("workflow", [stdlib_index.index, payments.settle_orders])
def test_builds(workflow: WorkflowTemplate) -> None:
    """Each example is a valid workflow of functions that workers can import and call."""
    built = workflow.build()
    check_importable(built)
    assert 30 < len(built.tasks) < 400


def test_slices_hold_every_file_once() -> None:
    """The tasks together read each file of the library, and none twice; no task is large."""
    files = stdlib_index.find_files(ROOT)
    parts = list(stdlib_index.slices(ROOT, files))
    read = [name for part in parts for name in part.files]
    assert sorted(read) == sorted(path.relative_to(ROOT).as_posix() for path in files)
    assert len(read) == len(set(read)) > 100
    assert len({part.name for part in parts}) == len(parts)
    for part in parts:
        sizes = [(ROOT / name).stat().st_size for name in part.files]
        assert sum(sizes) == part.size
        # A file is not divided, and an empty one needs no task of its own.
        assert part.size <= stdlib_index.SLICE_BYTES or part.size == max(sizes)


def test_index_runs(run: Callable[..., Any], tmp_path: Path) -> None:
    """On stock workers: a report whose numbers are those of the files, and a chart."""
    status, _ = run(stdlib_index.index, out=str(tmp_path), limit=60)
    assert status == RunStatus.SUCCESS
    files = stdlib_index.find_files(ROOT)[:60]
    report = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    assert report["files"] == 60
    assert report["bytes"] == sum(path.stat().st_size for path in files)
    assert report["lines"] == sum(len(path.read_bytes().splitlines()) for path in files)
    assert len(report["top_identifiers"]) == stdlib_index.TOP_IDENTIFIERS
    assert dict(report["top_imports"])["sys"] > 5
    with Image.open(tmp_path / "report.png") as chart:
        chart.load()
        assert (chart.format, chart.size) == ("PNG", (WIDTH, HEIGHT))


def test_broken_files_are_named(tmp_path: Path) -> None:
    """A file that does not parse is counted, named with its error, and spoils nothing else."""
    (tmp_path / "good.py").write_text("import os\nos.getcwd()\n")
    (tmp_path / "python2.py").write_text("print 'hello'\n")
    (tmp_path / "coded.py").write_bytes(b"# coding: uft-8\n")
    (tmp_path / "bytes.py").write_bytes(b"\xf6 = 1\n")
    (tmp_path / "null.py").write_bytes(b"x = 1\0\n")
    (tmp_path / "other.py").write_text("import os, re\n")
    names = ["bytes.py", "coded.py", "good.py", "null.py", "other.py", "python2.py"]
    part = stdlib_index.index_files(str(tmp_path), names)
    assert part["files"] == 6
    assert sorted(part["unparsable"]) == ["bytes.py", "coded.py", "null.py", "python2.py"]
    assert "print" in part["unparsable"]["python2.py"]
    assert part["identifiers"] == {"os": 3, "getcwd": 1, "re": 1}
    assert part["imports"] == {"os": 2, "re": 1}


@pytest.mark.parametrize(
    ("source", "modules"),
    [
        ("import os", {"os"}),
        ("import os.path as p, sys", {"os", "sys"}),
        ("from a.b import c, d", {"a"}),
        ("from a import (b,\n c)", {"a"}),
        ("from . import a", set()),
        ("from ..b import c", set()),
        ("from ... import c", set()),
        ("try: import json\nexcept ImportError: x = 1; import cgi", {"json", "cgi"}),
        ("def f():\n    import os\n", {"os"}),
        ("'import os'\n# import sys", set()),
        ("def from_(x): yield from x", set()),
    ],
)
def test_imports(source: str, modules: set[str]) -> None:
    """Top-level modules are found wherever a statement imports them; relative imports are not."""
    assert stdlib_index.read_source(source.encode())[1] == modules


@pytest.mark.parametrize("rows", [[], [["x", 1]], [["a" * 30, 10**9], ["b", 0]]])
def test_chart_of_odd_reports(rows: list[Any]) -> None:
    """Nothing found, one row, or a long name and huge numbers: there is a chart."""
    report = {
        "python": "3.11.0",
        "files": 1,
        "lines": 1,
        "unparsable": {},
        "identifiers": {"distinct": 1, "total": 1},
        "top_identifiers": rows,
        "top_imports": rows,
    }
    with Image.open(BytesIO(draw_report(report))) as chart:
        chart.load()
        assert chart.size == (WIDTH, HEIGHT)


def test_payments_charge_once(run: Callable[..., Any], tmp_path: Path) -> None:
    """Each order stands in the ledger once, and the settlement is its sum."""
    ledger = str(tmp_path / "ledger.sqlite")
    status, data = run(payments.settle_orders, orders=5, ledger=ledger, charge_seconds=0.05)
    assert status == RunStatus.SUCCESS
    charges = payments.read_ledger(ledger)
    assert find_mistakes(charges, 5) == []
    assert len({charge.key for charge in charges}) == 5
    assert data["settle"] == {"orders": 5, "cents": sum(charge.cents for charge in charges)}


def test_the_gateway_books_twice(tmp_path: Path) -> None:
    """The ledger hides no double charge: the same key twice is two rows, and a mistake."""
    ledger = str(tmp_path / "ledger.sqlite")
    assert find_mistakes(payments.read_ledger(ledger), 1) == ["order A-001 was charged 0 times"]
    payments.book_charge(ledger, "key", "A-001", 1250)
    assert find_mistakes(payments.read_ledger(ledger), 1) == []
    payments.book_charge(ledger, "key", "A-001", 1250)
    assert find_mistakes(payments.read_ledger(ledger), 1) == ["order A-001 was charged 2 times"]


@pytest.mark.parametrize(
    ("charge", "mistake"),
    [
        (Charge(1, "key", "A-001", 999, 7), "order A-001 was charged 999 cents, not 1250"),
        (Charge(2, "key", "A-002", 1985, 7), "there is no order A-002"),
    ],
)
def test_other_mistakes(charge: Charge, mistake: str) -> None:
    """A wrong amount and an order that nobody placed are mistakes too."""
    assert mistake in find_mistakes([charge], 1)


def test_the_demo_sees_a_double_charge(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The demo does not end well over a ledger with an order that was charged twice."""
    ledger = tmp_path / "ledger.sqlite"
    monkeypatch.setattr(demo, "LEDGER", str(ledger))
    for order in payments.take_orders(demo.ORDERS):
        payments.book_charge(str(ledger), "key", order["id"], order["cents"])
    demo.tell_ledger()
    payments.book_charge(str(ledger), "key", "A-003", 2720)
    with pytest.raises(DemoFailed, match="order A-003 was charged 2 times"):
        demo.tell_ledger()


def test_the_demo_sees_a_second_start() -> None:
    """Nor where a task that was done has started again, or is not done any more."""
    done: demo.Results = {"charge:A-001": (1, 5.0)}
    more: demo.Results = {**done, "settle": (1, 6.0)}
    demo.check_untouched(done, more)
    for after in ({**more, "charge:A-001": (1, 5.5)}, {**more, "charge:A-001": (2, 5.0)}, {}):
        with pytest.raises(DemoFailed, match="ran again although they were done: charge:A-001"):
            demo.check_untouched(done, after)
