"""Every example in the documentation runs, and prints what its page shows.

How a page is read and marked: see ``tests/support/pages.py``.
"""

from __future__ import annotations

import doctest
import importlib
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from distflow.wire import extensions
from tests.conftest import StartWorker
from tests.support import timeout
from tests.support.pages import PAGES, Block, Section, read_sections, typed_commands
from tests.support.redis_server import RedisPool
from tests.support.wait import stretched

_SECTIONS = [section for page in PAGES for section in read_sections(page)]
_NUMBER = re.compile(r"\d+(\.\d+)?")
#: A line of dots alone stands for any lines, and for none.
_ANY_LINES = re.compile(r"^\.\.\.\n", re.MULTILINE)
#: What a command says only where it takes long: how far a run is, and what it waits for.
_SLOW = re.compile(r"^(\d+(\.\d+)? (s|min): \d+/\d+ done|waits: ).*\n", re.MULTILINE)
#: A killed coordinator is waited for; longer than a command takes to start.
_LEASE_SECONDS = 3
#: In the place of the command `timeout`.
_TIMEOUT = f'timeout() {{ "{sys.executable}" "{timeout.__file__}" "$@"; }}\n'
_MARK = "----- the next command -----"


def _languages(section: Section) -> set[str]:
    return {block.language for block in section.blocks}


def _is_run(section: Section) -> bool:
    languages = _languages(section)
    return bool(languages & {"python", "pycon"}) or section.workers is not None


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where the files of a section are, and where it is run."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    importlib.invalidate_caches()
    monkeypatch.setenv("DISTFLOW_LEASE_SECONDS", f"{stretched(_LEASE_SECONDS):.1f}")
    scripts = Path(sys.executable).parent
    monkeypatch.setenv("PATH", f"{scripts}{os.pathsep}{os.environ['PATH']}")
    registered = extensions._by_code.copy(), extensions._by_type.copy()
    yield tmp_path
    for module in tmp_path.glob("*.py"):
        sys.modules.pop(module.stem, None)
    # What an example registers is registered for its own process.
    extensions._by_code.clear()
    extensions._by_type.clear()
    extensions._by_code.update(registered[0])
    extensions._by_type.update(registered[1])


@pytest.mark.parametrize(
    "section",
    [
        pytest.param(section, id=f"{Path(section.page).stem}: {section.title}")
        for section in _SECTIONS
        if _is_run(section)
    ],
)
def test_examples(
    section: Section,
    folder: Path,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A section's files, sessions and commands do what the page says, in its order."""
    if section.workers is not None:
        pool: RedisPool = request.getfixturevalue("redis_pool")
        start_worker: StartWorker = request.getfixturevalue("start_worker")
        url = pool.get().url
        monkeypatch.setenv("REDIS_URL", url)
        for _ in range(section.workers):
            start_worker(url, section.queues, env={"PYTHONPATH": str(folder)})
    names: dict[str, Any] = {"__name__": "__main__"}
    for block in section.blocks:
        if block.language == "python":
            write_file(block, folder)
        elif block.language == "pycon":
            run_session(section, block, names)
        elif block.language == "console" and section.workers is not None:
            run_commands(section, block, folder)


def write_file(block: Block, folder: Path) -> None:
    """Make the file that a python block is."""
    (folder / file_name(block)).write_text(block.text, encoding="utf-8")


def file_name(block: Block) -> str:
    """What the first line of a python block says."""
    return block.text.partition("\n")[0].removeprefix("# ")


def run_session(section: Section, block: Block, names: dict[str, Any]) -> None:
    """Run a session of the Python shell; what it defines stays for the section's next one."""
    parser = doctest.DocTestParser()
    session = parser.get_doctest(block.text, names, section.title, section.page, block.line - 1)
    said: list[str] = []
    results = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(
        session, out=said.append, clear_globs=False
    )
    names.update(session.globs)
    assert results.attempted
    assert not results.failed, "".join(said)


def run_commands(section: Section, block: Block, folder: Path) -> None:
    """Run a session of bash."""
    typed = typed_commands(block)
    script = _TIMEOUT + f"\necho '{_MARK}'\n".join(each.command for each in typed)
    done = subprocess.run(
        ["bash", "-c", script],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=folder,
        timeout=stretched(60),
        check=False,
    )
    outputs = done.stdout.split(f"{_MARK}\n")
    assert len(outputs) == len(typed), done.stdout
    for each, output in zip(typed, outputs, strict=True):
        wanted, got = each.output, output
        if not _SLOW.search(wanted):
            got = _SLOW.sub("", got)
        if section.numbers_vary:
            wanted, got = _NUMBER.sub("0", wanted), _NUMBER.sub("0", got)
        wanted = _ANY_LINES.sub("...", wanted)
        compare_output(f"{section.page}:{block.line}", each.command, wanted, got)


def compare_output(where: str, command: str, wanted: str, got: str) -> None:
    """Fail with the difference, if there is one; the widths of columns make none."""
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    checker = doctest.OutputChecker()
    if not checker.check_output(wanted, got, flags):
        example = doctest.Example(command, wanted)
        difference = checker.output_difference(example, got, flags)
        raise AssertionError(f"{where}: $ {command}\n{difference}")


def test_files_of_examples_have_names_of_their_own() -> None:
    """Every python block says which file it is, and no two pages or sections mean different ones:
    workers and tests find functions by the names of their modules.
    """
    seen: set[str] = set()
    for section in _SECTIONS:
        names = [file_name(block) for block in section.blocks if block.language == "python"]
        for name in names:
            stem = name.removesuffix(".py")
            assert name == f"{stem}.py", f"{section.page}, {section.title}: {name}"
            assert stem.isidentifier()
            assert stem not in sys.stdlib_module_names
            assert name not in seen, f"{section.page}, {section.title}: another {name}"
        seen.update(names)


def test_blocks_are_of_a_known_language() -> None:
    """No block escapes the tests by its language; what is somebody else's code says so."""
    known = {"python", "pycon", "console", "py", "mermaid", "json", "toml", "text"}
    for section in _SECTIONS:
        assert _languages(section) <= known, f"{section.page}: {section.title}"


@pytest.mark.parametrize("wrong", [">>> 1 + 1\n3\n", ">>> undefined\n"])
def test_a_wrong_session_is_noticed(wrong: str) -> None:
    """The comparison can fail."""
    section = _SECTIONS[0]
    with pytest.raises(AssertionError, match=r"Expected|NameError"):
        run_session(section, Block("pycon", wrong, 1), {})


def test_a_wrong_command_is_noticed(folder: Path) -> None:
    """The comparison of commands can fail."""
    block = Block("console", "$ echo one\none\n$ echo two\nthree\n", 1)
    with pytest.raises(AssertionError, match="echo two"):
        run_commands(_SECTIONS[0], block, folder)
