"""The versions that distflow takes are those that it is tested with."""

from __future__ import annotations

import tomllib
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

from tests.architecture.test_layers import ROOT

PROJECT: Any = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

#: What users install: without tools, and the peers of the benchmarks.
NEEDED = [
    Requirement(text)
    for text in (
        *PROJECT["dependencies"],
        *PROJECT["optional-dependencies"]["embedded"],
        *PROJECT["optional-dependencies"]["examples"],
    )
]


def pins(name: str) -> dict[str, Version]:
    """A file of constraints."""
    lines = (ROOT / name).read_text().split()
    return {name.lower(): Version(version) for name, version in (s.split("==") for s in lines)}


@pytest.mark.parametrize("needed", NEEDED, ids=str)
def test_the_lowest_version_is_tested(needed: Requirement) -> None:
    """``make test-oldest`` has what the requirement names, and no newer one."""
    (lowest,) = [each.version for each in needed.specifier if each.operator == ">="]
    assert pins("constraints-oldest.txt")[needed.name] == Version(lowest)


@pytest.mark.parametrize("needed", NEEDED, ids=str)
def test_the_pinned_version_is_taken(needed: Requirement) -> None:
    """``make test`` has what users may have."""
    assert pins("constraints.txt")[needed.name] in needed.specifier


def test_nothing_else_is_the_oldest() -> None:
    """A name in the list of the oldest is pinned for ``make test`` too."""
    assert pins("constraints-oldest.txt").keys() <= pins("constraints.txt").keys()
