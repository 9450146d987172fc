"""Runs in memory whose nodes have expanded, without any worker."""

from __future__ import annotations

from collections.abc import Sequence

from distflow.core.expansion import Expansion, child_name
from distflow.core.model import Expanded, Grow, Ref, Task, TaskResult
from distflow.core.status import TaskStatus
from distflow.store.memory.store import MemoryRunStore
from distflow.wire.codec import encode_result, encode_task, pack
from distflow.wire.gathering import StandIn

CHILD = Task("", "m:clean", kwargs={"strict": True})

#: A list, mapped twice element by element, then joined.
PIPELINE = (
    Task("files", "m:list"),
    Task("clean", "distflow:map", (Ref("files"),), {}, ("files",), grow=Grow("map", CHILD)),
    Task(
        "sizes",
        "distflow:map",
        (Ref("clean"),),
        {},
        ("clean",),
        grow=Grow("map", CHILD._replace(function="m:measure"), shapes=("clean",)),
    ),
    Task(
        "report",
        "m:report",
        (Ref("sizes"), Ref("clean")),
        depends_on=("sizes", "clean"),
    ),
)


def elements(node: Task, count: int, *, after: str = "") -> list[Task]:
    """The children that a map makes of so many elements; ``after`` is the node that it follows."""
    assert node.grow is not None
    child = node.grow.child
    assert child is not None
    made = []
    for position in range(count):
        above = child_name(after, position) if after else ""
        made.append(
            child._replace(
                name=child_name(node.name, position),
                args=(Ref(above),) if after else (position,),
                depends_on=(above,) if after else (),
            )
        )
    return made


def expand(
    store: MemoryRunStore,
    node: str,
    tasks: Sequence[Task],
    *,
    value: object = None,
    plan: bool = False,
    chunk: int = 4096,
) -> Expanded:
    """Let a node of a run have succeeded with these children; for a ``plan`` with this value."""
    run = store.server.runs[store.run_id]
    records = run.expansions.records
    token = f"t-{node}"
    cuts = [tasks[at : at + chunk] for at in range(0, len(tasks), chunk)] or [[]]
    names = [task.name.removeprefix(f"{node}.") for task in tasks]
    growing = [task.name.removeprefix(f"{node}.") for task in tasks if task.grow]
    stand_in = (
        StandIn(names=names, value=value, grows=growing)
        if plan
        else StandIn(keys=len(tasks), grows=bool(growing))
    )
    chunks = {at: pack([encode_task(task) for task in cut]) for at, cut in enumerate(cuts)}
    run.expansions.chunks[token] = {**chunks, -1: stand_in.encode()}
    queues = tuple(sorted({task.queue for task in tasks}))
    records[node] = Expansion(token, len(records) + 1, len(cuts), len(tasks), queues)
    run.total += len(tasks)
    data = Expanded(token, len(tasks))
    run.results[node] = encode_result(TaskResult(TaskStatus.SUCCESS, data=data, attempt=1))
    return data


def settle(store: MemoryRunStore, task: str, status: str = "success", **fields: object) -> None:
    """Let a task have this outcome."""
    result = TaskResult(TaskStatus(status), attempt=1, **fields)  # type: ignore[arg-type]
    store.server.runs[store.run_id].results[task] = encode_result(result)


def grown_run(store: MemoryRunStore, count: int = 3, *, tasks: Sequence[Task] = PIPELINE) -> None:
    """Let the pipeline have found so many files: all of it is expanded, and no child has run."""
    index = {task.name: task for task in tasks}
    settle(store, "files", data=list(range(count)))
    expand(store, "clean", elements(index["clean"], count), chunk=2)
    expand(store, "sizes", elements(index["sizes"], count, after="clean"), chunk=2)
