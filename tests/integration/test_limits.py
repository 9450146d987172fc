"""What is too large, too deep or cannot be said fails its own task, or its submit, and no more."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from distflow import Workflow
from distflow.core.expansion import MAX_TASK_BYTES
from distflow.core.run import MAX_PARAMS_BYTES
from distflow.core.status import RunStatus, TaskStatus
from distflow.errors import InvalidInput
from distflow.runs.client import Client
from distflow.runs.run_writer import write_run
from distflow.store.memory.store import MemoryRunStore
from tests.conftest import StartWorker
from tests.integration.cli_scene import Scene
from tests.support.redis_server import RedisServer
from tests.support.stores import make_spec
from tests.support.tasks import excessive

FLOW = "tests.support.tasks.excessive:takes"

#: Bad task -> how its error begins. Every one of BAD is here, and the hooks that are as bad.
ERRORS = {
    "nested lists": "NotEncodable: data[0][0]",
    "nested dicts": "NotEncodable: data['k']['k']",
    "nested tuples": "NotEncodable: data[0][0]",
    "itself": "NotEncodable: data['me'][0]['me'][0]",
    "laughs": "NotEncodable: data['laughs'][0][0]",
    "copies": "NotEncodable: data: this makes it larger than max_result_bytes (100,000)",
    "large": "NotEncodable: data: this makes it larger than max_result_bytes (100,000)",
    "huge integer": "NotEncodable: data[1]: an integer of more than 64 bits",
    "surrogate": "NotEncodable: data['name']: text with a lone surrogate",
    "surrogate key": "NotEncodable: data['caf\\udce9']: text with a lone surrogate",
    "hostile value": "NotEncodable: data[0]: tests.support.tasks.excessive.Hostile cannot be",
    "hostile key": "NotEncodable: data: encoding it raised RuntimeError: no repr",
    "hostile message": "NotEncodable: data: encoding it raised RuntimeError: no repr",
    "sly": "RuntimeError: look away",
    "iterator": "NotEncodable: data: builtins.list_iterator cannot be stored",
    "long text": "caf\\udce9caf",
    "unspeakable": "Unspeakable: <its __str__ raised SystemExit>",
    "surrogate error": "ValueError: no file caf\\udce9",
    "long error": "ValueError: eee",
    "deep traceback": "",
    "recursion": "RecursionError: maximum recursion depth exceeded",
    "causes": "ValueError: one",
    "group": "ExceptionGroup: outer (1 sub-exception)",
    "exit": "SystemExit: gone",
    "long NotDone": "NotDone: nnn",
    "hostile condition": "RuntimeError: neither true nor false",
    "leaving condition": "SystemExit: the condition has left",
    "hostile until": "RuntimeError: neither true nor false",
}


def strict(text: str) -> Any:
    """A JSON document as the standard has it: without NaN, and in UTF-8."""
    text.encode()

    def refuse(word: str) -> None:
        raise AssertionError(f"{word} is no JSON")

    return json.loads(text, parse_constant=refuse)


def test_bad_tasks_take_nothing_with_them(
    redis_server: RedisServer, start_worker: StartWorker, tmp_path: Path
) -> None:
    """All of them at once, in batches with good ones, on a stock worker: each is a failure that
    says why, at its first attempt; no worker is lost, and every command can still tell.
    """
    worker = start_worker(redis_server.url)
    scene = Scene(redis_server)
    flow = excessive.everything_at_once()
    run = Client(scene.client).submit(flow, run_id="r", max_result_bytes=excessive.MOST)
    assert run.wait(60) == RunStatus.FAILURE
    results = run.results()
    failed = {name for name, result in results.items() if result.status == TaskStatus.FAILURE}
    assert failed == set(ERRORS) >= set(excessive.BAD)
    assert len(results) == len(flow.tasks)
    for name, error in ERRORS.items():
        result = results[name]
        assert (result.error or "").startswith(error), name
        assert result.attempt == 1
        texts = (result.message or "", result.error or "", result.traceback or "")
        assert [len(text) > 10_000 for text in texts[:2]] == [False, False]
        assert len(texts[2]) <= 20_000
    # Of a long text both ends are kept: the traceback has the frames, and the error.
    assert "in raises_long" in (results["long error"].traceback or "")
    assert (results["long NotDone"].error or "").endswith("\\udce9")
    assert run.info().repairs == {}
    assert "Job OK" in worker.log()
    assert "Traceback" not in worker.log()

    status = strict(scene.cli("status", "r", "--tasks", "--json").stdout)
    assert status["results"]["floats"]["data"] == ["nan", "inf", "-inf", 0.5]
    assert status["results"]["largest integer"]["data"] == [1, 1 << 63]
    assert status["results"]["binary keys"]["data"] == {
        "ff00": 1,
        "plain": 2,
        "3": "fe",
        "True": "yes",
    }
    assert status["results"]["after binary keys"]["data"].startswith(
        "{b'\\xff\\x00': 1, b'plain': 2"
    )
    for name in (*ERRORS, excessive.NAME):
        shown = scene.cli("show", "r", name)
        assert shown.exit_code == 0, shown.output
        assert not {"\x1b", "\x00", "\u202e"} & set(shown.stdout)
        assert strict(scene.cli("show", "r", name, "--json").stdout)["task"] == name
    assert not {"\x1b", "\x00", "\u202e"} & set(scene.cli("status", "r", "--tasks").stdout)
    assert strict(scene.cli("export", "r", "--format", "json", "-o", "-").stdout)["results"]
    assert scene.cli("export", "r", "-o", tmp_path / "r.distflow").exit_code == 0
    assert scene.cli("import", tmp_path / "r.distflow", "--run-id", "copy").exit_code == 0
    assert scene.cli("graph", "--run", "r").exit_code == 0


@pytest.mark.parametrize(
    ("typed", "why"),
    [
        ("[" * 5000 + "]" * 5000, "nested "),
        ("[" * 300 + "]" * 300, "parameter ['value'][0][0][0]"),
        (str(1 << 64), "parameter ['value']: an integer of more than 64 bits"),
        ('"\\ud800"', "parameter ['value']: text with a lone surrogate"),
        (f'"{"x" * MAX_PARAMS_BYTES}"', "more than 1,048,576, most of them in 'value'"),
    ],
)
def test_parameters_that_have_no_place_are_refused(
    redis_server: RedisServer, typed: str, why: str, tmp_path: Path
) -> None:
    """Typed or from a file: exit 2, one line, nothing written."""
    scene = Scene(redis_server)
    file = tmp_path / "params.json"
    file.write_text(f'{{"value": {typed}}}')
    for words in (f"value={typed}", f"@{file}"):
        assert why in scene.refused("submit", FLOW, "-p", words, "--detach")
    assert scene.client.dbsize() == 0


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["submit", FLOW, "-p", "value=caf\udce9"], "['value']: text with a lone surrogate"),
        (["submit", FLOW, "-p", "caf\udce9=1"], r"no parameter 'caf\udce9'"),
        (["status", "caf\udce9", "--json"], r"run id 'caf\udce9' is not valid"),
        (["show", "run-1", "caf\udce9", "--json"], r"no task 'caf\udce9'"),
    ],
)
def test_words_that_are_no_utf8_are_refused(
    redis_server: RedisServer, words: list[str], why: str
) -> None:
    """A terminal may send any bytes, which Python passes on as surrogates: exit 2, one line."""
    scene = Scene(redis_server)
    scene.open_run("a")
    assert why in scene.refused(*words)


def test_a_decision_that_is_too_deep_is_refused(redis_server: RedisServer) -> None:
    """What a person types for --done is bounded as what a task returns."""
    scene = Scene(redis_server)
    store, epoch = scene.open_run("a")
    scene.settle(store, epoch, "a", "unknown")
    # How deep JSON may be nested before its reader says so differs from Python to Python.
    for deep, why in ((5000, "nested "), (300, "nested deeper than 256 levels")):
        assert why in scene.refused("resolve", "run-1", "a", "--done", "[" * deep + "]" * deep)
    assert store.read_info().counts["unknown"] == 1


def test_strange_parameters_are_told(redis_server: RedisServer) -> None:
    """Not a number and infinity may be parameters: what is printed of them is JSON all the same."""
    scene = Scene(redis_server)
    words = ("-p", "value=[NaN, Infinity]", "--run-id", "r", "--detach", "--json")
    assert strict(scene.cli("submit", FLOW, *words).stdout)["params"] == {"value": ["nan", "inf"]}
    assert strict(scene.cli("status", "r", "--json").stdout)["params"] == {"value": ["nan", "inf"]}
    assert scene.cli("status", "r").exit_code == 0


@pytest.mark.parametrize(
    "value",
    [excessive.nested(), excessive.returns_itself(), [1 << 64], {"name": excessive.SURROGATE}],
    ids=["deep", "itself", "huge", "surrogate"],
)
def test_arguments_that_have_no_place_are_refused(value: Any) -> None:
    """While the workflow is built, by the name of the task."""
    with pytest.raises(InvalidInput, match=r"^task 'a': argument \["):
        Workflow("w").add("a", excessive.receives, ([value],))


def test_a_task_that_is_too_large_is_refused(redis_server: RedisServer) -> None:
    """Before anything is written; so are too many that are not."""
    client: Any = redis_server.client()
    flow = Workflow("w")
    flow.add("small", excessive.good, (1,))
    flow.add("heavy", excessive.receives, ("x" * MAX_TASK_BYTES,))
    with pytest.raises(InvalidInput, match=r"task 'heavy' has 16,777,\d+ bytes encoded, more than"):
        Client(client).create(flow)
    flow = Workflow("w")
    for _ in range(3):
        flow.add(None, excessive.receives, ("x" * 1000,))
    with pytest.raises(
        InvalidInput, match=r"first 3 of 3 tasks have more than 2,500 bytes encoded"
    ):
        Client(client).create(flow, max_graph_bytes=2500)
    assert client.dbsize() == 0
    assert Client(client).create(flow, max_graph_bytes=4000).info().total == 3


def test_a_large_graph_is_written_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """By bytes as well as by their number: one command never holds Redis for long."""
    monkeypatch.setattr("distflow.runs.run_writer._CHUNK_BYTES", 5000)
    flow = Workflow("w")
    for _ in range(10):
        flow.add(None, excessive.receives, ("x" * 2000,))
    flow.add("heavy", excessive.receives, ("x" * 9000,))
    store = MemoryRunStore("r")
    write_run(store, make_spec("r"), flow.compile())
    assert [len(tasks) for tasks in store.iter_tasks()] == [2, 2, 2, 2, 2, 1]
    assert [task for tasks in store.iter_tasks() for task in tasks] == list(flow.tasks)


def test_heavy_tasks_do_not_travel_together(
    redis_server: RedisServer, start_worker: StartWorker
) -> None:
    """A batch is one job of RQ, and has room for 8 MiB of arguments: three of these."""
    worker = start_worker(redis_server.url)
    flow = Workflow("w")
    for number in range(9):
        flow.add(f"t{number}", excessive.receives, (["x" * (5 << 19)],))
    run = Client(redis_server.client()).submit(flow, run_id="r")
    assert run.wait(30) == RunStatus.SUCCESS
    jobs = re.findall(r"default: r: t\d( and \d+ more)? \(", worker.log())
    assert len(jobs) >= 3
    assert set(jobs) <= {"", " and 1 more", " and 2 more"}
