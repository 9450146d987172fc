"""The command line: ``distflow``. One module per group of commands, loaded on demand."""

from __future__ import annotations

import gc
import importlib
import sys
from types import ModuleType
from typing import Any, NoReturn

import click

from distflow.cli.ui.common import ExitCode, run_guarded, silence

#: The module of each command, in the order of the help.
COMMANDS: dict[str, str] = {
    "run": "run",
    "submit": "submit",
    "resume": "submit",
    "status": "status",
    "runs": "status",
    "watch": "show",
    "show": "show",
    "graph": "show",
    "pause": "cancel",
    "cancel": "cancel",
    "resolve": "resolve",
    "export": "export",
    "import": "export",
    "snapshot": "snapshot",
    "delete": "resolve",
    "purge": "resolve",
    "worker": "worker",
    "workers": "workers",
    "coordinator": "coordinator",
}


class CommandLine(click.Group):
    """Imports a command when it is used, and turns every error into one line and an exit code."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - as click calls it
        """Every command, in the order of the help."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - as click calls it
        """The command of a name, under whatever attribute its module holds it."""
        if cmd_name not in COMMANDS:
            return None
        values = vars(_load(f"{__name__}.{COMMANDS[cmd_name]}")).values()
        commands = (value for value in values if isinstance(value, click.Command))
        return next(command for command in commands if command.name == cmd_name)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; click itself would exit a broken pipe with 1, as if a run had failed."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            silence()
            return ExitCode.BROKEN_PIPE

    def main(self, *args: Any, **options: Any) -> NoReturn:
        """Run the command line and end the process with its exit code."""
        options["standalone_mode"] = False
        sys.exit(run_guarded(lambda: super(CommandLine, self).main(*args, **options)))


def _load(name: str) -> ModuleType:
    """Import a module of commands, and keep it from the garbage collector: collecting it again and
    again, and once more at exit, would take a fifth of a short command's time.
    """
    if name in sys.modules:
        return sys.modules[name]
    gc.disable()
    try:
        return importlib.import_module(name)
    finally:
        gc.freeze()
        gc.enable()


@click.command(cls=CommandLine, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="distflow")
def main() -> None:
    """Run workflows on plain RQ workers, and resume them after any crash.

    Exit codes: 0 success, 1 failure or cancelled, 2 bad input (nothing was changed), 3 the run
    waits for a person, 4 paused or detached, 5 Redis cannot be reached or refuses, 130
    interrupted.
    """
