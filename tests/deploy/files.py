"""What deploy/ says, read as compose and systemd read it."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from ruamel.yaml import YAML

from tests.support.worker_process import ROOT

DEPLOY = ROOT / "deploy"
COMPOSE = DEPLOY / "compose.yaml"
UNITS = sorted(DEPLOY.glob("systemd/*.service"))
ENVIRONMENT = DEPLOY / "systemd/distflow.env"

#: Where the units expect the commands of distflow.
INSTALLED = "/opt/distflow/bin"

#: The sections and keys that the units use; systemd ignores one that is misspelt.
KEYS = {
    "Unit": {"Description", "Wants", "After", "StartLimitIntervalSec"},
    "Service": {
        *("Type", "User", "Group", "EnvironmentFile", "WorkingDirectory", "ExecStart"),
        *("KillSignal", "KillMode", "TimeoutStopSec", "OOMPolicy", "UMask", "StateDirectory"),
        *("Restart", "RestartSec", "RestartSteps", "RestartMaxDelaySec"),
        *("NoNewPrivileges", "CapabilityBoundingSet", "LockPersonality", "MemoryDenyWriteExecute"),
        *("ProtectSystem", "ProtectHome", "ProtectProc", "ProtectClock", "ProtectHostname"),
        *("ProtectKernelTunables", "ProtectKernelModules", "ProtectKernelLogs"),
        *("ProtectControlGroups", "PrivateTmp", "PrivateDevices"),
        *("RestrictAddressFamilies", "RestrictNamespaces", "RestrictRealtime", "RestrictSUIDSGID"),
        *("SystemCallArchitectures", "SystemCallFilter"),
    },
    "Install": {"WantedBy"},
}

_SECONDS = {"s": 1, "": 1, "m": 60, "min": 60, "h": 3600}


class Start(NamedTuple):
    """How one kind of process is started and stopped."""

    command: list[str]
    stop_signal: str
    stop_seconds: float


def read_compose() -> dict[str, Any]:
    """The compose file."""
    document: dict[str, Any] = YAML(typ="safe").load(COMPOSE)
    return document


def read_unit(path: Path) -> dict[str, dict[str, str]]:
    """The sections of a unit.

    Raises:
        AssertionError: a section or a key is not known, or stands twice.
    """
    sections: dict[str, dict[str, str]] = {}
    keys: dict[str, str] = {}
    known: set[str] = set()
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        where = f"{path.name}:{number}: {line!r}"
        if not line.strip() or line[0] in "#;":
            continue
        if heading := re.fullmatch(r"\[(\w+)\]", line):
            assert heading[1] in KEYS, where
            assert heading[1] not in sections, where
            known, keys = KEYS[heading[1]], sections.setdefault(heading[1], {})
            continue
        key, equals, value = line.partition("=")
        assert equals, where
        assert key in known, where
        assert key not in keys, where
        keys[key] = value
    return sections


def read_environment(path: Path) -> dict[str, str]:
    """A file of ``NAME=value`` lines."""
    lines = path.read_text(encoding="utf-8").splitlines()
    named = (line.partition("=") for line in lines if line and not line.startswith("#"))
    return {name: value for name, _equals, value in named}


def seconds(duration: str) -> float:
    """What compose and systemd write as ``15m`` and ``15min``."""
    found = re.fullmatch(r"(\d+)([a-z]*)", duration)
    assert found, duration
    return int(found[1]) * _SECONDS[found[2]]


def composed(service: str) -> Start:
    """How a service of the compose file is started."""
    it = read_compose()["services"][service]
    return Start(list(it["command"]), it["stop_signal"], seconds(it["stop_grace_period"]))


def unit(name: str, environment: Mapping[str, str]) -> Start:
    """How a unit is started: a word ``$NAME`` stands for the words of the variable."""
    it = read_unit(DEPLOY / "systemd" / name)["Service"]
    command: list[str] = []
    for word in shlex.split(it["ExecStart"]):
        command += environment.get(word[1:], "").split() if word.startswith("$") else [word]
    return Start(command, it["KillSignal"], seconds(it["TimeoutStopSec"]))
