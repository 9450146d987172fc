"""What every command shares: its options, its connection, its exit code and its last line."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Callable
from contextlib import suppress
from enum import IntEnum
from pathlib import Path
from typing import Any, NamedTuple, TextIO, TypeVar

import click
from click.exceptions import NoArgsIsHelpError

from distflow.config import DEFAULT_REDIS_URL, URL_VARIABLES, environment_url
from distflow.core.status import RunStatus
from distflow.errors import DistflowError
from distflow.events.notice import Interrupt
from distflow.redis_url import hide_password, tidy_url
from distflow.text import visible
from distflow.wire.as_json import json_text, to_plain

_F = TypeVar("_F", bound=Callable[..., Any])


class Painted(NamedTuple):
    """A line with one coloured word; the colour shows on a terminal only."""

    before: str
    word: str
    after: str = ""
    #: As click names it; None for no colour.
    colour: str | None = None

    def __str__(self) -> str:
        return f"{self.before}{self.word}{self.after}"


#: A line to print: it may hold text from outside.
Line = str | Painted


class ExitCode(IntEnum):
    """The exit codes of commands."""

    #: The run succeeded, or the command did what was asked.
    SUCCESS = 0
    #: The run ended with a failure, cancelled or timed out.
    FAILED = 1
    #: Usage or bad input; nothing was changed.
    USAGE = 2
    #: The run waits for a person.
    BLOCKED = 3
    #: The run was paused before its end, or the command did not wait for its end.
    PAUSED = 4
    #: Redis cannot be reached, or refuses.
    UNREACHABLE = 5
    #: The system failed the command, for example with a full disk. As EX_IOERR.
    SYSTEM = 74
    #: The command was interrupted; a run that it led can be resumed.
    INTERRUPTED = 130
    #: SIGTERM ended the command: 128 + 15. Other coordinators may take over its run.
    TERMINATED = 143
    #: The reader of the output has closed it: 128 + SIGPIPE, as in shells.
    BROKEN_PIPE = 141


_OF_STATUS = {
    RunStatus.SUCCESS: ExitCode.SUCCESS,
    RunStatus.FAILURE: ExitCode.FAILED,
    RunStatus.CANCELLED: ExitCode.FAILED,
    RunStatus.BLOCKED: ExitCode.BLOCKED,
    RunStatus.INTERRUPTED: ExitCode.INTERRUPTED,
}


def exit_code_of(status: RunStatus) -> ExitCode:
    """The exit code of a command that watched a run; 4 if the run has not ended."""
    return _OF_STATUS.get(status, ExitCode.PAUSED)


def interrupted_code(interrupt: Interrupt) -> ExitCode:
    """The exit code of an interrupted command."""
    return ExitCode.TERMINATED if interrupt.hands_over else ExitCode.INTERRUPTED


def connection_options(command: _F) -> _F:
    """``--redis URL`` and ``--data DIR``, as ``redis_url`` and ``data_dir``."""
    data = click.option(
        "--data",
        "data_dir",
        metavar="DIR",
        type=click.Path(path_type=Path, file_okay=False),
        help="Use the private Redis of `distflow run` in this folder.",
    )
    redis = click.option(
        "--redis",
        "redis_url",
        metavar="URL",
        help=f"Redis to use.  [default: {', '.join(URL_VARIABLES)}, else {DEFAULT_REDIS_URL}]",
    )
    return redis(data(command))


def json_option(command: _F) -> _F:
    """``--json``, as ``as_json``: one JSON document on stdout, everything else on stderr."""
    option = click.option(
        "--json", "as_json", is_flag=True, help="Print one JSON document on stdout."
    )
    return option(command)


def redis_address(redis_url: str | None) -> str:
    """The given URL, else that of the environment, else the default."""
    return tidy_url(redis_url or environment_url())


def next_command(*words: str) -> str:
    """A command to type next, on the same server as this command.

    Needs the click context of the running command, and so its thread.
    """
    params = click.get_current_context().params
    where: list[str] = []
    if params.get("redis_url"):
        where = ["--redis", hide_password(params["redis_url"])]
    elif params.get("data_dir"):
        where = ["--data", str(params["data_dir"])]
    return " ".join(map(quote_word, ["distflow", *words, *where]))


def quote_word(word: str) -> str:
    r"""A word of a command to type. One with unprintable characters is quoted in the form of bash,
    zsh and ksh, such as ``$'a\x1b'``.
    """
    if word.isprintable():
        return shlex.quote(word)
    return "$'" + "".join(map(_escape_for_shell, word)) + "'"


def _escape_for_shell(character: str) -> str:
    if character.isprintable():
        return f"\\{character}" if character in "\\'" else character
    # To a shell, \x is a byte.
    return f"\\x{ord(character):02x}" if character.isascii() else f"\\U{ord(character):08x}"


def print_json(document: Any) -> None:
    """Print one JSON document on stdout; values that JSON lacks become text."""
    try:
        _write(json_text(to_plain(document), indent=2))
    except BrokenPipeError:
        silence()


def put(line: Line) -> None:
    """Print one line on stdout, so that its text cannot control the terminal or add lines.

    Raises:
        BrokenPipeError: the reader has gone.
    """
    _write(_rendered(line))


def show(line: Line) -> None:
    """As :func:`put`, but if the reader has gone the command continues."""
    try:
        put(line)
    except BrokenPipeError:
        silence()


def say(line: Line) -> None:
    """Print one line for a person on stderr, if that still has a reader."""
    with suppress(OSError):
        _write(_rendered(line), err=True)


def _rendered(line: Line) -> str:
    if isinstance(line, str):
        return visible(line)
    word = click.style(visible(line.word), fg=line.colour)
    return f"{visible(line.before)}{word}{visible(line.after)}"


def _write(text: str, *, err: bool = False) -> None:
    """Write text; all output of commands passes here."""
    try:
        click.echo(text, err=err)
    except UnicodeEncodeError:
        # The terminal's encoding lacks a character.
        stream = sys.stderr if err else sys.stdout
        click.echo(
            text.encode(stream.encoding, "backslashreplace").decode(stream.encoding), err=err
        )


def run_guarded(call: Callable[[], Any]) -> int:
    """Run a command, print its error as one line on stderr, and return its exit code."""
    try:
        return _run_guarded(call)
    finally:
        # Else the interpreter finds at exit that nobody reads, and exits with a code of its own.
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except OSError:
                _redirect(stream)


def _run_guarded(call: Callable[[], Any]) -> int:
    try:
        answer = call()
        # Flushing what is still buffered may find that the reader has gone.
        sys.stdout.flush()
    except BrokenPipeError:
        silence()
        return ExitCode.BROKEN_PIPE
    except (KeyboardInterrupt, click.Abort):
        return ExitCode.INTERRUPTED
    except NoArgsIsHelpError as error:
        for line in error.format_message().splitlines():
            say(line)
        return ExitCode.USAGE
    except click.ClickException as error:
        return _tell(_usage_line(error), ExitCode.USAGE)
    except DistflowError as error:
        return _tell(str(error), error.exit_code)
    except OSError as error:
        if error.filename is None:
            # A full disk under stdout, or a system that starts no more processes.
            return _tell(f"cannot continue: {error.strerror or error}", ExitCode.SYSTEM)
        return _tell(f"{error.filename}: {error.strerror}", ExitCode.USAGE)
    return answer if isinstance(answer, int) else ExitCode.SUCCESS


def _tell(message: str, code: int) -> int:
    say("distflow: " + " ".join(message.split()))
    return code


def _usage_line(error: click.ClickException) -> str:
    message = error.format_message().rstrip(".")
    context = getattr(error, "ctx", None)
    return f"{message}: see `{context.command_path} --help`" if context else message


def silence() -> None:
    """The reader of stdout has gone: write nothing more, not even at the interpreter's exit."""
    _redirect(sys.stdout)


def _redirect(stream: TextIO) -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
