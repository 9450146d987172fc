"""What is drawn and told while a command leads a run: the words of each event, on each display."""

from __future__ import annotations

import io
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner
from rich.console import Console

from distflow.cli.ui.common import ExitCode, Painted, put, run_guarded, say, show
from distflow.cli.ui.narration import Narrator
from distflow.cli.ui.progress import PlainDisplay, TerminalDisplay, View, WritingProgress
from distflow.core.picture import COUNTED
from distflow.core.tally import Tally
from distflow.errors import InvalidInput, RedisUnavailable, WrongState
from distflow.events.notice import Interrupt, Notice
from tests.support.command_line import MemoryScene


def view(waits_for: str = "", **counts: int) -> View:
    """A moment of a run; where tasks run, each has run for as many seconds as its number."""
    running = {f"task-{number}": float(number) for number in range(counts.get("running", 0))}
    return View(dict.fromkeys((*COUNTED, "pending"), 0) | counts, running, waits_for)


class Notes(PlainDisplay):
    """Keeps what it is told."""

    def __init__(self) -> None:
        super().__init__()
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


def notice(kind: str, task: str = "a", **fields: Any) -> Notice:
    """One of the run ``run-1``."""
    return Notice(kind, "run-1", 0.0, task, **fields)


TOLD = {
    "a repair": (notice("repair", "", message="sent again"), "repair: sent again"),
    "a warning": (notice("warning", "", message="look"), "warning: look"),
    "an unknown": (
        notice("task_unknown", "lost", status="unknown", attempt=1),
        "unknown: lost: WorkerLost: w1",
    ),
    "a failure": (
        notice("task_end", "bad", status="failure", attempt=2),
        "failure: bad (attempt 2): OSError: no such day",
    ),
    "a failure without a word": (notice("task_end", status="failure", attempt=1), "failure: a"),
    "a retry": (
        notice("task_retry", status="failure", attempt=1, message="OSError: no"),
        "retry: a: attempt 1 failed: OSError: no",
    ),
    "a retry without a word": (
        notice("task_retry", status="failure", attempt=3),
        "retry: a: attempt 3 failed",
    ),
    "a decision": (
        notice("task_resolved", status="success", message="by anna"),
        "resolved: a: success, by anna",
    ),
    "a success": (notice("task_end", status="success"), None),
    "a loop that goes on": (notice("task_retry", status="success", attempt=1), None),
    "a start": (notice("task_start"), None),
}


@pytest.mark.parametrize(("heard", "said"), TOLD.values(), ids=TOLD)
def test_what_is_worth_a_line(scene: MemoryScene, heard: Notice, said: str | None) -> None:
    """Each kind of event in its words; what goes well is counted only."""
    store, epoch = scene.open_run("a", "bad", "lost")
    scene.settle(store, epoch, "bad", "failure", error="OSError: no\nsuch day")
    scene.settle(store, epoch, "lost", "unknown", error="WorkerLost: w1")
    told = Notes()
    Narrator(store, told).tell([heard])
    assert told.notes == ([] if said is None else [said])


def test_a_retry_by_decision(scene: MemoryScene) -> None:
    """It is not called ready: it runs again."""
    store, _epoch = scene.open_run("a")
    told = Notes()
    Narrator(store, told).tell([notice("task_resolved", status="ready", message="by anna")])
    (line,) = told.notes
    assert line.startswith("resolved: a: ")
    assert "ready" not in line
    assert line.endswith("again, by anna")


def test_lines_of_a_kind_end(scene: MemoryScene, monkeypatch: pytest.MonkeyPatch) -> None:
    """From some number on they are counted only, which is said once; other kinds go on."""
    monkeypatch.setattr("distflow.cli.ui.narration._MOST_LINES", 2)
    store, _epoch = scene.open_run("a")
    told = Notes()
    narrator = Narrator(store, told)
    for number in range(4):
        narrator.tell([notice("repair", "", message=f"r{number}")])
    narrator.tell([notice("warning", "", message="look")])
    assert told.notes[:2] == ["repair: r0", "repair: r1"]
    assert told.notes[2].startswith("repair: ")
    assert told.notes[3:] == ["warning: look"]


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[TerminalDisplay, io.StringIO]]:
    """A display on a terminal of 60 columns, and what it writes."""
    monkeypatch.setattr("distflow.cli.ui.progress._DRAW_SECONDS", 0.0)
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=60, highlight=False)
    with TerminalDisplay(console) as display:
        yield display, out


def plain(out: io.StringIO) -> str:
    """What was written, without what moves the cursor and paints."""
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", out.getvalue())


def test_a_terminal(drawn: tuple[TerminalDisplay, io.StringIO]) -> None:
    """A bar with the counts, the tasks at work that have been longest, and what is waited for;
    notes stay above it, with their first word in its colour.
    """
    display, out = drawn
    display.note("failure: a: OSError: no\nsuch day")
    assert "\x1b[31mfailure" in out.getvalue()
    assert "failure: a: OSError: no such day" in plain(out)
    display.update(view(success=1, failure=1, running=8, waits_for="type `distflow worker`"))
    text = plain(out)
    assert re.search(r"━+ +2/10 +0:00:0\d", text)
    assert "1 success, 1 failure, 8 running" in text
    assert re.findall(r"task-\d", text) == [f"task-{number}" for number in (7, 6, 5, 4, 3, 2)]
    assert "and 2 more" in text
    assert "waits: type `distflow worker`" in text
    assert max(map(len, re.split(r"[\r\n]+", text))) <= 60


