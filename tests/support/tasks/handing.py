"""Short tasks that hand something on."""

from __future__ import annotations


def make(size):
    """So many bytes of text."""
    return "x" * size


def measure(text):
    """How much there is of it."""
    return len(text)


def look_up(name, *, ctx):
    """How a dependency ended, and how much it brought."""
    found = ctx.result_of(name)
    return [found.status.value, len(found.data or "")]


def fail():
    raise ValueError("no")


def has_much(ctx):
    """A condition: whether the dependency ``a`` brought more than nothing."""
    return bool(ctx.result_of("a").data)
