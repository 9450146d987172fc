"""What the documentation names is there, and what is there is named: tests, commands, keys."""

from __future__ import annotations

import ast
import json
import re
import tomllib
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import click
import pytest

import distflow
import distflow_worker
from distflow.authoring.option_checks import TaskOptions
from distflow.cli import COMMANDS, main
from distflow.cli.ui.common import ExitCode
from distflow.coordinator.settings import CoordinatorSettings
from distflow.core.claim import Code, said_versions
from distflow.core.status import RunStatus
from distflow.events.vocabulary import EVENTS
from distflow.store.redis.durability import DURABILITIES
from distflow.store.redis.keys import RunKeys, active_keys, runs_key
from distflow.store.redis.scripts import script_names
from tests.support.pages import PAGES, read_sections, read_text, typed_commands
from tests.support.worker_process import ROOT

PUBLIC = (distflow, distflow_worker)

_TEST = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")
_LINK = re.compile(r"\]\((?!https?://)([^)#\s]*)(?:#([^)\s]+))?\)")
_TYPED = re.compile(r"(?:^|[(;&|] *)distflow ([^;&|)\n]+)")
_NAMED = re.compile(r"`distflow ((?:[a-z]+)[^`\n]*)`")
_VARIABLE = re.compile(r"""["'`]((?:DISTFLOW_(?!TEST)|(?:RQ_)?REDIS_|RQ_KEY_)[A-Z_]+)["'`]""")
_HEADING = re.compile(r"^#{1,4} (.+)$", re.MULTILINE)


def _command(name: str) -> click.Command:
    command = main.get_command(click.Context(main), name)
    assert command is not None, f"there is no command {name!r}"
    return command


def _options(name: str) -> set[str]:
    """Those of a command that its help has; of a group also those of its commands."""
    command = _command(name)
    commands = [command, *getattr(command, "commands", {}).values()]
    shown = [
        option for one in commands for option in one.params if not getattr(option, "hidden", False)
    ]
    given = {spelled for option in shown for spelled in option.opts}
    return {spelled for spelled in given if spelled.startswith("-")} | {"--help", "-h"}


