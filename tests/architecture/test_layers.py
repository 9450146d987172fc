"""The layers hold: imports point down, nothing is imported inside functions, files stay small."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = {"distflow": ROOT / "distflow", "distflow_worker": ROOT / "workers/distflow_worker"}

#: Layer of each module or package: imports go from a higher number to a lower one.
LAYERS = {
    "distflow.chance": 0,
    "distflow.clock": 0,
    "distflow.config": 0,
    "distflow.errors": 0,
    "distflow.faults": 0,
    "distflow.given": 0,
    "distflow.ids": 0,
    "distflow.logs": 0,
    "distflow.places": 0,
    "distflow.procfs": 0,
    "distflow.redis_url": 0,
    "distflow.rq_compat": 0,
    "distflow.text": 0,
    "distflow.core": 1,
    "distflow.wire": 2,
    "distflow.ports": 2,
    "distflow.authoring": 3,
    "distflow.snapshot": 3,
    "distflow.events": 3,
    "distflow.store": 3,
    "distflow.dispatch": 3,
    "distflow.coordinator": 3,
    "distflow.local": 3,
    "distflow_worker": 3,
    "distflow.backends": 4,
    "distflow.runs": 5,
    "distflow.cli": 6,
}

#: Imports within one layer that the design shows.
SIDEWAYS = {
    ("distflow.chance", "distflow.ids"),
    ("distflow.ids", "distflow.errors"),
    ("distflow.config", "distflow.errors"),
    ("distflow.logs", "distflow.text"),
    ("distflow.given", "distflow.errors"),
    ("distflow.given", "distflow.text"),
    ("distflow.redis_url", "distflow.errors"),
    # A snapshot is checked against what is authored.
    ("distflow.snapshot", "distflow.authoring"),
    ("distflow.coordinator", "distflow.events"),
    ("distflow.dispatch", "distflow.store"),
    ("distflow_worker", "distflow.store"),
    # A plan builds with what workflows are written with.
    ("distflow_worker", "distflow.authoring"),
    # Attempts in this process run by the code that workers run.
    ("distflow.dispatch", "distflow_worker"),
}

#: What may import Redis and RQ.
TRANSPORT = (
    *(
        "distflow.store",
        "distflow.dispatch.rq",
        "distflow_worker",
        "distflow.local",
        "distflow.backends",
    ),
    *("distflow.dispatch.prefixes", "distflow.dispatch.roster", "distflow.rq_compat"),
)


def modules() -> Iterator[tuple[str, Path]]:
    """Every module of both packages, by dotted name."""
    for package, folder in PACKAGES.items():
        for path in sorted(folder.rglob("*.py")):
            parts = path.relative_to(folder).with_suffix("").parts
            name = ".".join((package, *parts)).removesuffix(".__init__")
            yield name, path


def unit_of(module: str) -> str | None:
    """The longest entry of LAYERS that a module belongs to."""
    found = [unit for unit in LAYERS if module == unit or module.startswith(f"{unit}.")]
    return max(found, key=len, default=None)


def imports_of(path: Path) -> Iterator[tuple[str, int, bool, bool]]:
    """(module, line, inside a function, for type checkers only) of every import in a file."""

    def walk(
        node: ast.AST, *, inside: bool, typing_only: bool
    ) -> Iterator[tuple[str, int, bool, bool]]:
        for child in ast.iter_child_nodes(node):
            deeper = inside or isinstance(
                child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
            )
            for_types = typing_only or (
                isinstance(child, ast.If)
                and isinstance(child.test, ast.Name)
                and child.test.id == "TYPE_CHECKING"
            )
            if isinstance(child, ast.Import):
                for alias in child.names:
                    yield alias.name, child.lineno, inside, typing_only
            elif isinstance(child, ast.ImportFrom):
                assert child.level == 0, f"{path}:{child.lineno}: relative import"
                yield child.module or "", child.lineno, inside, typing_only
                for alias in child.names:
                    yield f"{child.module}.{alias.name}", child.lineno, inside, typing_only
            yield from walk(child, inside=deeper, typing_only=for_types)

    yield from walk(ast.parse(path.read_text()), inside=False, typing_only=False)


def test_every_module_has_a_layer() -> None:
    """A new module must be given its place before it can be imported."""
    homeless = [name for name, _ in modules() if name != "distflow" and unit_of(name) is None]
    assert homeless == []


def test_imports_point_down() -> None:
    """A module imports lower layers only, save for the shown arrows: for type checkers too."""
    wrong = []
    for name, path in modules():
        mine = unit_of(name)
        if mine is None:
            continue
        for imported, line, _inside, _typing_only in imports_of(path):
            theirs = unit_of(imported)
            if theirs is None or theirs == mine:
                continue
            if LAYERS[theirs] >= LAYERS[mine] and (mine, theirs) not in SIDEWAYS:
                wrong.append(f"{path.relative_to(ROOT)}:{line} imports {imported}")
    assert wrong == []


def test_the_worker_knows_no_coordinator() -> None:
    """A worker host needs core, wire, ports and store, and nothing above them; to run plans, also
    what workflows are written with.
    """
    allowed = {
        "distflow.core",
        "distflow.wire",
        "distflow.config",
        "distflow.ids",
        "distflow.logs",
        "distflow.places",
        "distflow.errors",
        "distflow.faults",
        "distflow.ports",
        "distflow.procfs",
        "distflow.redis_url",
        "distflow.rq_compat",
        "distflow.store",
        "distflow.text",
    }
    wrong = [
        f"{path.name}:{line} imports {imported}"
        for name, path in modules()
        if name.startswith("distflow_worker")
        for imported, line, _inside, _typing_only in imports_of(path)
        if imported.startswith("distflow.")
        and unit_of(imported) not in allowed
        and (name, unit_of(imported)) != ("distflow_worker.plan_node", "distflow.authoring")
    ]
    assert wrong == []


def test_no_import_cycles_between_modules() -> None:
    """Modules form a DAG, also within a package, and with what they import for type checkers."""
    names = {name for name, _ in modules()}
    graph = {
        name: {
            imported
            for imported, _line, _inside, typing_only in imports_of(path)
            if imported in names
            and imported != name
            # The front door names for type checkers what it finds at its first use.
            and not (typing_only and name == "distflow")
        }
        for name, path in modules()
    }
    done: set[str] = set()
    while True:
        leaves = {name for name, needs in graph.items() if name not in done and needs <= done}
        if not leaves:
            break
        done |= leaves
    assert set(graph) - done == set()


def test_no_imports_inside_functions() -> None:
    """What a module needs stands at its top."""
    wrong = [
        f"{path.relative_to(ROOT)}:{line}"
        for _name, path in modules()
        for _imported, line, inside, _typing_only in imports_of(path)
        if inside
    ]
    assert wrong == []


def test_redis_and_rq_stay_in_their_rooms() -> None:
    """Redis and RQ appear in the store, the dispatcher, the worker and the backends only."""
    wrong = [
        f"{path.relative_to(ROOT)}:{line} imports {imported}"
        for name, path in modules()
        if not name.startswith(TRANSPORT)
        for imported, line, _inside, _typing_only in imports_of(path)
        if imported.split(".")[0] in ("redis", "rq")
    ]
    assert wrong == []


def test_above_the_backends_nobody_knows_an_adapter() -> None:
    """The API and the command line know where runs live by the ports alone: no store, dispatcher or
    worker is imported there, not even for type checkers. The command line has the coordinator from
    the API. Of the backends, one module of it opens them, and one starts a worker.
    """
    adapters = ("distflow.store", "distflow.dispatch", "distflow.rq_compat", "distflow_worker")
    openers = ("distflow.cli.ui.connecting", "distflow.cli.worker")
    wrong = [
        f"{path.relative_to(ROOT)}:{line} imports {imported}"
        for name, path in modules()
        if name.startswith(("distflow.runs", "distflow.cli"))
        for imported, line, _inside, _typing_only in imports_of(path)
        if imported.startswith(adapters)
        or (
            name.startswith("distflow.cli")
            and (
                imported.startswith("distflow.coordinator")
                or (imported.startswith("distflow.backends") and name not in openers)
            )
        )
    ]
    assert wrong == []


#: What the policy knows of distflow: itself, and how values are checked, errors and texts made.
_KNOWN_TO_CORE = {"distflow.core", "distflow.errors", "distflow.given", "distflow.text"}


def test_core_is_pure() -> None:
    """The policy knows no clock, threads, randomness, logging, files or network."""
    banned = {"time", "threading", "random", "logging", "os", "socket", "secrets", "subprocess"}
    wrong = [
        f"{path.name}:{line} imports {imported}"
        for name, path in modules()
        if name.startswith("distflow.core")
        for imported, line, _inside, _typing_only in imports_of(path)
        if imported.split(".")[0] in banned
        or imported.split(".")[0] not in {*sys.stdlib_module_names, "distflow"}
        or (imported.startswith("distflow.") and unit_of(imported) not in _KNOWN_TO_CORE)
    ]
    assert wrong == []


@pytest.mark.parametrize(("name", "path"), list(modules()), ids=lambda value: str(value)[-40:])
def test_files_stay_small(name: str, path: Path) -> None:
    """A file of more than 400 lines wants to be two."""
    assert len(path.read_text().splitlines()) <= 400
