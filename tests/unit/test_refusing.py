"""What a worker does with a task that it cannot run: on a run in memory, without a process."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from distflow.core.model import Loop, Ref, Task, TaskResult
from distflow.core.status import TaskStatus
from distflow.wire.codec import encode_result
from distflow_worker.context import make_context
from distflow_worker.user_functions import load_function
from tests.support.stores import claim, final, finish
from tests.support.taking import Counted, Taken
from tests.support.tasks import scripted

TASKS = "tests.support.tasks.scripted"


@pytest.fixture(autouse=True)
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Modules whose import fails, each in its own way; nothing was called yet."""
    (tmp_path / "mf_raises.py").write_text("raise RuntimeError('no licence')\n")
    (tmp_path / "mf_exits.py").write_text("import sys\nsys.exit('set SHOP_URL')\n")
    (tmp_path / "mf_needs.py").write_text("import mf_pandas\n")
    (tmp_path / "mf_has.py").write_text("number = 7\n")
    monkeypatch.syspath_prepend(tmp_path)
    scripted.CALLED.clear()
    yield
    for name in [name for name in sys.modules if name.startswith("mf_")]:
        del sys.modules[name]
    load_function.cache_clear()


def task(name: str, *parents: str, **fields: Any) -> Task:
    """A task that this process can run, but for what is given."""
    function = fields.pop("function", f"{TASKS}:act")
    return Task(name, function, depends_on=parents, **fields)


@pytest.mark.parametrize(
    ("fields", "scope", "words"),
    [
        ({"function": "mf_absent:f"}, "function mf_absent:f", "No module named 'mf_absent'"),
        ({"function": "mf_has:gone"}, "function mf_has:gone", "has no 'gone'"),
        ({"function": "mf_has:number"}, "function mf_has:number", "is a int, not a function"),
        ({"function": "mf_raises:f"}, "function mf_raises:f", "RuntimeError: no licence"),
        ({"function": "mf_exits:f"}, "function mf_exits:f", "SystemExit: set SHOP_URL"),
        ({"function": "mf_needs:f"}, "function mf_needs:f", "No module named 'mf_pandas'"),
        ({"condition": "mf_absent:c"}, "condition mf_absent:c", "No module named 'mf_absent'"),
        ({"loop": Loop("mf_absent:u", 2)}, "until mf_absent:u", "No module named 'mf_absent'"),
    ],
)
@pytest.mark.parametrize("effects", ["normal", "idempotent", "at_most_once"])
def test_what_is_missing_before_the_start(
    fields: dict[str, Any], scope: str, words: str, effects: Any
) -> None:
    """The task is given back, with the reason, and is neither a failure nor unknown; the rest of
    the batch runs, but for what rests on it.
    """
    taken = Taken(task("a", effects=effects, **fields), task("b", "a"), task("c"))
    assert scripted.CALLED == ["c"]
    assert set(taken.results) == {"c"}
    assert taken.store.read_claims() == {}
    assert taken.store.read_progress() == {}
    assert list(taken.unstarted) == ["a", "b"]
    (refusal,) = taken.store.read_refusals()
    assert (refusal.scope, refusal.tasks) == (scope, ("a",))
    assert words in refusal.words
    assert refusal.trace.startswith("Traceback")
    (told,) = [event for event in taken.store.read_events("0-0") if event.kind == "released"]
    assert (told.task, told.note) == ("a", refusal.words)


