"""What a Retry says: which failures are tried again, and when; and what of it is refused."""

from __future__ import annotations

import math
import pickle
from typing import Any

import pytest

from distflow.core.model import LONGEST_WAIT_SECONDS, Metrics, Retry, Task, class_names
from distflow.core.outcome import Attempt, Decision, Outcome, decide, timed_out, to_finish
from distflow.core.run_options import RunOptions
from distflow.core.status import TaskStatus
from distflow.core.version import run_version
from distflow.errors import InvalidInput, RetryAfter
from distflow.wire import codec

REFUSED = ConnectionRefusedError("no")


def judge(retry: Retry | None, outcome: Outcome, attempt: int = 1, **options: Any) -> Decision:
    """What a worker decides of an attempt that had started."""
    at = Attempt(attempt, 1, 0, 0, started=True)
    task = Task("t", "m:f", retry=retry, **options)
    return decide(task, at, outcome, metrics=Metrics(0.0, 1.0, 1.0), worker="w", roll=0.5)


def raised(error: BaseException, **fields: Any) -> Outcome:
    """What a worker sees of an exception."""
    names = class_names(type(error))
    return Outcome(TaskStatus.FAILURE, error=repr(error), raised=names, **fields)


@pytest.mark.parametrize(
    ("options", "kind"),
    [
        ({"on": ConnectionRefusedError}, "wait"),
        ({"on": (KeyError, OSError)}, "wait"),
        ({"on": "builtins:ConnectionError"}, "wait"),
        ({"on": [KeyError]}, "final"),
        ({"on": (BlockingIOError,)}, "final"),
        ({"not_on": OSError}, "final"),
        ({"not_on": (KeyError, "builtins:ValueError")}, "wait"),
        ({"on": OSError, "not_on": ConnectionError}, "final"),
        ({"on": (), "not_on": ()}, "wait"),
    ],
)
def test_classes_decide(options: dict[str, Any], kind: str) -> None:
    """Subclasses count; what is not retried wins over what is."""
    assert judge(Retry(3, **options), raised(REFUSED)).kind == kind


@pytest.mark.parametrize(
    ("outcome", "kinds"),
    [
        (timed_out(3.0), ["wait", "final"]),
        (Outcome(TaskStatus.FAILURE, error="WorkerLost: …"), ["final", "wait"]),
    ],
)
def test_what_raised_nothing(outcome: Outcome, kinds: list[str]) -> None:
    """A timeout is a TimeoutError; a lost worker is none of any class."""
    retries = (Retry(1, on=TimeoutError), Retry(1, not_on=TimeoutError))
    assert [judge(retry, outcome).kind for retry in retries] == kinds


def test_delays_one_by_one() -> None:
    """The last one counts for all that follow; without a number there are as many as delays."""
    listed = Retry(delays=[1, 5.5, 30])
    assert listed.attempts == 3
    found = [judge(listed, raised(REFUSED), attempt) for attempt in (1, 2, 3, 4)]
    assert [decision.delay_seconds for decision in found] == [1, 5.5, 30, 0.0]
    assert [decision.kind for decision in found] == ["wait", "wait", "wait", "final"]
    longer = Retry(5, delays=(1, 2))
    assert [judge(longer, raised(REFUSED), n).delay_seconds for n in (1, 2, 3, 5)] == [1, 2, 2, 2]


def test_who_asks_for_another_try_gets_it() -> None:
    """``RetryAfter`` says when, and is not bound to a list of classes; it uses an attempt."""
    asked = raised(RetryAfter(7.5), retry_after=7.5)
    retry = Retry(1, delay=60.0, on=KeyError)
    decision = judge(retry, asked)
    assert (decision.kind, decision.delay_seconds) == ("wait", 7.5)
    assert judge(retry, asked, attempt=2).kind == "final"
    assert judge(None, asked).kind == "final"
    far = judge(retry, asked._replace(retry_after=math.inf))
    assert far.delay_seconds == LONGEST_WAIT_SECONDS
    # Started at most once is started at most once: it does not vouch that nothing happened.
    assert judge(retry, asked, effects="at_most_once").kind == "final"


@pytest.mark.parametrize("seconds", [-1, math.nan, "3", None, True])
def test_a_wrong_retry_after(seconds: Any) -> None:
    """It is told where it is raised."""
    with pytest.raises(InvalidInput, match="takes seconds"):
        RetryAfter(seconds)


def test_a_retry_after_travels() -> None:
    """Between processes of the user's own too."""
    again = pickle.loads(pickle.dumps(RetryAfter(2.0, "busy")))
    assert (again.seconds, str(again)) == (2.0, "busy")
    assert str(RetryAfter(2)) == "it asked to be tried again after 2 s"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"on": 5}, "on must list exception classes"),
        ({"on": int}, "on must list exception classes"),
        ({"not_on": ["ValueError"]}, "not_on must list exception classes"),
        ({"not_on": (ValueError, None)}, "not_on must list exception classes"),
        ({"delays": []}, "one or more seconds"),
        ({"delays": 5}, "one or more seconds"),
        ({"delays": [1, -1]}, "one or more seconds"),
        ({"delays": [1, "2"]}, "one or more seconds"),
        ({"delays": [math.nan]}, "one or more seconds"),
        ({"delays": [1], "delay": 2.0}, "one or the other"),
        ({"delays": [1], "backoff": "exponential"}, "one or the other"),
        ({"delays": [1], "max_delay": 2.0}, "one or the other"),
        ({"attempts": "2"}, "whole numbers"),
        ({"attempts": 1.5}, "whole numbers"),
        ({"attempts": True}, "whole numbers"),
        ({"lost": None}, "whole numbers"),
        ({"delay": "1"}, "seconds"),
        ({"jitter": "a"}, "fraction"),
    ],
)
def test_what_is_refused(options: dict[str, Any], words: str) -> None:
    """In one line, whatever was given."""
    with pytest.raises(InvalidInput, match=words) as caught:
        Retry(**options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "retry",
    [
        Retry(3, on=(OSError, KeyError)),
        Retry(3, not_on="pkg.errors:Fatal"),
        Retry(delays=[1, 2.5]),
        Retry(2, 1.0, "exponential", 9.0, 0.5, 1, on=OSError, not_on=ConnectionError),
    ],
)
def test_it_travels_in_version_2(retry: Retry) -> None:
    """What version 1 does not know makes a run one of version 2, and is there again."""
    task = Task("a", "pkg:a", retry=retry)
    assert run_version([Task("b", "pkg:b"), task], RunOptions()) == 2
    packed = codec.pack(codec.encode_task(task))
    assert codec.decode_task(codec.unpack(packed)).retry == retry


def test_what_version_1_knows_is_written_as_it_was() -> None:
    """Six fields, which release 0.1 reads."""
    task = Task("a", "pkg:a", retry=Retry(3, 1.0))
    assert codec.encode_task(task)["retry"] == [3, 1.0, "fixed", None, 0.0, 0]
    assert run_version([task], RunOptions()) == 1


def test_what_failed_is_told_with_the_wait() -> None:
    """In short, and as text that can be written; an outcome that stands has it itself."""
    lone = "\udcff" + "x" * 1000
    decision = judge(Retry(1), Outcome(TaskStatus.FAILURE, error=lone))
    note = to_finish(decision, Task("t", "m:f"), "token", b"").note
    assert note.startswith("\\udcffx")
    assert len(note) == 300
    final = judge(None, raised(REFUSED))
    assert to_finish(final, Task("t", "m:f"), "token", b"").note == ""
