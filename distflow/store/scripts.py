"""The Lua scripts: found beside this file, sent by their SHA-1, loaded where Redis lost them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from redis.exceptions import NoScriptError

from distflow.core.claim import Code
from distflow.faults import commit

_FOLDER = Path(__file__).parent / "lua"


class Script(NamedTuple):
    """A script as Redis gets it: the codes, the shared prelude, then its own file."""

    name: str
    text: bytes
    sha: str


@cache
def load_script(name: str) -> Script:
    """The script ``lua/<name>.lua``."""
    codes = ", ".join(f"{code.name}={code.value}" for code in Code)
    parts = [f"local CODE = {{{codes}}}", _read("prelude"), _read(name)]
    text = "\n".join(parts).encode()
    return Script(name, text, hashlib.sha1(text, usedforsecurity=False).hexdigest())


def script_names() -> list[str]:
    """Every transition that has a script."""
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


def run_script_together(
    client: Any, name: str, calls: Sequence[tuple[Sequence[str], Sequence[str | bytes | float]]]
) -> list[Any]:
    """Run a script once per (keys, arguments), all in one round trip, and return the replies."""
    script = load_script(name)
    try:
        with commit(name):
            pipeline = client.pipeline(transaction=False)
            for keys, arguments in calls:
                pipeline.evalsha(script.sha, len(keys), *keys, *arguments)
            replies: list[Any] = pipeline.execute()
    except NoScriptError:
        client.script_load(script.text)
        return run_script_together(client, name, calls)
    return replies


@cache
def _read(name: str) -> str:
    return (_FOLDER / f"{name}.lua").read_text(encoding="utf-8")
