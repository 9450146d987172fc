"""What a run notes of its Redis: how much of what was acknowledged survives."""

from __future__ import annotations

from pathlib import Path

import pytest

from distflow.store.durability import read_durability
from tests.support.redis_server import RedisPool, redis_binaries, version_name


@pytest.mark.parametrize("binary", [pytest.param(b, id=version_name(b)) for b in redis_binaries()])
@pytest.mark.parametrize(
    ("settings", "durability"),
    [
        ({}, "aof-always"),
        ({"appendfsync": "everysec"}, "aof-everysec"),
        ({"appendfsync": "no"}, "aof-no"),
        ({"appendonly": "no", "save": "60 1"}, "rdb"),
        ({"appendonly": "no", "save": ""}, "none"),
    ],
)
def test_durability_is_that_of_the_server(
    settings: dict[str, str], durability: str, binary: Path, redis_pool: RedisPool
) -> None:
    """Promise 7: a run records what its Redis gives, on every version that is supported."""
    usual = {"appendonly": "yes", "appendfsync": "always", "save": ""}
    with redis_pool.get(binary).client() as client:
        try:
            for name, value in settings.items():
                client.config_set(name, value)
            assert read_durability(client) == durability
        finally:
            for name, value in usual.items():
                client.config_set(name, value)
