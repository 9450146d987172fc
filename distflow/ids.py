"""Identifiers: how they are made and what they may look like."""

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
        InvalidInput: it holds something else than 1 to 100 of ``A-Z a-z 0-9 _ -``.
    """
    if not isinstance(run_id, str) or not _RUN_ID.fullmatch(run_id):
        raise InvalidInput(
            f"run id {run_id!r} is not usable: take 1 to 100 letters, digits, '_' or '-'"
        )
    return run_id


def check_new_run_id(run_id: object) -> str:
    """The same for a run that is to be made.

    Raises:
        InvalidInput: as :func:`check_run_id`; or commands would take it for an option.
    """
    if isinstance(run_id, str) and run_id.startswith("-"):
        raise InvalidInput(
            f"run id {run_id!r} begins with '-', as options do: begin it with a letter or a digit"
        )
    return check_run_id(run_id)


def run_of_batch(batch_id: str) -> str:
    """The run of a batch, by its id, which its RQ job has too; empty where it is no batch's."""
    found = _BATCH_ID.fullmatch(batch_id)
    return found["run"] if found else ""


def new_worker_name(pid: int | str | None = None) -> str:
    """A name for a worker that says its host and process: ``web-1.4121.9f3c``. A process that
    restarts in a container may have the same of both as the one that was killed.
    """
    process = os.getpid() if pid is None else pid
    return f"{socket.gethostname()}.{process}.{os.urandom(2).hex()}"


def new_token() -> str:
    """A claim token or operation id: 64 random bits, which its maker keeps over its retries."""
    return os.urandom(8).hex()


def new_origin() -> str:
    """The nonce of an original run, from which the keys of its tasks are derived: 128 bits."""
    return os.urandom(16).hex()


def task_key(origin: str, task: str) -> str:
    """The idempotency key of a task: the same over attempts, resumes, export and import.

    The first 32 hex digits of SHA-256 over the origin of the run and the name of the task.
    """
    return hashlib.sha256(f"{origin}\0{task}".encode()).hexdigest()[:32]
