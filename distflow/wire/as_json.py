"""What JSON can say of what msgpack has said: for people, and for ``--json``."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from math import isfinite
from typing import Any

from distflow.core.model import TaskResult
from distflow.text import visible
from distflow.wire.codec import encode_result, unpack

#: What a JSON text may hold that a terminal, or who reads it by lines, could take for more.
_SUSPECT_IN_JSON = re.compile(r"[^ -~\n]")


def to_plain(value: Any) -> Any:
    """Anything that :func:`pack` takes -> what JSON can say, for people and ``--json``.

    Times become ISO 8601, Decimals and UUIDs text, bytes their UTF-8 text or hex digits, sets
    lists, NaN and infinities text. It cannot be turned back. Keys become text; of those that are
    the same text then, the one that was text stays, and others say their type: ``"1 (int)"``.
    """
    if isinstance(value, Mapping):
        elements = map(to_plain, value.values())
        return dict(zip(_plain_keys(list(value)), elements, strict=True))
    if isinstance(value, (list, tuple, set, frozenset)):
        return [to_plain(element) for element in value]
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            return value.hex()
    if isinstance(value, float):
        return value if isfinite(value) else str(value)
    if value is None or isinstance(value, (str, int)):
        return value
    if isinstance(value, (datetime, date)):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    return str(value)


def _plain_keys(keys: Sequence[Any]) -> list[str]:
    texts = [key if isinstance(key, str) else str(to_plain(key)) for key in keys]
    if len(set(texts)) == len(texts):
        return texts
    often = Counter(texts)
    taken = {key for key in keys if isinstance(key, str)}
    for at, (key, text) in enumerate(zip(keys, texts, strict=True)):
        if isinstance(key, str):
            continue
        if often[text] > 1:
            texts[at] = f"{text} ({type(key).__name__})"
        while texts[at] in taken:
            texts[at] += "'"
        taken.add(texts[at])
    return texts


def parse_json(text: str | bytes) -> Any:
    """What a JSON text says.

    Raises:
        ValueError: it is no JSON, or is nested deeper than Python reads.
    """
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deep") from None


def json_text(document: Any, *, indent: int | None = None) -> str:
    """What JSON can say -> JSON. It reads as what ``json.dumps`` would write, and has escapes for
    whatever :func:`~distflow.text.visible` has escapes for.

    Raises:
        ValueError: it holds a NaN or an infinity.
    """
    text = json.dumps(document, ensure_ascii=False, allow_nan=False, indent=indent)
    # JSON itself has escapes for the control characters of ASCII, all but the last.
    plain = text.isascii() and "\x7f" not in text
    return text if plain else _SUSPECT_IN_JSON.sub(_escape_in_json, text)


def _escape_in_json(match: re.Match[str]) -> str:
    character = match[0]
    # What is beyond 16 bits becomes the two escapes that JSON has for it.
    return character if visible(character) == character else json.dumps(character)[1:-1]


def plain_result(result: TaskResult) -> dict[str, Any]:
    """TaskResult -> what JSON can say, with every field of the wire form."""
    fields: dict[str, Any] = unpack(encode_result(result), opaque=True)
    plain: dict[str, Any] = to_plain(fields)
    return plain


def iso_time(unix_seconds: float | None) -> str | None:
    """Unix seconds -> ISO 8601 in UTC with milliseconds; None stays None."""
    if unix_seconds is None:
        return None
    moment = datetime.fromtimestamp(unix_seconds, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
