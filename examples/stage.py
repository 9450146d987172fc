"""What the demo is played with: commands, waiting, and a folder that starts empty."""

from __future__ import annotations

import json
import shlex
import shutil
import signal
import subprocess
import sysconfig
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn, Self, TypeVar

from distflow.local.locks import FileLock, is_held
from distflow.local.server import PrivateRedis

T = TypeVar("T")

#: The checkout: commands run here, and workers find the examples here.
ROOT = Path(__file__).parents[1]
#: Everything that the demo writes, below the checkout.
DATA = ".distflow/demo"

#: Seconds after which something that should have happened is given up. Not what it takes.
PATIENCE_SECONDS = 120.0

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
            unless_ended.fail(f"ended before {what}")
        check(time.monotonic() < deadline, f"waited {PATIENCE_SECONDS:.0f} s for {what}")
        time.sleep(_POLL_SECONDS)


class Command:
    """A ``distflow`` command at work on the demo's data; it is shown when it starts."""

    def __init__(self, *words: str, shown: bool = True) -> None:
        self._words = ("distflow", *words, "--data", DATA)
        if shown:
            show_command(*self._words)
        program = Path(sysconfig.get_path("scripts"), "distflow")
        log = Path(ROOT, DATA, f"{words[0]}-{time.time_ns()}.log")
        self._answer = log.with_suffix(".out")
        self._log = log
        with self._log.open("wb") as err, self._answer.open("wb") as out:
            self.process = subprocess.Popen(
                [program, *self._words[1:]],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                cwd=ROOT,
            )

    def wait(self, expect: int = 0) -> str:
        """Wait for its end, and return what it answered.

        Raises:
            DemoFailed: it does not end in time, or with another exit code.
        """
        try:
            code = self.process.wait(PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            self.fail(f"does not end within {PATIENCE_SECONDS:.0f} s")
        if code != expect:
            self.fail(f"ended with exit {code}, not {expect}")
        return self._answer.read_text(errors="replace")

    def kill(self) -> bool:
        """SIGKILL; returns when it is gone, and whether that is what ended it."""
        self.process.kill()
        return self.process.wait() == -signal.SIGKILL

    def fail(self, how: str) -> NoReturn:
        """End the demo with the last words of this command."""
        said = "\n".join(path.read_text(errors="replace") for path in (self._answer, self._log))
        raise DemoFailed(f"{shlex.join(self._words)} {how}:\n{said.strip()[-2000:]}")

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
            self.kill()


def distflow(*words: str, expect: int = 0) -> str:
    """Show a command, run it to its end and return what it printed."""
    with Command(*words) as command:
        return command.wait(expect)


def ask(*words: str) -> Any:
    """What a command answers with ``--json``; it is not shown."""
    with Command(*words, "--json", shown=False) as command:
        return json.loads(command.wait())


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
