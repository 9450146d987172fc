"""What a user might write, right and wrong: the subject of the tests of workflows."""
# ruff: noqa: D103  their names are their documentation

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from distflow.authoring import Workflow, plan, task, workflow
from distflow.core.model import Retry

HERE = __name__


@task
def extract(day: Any = "mon") -> Any:
    return [day]


@task(retry=Retry(2), timeout=30, priority=5)
def clean(rows: Any, part: Any = 0) -> Any:
    return rows


@task
def merge(parts: Any, *, extra: Any = None) -> Any:
    return parts


@task(effects="at_most_once")
def charge(order: Any, *, ctx: Any) -> Any:
    return ctx.key, order


@task
def ctx_first(ctx: Any, order: Any, amount: Any = 1) -> Any:
    return order


@task
def report() -> Any:
    return "done"


@task(priority=3, queue="many", condition="tests.unit.authored:is_monday")
def measure(row: Any, strict: Any = None) -> Any:
    return row * 10


@task
def compare(left: Any, right: Any) -> Any:
    return left - right


@task
def keyed(row: Any, key: Any = 1) -> Any:
    return row


@task
def ctx_before(ctx: Any, row: Any) -> Any:
    return row


@plan(retry=Retry(1), timeout=9, queue="plans")
def score_all(rows: Any, least: Any = 0) -> Any:
    scores = [clean(row) for row in rows if row > least]
    return {"best": merge(scores), "count": len(scores)}


def name_of(row: Any) -> Any:
    return row["name"]


def plain(a: Any, b: Any = 1) -> Any:
    return a


def ctx_varying(ctx: Any, *items: Any) -> Any:
    return items


def ctx_positional(ctx: Any, /) -> Any:
    return ctx


def is_monday(ctx: Any) -> Any:
    return True


def good_enough(ctx: Any, result: Any) -> Any:
    return True


def make_context(params: Any) -> Any:
    return params


async def asynchronous() -> Any:
    return 1


def generating() -> Any:
    yield 1


async def async_generating() -> Any:
    yield 1


def decorated_without_wraps(function: Any) -> Any:
    def wrapper(*args: Any) -> Any:
        return function(*args)

    return wrapper


def above(function: Any, *, wraps: bool) -> Any:
    def wrapper(*args: Any) -> Any:
        return function(*args)

    wrapped: Any = functools.wraps(function)(wrapper) if wraps else wrapper
    wrapped.inner = function
    return wrapped


@functools.partial(above, wraps=True)
@task
def above_with_wraps() -> str:
    return "plain"


@functools.partial(above, wraps=False)
@task
def above_without_wraps() -> str:
    return "plain"


class Holder:
    def __call__(self) -> Any:
        return 1

    def method(self) -> Any:
        return 1


hidden_lambda = lambda: 1  # noqa: E731


hidden_partial = functools.partial(plain, 1)


hidden_wrapper = decorated_without_wraps(plain)


@workflow
def etl(day: str = "2026-01-01", parts: int = 2) -> Any:
    rows = extract(day)
    cleaned = [clean(rows, i) for i in range(parts)]
    merged = merge(cleaned, extra={"rows": (rows, 1)})
    charge(merged)
    report().after(*cleaned)


@workflow(name="scratch", context=make_context)
def probe(action: Any) -> Any:
    """A workflow whose function calls what the test wants to see inside a build."""
    ACTIONS[action]()


ACTIONS: dict[str, Callable[[], Any]] = {}


def build_with(action: Any) -> Any:
    """Run ``action`` inside a build; returns the workflow."""
    ACTIONS["now"] = action
    return probe.build({"action": "now"})


def by_name(built: Any) -> Any:
    return {task.name: task for task in built.tasks}


def in_main() -> Any:
    return 1


in_main.__module__ = "__main__"


@workflow
async def async_flow() -> Any:
    extract()


@workflow
def generator_flow() -> Any:
    yield extract()


@workflow
def returning_flow() -> Any:
    return Workflow("inner")


@workflow
def open_flow(**more: Any) -> Any:
    extract(more["day"])
