"""Text from outside, as it is shown and logged."""

from __future__ import annotations

import io
import json
import logging
import shutil
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distflow.cli.ui.common import quote_word
from distflow.events.loggers import event_logger
from distflow.events.notice import Notice
from distflow.logs import get_logger
from distflow.text import counted, visible
from distflow.wire.as_json import json_text

#: Of every category of Unicode, lone surrogates among them.
ANYTHING = st.text(st.characters(exclude_categories=()))

FORGED = "x\n2026-01-01 ERROR forged\x1b[2J\u202e"
SHOWN = r"x\n2026-01-01 ERROR forged\x1b[2J\u202e"


@given(ANYTHING)
def test_what_is_visible_is_one_harmless_line(text: str) -> None:
    """And stays as it is when it is made visible again."""
    shown = visible(text)
    assert len(shown.splitlines()) <= 1
    assert all(c.isprintable() or c.isspace() for c in shown)
    assert not any(ord(c) < ord(" ") and c != "\t" for c in shown)
    assert visible(shown) == shown


@pytest.mark.parametrize("text", ["Zürich 東京 🎉", "a\xa0b\u3000c", "a\tb", r"C:\new", ""])
def test_what_can_be_printed_stays(text: str) -> None:
    """Letters of all scripts, spaces of all widths, tabs, and backslashes."""
    assert visible(text) == text


@given(st.dictionaries(ANYTHING, ANYTHING))
def test_json_says_the_same_visibly(document: dict[str, str]) -> None:
    """JSON has escapes for what is not printed."""
    text = json_text(document, indent=2)
    assert json.loads(text) == json.loads(json.dumps(document))
    assert all(visible(line) == line for line in text.split("\n"))


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_a_command_to_type_has_the_same_words() -> None:
    """Whatever a word holds, the shell reads it as it is."""
    words = ["plain", "two words", "it's", "a'\\\n\x1b[2Jé\u202e\t東", "\x9b2"]
    typed = "printf '%s\\0' " + " ".join(map(quote_word, words))
    assert visible(typed) == typed
    environment = {"LC_ALL": "C.UTF-8"}
    done = subprocess.run(["bash", "-c", typed], capture_output=True, check=True, env=environment)
    assert done.stdout.decode().split("\0")[:-1] == words


def test_no_record_forges_another(caplog: pytest.LogCaptureFixture) -> None:
    """Neither its arguments nor the error that it tells of; it keeps its template."""
    log, stream = get_logger("distflow.test"), io.StringIO()
    handler = logging.StreamHandler(stream)
    log.addHandler(handler)
    error = ValueError(FORGED)
    try:
        log.warning("run %s has %d tasks: %s", FORGED, 3, error)
        log.warning(FORGED)
        log.warning("failed", exc_info=error)
    finally:
        log.removeHandler(handler)
    record, *told = stream.getvalue().split("\n")[:-1]
    assert record == f"run {SHOWN} has 3 tasks: {SHOWN}"
    assert told[:2] == [SHOWN, "failed"]
    assert told[2] == "  ValueError: x"
    assert all(line.isprintable() and line.startswith("  ") for line in told[2:])
    assert caplog.records[0].msg == "run %s has %d tasks: %s"


def test_no_event_forges_another() -> None:
    """One line per notice in both forms of the logger."""
    notice = Notice("task_end", "run-1", 0.0, FORGED, message=FORGED)
    for form in ("text", "json"):
        stream = io.StringIO()
        event_logger(form, stream)(notice)
        (line,) = stream.getvalue().split("\n")[:-1]
        assert line.isprintable()


def test_counts() -> None:
    """One is one."""
    assert [counted(n, "task") for n in (0, 1, 2, 1000)] == [
        *("0 tasks", "1 task", "2 tasks", "1,000 tasks")
    ]
    assert counted(2, "entry", "entries") == "2 entries"
