"""Workflows and parameters as given on the command line: ``MODULE:WORKFLOW`` and ``-p K=V``."""

from __future__ import annotations

import inspect
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from distflow.authoring import TaskFunction, Workflow, WorkflowFactory, WorkflowTemplate
from distflow.authoring.annotations import annotation_of, read_json, read_text
from distflow.authoring.imports import did_you_mean, import_module, split_path
from distflow.errors import InvalidInput
from distflow.places import look_here_first, place_of
from distflow.wire.as_json import parse_json


def load_workflow(spec: str) -> WorkflowTemplate | Workflow:
    """Look ``"pkg.module:name"`` up, in the working directory first, as workers look for functions.

    Args:
        spec: names a ``@workflow`` function, a plain function that returns a Workflow, or a
            Workflow. Each has ``build(params) -> Workflow``.

    Raises:
        InvalidInput: in one line, what was not found or failed, and the closest name.
    """
    module_name, name = split_path(spec)
    look_here_first()
    module = import_module(module_name)
    found = getattr(module, name, None)
    if isinstance(found, Workflow):
        return found.evolve(found.params, spec)
    if isinstance(found, WorkflowTemplate):
        return found
    if inspect.isfunction(found):
        return WorkflowFactory(found)
    known = workflow_names(module)
    hint = did_you_mean(name, known) or (f"; it has {', '.join(known)}" if known else "")
    what = "; it is a task" if isinstance(found, TaskFunction) else ""
    where = f"module {module_name!r} ({place_of(module)})"
    raise InvalidInput(f"{where} has no workflow {name!r}{what}{hint}")


def workflow_names(module: ModuleType) -> list[str]:
    """Names of the workflows in a module."""
    return [
        name
        for name, value in vars(module).items()
        if isinstance(value, Workflow | WorkflowTemplate)
    ]


def parse_params(template: WorkflowTemplate | Workflow, pairs: Sequence[str]) -> dict[str, Any]:
    """Read ``K=V`` pairs: by the annotation of the parameter, else as JSON, else as text.

    Args:
        template: from :func:`load_workflow`. A Workflow declares no parameters: it takes any.
        pairs: each ``K=V``, or ``@FILE.json``, which holds an object with many. The last
            wins; two ``K=V`` of one parameter are refused.

    Returns:
        Values by name, without the defaults.

    Raises:
        InvalidInput: names the pair, the file or the parameter, and what is wrong with it.
    """
    given = read_pairs(template, pairs)
    if isinstance(template, WorkflowTemplate):
        template.check_names(given)
    return given


def read_pairs(template: WorkflowTemplate | Workflow, pairs: Sequence[str]) -> dict[str, Any]:
    """As :func:`parse_params`, without a check whether the workflow takes these parameters."""
    given: dict[str, Any] = {}
    typed: set[str] = set()
    annotations = _Annotations(template)
    for pair in pairs:
        if pair.startswith("@"):
            for name, value in _read_file(pair[1:]).items():
                given[name] = read_json(value, annotations[name], f"parameter {name!r} in {pair}")
            continue
        name, equals, text = pair.partition("=")
        if not equals or not name:
            raise InvalidInput(f"-p {pair!r} is not of the form K=V or @FILE.json")
        if name in typed:
            raise InvalidInput(f"parameter {name!r} is given twice: give it only one -p")
        typed.add(name)
        given[name] = read_text(text, annotations[name], f"parameter {name!r}")
    return given


class _Annotations(dict[str, Any]):
    """Annotations of a workflow function's parameters, evaluated on access."""

    def __init__(self, template: WorkflowTemplate | Workflow) -> None:
        super().__init__()
        self._template = template

    def __missing__(self, name: str) -> Any:
        template = self._template
        if isinstance(template, Workflow):
            return Any
        return annotation_of(template.function, name)


def _read_file(path: str) -> Mapping[str, Any]:
    try:
        content = parse_json(Path(path).read_bytes())
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise InvalidInput(f"-p @{path} cannot be read: {reason}") from None
    except ValueError as error:
        raise InvalidInput(f"-p @{path} is not JSON: {error}") from None
    if not isinstance(content, dict):
        raise InvalidInput(f"-p @{path} holds no JSON object with parameters by name")
    return content
