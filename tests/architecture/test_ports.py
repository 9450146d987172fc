"""A contract stands once, on its port; what implements it inherits it and repeats nothing."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from types import FunctionType
from typing import Any

import pytest

from distflow.backends.memory import MemoryBackend
from distflow.backends.redis_rq import RedisBackend
from distflow.dispatch.inline import InlineDispatcher
from distflow.dispatch.memory import MemoryDispatcher
from distflow.dispatch.rq import RqDispatcher
from distflow.ports.backend import Backend
from distflow.ports.dispatcher import Dispatcher
from distflow.ports.run_store import RunStore
from distflow.ports.service import ServicePort
from distflow.store.memory.service import MemoryServiceStore
from distflow.store.memory.store import MemoryRunStore
from distflow.store.redis.service import RedisServiceStore
from distflow.store.redis.store import RedisRunStore
from tests.architecture.test_layers import ROOT, modules

#: Each port with what implements it.
ADAPTERS: dict[Any, tuple[type, ...]] = {
    RunStore: (RedisRunStore, MemoryRunStore),
    ServicePort: (RedisServiceStore, MemoryServiceStore),
    Dispatcher: (RqDispatcher, MemoryDispatcher, InlineDispatcher),
    Backend: (RedisBackend, MemoryBackend),
}

PAIRS = [(port, adapter) for port, adapters in ADAPTERS.items() for adapter in adapters]

#: A line of a docstring that is as long says something: ``Args:`` and the like do not.
_WORDS = 25


def _methods(port: type) -> dict[str, FunctionType]:
    """The public methods of a port, those of its roles included."""
    return {
        name: method
        for name, method in inspect.getmembers(port, inspect.isfunction)
        if not name.startswith("_")
    }


def _said(documented: FunctionType) -> set[str]:
    """The lines of a docstring that say something."""
    lines = map(str.strip, (documented.__doc__ or "").splitlines())
    return {line for line in lines if len(line) >= _WORDS}


@pytest.mark.parametrize("port", ADAPTERS, ids=lambda port: port.__name__)
def test_a_port_says_what_each_method_promises(port: type) -> None:
    """There is no other place to read it."""
    assert _methods(port)
    assert [name for name, method in _methods(port).items() if not method.__doc__] == []
    roles = [role for role in port.__mro__ if role.__module__.startswith("distflow.ports")]
    assert [role.__name__ for role in roles if not role.__doc__] == []


@pytest.mark.parametrize(("port", "adapter"), PAIRS, ids=lambda each: each.__name__)
def test_an_adapter_inherits_its_port_and_does_all_of_it(port: type, adapter: type) -> None:
    """By name, so that a reader finds the contract; what it forgot would silently do nothing."""
    assert port in adapter.__mro__
    missing = [name for name, method in _methods(port).items() if getattr(adapter, name) is method]
    assert missing == []


@pytest.mark.parametrize(("port", "adapter"), PAIRS, ids=lambda each: each.__name__)
def test_an_adapter_says_only_what_is_special_there(port: type, adapter: type) -> None:
    """A copy of the contract would be another contract before long."""
    copies = {
        name: copied
        for name, method in _methods(port).items()
        if (copied := _said(method) & _said(getattr(adapter, name)))
    }
    assert copies == {}


def _undocumented() -> Iterator[tuple[str, str]]:
    """Where, and which, public methods of adapters have no docstring."""
    for name, path in modules():
        if not name.startswith(("distflow.store", "distflow.dispatch", "distflow.backends")):
            continue
        for found in ast.parse(path.read_text()).body:
            if isinstance(found, ast.ClassDef) and not found.name.startswith("_"):
                for method in found.body:
                    if isinstance(method, ast.FunctionDef) and not ast.get_docstring(method):
                        yield f"{path.relative_to(ROOT)}:{method.lineno}", method.name


def test_what_is_no_ports_is_documented_where_it_stands() -> None:
    """Only a method that inherits its contract needs no docstring."""
    promised = {name for port in ADAPTERS for name in _methods(port)}
    silent = [
        f"{place} {name}"
        for place, name in _undocumented()
        if name not in promised and not name.startswith("_")
    ]
    assert silent == []
