"""Text from outside is data: a name, an error or a note is shown, and can do nothing else.

Everything that commands print comes here from :mod:`distflow.cli.ui.common`, and everything that
distflow logs from :mod:`distflow.logs`.
"""

from __future__ import annotations

import sys

#: Spaces of other widths: not printable by Python's rules, but harmless.
_SPACES = frozenset(" \xa0\u1680\u202f\u205f\u3000" + "".join(map(chr, range(0x2000, 0x200B))))

#: Below it, tenths of a second are shown.
_SHORT_SECONDS = 9.95

_UNITS = ((86_400, "d"), (3600, "h"), (60, "min"))


def visible(text: str) -> str:
    r"""The text in one line: line breaks, control characters, marks that reorder text and lone
    surrogates become escapes such as ``\n`` and ``\x1b``. Tabs stay.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in _SPACES or c == "\t" else _escape(c) for c in text)


def one_line(text: str) -> str:
    """Several lines of text in one, joined by spaces."""
    return visible(" ".join(text.split()))


def counted(count: int, noun: str, plural: str | None = None) -> str:
    """``1 task``, ``2 tasks``, ``1,000 tasks``; ``plural`` is for nouns that do not just add s."""
    return f"{count:,} {noun if count == 1 else plural or noun + 's'}"


def span(seconds: float) -> str:
    """Seconds in the largest unit that fits: ``0.25 s``, ``4.1 s``, ``41 s``, ``12 min``, …"""
    for size, unit in _UNITS:
        if seconds >= size:
            return f"{int(seconds / size)} {unit}"
    digits = 2 if seconds < 1 else 1 if seconds < _SHORT_SECONDS else 0
    return f"{seconds:.{digits}f} s"


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode()


def public_name(kind: type) -> str:
    """A class as users import it: ``pathlib.PosixPath``, not ``pathlib._local.PosixPath``."""
    packages = kind.__module__.split(".")
    for count in range(1, len(packages)):
        module = ".".join(packages[:count])
        if getattr(sys.modules.get(module), kind.__name__, None) is kind:
            return f"{module}.{kind.__name__}"
    return f"{kind.__module__}.{kind.__qualname__}"


def clean_text(text: object, most: int) -> str:
    """Text that UTF-8 can encode. An exception's message may hold anything, and a user may pass the
    exception itself as a message. Longer text is cut in the middle.
    """
    said = _cut(str(text), most).encode("utf-8", "backslashreplace").decode()
    # What stands for a character may be longer than it.
    return _cut(said, most)


def _cut(text: str, most: int) -> str:
    half = most // 2
    return text if len(text) <= most else f"{text[:half]}…{text[half + 1 - most :]}"


def is_utf8(text: str) -> bool:
    """Whether a text can be encoded: one with a lone surrogate cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
