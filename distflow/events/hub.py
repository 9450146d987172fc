"""EventHub: passes events of runs to callbacks and plugins, whoever leads the runs."""

from __future__ import annotations

from distflow.errors import InvalidInput
from distflow.events.notice import Callback, Listener, Notice
from distflow.events.plugins import Plugin, PluginContext, find_plugins
from distflow.events.vocabulary import EVENTS
from distflow.logs import get_logger

_log = get_logger("distflow.events")


class EventHub:
    """Passes each notice to the callbacks of its event. If one raises, the error is logged."""

    def __init__(self) -> None:
        #: Replaced, never changed: a callback may register another one.
        self._callbacks: dict[str, tuple[Callback, ...]] = dict.fromkeys(EVENTS, ())
        #: Whether nobody has registered for anything: then no notice need be made.
        self.is_silent = True
        #: Names and versions of the installed plugins.
        self.plugins: dict[str, str] = {}

    def on(self, event: str, callback: Callback) -> None:
        """Register a callback for each notice of an event.

        May be called at any time, also from a callback.

        Raises:
            InvalidInput: there is no such event, or the callback cannot be called.
        """
        registered = self._registered(event)
        if not callable(callback):
            raise InvalidInput(f"the callback for {event} is {callback!r:.60}, not a function")
        self._callbacks[event] = (*registered, callback)
        self.is_silent = False

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
        self.is_silent = not any(self._callbacks.values())

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
        for name, load in find_plugins():
            try:
                plugin = load()
                if getattr(plugin, "name", None) not in self.plugins:
                    self.use(plugin)
            except Exception:  # noqa: BLE001 - a plugin's code raises anything
                _log.exception("plugin %s cannot be used", name)

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
