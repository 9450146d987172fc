"""deploy/ is valid, and says what stopping without a loss needs."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from distflow.local.binary import read_release
from tests.deploy.files import (
    COMPOSE,
    DEPLOY,
    ENVIRONMENT,
    INSTALLED,
    UNITS,
    composed,
    read_compose,
    read_environment,
    read_unit,
    unit,
)
from tests.support.redis_server import waitaof_binary

#: What systemd gained after 252: an older one ignores it, and says so.
_NEWER = re.compile(r"Unknown key '(RestartSteps|RestartMaxDelaySec)' in section \[Service\]")


def check_schema(path: Path) -> subprocess.CompletedProcess[str]:
    """Ask the schema of compose files, as check-jsonschema carries it."""
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec"]
    return subprocess.run([*command, path], capture_output=True, text=True, check=False)


def verify_units(folder: Path) -> list[str]:
    """What systemd says of the units in a folder, if it is here."""
    systemd = shutil.which("systemd-analyze")
    if systemd is None:
        return []
    command = [systemd, "verify", *map(str, sorted(folder.glob("*.service")))]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    said = [line for line in done.stderr.splitlines() if not _NEWER.search(line)]
    return said if said or not done.returncode else [f"exit code {done.returncode}"]


def test_compose_follows_its_schema(tmp_path: Path) -> None:
    """The compose file is one; a misspelt key would be noticed."""
    done = check_schema(COMPOSE)
    assert done.returncode == 0, done.stdout
    wrong = tmp_path / "compose.yaml"
    wrong.write_text(COMPOSE.read_text().replace("stop_grace_period", "stop_grace"))
    assert check_schema(wrong).returncode == 1


def test_units_are_valid(tmp_path: Path) -> None:
    """Every section and key of the units is known, here and, where it is installed, to systemd."""
    assert [path.name for path in UNITS] == [
        "distflow-coordinator@.service",
        "distflow-worker@.service",
    ]
    for path in UNITS:
        assert read_unit(path).keys() == {"Unit", "Service", "Install"}
        there = path.read_text().replace(INSTALLED, str(Path(sys.executable).parent))
        (tmp_path / path.name).write_text(there)
    assert verify_units(tmp_path) == []


@pytest.mark.parametrize("wrong", ["[Servce]", "Resart=always", "Restart always", "Restart=no"])
def test_a_wrong_unit_is_noticed(wrong: str, tmp_path: Path) -> None:
    """The check of the units can fail: a section, a key, a line without value, a key twice."""
    path = tmp_path / "wrong.service"
    path.write_text(f"[Service]\nRestart=always\n{wrong}\n")
    with pytest.raises(AssertionError, match=re.escape(f"wrong.service:3: {wrong!r}")):
        read_unit(path)


@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.name)
def test_a_stop_reaches_no_task(path: Path) -> None:
    """SIGTERM goes to the main process alone, and a process that died is started again."""
    service = read_unit(path)["Service"]
    assert service["KillMode"] == "mixed"
    assert service["KillSignal"] == "SIGTERM"
    assert service["Restart"] == "always"
    assert service["NoNewPrivileges"] == "yes"
    assert service["ProtectSystem"] == "strict"


def test_workers_have_time_for_a_task() -> None:
    """Ten minutes at least until a worker that was told to stop is killed."""
    environment = read_environment(ENVIRONMENT)
    for start in (composed("worker"), unit("distflow-worker@.service", environment)):
        assert start.stop_seconds >= 600


def test_the_server_is_one_that_is_tested() -> None:
    """The image's version is that of the server that the suite runs on where none is installed."""
    redis = read_compose()["services"]["redis"]
    tested = read_release(waitaof_binary())
    assert redis["image"] == "{0}/{0}:{1}.{2}-alpine".format(tested.product, *tested.version)
    assert redis["command"][0] == "valkey-server"
    assert redis["healthcheck"]["test"][1].startswith("valkey-cli ping")


def test_containers_come_back_and_run_as_nobody_in_particular() -> None:
    """Every service restarts and is checked; a first process passes SIGTERM on to the command
    alone; the image's user is not root.
    """
    services = read_compose()["services"]
    assert services.keys() == {"redis", "coordinator", "worker"}
    for name, service in services.items():
        assert service["restart"] == "unless-stopped"
        assert service["healthcheck"]["test"]
        if name != "redis":
            assert service["init"] is True
            assert service["depends_on"] == {"redis": {"condition": "service_healthy"}}
    assert services["coordinator"]["deploy"]["replicas"] == 2
    assert "\nUSER distflow\n" in (DEPLOY / "Dockerfile").read_text()
