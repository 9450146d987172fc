"""Signals that the suite was started to ignore: `make test &` in a script, nohup, cron."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from types import FrameType

#: A signal that is ignored stays so in what is executed; one that has a handler does not. The
#: variable tells those of pytest's processes that are started after the handlers were set.
_VARIABLE = "DISTFLOW_TEST_IGNORED_SIGNALS"

_MAY_BE_IGNORED = (signal.SIGINT, signal.SIGHUP)


def keep_ignored_here() -> None:
    """Let this process go on to ignore what it ignores, and what it starts hear it again: the tests
    send their processes such signals.
    """
    told = os.environ.get(_VARIABLE, "").split()
    ignored = [
        number
        for number in _MAY_BE_IGNORED
        if number.name in told or signal.getsignal(number) == signal.SIG_IGN
    ]
    os.environ[_VARIABLE] = " ".join(number.name for number in ignored)
    for number in ignored:
        signal.signal(number, _do_nothing)


def ignoring(numbers: Sequence[signal.Signals], command: Sequence[str]) -> list[str]:
    """The command line that runs a command with these signals ignored, as nohup does."""
    names = " ".join(number.name.removeprefix("SIG") for number in numbers)
    return ["sh", "-c", f"trap '' {names}; exec \"$@\"", "sh", *command]


def _do_nothing(_number: int, _frame: FrameType | None) -> None:
    pass
