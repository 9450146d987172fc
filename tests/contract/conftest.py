"""The stores that the contract holds for: memory, and Redis of every version at hand."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.redis_server import redis_binaries, version_name
from tests.support.stores import RedisSubject, Subject, SubjectMaker
from tests.support.transports import MemoryTransport, RqTransport, Transport


@pytest.fixture(scope="session")
def subject_maker() -> Iterator[SubjectMaker]:
    """Makes stores under test."""
    maker = SubjectMaker()
    yield maker
    maker.close()


def _name(binary: Path | None) -> str:
    return version_name(binary) if binary else "memory"


@pytest.fixture(params=[None, *redis_binaries()], ids=_name)
def subject(request: pytest.FixtureRequest, subject_maker: SubjectMaker) -> Subject:
    """One store after the other."""
    return subject_maker.make(request.param)


@pytest.fixture(params=redis_binaries(), ids=_name)
def redis_subject(request: pytest.FixtureRequest, subject_maker: SubjectMaker) -> RedisSubject:
    """For what is said of the bytes in Redis alone."""
    made = subject_maker.make(request.param)
    assert isinstance(made, RedisSubject)
    return made


@pytest.fixture(params=[None, *redis_binaries()], ids=_name)
def transport(request: pytest.FixtureRequest, subject_maker: SubjectMaker) -> Iterator[Transport]:
    """One dispatcher after the other."""
    binary: Path | None = request.param
    made = RqTransport(subject_maker.client(binary)) if binary else MemoryTransport()
    yield made
    made.close()
