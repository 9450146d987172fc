"""SafeJob, for ``rq worker -j distflow_worker.SafeJob``: RQ calls a job's function and nothing
else.
"""

from __future__ import annotations

from typing import Any

from rq.job import Job

#: Fields of a job's hash with functions that RQ would call, or addresses it would send to.
_CALLING = frozenset(
    {b"success_callback_name", b"failure_callback_name", b"stopped_callback_name", b"webhooks"}
)


class SafeJob(Job):
    """A job without callbacks and webhooks, whatever Redis has: distflow's jobs have none."""

    def restore(self, raw_data: dict[bytes, bytes]) -> Any:
        """Read the job's hash, without anything that RQ would call."""
        safe = {name: value for name, value in raw_data.items() if name not in _CALLING}
        return super().restore(safe)
