"""Plugins: what installed packages and users bring to listen to runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from importlib.metadata import EntryPoint, entry_points
from typing import Protocol

from distflow.events.notice import Callback

#: Where installed packages name their plugins.
ENTRY_POINT_GROUP = "distflow.plugins"


class PluginContext:
    """What a plugin is given when it is installed.

    Args:
        on: registers a callback for an event, as ``TaskRunnerBuilder.on`` does.
    """

    def __init__(self, on: Callable[[str, Callback], None]) -> None:
        self.on = on


class Plugin(Protocol):
    """Something that listens to runs; found by entry point or given to ``use``."""

    name: str
    version: str

    def install(self, context: PluginContext) -> None:
        """Register what the plugin listens to."""


def find_plugins() -> Iterator[tuple[str, Callable[[], Plugin]]]:
    """The plugins of installed packages: the name of each, and what loads it, which may raise
    anything.
    """
    for entry in entry_points(group=ENTRY_POINT_GROUP):
        yield entry.name, partial(_load, entry)


def _load(entry: EntryPoint) -> Plugin:
    found = entry.load()
    plugin: Plugin = found() if isinstance(found, type) else found
    return plugin
