"""The options of a new run on the command line: its workflow, and how it is executed."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

import click

from distflow.cli.ui.taking import taking_options
from distflow.core.claim import MAX_GRAPH_BYTES, MAX_TASKS
from distflow.core.run import WAITAOF
from distflow.core.run_options import RUN_OPTIONS, NewRunOptions

_F = TypeVar("_F", bound=Callable[..., Any])
_Decorator = Callable[[Any], Any]

durability_option = click.option(
    "--durability",
    type=click.Choice([WAITAOF]),
    help="Start an at-most-once task only once its start is recorded on Redis's disk.  [default: as"
    " Redis is configured]",
)

eviction_option = click.option(
    "--allow-eviction",
    is_flag=True,
    help="Use a Redis whose maxmemory-policy is not noeviction: it may discard what was done.",
)

detach_option = click.option(
    "--detach", is_flag=True, help="Create the run, leave it to a coordinator, and exit with 0."
)


def _negated(_context: click.Context, _option: click.Parameter, value: bool) -> bool:  # noqa: FBT001 - as click calls it
    return not value


_WHAT: tuple[_Decorator, ...] = (
    click.argument("workflow_path", metavar="MODULE:WORKFLOW"),
    click.option(
        "-p",
        "--param",
        "pairs",
        metavar="K=V",
        multiple=True,
        help="A parameter of the workflow; @FILE.json gives many. May be repeated.",
    ),
    click.option("--run-id", metavar="ID", help="Id of the run.  [default: a new id]"),
    taking_options,
)

_EXECUTION: tuple[_Decorator, ...] = (
    click.option(
        "--concurrency", metavar="N", type=click.IntRange(1), help="How many tasks may run at once."
    ),
    click.option(
        "--timeout",
        metavar="S",
        type=click.FloatRange(0, min_open=True),
        help="Cancel the run after this many seconds.",
    ),
    click.option(
        "--max-graph-bytes",
        metavar="N",
        type=click.IntRange(1),
        default=MAX_GRAPH_BYTES,
        help="Refuse a workflow whose encoded tasks have more bytes.  [default: 256 MiB]",
    ),
    click.option(
        "--max-tasks",
        metavar="N",
        type=click.IntRange(1),
        default=MAX_TASKS,
        help="How many tasks the run may grow to by maps and plans.  [default: 1,000,000]",
    ),
    click.option(
        "--no-batch",
        "batch",
        is_flag=True,
        callback=_negated,
        help="Send every task in an RQ job of its own.",
    ),
    durability_option,
)


def run_options(*more: _Decorator) -> Callable[[_F], _F]:
    """Options for a new run: its workflow and parameters, its snapshot, and how it is executed.

    The command gets the last group as one ``options``, a :class:`NewRunOptions`.

    Args:
        more: further options of a run that this command has.
    """

    def decorate(command: _F) -> _F:
        @wraps(command)
        def call(**given: Any) -> Any:
            said = {each.name: given.pop(each.name) for each in RUN_OPTIONS if each.name in given}
            return command(options=NewRunOptions(**said), **given)

        decorated: Any = call
        for option in reversed((*_WHAT, *_EXECUTION, *more)):
            decorated = option(decorated)
        return decorated  # type: ignore[no-any-return]

    return decorate
