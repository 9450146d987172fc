"""The Lua scripts: read from ``lua/``, called by their SHA-1, loaded when Redis does not have
them.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from redis.exceptions import NoScriptError

from distflow.core.claim import (
    HISTORY_BYTES,
    HISTORY_LIMIT,
    MAX_GRAPH_BYTES,
    MAX_TASKS,
    READ_VERSIONS,
    REFUSED_TASKS,
    Code,
)
from distflow.core.status import (
    CLAIMED_RUNS,
    REOPENED,
    RESTING_RUNS,
    SATISFYING,
    UNBLOCKED,
    UNSTARTED_RUNS,
)
from distflow.faults import commit

_CODE = re.compile(r"\bCODE\.([A-Z_]+)")
_POLICY = re.compile(r"\bPOLICY\.([A-Z_]+)")

#: The rules of ``core`` that scripts apply.
RULES: dict[str, object] = {
    "AT_REST": RESTING_RUNS,
    "CLAIMED_IN": CLAIMED_RUNS,
    "UNSTARTED_IN": UNSTARTED_RUNS,
    "UNBLOCKED": UNBLOCKED[False],
    "UNBLOCKED_STOPPED": UNBLOCKED[True],
    "REOPENED": REOPENED,
    "SATISFIES": SATISFYING[False],
    "SATISFIES_TOLERANT": SATISFYING[True],
    "REFUSED_TASKS": REFUSED_TASKS,
    "HISTORY_LIMIT": HISTORY_LIMIT,
    "HISTORY_BYTES": HISTORY_BYTES,
    "MAX_TASKS": MAX_TASKS,
    "MAX_GRAPH_BYTES": MAX_GRAPH_BYTES,
    # The newest version of runs that this distflow reads.
    "NEWEST_VERSION": READ_VERSIONS[-1],
}

_FOLDER = Path(__file__).parent / "lua"


class Script(NamedTuple):
    """A script as sent to Redis: the shared prelude, then its own file."""

    name: str
    text: bytes
    sha: str


@cache
def load_script(name: str) -> Script:
    """The script ``lua/<name>.lua``. Codes are inlined as numbers, and rules where they are used:
    tables of them would be built at each call.
    """
    parts = _read("prelude") + "\n" + _read(name)
    parts = _POLICY.sub(lambda found: _literal(RULES[found[1]]), parts)
    text = _CODE.sub(lambda found: str(Code[found[1]].value), parts).encode()
    return Script(name, text, hashlib.sha1(text, usedforsecurity=False).hexdigest())


def script_names() -> list[str]:
    """The names of all transitions that have a script."""
    return sorted(path.stem for path in _FOLDER.glob("*.lua") if path.stem != "prelude")


def run_script(
    client: Any, name: str, keys: Sequence[str], arguments: Sequence[str | bytes | float]
) -> Any:
    """Run a script on the keys of one run and return Redis's reply."""
    script = load_script(name)
    with commit(name):
        try:
            return client.evalsha(script.sha, len(keys), *keys, *arguments)
        except NoScriptError:
            return client.eval(script.text, len(keys), *keys, *arguments)


def queue_script(
    pipeline: Any, name: str, keys: Sequence[str], arguments: Sequence[str | bytes | float] = ()
) -> None:
    """Add a script to a pipeline. If the server does not have it, the pipeline's owner calls
    :func:`load_into` and runs the whole pipeline again.
    """
    with commit(name):
        pipeline.evalsha(load_script(name).sha, len(keys), *keys, *arguments)


def load_into(client: Any, names: Iterable[str]) -> None:
    """Load scripts into a server."""
    for name in names:
        client.script_load(load_script(name).text)


class ScriptCall(NamedTuple):
    """One call of a script on some keys."""

    name: str
    keys: Sequence[str]
    arguments: Sequence[str | bytes | float]


def run_scripts(
    client: Any, calls: Sequence[ScriptCall], *, before: Sequence[tuple[str, ...]] = ()
) -> list[Any]:
    """Run scripts in one round trip, and return their replies. If one is not loaded, all are run
    again, so none may depend on another.

    Args:
        client: the connection.
        calls: at least one; the last one names the commit for crash points.
        before: commands that go first.
    """
    try:
        with commit(calls[-1].name):
            pipeline = client.pipeline(transaction=False)
            for command in before:
                pipeline.execute_command(*command)
            for name, keys, arguments in calls:
                pipeline.evalsha(load_script(name).sha, len(keys), *keys, *arguments)
            replies: list[Any] = pipeline.execute()
    except NoScriptError:
        load_into(client, {call.name for call in calls})
        return run_scripts(client, calls, before=before)
    return replies[-len(calls) :]


def _literal(rule: object) -> str:
    """A rule as a Lua literal: a set becomes a table whose values are true."""
    if isinstance(rule, frozenset):
        return "({" + ", ".join(f"{name} = true" for name in sorted(rule)) + "})"
    return f"'{rule}'" if isinstance(rule, str) else str(rule)


@cache
def _read(name: str) -> str:
    return (_FOLDER / f"{name}.lua").read_text(encoding="utf-8")
