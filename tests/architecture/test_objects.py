"""Objects are whole from the start: what one has, its ``__init__`` gives it."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from pathlib import Path

import pytest

from tests.architecture.test_layers import PACKAGES, ROOT, imports_of, modules

#: Bases whose fields are declared in the class body, without a value.
_WITH_FIELDS = frozenset({"NamedTuple", "TypedDict"})

_Function = ast.FunctionDef | ast.AsyncFunctionDef


def _name_of(node: ast.expr) -> str:
    """The last name of a base or decorator: ``x.Y[Z](...)`` is ``Y``."""
    if isinstance(node, ast.Call):
        return _name_of(node.func)
    if isinstance(node, ast.Subscript):
        return _name_of(node.value)
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""


def _set_on_self(function: _Function) -> Iterator[tuple[str, int]]:
    """(attribute, line) of everything that a method sets on its first argument."""
    arguments = [*function.args.posonlyargs, *function.args.args]
    if not arguments:
        return
    for node in ast.walk(function):
        targets: list[ast.expr] = []
        if isinstance(node, ast.Assign):
            targets = node.targets
        elif isinstance(node, ast.AnnAssign | ast.AugAssign | ast.For | ast.AsyncFor):
            targets = [node.target]
        elif isinstance(node, ast.withitem) and node.optional_vars is not None:
            targets = [node.optional_vars]
        for target in targets:
            for each in ast.walk(target):
                if (
                    isinstance(each, ast.Attribute)
                    and isinstance(each.ctx, ast.Store)
                    and isinstance(each.value, ast.Name)
                    and each.value.id == arguments[0].arg
                ):
                    yield each.attr, each.lineno


def _methods(of: ast.ClassDef) -> Iterator[_Function]:
    return (each for each in of.body if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef))


def _given(of: ast.ClassDef) -> set[str]:
    """The attributes that an object has from the start, by its class alone."""
    bases = {_name_of(base) for base in of.bases}
    decorators = {_name_of(decorator) for decorator in of.decorator_list}
    has_fields = bool(bases & _WITH_FIELDS) or "dataclass" in decorators
    found: set[str] = set()
    for node in of.body:
        if isinstance(node, ast.Assign):
            found.update(target.id for target in node.targets if isinstance(target, ast.Name))
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            # A name without a value is a promise, and nothing that an object has.
            if has_fields or node.value is not None:
                found.add(node.target.id)
        elif isinstance(node, ast.FunctionDef) and "setter" in map(_name_of, node.decorator_list):
            found.add(node.name)
    for method in _methods(of):
        if method.name == "__init__":
            found.update(name for name, _line in _set_on_self(method))
    return found


def _by_nobody(_module: str, _class: str, _name: str) -> bool:
    """Whether bases of others give an attribute, where there are none."""
    return False


def given_by_others(module: str, of: str, name: str) -> bool:
    """Whether a base that is not this project's has such an attribute: how is its own affair."""
    gives = re.compile(rf"^ +(?:self\.)?{name}(?:: [^=\n]+)? = ", re.MULTILINE)
    for base in getattr(import_module(module), of).__mro__:
        if base.__module__.split(".")[0] not in (*PACKAGES, "builtins"):
            path = inspect.getsourcefile(base)
            if path is not None and gives.search(Path(path).read_text()):
                return True
    return False


def find_half_built(
    sources: Mapping[str, str], is_given: Callable[[str, str, str], bool] = _by_nobody
) -> list[str]:
    """``module:line Class.attribute`` of everything that is set outside of ``__init__`` and was not
    there before.

    Args:
        sources: text by module.
        is_given: whether bases of a class that are not in there give it an attribute.
    """
    trees = {module: ast.parse(source) for module, source in sources.items()}
    where = [
        (module, node)
        for module, tree in trees.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
    ]
    classes: dict[str, list[ast.ClassDef]] = {}
    for _module, node in where:
        classes.setdefault(node.name, []).append(node)

    def all_given(of: ast.ClassDef, seen: frozenset[str] = frozenset()) -> set[str]:
        found = _given(of)
        for base in map(_name_of, of.bases):
            if base not in seen:
                for node in classes.get(base, []):
                    found |= all_given(node, seen | {base})
        return found

    wrong = []
    for module, of in where:
        given = all_given(of)
        for method in _methods(of):
            if method.name == "__init__" or "staticmethod" in map(_name_of, method.decorator_list):
                continue
            wrong += [
                f"{module}:{line} {of.name}.{name}"
                for name, line in _set_on_self(method)
                if name not in given and not is_given(module, of.name, name)
            ]
    return wrong


def test_no_attribute_is_set_outside_of_init() -> None:
    """A fresh object answers every question that it can be asked."""
    sources = {name: path.read_text() for name, path in modules()}
    assert find_half_built(sources, given_by_others) == []


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("class A:\n  def f(self):\n    self.x = 1", ["m:3 A.x"]),
        ("class A:\n  x: int\n  def f(self):\n    self.x = 1", ["m:4 A.x"]),
        ("class A:\n  def f(self):\n    self.y, (self.x, z) = 1, (2, 3)", ["m:3 A.y", "m:3 A.x"]),
        ("class A:\n  def f(self):\n    with open() as self.x: pass", ["m:3 A.x"]),
        ("class A:\n  x = 0\n  def f(self):\n    self.x = 1", []),
        ("class A:\n  def __init__(self):\n    self.x = 0\n  def f(self):\n    self.x = 1", []),
        ("@dataclass(slots=True)\nclass A:\n  x: int\n  def f(self):\n    self.x = 1", []),
        ("class B:\n  x = 0\nclass A(B):\n  def f(self):\n    self.x = 1", []),
        ("class B:\n  x: int\nclass A(B):\n  def f(self):\n    self.x = 1", ["m:5 A.x"]),
    ],
)
def test_what_is_half_built_is_found(source: str, found: list[str]) -> None:
    """A test that finds nothing would be green as well."""
    assert find_half_built({"m": source}) == found


#: What reads a clock or makes something up.
_CLOCK_AND_CHANCE = frozenset({"time", "random", "secrets", "uuid"})


def test_time_and_chance_come_in_as_parameters() -> None:
    """The policy and the coordinator have a clock handed in: a test moves it."""
    wrong = [
        f"{path.relative_to(ROOT)}:{line} imports {imported}"
        for name, path in modules()
        if name.startswith(("distflow.core", "distflow.coordinator"))
        for imported, line, _inside, _typing_only in imports_of(path)
        if imported.split(".")[0] in _CLOCK_AND_CHANCE or imported == "distflow.ids.new_token"
    ]
    assert wrong == []
