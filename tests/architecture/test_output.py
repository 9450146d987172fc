"""Whatever is printed or logged passes one place, where text from outside is made visible."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from tests.architecture.test_layers import ROOT, modules

#: Where all output of commands meets, and all records; each other line says that it does the same.
PLACES = {
    ("distflow.cli.ui.common", "click.echo"),
    ("distflow.logs", "logging.getLogger"),
    ("distflow.events.loggers", "print"),
    ("distflow.runs.background", "sys.stderr.write"),
    ("distflow_worker.fast", "print"),
}

WRITERS = ("print", "click.echo", "click.secho", "logging.getLogger")


def writes_in(path: Path) -> Iterator[tuple[str, int]]:
    """What a file calls that prints or logs, with its line."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            if called in WRITERS or called.startswith(("sys.stdout.write", "sys.stderr.write")):
                yield called, node.lineno


def test_all_output_meets_in_one_place() -> None:
    """Nothing else prints, and every logger is made where its records become visible."""
    wrong = [
        f"{path.relative_to(ROOT)}:{line} calls {called}"
        for name, path in modules()
        for called, line in writes_in(path)
        if (name, called) not in PLACES
    ]
    assert wrong == []


#: What is counted is one of these: f"{n} tasks" would say "1 tasks".
COUNTED = re.compile(
    r"\} (tasks|runs|outcomes|iterations|workers|batches|entries|successes|attempts)\b"
)


def test_one_is_one() -> None:
    """Whoever counts lets :func:`distflow.text.counted` say it."""
    wrong = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for _name, path in modules()
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if COUNTED.search(line) and "} runs but" not in line
    ]
    assert wrong == []
