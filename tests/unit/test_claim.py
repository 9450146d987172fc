"""What workers and the store say to each other about attempts."""

from __future__ import annotations

import pytest

from distflow.core.claim import (
    READ_VERSIONS,
    Finish,
    Progress,
    Refused,
    Unknown,
    check_version,
    scope_of,
    unread_jobs,
)
from distflow.errors import RunTooNew


def test_the_run_of_a_newer_release_is_refused() -> None:
    """Every version that is read passes; the message names both, and what to do."""
    for version in READ_VERSIONS:
        check_version("r", version)
    with pytest.raises(RunTooNew) as caught:
        check_version("r", READ_VERSIONS[-1] + 1)
    assert str(caught.value) == (
        "run r is of version 3, and this distflow reads versions 1 and 2: "
        "a newer distflow made it, so use that one for it"
    )


@pytest.mark.parametrize(("following", "kind"), [(4, "retried"), (3, "looped")])
def test_the_history_tells_a_retry_from_an_iteration(following: int, kind: str) -> None:
    """An iteration goes on with the number of the last attempt."""
    progress = Progress(following)
    finish = Finish("a", "token", 3, "wait", "failure", b"", progress=progress)
    assert finish.history_kind == kind


def test_a_question_knows_the_workers_lost_so_far() -> None:
    """Those of its task's progress: a hook that lets it run again adds one."""
    assert Unknown(b"", Progress(3, lost=2)).lost == 2


def test_a_worker_that_reads_no_jobs_refuses_no_task() -> None:
    """There is no claim to give back, and no scope that is true of any task."""
    assert unread_jobs("cannot unpickle") == Refused(
        task="", token="", scope="", what="its jobs", words="cannot unpickle", trace=""
    )


def test_a_scope_is_one_text() -> None:
    """Its kind, then the name, which may have spaces."""
    assert scope_of("task", "pay the bill") == "task pay the bill"
