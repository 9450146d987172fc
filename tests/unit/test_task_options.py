"""The options of a task: one table, and what is made from it or has to agree with it."""

from __future__ import annotations

import re
from typing import Any

import pytest

from distflow import Loop, Retry, Workflow, task
from distflow.authoring.option_checks import AddOptions, TaskOptions
from distflow.cli.ui.task_view import task_lines
from distflow.core.model import DEFAULT_QUEUE, Task
from distflow.core.options import TASK_OPTIONS, WIRE_TYPES, TaskOption, chosen_options
from distflow.core.run import RunSpec
from distflow.core.version import ADDED_FIELDS
from distflow.errors import Damaged, WorkflowInvalid
from distflow.runs.documents import read_task, task_document
from distflow.store.memory.store import MemoryRunStore
from distflow.wire.codec import encode_task, pack
from distflow.wire.tasks import decode_tasks
from tests.support.pages import read_text
from tests.support.tasks import recording

REFERENCE = "docs/reference/task-options.md"

PLAIN = recording.receipt.__distflow_function__
ARGS = ("text", "log")

#: A value of each option that says more than its default.
SAID: dict[str, Any] = {
    "retry": Retry(attempts=2),
    "loop": Loop("pkg:until", 3),
    "timeout": 2.5,
    "condition": "pkg:wanted",
    "priority": 7,
    "continue_on_error": True,
    "queue": "other",
    "effects": "at_most_once",
    "batch": False,
    "verify": "pkg:asked",
}

#: Where a default is no value that a user would write.
DEFAULTS = {
    "name": "the function's name, then `name_2`, ...",
    "depends_on": "none",
    "queue": f"`{DEFAULT_QUEUE}`",
    "effects": "`normal`",
}


def _default(option: TaskOption) -> str:
    value = Task._field_defaults.get(option.name)
    return DEFAULTS.get(option.name, "none" if value is None else str(value))


def reference_rows() -> list[str]:
    """The table of the reference, without the links that it has at the ends of its sentences."""
    return [f"| `{each.name}` | {_default(each)} | {each.means} |" for each in TASK_OPTIONS]


def test_the_reference_has_the_table() -> None:
    """Row by row, in order."""
    plain = re.sub(r"[;:](?: see)? \[[^]]*\]\([^)]*\)", "", read_text(REFERENCE))
    rows = [line for line in plain.splitlines() if line.startswith("| `")]
    assert rows == reference_rows()


def test_type_checkers_know_every_option() -> None:
    """The typed dictionaries, the table, the model and these examples have the same names."""
    names = {option.name for option in TASK_OPTIONS}
    assert set(TaskOptions.__annotations__) == names
    assert set(AddOptions.__annotations__) == names - {"name"}
    assert names == set(SAID) | {"name", "depends_on"}
    assert names == set(Task._fields) - {"function", "args", "kwargs", "grow"}
    added = {option.name for option in TASK_OPTIONS if option.since > 1}
    assert added | {"grow"} == set(ADDED_FIELDS[Task])


@pytest.mark.parametrize("name", SAID)
def test_an_option_arrives(name: str) -> None:
    """From each place where it can be said, to the wire and back, and to who shows it."""
    needed = {"verify": {"effects": "at_most_once"}}.get(name, {})
    options: Any = {name: SAID[name], **needed}
    dag = Workflow("dag")
    dag.add("added", recording.receipt, ARGS, **options)
    dag.add("decorated", task(**options)(PLAIN), ARGS)
    dag.add("at_call", task(PLAIN).options(**options), ARGS)
    for made in dag.tasks:
        assert getattr(made, name) == SAID[name]
        assert decode_tasks(pack([encode_task(made)])) == [made]
        assert set(chosen_options(made)) == set(options)


@pytest.mark.parametrize("option", TASK_OPTIONS[1:], ids=lambda option: option.name)
def test_a_wrong_value_is_one_line(option: TaskOption) -> None:
    """It names the task, the option and what that may be."""
    wrong: Any = {option.name: object()}
    named = "a dependency" if option.name == "depends_on" else option.name
    with pytest.raises(WorkflowInvalid, match=f"task 't': {named} must be .*, not <object"):
        Workflow("dag").add("t", recording.receipt, ARGS, **wrong)


def test_a_retry_or_loop_that_is_wrong_names_its_task() -> None:
    """``_replace`` makes what the class itself refuses: it is found where a task gets it."""
    wrong: dict[str, Any] = {
        "retry": Retry(1)._replace(attempts=-1),
        "loop": Loop("pkg:until", 1)._replace(max_iterations=0),
    }
    said = {
        "retry": r"task 't': retry must be .*"
        r"\(Retry: attempts and lost must be whole numbers, 0 or more\), not ",
        "loop": r"task 't': loop must be .*"
        r"\(Loop: max_iterations must be a whole number, 1 or more\), not ",
    }
    for name, value in wrong.items():
        with pytest.raises(WorkflowInvalid, match=said[name]):
            Workflow("dag").add("t", recording.receipt, ARGS, **{name: value})


@pytest.mark.parametrize("name", WIRE_TYPES)
def test_a_strange_value_in_a_graph_is_damage(name: str) -> None:
    """What another wrote into Redis is not taken for an option."""
    fields = {**encode_task(Task("t", "m:f")), name: [1]}
    with pytest.raises(Damaged, match=f"{name} is "):
        decode_tasks(pack([fields]))


def test_a_task_is_shown_with_its_options() -> None:
    """Whichever it has, in its document and in the text for people."""
    store = MemoryRunStore("run-1")
    chosen = Task("t", "m:f", timeout=2.5, retry=Retry(attempts=2), queue="other")
    store.create_run(RunSpec("run-1", "m:flow", {}, "0123"), "made", [chosen])
    info = store.read_info()
    document = task_document(info, read_task(store, info, chosen))
    assert document["options"] == {"retry": {"attempts": 2}, "timeout": 2.5, "queue": "other"}
    lines = [line for line in task_lines(document, []) if str(line).startswith("options")]
    assert lines == ['options    retry {"attempts": 2}, timeout 2.5']
