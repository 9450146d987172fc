"""One case: a server, a refusal, and how long it lasts."""

from __future__ import annotations

import time
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

from tests.chaos.refusals.scene import Scene
from tests.support.cluster_front import REFUSALS, ClusterFront
from tests.support.refusing import RefusingServer

#: Refusals of which a person who submits or resumes need not hear: nobody waits at that moment.
UNHEARD = frozenset({"UNBLOCKED"})


class Played(NamedTuple):
    """What was measured, in seconds."""

    #: Until who submitted, who resumed and who looked were told.
    told: dict[str, float]
    #: Until all runs had ended, once Redis went on.
    settled: float


def play(binary: Path, word: str, seconds: float, folder: Path) -> Played:
    """Everybody meets a refusal of so many seconds; what was at work ends in its midst.

    Raises:
        AssertionError: somebody did not outlast it, or something ran twice; with what everybody
            printed.
    """
    with ExitStack() as opened:
        server = RefusingServer(binary)
        opened.callback(server.close)
        front = ClusterFront(server.url) if word in REFUSALS else None
        if front is not None:
            opened.callback(front.close)
        scene = Scene(server, folder, front)
        opened.callback(scene.close)
        try:
            return _play(scene, word, seconds)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{scene.logs()}") from error


def _play(scene: Scene, word: str, seconds: float) -> Played:
    scene.gather()
    scene.leave_one()
    until = time.monotonic() + seconds
    with scene.refusing(word, seconds):
        scene.arrive()
        told = {} if word in UNHEARD else scene.wait_told(word)
        scene.open_gate()
        time.sleep(max(0.0, until - time.monotonic()))
    settled = scene.wait_ended()
    scene.check()
    return Played(told, settled)
