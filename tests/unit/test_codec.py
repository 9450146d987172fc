"""msgpack <-> the model: what travels travels unchanged, and the rest is refused by its path."""

from __future__ import annotations

import enum
import json
from collections import OrderedDict, namedtuple
from contextlib import suppress
from datetime import datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distflow.core.model import Metrics, Ref, TaskResult
from distflow.core.status import TaskStatus
from distflow.errors import InvalidInput, NotEncodable
from distflow.wire import codec, extensions
from distflow.wire.as_json import plain_result, to_plain
from distflow.wire.extensions import register_type

S = TaskStatus
DEEPEST, DEEPEST_TUPLES = 256, 24


class Money:
    """A type that users register."""

    def __init__(self, amount: Any) -> None:
        self.amount = amount

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Money) and same(self.amount, other.amount)

    def __hash__(self) -> int:
        return 1


@pytest.fixture(autouse=True)
def _registered(monkeypatch: pytest.MonkeyPatch) -> None:
    """``Money`` is registered as 40, and what a test registers is gone after it."""
    monkeypatch.setattr(extensions, "_by_code", dict(extensions._by_code))
    monkeypatch.setattr(extensions, "_by_type", dict(extensions._by_type))
    register_type(40, Money, lambda money: money.amount, Money)


def same(left: Any, right: Any) -> bool:
    """Equal in value and in type throughout, NaN and signed zeros included."""
    if type(left) is not type(right):
        return False
    if isinstance(left, (list, tuple)):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, dict):
        return same(list(left.items()), list(right.items()))
    if isinstance(left, float):
        return bool(left.hex() == right.hex())
    if isinstance(left, complex):
        return same([left.real, left.imag], [right.real, right.imag])
    if isinstance(left, Decimal):
        return bool(str(left) == str(right))
    if isinstance(left, datetime):
        # Two zones at a repeated hour are never equal to Python: the wall and the offset are.
        return bool(left.isoformat() == right.isoformat() and left.fold == right.fold)
    return bool(left == right)


text = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
keys = text | st.integers(-(2**63), 2**64 - 1) | st.binary(max_size=4) | st.booleans()
hashables = st.one_of(
    keys,
    st.none(),
    st.floats(allow_nan=False),
    st.decimals(allow_nan=False),
    st.dates(),
    st.timedeltas(),
    st.uuids(),
    st.complex_numbers(allow_nan=False),
    # In whole seconds: Python itself reads the offset +00:00:00.000001 as none.
    st.integers(-86_399, 86_399)
    .map(lambda seconds: timezone(timedelta(seconds=seconds)))
    .flatmap(lambda zone: st.datetimes(timezones=st.just(zone))),
)
scalars = st.one_of(
    hashables,
    st.floats(),
    st.sampled_from([Decimal("NaN"), Decimal("-sNaN123"), Decimal("-0.00"), Decimal("1E+999")]),
    st.datetimes(),
    st.builds(datetime.replace, st.datetimes(), fold=st.integers(0, 1)),
    st.datetimes(timezones=st.timezones()),
    st.complex_numbers(),
    st.builds(Ref, text),
)
hashable_values = st.recursive(
    hashables,
    lambda inner: st.frozensets(inner, max_size=3) | st.lists(inner, max_size=3).map(tuple),
    max_leaves=5,
)
values = st.recursive(
    scalars | hashable_values,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=4).map(tuple),
        st.dictionaries(keys, inner, max_size=4),
        st.sets(hashable_values, max_size=4),
        st.builds(Money, inner),
    ),
    max_leaves=12,
)


@settings(max_examples=300)
@given(values)
def test_every_value_comes_back_as_it_was(value: Any) -> None:
    """Types too: a tuple is no list, a set no tuple, True no 1, and a NaN is one."""
    assert same(codec.unpack(codec.pack(value)), value)


@settings(max_examples=150)
@given(values)
def test_a_coordinator_passes_on_what_it_cannot_read(value: Any) -> None:
    """``opaque``: where a user's type is not registered, its bytes go through unchanged."""
    packed = codec.pack([value])
    known = extensions._by_code.pop(40), extensions._by_type.pop(Money)
    try:
        passed = codec.pack(codec.unpack(packed, opaque=True))
    finally:
        extensions._by_code[40], extensions._by_type[Money] = known
    assert same(codec.unpack(passed), [value])


@settings(max_examples=150)
@given(values)
def test_a_map_passes_on_what_it_must_not_read(value: Any) -> None:
    """``sealed``: no code of users is called, though it is registered here."""
    packed = codec.pack([value])
    known = extensions._by_code[40]
    try:
        extensions._by_code[40] = known._replace(restore=lambda inner: 1 / 0)
        passed = codec.pack(codec.unpack(packed, sealed=True))
    finally:
        extensions._by_code[40] = known
    assert same(codec.unpack(passed), [value])


