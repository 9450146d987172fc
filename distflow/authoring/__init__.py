"""What users write workflows with: ``@task``, ``@plan``, ``@workflow`` and ``Workflow``."""

from distflow.authoring.check import check_importable, check_workflow
from distflow.authoring.decorators import PlanFunction, TaskFunction, plan, task
from distflow.authoring.functions import takes_context
from distflow.authoring.option_checks import TaskOptions
from distflow.authoring.refs import TaskRef
from distflow.authoring.template import WorkflowFactory, WorkflowTemplate, workflow
from distflow.authoring.workflows import Workflow

__all__ = [
    "PlanFunction",
    "TaskFunction",
    "TaskOptions",
    "TaskRef",
    "Workflow",
    "WorkflowFactory",
    "WorkflowTemplate",
    "check_importable",
    "check_workflow",
    "plan",
    "takes_context",
    "task",
    "workflow",
]
