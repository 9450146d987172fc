"""Where and with what something was measured: numbers without it mean nothing."""

from __future__ import annotations

import os
import platform
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from tests.support.redis_server import redis_binaries, version_name

_PACKAGES = ("distflow", "rq", "redis", "hiredis", "celery", "dramatiq", "distributed", "huey")


def describe_machine() -> dict[str, str]:
    """CPU, cores, memory, kernel and versions, and when it was."""
    facts = {
        "taken at": datetime.now(UTC).isoformat(timespec="seconds"),
        "cpu": _first_field("/proc/cpuinfo", "model name"),
        "cores": str(len(os.sched_getaffinity(0))),
        "memory": _first_field("/proc/meminfo", "MemTotal"),
        "system": f"{platform.system()} {platform.release()}",
        "load before": f"{os.getloadavg()[0]:.1f}",
        "python": platform.python_version(),
        "server": version_name(redis_binaries()[0]),
    }
    for package in _PACKAGES:
        try:
            facts[package] = version(package)
        except PackageNotFoundError:
            continue
    return facts


def _first_field(path: str, name: str) -> str:
    for line in Path(path).read_text(encoding="utf-8").splitlines():
        key, _, value = line.partition(":")
        if key.strip() == name:
            return value.strip()
    return "unknown"
