"""Events of runs for the user's own code: callbacks, plugins, loggers."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from importlib.metadata import entry_points
from typing import IO, Literal, Protocol

from distflow.errors import InvalidInput
from distflow.events.notice import Listener, Notice
from distflow.logs import get_logger
from distflow.text import visible
from distflow.wire.as_json import iso_time, json_text

_log = get_logger("distflow.events")

#: What callbacks may be registered for.
EVENTS = (
    "workflow_start",
    "workflow_end",
    "task_start",
    "task_end",
    "task_skipped",
    "task_retry",
    "task_unknown",
    "task_resolved",
    "repair",
    "warning",
)

#: Where installed packages name their plugins.
ENTRY_POINT_GROUP = "distflow.plugins"

Callback = Callable[[Notice], None]


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


class EventHub:
    """Hands each notice to the callbacks of its event. One that raises is logged, and hurts
    nobody.
    """

    def __init__(self) -> None:
        #: Replaced and never changed: a callback may register another while it is called.
        self._callbacks: dict[str, tuple[Callback, ...]] = dict.fromkeys(EVENTS, ())
        #: Names and versions of the plugins that are installed.
        self.plugins: dict[str, str] = {}

    def on(self, event: str, callback: Callback) -> None:
        """Call back for each notice of an event.

        It may be said at any time, also from a callback.

        Raises:
            InvalidInput: there is no such event, or the callback cannot be called.
        """
        registered = self._registered(event)
        if not callable(callback):
            raise InvalidInput(f"the callback for {event} is {callback!r:.60}, not a function")
        self._callbacks[event] = (*registered, callback)

    def off(self, event: str, callback: Callback) -> None:
        """Call back no more: the opposite of one :meth:`on`.

        Raises:
            InvalidInput: there is no such event, or the callback is not registered for it.
        """
        left = list(self._registered(event))
        if callback not in left:
            raise InvalidInput(f"{callback!r:.60} is not registered for {event}")
        left.remove(callback)
        self._callbacks[event] = tuple(left)

    def _registered(self, event: object) -> tuple[Callback, ...]:
        if not isinstance(event, str) or event not in self._callbacks:
            raise InvalidInput(f"there is no event {event!r}: there are {', '.join(EVENTS)}")
        return self._callbacks[event]

    def use(self, plugin: Plugin) -> None:
        """Install a plugin; the same one twice is an error.

        Raises:
            InvalidInput: it is no plugin, one of its name is installed, or it fails to install.
        """
        for attribute in ("name", "version", "install"):
            if not hasattr(plugin, attribute):
                raise InvalidInput(f"{plugin!r:.60} is no plugin: it has no {attribute!r}")
        if plugin.name in self.plugins:
            raise InvalidInput(f"plugin {plugin.name!r} is installed already")
        try:
            plugin.install(PluginContext(self.on))
        except InvalidInput:
            raise
        except Exception as error:
            raise InvalidInput(f"plugin {plugin.name!r} cannot be installed: {error}") from error
        self.plugins[plugin.name] = plugin.version

    def use_installed(self) -> None:
        """Install the plugins that installed packages name, unless one of that name is there
        already; one that fails is logged.
        """
        for entry in entry_points(group=ENTRY_POINT_GROUP):
            try:
                found = entry.load()
                plugin = found() if isinstance(found, type) else found
                if getattr(plugin, "name", None) not in self.plugins:
                    self.use(plugin)
            except Exception:  # noqa: BLE001 - a plugin's code raises anything
                _log.exception("plugin %s cannot be used", entry.name)

    def __call__(self, notice: Notice) -> None:
        """Hand a notice on."""
        for callback in self._callbacks.get(notice.kind, ()):
            try:
                callback(notice)
            except Exception:  # noqa: BLE001 - a user's code raises anything
                _log.exception("a callback for %s of run %s failed", notice.kind, notice.run_id)


def both(first: Listener, second: Listener | None) -> Listener:
    """A listener that hands each notice to two, or to the first where there is no second."""
    if second is None:
        return first

    def hand_on(notice: Notice) -> None:
        first(notice)
        second(notice)

    return hand_on


def event_logger(form: Literal["text", "json"], stream: IO[str] | None = None) -> Callback:
    """A callback that writes one line per notice.

    Args:
        form: ``json`` writes one object per line with run, task, event, time, status and duration.
        stream: where to; None is standard error, as it is at each line.

    Raises:
        InvalidInput: there is no such form.
    """
    if form not in ("text", "json"):
        raise InvalidInput(f"a logger is 'text' or 'json', not {form!r}")
    render = _json_line if form == "json" else _text_line

    def write(notice: Notice) -> None:
        print(render(notice), file=stream or sys.stderr, flush=True)

    return write


def _json_line(notice: Notice) -> str:
    fields = {
        "run": notice.run_id,
        "task": notice.task or None,
        "event": notice.kind,
        "time": iso_time(notice.at),
        "status": notice.status or None,
        "duration": notice.duration,
        "attempt": notice.attempt or None,
        "worker": notice.worker or None,
        "message": notice.message or None,
        **({"simulated": True} if notice.simulated else {}),
    }
    return json_text(fields)


def _text_line(notice: Notice) -> str:
    words: Iterable[str] = (
        iso_time(notice.at) or "",
        notice.run_id,
        notice.kind,
        notice.task,
        notice.status,
        f"attempt {notice.attempt}" if notice.attempt > 1 else "",
        f"{notice.duration:.3f} s" if notice.duration else "",
        notice.message,
        "(simulated)" if notice.simulated else "",
    )
    return visible(" ".join(word for word in words if word))
