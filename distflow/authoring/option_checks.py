"""The options of a task as users write them: what type checkers know, and the checks.

They are the same for ``@task``, ``.options`` and ``Workflow.add``; the table of ``core/options.py``
describes each of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, TypedDict

from distflow.authoring.imports import did_you_mean
from distflow.core.model import Effects, Loop, Retry
from distflow.core.options import TASK_OPTIONS, check_text
from distflow.errors import WorkflowInvalid

if TYPE_CHECKING:
    from distflow.authoring.refs import TaskRef

#: What each option should be.
_WANTED = {option.name: option.wanted for option in TASK_OPTIONS}


class AddOptions(TypedDict, total=False):
    """What :meth:`Workflow.add` takes by name; ``timeout`` in seconds."""

    retry: Retry | None
    loop: Loop | None
    timeout: float | None
    condition: Callable[..., Any] | str | None
    priority: int
    continue_on_error: bool
    queue: str
    effects: Effects
    verify: Callable[..., Any] | str | None
    batch: bool
    depends_on: Iterable[TaskRef | str] | TaskRef | str


class TaskOptions(AddOptions, total=False):
    """The options of a task, besides its function and arguments."""

    name: str


def check_options(options: Mapping[str, Any], owner: str) -> None:
    """Check every option, and how they combine.

    Args:
        options: by name, as the user wrote them.
        owner: the task; errors start with it.

    Raises:
        WorkflowInvalid: names the option and its valid values.
    """
    for name, value in options.items():
        if name not in _WANTED:
            hint = did_you_mean(name, _WANTED) or f"; there are {', '.join(sorted(_WANTED))}"
            raise WorkflowInvalid(f"{owner}: there is no option {name!r}{hint}")
        wanted = _WANTED[name](value)
        if wanted:
            raise WorkflowInvalid(f"{owner}: {name} must be {wanted}, not {value!r:.60}")
    if options.get("loop") is not None and options.get("effects") == "at_most_once":
        raise WorkflowInvalid(
            f"{owner}: loop runs a task again, which effects='at_most_once' forbids; "
            "remove one of them"
        )
    if options.get("verify") is not None and options.get("effects") != "at_most_once":
        raise WorkflowInvalid(
            f"{owner}: verify finds out how an unknown task ended, and only a task with "
            "effects='at_most_once' can become unknown; add that, or remove verify"
        )


def check_name(name: object, owner: str) -> None:
    """Check the name of a task.

    Raises:
        WorkflowInvalid: it is not text, empty, or not encodable as UTF-8.
    """
    wanted = check_text(name)
    if wanted:
        raise WorkflowInvalid(f"{owner}: name must be {wanted}, not {name!r:.60}")
