"""Which functions a worker may import."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from distflow.config import ALLOW_VARIABLE
from distflow.errors import NotAllowed
from distflow_worker.user_functions import load_function

HERE = "tests.support.tasks.guarded"

#: What a module's own name does not admit: it was not made to be called by whoever sends tasks.
UNNAMED = (
    *("plain", "always", "press", "Press", "pretending", "system", "os.system"),
    *("work.__call__", "work.__distflow_function__"),
)


@pytest.fixture(autouse=True)
def no_cache() -> Iterator[None]:
    """A process reads its environment once; a test is many."""
    load_function.cache_clear()
    yield
    load_function.cache_clear()


@pytest.mark.parametrize(
    ("patterns", "reference"),
    [
        (HERE, f"{HERE}:work"),
        ("tests.*", f"{HERE}:work"),
        ("nothing.*, tests.support.*", f"{HERE}:work"),
        (f"{HERE}:work", f"{HERE}:work"),
        (f"{HERE}:w*", f"{HERE}:work"),
        ("tests.*:work", f"{HERE}:work"),
        (f"{HERE}:plain", f"{HERE}:plain"),
        (f"{HERE}:*", f"{HERE}:press"),
        (f"{HERE}:Press.*", f"{HERE}:Press.squeeze"),
        (f"{HERE}:*,posix:*", f"{HERE}:system"),
        (f"{HERE}:*,posix:system", f"{HERE}:os.system"),
        ("tests.support.tasks.recording:*", "tests.support.tasks.recording:chained"),
    ],
)
def test_allowed(patterns: str, reference: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tasks by their module or their name, other functions by their name; those that are at home
    elsewhere by both.
    """
    monkeypatch.setenv(ALLOW_VARIABLE, patterns)
    assert callable(load_function(reference))


@pytest.mark.parametrize(
    ("patterns", "reference", "said"),
    [
        (HERE, "os:system", "no pattern of"),
        ("tests.*", "tests:work", "no pattern of"),
        (HERE, f"{HERE}x:work", "no pattern of"),
        (HERE, f"{HERE}.os:system", "no pattern of"),
        (HERE.upper(), f"{HERE}:work", "no pattern of"),
        (f"{HERE}:work", f"{HERE}:always", "no pattern of"),
        (f"{HERE}:work", f"{HERE}:work.__call__", "no pattern of"),
        ("", f"{HERE}:work", "no pattern of"),
        (",", f"{HERE}:work", "no pattern of"),
        *((HERE, f"{HERE}:{name}", f"add '{HERE}:{name}', or '{HERE}:*' for") for name in UNNAMED),
        (f"{HERE}:*", f"{HERE}:os.system", "it is 'posix:system'"),
        (f"{HERE}:*,posix", f"{HERE}:system", "it is 'posix:system'"),
        (f"{HERE}:*", f"{HERE}:system_by_part", "it is 'functools:partial'"),
        (f"{HERE}:*", f"{HERE}:note", "it is 'tests.support.tasks.recording:note'"),
        (f"{HERE}:*", f"{HERE}:Path", f"it is '{Path.__module__}:Path'"),
        (f"{HERE}:*", f"{HERE}:plain.__globals__.get", "it is 'None:dict.get'"),
        (f"{HERE}:*", f"{HERE}:plain.__class__", "it is 'builtins:function'"),
        ("*:work", f"{HERE}:work.__globals__.get", "no pattern of"),
    ],
)
def test_refused(patterns: str, reference: str, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """By its name, or by where it comes from; the line names the function and the patterns."""
    monkeypatch.setenv(ALLOW_VARIABLE, patterns)
    with pytest.raises(NotAllowed) as caught:
        load_function(reference)
    assert said in str(caught.value)
    assert repr(reference) in str(caught.value)
    assert f"{ALLOW_VARIABLE}={patterns!r}" in str(caught.value)


def test_nothing_is_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    """A module's own code runs when it is imported: a name that is refused is not."""
    monkeypatch.setenv(ALLOW_VARIABLE, HERE)
    forbidden = "tests.support.tasks.forbidden"
    monkeypatch.delitem(sys.modules, forbidden, raising=False)
    with pytest.raises(NotAllowed):
        load_function(f"{forbidden}:work")
    assert forbidden not in sys.modules


def test_without_patterns_everything_is_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in any RQ worker."""
    monkeypatch.delenv(ALLOW_VARIABLE, raising=False)
    assert load_function(f"{HERE}:os.system").__name__ == "system"
