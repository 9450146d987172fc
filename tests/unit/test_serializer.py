"""SafeSerializer reads plain data, and whatever an attacker writes ends in a refusal."""

from __future__ import annotations

import copyreg
import os
import pickle
import tracemalloc
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import distflow_worker
from distflow.errors import UntrustedBytes
from distflow_worker.safe_pickle import read_plain
from distflow_worker.serializer import BATCH_FUNCTION, SafeSerializer

_SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False),
    st.text(),
    st.binary(),
)
_PLAIN = st.recursive(
    _SCALARS,
    lambda inner: st.one_of(
        st.lists(inner), st.dictionaries(_SCALARS, inner), st.lists(inner).map(tuple)
    ),
)
_MIB = 1 << 20
_called: list[object] = []


class _Reduced:
    """Pickled as a call, as the malicious do."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self._call = function, arguments

    def __reduce__(self) -> Any:
        return self._call

    def __repr__(self) -> str:
        return f"a call of {self._call[0].__name__}"


class _Persistent(pickle.Pickler):
    def persistent_id(self, obj: Any) -> Any:
        return "an id" if obj == "outside" else None


def _persistent() -> bytes:
    pickler = _Persistent(buffer := _Buffer())
    pickler.dump(["outside"])
    return bytes(buffer)


class _Buffer(bytearray):
    def write(self, data: bytes) -> int:
        self.extend(data)
        return len(data)


def _job(function: str, *arguments: Any, **named: Any) -> bytes:
    return SafeSerializer.dumps((function, None, arguments, named))


@pytest.fixture
def extension() -> Iterator[bytes]:
    """A pickle that names a function by its code, which this process has loaded already."""
    copyreg.add_extension(__name__, "_touch", 250)
    data = pickle.dumps(_Reduced(_touch, "extension"), protocol=4)
    pickle.loads(data)
    _called.clear()
    assert b"\x82\xfa" in data
    yield data
    copyreg.remove_extension(__name__, "_touch", 250)
    copyreg._extension_cache.clear()  # type: ignore[attr-defined]


def _touch(what: object) -> None:
    _called.append(what)


@settings(max_examples=50)
@given(_PLAIN, st.sampled_from([4, 5]))
def test_plain_data_come_back(value: Any, protocol: int) -> None:
    """What RQ and distflow store is read as it was: also what a stock worker has written."""
    assert read_plain(pickle.dumps(value, protocol=protocol)) == value


@settings(max_examples=50)
@given(_PLAIN)
def test_stock_workers_read_it(value: Any) -> None:
    """A worker with RQ's default serializer loads what the coordinator writes."""
    assert pickle.loads(SafeSerializer.dumps(value)) == value


@pytest.mark.parametrize("value", [None, {}, "Unserializable return value", [1, {"a": (2.5,)}]])
def test_what_rq_stores_besides_jobs(value: Any) -> None:
    """Return values and meta."""
    assert SafeSerializer.loads(SafeSerializer.dumps(value)) == value


def test_a_batch_is_read() -> None:
    """The job that a coordinator enqueues, by the name that `rq worker -S` takes."""
    serializer = distflow_worker.SafeSerializer
    job: Any = (BATCH_FUNCTION, None, (b"\x00payload",), {})
    assert serializer.loads(serializer.dumps(job)) == job


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize(
    "attack",
    [
        _Reduced(os.system, "true"),
        _Reduced(_touch, 1),
        (BATCH_FUNCTION, None, (_Reduced(_touch, 2),), {}),
        {"meta": _Reduced(eval, "_called.append(3)")},
        os.system,
        float,
        {1, 2},
        Exception("text"),
    ],
    ids=repr,
)
def test_nothing_is_called_or_imported(attack: Any, protocol: int) -> None:
    """Every pickle that names a global, of every protocol, is refused before it is loaded."""
    _called.clear()
    with pytest.raises(UntrustedBytes, match="refused"):
        SafeSerializer.loads(pickle.dumps(attack, protocol=protocol))
    assert _called == []


def test_extension_codes_are_refused(extension: bytes) -> None:
    """``copyreg`` codes would bypass ``find_class`` where the process has used them before."""
    with pytest.raises(UntrustedBytes, match="EXT1"):
        SafeSerializer.loads(extension)
    assert _called == []


def test_persistent_ids_are_refused() -> None:
    """There is nothing outside a pickle."""
    with pytest.raises(UntrustedBytes, match="BINPERSID"):
        SafeSerializer.loads(_persistent())


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (_job("os.system", "true"), "a job that calls 'os.system'"),
        (_job("distflow_worker.batch.time.sleep", 1), "a job that calls"),
        (_job(BATCH_FUNCTION, "text"), "not the data of a job"),
        (_job(BATCH_FUNCTION, b"", b""), "not the data of a job"),
        (_job(BATCH_FUNCTION, b"", extra=1), "not the data of a job"),
        (SafeSerializer.dumps((BATCH_FUNCTION, {}, (b"",), {})), "not the data of a job"),
        (SafeSerializer.dumps(()), "not the data of a job"),
    ],
)
def test_jobs_of_others_are_refused(data: bytes, said: str) -> None:
    """RQ calls whatever a job names, so that plain data alone would be no protection."""
    with pytest.raises(UntrustedBytes, match=said):
        SafeSerializer.loads(data)


@given(st.binary(max_size=60))
def test_noise_is_refused(noise: bytes) -> None:
    """Any bytes at all give plain data or a refusal."""
    try:
        value = read_plain(b"\x80\x04" + noise)
    except UntrustedBytes:
        return
    assert value is None or type(value) in (bool, int, float, str, bytes, tuple, list, dict)


def test_deep_nesting_is_harmless() -> None:
    """So many tuples within each other exhaust no stack."""
    depth = 100_000
    value = read_plain(b"\x80\x04)" + b"\x85" * depth + b".")
    assert isinstance(value, tuple)
    with pytest.raises(UntrustedBytes):
        SafeSerializer.loads(b"\x80\x04)" + b"\x85" * depth + b".")


@pytest.mark.parametrize(
    "bomb",
    [
        # Slots of memory to remember things in, by number: 2^31 of them.
        b"\x80\x04Nr\xff\xff\xff\x7f.",
        # Sizes that are promised and not there.
        b"\x80\x04\x8e" + b"\xff" * 7 + b"\x3f" + b"x.",
        b"\x80\x04B\xff\xff\xff\xffx.",
        # A number with 2^31 digits.
        b"\x80\x04\x8b\xff\xff\xff\x7f\x01.",
        b"\x80\x04L" + b"9" * 100_000 + b"L\n.",
    ],
)
def test_memory_is_in_proportion_to_the_data(bomb: bytes) -> None:
    """A few bytes cannot ask for gigabytes."""
    tracemalloc.start()
    try:
        with pytest.raises(UntrustedBytes):
            SafeSerializer.loads(bomb)
        assert tracemalloc.get_traced_memory()[1] < _MIB
    finally:
        tracemalloc.stop()


def test_keys_that_take_for_ever_to_hash() -> None:
    """Shared tuples within tuples: small to hold, endless to hash."""
    doubled = b")\x94" + b"".join(b"h%ch%c\x86\x94" % (n, n) for n in range(200))
    with pytest.raises(UntrustedBytes, match="a tuple as a key"):
        SafeSerializer.loads(b"\x80\x04" + doubled + b"}h\xc8Ns.")