class Colour(enum.IntEnum):
    RED = 1


class Label(enum.StrEnum):
    RED = "red"


class Text(str):
    __slots__ = ()


class When(datetime):
    pass


Point = namedtuple("Point", "x y")  # noqa: PYI024 - what users have
bent: list[Any] = [
    Colour.RED,
    Label.RED,
    Text("a"),
    Point(1, 2),
    OrderedDict(a=1),
    When(2026, 1, 1),
]


@pytest.mark.parametrize("value", bent, ids=repr)
def test_what_would_come_back_as_another_type_is_refused(value: Any) -> None:
    """A subclass is not silently bent into its base: the message says what to do instead."""
    name = f"{type(value).__module__}.{type(value).__qualname__}"
    with pytest.raises(NotEncodable) as raised:
        codec.pack({"a": [0, value]})
    assert str(raised.value) == (
        f"['a'][1]: {name} cannot be stored; "
        "use plain data, or register the type with distflow.register_type"
    )


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (object(), "data: builtins.object cannot be stored"),
        ([1, {"k": (2, object())}], "data[1]['k'][1]: builtins.object"),
        ({3: {b"k": time(1)}}, "data[3][b'k']: datetime.time"),
        ({"a": {1.5: 0}}, "data['a']: a key of type float (1.5); keys are str, int, bytes or bool"),
        ({(1, 2): 0}, "data: a key of type tuple ((1, 2))"),
        ({None: 0}, "data: a key of type NoneType"),
        ([2**64], "data[0]: an integer of more than 64 bits"),
        ([-(2**63) - 1], "data[0]: an integer of more than 64 bits"),
        ({"a": "\ud800"}, "data['a']: text with a lone surrogate"),
        ({"\ud800": 1}, "data['\\ud800']: text with a lone surrogate"),
        (Money([0, object()]), "data[1]: builtins.object"),
        ([bytearray(b"x")], "data[0]: builtins.bytearray"),
        ({"k" * 99: object()}, "data['" + "k" * 39 + "]: builtins.object"),
    ],
)  # fmt: skip
def test_what_cannot_be_encoded_is_named_by_its_path(value: Any, message: str) -> None:
    """A task whose result cannot be stored fails with the path to the element at fault."""
    with pytest.raises(NotEncodable) as raised:
        codec.encode_result(TaskResult(S.SUCCESS, data=value))
    assert str(raised.value).startswith(message)


def nested(levels: int, kind: Any) -> Any:
    """A value of so many containers, one in another."""
    value: Any = 0
    for _level in range(levels):
        value = kind(value)
    return value


def one_list(inner: Any) -> Any:
    """A list around a value."""
    return [inner]


def one_tuple(inner: Any) -> Any:
    """A tuple around a value."""
    return (inner,)


def one_dict(inner: Any) -> Any:
    """A dict around a value."""
    return {"k": inner}


def one_frozenset(inner: Any) -> Any:
    """A frozenset around a value."""
    return frozenset([inner])


@pytest.mark.parametrize(
    ("kind", "deepest"),
    [
        (one_list, DEEPEST),
        (one_dict, DEEPEST),
        (one_tuple, DEEPEST_TUPLES),
        (one_frozenset, DEEPEST_TUPLES),
        (Money, DEEPEST_TUPLES),
    ],
)
def test_what_is_nested_too_deep_is_refused(kind: Any, deepest: int) -> None:
    """All that is taken can be read again; one level more is refused, and so are 100,000."""
    value = nested(deepest, kind)
    assert codec.unpack(codec.pack(value)) == value
    result = TaskResult(S.SUCCESS, data=value)
    assert codec.decode_result(codec.encode_result(result)) == result
    json.dumps(plain_result(result))
    for levels in (deepest + 1, 100_000):
        with pytest.raises(NotEncodable, match="nested deeper than 256 levels, or 24 of tuples"):
            codec.pack(nested(levels, kind))


def test_what_holds_itself_is_refused() -> None:
    """A cycle is as deep as can be."""
    cycle: list[Any] = []
    cycle.append(cycle)
    with pytest.raises(NotEncodable, match="nested deeper"):
        codec.pack(cycle)


# Hostile bytes


def read_all(packed: bytes) -> None:
    """Read bytes in every way there is; NotEncodable is the one answer to what is no value."""
    for opaque in (False, True):
        for read in (codec.unpack, codec.decode_result):
            with suppress(NotEncodable):
                read(packed, opaque=opaque)


@settings(max_examples=300)
@given(st.binary(max_size=64))
def test_random_bytes_are_refused(packed: bytes) -> None:
    """Whatever lies in Redis or in a file, reading it raises NotEncodable or returns a value."""
    read_all(packed)


