"""A run id that exists already: whether a new submit may continue that run."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from distflow.core.readings import Creation
from distflow.core.run import RunInfo
from distflow.core.status import RunStatus
from distflow.errors import InvalidInput, LookAgain, RunExists, RunNotFound
from distflow.runs.engine import Engine
from distflow.runs.run import Run, find_run
from distflow.wire.as_json import to_plain

#: Seconds without progress after which the creation of a run counts as cut off.
_CREATING_SECONDS = 30.0
_LOOK_SECONDS = 0.1


def find_earlier(
    engine: Engine, run_id: str, reference: str, given: Mapping[str, Any]
) -> Run | None:
    """The run of this id, to be continued; None if there is none.

    Args:
        engine: where it lives.
        run_id: its id.
        reference: the workflow that it must be a run of, as ``module:name``.
        given: the parameters that were given; the others are the run's own.

    Waits for a run that is being created. If its creation makes no progress for half a minute, its
    submitter was cut off: the partial run is removed, and can be created anew.

    Raises:
        InvalidInput: it is a run of another workflow, or has other parameters.
    """
    try:
        run = find_run(engine, run_id)
        info, cut_off = _wait_created(run)
    except RunNotFound:
        return None
    if info.workflow != reference:
        raise InvalidInput(
            f"run {run_id} is of workflow {info.workflow}, not {reference}: use another --run-id"
        )
    for name, value in given.items():
        if name not in info.params or to_plain(info.params[name]) != to_plain(value):
            raise InvalidInput(
                f"run {run_id} has another value for parameter {name!r}: leave it out to continue "
                "the run, or use another --run-id"
            )
    if cut_off is None:
        return run
    try:
        run.store.discard_creation(cut_off.operation)
    except LookAgain:
        # Its creation continues after all, or somebody else creates it anew.
        return find_earlier(engine, run_id, reference, given)
    return None


def find_or_create(
    engine: Engine,
    run_id: str,
    reference: str,
    given: Mapping[str, Any],
    create: Callable[[], Run],
) -> tuple[Run, bool]:
    """The run of an id, created if there is none, and whether it existed.

    ``create`` creates it; the other arguments and errors are those of :func:`find_earlier`.
    """
    run = find_earlier(engine, run_id, reference, given)
    if run is not None:
        return run, True
    try:
        return create(), False
    except RunExists:
        # Somebody else was faster.
        run = find_earlier(engine, run_id, reference, given)
        if run is None:
            raise
        return run, True


def _wait_created(run: Run) -> tuple[RunInfo, Creation | None]:
    """A run once it is created, or how far its creation had come when it was cut off."""
    seen, since = None, time.monotonic()
    while (info := run.info()).status == RunStatus.CREATING:
        written, now = run.store.read_creation(), time.monotonic()
        if written != seen:
            seen, since = written, now
        elif written is not None and now - since >= _CREATING_SECONDS:
            return info, written
        time.sleep(_LOOK_SECONDS)
    return info, None
