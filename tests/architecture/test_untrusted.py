"""Nothing that is read from Redis is unpickled: what could do so is imported in one place."""

from __future__ import annotations

from tests.architecture.test_layers import PACKAGES, imports_of, modules

#: What builds objects, or runs code, out of bytes.
LOADERS = {
    *("pickle", "_pickle", "cPickle", "shelve", "marshal", "copyreg"),
    *("dill", "cloudpickle", "joblib", "jsonpickle", "yaml"),
}

#: It writes pickles for RQ, and reads them without the module.
WRITER = "distflow_worker.serializer"


def test_pickles_are_written_in_one_place() -> None:
    """No other module has the means to load one."""
    users = {
        name
        for name, path in modules()
        for imported, _line, _inside, _typing_only in imports_of(path)
        if imported.split(".")[0] in LOADERS
    }
    assert users == {WRITER}


def test_the_writer_only_writes() -> None:
    """``pickle.dumps``, and nothing else of that module."""
    path = PACKAGES["distflow_worker"] / "serializer.py"
    assert path.read_text().count("pickle.") == 1
    assert "pickle.dumps(value, protocol=4)" in path.read_text()


def test_rq_is_told_how_to_read() -> None:
    """RQ's own default is to unpickle: whatever makes its queues and jobs names a serializer."""
    text = (PACKAGES["distflow"] / "dispatch/rq.py").read_text()
    assert text.count("Queue(") == text.count("serializer=_Envelope)")
    users = {
        name
        for name, path in modules()
        for imported, _line, _inside, typing_only in imports_of(path)
        if not typing_only
        and imported in ("rq.Queue", "rq.job.Job", "rq.results.Result", "rq.queue.Queue")
    }
    # SafeJob makes none: RQ does, with the serializer of the worker.
    assert users == {"distflow.dispatch.rq", "distflow_worker.job"}