@settings(max_examples=300)
@given(values, st.data())
def test_damaged_bytes_are_refused(value: Any, data: st.DataObject) -> None:
    """So are bytes that are nearly right, which reach further into the decoder."""
    result = TaskResult(S.SUCCESS, data=value, metrics=Metrics(1.0, 2.0, 1.0))
    packed = bytearray(codec.encode_result(result))
    for _change in range(data.draw(st.integers(1, 4))):
        packed[data.draw(st.integers(0, len(packed) - 1))] = data.draw(st.integers(0, 255))
    read_all(bytes(packed))
    read_all(bytes(packed[: data.draw(st.integers(0, len(packed)))]))


def ext(code: int, inner: Any) -> bytes:
    """An extension of any content."""
    packed: bytes = msgpack.packb(msgpack.ExtType(code, msgpack.packb(inner, strict_types=True)))
    return packed


def ext_tower(levels: int) -> bytes:
    """Tuples in tuples, without the encoder's limit."""
    packed: bytes = msgpack.packb([])
    for _level in range(levels):
        packed = msgpack.packb([msgpack.ExtType(2, packed)])
    return packed


@pytest.mark.parametrize(
    "packed",
    [
        b"",
        b"\x91" * 100_000 + b"\xc0",
        b"\x81\xa1k" * 100_000 + b"\xc0",
        ext_tower(25),
        ext_tower(2_000),
        b"\xdd\xff\xff\xff\xff",
        b"\xc6\xff\xff\xff\xff",
        b"\xc0\xc0",
        b"\xa1\xff",
        b"\x81\x90\xc0",
        ext(2, 5),
        ext(3, [[1]]),
        ext(5, "yesterday"),
        ext(5, 7),
        ext(7, [10**12, 0, 0]),
        ext(7, [1, 2, 3, 4, 5, 6, 7, 8]),
        ext(8, "many"),
        ext(9, b"short"),
        ext(10, ["a", 1]),
        ext(99, 1),
    ],
    ids=lambda packed: f"{packed[:8].hex()}-{len(packed)}",
)  # fmt: skip
def test_hostile_bytes_are_refused(packed: bytes) -> None:
    """Depth, lengths that lie, and extensions that hold something else: no crash, one error."""
    with pytest.raises(NotEncodable):
        codec.unpack(packed)
    read_all(packed)


def test_an_extension_that_is_unknown_here_is_named() -> None:
    """The message says what is missing: the module that registers it was not imported."""
    with pytest.raises(NotEncodable, match="extension type 99 is not registered here"):
        codec.unpack(ext(99, 1))


# Registering types


def test_a_registration_may_be_repeated() -> None:
    """A module that is imported twice registers twice; the last one counts."""
    register_type(40, Money, lambda money: [money.amount], lambda parts: Money(parts[0]))
    assert codec.unpack(codec.pack(Money(3))) == Money(3)


@pytest.mark.parametrize(
    ("code", "kind", "message"),
    [
        (31, time, "the code must be 32 to 127, not 31"),
        (128, time, "the code must be 32 to 127, not 128"),
        (40, time, "code 40 is Money already"),
        (41, Money, "code 40 is Money already"),
        (41, Decimal, "code 8 is Decimal already"),
        (41, dict, "dict needs no registration"),
        (41, str, "str needs no registration"),
    ],
)
def test_a_registration_that_conflicts_is_refused(code: int, kind: type, message: str) -> None:
    """Two meanings of one code, or two codes of one type, would be read wrongly elsewhere."""
    with pytest.raises(InvalidInput, match=message):
        register_type(code, kind, str, str)


def test_a_registered_type_that_raises_is_named() -> None:
    """What a user's own reduce raises fails the task by name, as any value that has no place."""
    register_type(41, Text, lambda value: 1 / 0, Text)
    with pytest.raises(NotEncodable, match=r"\[0\]: the function registered for Text raised Zero"):
        codec.pack([Text("a")])
    register_type(41, Text, str, lambda value: 1 / 0)
    with pytest.raises(NotEncodable, match="division by zero"):
        codec.unpack(codec.pack([Text("a")]))


def test_json_keeps_keys_that_are_one_text() -> None:
    """Text is first; the others say what they are, in the order of the mapping."""
    keys: dict[Any, str] = {1: "int", "1": "text", b"1": "bytes", "1 (int)": "other", 2: "alone"}
    assert list(to_plain(keys).items()) == [
        ("1 (int)'", "int"),
        ("1", "text"),
        ("1 (bytes)", "bytes"),
        ("1 (int)", "other"),
        ("2", "alone"),
    ]
