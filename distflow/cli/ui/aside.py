"""Work on another thread, while the main thread draws and handles signals."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

_T = TypeVar("_T")


def run_aside(
    call: Callable[[], _T],
    name: str,
    *,
    step: Callable[[], object] = lambda: None,
    step_seconds: float = 1.0,
) -> _T:
    """Make a call on a thread of its own, and return its answer. Signal handlers run on the main
    thread, which must not wait for what they set.

    Args:
        call: made on the thread; its exception is raised here.
        name: of the thread.
        step: called here in the meantime, and once more at the end.
        step_seconds: between two steps.
    """
    ended: list[_T] = []
    failed: list[BaseException] = []

    def run() -> None:
        try:
            ended.append(call())
        except BaseException as error:  # noqa: BLE001 - the main thread raises it
            failed.append(error)

    thread = threading.Thread(target=run, name=name, daemon=True)
    thread.start()
    while thread.is_alive():
        thread.join(step_seconds)
        step()
    step()
    if failed:
        raise failed[0]
    return ended[0]
