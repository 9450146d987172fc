"""What workers and the store exchange about attempts.

Work horses import this module for every job: named tuples only, see ``model.py``.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Literal, NamedTuple

from distflow.errors import RunTooNew

#: The versions of runs, and so of their bytes in Redis and RQ jobs, that this distflow reads. It
#: refuses others: see ``version.py``.
READ_VERSIONS = (1, 2)


def check_version(run_id: str, version: int) -> None:
    """Refuse a run that a newer distflow made.

    Raises:
        RunTooNew: this distflow cannot read its version; the message says what to do.
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
    """The reply of a transition of the store. The scripts use the same numbers."""

    #: Done, or done already under the same operation id.
    OK = 0
    #: The caller holds the claim; a repeated call with its token gets the same reply.
    GRANTED = 1
    #: The task has a final outcome.
    DONE = 2
    #: Another claim on the task is held.
    BUSY = 3
    #: A dependency within the batch is not satisfied, or the task waits for a time.
    NOT_READY = 4
    #: As many batches hold a claim as the run allows.
    LIMIT = 5
    #: The outcome is recorded; a repeated call with its token gets the same reply.
    RECORDED = 6
    #: The token no longer holds a claim; the outcome that came with it is in the history.
    REFUSED = 7
    #: Another coordinator leads the run: jobs of the earlier one are void.
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
    #: What the caller based its decision on has changed: read again, and decide anew.
    LOOK_AGAIN = 15
    #: An expansion would make the run larger than it may be.
    TOO_LARGE = 16


class Progress(NamedTuple):
    """The state of a task between attempts, which must outlive its coordinator.

    ``attempt`` and ``iteration`` are those of the next claim. ``base`` is how many attempts earlier
    generations used, ``lost`` how many lost workers of this generation did not count as attempts,
    ``not_before`` Unix milliseconds. ``token`` is that of the claim that wrote this: a late outcome
    is recognised by it. ``started`` says that an ``at_most_once`` task may have had effects and
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
    """An unknown task, as its verify hook is asked about it: the encoded TaskResult and the
    progress.
    """

    packed: bytes
    last: Progress

    @property
    def lost(self) -> int:
        """How many workers the task has cost so far in its generation."""
        return self.last.lost


class Growth(NamedTuple):
    """What a growing node has made, as its attempt commits it.

    ``chunks`` is the number of chunks that were written under the claim's token, ``children`` the
    number of tasks in them, ``queues`` those of the tasks.
    """

    chunks: int
    children: int
    queues: tuple[str, ...]


class Finish(NamedTuple):
    """An attempt's outcome on its way to the store.

    ``kind`` is ``final`` for an outcome that stands, and ``wait`` if the task runs again after
    ``delay_ms``, with ``progress``. ``packed`` is the encoded TaskResult: for ``wait`` it goes to
    the history. ``duration`` is in seconds.
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
    #: Whether the history must keep this entry for ever: evidence about an ``at_most_once`` task.
    keep: bool = False
    #: For a failure that will be retried: the error in short, for displays.
    note: str = ""
    #: Whether its task is a growing node: without ``growth``, the chunks of its token go away.
    grows: bool = False
    #: What a growing node has made: its expansion is recorded together with its success.
    growth: Growth | None = None
    #: What is noted where it failed or is unknown: whether the failure is tolerated, and whether
    #: the task has a verify hook.
    tolerated: bool = False
    hooked: bool = False

    @property
    def history_kind(self) -> str:
        """The kind of history entry of a ``wait``. It is the next iteration of a loop if the
        attempt number stays the same.
        """
        return "looped" if self.progress.attempt == self.attempt else "retried"


class ClaimRequest(NamedTuple):
    """A claim that a batch asks for.

    ``start`` marks the attempt as started at once. ``needs`` names the task's dependencies in the
    same batch, each with whether its failure is tolerated. With ``group``, the batch itself may
    still hold a claim on such a dependency, since it runs that first. A ``quiet`` claim adds no
    event: the task is so short that the event of its end suffices.
    """

    task: str
    token: str
    start: bool
    needs: tuple[tuple[str, bool], ...] = ()
    group: bool = False
    quiet: bool = False


class ClaimReply(NamedTuple):
    """The reply to a claim; the numbers are set if it is GRANTED."""

    code: Code
    attempt: int = 0
    iteration: int = 0
    base: int = 0
    lost: int = 0


class WorkerFacts(NamedTuple):
    """Identifies a worker. Its registration is its name and its birth, as RQ has them; the rest is
    for people. A process that is registered nowhere has no name.
    """

    name: str = ""
    born: str = ""
    host: str = ""
    pid: int = 0
    directory: str = ""


NAMELESS = WorkerFacts()


class Refused(NamedTuple):
    """A task that a worker cannot run because something is missing there. It was not begun.

    ``token`` is that of the claim to give back; empty if there is none. ``scope`` says which other
    tasks the refusal applies to: see :func:`scope_of`. ``what`` is missing, ``words`` say why,
    ``trace`` is the traceback.
    """

    task: str
    token: str
    scope: str
    what: str
    words: str
    trace: str = ""


def unread_jobs(words: str) -> Refused:
    """The refusal of a worker that cannot read its jobs at all: it has no scope."""
    return Refused("", "", "", "its jobs", words)


ScopeKind = Literal["function", "condition", "until", "verify", "task"]


def scope_of(kind: ScopeKind, name: str) -> str:
    """Which tasks a worker cannot run: those with this function, condition, ``until`` or verify
    hook, or the one with this name.
    """
    return f"{kind} {name}"


#: How many tasks a worker's refusal names at most.
REFUSED_TASKS = 100

#: Most entries in a run's history, not counting those that are kept for ever.
HISTORY_LIMIT = 10_000

#: Of a result larger than this, in bytes, the history keeps only the size and SHA-1.
HISTORY_BYTES = 64 * 1024

#: Most tasks of a run whose nodes expand, unless it says otherwise.
MAX_TASKS = 1_000_000

#: Most bytes of all encoded tasks of a run, unless it says otherwise: 256 MiB.
MAX_GRAPH_BYTES = 256 * 1024 * 1024

#: With this durability a worker waits until the writes of ``at_most_once`` tasks are on disk.
DURABLE_BY_WAITING = "waitaof"


class BatchOpening(NamedTuple):
    """The reply to a batch that begins; ``code`` is OK, or says why it must not begin."""

    code: Code
    params: bytes = b""
    origin: str = ""
    context: str = ""
    max_result_bytes: int = 0
    #: Whether writes of ``at_most_once`` tasks must be on Redis's disk before they count.
    waits_for_disk: bool = False


class Advance(NamedTuple):
    """The answers to one ``advance``: one code per finish, one reply per claim, in order."""

    finishes: tuple[Code, ...]
    claims: tuple[ClaimReply, ...]
