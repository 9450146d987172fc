"""Index the source of this machine's own Python standard library.

    distflow run examples.stdlib_index:index

One task per package (large ones in slices) → merge → rank → report.json and report.png.
Every task is ``idempotent``: it only reads, computes, or writes the same file again.
"""

from __future__ import annotations

import ast
import json
import keyword
import os
import platform
import sysconfig
import tokenize
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator
from io import BytesIO
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

from distflow import task, workflow
from examples.chart import draw_report

#: Bytes of source that one task reads: a third of a second of work.
SLICE_BYTES = 512 * 1024

TOP_IDENTIFIERS = 20
TOP_IMPORTS = 15

#: What other people installed is no standard library.
FOREIGN = {"site-packages", "dist-packages", "__pycache__"}


class Slice(NamedTuple):
    """What one task reads: some files of one package."""

    name: str
    files: list[str]
    size: int


@workflow
def index(out: str = ".distflow/stdlib-index", limit: int | None = None) -> None:
    """Index the standard library.

    Args:
        out: the folder for the report.
        limit: read only the first so many files.
    """
    # Absolute, because a worker's working directory may be another.
    folder = os.path.abspath(out)  # noqa: PTH100 - workflow parameters are plain text
    root = Path(sysconfig.get_path("stdlib"))
    parts = [
        # The largest first: no worker is left alone with one at the end.
        index_files.options(name=f"index:{part.name}", priority=part.size)(str(root), part.files)
        for part in slices(root, find_files(root)[:limit])
    ]
    report = rank(merge(parts))
    write_report(report, folder)
    draw_chart(report, folder)


def find_files(root: Path) -> list[Path]:
    """The library's source files, in order."""
    return sorted(
        path for path in root.rglob("*.py") if FOREIGN.isdisjoint(path.relative_to(root).parts)
    )


def slices(root: Path, files: Iterable[Path]) -> Iterator[Slice]:
    """Divide files by package, and large packages alphabetically."""
    packages: dict[str, list[Path]] = {}
    for path in files:
        package = ".".join(path.relative_to(root).parent.parts) or "modules"
        packages.setdefault(package, []).append(path)
    for package, members in packages.items():
        sizes = [path.stat().st_size for path in members]
        starts = [0]
        held = 0
        for position, size in enumerate(sizes):
            if held and held + size > SLICE_BYTES:
                starts.append(position)
                held = 0
            held += size
        for number, (start, stop) in enumerate(pairwise([*starts, len(members)]), start=1):
            yield Slice(
                f"{package}-{number}" if len(starts) > 1 else package,
                [path.relative_to(root).as_posix() for path in members[start:stop]],
                sum(sizes[start:stop]),
            )


@task(effects="idempotent")
def index_files(root: str, files: list[str]) -> dict[str, Any]:
    identifiers: Counter[str] = Counter()
    imports: Counter[str] = Counter()
    unparsable: dict[str, str] = {}
    lines = size = 0
    for name in files:
        source = Path(root, name).read_bytes()
        lines += len(source.splitlines())
        size += len(source)
        try:
            found, imported = read_source(source)
        # The library keeps broken files to test its own parsers with.
        except (SyntaxError, ValueError, tokenize.TokenError) as error:
            unparsable[name] = str(error)
        else:
            identifiers += found
            imports.update(imported)
    return {
        "files": len(files),
        "lines": lines,
        "bytes": size,
        "identifiers": dict(identifiers),
        "imports": dict(imports),
        "unparsable": unparsable,
    }


def read_source(source: bytes) -> tuple[Counter[str], set[str]]:
    """How often each identifier stands in a file, and the top-level modules that it imports.

    Raises:
        SyntaxError, ValueError, tokenize.TokenError: it is no Python of this version.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ast.parse(source)
    identifiers: Counter[str] = Counter()
    imports: set[str] = set()
    statement: list[str] = []
    for kind, text, *_ in tokenize.tokenize(BytesIO(source).readline):
        if kind == tokenize.NAME and not keyword.iskeyword(text):
            identifiers[text] += 1
        if kind == tokenize.NEWLINE or text in {";", ":"}:
            imports |= imported_modules(statement)
            statement = []
        elif kind in {tokenize.NAME, tokenize.OP}:
            statement.append(text)
    return identifiers, imports


def imported_modules(statement: list[str]) -> set[str]:
    """The top-level modules that a statement imports: ``["import", "os", ".", "path"]`` -> os."""
    match statement:
        case ["from", module, *_] if module not in {".", "..."}:
            return {module}
        case ["import", *_]:
            return {name for before, name in pairwise(statement) if before in {"import", ","}}
        case _:
            return set()


@task(effects="idempotent")
def merge(parts: list[dict[str, Any]]) -> dict[str, Any]:
    identifiers: Counter[str] = Counter()
    imports: Counter[str] = Counter()
    unparsable: dict[str, str] = {}
    for part in parts:
        identifiers.update(part["identifiers"])
        imports.update(part["imports"])
        unparsable |= part["unparsable"]
    return {
        "python": platform.python_version(),
        **{name: sum(part[name] for part in parts) for name in ("files", "lines", "bytes")},
        "identifiers": dict(identifiers),
        "imports": dict(imports),
        "unparsable": unparsable,
    }


@task(effects="idempotent")
def rank(merged: dict[str, Any]) -> dict[str, Any]:
    identifiers, imports = merged.pop("identifiers"), merged.pop("imports")
    return {
        **merged,
        "identifiers": {"distinct": len(identifiers), "total": sum(identifiers.values())},
        "top_identifiers": top(identifiers, TOP_IDENTIFIERS),
        "top_imports": top(imports, TOP_IMPORTS),
    }


def top(counts: dict[str, int], size: int) -> list[list[Any]]:
    """The most frequent, with their counts; of equals the first in the alphabet."""
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return [list(item) for item in ranked[:size]]


@task(effects="idempotent")
def write_report(report: dict[str, Any], out: str) -> str:
    path = Path(out, "report.json")
    text = json.dumps(report, indent=2, ensure_ascii=False)
    return write_whole(path, text.encode())


@task(effects="idempotent")
def draw_chart(report: dict[str, Any], out: str) -> str:
    return write_whole(Path(out, "report.png"), draw_report(report))


def write_whole(path: Path, content: bytes) -> str:
    """Write a file that is never seen half-written; returns its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    draft.write_bytes(content)
    draft.replace(path)
    return str(path)
