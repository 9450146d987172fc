"""Tables for people at a terminal, and as Markdown."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Console
from rich.table import Table as RichTable

from benchmarks.results import Section, Table


def show(section: Section, console: Console) -> None:
    """Print a section."""
    for table in section.tables:
        shown = RichTable(title=table.title, title_justify="left")
        for place, column in enumerate(table.columns):
            shown.add_column(column, justify="right" if place else "left", overflow="fold")
        for row in table.rows:
            shown.add_row(*row)
        console.print(shown)
        for note in table.notes:
            console.print(note, style="dim", markup=False)


def markdown(section: Section) -> Iterator[str]:
    """The lines of a section: its tables, then where they were measured."""
    yield f"## {section.name.capitalize()}"
    for table in section.tables:
        yield from _markdown_table(table)
    yield ""
    facts = ", ".join(f"{name} {value}" for name, value in section.machine.items())
    settings = ", ".join(f"{name} {value}" for name, value in section.settings.items())
    yield f"Measured with {settings}, on: {facts}."


def _markdown_table(table: Table) -> Iterator[str]:
    yield from ("", f"### {table.title}", "")
    yield f"| {' | '.join(table.columns)} |"
    yield f"|---|{'---:|' * (len(table.columns) - 1)}"
    for row in table.rows:
        yield f"| {' | '.join(row)} |"
    yield ""
    for note in table.notes:
        yield f"- {note}"
