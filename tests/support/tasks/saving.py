"""Tasks that save notes."""

from __future__ import annotations

from typing import Any

from distflow import Loop, Retry, task


def is_third(ctx, _result: Any) -> bool:
    """Ends a loop."""
    return len(ctx.saved) == 3


def has_saved_nothing(ctx) -> bool:
    """A condition that looks, and saves first."""
    assert ctx.saved is None
    ctx.save([])
    return True


@task(retry=Retry(1), loop=Loop(is_third, 3), condition=has_saved_nothing)
def collect(*, ctx) -> Any:
    """Note each attempt and iteration; the first attempt fails after that."""
    ctx.save([*ctx.saved, (ctx.attempt, ctx.iteration)])
    if ctx.attempt == 1:
        raise ConnectionError("after the note")
    return ctx.saved


@task
def stuff(size: int, *, ctx) -> int:
    """Save so many bytes."""
    ctx.save(b"x" * size)
    return len(ctx.saved)


@task
def save_a_lock(*, ctx) -> None:
    """Save what has no encoding, after something that has one."""
    ctx.save("first")
    try:
        ctx.save({"lock": object()})
    finally:
        assert ctx.saved == "first"
