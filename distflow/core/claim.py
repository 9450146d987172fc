"""What workers and the store say to each other about attempts.

Work horses import this module for every job: named tuples only, see ``model.py``.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Literal, NamedTuple

from distflow.errors import RunTooNew

#: The versions of a run, and so of its bytes in Redis and in RQ jobs, that this distflow reads; it
#: refuses others: see ``version.py``.
READ_VERSIONS = (1, 2)


def check_version(run_id: str, version: int) -> None:
    """Refuse a run that a newer distflow made.

    Raises:
        RunTooNew: its version is none that this distflow reads; the message says what to do.
    """
    if version > READ_VERSIONS[-1]:
        raise RunTooNew(
            f"run {run_id} is of version {version}, and this distflow reads versions "
            f"{said_versions()}: a newer distflow made it, so use that one for it"
        )


def said_versions() -> str:
    """The versions that this distflow reads, for people: ``1 and 2``."""
    *first, last = READ_VERSIONS
    return f"{', '.join(map(str, first))} and {last}"


class Code(IntEnum):
    """What a transition of the store answers. The scripts use the same numbers."""

    #: Done, or done already under the same operation id.
    OK = 0
    #: The claim is the caller's; a repeated claim with its token is told so again.
    GRANTED = 1
    #: The task has a final outcome.
    DONE = 2
    #: Another claim on the task is held.
    BUSY = 3
    #: A dependency within the batch is not satisfied, or the task waits for a time.
    NOT_READY = 4
    #: As many batches hold a claim as the run allows.
    LIMIT = 5
    #: The outcome stands; a repeated finish with its token is told so again.
    RECORDED = 6
    #: The token holds nothing any more; what it brought is in the history.
    REFUSED = 7
    #: Another coordinator leads the run: what the older one sent is void.
    STALE_EPOCH = 8
    #: The run is paused, interrupted, being reopened or cancelled, or it has ended.
    STOPPED = 9
    #: There is no such run.
    GONE = 10
    #: The run exists already and was made by another operation.
    EXISTS = 11
    #: Another coordinator holds the lease.
    HELD = 12
    #: The run or task is in a status that does not allow this.
    WRONG_STATE = 13
    #: The run is of a newer version than the caller reads.
    TOO_NEW = 14
    #: What the caller decided by has changed: it looks again, and decides anew.
    LOOK_AGAIN = 15


class Progress(NamedTuple):
    """What must outlive a coordinator and is not final.

    ``attempt`` and ``iteration`` are those of the next claim, ``base`` how many attempts earlier
    generations used, ``lost`` the lost workers of this generation that did not count,
    ``not_before`` Unix milliseconds. ``token`` is that of the claim that wrote it, by which a
    late outcome is known. ``started`` says that an ``at_most_once`` task may have had effects and
    must not be claimed again.
    """

    attempt: int = 1
    iteration: int = 1
    base: int = 0
    lost: int = 0
    not_before: int = 0
    token: str = ""
    started: bool = False


class Unknown(NamedTuple):
    """An outcome that nobody knows, as a verify hook is asked about it: the encoded TaskResult, and
    the progress of its task.
    """

    packed: bytes
    last: Progress

    @property
    def lost(self) -> int:
        """How many workers the task has cost so far in its generation."""
        return self.last.lost


class Finish(NamedTuple):
    """An attempt's outcome on its way to the store.

    ``kind`` is ``final`` for an outcome that stands, ``wait`` where the task will run again
    after ``delay_ms``, with ``progress``. ``packed`` is the encoded TaskResult: for ``wait``
    it goes to the history. ``duration`` is in seconds.
    """

    task: str
    token: str
    attempt: int
    kind: Literal["final", "wait"]
    status: str
    packed: bytes
    worker: str = ""
    duration: float = 0.0
    delay_ms: int = 0
    progress: Progress = Progress()
    #: The evidence is never trimmed from the history (``at_most_once`` tasks).
    keep: bool = False
    #: Of a failure that waits: what failed, in short, for those who watch.
    note: str = ""

    @property
    def history_kind(self) -> str:
        """Of what waits, the kind of its entry of the history: the next iteration of a loop goes on
        with the number of the last attempt.
        """
        return "looped" if self.progress.attempt == self.attempt else "retried"


class ClaimRequest(NamedTuple):
    """A claim that a batch asks for.

    ``start`` marks the attempt as started at once. ``needs`` names the task's dependencies in the
    same batch, each with whether its failure is tolerated. With ``group`` such a dependency may
    still be claimed by the batch itself, which runs it first. Of a ``quiet`` claim no event tells:
    the task is so short that its end tells enough.
    """

    task: str
    token: str
    start: bool
    needs: tuple[tuple[str, bool], ...] = ()
    group: bool = False
    quiet: bool = False


class ClaimReply(NamedTuple):
    """What a claim was answered; the numbers are set where it is GRANTED."""

    code: Code
    attempt: int = 0
    iteration: int = 0
    base: int = 0
    lost: int = 0


class WorkerFacts(NamedTuple):
    """Which worker it is: a registration is its name and when it was born, as RQ says it; the rest
    is for people. A process that registers nowhere has no name.
    """

    name: str = ""
    born: str = ""
    host: str = ""
    pid: int = 0
    directory: str = ""


NAMELESS = WorkerFacts()


class Refused(NamedTuple):
    """What a worker cannot run, since something is missing there: it was not begun.

    ``token`` is that of the claim, which is given back; empty where there is none. ``scope`` says
    which tasks the same is true of: see :func:`scope_of`. ``what`` could not be had, ``words`` say
    why, ``trace`` is the traceback.
    """

    task: str
    token: str
    scope: str
    what: str
    words: str
    trace: str = ""


def unread_jobs(words: str) -> Refused:
    """What is kept of a worker that cannot read its jobs at all: no scope."""
    return Refused("", "", "", "its jobs", words)


ScopeKind = Literal["function", "condition", "until", "verify", "task"]


def scope_of(kind: ScopeKind, name: str) -> str:
    """Which tasks a worker cannot run: those with this function, condition, ``until`` or verify
    hook, or the one of this name.
    """
    return f"{kind} {name}"


#: Tasks that a worker's refusal names.
REFUSED_TASKS = 100

#: Entries of a run's history, those that are kept for ever not counted.
HISTORY_LIMIT = 10_000

#: Bytes of a result beyond which the history has only its size and SHA-1.
HISTORY_BYTES = 64 * 1024

#: The durability with which a worker waits until what ``at_most_once`` tasks write is on disk.
DURABLE_BY_WAITING = "waitaof"


class BatchOpening(NamedTuple):
    """What a batch is told when it begins; ``code`` OK, or why it must not."""

    code: Code
    params: bytes = b""
    origin: str = ""
    context: str = ""
    max_result_bytes: int = 0
    #: Whether what ``at_most_once`` tasks write must be on Redis's disk before it counts.
    waits_for_disk: bool = False


class Advance(NamedTuple):
    """The answers to one ``advance``: one code per finish, one reply per claim, in order."""

    finishes: tuple[Code, ...]
    claims: tuple[ClaimReply, ...]
