"""A run of an id that is there already: whether who names it again means that run."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from distflow.core.run import RunInfo
from distflow.core.status import RunStatus
from distflow.errors import InvalidInput, RunExists, RunNotFound, WrongState
from distflow.runs.engine import Engine
from distflow.runs.run import Run, find_run
from distflow.wire.as_json import to_plain

#: Seconds to wait for the end of a submit that is writing the run at this moment.
_CREATING_SECONDS = 30.0
_LOOK_SECONDS = 0.1


def find_earlier(
    engine: Engine, run_id: str, reference: str, given: Mapping[str, Any]
) -> Run | None:
    """The run of this id, to go on with; None where there is none.

    Args:
        engine: where it lives.
        run_id: its id.
        reference: the workflow that it must be of, as ``module:name``.
        given: the parameters that were given; the others are the run's own.

    Raises:
        InvalidInput: it is of another workflow, or has other parameters.
        WrongState: whoever submits it has not finished within half a minute.
    """
    try:
        run = find_run(engine, run_id)
        info = _wait_created(run)
    except RunNotFound:
        return None
    if info.workflow != reference:
        raise InvalidInput(
            f"run {run_id} is of workflow {info.workflow}, not {reference}: take another --run-id"
        )
    for name, value in given.items():
        if name not in info.params or to_plain(info.params[name]) != to_plain(value):
            raise InvalidInput(
                f"run {run_id} has another value for parameter {name!r}: leave that out to go on "
                "with the run, or take another --run-id"
            )
    return run


def find_or_create(
    engine: Engine,
    run_id: str,
    reference: str,
    given: Mapping[str, Any],
    create: Callable[[], Run],
) -> tuple[Run, bool]:
    """The run of an id, made where there is none, and whether it was there.

    ``create`` makes it; the other arguments and errors are those of :func:`find_earlier`.
    """
    run = find_earlier(engine, run_id, reference, given)
    if run is not None:
        return run, True
    try:
        return create(), False
    except RunExists:
        # Another was faster.
        run = find_earlier(engine, run_id, reference, given)
        if run is None:
            raise
        return run, True


def _wait_created(run: Run) -> RunInfo:
    """What is known of a run, once it is written."""
    deadline = time.monotonic() + _CREATING_SECONDS
    while (info := run.info()).status == RunStatus.CREATING:
        if time.monotonic() >= deadline:
            raise WrongState(
                f"run {run.run_id} is still being submitted; if that was cut off, remove it by "
                f"`distflow delete {run.run_id}` and submit again"
            )
        time.sleep(_LOOK_SECONDS)
    return info
