"""The documentation as tests read it.

Each heading begins a section, with a folder of its own when it is run. There,

* ``python`` blocks are files, named by their first line, ``# name.py``;
* ``pycon`` blocks are sessions of the Python shell, where ``...`` stands for any output;
* ``console`` blocks are sessions of bash, likewise;
* ``<!-- workers: N [QUEUE...] -->`` asks for a Redis, whose URL is in ``REDIS_URL``, and for N
  stock RQ workers; without it, console blocks are read and not run. ``; numbers vary`` at its end
  says that a number in the section's output stands for any number.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from tests.support.worker_process import ROOT

PAGES = [
    "README.md",
    "CONTRIBUTING.md",
    *sorted(path.relative_to(ROOT).as_posix() for path in ROOT.glob("docs/**/*.md")),
]

_HEADING = re.compile(r"#{1,4} (.+)")
_WORKERS = re.compile(r"<!-- workers: (\d+)((?: \w+)*)(; numbers vary)? -->")
_FENCE = "```"


class Block(NamedTuple):
    """A fenced block; its text begins on a line of the page, counted from 1."""

    language: str
    text: str
    line: int


class Section(NamedTuple):
    """What stands under one heading; ``workers`` is None where no Redis is asked for."""

    page: str
    title: str
    blocks: list[Block]
    workers: int | None = None
    queues: tuple[str, ...] = ()
    numbers_vary: bool = False


class Typed(NamedTuple):
    """A command of a console block, and the output that the page shows for it."""

    command: str
    output: str


def read_text(page: str) -> str:
    """A whole page."""
    return (ROOT / page).read_text(encoding="utf-8")


def read_sections(page: str) -> list[Section]:
    """The sections of a page that have blocks."""
    sections = [Section(page, page, [])]
    lines = enumerate(read_text(page).splitlines(), 1)
    for number, line in lines:
        if heading := _HEADING.fullmatch(line):
            sections.append(Section(page, heading[1], []))
        elif asked := _WORKERS.fullmatch(line):
            sections[-1] = sections[-1]._replace(
                workers=int(asked[1]),
                queues=tuple(asked[2].split() or ["default"]),
                numbers_vary=bool(asked[3]),
            )
        elif line.startswith(_FENCE):
            text = "".join(_until_fence(lines))
            sections[-1].blocks.append(Block(line.removeprefix(_FENCE), text, number + 1))
    return [section for section in sections if section.blocks]


def typed_commands(block: Block) -> list[Typed]:
    """What is typed in a console block; a backslash continues a line."""
    found: list[Typed] = []
    going_on = False
    for line in block.text.splitlines(keepends=True):
        if going_on:
            found[-1] = found[-1]._replace(command=f"{found[-1].command}\n{line.rstrip()}")
        elif line.startswith("$ "):
            found.append(Typed(line.removeprefix("$ ").rstrip(), ""))
        else:
            assert found, f"line {block.line}: a console block begins with a command"
            found[-1] = found[-1]._replace(output=found[-1].output + line)
            continue
        going_on = found[-1].command.endswith("\\")
    return found


def _until_fence(lines: Iterator[tuple[int, str]]) -> Iterator[str]:
    for _number, line in lines:
        if line.startswith(_FENCE):
            return
        yield line + "\n"
