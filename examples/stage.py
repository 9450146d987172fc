"""What the demo is played with: commands, waiting, and a folder that starts empty."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import signal
import subprocess
import sysconfig
import textwrap
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from distflow.local.locks import FileLock, is_held
from distflow.local.private_redis import PrivateRedis

T = TypeVar("T")

#: The checkout: commands run here, and workers find the examples here.
ROOT = Path(__file__).parents[1]
#: Everything that the demo writes, below the checkout.
DATA = ".distflow/demo"

#: The command line of this environment, which need not be on PATH.
PROGRAM = Path(sysconfig.get_path("scripts"), "distflow")

#: Seconds after which something that should have happened is given up. Not what it takes.
PATIENCE_SECONDS = 300.0

WIDTH = 80
_POLL_SECONDS = 0.02
_INDENT = "   "


class DemoFailed(Exception):
    """Something is not as the demo says."""


def say(words: str = "") -> None:
    """Tell the person who watches."""
    print(f"{_INDENT}{words}".rstrip(), flush=True)


def show_command(*words: str) -> None:
    """Print a command as one would type it, over several lines where it is long."""
    # An option and its value stay together.
    parts = " ".join(map(shlex.quote, words)).replace(" -", "\n-").split("\n")
    line = f"{_INDENT}$ {parts[0]}"
    for part in parts[1:]:
        if len(line) + len(part) + 3 > WIDTH:
            print(line, "\\", flush=True)
            line = f"{_INDENT}     "
        line += f" {part}"
    print(line, flush=True)


def check(claim: object, otherwise: str) -> None:
    """What the demo says is looked at first.

    Raises:
        DemoFailed: the claim does not hold.
    """
    if not claim:
        raise DemoFailed(otherwise)


def wait_for(look: Callable[[], T], what: str, unless_ended: Command | None = None) -> T:
    """Return the first true answer of ``look``.

    Raises:
        DemoFailed: there is none in time, or the command that should bring it about has ended.
    """
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        ended = unless_ended is not None and unless_ended.process.poll() is not None
        if answer := look():
            return answer
        if ended and unless_ended is not None:
            raise unless_ended.failure(f"ended before {what}")
        check(time.monotonic() < deadline, f"waited {PATIENCE_SECONDS:.0f} s for {what}")
        time.sleep(_POLL_SECONDS)


class Command:
    """A ``distflow`` command at work on the demo's data: shown, and quoted while it runs."""

    def __init__(self, *words: str) -> None:
        self._words = ("distflow", *words, "--data", DATA)
        show_command(*self._words)
        self._said: list[str] = []
        self.process = subprocess.Popen(
            [PROGRAM, *self._words[1:]],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=ROOT,
            text=True,
            errors="replace",
        )
        self._quoting = threading.Thread(target=self._quote, daemon=True)
        self._quoting.start()

    def wait(self, expect: int = 0) -> str:
        """Wait for its end, and return what it said.

        Raises:
            DemoFailed: it does not end in time, or with another exit code.
        """
        try:
            code = self.process.wait(PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            raise self.failure(f"does not end within {PATIENCE_SECONDS:.0f} s") from None
        self._quoting.join()
        if code != expect:
            raise self.failure(f"ended with exit {code}, not {expect}")
        return "".join(self._said)

    def find(self, pattern: str) -> re.Match[str] | None:
        """The first match in what it has said so far."""
        return re.search(pattern, "".join(self._said))

    def kill(self) -> bool:
        """SIGKILL; returns when it is gone, and whether that is what ended it."""
        self.process.kill()
        self._quoting.join()
        return self.process.wait() == -signal.SIGKILL

    def failure(self, how: str) -> DemoFailed:
        """What ends the demo, and names this command: all that it said is shown already."""
        return DemoFailed(f"`{shlex.join(self._words)}` {how}")

    def _quote(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._said.append(line)
            for part in textwrap.wrap(line, WIDTH - 5, subsequent_indent="  "):
                say(f"| {part}")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # Asked first: a run that is left properly takes its workers and its Redis with it.
        self.process.terminate()
        try:
            self.process.wait(timeout=20.0)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._quoting.join()


def distflow(*words: str, expect: int = 0) -> None:
    """Show a command and run it to its end."""
    with Command(*words) as command:
        command.wait(expect)


def ask(*words: str) -> Any:
    """What a command answers with ``--json``; it is not shown."""
    try:
        done = subprocess.run(
            [PROGRAM, *words, "--json", "--data", DATA],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=True,
            cwd=ROOT,
            timeout=PATIENCE_SECONDS,
        )
    except subprocess.TimeoutExpired as error:
        raise DemoFailed(f"{error}") from None
    except subprocess.CalledProcessError as error:
        raise DemoFailed(f"{error}: {error.stderr.decode(errors='replace')}") from None
    return json.loads(done.stdout)


def hold_folder() -> FileLock:
    """Empty the demo's folder, and keep other demos out of it until the lock is released.

    Raises:
        DemoFailed: another demo is at work in it.
    """
    folder = ROOT / DATA
    folder.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder.with_suffix(".lock"))
    if not lock.try_exclusive():
        lock.release()
        raise DemoFailed(f"another demo is at work in {DATA}: let it end first")
    if (folder / "server.lock").exists() and is_held(folder / "server.lock"):
        # The Redis of a demo that was killed: its data go, so must it.
        PrivateRedis.start(folder).stop()
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir()
    return lock
