"""BatchInputs: the results that a batch's tasks get from dependencies, fetched for several tasks at
once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any

from distflow.core.model import Expanded, fill_refs, find_refs
from distflow.core.status import TaskStatus
from distflow.errors import DistflowError, NotEncodable
from distflow.wire.codec import decode_result, status_of, unpack
from distflow_worker.user_functions import MISSING, Misfit

if TYPE_CHECKING:
    # Imported only where a node that has expanded is an input.
    from distflow.wire.gathering import ExpansionReader

#: What gathers the data of a node that has expanded.
GATHERING = "distflow.wire.gathering"

#: For how many tasks to fetch inputs along with the current one: few at first, since their size is
#: unknown, and more as long as they are small.
_FIRST_AHEAD = 4
_MOST_AHEAD = 64

#: A result larger than this, in bytes, is neither kept nor held back, and stops fetching ahead: a
#: batch may have more of them than fit into memory.
LARGE_BYTES = 256 * 1024

#: Most bytes kept for later tasks, for fetched results and for the batch's own results separately;
#: and, as far as it can be estimated, fetched ahead at once.
_KEPT_BYTES = 8 * 1024 * 1024


class _Kept:
    """The newest results by task, as many as there is room for.

    Results that the batch has not recorded yet take much less, so they are never dropped.
    """

    def __init__(self) -> None:
        self._packed: dict[str, bytes] = {}
        self._bytes = 0

    def add(self, name: str, packed: bytes) -> None:
        self._bytes += len(packed) - len(self._packed.pop(name, b""))
        self._packed[name] = packed
        while self._bytes > _KEPT_BYTES:
            self._bytes -= len(self._packed.pop(next(iter(self._packed))))

    def get(self, name: str) -> bytes | None:
        return self._packed.get(name)


class BatchInputs:
    """Encoded results by task, kept while a batch runs.

    Args:
        fetch: reads the results of tasks.
        bodies: the batch's encoded tasks, by name, in the batch's order.
    """

    def __init__(
        self,
        fetch: Callable[[Sequence[str]], list[bytes | None]],
        bodies: Sequence[tuple[str, bytes]],
    ) -> None:
        self._fetch = fetch
        self._bodies = bodies
        self._own = {name for name, _body in bodies}
        self._made, self._fetched = _Kept(), _Kept()
        self._ahead = _FIRST_AHEAD

    def note(self, name: str, packed: bytes) -> None:
        """Keep the outcome of a task of this batch. A large one is fetched when needed: it is
        recorded by then.
        """
        if _is_small(packed):
            self._made.add(name, packed)

    def get(self, names: Sequence[str], position: int) -> list[bytes | None]:
        """The results of tasks, for the task at this position in the batch."""
        found = {name: self._known(name) for name in names}
        missing = [name for name, packed in found.items() if packed is None]
        if missing:
            found |= self._fetch_ahead(missing, position)
        return [found[name] for name in names]

    def _known(self, name: str) -> bytes | None:
        return self._made.get(name) or self._fetched.get(name)

    def _fetch_ahead(self, missing: Sequence[str], position: int) -> dict[str, bytes | None]:
        wanted = dict.fromkeys(missing)
        for _name, body in self._bodies[position + 1 : position + self._ahead]:
            for dependency in unpack(body, opaque=True).get("depends_on", ()):
                if dependency not in self._own and self._known(dependency) is None:
                    wanted[dependency] = None
        found = dict(zip(wanted, self._fetch(list(wanted)), strict=True))
        for name, packed in found.items():
            if packed and _is_small(packed):
                self._fetched.add(name, packed)
        self._ahead = self._next_ahead([len(packed) for packed in found.values() if packed])
        return found

    def _next_ahead(self, sizes: Sequence[int]) -> int:
        """For how many tasks to fetch inputs the next time, judging by the last time."""
        largest = max(sizes, default=0)
        if self._ahead == 1 or largest > LARGE_BYTES:
            return 1
        room = _KEPT_BYTES // max(1, sum(sizes)) * self._ahead
        return max(1, min(_MOST_AHEAD, 4 * self._ahead, room))


def _is_small(packed: bytes) -> bool:
    return len(packed) <= LARGE_BYTES


def fetch_outcomes(
    names: Sequence[str], get: Callable[[Sequence[str]], list[bytes | None]]
) -> dict[str, bytes]:
    """The encoded outcomes of dependencies.

    Raises:
        LookupError: Redis has lost the result of one of them.
    """
    outcomes = {}
    for name, packed in zip(names, get(names) if names else (), strict=True):
        if packed is None:
            raise LookupError(f"Redis has no result of {name!r} any more: restore its data")
        outcomes[name] = packed
    return outcomes


def fill_arguments(
    args: Sequence[Any],
    kwargs: dict[str, Any],
    get: Callable[[Sequence[str]], list[bytes | None]],
    read: ExpansionReader,
) -> tuple[list[Any], dict[str, Any]]:
    """A task's arguments with each Ref replaced by the data of that dependency: for a node that has
    expanded, by what it stands for.

    Raises:
        LookupError: Redis has lost the result of a dependency.
        Incomplete: a node has not the results of all of its children.
        Misfit: this worker cannot decode one of them.
    """
    names = sorted({ref.task for ref in find_refs([args, kwargs])})
    if not names:
        return list(args), dict(kwargs)
    outcomes = fetch_outcomes(names, get)
    data = {name: _input(name, packed, read) for name, packed in outcomes.items()}
    return [fill_refs(value, data) for value in args], {
        key: fill_refs(value, data) for key, value in kwargs.items()
    }


def _input(name: str, packed: bytes, read: ExpansionReader) -> Any:
    """What dependents receive from a dependency: None for a tolerated failure."""
    if status_of(packed) != TaskStatus.SUCCESS:
        return None
    try:
        data = decode_result(packed).data
        if type(data) is Expanded:
            data = import_module(GATHERING).gather(name, packed, read)
    except NotEncodable as error:
        raise Misfit(f"the result of {name}", error) from error
    except DistflowError:
        # The run is incomplete, or Redis is away.
        raise
    except MISSING as error:
        raise Misfit(f"the result of {name}", error) from error
    return data
