"""``python -m benchmarks [TABLE]…``: measure, show, and save."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import click
from rich.console import Console

from benchmarks.results import Section, save
from benchmarks.rounds import Settings
from benchmarks.server import PERSISTENCE
from benchmarks.show import show
from benchmarks.stage import end_cleanly
from benchmarks.systems import SYSTEMS
from benchmarks.tables import growth, ideal, latency, mapped, resume, runs, throughput

TABLES: Mapping[str, Callable[[Settings], Section]] = {
    "throughput": throughput.measure,
    "latency": latency.measure,
    "resume": resume.measure,
    "growth": growth.measure,
    "mapped": mapped.measure,
    "runs": runs.measure,
    "ideal": ideal.measure,
}

#: Columns: tables are wide, and are read from files and CI's logs as well.
_WIDTH = 200


@click.command()
@click.argument("tables", metavar="[TABLE]…", nargs=-1, type=click.Choice(list(TABLES)))
@click.option("--rounds", type=click.IntRange(min=1), help="Of each system.  [default: 5, short 1]")
@click.option("--short", is_flag=True, help="Small sizes: to see that all of it works.")
@click.option(
    "--system",
    "only",
    multiple=True,
    type=click.Choice(list(SYSTEMS)),
    help="This one alone; repeatable.",
)
@click.option(
    "--persistence",
    type=click.Choice(list(PERSISTENCE)),
    default="none",
    show_default=True,
    help="Of every Redis.",
)
@click.option("--million", is_flag=True, help="Also runs of a million tasks.")
@click.option(
    "--json",
    "file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Add the results to this file, in place of earlier ones of the same tables.",
)
def main(
    tables: tuple[str, ...],
    *,
    rounds: int | None,
    short: bool,
    only: tuple[str, ...],
    persistence: str,
    million: bool,
    file: Path | None,
) -> None:
    """Measure distflow and its peers on this machine, one TABLE after the other, all by default."""
    end_cleanly()
    settings = Settings(
        rounds=rounds or (1 if short else 5),
        short=short,
        persistence=persistence,
        only=only,
        million=million,
    )
    console = Console(width=_WIDTH, soft_wrap=False)
    for name in tables or TABLES:
        section = TABLES[name](settings)
        if not section.records:
            click.echo(f"{name}: none of the systems that were asked for is in it", err=True)
            continue
        show(section, console)
        if file:
            save(section, file)


if __name__ == "__main__":
    main()
