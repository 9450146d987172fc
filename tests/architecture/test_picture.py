"""docs/architecture.md says what is so: its arrows are the imports, and its paths exist."""

from __future__ import annotations

import re

import pytest

from tests.architecture.test_layers import LAYERS, ROOT, imports_of, modules, unit_of

PAGE = "docs/architecture.md"
#: Known to nearly all rooms: arrows to these would hide the others.
KNOWN_BY_ALL = {"core", "wire"}

ARROW = re.compile(r"^    (\w+)(?:\[.+?\])? --> (\w+)(?:\[.+?\])?$", re.MULTILINE)
CODE = re.compile(r"`((?:distflow|workers|tests)/[\w./]+)`")


def page() -> str:
    """The text of the page."""
    return (ROOT / PAGE).read_text(encoding="utf-8")


def room_of(module: str) -> str | None:
    """The room of a module as the picture calls it; None of what lies below all rooms."""
    unit = unit_of(module)
    if unit is None or LAYERS[unit] == 0:
        return None
    return unit.removeprefix("distflow.")


def imported_rooms() -> set[tuple[str, str]]:
    """Every import from one room to another, save of those that nearly all know."""
    found = set()
    for name, path in modules():
        here = room_of(name)
        for imported, _line, _inside, typing_only in imports_of(path):
            there = room_of(imported)
            if here and there and here != there and there not in KNOWN_BY_ALL and not typing_only:
                found.add((here, there))
    return found


def test_the_arrows_are_the_imports() -> None:
    """Neither shows or leaves out what the other has."""
    drawn = ARROW.findall(page().partition("sequenceDiagram")[0])
    assert len(drawn) == len(set(drawn)), "an arrow is drawn twice"
    imported = imported_rooms()
    missing = [f"    {here} --> {there}" for here, there in sorted(imported - set(drawn))]
    assert not missing, f"{PAGE} lacks the arrows " + "\n".join(missing)
    assert not set(drawn) - imported, f"nothing imports as {PAGE} draws"


@pytest.mark.parametrize("path", sorted(set(CODE.findall(page()))))
def test_its_paths_exist(path: str) -> None:
    """What moves takes its line on the page along."""
    assert (ROOT / path).exists(), f"{PAGE} names {path}"
    assert (ROOT / path).is_dir() == path.endswith("/"), f"{PAGE} names {path}"


def test_every_room_has_a_line() -> None:
    """In the table of rooms."""
    named = set(re.findall(r"^\| `(?:distflow|workers)/([\w/]+)/` \|", page(), re.MULTILINE))
    packages = {room_of(name) for name, path in modules() if path.name == "__init__.py"}
    assert {each for each in packages if each} <= {each.split("/")[0] for each in named}
