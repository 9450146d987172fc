"""The command line: ``distflow``. One module per group of commands, loaded when it is asked for."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from typing import Any, NoReturn

import click

from distflow.cli.common import run_guarded

#: Which module has which commands, in the order of the help.
COMMANDS: dict[str, str] = {
    "run": "local",
    "submit": "running",
    "resume": "running",
    "status": "inspecting",
    "runs": "inspecting",
    "watch": "inspecting",
    "show": "inspecting",
    "graph": "inspecting",
    "pause": "stopping",
    "cancel": "stopping",
    "resolve": "deciding",
    "export": "transferring",
    "import": "transferring",
    "delete": "deciding",
    "worker": "working",
}


class CommandLine(click.Group):
    """Imports a command when it is used, and ends every error in one line and an exit code."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - as click calls it
        """Every command whose module is there."""
        return [name for name in COMMANDS if importlib.util.find_spec(_module(name))]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of a name: any attribute of its module may hold it."""
        if cmd_name not in self.list_commands(ctx):
            return None
        values = vars(importlib.import_module(_module(cmd_name))).values()
        return next(
            (
                value
                for value in values
                if isinstance(value, click.Command) and value.name == cmd_name
            ),
            None,
        )

    def main(self, *args: Any, **options: Any) -> NoReturn:
        """Run the command line and end the process with its exit code."""
        options["standalone_mode"] = False
        sys.exit(run_guarded(lambda: super(CommandLine, self).main(*args, **options)))


def _module(command: str) -> str:
    return f"{__name__}.{COMMANDS[command]}"


@click.command(cls=CommandLine, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="distflow")
def main() -> None:
    """Run workflows on plain RQ workers, and resume them after anything was killed.

    Exit codes: 0 success, 1 failure or cancelled, 2 bad input (nothing was changed), 3 the run
    waits for a person, 4 paused or detached, 5 Redis cannot be reached, 130 interrupted.
    """
