"""A worker that dies when it has taken a job off its queue, and not begun it."""

from __future__ import annotations

import os
import signal
from typing import Any

from rq.worker import Worker


class DyingWorker(Worker):
    """For ``rq worker -w``."""

    def execute_job(self, *_taken: Any) -> None:
        """SIGKILL to itself: nothing tells of it."""
        os.kill(os.getpid(), signal.SIGKILL)
