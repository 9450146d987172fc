"""Why a run is not there: it was deleted, it never was, or Redis has forgotten it.

Redis keeps nothing of a deleted run, so the reason must be inferred: from whether the server
process is younger than the last sight of the run, and whether there is any run at all.
"""

from __future__ import annotations

import time
from typing import Any, NamedTuple

from redis import exceptions as redis_errors

from distflow.errors import RunForgotten, RunGone, RunNotFound, mend_forgotten
from distflow.store.redis.keys import runs_key


class Evidence(NamedTuple):
    """What was found about a missing run; None for what Redis did not tell."""

    #: Whether the Redis process is younger than the last sight of the run.
    restarted: bool | None
    #: Whether the run is still on the list of runs, and whether that has any runs.
    listed: bool | None
    others: bool | None


_NOTHING_KNOWN = Evidence(None, None, None)

_RESTARTED = "it has restarted and came back without it"


def look_for(client: Any, prefix: str, run_id: str, seen_at: float | None) -> Evidence:
    """Collect evidence about a missing run, in one round trip.

    Args:
        client: of its Redis.
        prefix: of its keys.
        run_id: the run.
        seen_at: when the run was last seen, on the monotonic clock; None if unknown.
    """
    runs = runs_key(prefix)
    pipeline = client.pipeline(transaction=False)
    pipeline.info("server")
    pipeline.zscore(runs, run_id)
    pipeline.exists(runs)
    try:
        # The user may lack the right to any one of these.
        server, score, any_runs = pipeline.execute(raise_on_error=False)
    except redis_errors.RedisError:
        return _NOTHING_KNOWN
    return Evidence(
        None if isinstance(server, Exception) else _is_younger(server, seen_at),
        None if isinstance(score, Exception) else score is not None,
        None if isinstance(any_runs, Exception) else bool(any_runs),
    )


def _is_younger(server: dict[str, Any], seen_at: float | None) -> bool | None:
    """Whether a Redis process started after the run was last seen; None if that cannot be told."""
    now, uptime = server.get("server_time_usec"), server.get("uptime_in_seconds")
    if seen_at is None or now is None or uptime is None:
        return None
    # Redis reports its uptime in whole seconds, from the whole second of its start: within that
    # second, it may have started before or after.
    began, seen = now // 1_000_000 - uptime, now / 1e6 - (time.monotonic() - seen_at)
    return None if began <= seen < began + 1 else bool(seen < began)


def explain_gone(run_id: str, evidence: Evidence) -> RunGone:
    """The error for a run that existed."""
    if evidence.restarted:
        return RunForgotten.because(run_id, _RESTARTED)
    if evidence.listed:
        return RunForgotten.because(run_id, "it is still listed there, but its keys are gone")
    if evidence.others is False:
        return RunForgotten(
            f"Redis has forgotten run {run_id}, or somebody deleted it: no run is left there; if "
            f"nobody did, {mend_forgotten(run_id)}"
        )
    if evidence.restarted is None:
        return RunGone(f"run {run_id} is gone: Redis has forgotten it, or somebody deleted it")
    return RunGone(f"run {run_id} was deleted")


def explain_missing(run_id: str, evidence: Evidence) -> RunNotFound:
    """The error for a run that may never have existed."""
    missing = f"there is no run {run_id!r}"
    if evidence.listed:
        return RunNotFound(
            f"{missing}, although it is listed: a deletion was cut off, which `distflow delete "
            f"{run_id}` ends, or Redis has forgotten run {run_id}: {mend_forgotten(run_id)}"
        )
    if evidence.others is False:
        return RunNotFound(
            f"{missing}, and no other: if there was one, Redis has forgotten run {run_id}: "
            f"{mend_forgotten(run_id)}"
        )
    return RunNotFound(f"{missing}: `distflow runs` lists all runs")
