"""Plays all promises at once, and prints what was measured beside what is promised."""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
import threading
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from tests.chaos.times.promises import PROMISES, Promise
from tests.support.scene import Scene

#: Seconds beyond the promise that are waited, so that it is known how late it was.
_LATER_SECONDS = 60.0


class Played(NamedTuple):
    """What was measured of a promise; ``error`` where it could not be."""

    promise: Promise
    seconds: float
    error: str = ""

    @property
    def holds(self) -> bool:
        """Whether it was kept."""
        return not self.error and self.promise.least <= self.seconds <= self.promise.seconds

    def __str__(self) -> str:
        promise = self.promise
        begin = f"{promise.least:g} to " if promise.least else "within "
        word = "kept" if self.holds else "BROKEN"
        seen = self.error or f"{self.seconds:.1f} s"
        return f"{word:7}{promise.name:48} {begin}{promise.seconds:g} s: {seen}"


def main() -> None:
    """``python -m tests.chaos.times``: exits with 1 where a promise was broken."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.times")
    parser.add_argument("--only", metavar="NAME", default="", help="promises that begin so")
    only: str = parser.parse_args().only
    # What coordinators say of servers that are closed at the end is no news.
    logging.getLogger("distflow").setLevel(logging.ERROR)
    played = play_all([promise for promise in PROMISES if promise.name.startswith(only)])
    if not played or not all(each.holds for each in played):
        sys.exit(1)


def play_all(promises: Sequence[Promise]) -> list[Played]:
    """Play promises, each on a server of its own, all at once; each is told when it is known."""
    played: list[Played] = []

    def work(promise: Promise) -> None:
        played.append(play(promise))
        sys.stdout.write(f"{played[-1]}\n")
        sys.stdout.flush()

    threads = [threading.Thread(target=work, args=(promise,)) for promise in promises]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return played


def play(promise: Promise) -> Played:
    """Play one."""
    with tempfile.TemporaryDirectory(prefix="distflow-times-") as folder:
        scene = Scene(Path(folder))
        try:
            return Played(promise, promise.measure(scene, promise.seconds + _LATER_SECONDS))
        except Exception as error:  # noqa: BLE001 - whatever it is, the others go on
            traceback.print_exc()
            return Played(promise, 0.0, f"{type(error).__name__}: {error}")
        finally:
            scene.close()


if __name__ == "__main__":
    main()
