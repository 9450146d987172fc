"""The workflows that are hurt: small, and each kind of task is in one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from distflow import Loop, Retry, TaskStatus, Workflow
from tests.chaos.soak.planned import Flow, Planned
from tests.chaos.soak.spread import make_spread
from tests.support.tasks import hurting, soaking

_AGAIN = Retry(attempts=4, delay=0.1)

#: A beat comes each second: long enough for one.
_LONG_SECONDS = 1.2

_QUICK_TASKS = 9

#: What was claimed ahead is given back sooner than this.
_SLOW_SECONDS = 0.3

#: (workflow, name of the log, name of the gate, queue) -> what must become of its tasks.
Fill = Callable[[Workflow, str, str, str], dict[str, Planned]]


def fill_whole(flow: Workflow, log: str, gate: str, queue: str) -> dict[str, Planned]:
    """Chain, fan-in, retry, loop, condition, skip, charges, idempotent tasks, tolerated failure."""
    adder = _Adder(flow, log, queue)
    adder.step("first", [])
    adder.step("twice", ["first"], failures=1, retry=_AGAIN)
    adder.step("rounds", ["twice"], kind="loop", loop=Loop(soaking.thrice, 5, interval=0.05))
    adder.charge("charge", ["rounds"])
    adder.charge("unsure", ["first"], failures=1, retry=_AGAIN)
    small = [f"small_{number}" for number in range(4)]
    for name in small:
        adder.step(name, ["first"], kind="idempotent", effects="idempotent")
    adder.add("keep", "normal", hurting.keep, (1,), [], retry=_AGAIN)
    adder.step("long", [], seconds=_LONG_SECONDS, retry=_AGAIN)
    adder.step("doomed", ["first"], kind="doomed", failures=10**6, continue_on_error=True)
    adder.step("never", ["first"], kind="never", condition=soaking.never)
    adder.step("behind", ["never"])
    adder.step("join", ["charge", "unsure", "keep", "doomed", *small], condition=soaking.always)
    return adder.tasks


def fill_half(flow: Workflow, log: str, gate: str, queue: str) -> dict[str, Planned]:
    """Its first leading ends with a failure, after a charge and a note."""
    adder = _Adder(flow, log, queue)
    adder.step("first", [])
    adder.charge("charge", ["first"])
    adder.add("keep", "normal", hurting.keep, (1,), ["charge"])
    adder.step("last", ["keep"])
    return adder.tasks


def fill_small(flow: Workflow, log: str, gate: str, queue: str) -> dict[str, Planned]:
    """A charge between two tasks, in one batch."""
    adder = _Adder(flow, log, queue)
    adder.step("first", [], retry=_AGAIN)
    adder.charge("charge", ["first"])
    adder.step("last", ["charge"], retry=_AGAIN)
    return adder.tasks


def fill_held(flow: Workflow, log: str, gate: str, queue: str) -> dict[str, Planned]:
    """A task that hangs until the gate opens, between others."""
    adder = _Adder(flow, log, queue)
    adder.step("first", [])
    adder.add("hold", "normal", hurting.hold, (gate,), ["first"])
    adder.step("last", ["hold"])
    return adder.tasks


def fill_batched(flow: Workflow, log: str, gate: str, queue: str) -> dict[str, Planned]:
    """A chain with a charge, cut short by a retry; and short tasks that are claimed ahead, given
    back behind a slow one and behind one that fails; one refuses company.
    """
    adder = _Adder(flow, log, queue)
    adder.step("line_0", [], retry=_AGAIN)
    adder.charge("charge", ["line_0"])
    adder.step("line_1", ["charge"], retry=_AGAIN)
    adder.step("line_2", ["line_1"], failures=1, retry=_AGAIN)
    adder.step("line_3", ["line_2"], retry=_AGAIN)
    quick = [f"quick_{number}" for number in range(_QUICK_TASKS)]
    for name in quick:
        adder.quick(name, [], seconds=_SLOW_SECONDS if name == "quick_5" else 0.0)
    adder.quick("fails", ["quick_0"], failures=1)
    adder.quick("behind", ["fails"])
    adder.step("alone", ["line_0"], retry=_AGAIN, batch=False)
    adder.step("join", ["line_3", "behind", "alone", *quick], retry=_AGAIN)
    return adder.tasks


def fill_shared(flow: Workflow, log: str, gate: str, queue: str) -> dict[str, Planned]:
    """A task that hangs until the gate opens, and others that share its batch."""
    adder = _Adder(flow, log, queue)
    adder.add("hold", "normal", hurting.hold, (gate,), [], retry=_AGAIN)
    others = [f"other_{number}" for number in range(5)]
    for name in others:
        adder.step(name, [], retry=_AGAIN)
    adder.step("join", ["hold", *others], retry=_AGAIN)
    return adder.tasks


def fill_charged(flow: Workflow, log: str, gate: str, queue: str) -> dict[str, Planned]:
    """A charge that hangs until the gate opens, between others."""
    adder = _Adder(flow, log, queue)
    adder.step("first", [])
    adder.add("hold", "charge", hurting.hold, (gate,), ["first"], effects="at_most_once")
    adder.step("last", ["hold"])
    return adder.tasks


FILLS: dict[str, Fill] = {
    "whole": fill_whole,
    "half": fill_half,
    "small": fill_small,
    "held": fill_held,
    "charged": fill_charged,
    "batched": fill_batched,
    "shared": fill_shared,
}


#: Workflows that grow: with a plan that waits until the gate opens, and without.
SPREAD, SPREAD_LATE = "spread", "spread late"


def make_flow(name: str, log: str, gate: str, queue: str) -> Flow:
    """One of :data:`FILLS`, or one that grows."""
    if name in (SPREAD, SPREAD_LATE):
        return make_spread(log, queue, gate=gate if name == SPREAD_LATE else "")
    flow = Workflow(f"hurt_{name}")
    tasks = FILLS[name](flow, log, gate, queue)
    return Flow(flow, tasks)


class _Adder:
    """Adds tasks whose first argument is the log, and whose last is what they depend on."""

    def __init__(self, flow: Workflow, log: str, queue: str) -> None:
        self._flow = flow
        self._log = log
        self._queue = queue
        self._refs: dict[str, Any] = {}
        self.tasks: dict[str, Planned] = {}

    def add(
        self,
        name: str,
        kind: str,
        function: Callable[..., Any],
        arguments: tuple[Any, ...],
        parents: list[str],
        **options: Any,
    ) -> None:
        """A task; one behind a skipped task is skipped."""
        behind = any(self.tasks[parent].status == TaskStatus.SKIPPED for parent in parents)
        status = {"doomed": TaskStatus.FAILURE, "never": TaskStatus.SKIPPED}.get(kind)
        self.tasks[name] = Planned(
            kind, TaskStatus.SKIPPED if behind else status or TaskStatus.SUCCESS
        )
        refs = [self._refs[parent] for parent in parents]
        self._refs[name] = self._flow.add(
            name, function, (self._log, *arguments, refs), queue=self._queue, **options
        )

    def step(
        self,
        name: str,
        parents: list[str],
        *,
        kind: str = "normal",
        seconds: float = 0.0,
        failures: int = 0,
        **options: Any,
    ) -> None:
        """A task that may be called again."""
        self.add(name, kind, soaking.step, (seconds, failures), parents, **options)

    def quick(
        self, name: str, parents: list[str], *, seconds: float = 0.0, failures: int = 0
    ) -> None:
        """A task that may be claimed along with others of its kind."""
        options: dict[str, Any] = {"effects": "idempotent", "retry": _AGAIN}
        self.add(name, "idempotent", soaking.quick, (seconds, failures), parents, **options)

    def charge(self, name: str, parents: list[str], *, failures: int = 0, **options: Any) -> None:
        """A task that may not."""
        self.add(
            name,
            "charge",
            soaking.charge,
            (0.0, failures),
            parents,
            effects="at_most_once",
            **options,
        )


def hurt(name: str, log: str, gate: str, queue: str) -> Workflow:
    """For those who submit by name."""
    return make_flow(name, log, gate, queue).workflow