def test_what_is_not_allowed_is_a_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another worker may allow it."""
    monkeypatch.setenv("DISTFLOW_ALLOW", f"{TASKS}:*")
    taken = Taken(task("a", function="mf_has:number"), task("b"))
    assert set(taken.results) == {"b"}
    (refusal,) = taken.store.read_refusals()
    assert refusal.words.startswith("NotAllowed: function 'mf_has:number' is not allowed on host")


def test_a_function_is_tried_once_in_a_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    """An import that fails after seconds would take them for each of a thousand tasks."""
    tried: list[str] = []

    def load(reference: str) -> Any:
        tried.append(reference)
        return load_function(reference)

    monkeypatch.setattr("distflow_worker.user_functions.load_function", load)
    names = [f"t{number}" for number in range(20)]
    taken = Taken(
        *[task(name, function="mf_absent:f", effects="idempotent") for name in names], short=True
    )
    assert tried == ["mf_absent:f"]
    (refusal,) = taken.store.read_refusals()
    assert refusal.tasks == tuple(names)
    assert taken.store.read_claims() == {}


@pytest.mark.parametrize(
    ("function", "fields", "scope"),
    [
        ("mf_ctx:wants", {}, "function mf_ctx:wants"),
        ("mf_ctx:plain", {"condition": "mf_ctx:wants"}, "task a"),
    ],
)
def test_a_context_that_cannot_be_imported(
    tmp_path: Path, function: str, fields: dict[str, Any], scope: str
) -> None:
    """Where the function takes it, that is true of each of its tasks; where the condition of a task
    alone needs it, of that task. What needs no context runs.
    """
    (tmp_path / "mf_ctx.py").write_text("def wants(ctx): ...\ndef plain(): return 1\n")

    def context() -> Any:
        return make_context("mf_absent:factory", {}, {})  # type: ignore[arg-type]

    a, b = task("a", function=function, **fields), task("b", function="mf_ctx:plain")
    taken = Taken(a, b, context=context)
    assert taken.results.keys() == {"b"}
    (refusal,) = taken.store.read_refusals()
    assert (refusal.scope, refusal.what) == (scope, "mf_absent:factory")


def test_what_a_context_factory_raises_is_a_failure(tmp_path: Path) -> None:
    """It was found, and called."""
    (tmp_path / "mf_ctx.py").write_text("def wants(ctx): ...\ndef make(params): 1 / 0\n")

    def context() -> Any:
        return make_context("mf_ctx:make", {}, {})  # type: ignore[arg-type]

    taken = Taken(task("a", function="mf_ctx:wants"), context=context)
    assert str(taken.results["a"].error).startswith("ZeroDivisionError")
    assert taken.store.read_refusals() == []


def test_what_a_condition_raises_is_a_failure() -> None:
    """It was found, and called."""
    scripted.ACTS["a"] = lambda: 1 / 0
    taken = Taken(task("a"))
    assert taken.results["a"].status == TaskStatus.FAILURE
    assert taken.store.read_refusals() == []


def test_an_input_that_cannot_be_read_here() -> None:
    """Its type is registered by a module that is missing, say: true of this task alone."""

    def before(store: Counted, epoch: int) -> None:
        claim(store, epoch, "a", "t1", batch="other")
        strange = encode_result(TaskResult(TaskStatus.SUCCESS)).replace(b"\xc0", b"\xd4\x7f\xc0", 1)
        finish(store, epoch, final("a", "t1")._replace(packed=strange), batch="other")

    b = task("b", "a", args=(Ref("a"),))
    taken = Taken(task("a"), b, task("c", "a"), batch=["b", "c"], before=before)
    assert scripted.CALLED == ["c"]
    (refusal,) = taken.store.read_refusals()
    assert (refusal.scope, refusal.what) == ("task b", "the result of a")


def test_a_hook_that_cannot_be_imported_was_not_asked() -> None:
    """Nothing is decided, and the batch's end says that the question is open."""

    def before(store: Counted, epoch: int) -> None:
        claim(store, epoch, "a", "t1", batch="other")
        unknown = final("a", "t1", "unknown", keep=True)
        finish(store, epoch, unknown, batch="other")

    a = task("a", effects="at_most_once", verify="mf_absent:hook")
    taken = Taken(a, before=before, verify=True)
    assert taken.results["a"].status == TaskStatus.UNKNOWN
    assert list(taken.unstarted) == ["a"]
    (refusal,) = taken.store.read_refusals()
    assert (refusal.scope, refusal.tasks) == ("verify mf_absent:hook", ("a",))
    assert [entry.kind for entry in taken.store.read_history("a")] == ["misfit"]
