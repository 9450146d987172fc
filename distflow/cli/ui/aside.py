"""Work on a thread of its own, while the main one draws and hears signals."""

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
    """What a call answers that is made on a thread: the handlers of signals need the main one,
    which must not wait on what they set.

    Args:
        call: made on the thread; what it raises is raised here.
        name: of the thread.
        step: called here meanwhile, and once more at the end.
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
