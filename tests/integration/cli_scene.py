"""Runs on a Redis in chosen states, and commands that are run in this process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from click.testing import Result

from distflow.store.redis.store import RedisRunStore
from tests.support.command_line import WIDTH, BaseScene, run_here
from tests.support.redis_server import RedisServer

__all__ = ["WIDTH", "Scene", "run_here"]


class Scene(BaseScene[RedisRunStore]):
    """A Redis with runs on it, and the command line in front of it."""

    def __init__(self, server: RedisServer) -> None:
        self.url = server.url
        self.client: Any = server.client()

    def cli(
        self, *words: str | Path, given: bytes | str | None = None, piped: bool = False
    ) -> Result:
        return run_here(self.url, *words, given=given, piped=piped)

    def store(self, run_id: str = "run-1") -> RedisRunStore:
        return RedisRunStore(self.client, run_id, patience_seconds=5)

    def close(self) -> None:
        """Close the connection."""
        self.client.close()
