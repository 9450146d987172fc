"""Identifiers: how they are made, and which are valid."""

from __future__ import annotations

import hashlib
import os
import re
import socket
import time

from distflow.errors import InvalidInput

#: RQ allows letters, digits, ``_`` and ``-`` in a job id, and a run id is part of ours.
_RUN_ID = re.compile(r"[A-Za-z0-9_-]{1,100}")

#: A batch's id: its run, the epoch of the coordinator that sent it, and a number.
_BATCH_ID = re.compile(r"(?P<run>.+)-\d+-\d+", re.DOTALL)


def new_run_id() -> str:
    """A run id that sorts by time of creation: UTC seconds and 6 random hex digits."""
    return time.strftime("%Y%m%d-%H%M%S", time.gmtime()) + "-" + os.urandom(3).hex()


def check_run_id(run_id: object) -> str:
    """Return ``run_id`` unchanged.

    Raises:
        InvalidInput: it is not 1 to 100 characters of ``A-Z a-z 0-9 _ -``.
    """
    if not isinstance(run_id, str) or not _RUN_ID.fullmatch(run_id):
        raise InvalidInput(
            f"run id {run_id!r} is not valid: use 1 to 100 letters, digits, '_' or '-'"
        )
    return run_id


def check_new_run_id(run_id: object) -> str:
    """The same for a run that is to be created.

    Raises:
        InvalidInput: as for :func:`check_run_id`; or it looks like an option of a command.
    """
    if isinstance(run_id, str) and run_id.startswith("-"):
        raise InvalidInput(
            f"run id {run_id!r} begins with '-', as options do: begin it with a letter or a digit"
        )
    return check_run_id(run_id)


def run_of_batch(batch_id: str) -> str:
    """The run of a batch, from the batch's id, which its RQ job shares; empty for another job."""
    found = _BATCH_ID.fullmatch(batch_id)
    return found["run"] if found else ""


def new_worker_name(pid: int | str | None = None) -> str:
    """A name for a worker, from its host and process: ``web-1.4121.9f3c``. The random digits tell
    apart a process that restarts in a container with the same host name and pid.
    """
    process = os.getpid() if pid is None else pid
    return f"{socket.gethostname()}.{process}.{os.urandom(2).hex()}"


def new_token() -> str:
    """A claim token or operation id: 64 random bits, which its maker reuses when it retries."""
    return os.urandom(8).hex()


def new_origin() -> str:
    """The nonce of a run that was not imported: 128 bits. The keys of its tasks derive from it."""
    return os.urandom(16).hex()


def task_key(origin: str, task: str) -> str:
    """The idempotency key of a task: the same across attempts, resumes, export and import.

    The first 32 hex digits of SHA-256 over the origin of the run and the name of the task.
    """
    return hashlib.sha256(f"{origin}\0{task}".encode()).hexdigest()[:32]
