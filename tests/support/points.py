"""The crash points there are, and what writes to Redis without one: read from the code."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, TypeGuard

from distflow.faults import AFTER, BEFORE
from distflow.store.redis.scripts import script_names

ROOT = Path(__file__).parents[2]
PACKAGES = (ROOT / "distflow", ROOT / "workers/distflow_worker")

#: What names a connection or a pipeline, whatever comes before the dot.
_CLIENTS = frozenset({"client", "_client", "pipeline", "connection", "_connection", "redis"})

#: What changes something in Redis: commands by their methods, and calls of RQ's.
_WRITES = frozenset(
    {
        *("append", "copy", "decr", "delete", "eval", "evalsha", "execute_command", "expire"),
        *("expireat", "fcall", "flushall", "flushdb", "getdel", "getset", "hdel", "hincrby"),
        *("hincrbyfloat", "hmset", "hset", "hsetnx", "incr", "incrby", "linsert", "lmove", "lpop"),
        *("lpush", "lrem", "lset", "ltrim", "mset", "msetnx", "persist", "pexpire", "pexpireat"),
        *("psetex", "publish", "rename", "renamenx", "restore", "rpop", "rpush", "sadd", "set"),
        *("setex", "setnx", "smove", "spop", "srem", "unlink", "xadd", "xdel", "xtrim", "zadd"),
        *("zincrby", "zpopmax", "zpopmin", "zrem", "zremrangebyrank", "zremrangebyscore"),
        *("send_packed_command", "blpop", "brpop", "setrange", "setbit", "xack", "xgroup_create"),
    }
)

#: Commands that have no method of their own, and write nothing.
_HARMLESS = frozenset({"WAIT", "WAITAOF"})

#: RQ's functions and methods that do so.
_RQ_WRITES = frozenset({"enqueue", "enqueue_many", "enqueue_job", "send_command", "requeue"})


class Code(NamedTuple):
    """What one module says of points."""

    #: Names given to ``commit``; None where the name is no literal.
    commits: list[str | None]
    #: Names given to ``reach``.
    reached: list[str]
    #: Lines of writes that no ``commit`` guards.
    unguarded: list[int]


def modules() -> Iterator[Path]:
    """Every module of the product but the one that defines what a point is."""
    for package in PACKAGES:
        yield from (path for path in sorted(package.rglob("*.py")) if path.name != "faults.py")


def read_code(source: str) -> Code:
    """What a module's text says."""
    found = Code([], [], [])
    _walk(ast.parse(source), found, guarded=False)
    return found


def all_points() -> list[str]:
    """Every point of the product, sorted."""
    names: set[str] = set()
    points: set[str] = set()
    for path in modules():
        code = read_code(path.read_text())
        points.update(code.reached)
        names.update(name for name in code.commits if name is not None)
        if None in code.commits:
            # A script's door takes the script's name.
            names.update(script_names())
    return sorted(points | {name + side for name in names for side in (BEFORE, AFTER)})


def _walk(node: ast.AST, found: Code, *, guarded: bool) -> None:
    if isinstance(node, ast.With):
        names = [_commit_name(item.context_expr) for item in node.items]
        found.commits.extend(name for is_commit, name in names if is_commit)
        guarded = guarded or any(is_commit for is_commit, _name in names)
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "reach":
        assert isinstance(node.args[0], ast.Constant), "a point between commits has a plain name"
        found.reached.append(str(node.args[0].value))
    if not guarded and _is_write(node):
        found.unguarded.append(getattr(node, "lineno", 0))
    children = node.args if _is_harmless(node) else ast.iter_child_nodes(node)
    for child in children:
        _walk(child, found, guarded=guarded)


def _commit_name(node: ast.expr) -> tuple[bool, str | None]:
    if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name)):
        return False, None
    name = node.args[0] if node.args else None
    literal = str(name.value) if isinstance(name, ast.Constant) else None
    return node.func.id == "commit", literal


def _is_harmless(node: ast.AST) -> TypeGuard[ast.Call]:
    if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.args):
        return False
    command = node.args[0]
    named = isinstance(command, ast.Constant) and command.value in _HARMLESS
    return named and node.func.attr == "execute_command"


def _is_write(node: ast.AST) -> bool:
    if isinstance(node, ast.Attribute):
        owner = node.value
        last = owner.attr if isinstance(owner, ast.Attribute) else getattr(owner, "id", "")
        return node.attr in (_WRITES if last in _CLIENTS else _RQ_WRITES - {"send_command"})
    # What loads a script changes nothing of a run.
    return (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id in _RQ_WRITES
    )