def test_a_terminal_that_is_gone(drawn: tuple[TerminalDisplay, io.StringIO]) -> None:
    """It does not end the run."""
    display, out = drawn

    def refuse(_text: str) -> int:
        raise OSError(5, "Input/output error")

    out.write = refuse  # type: ignore[method-assign]
    display.note("failure: a")
    display.update(view(running=1))
    display.__exit__(None, None, None)
    del out.write


def test_plain_lines(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Every few seconds the counts, where they have changed; what is waited for at once."""
    display = PlainDisplay()
    display.update(view(running=1, pending=1))
    assert capsys.readouterr().err == ""
    display.update(view(running=1, pending=1, waits_for="a worker"))
    display.update(view(running=1, pending=1, waits_for="a worker"))
    assert capsys.readouterr().err == "waits: a worker\n"
    monkeypatch.setattr("distflow.cli.ui.progress._PLAIN_SECONDS", 0.0)
    for _ in range(2):
        display.update(view(success=1, pending=1))
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith(": 1/2 done: 1 success, 1 pending")


@pytest.mark.parametrize(("hands_over", "code"), [(False, 130), (True, 143)])
def test_the_making_of_a_run_is_interrupted(
    capsys: pytest.CaptureFixture[str], *, hands_over: bool, code: int
) -> None:
    """No run is made, which is said, and the exit code is that of the signal."""
    told = Interrupt()
    told.hands_over = hands_over
    told.set()
    with pytest.raises(click.exceptions.Exit) as ended:
        WritingProgress(told)(0, 5)
    assert ended.value.exit_code == code
    assert "no run was" in capsys.readouterr().err


ENDINGS = {
    "nothing": (None, 0, ""),
    "bad input": (InvalidInput("no such\n thing"), 2, "distflow: no such thing\n"),
    "a wrong state": (WrongState("it has ended"), 2, "distflow: it has ended\n"),
    "Redis is away": (RedisUnavailable("it is away"), 5, "distflow: it is away\n"),
    "Ctrl-C": (KeyboardInterrupt(), 130, ""),
    "usage": (click.UsageError("No such option: -x."), 2, "distflow: No such option: -x\n"),
    "no such file": (FileNotFoundError(2, "No such file", "x"), 2, "distflow: x: No such file\n"),
    "a full disk": (OSError(28, "No space left"), 74, "distflow: cannot go on: No space left\n"),
}


@pytest.mark.parametrize(("error", "code", "said"), ENDINGS.values(), ids=ENDINGS)
def test_errors_end_in_a_line_and_a_code(
    capsys: pytest.CaptureFixture[str], error: BaseException | None, code: int, said: str
) -> None:
    """Whatever a command raises."""

    def call() -> None:
        if error is not None:
            raise error

    assert run_guarded(call) == code
    told = capsys.readouterr().err
    assert told.startswith("distflow: ") == bool(said)
    assert told.endswith(said.rpartition(": ")[2])
    assert told.count("\n") == said.count("\n")


def test_the_answer_of_a_command_is_its_code() -> None:
    """Where it is a number."""
    assert run_guarded(lambda: ExitCode.BLOCKED) == 3
    assert run_guarded(lambda: "text") == 0


def test_a_reader_that_has_gone(tmp_path: Path) -> None:
    """It ends what only prints, quietly, and not what has more to do."""
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as gone, pytest.MonkeyPatch.context() as patched:
        patched.setattr("sys.stdout", gone)
        assert run_guarded(lambda: put("x" * 100_000)) == 141
    reading, writing = os.pipe()
    os.close(reading)
    done = tmp_path / "done"

    def go_on() -> None:
        show("x")
        say("y")
        done.touch()

    with os.fdopen(writing, "w") as gone, pytest.MonkeyPatch.context() as patched:
        patched.setattr("sys.stdout", gone)
        patched.setattr("sys.stderr", gone)
        assert run_guarded(go_on) == 0
    assert done.exists()


def test_a_terminal_that_has_not_all_characters(monkeypatch: pytest.MonkeyPatch) -> None:
    """What it has not is escaped, and ends nothing."""
    raw = io.BytesIO()
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(raw, encoding="latin-1"))
    put(Painted("a → ", "ü"))
    assert raw.getvalue() == b"a \\u2192 \xfc\n"


def test_a_word_is_painted_on_a_terminal_alone() -> None:
    """In one colour; where the output is piped nothing is left of that."""
    command = click.Command("paint", callback=lambda: put(Painted("a ", "red", " b", "red")))
    assert CliRunner().invoke(command).stdout == "a red b\n"
    assert CliRunner().invoke(command, color=True).stdout == "a \x1b[31mred\x1b[0m b\n"


def test_growing_nodes_have_a_line_each(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a terminal below the counts, elsewhere behind them."""
    monkeypatch.setattr("distflow.cli.ui.progress._PLAIN_SECONDS", 0.0)
    tallies = [Tally("clean", "map", 100, 37, 2), Tally("train", "plan", 3, 0, 0)]
    growing = view(success=40, pending=64)._replace(tallies=tallies)
    plain = Notes()
    plain.update(growing)
    said = "40/104 done: 40 success, 64 pending; clean 37/100 done, 2 failed; train 0/3 done"
    assert plain.notes[-1].endswith(said)
    console = Console(file=io.StringIO(), width=60, force_terminal=True)
    with TerminalDisplay(console) as display:
        display.update(growing)
    assert isinstance(console.file, io.StringIO)
    drawn = console.file.getvalue()
    assert "clean 37/100 done, 2 failed" in drawn
    assert "train 0/3 done" in drawn
