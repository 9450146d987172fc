"""Tasks that take as long as they are told to and need no processor: whoever runs them well comes
close to what is ideal. Each stage has a function of its own, which nobody has timed before.
"""

from __future__ import annotations

import time


def nap(seconds: float, *_inputs: object) -> None:
    """Take so long."""
    time.sleep(seconds)


def nap_1(seconds: float, *_inputs: object) -> None:
    """The same under another name."""
    nap(seconds)


def nap_2(seconds: float, *_inputs: object) -> None:
    """The same under another name."""
    nap(seconds)


def nap_3(seconds: float, *_inputs: object) -> None:
    """The same under another name."""
    nap(seconds)


def nap_4(seconds: float, *_inputs: object) -> None:
    """The same under another name."""
    nap(seconds)


def nap_5(seconds: float, *_inputs: object) -> None:
    """The same under another name."""
    nap(seconds)


def nap_6(seconds: float, *_inputs: object) -> None:
    """The same under another name."""
    nap(seconds)


#: One per stage.
STAGES = (nap_1, nap_2, nap_3, nap_4, nap_5, nap_6)
