"""What a task's function sees of its run: ``ctx``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from distflow.core.model import TaskResult
from distflow_worker.functions import load_function


class TaskContext:
    """Given to a function, condition or ``until`` that has a parameter named ``ctx``.

    Attributes:
        run_id: the run.
        task: the task's name.
        attempt: which try this is, from 1 and on through resumes.
        iteration: which iteration of a loop, from 1.
        key: the same over attempts, resumes, export and import, and different for every task of
            every original run: an idempotency key to hand to others.
        params: the run's parameters.
        context: what the workflow's context factory returned, or None.
    """

    __slots__ = (
        "_cancelled",
        "_result_of",
        "attempt",
        "context",
        "iteration",
        "key",
        "params",
        "run_id",
        "task",
    )

    def __init__(  # noqa: PLR0913 - one per attribute
        self,
        *,
        run_id: str,
        task: str,
        attempt: int,
        iteration: int,
        key: str,
        params: Mapping[str, Any],
        context: Any,
        cancelled: Callable[[], bool],
        result_of: Callable[[str], TaskResult],
    ) -> None:
        self.run_id = run_id
        self.task = task
        self.attempt = attempt
        self.iteration = iteration
        self.key = key
        self.params = params
        self.context = context
        self._cancelled = cancelled
        self._result_of = result_of

    @property
    def cancelled(self) -> bool:
        """Whether the task should stop: its run is being cancelled. A second old at most."""
        return self._cancelled()

    def result_of(self, name: str) -> TaskResult:
        """The TaskResult of a direct dependency.

        Raises:
            KeyError: the task does not depend on it.
        """
        return self._result_of(name)


#: The contexts of this process by run: a factory is called once per run in each process.
_contexts: dict[str, Any] = {}


def run_context(run_id: str, factory: str, params: Any) -> Any:
    """The context of a run in this process; None where ``factory`` is empty.

    Args:
        run_id: the run.
        factory: ``"pkg.module:factory"``, called once per run and process.
        params: given to the factory.

    Raises:
        Exception: whatever importing or calling the factory raises.
    """
    if not factory:
        return None
    if run_id not in _contexts:
        _contexts[run_id] = load_function(factory)(params)
    return _contexts[run_id]
