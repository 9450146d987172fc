"""Which faults come when: a sequence that the seed alone determines."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import NamedTuple

#: What happens to whom, and how often among a hundred. The child of a FastWorker is a horse: it
#: is there also where nothing is at work.
FAULTS = {
    "kill worker": 16,
    "kill horse": 12,
    "kill worker, not its horse": 8,
    "freeze worker": 10,
    "freeze horse": 6,
    "freeze worker, not its horse": 4,
    "stop worker": 7,
    "kill coordinator": 11,
    "freeze coordinator": 8,
    "stop coordinator": 5,
    "kill resume": 5,
    "kill redis": 4,
    "freeze redis": 4,
}

_REDIS = ("kill redis", "freeze redis")


class Fault(NamedTuple):
    """``wait`` seconds after the one before; ``seconds`` is how long what is frozen or away stays
    so, and ``which`` picks among several.
    """

    wait: float
    what: str
    which: int
    seconds: float


def schedule(seed: int) -> Iterator[Fault]:
    """The faults of a soak, without end."""
    chance = random.Random(seed)
    while True:
        what = chance.choices([*FAULTS], weights=[*FAULTS.values()])[0]
        seconds = chance.uniform(0.3, 2.0) if what in _REDIS else chance.uniform(0.5, 8.0)
        yield Fault(chance.uniform(0.2, 1.5), what, chance.randrange(1 << 16), seconds)
