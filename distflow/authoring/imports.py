"""Imports of users' modules, with one-line errors that say what to fix."""

from __future__ import annotations

import difflib
import importlib
import pkgutil
import re
import sys
import sysconfig
import traceback
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType

from distflow.errors import InvalidInput
from distflow.places import find_other_copy

#: What ``"pkg.module:name"`` looks like.
PATH = re.compile(r"([^\W\d]\w*(?:\.[^\W\d]\w*)*):([^\W\d]\w*)")


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """``"; did you mean 'x'?"`` with the closest of ``known``, or nothing if none is close."""
    close = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean {close[0]!r}?" if close else ""


def split_path(path: str) -> tuple[str, str]:
    """``"pkg.module:name"`` -> its two parts.

    Raises:
        InvalidInput: it does not look like that.
    """
    match = PATH.fullmatch(path)
    if match and not match[1].endswith(".py"):
        return match[1], match[2]
    module, _, name = path.partition(":")
    stem = re.sub(r"[/\\]+", ".", module.removesuffix(".py")).strip(".")
    mended = f"{stem}:{name or 'name'}"
    hint = f", such as {mended!r}" if PATH.fullmatch(mended) else ""
    raise InvalidInput(f"{path!r} is not of the form 'pkg.module:name'{hint}")


def import_module(name: str) -> ModuleType:
    """Import a user's module.

    Raises:
        InvalidInput: it is not found, another module has its name, or its import raised an error;
            the message has the file and line.
    """
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as error:
        missing = error.name or name
        if name != missing and not name.startswith(missing + "."):
            raise InvalidInput(f"module {name!r} cannot be imported: {_tell(error)}") from error
        raise InvalidInput(
            f"module {missing!r} is not found on the Python path"
            f"{did_you_mean(missing, _siblings(missing))}"
        ) from error
    except (Exception, SystemExit) as error:
        raise InvalidInput(f"module {name!r} cannot be imported: {_tell(error)}") from error
    other = find_other_copy(name)
    if other:
        raise InvalidInput(f"module {name!r} is not the one that is here: {other}")
    return module


def _siblings(module: str) -> list[str]:
    """Modules beside a missing one: in its package, or in the first folder of the path."""
    package, dot, _ = module.rpartition(".")
    folders = list(getattr(sys.modules.get(package), "__path__", ())) if dot else sys.path[:1]
    return [package + dot + found.name for found in pkgutil.iter_modules(folders)]


def _tell(error: BaseException) -> str:
    """``"NameError: name 'x' is not defined (etl.py, line 3)"``: the line is the user's own."""
    text = " ".join(str(error).split())
    if not isinstance(error, InvalidInput):
        text = f"{type(error).__name__}: {text}" if text else type(error).__name__
    if isinstance(error, SyntaxError):
        return f"{type(error).__name__}: {error.msg} ({error.filename}, line {error.lineno})"
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if not frame.filename.startswith("<frozen") and frame.filename != __file__
    ]
    own = [frame for frame in frames if not _is_library(frame.filename)]
    for frame in (own or frames)[-1:]:
        return f"{text} ({frame.filename}, line {frame.lineno})"
    return text


_HERE = str(Path(__file__).resolve().parent.parent)
_STDLIB = sysconfig.get_path("stdlib")


def _is_library(filename: str) -> bool:
    return "site-packages" in filename or filename.startswith((_HERE, _STDLIB))