def _anchor(heading: str) -> str:
    """As GitHub makes them."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def _typed_on(page: str) -> Iterator[str]:
    """What follows ``distflow`` wherever a page types it."""
    for section in read_sections(page):
        for block in section.blocks:
            if block.language == "console":
                for typed in typed_commands(block):
                    yield from _TYPED.findall(typed.command)
    yield from _NAMED.findall(read_text(page))


@pytest.mark.parametrize("page", PAGES)
def test_named_tests_exist(page: str) -> None:
    """A promise is shown by a test that is there."""
    for path, name in _TEST.findall(read_text(page)):
        tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
        functions = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
        assert name in functions, f"{page} names {path}::{name}"


@pytest.mark.parametrize("page", ["README.md", "docs/explanation/guarantees.md"])
def test_promises_name_tests(page: str) -> None:
    """The pages that promise have not lost the tests that show it."""
    assert len(_TEST.findall(read_text(page))) >= 7


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    """Files and headings that are linked to exist."""
    for path, anchor in _LINK.findall(read_text(page)):
        target = (ROOT / page).parent / path if path else ROOT / page
        assert target.exists(), f"{page} links to {path}"
        if anchor:
            headings = _HEADING.findall(target.read_text(encoding="utf-8"))
            assert anchor in {_anchor(heading) for heading in headings}, f"{page}: #{anchor}"


@pytest.mark.parametrize("page", PAGES)
def test_commands_exist(page: str) -> None:
    """Every command and option that a page names is one."""
    for typed in _typed_on(page):
        words = typed.split()
        if words[0] in ("COMMAND", "--help"):
            continue
        options = _options(words[0])
        for word in words[1:]:
            option = word.partition("=")[0].strip("[]`,.")
            if re.fullmatch(r"--?[a-z][a-z-]*", option):
                assert option in options, f"{page}: distflow {typed}"


def test_every_command_is_in_the_reference() -> None:
    """With each of its options, in a row that names the command."""
    text = read_text("docs/reference/command-line.md")
    for name in COMMANDS:
        assert f"`distflow {name}" in text, name
        for option in _options(name) - {"--help", "-h"}:
            rows = [line for line in text.splitlines() if re.search(rf"`{option}[ `]", line)]
            named = [row for row in rows if f"`{name}`" in row or "| all" in row or "where" in row]
            assert named, f"{name} {option}"


def test_exit_codes_are_in_the_reference() -> None:
    """Each once, and no others."""
    codes = re.findall(r"^\| `(\d+)` \|", read_text("docs/reference/command-line.md"), re.MULTILINE)
    assert sorted(map(int, codes)) == sorted(ExitCode)


def test_settings_are_in_the_reference() -> None:
    """Environment variables and settings: all that the code reads, with their defaults."""
    text = read_text("docs/reference/settings.md")
    read = {
        name
        for folder in ("distflow", "workers")
        for path in Path(ROOT, folder).rglob("*.py")
        for name in _VARIABLE.findall(path.read_text(encoding="utf-8"))
    }
    named = set(re.findall(r"^\| `([A-Z_]+)` \|", text, re.MULTILINE))
    assert named == read
    for field in fields(CoordinatorSettings):
        default = getattr(CoordinatorSettings(), field.name)
        assert f"| `{field.name}` | {default:g} |" in text


def test_options_of_tasks_are_in_the_reference() -> None:
    """Every option of ``@task``."""
    for name in TaskOptions.__annotations__:
        assert f"| `{name}` |" in read_text("docs/reference/task-options.md")


def test_run_statuses_and_json_are_in_the_reference() -> None:
    """Every status of a run; and the documents that are shown are JSON."""
    text = read_text("docs/reference/json.md")
    assert all(f"`{status}`" in text for status in RunStatus)
    sections = read_sections("docs/reference/json.md")
    blocks = [block for section in sections for block in section.blocks]
    assert all(json.loads(block.text) for block in blocks if block.language == "json")


def test_events_are_documented() -> None:
    """Every event that a callback may be registered for."""
    assert all(f"`{event}`" in read_text("docs/reference/events.md") for event in EVENTS)


def test_durabilities_are_explained() -> None:
    """Every durability that a run may record."""
    text = read_text("docs/explanation/guarantees.md")
    assert all(f"| `{name}` |" in text for name in DURABILITIES)


def test_the_protocol_is_written_down() -> None:
    """Every key, script and code; and the versions of a run."""
    text = read_text("docs/reference/protocol.md")
    keys = [*RunKeys("distflow", "R").all(), runs_key("distflow"), *active_keys("distflow")]
    assert all(f"| `{key}` |" in text for key in keys)
    assert all(f"`{name}`" in text for name in script_names())
    assert all(f"| `{code.name}` | {code.value} |" in text for code in Code)
    assert f"Wire versions {said_versions()}." in text


def test_decisions_are_numbered_dated_and_listed() -> None:
    """From 1 without a gap, each on a page of three parts, with a line in the index."""
    folder = ROOT / "docs/decisions"
    pages = sorted(folder.glob("[0-9]*.md"))
    index = (folder / "index.md").read_text(encoding="utf-8")
    assert [int(page.name[:4]) for page in pages] == list(range(1, len(pages) + 1))
    for page in pages:
        text = page.read_text(encoding="utf-8")
        number = int(page.name[:4])
        assert re.match(rf"# {number}\. .+\n\n- Date: \d{{4}}-\d\d-\d\d\n- Status: (\w+)", text)
        assert re.findall("^## (.+)$", text, re.MULTILINE) == [
            *("Context", "Decision", "Consequences"),
        ]
        title = text.partition("\n")[0].removeprefix("# ")
        superseded = "Status: superseded by [" in text
        line = f"- [{title}]({page.name}){' (superseded)' if superseded else ''}\n"
        assert line in index, f"docs/decisions/index.md has no line {line!r}"


def test_public_names_are_in_the_api() -> None:
    """Each that ``distflow`` and ``distflow_worker`` export, and no other."""
    shown = re.findall(r"^::: ([\w.]+)$", read_text("docs/reference/api.md"), re.MULTILINE)
    public = [f"{each.__name__}.{name}" for each in PUBLIC for name in each.__all__]
    assert sorted(shown) == sorted({*public, "distflow.errors"} - {"distflow.DistflowError"})


def test_pages_are_in_the_navigation() -> None:
    """Each but the decisions, which their index lists; the build would not miss one."""
    text = read_text("zensical.toml")
    named = re.findall(r'"([\w/-]+\.md)"', text)
    assert tomllib.loads(text)["project"]["nav"]
    pages = [page.removeprefix("docs/") for page in PAGES if page.startswith("docs/")]
    assert sorted(named) == sorted(page for page in pages if not re.search(r"/\d{4}-", page))
