"""What makes a run version 2."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from distflow.core import version
from distflow.core.model import Loop, Retry, Task
from distflow.core.run_options import RunOptions
from distflow.core.version import plain_options, run_version

OPTIONS = RunOptions(concurrency=3)


def pretend(monkeypatch: pytest.MonkeyPatch, added: Mapping[type, tuple[str, ...]]) -> None:
    """Let version 1 be one that does not know some fields."""
    monkeypatch.setattr(version, "ADDED_FIELDS", {**version.ADDED_FIELDS, **added})


def test_what_the_first_release_knows_is_version_1() -> None:
    """Whatever is said in its words."""
    full = Task(
        "a",
        "pkg:a",
        args=(1,),
        kwargs={"x": 1},
        depends_on=("b",),
        retry=Retry(1, 1.0, "exponential", 2.0, 0.5, 1),
        loop=Loop("pkg:until", 2, 1.0, sees="data"),
        timeout=1.0,
        condition="pkg:c",
        priority=1,
        continue_on_error=True,
        queue="q",
        effects="idempotent",
        verify="pkg:v",
        batch=False,
    )
    assert run_version([full], RunOptions(1, 1.0, "pkg:f", 10, batch=False)) == 1


@pytest.mark.parametrize(
    ("kind", "field", "said"),
    [
        (Task, "priority", Task("a", "pkg:a", priority=1)),
        (Retry, "jitter", Task("a", "pkg:a", retry=Retry(1, jitter=0.5))),
        (Loop, "interval", Task("a", "pkg:a", loop=Loop("pkg:until", 2, 1.0, sees="data"))),
    ],
)
def test_a_new_field_that_says_something_makes_it_version_2(
    monkeypatch: pytest.MonkeyPatch, kind: type, field: str, said: Task
) -> None:
    """Of one task among many; where it has its default, 0.1 knows as much."""
    pretend(monkeypatch, {kind: (field,)})
    silent = Task("b", "pkg:b", retry=Retry(1), loop=Loop("pkg:until", 2, sees="data"))
    assert run_version([silent] * 3, OPTIONS) == 1
    assert run_version([silent, said, silent], OPTIONS) == 2


def test_a_loop_is_of_version_2() -> None:
    """Its condition sees more than in 0.1, where a run that has none is at home still."""
    assert run_version([Task("a", "pkg:a", loop=Loop("pkg:until", 2))], OPTIONS) == 2


def test_a_new_option_of_the_run_makes_it_version_2(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a task's does; and a file of version 1 does not name it."""
    pretend(monkeypatch, {RunOptions: ("batch",)})
    quiet, said = RunOptions(), RunOptions(batch=False)
    assert [run_version([], options) for options in (quiet, said)] == [1, 2]
    known: dict[str, Any] = plain_options(quiet)
    assert "batch" not in known
    assert RunOptions(**known) == quiet
    assert plain_options(said)["batch"] is False


def test_a_part_that_many_tasks_share_is_asked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A workflow of a million tasks has a few policies."""
    asked: list[Any] = []
    says_more = version._says_more

    def note(part: Any) -> bool:
        asked.append(part)
        return says_more(part)

    monkeypatch.setattr(version, "_says_more", note)
    pretend(monkeypatch, {Task: ()})
    retry, loop = Retry(1), Loop("pkg:until", 2, sees="data")
    tasks = [Task(f"a{n}", "pkg:a", retry=retry, loop=loop) for n in range(9)]
    assert run_version(tasks, OPTIONS) == 1
    assert asked == [OPTIONS, retry, loop]


def test_a_large_run_of_version_1_is_not_looked_through(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nothing that a task could say is new."""
    pretend(monkeypatch, {Task: (), Retry: (), Loop: ()})
    tasks = iter([Task("a", "pkg:a")])
    assert run_version(tasks, OPTIONS) == 1
    assert len(list(tasks)) == 1
