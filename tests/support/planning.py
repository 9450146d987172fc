"""Growing nodes as workers expand them: what they write, and how they finish."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from distflow.core.claim import Code, Finish, Growth
from distflow.core.model import Expanded, Grow, Retry, Task
from distflow.core.run_options import USUAL_OPTIONS, RunOptions
from distflow.ports.run_store import RunStore
from distflow.wire.codec import encode_tasks, pack
from tests.support.stores import claim, final, finish, make_spec

GROWING = replace(make_spec(), version=2)
PLAN = Task("train", "pkg.plans:train", effects="idempotent", grow=Grow("plan"))

Chunks = Sequence[Sequence[Task]]


def child(node: str, name: str, queue: str = "default") -> Task:
    """A task that a plan has made."""
    return Task(f"{node}.{name}", "pkg.tasks:work", (1,), queue=queue)


CHUNKS = [[child("train", "a"), child("train", "b", "gpu")], [child("train", "c")]]
STAND_IN = pack({"names": ["a", "b", "c"], "value": 1})


def lead(store: RunStore, *tasks: Task, options: RunOptions = USUAL_OPTIONS) -> int:
    """Create a run that may grow, and lead it as ``anna``; returns the epoch."""
    spec = replace(GROWING, run_id=store.run_id, options=options)
    store.create_run(spec, "creation", tasks)
    return store.acquire_lease("anna", 60.0)


def write(
    store: RunStore, token: str, chunks: Chunks, *, task: str = "", without: int | None = None
) -> None:
    """Write all chunks of an expansion, and the stand-in, but for one of them."""
    node = task or next(task for task, held in store.read_claims().items() if held.token == token)
    numbered = [(-1, STAND_IN), *enumerate(map(encode_tasks, chunks))]
    for number, packed in numbered:
        if number != without:
            assert store.write_chunk(node, token, number, packed) == Code.GRANTED


def growth_of(chunks: Chunks) -> Growth:
    """What an attempt commits."""
    tasks = [task for chunk in chunks for task in chunk]
    return Growth(len(chunks), len(tasks), tuple(sorted({task.queue for task in tasks})))


def grown(node: str, token: str, chunks: Chunks) -> Finish:
    """The success of a node that has expanded."""
    growth = growth_of(chunks)
    done = final(node, token, data=Expanded(token, growth.children))
    return done._replace(grows=True, growth=growth)


def expand(store: RunStore, epoch: int, node: str, token: str, chunks: Chunks) -> None:
    """Let a node expand, from its claim on."""
    claim(store, epoch, node, token)
    write(store, token, chunks)
    assert finish(store, epoch, grown(node, token, chunks)) == Code.RECORDED


def make_chunks(node: Task, token: str) -> list[list[Task]]:
    """What an attempt at a growing node adds: two chunks or one, and no two attempts the same."""
    number = int(token.removeprefix("token"))
    child = Task(
        "",
        "pkg.tasks:work",
        retry=Retry(1),
        effects="at_most_once" if number % 2 else "idempotent",
        continue_on_error=number % 3 == 0,
        queue=f"q{number % 4}",
    )
    names = [f"{node.name}.{token}-{place}" for place in range(number % 4)]
    tasks = [child._replace(name=name) for name in names]
    if tasks and node.name.count(".") == 0:
        tasks[0] = tasks[0]._replace(effects="idempotent", grow=Grow("plan"))
    return [tasks[:1], tasks[1:]] if len(tasks) > 1 else [tasks]
