"""No module name stands for two things: who searches for one finds one room."""

from __future__ import annotations

from collections import defaultdict

from tests.architecture.test_layers import modules

#: Rooms whose modules are named after what they implement, show or do: a command is named after
#: what is typed, an adapter after its port, a screen's part after what it shows.
NAMED_AFTER = (
    "distflow.cli",
    "distflow.store.redis",
    "distflow.store.memory",
    "distflow.backends",
)

#: Paths that users import, and therefore stay: ``rq worker -c distflow_worker.settings``, and
#: ``distflow.coordinator.settings`` of the API reference.
IMPORTED_BY_USERS = {"settings"}

#: The coordinator of many runs and what it asks of Redis; a run as the core, and as users know it.
ONE_THING = {"service", "run"}


def test_no_module_name_twice() -> None:
    """Two modules of one name are told apart by their room alone, which a traceback cuts."""
    found: defaultdict[str, list[str]] = defaultdict(list)
    for name, path in modules():
        leaf = name.rpartition(".")[2]
        if path.name != "__init__.py" and not name.startswith(NAMED_AFTER):
            found[leaf].append(name)
    allowed = IMPORTED_BY_USERS | ONE_THING
    twice = {leaf: names for leaf, names in found.items() if len(names) > 1}
    assert twice.keys() == allowed, {
        leaf: names for leaf, names in twice.items() if leaf not in allowed
    }
