"""What RQ keeps private, or names differently from version to version, stands in one place."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
import rq

from tests.architecture.test_layers import ROOT, imports_of, modules

ADAPTER = "distflow.rq_compat"

#: Attributes, parameters, fields of hashes and commands that RQ 2.12 and 3.0 do not share, or whose
#: signatures differ; and whatever holds a key, which RQ 3 makes of ``RQ_KEY_PREFIX``.
VERSIONED = frozenset(
    {
        *(
            "_job_stack",
            "_current_job",
            "current_job",
            "current_job_working_time",
            "get_current_job_id",
            "set_current_job_id",
        ),
        *("set_current_job_working_time", "execution", "executions_key", "current_execution_count"),
        *("get_current_executions", "request_stop_execution", "stop-execution"),
        *("monitor_work_horse", "maintain_heartbeats", "get_heartbeat_ttl", "cleanup_execution"),
        *("handle_job_failure", "handle_job_success", "handle_job_retry", "perform_job"),
        *("execute_success_callback", "execute_failure_callback", "execute_stopped_callback"),
        *("move_dependents_to_ready", "ready_job_registry", "send_stop_execution_command"),
        *("RQ_KEY_PREFIX", "FORMAT_KEY_PREFIX", "WORKER_EXECUTIONS_KEY_TEMPLATE"),
        *("redis_worker_namespace_prefix", "redis_workers_keys", "redis_job_namespace_prefix"),
        *("redis_queue_namespace_prefix", "redis_queues_keys", "key_template"),
        *("PUBSUB_CHANNEL_TEMPLATE", "WORKERS_SUSPENDED", "WORKERS_BY_QUEUE_KEY"),
        *("REDIS_WORKER_KEYS", "worker_executions_key"),
    }
)


def private_names(source: str) -> set[str]:
    """What a module keeps private: names that it, its classes or its objects have."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
                found.add(name)
            case ast.Name(id=name, ctx=ast.Store()) | ast.Attribute(attr=name, ctx=ast.Store()):
                found.add(name)
    return {name for name in found if name.startswith("_") and not name.startswith("__")}


RQ_PRIVATE = frozenset(
    name for path in Path(rq.__path__[0]).rglob("*.py") for name in private_names(path.read_text())
)


def words(source: str) -> Iterator[tuple[str, int]]:
    """(word, line): names, attributes, arguments of calls, and whole texts of a module's code."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Name(id=word) | ast.Attribute(attr=word) | ast.FunctionDef(name=word):
                yield word, node.lineno
            case ast.Constant(value=str(word)) | ast.keyword(arg=str(word)):
                yield word, node.lineno
            case ast.ImportFrom(names=names):
                yield from ((each.name, node.lineno) for each in names)


def speaks_rq(path: Path) -> bool:
    """Whether a module has to do with RQ."""
    return any(
        imported.split(".")[0] == "rq" or imported.startswith(ADAPTER)
        for imported, _line, _inside, _typing_only in imports_of(path)
    )


#: Of RQ's worker: to set one of these is no less private than to read it.
OVERRIDDEN = frozenset({"_state", "_horse_pid", "_stopped_job_id", "_is_horse", "_stop_requested"})


def own_names(source: str) -> set[str]:
    """What a module names itself: variables, attributes, methods of classes without a base."""
    own = set()
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Name(id=name, ctx=ast.Store()) | ast.Attribute(attr=name, ctx=ast.Store()):
                own.add(name)
            case ast.ClassDef(bases=[], body=body):
                own.update(each.name for each in body if isinstance(each, ast.FunctionDef))
    return own - OVERRIDDEN


def adapted_names(source: str) -> set[str]:
    """What a module has of the adapter."""
    return {
        each.name
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(ADAPTER)
        for each in node.names
    }


def wrong_words(source: str) -> list[tuple[str, int]]:
    """What stands in a module and belongs into the adapter."""
    foreign = (RQ_PRIVATE - own_names(source)) | (VERSIONED - adapted_names(source))
    return [
        (word, line) for word, line in words(source) if word in foreign or word.startswith("rq:")
    ]


def test_the_adapter_alone_knows_rq_from_inside() -> None:
    """No other module that has to do with RQ says a private or versioned name of it, or a key."""
    wrong = [
        f"{path.relative_to(ROOT)}:{line} says {word!r}"
        for name, path in [*modules(), ("deploy.health", ROOT / "deploy/health.py")]
        if not name.startswith(ADAPTER) and speaks_rq(path)
        for word, line in wrong_words(path.read_text())
    ]
    assert wrong == []


@pytest.mark.parametrize(
    "source",
    [
        "from rq.job import _job_stack",
        "worker._state = 'busy'",
        "worker.set_current_job_id(None)",
        "worker.handle_job_failure(job, queue)",
        "redis.hget(key, 'current_job')",
        "redis.smembers('rq:workers')",
        "key = f'rq:worker:{name}'",
        "key = BaseWorker.redis_worker_namespace_prefix + name",
        "class Mine(Worker):\n    def _shutdown(self): ...",
    ],
)
def test_such_a_name_is_seen(source: str) -> None:
    """The rule can fail."""
    assert wrong_words(source) != []


def test_rq_has_private_names() -> None:
    """They are found where RQ is installed."""
    assert {"_shutdown", "_horse_pid"} <= RQ_PRIVATE
