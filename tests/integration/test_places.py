"""Of two copies of a module, submit and every worker take the one in the working directory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support.redis_server import RedisServer
from tests.support.worker_process import FAST, FORKING, SIMPLE

_FLOWS = """
from distflow import Workflow

def both():
    flow = Workflow("both")
    flow.add("copies", "copies:which", queue=QUEUE)
    flow.add("statistics", "statistics:which", queue=QUEUE)
    return flow
"""


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A project with a copy of a module, and an older one that is installed."""
    project, installed = tmp_path_factory.mktemp("project"), tmp_path_factory.mktemp("installed")
    (installed / "copies.py").write_text("def which():\n    return 'installed'\n")
    (project / "copies.py").write_text("def which():\n    return 'here'\n")
    # Named as a module of the standard library.
    (project / "statistics.py").write_text("def which():\n    return 'here'\n")
    for queue in (FORKING, FAST, SIMPLE):
        module = queue.rpartition(".")[2].lower()
        (project / f"{module}.py").write_text(f"QUEUE = {module!r}\n{_FLOWS}")
    return project, installed


@pytest.fixture
def environment(folders: tuple[Path, Path], redis_server: RedisServer) -> dict[str, str]:
    """Of a shell in which the older copy is on the path."""
    url = redis_server.url
    return {**os.environ, "DISTFLOW_REDIS_URL": url, "PYTHONPATH": str(folders[1])}


@pytest.fixture
def stock_workers(
    folders: tuple[Path, Path], environment: dict[str, str], redis_server: RedisServer
) -> Iterator[None]:
    """One of each class, started in the project by the script that RQ installs."""
    script = Path(sys.executable).parent / "rq"
    with ExitStack() as started:
        for kind in (FORKING, FAST, SIMPLE):
            queue = kind.rpartition(".")[2].lower()
            words = [str(script), "worker", "--url", redis_server.url, "-w", kind, "--quiet", queue]
            worker = subprocess.Popen(words, cwd=folders[0], env=environment)
            started.callback(worker.wait)
            started.callback(worker.terminate)
        yield


@pytest.mark.usefixtures("stock_workers")
def test_every_worker_takes_what_submit_took(
    folders: tuple[Path, Path], environment: dict[str, str]
) -> None:
    """The copy in the working directory, though another is installed or of the standard library."""
    script = Path(sys.executable).parent / "distflow"
    for kind in (FORKING, FAST, SIMPLE):
        module = kind.rpartition(".")[2].lower()
        for words in (
            ["submit", f"{module}:both", "--run-id", module],
            ["export", module, "--format", "json", "-o", "-"],
        ):
            done = subprocess.run(
                [script, *words],
                cwd=folders[0],
                env=environment,
                capture_output=True,
                text=True,
                check=False,
                timeout=60,
            )
            assert done.returncode == 0, (kind, done.stderr)
        results = json.loads(done.stdout)["results"]
        assert {name: result["data"] for name, result in results.items()} == {
            "copies": "here",
            "statistics": "here",
        }
