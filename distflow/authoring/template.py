"""``@workflow``: a function whose calls of ``@task`` functions make a workflow."""

from __future__ import annotations

import copy
import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any, Self, overload

from distflow.authoring.check import check_workflow
from distflow.authoring.decorators import building, called_plainly
from distflow.authoring.functions import refuse_deferred
from distflow.authoring.imports import did_you_mean
from distflow.authoring.option_checks import check_name, check_params
from distflow.authoring.workflows import Workflow
from distflow.errors import InvalidInput, WorkflowInvalid
from distflow.given import check_mapping


class WorkflowTemplate:
    """A workflow function: its parameters are the parameters of the run.

    Args:
        function: builds the workflow by calling ``@task`` functions.
        name: of the workflow; None takes the function's.
        context: see :class:`Workflow`.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        name: str | None = None,
        context: Callable[..., Any] | str | None = None,
    ) -> None:
        if not callable(function):
            raise WorkflowInvalid(
                f"@workflow got {function!r:.60}, which is not a function; "
                "pass name= and context= by name"
            )
        functools.update_wrapper(self, function)
        #: Name of the workflow.
        self.name: str = function.__name__ if name is None else name
        #: The workflow function.
        self.function = function
        #: ``"module:name"`` of the function.
        self.reference = f"{function.__module__}:{function.__qualname__}"
        self._context = context
        #: Whether its name was chosen for one call.
        self._is_renamed = False

    @property
    def parameters(self) -> Mapping[str, inspect.Parameter]:
        """The parameters of the run, by name."""
        return inspect.signature(self.function).parameters

    def check_names(self, params: Mapping[str, Any]) -> None:
        """Check that ``params`` has every parameter that needs a value, and no others.

        Raises:
            InvalidInput: names the unknown or missing parameter.
        """
        kinds = {parameter.kind for parameter in self.parameters.values()}
        known = [name for name, parameter in self.parameters.items() if _is_named(parameter)]
        for name in params:
            if name not in known and inspect.Parameter.VAR_KEYWORD not in kinds:
                hint = did_you_mean(name, known) or f"; it has {', '.join(known) or 'none'}"
                raise InvalidInput(f"workflow {self.name!r} has no parameter {name!r}{hint}")
        for name in known:
            if name not in params and self.parameters[name].default is inspect.Parameter.empty:
                raise InvalidInput(f"workflow {self.name!r} needs a value for parameter {name!r}")

    def options(self, *, name: str) -> Self:
        """The same workflow under another name: what the names of its tasks begin with, if it is
        called while another workflow is built. Then the name must be unique.

        Raises:
            WorkflowInvalid: the name is empty or no text.
        """
        check_name(name, f"workflow {self.name!r}")
        renamed = copy.copy(self)
        vars(renamed).update(name=name, _is_renamed=True)
        return renamed

    def build(self, params: Mapping[str, Any] | None = None) -> Workflow:
        """Run the workflow function: the workflow with its ``params`` and ``reference``.

        Args:
            params: values by name; the others keep their defaults.

        Raises:
            InvalidInput: a parameter is unknown, missing, or cannot be encoded.
            WorkflowInvalid: the tasks do not make a valid workflow.
        """
        params = check_mapping(
            f"workflow {self.name!r}: params", {} if params is None else params, "values by name"
        )
        outer = building.get()
        if outer is not None:
            raise WorkflowInvalid(
                f"workflow {self.name!r} is built while {outer.kind} {outer.name!r} is: call it, "
                f"and its tasks become tasks of {outer.name!r}"
            )
        self.check_names(params)
        return self._build(self._bind((), params))

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Build the workflow from arguments: ``etl(day="2026-01-01")`` is a :class:`Workflow`.

        Inside another ``@workflow`` function, or a ``@plan``, its tasks become tasks of that one:
        their names begin with its own and a dot, ``ctx.params`` are those of the run, and the call
        returns what the function returns, TaskRefs included.

        Raises:
            InvalidInput: the function does not take these arguments, or one cannot be encoded.
            WorkflowInvalid: the tasks do not make a valid workflow.
        """
        if not args:
            self.check_names(kwargs)
        bound = self._bind(args, kwargs)
        outer = building.get()
        if outer is not None:
            return self._inline(outer, bound)
        if called_plainly.get():
            return self.function(*bound.args, **bound.kwargs)
        return self._build(bound)

    def _bind(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> inspect.BoundArguments:
        refuse_deferred(self.function, f"workflow {self.name!r}")
        try:
            bound = inspect.signature(self.function).bind(*args, **kwargs)
        except TypeError as error:
            raise InvalidInput(f"workflow {self.name!r}: {error}") from None
        bound.apply_defaults()
        return bound

    def _inline(self, outer: Workflow, bound: inspect.BoundArguments) -> Any:
        """Make its tasks tasks of the one that is being built."""
        if self._context is not None:
            context = Workflow(self.name, self._context).context
            if context != outer.context:
                raise WorkflowInvalid(
                    f"workflow {self.name!r} has context={context!r}, and a run has one context: "
                    f"that of {outer.name!r}, {outer.context or 'none'}; remove it, or give "
                    "both the same"
                )
        with outer.section(self.name, chosen=self._is_renamed):
            returned = self.function(*bound.args, **bound.kwargs)
        self._refuse_workflow(returned)
        return returned

    def _build(self, bound: inspect.BoundArguments) -> Workflow:
        params = _named_params(bound)
        check_params(params, f"workflow {self.name!r}")
        workflow = self._construct(bound).evolve(params, self.reference, built=True)
        try:
            workflow.validate()
        except WorkflowInvalid:
            # Reported with everything else that is wrong.
            check_workflow(workflow)
            raise
        return workflow

    def _construct(self, bound: inspect.BoundArguments) -> Workflow:
        workflow = Workflow(self.name, self._context)
        token = building.set(workflow)
        try:
            returned = self.function(*bound.args, **bound.kwargs)
        finally:
            building.reset(token)
        self._refuse_workflow(returned)
        workflow.returns = returned
        return workflow

    def _refuse_workflow(self, returned: object) -> None:
        if isinstance(returned, Workflow):
            raise WorkflowInvalid(
                f"workflow {self.name!r} returns a Workflow: remove @workflow from its "
                "function, or call @task functions in it"
            )

    def __repr__(self) -> str:
        return f"<workflow {self.reference}>"


class WorkflowFactory(WorkflowTemplate):
    """A plain function that returns a Workflow, used like a workflow function."""

    def _construct(self, bound: inspect.BoundArguments) -> Workflow:
        returned = self.function(*bound.args, **bound.kwargs)
        if not isinstance(returned, Workflow):
            raise WorkflowInvalid(
                f"{self.reference!r} is not a workflow: it returned {type(returned).__name__}; "
                "decorate it with @workflow, or let it return a Workflow"
            )
        return returned


@overload
def workflow(function: Callable[..., Any], /) -> WorkflowTemplate: ...
@overload
def workflow(
    *, name: str | None = None, context: Callable[..., Any] | str | None = None
) -> Callable[[Callable[..., Any]], WorkflowTemplate]: ...
def workflow(
    function: Callable[..., Any] | None = None,
    /,
    *,
    name: str | None = None,
    context: Callable[..., Any] | str | None = None,
) -> WorkflowTemplate | Callable[[Callable[..., Any]], WorkflowTemplate]:
    """Make a function a workflow: ``@workflow`` or ``@workflow(name=…, context=…)``.

    Args:
        function: builds the workflow by calling ``@task`` functions; it runs at submit, and
            never on resume. What it returns is the result of the run: TaskRefs, in lists, tuples
            and dicts or alone, and plain values.
        name: of the workflow; None takes the function's.
        context: see :class:`Workflow`.
    """
    if function is not None:
        return WorkflowTemplate(function, name, context)
    return lambda decorated: WorkflowTemplate(decorated, name, context)


def _is_named(parameter: inspect.Parameter) -> bool:
    return parameter.kind not in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL)


def _named_params(bound: inspect.BoundArguments) -> dict[str, Any]:
    params: dict[str, Any] = {}
    for name, value in bound.arguments.items():
        kind = bound.signature.parameters[name].kind
        if kind is inspect.Parameter.VAR_KEYWORD:
            params |= value
        else:
            params[name] = value
    return params
