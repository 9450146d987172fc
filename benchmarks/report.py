"""``python -m benchmarks.report FILE``: the Markdown of saved results."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from benchmarks.results import load
from benchmarks.show import markdown


@click.command()
@click.argument("results", type=click.Path(exists=True, dir_okay=False, path_type=Path))
def main(results: Path) -> None:
    """Print the tables of RESULTS, a file that --json wrote, as Markdown."""
    for section in load(results):
        sys.stdout.write("\n".join(markdown(section)) + "\n\n")


if __name__ == "__main__":
    main()
