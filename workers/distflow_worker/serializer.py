"""SafeSerializer: what ``rq worker -S distflow_worker.SafeSerializer`` reads job data with."""

from __future__ import annotations

import pickle
from typing import Any

from distflow.errors import UntrustedBytes
from distflow_worker.safe_pickle import read_plain

#: What RQ jobs of distflow name.
BATCH_FUNCTION = "distflow_worker.batch.run_batch"


class SafeSerializer:
    """RQ's serializer for a worker that runs distflow's batches and trusts nobody's pickles.

    Stock workers load what it writes with their default serializer: the data of distflow's jobs
    are plain, and the user's arguments msgpack inside.
    """

    @staticmethod
    def dumps(value: Any) -> bytes:
        """A pickle, protocol 4; what is not plain data in it will not be read."""
        return pickle.dumps(value, protocol=4)

    @staticmethod
    def loads(data: bytes) -> Any:
        """Plain data; of jobs, those of distflow alone: RQ calls whatever function a job names.

        Raises:
            UntrustedBytes: it is anything else.
        """
        value = read_plain(data)
        # RQ's other data are a dict, text or None.
        if isinstance(value, tuple):
            _check_job(value)
        return value


def _check_job(job: Any) -> None:
    match job:
        case (str(function), None, (bytes(),), {**options}) if not options:
            if function == BATCH_FUNCTION:
                return
        case (str(function), _, _, _) if function != BATCH_FUNCTION:
            pass
        case _:
            raise UntrustedBytes("refused: not the data of a job of distflow")
    raise UntrustedBytes(
        f"refused: a job that calls {function!r}; with SafeSerializer a worker runs distflow's "
        "jobs alone, so give others a queue and a worker of their own"
    )
