"""Checks that each file is covered to so many percent: the sum of many hides one."""

from __future__ import annotations

import json
import sys
from pathlib import Path


def main(report: str, least: str) -> int:
    """Name the files of a report of ``coverage json`` that are covered to less than that."""
    files = json.loads(Path(report).read_text())["files"]
    shares = {name: found["summary"]["percent_covered"] for name, found in files.items()}
    few = {name: share for name, share in shares.items() if share < float(least)}
    for name, share in sorted(few.items()):
        sys.stdout.write(f"{name}: {share:.0f} %, and {least} % are asked for\n")
    return bool(few)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
