"""``map``: a node that makes one task per element of its sources."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from distflow.authoring.drafts import Draft, order_task
from distflow.authoring.freezing import freeze_hook, freeze_options
from distflow.authoring.functions import Signature, bind_arguments
from distflow.authoring.refs import TaskRef
from distflow.core.model import MAP_FUNCTION, Grow, Ref, Task
from distflow.errors import WorkflowInvalid

#: What names the child of an element: an item or attribute of it, or a function or its
#: ``"pkg.module:name"``.
Key = Callable[..., Any] | str | None

#: The parameters of ``map`` itself, which a mapped function cannot have.
_OWN = ("key", "max_failures")

_SOURCES = (list, tuple, dict)


def check_sources(sources: object, owner: str) -> None:
    """Check what is mapped over.

    Raises:
        WorkflowInvalid: something is no list, tuple, dict or result of a task, there is nothing, or
            two of them have different lengths.
    """
    if not isinstance(sources, list | tuple):
        raise WorkflowInvalid(
            f"{owner}: what to map over must be a list of sources, not {sources!r:.60}"
        )
    if not sources:
        raise WorkflowInvalid(
            f"{owner}: map needs something to map over: give it a list, or the result of a task, "
            "by position"
        )
    for source in sources:
        if type(source) not in (*_SOURCES, TaskRef, Ref):
            raise WorkflowInvalid(
                f"{owner}: map takes a list, a tuple, a dict or the result of a task, "
                f"{_refusal(source)}"
            )
    lengths = list(dict.fromkeys(len(source) for source in sources if type(source) in _SOURCES))
    if len(lengths) > 1:
        raise WorkflowInvalid(
            f"{owner}: map takes one element of each source, and they have different lengths: "
            f"{lengths[0]:,} and {lengths[1]:,}"
        )


def _refusal(source: object) -> str:
    if isinstance(source, set | frozenset):
        return "not a set, which has no order: use sorted(...)"
    is_text = isinstance(source, str | bytes)
    hint = ": use list(...)" if isinstance(source, Iterable) and not is_text else ""
    return f"not {source!r:.60}{hint}"


def check_tolerance(max_failures: object, owner: str) -> None:
    """Check ``max_failures``.

    Raises:
        WorkflowInvalid: it is neither a count nor a share.
    """
    count = isinstance(max_failures, int) and not isinstance(max_failures, bool)
    if max_failures is None or (count and max_failures >= 0):  # type: ignore[operator]
        return
    if not isinstance(max_failures, float) or not 0 < max_failures < 1:
        raise WorkflowInvalid(
            f"{owner}: max_failures must be a count, 0 or more, or a share between 0 and 1, not "
            f"{max_failures!r:.60}"
        )


def check_parameters(
    signature: Signature, count: int, fixed: Mapping[str, Any], path: str, owner: str
) -> None:
    """Check that workers can pass ``count`` elements by position, and the fixed arguments by name.

    Raises:
        WorkflowInvalid: they cannot, or a parameter has the name of one of ``map`` itself.
    """
    for name in _OWN:
        parameter = signature.without_ctx.parameters.get(name)
        if parameter is not None and parameter.kind is not parameter.VAR_KEYWORD:
            raise WorkflowInvalid(
                f"{owner}: {path!r} has a parameter {name!r}, which is one of map itself; rename it"
            )
    args, _ = bind_arguments(signature, (None,) * count, fixed, owner)
    if len(args) < count:
        raise WorkflowInvalid(
            f"{owner}: {path!r} takes 'ctx' before its elements; make ctx keyword-only: (…, *, ctx)"
        )


def freeze_key(key: object, first: object, owner: str) -> str | None:
    """What names children, as the node keeps it: see :class:`~distflow.core.model.Grow`.

    Args:
        key: what the user gave.
        first: the source whose elements it names.
        owner: what errors start with.

    Raises:
        WorkflowInvalid: it is none of the three, workers could not import the function, or an
            element is the result of a task.
    """
    if key is None:
        return None
    if type(first) in (list, tuple) and any(type(each) is Ref for each in first):  # type: ignore[attr-defined]
        raise WorkflowInvalid(
            f"{owner}: key= needs the elements themselves, and one of them is the result of a "
            "task; map over a task that returns the list, or leave key= out"
        )
    if isinstance(key, str) and key and ":" not in key:
        return key
    if not callable(key) and not (isinstance(key, str) and key):
        raise WorkflowInvalid(
            f"{owner}: key must be the name of an item or attribute of each element, or a "
            f"function, not {key!r:.60}"
        )
    return freeze_hook(key, 1, f"{owner}: key")


def make_node(
    draft: Draft,
    *,
    sources: tuple[Any, ...],
    fixed: Mapping[str, Any],
    key: str | None,
    max_failures: float | None,
    follows: Sequence[str],
    maps_plan: bool,
) -> Task:
    """The node of a map, whose dependencies are all known.

    Raises:
        WorkflowInvalid: it maps an ``at_most_once`` task without a key.
    """
    # A key names children by their elements, which have to be known then.
    shapes = tuple(follows) if key is None else ()
    options = freeze_options(draft.chosen, draft.owner)
    condition = options.pop("condition", None)
    if maps_plan:
        options.update(effects="idempotent", grow=Grow("plan"))
    if options.get("effects") == "at_most_once" and key is None:
        raise WorkflowInvalid(
            f"{draft.owner}: a map of an at_most_once task needs key=, so that a child keeps its "
            "name where the order of the elements changes"
        )
    child = Task("", draft.path, kwargs=fixed or Task._field_defaults["kwargs"], **options)
    return Task(
        name=draft.name,
        function=MAP_FUNCTION,
        args=sources,
        depends_on=tuple(draft.depends_on),
        condition=condition,
        priority=child.priority,
        queue=child.queue,
        effects="idempotent",
        grow=Grow("map", child, key, max_failures, shapes),
    )


def is_followable(task: Task) -> bool:
    """Whether a map over this task can follow it element by element: it is a map of a task."""
    grow = task.grow
    return grow is not None and grow.child is not None and grow.child.grow is None


def order_node(task: Task, later: Mapping[str, None]) -> Task:
    """The node, when it waits for further dependencies: a mapped node among them is not followed
    element by element any more, since it is waited for until all of its children have ended.
    """
    assert task.grow is not None, "the node of a map or plan"
    shapes = tuple(shape for shape in task.grow.shapes if shape not in later)
    return order_task(task, later)._replace(grow=task.grow._replace(shapes=shapes))


def map_plainly(
    function: Callable[..., Any], sources: tuple[Any, ...], fixed: Mapping[str, Any], owner: str
) -> list[Any]:
    """What ``map`` does where no workflow is built: call the function for each element.

    Raises:
        WorkflowInvalid: see :func:`check_sources`.
    """
    check_sources(sources, owner)
    elements = [source.items() if type(source) is dict else source for source in sources]
    return [function(*each, **fixed) for each in zip(*elements, strict=True)]
