"""Makes every Redis key name of distflow."""

from __future__ import annotations

from functools import lru_cache

from distflow.core.claim import READ_VERSIONS

#: The first part of every key; configurable, so that installations can share a Redis.
DEFAULT_PREFIX = "distflow"


class RunKeys:
    """The keys of one run. They share the hash tag ``{run_id}``: one slot of a Redis Cluster."""

    __slots__ = (
        "beats",
        "claims",
        "events",
        "expansions",
        "graph",
        "history",
        "lease",
        "meta",
        "progress",
        "refusals",
        "results",
        "saved",
        "traits",
        "troubles",
    )

    beats: str
    claims: str
    events: str
    expansions: str
    graph: str
    history: str
    lease: str
    meta: str
    progress: str
    refusals: str
    results: str
    saved: str
    traits: str
    troubles: str

    def __init__(self, prefix: str, run_id: str) -> None:
        for name in self.__slots__:
            setattr(self, name, f"{prefix}:{{{run_id}}}:{name}")

    def all(self) -> list[str]:
        """Every key of the run, in the order of their names."""
        return [getattr(self, name) for name in self.__slots__]


#: The number that stands for the stand-in among the chunks of an expansion.
STAND_IN = -1


def chunk_field(token: str, number: int) -> str:
    """The field of ``graph`` with a chunk of an expansion, or with its stand-in."""
    return f"{token}:{'value' if number == STAND_IN else number}"


@lru_cache(maxsize=4096)
def run_keys(prefix: str, run_id: str) -> RunKeys:
    """The keys of a run, cached for repeated use."""
    return RunKeys(prefix, run_id)


def runs_key(prefix: str) -> str:
    """Sorted set of every run id, by the Unix time of its creation."""
    return f"{prefix}:runs"


def coordinators_key(prefix: str) -> str:
    """Sorted set of the coordinators that take detached runs, by the Unix time of their expiry."""
    return f"{prefix}:coordinators"


def workers_key(prefix: str) -> str:
    """Hash of the workers that have run batches, by name: see ``note_worker``."""
    return f"{prefix}:workers"


def active_key(prefix: str, version: int = 1) -> str:
    """Set of the ids of runs of one version that somebody should lead. A release that cannot read
    the version does not look there.
    """
    return f"{prefix}:active" if version == 1 else f"{prefix}:active:{version}"


def active_keys(prefix: str) -> list[str]:
    """The active sets of all versions that this distflow reads."""
    return [active_key(prefix, version) for version in READ_VERSIONS]
