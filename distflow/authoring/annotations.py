"""Values from text and JSON, read by the annotation of a workflow's parameter."""

from __future__ import annotations

import collections.abc
import functools
import inspect
import json
import types
import typing
import uuid
from collections.abc import Callable, Mapping
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any, Literal, Union

from distflow.errors import InvalidInput
from distflow.wire.as_json import parse_json

_TRUE = frozenset({"true", "yes", "on", "1"})
_FALSE = frozenset({"false", "no", "off", "0"})


def annotation_of(function: Callable[..., Any], name: str) -> Any:
    """The annotation of a parameter; Any if there is none, or if it cannot be evaluated."""
    function = inspect.unwrap(function)
    parameters = inspect.signature(function).parameters
    if name not in parameters:
        return Any
    annotation = parameters[name].annotation
    if annotation is inspect.Parameter.empty:
        return Any
    holder = types.SimpleNamespace(__annotations__={name: annotation})
    try:
        return typing.get_type_hints(holder, globalns=getattr(function, "__globals__", {}))[name]
    except Exception:  # noqa: BLE001  an annotation may be any expression
        return Any


def read_text(text: str, annotation: Any, owner: str) -> Any:
    """A value of the annotated type from text; for unknown types, JSON or the text itself.

    Raises:
        InvalidInput: the text is not such a value; the message starts with ``owner``.
    """
    try:
        return _from_text(text, annotation)
    except (ValueError, ArithmeticError, TypeError) as error:
        raise _refused(text, annotation, error, owner) from None


def read_json(value: Any, annotation: Any, owner: str) -> Any:
    """A value of the annotated type from a JSON value.

    Raises:
        InvalidInput: the value cannot be one of that type; the message starts with ``owner``.
    """
    try:
        return _from_json(value, annotation)
    except (ValueError, ArithmeticError, TypeError) as error:
        raise _refused(json.dumps(value), annotation, error, owner) from None


def _from_text(text: str, annotation: Any) -> Any:
    members = _members(annotation)
    if members is not None:
        return _first_of(functools.partial(_from_text, text), members)
    if annotation in _READERS:
        return _READERS[annotation](text)
    origin = typing.get_origin(annotation)
    if origin is Literal:
        return _literal(text, typing.get_args(annotation))
    if (origin or annotation) in _CONTAINERS:
        return _from_json(parse_json(text), annotation)
    try:
        return parse_json(text)
    except json.JSONDecodeError:
        return text


def _from_json(value: Any, annotation: Any) -> Any:
    members = _members(annotation)
    if members is not None:
        return _first_of(functools.partial(_from_json, value), members)
    origin = typing.get_origin(annotation) or annotation
    if origin in _CONTAINERS:
        return _container(value, origin, typing.get_args(annotation))
    if annotation is str and not isinstance(value, str):
        raise TypeError("it is not text")
    if annotation in _READERS or origin is Literal:
        return _from_text(value if isinstance(value, str) else json.dumps(value), annotation)
    return value


def _members(annotation: Any) -> list[Any] | None:
    """Members of a union, text last because any text matches it; None if it is not a union."""
    if typing.get_origin(annotation) not in (Union, types.UnionType):
        return None
    return sorted(typing.get_args(annotation), key=lambda member: member is str)


def _first_of(read: Callable[[Any], Any], members: list[Any]) -> Any:
    for member in members:
        try:
            return read(member)
        except (ValueError, ArithmeticError, TypeError):
            continue
    raise ValueError("it is none of these")


def _literal(text: str, choices: tuple[Any, ...]) -> Any:
    for choice in choices:
        spelled = choice if isinstance(choice, str) else json.dumps(choice)
        if text == spelled:
            return choice
    raise ValueError("it is none of these")


def _container(value: Any, kind: Any, arguments: tuple[Any, ...]) -> Any:
    shape = _CONTAINERS[kind]
    if shape is dict:
        if not isinstance(value, dict):
            raise TypeError("it is not a JSON object")
        key, element = arguments or (Any, Any)
        return {
            (name if key is Any else _from_text(name, key)): _from_json(item, element)
            for name, item in value.items()
        }
    if not isinstance(value, list):
        raise TypeError("it is not a JSON array")
    if shape is tuple and arguments and arguments[-1] is not Ellipsis:
        if len(value) != len(arguments):
            raise ValueError(f"it has {len(value)} elements, not {len(arguments)}")
        return tuple(_from_json(*pair) for pair in zip(value, arguments, strict=True))
    element = arguments[0] if arguments else Any
    return shape(_from_json(item, element) for item in value)


def _read_bool(text: str) -> bool:
    word = text.strip().lower()
    if word in _TRUE:
        return True
    if word in _FALSE:
        return False
    raise ValueError("say true or false")


def _read_null(text: str) -> None:
    if text.strip() != "null":
        raise ValueError("it is not null")


def _refused(text: str, annotation: Any, error: Exception, owner: str) -> InvalidInput:
    wanted = inspect.formatannotation(annotation)
    reason = "" if isinstance(error, ArithmeticError) else f" ({error})"
    return InvalidInput(f"{owner} is not of type {wanted}: {text[:60]!r}{reason}")


#: How a type is read from text.
_READERS: Mapping[Any, Callable[[str], Any]] = {
    str: str,
    int: int,
    float: float,
    bool: _read_bool,
    datetime: datetime.fromisoformat,
    date: date.fromisoformat,
    timedelta: lambda text: timedelta(seconds=float(text)),
    Decimal: Decimal,
    uuid.UUID: uuid.UUID,
    types.NoneType: _read_null,
}

#: The annotation of a container -> the type built from its JSON.
_CONTAINERS: Mapping[Any, type] = {
    list: list,
    collections.abc.Sequence: list,
    collections.abc.Iterable: list,
    tuple: tuple,
    set: set,
    frozenset: frozenset,
    dict: dict,
    collections.abc.Mapping: dict,
}
