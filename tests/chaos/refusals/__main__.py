"""``python -m tests.chaos.refusals``: exits with 1 where somebody did not outlast a refusal."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

from tests.chaos.refusals.case import play
from tests.support.cluster_front import REFUSALS
from tests.support.redis_server import binaries_at_hand, version_name
from tests.support.refusing import WORDS


def main() -> None:
    """Read the options, and play every case."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.refusals", description=__doc__)
    parser.add_argument("--seconds", type=float, default=30.0, help="that each refusal lasts")
    parser.add_argument("--word", action="append", help="this refusal alone; may be repeated")
    parser.add_argument("--server", type=Path, action="append", help="this server alone, likewise")
    options = parser.parse_args()
    words = options.word or [*WORDS, *REFUSALS]
    failed = 0
    for binary in options.server or binaries_at_hand():
        for word in words:
            failed += not tell(binary.absolute(), word, options.seconds)
    sys.exit(1 if failed else 0)


def tell(binary: Path, word: str, seconds: float) -> bool:
    """Play a case, and write a line; returns whether all went well."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="distflow-refusals-") as folder:
        try:
            played = play(binary, word, seconds, Path(folder))
        except AssertionError as error:
            what = f"FAILED {error}"
        else:
            told = ", ".join(f"{name} {after:.1f} s" for name, after in played.told.items())
            what = f"all go on after {played.settled:.1f} s; told: {told or 'nobody'}"
        took = time.monotonic() - began
    sys.stdout.write(f"{version_name(binary)} {word}: {what} ({took:.0f} s)\n")
    sys.stdout.flush()
    return not what.startswith("FAILED")


if __name__ == "__main__":
    main()
