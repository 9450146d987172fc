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
from distflow.core.status import TaskStatus
from distflow.errors import InvalidInput, NotEncodable, WorkflowInvalid
from distflow.given import check_mapping
from distflow.wire import codec

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


def check_plan_options(options: Mapping[str, Any], owner: str) -> None:
    """Check the options of a plan.

    Raises:
        WorkflowInvalid: names the option and its valid values, or one that a plan does not have.
    """
    if options.get("effects") == "at_most_once":
        raise WorkflowInvalid(
            f"{owner}: a plan builds tasks and is always idempotent; remove "
            "effects='at_most_once', or give it to the tasks that the plan makes"
        )
    for name in ("loop", "verify"):
        if options.get(name) is not None:
            raise WorkflowInvalid(
                f"{owner}: a plan has no {name}; remove it, or give it to a task that the plan "
                "makes"
            )
    check_options(options, owner)


def check_name(name: object, owner: str) -> None:
    """Check the name of a task.

    Raises:
        WorkflowInvalid: it is not text, empty, or not encodable as UTF-8.
    """
    wanted = check_text(name)
    if wanted:
        raise WorkflowInvalid(f"{owner}: name must be {wanted}, not {name!r:.60}")


def check_named(what: str, arguments: object, owner: str) -> None:
    """Check arguments by name.

    Raises:
        InvalidInput: they are no mapping, or one has no name.
        WorkflowInvalid: ``ctx`` is among them.
    """
    if "ctx" in check_mapping(f"{owner}: {what}", arguments, "arguments by name"):
        raise WorkflowInvalid(f"{owner}: distflow passes 'ctx' itself; do not pass it")


def check_params(params: Mapping[str, Any], owner: str) -> None:
    """Check that every parameter of a run can be recorded.

    Raises:
        InvalidInput: names the parameter that cannot be encoded.
    """
    for name, value in check_mapping(f"{owner}: params", params, "values by name").items():
        try:
            codec.pack({name: value})
        except NotEncodable as error:
            raise InvalidInput(f"{owner}: parameter {error}") from None


def check_statuses(statuses: Mapping[str, TaskStatus] | None) -> Mapping[str, TaskStatus]:
    """Check the statuses by task of a drawing, and return them.

    Raises:
        InvalidInput: one of them is no status.
    """
    for name, status in check_mapping("statuses", statuses or {}, "statuses by task").items():
        if status not in [*TaskStatus]:
            raise InvalidInput(f"statuses: task {name!r} has {status!r:.60}, which is not a status")
    return statuses or {}
