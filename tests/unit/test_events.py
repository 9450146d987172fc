"""Events: one vocabulary, and one translation of what the stream of a run tells."""

from __future__ import annotations

from pathlib import Path

import pytest

from distflow.core.model import Task
from distflow.core.run import Event
from distflow.core.status import TaskStatus
from distflow.events.announcer import Announcer
from distflow.events.hub import EventHub
from distflow.events.notice import Notice
from distflow.events.translation import Translator
from distflow.events.vocabulary import EVENTS, VOCABULARY, EventKind
from distflow.store.memory.store import MemoryRunStore

DOCS = Path(__file__).parents[2] / "docs"

#: What every notice has.
_ALWAYS = {"kind", "run_id", "at", "simulated"}

TASKS = {
    "plain": Task("plain", "m:f"),
    "asked": Task("asked", "m:f", condition="m:c"),
    "short": Task("short", "m:f", effects="at_most_once"),
}

#: The stream of an attempt that was retried, lost, decided and repaired.
STREAM = [
    Event("1-0", "claimed", "plain", attempt=1, batch="b"),
    Event("2-0", "waiting", "plain", "failure", 1, "", "w", 1_008_000, 0.5, (), "boom"),
    Event("3-0", "claimed", "asked", attempt=1, batch="b"),
    Event("4-0", "started", "asked", attempt=1, batch="b"),
    Event("5-0", "finished", "asked", "unknown", 1, "", "w"),
    Event("6-0", "resolved", "asked", "unknown", worker="its hook", note="no answer"),
    Event("7-0", "finished", "asked", "success", 1, "", "w", 0, 2.0),
    Event("8-0", "finished", "short", "success", 1, "", "w", 0, 0.25),
    Event("9-0", "finished", "never", "skipped", 1, "", "w"),
    Event("10-0", "resolved", "asked", "success", worker="anna", note="looked"),
    Event("11-0", "repaired", "", "worker_lost", 0, "b", "w", note="worker w was lost"),
    Event("12-0", "moved", "", "paused"),
    Event("13-0", "batch_ended", batch="b"),
]


def translator() -> Translator:
    """One that follows a run of which nothing is recorded, at 1,000 s on Redis's clock."""
    return Translator(MemoryRunStore("run-1"), lambda: 1000.0)


def test_the_stream_is_told_in_the_words_of_the_vocabulary() -> None:
    """Each start once, also of an attempt that only its end tells of."""
    told = translator()
    notices = [
        notice for event in STREAM for notice in told.notices_of(event, TASKS.get(event.task))
    ]
    assert [(each.kind, each.task, each.status, each.message) for each in notices] == [
        ("task_start", "plain", "running", ""),
        ("task_retry", "plain", "failure", "boom; it runs again in 8.0 s"),
        ("task_start", "asked", "running", ""),
        ("task_unknown", "asked", "unknown", ""),
        ("warning", "asked", "unknown", "asked stays unknown, by its hook: no answer"),
        ("task_end", "asked", "success", ""),
        ("task_start", "short", "running", ""),
        ("task_end", "short", "success", ""),
        ("task_skipped", "never", "skipped", ""),
        ("task_resolved", "asked", "success", "by anna: looked"),
        ("repair", "", "", "worker w was lost"),
    ]
    assert {each.run_id for each in notices} == {"run-1"}


def test_an_outcome_that_is_known_already_is_no_second_start() -> None:
    """A coordinator that read everything anew sees old events again."""
    again = Event("1-0", "finished", "a", "success", 1, "", "w", 0, 2.0)
    (notice,) = translator().notices_of(again, TASKS["plain"], TaskStatus.SUCCESS)
    assert notice.kind == "task_end"


def test_a_task_that_was_given_back_starts_anew() -> None:
    """Another worker claims it: that is another call."""
    told = translator()
    claim = Event("1-0", "claimed", "plain", attempt=1)
    kinds = [
        notice.kind
        for event in (claim, claim, Event("2-0", "released", "plain"), claim)
        for notice in told.notices_of(event, TASKS.get(event.task))
    ]
    assert kinds == ["task_start", "task_start"]


def test_notices_carry_what_the_table_says() -> None:
    """No field that the table leaves out is set, and no event is missing in it."""
    assert tuple(VOCABULARY) == tuple(EventKind)
    told = translator()
    for notice in (
        notice for event in STREAM for notice in told.notices_of(event, TASKS.get(event.task))
    ):
        carried = {*_ALWAYS, *VOCABULARY[EventKind(notice.kind)].carries}
        fields = zip(Notice._fields, notice, strict=True)
        empty = Notice(notice.kind, notice.run_id, notice.at)._asdict()
        surplus = {name for name, value in fields if value != empty[name]} - carried
        assert surplus <= ({"read_result"} if "result" in carried else set()), notice


@pytest.mark.parametrize("kind", EVENTS)
def test_the_reference_has_each_event(kind: str) -> None:
    """The table of events in the reference is that of the code."""
    meaning = VOCABULARY[EventKind(kind)]
    fields = ", ".join(f"`{name}`" for name in meaning.carries)
    row = f"| `{kind}` | {meaning.told} | {fields} |"
    pages = [page.read_text(encoding="utf-8") for page in DOCS.rglob("*.md")]
    assert sum(row in page for page in pages) == 1


def test_a_hub_without_callbacks_is_told_nothing_until_somebody_listens() -> None:
    """Nothing is made that nobody hears; who registers in the midst of a run hears from then on."""
    hub, heard = EventHub(), list[Notice]()
    announcer = Announcer(MemoryRunStore("r"), hub, lambda: 0.0)
    silent = [hub.is_silent]
    announcer.tell_event(STREAM[0], TASKS["plain"], TaskStatus.QUEUED)
    hub.on("task_start", heard.append)
    hub.on("task_end", print)
    silent.append(hub.is_silent)
    announcer.tell_event(STREAM[3], TASKS["asked"], TaskStatus.QUEUED)
    assert [(notice.kind, notice.task) for notice in heard] == [("task_start", "asked")]
    hub.off("task_start", heard.append)
    silent.append(hub.is_silent)
    hub.off("task_end", print)
    assert [*silent, hub.is_silent] == [True, False, False, True]
