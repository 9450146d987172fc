"""A reader for pickles of plain data: None, booleans, numbers, text, bytes, tuples, lists, dicts.

It is not an unpickler: nothing in it can import, call or build anything else.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from pickletools import genops
from typing import Any

from distflow.errors import UntrustedBytes

_Stack = list[Any]

#: Types of dict keys: a nested tuple could take for ever to hash.
_KEYS = (str, bytes, int, float, type(None))

#: Operations whose argument is the value itself.
_VALUES = frozenset(
    {
        *("BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT"),
        *("SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8"),
        *("SHORT_BINBYTES", "BINBYTES", "BINBYTES8"),
    }
)

#: Operations that push a new value.
_NEW: dict[str, Callable[[], Any]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_TUPLE": tuple,
    "EMPTY_LIST": list,
    "EMPTY_DICT": dict,
}

#: Operations that make a tuple of this many values.
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}

#: Framing operations, which carry no value.
_FRAMING = frozenset({"PROTO", "FRAME"})


def read_plain(data: bytes) -> Any:
    """The value in a pickle of plain data. Time and memory are proportional to the data.

    Args:
        data: a pickle of protocol 4 or 5.

    Raises:
        UntrustedBytes: it contains anything else, or is not a pickle.
    """
    reader = _Reader()
    try:
        for operation, argument, _position in genops(data):
            if operation.name == "STOP":
                return reader.value()
            reader.apply(operation.name, argument)
    except (ValueError, LookupError, TypeError, AttributeError, struct.error) as error:
        raise UntrustedBytes(f"refused: not a pickle of plain data ({error})") from None
    raise UntrustedBytes("refused: a pickle without an end")


class _Reader:
    """The part of the pickle machine that plain data need."""

    def __init__(self) -> None:
        self._stack: _Stack = []
        #: The stacks below each mark.
        self._below: list[_Stack] = []
        self._memo: list[Any] = []

    def value(self) -> Any:
        """The value that is left at the end."""
        (value,) = self._stack
        return value

    def apply(self, name: str, argument: Any) -> None:
        """Do one operation.

        Raises:
            UntrustedBytes: plain data do not use this operation.
        """
        stack = self._stack
        if name in _VALUES:
            stack.append(argument)
        elif name in _NEW:
            stack.append(_NEW[name]())
        elif name in _TUPLES:
            stack.append(tuple(self._pop(_TUPLES[name])))
        elif name == "MARK":
            self._below.append(stack)
            self._stack = []
        elif name == "TUPLE":
            values = self._pop_mark()
            self._stack.append(tuple(values))
        elif name in ("APPEND", "APPENDS"):
            values = self._pop(1) if name == "APPEND" else self._pop_mark()
            _expect(list, self._stack[-1]).extend(values)
        elif name in ("SETITEM", "SETITEMS"):
            values = self._pop(2) if name == "SETITEM" else self._pop_mark()
            _fill(_expect(dict, self._stack[-1]), values)
        elif name == "MEMOIZE":
            self._memo.append(stack[-1])
        elif name in ("BINGET", "LONG_BINGET"):
            stack.append(self._memo[argument])
        elif name not in _FRAMING:
            raise UntrustedBytes(
                f"refused: a pickle with {name}, which plain data do not have; nothing was loaded"
            )

    def _pop(self, count: int) -> list[Any]:
        if len(self._stack) < count:
            raise ValueError("its stack is empty")
        values = self._stack[-count:]
        del self._stack[-count:]
        return values

    def _pop_mark(self) -> list[Any]:
        values, self._stack = self._stack, self._below.pop()
        return values


def _expect(kind: type, value: Any) -> Any:
    if type(value) is not kind:
        raise TypeError(f"a {type(value).__name__} where a {kind.__name__} belongs")
    return value


def _fill(target: dict[Any, Any], values: list[Any]) -> None:
    for key, value in zip(values[::2], values[1::2], strict=True):
        if not isinstance(key, _KEYS):
            raise TypeError(f"a {type(key).__name__} as a key")
        target[key] = value
