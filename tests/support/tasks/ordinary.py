"""Plain RQ jobs, which know nothing of distflow: what else may be on a queue."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from rq import Retry, get_current_job

from tests.support.tasks.recording import lines, note, wait_for_file


def add(first, second):
    return {"sum": first + second, "pid": os.getpid()}


def fail(log):
    """Fail until the file says that it was called three times."""
    note(log, "fail", os.getpid())
    if len(lines(Path(log))) < 3:
        raise ValueError("not yet")
    return "at last"


def ask_again(log):
    """Ask RQ for another try, once."""
    note(log, "ask", os.getpid())
    return Retry(max=1) if len(lines(Path(log))) < 2 else "answered"


def sleep(seconds):
    time.sleep(seconds)


def hold(log, gate):
    note(log, "hold", os.getpid())
    wait_for_file(gate)


def remember():
    job = get_current_job()
    assert job is not None
    job.meta["seen"] = job.id
    job.save_meta()  # type: ignore[no-untyped-call]


def on_success(job, connection, result):
    connection.set(f"called:{job.id}", f"success {result['sum']}")


def on_failure(job, connection, kind, error, trace):
    connection.set(f"called:{job.id}", f"failure {kind.__name__}: {error}")


def on_stopped(job, connection):
    connection.set(f"called:{job.id}", "stopped")


def die():
    os.kill(os.getpid(), signal.SIGKILL)
