"""Where modules are looked for, and what is said where two have one name."""

from __future__ import annotations

import statistics
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from distflow import Workflow
from distflow.authoring import check_importable
from distflow.authoring.imports import import_module
from distflow.errors import InvalidInput, WorkflowInvalid
from distflow.places import _first, find_other_copy, look_here_first, place_of
from distflow_worker.user_functions import load_function
from tests.unit import authored


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The working directory; the path is put back at the end."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    _first.clear()


@pytest.mark.parametrize("before", [[], ["."], ["/elsewhere", "HERE"], ["HERE"], [""]])
def test_the_working_directory_is_first(project: Path, before: list[str]) -> None:
    """Wherever it stood, or whether; what Python calls it is left."""
    sys.path[:] = [folder.replace("HERE", str(project)) for folder in before] + ["/last"]
    look_here_first()
    assert sys.path[0] in (str(project), "")
    assert sys.path.count(str(project)) == (before != [""])
    assert sys.path[-1] == "/last"
    look_here_first()
    assert sys.path.count(str(project)) == (before != [""])


def test_a_module_that_was_imported_before_is_named(project: Path) -> None:
    """With both files: what is here would be found first, and was not."""
    (project / "statistics.py").touch()
    assert find_other_copy("statistics") == ""
    look_here_first()
    said = f"{statistics.__file__} was imported as 'statistics' before {project}/statistics.py"
    assert find_other_copy("statistics").startswith(said)
    with pytest.raises(InvalidInput, match="rename the latter"):
        import_module("statistics")
    load_function.cache_clear()
    with pytest.raises(ImportError, match="rename the latter"):
        load_function("statistics:mean")
    assert find_other_copy("json") == find_other_copy("unheard_of") == ""


def test_the_file_is_named_where_something_lacks() -> None:
    """Whoever has two copies sees which was looked into."""
    with pytest.raises(ImportError, match=f"{authored.__file__}.*has no 'nothing'"):
        load_function(f"{authored.__name__}:nothing")
    flow = Workflow("w")
    flow.add("a", f"{authored.__name__}:nothing")
    with pytest.raises(WorkflowInvalid, match=f"{authored.__file__}.*has no function 'nothing'"):
        check_importable(flow)
    assert place_of(sys) == "built into Python"


@pytest.mark.parametrize("name", ["above_with_wraps", "above_without_wraps"])
def test_a_decorator_above_a_task_is_refused(name: str) -> None:
    """By whoever builds: workers call the function in the task, and would leave it out."""
    flow = Workflow("w")
    function: Any = getattr(authored, name)
    with pytest.raises(WorkflowInvalid, match=r"decorator.*below @task"):
        flow.add("a", function.inner)
    if name == "above_with_wraps":
        flow.add("b", f"{authored.__name__}:{name}")
        with pytest.raises(WorkflowInvalid, match=r"decorator above @task.*below @task"):
            check_importable(flow)
