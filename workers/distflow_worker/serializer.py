"""SafeSerializer: reads job data for ``rq worker -S distflow_worker.SafeSerializer``."""

from __future__ import annotations

import pickle
from typing import Any

from distflow.errors import UntrustedBytes
from distflow_worker.safe_pickle import read_plain

#: The function that distflow's RQ jobs name.
BATCH_FUNCTION = "distflow_worker.batch.run_batch"


class SafeSerializer:
    """A serializer for RQ workers that run only distflow's batches and trust no pickles.

    Stock workers can load what it writes with their default serializer: the data of distflow's jobs
    are plain, with the user's arguments as msgpack inside.
    """

    @staticmethod
    def dumps(value: Any) -> bytes:
        """A pickle of protocol 4; only plain data in it can be read back."""
        return pickle.dumps(value, protocol=4)

    @staticmethod
    def loads(data: bytes) -> Any:
        """Load plain data; of jobs, only distflow's, since RQ calls whatever function a job names.

        Raises:
            UntrustedBytes: it is anything else.
        """
        value = read_plain(data)
        # RQ's other data are dicts, texts or None.
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
