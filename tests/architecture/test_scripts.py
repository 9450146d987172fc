"""The Lua scripts keep their form: a header that tells, names bound first, keys all passed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from distflow.store.redis.scripts import RULES, load_script, script_names

FOLDER = Path(__file__).parents[2] / "distflow/store/redis/lua"
STORE = FOLDER.parent


def code_of(name: str) -> list[str]:
    """The lines of a script that are no comment."""
    lines = (FOLDER / f"{name}.lua").read_text().splitlines()
    return [line for line in lines if line.strip() and not line.lstrip().startswith("--")]


@pytest.mark.parametrize("name", script_names())
def test_header_tells_purpose_keys_arguments_returns_events(name: str) -> None:
    """Who reads a script need not read its callers."""
    lines = (FOLDER / f"{name}.lua").read_text().splitlines()
    header = []
    for line in lines:
        if not line.startswith("--"):
            break
        header.append(line)
    text = "\n".join(header)
    for part in ("-- KEYS    ", "-- ARGV    ", "-- Returns ", "-- Events  "):
        assert part in text, f"{name}.lua: its header has no line {part!r}"
    assert not header[0].startswith("-- KEYS"), f"{name}.lua: say first what it is for"


@pytest.mark.parametrize("name", script_names())
def test_keys_are_named_before_use(name: str) -> None:
    """KEYS[n] appears only where it is given a name."""
    for line in code_of(name):
        if "KEYS[" in line:
            assert line.startswith("local ") or re.match(r"^\s+KEYS\[", line), f"{name}.lua: {line}"


@pytest.mark.parametrize("name", script_names())
def test_no_key_is_made_in_a_script(name: str) -> None:
    """Every key comes through KEYS, so that a Redis Cluster can route the call."""
    for line in code_of(name):
        assert not re.search(r"redis\.call\('\w+', '", line), f"{name}.lua: {line}"


def test_every_script_is_used() -> None:
    """A transition that nobody makes is dead code."""
    callers = "\n".join(path.read_text() for path in STORE.glob("*.py"))
    unused = [name for name in script_names() if f'"{name}"' not in callers]
    assert unused == []


def test_time_comes_from_the_prelude_alone() -> None:
    """One clock: Redis's, through the prelude, which tests may move."""
    users = [name for name in script_names() if "'TIME'" in "\n".join(code_of(name))]
    assert users == []


#: Scripts on the keys of many runs, or of one that may be gone: they say so for each.
UNGUARDED = {
    *("announce", "list_run", "mark_active", "note_worker", "shorten_leases"),
    *("renew_lease", "release_lease"),
}


@pytest.mark.parametrize("name", script_names())
def test_one_guard_says_who_is_refused(name: str) -> None:
    """Whether the run is there, whether the caller leads it and whether it can read it, the prelude
    asks: no script has lines of its own for that. What only reads needs none.
    """
    code = "\n".join(code_of(name))
    own = re.findall(r"'EXISTS', meta|'epoch'\) [~=]= epoch|run\[\d\] ~= epoch|'v'", code)
    if name not in UNGUARDED:
        assert own == []
        assert "refusal(" in code or name.startswith("read_")


def test_rules_come_from_the_core() -> None:
    """Where a run or a task goes to its caller says, or a table of ``core``: a script that named
    the statuses that allow something would be a second place that knows. Reopening is a transition
    by itself.
    """
    named = re.compile(
        r"'HSET', \w+, 'status', '|[~=]= '(running|cancelling|paused|success|failure|cancelled)'"
    )
    choosing = {name for name in script_names() if named.search("\n".join(code_of(name)))}
    assert choosing == {"begin_reopen"}


def test_scripts_carry_the_rules() -> None:
    """As Lua says them; each is used."""
    texts = "\n".join(load_script(name).text.decode() for name in script_names())
    assert "POLICY." not in texts
    assert "({cancelling = true})" in texts
    raw = "\n".join(path.read_text() for path in FOLDER.glob("*.lua"))
    assert set(re.findall(r"POLICY\.([A-Z_]+)", raw)) == set(RULES)


def test_scripts_carry_the_codes_of_the_enum() -> None:
    """Lua and Python count the same: the numbers are generated from one enum."""
    text = load_script("advance").text.decode()
    used = set(re.findall(r"CODE\.([A-Z_]+)", text))
    defined = set(re.findall(r"([A-Z_]+)=\d+", text.splitlines()[0]))
    assert used <= defined
