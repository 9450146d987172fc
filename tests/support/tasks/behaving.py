"""Tasks that behave as they are told, and write each call to an append-only file.

``ctx.params["log"]`` names that file: a line per call, ``name attempt iteration``; conditions and
context factories write lines of their own.
"""

from __future__ import annotations

import time
from pathlib import Path
from types import SimpleNamespace

from distflow import NotDone, TaskResult, TaskStatus
from tests.support.tasks.recording import lines, note, wait_for_file

#: Outcomes that a task may give itself by returning a TaskResult.
RETURNED = ("success", "failure", "skipped", "cancelled", "unknown")


def behave(steps, *, ctx):
    """Take the step of this call: the n-th of ``steps``, or the last where there are fewer."""
    note(ctx.params["log"], ctx.task, ctx.attempt, ctx.iteration)
    # Each call adds one to the attempt or to the iteration.
    call = ctx.attempt + ctx.iteration - 1
    step = steps[min(call, len(steps)) - 1]
    if step == "raise":
        raise ValueError(f"call {call} of {ctx.task}")
    if step == "not_done":
        raise NotDone(f"call {call} of {ctx.task}")
    if step == "unencodable":
        return {"kept": [1, {"where": object()}]}
    if step in RETURNED:
        return TaskResult(step, message=f"said so itself: {step}")
    return step


def until(ctx, result):
    """Whether a loop ends: not while the function fails or returns ``again``."""
    return until_anything(ctx, result) and result.status == "success"


def until_anything(ctx, result) -> bool:
    """Likewise, but a failure ends it too."""
    note(ctx.params["log"], f"!{ctx.task}", ctx.attempt, ctx.iteration, result.status.value)
    assert result.attempt == ctx.attempt
    if result.data == "bad until":
        raise LookupError("the loop's condition raises")
    return bool(result.data != "again")


def never(ctx):
    note(ctx.params["log"], f"?{ctx.task}", ctx.attempt, ctx.iteration)
    return False


def always(ctx):
    note(ctx.params["log"], f"?{ctx.task}", ctx.attempt, ctx.iteration)
    return True


def raising(ctx):
    note(ctx.params["log"], f"?{ctx.task}", ctx.attempt, ctx.iteration)
    raise RuntimeError("the condition raises")


def until_cancelled(ctx):
    """A condition that holds, and takes until the run is being cancelled."""
    note(ctx.params["log"], f"?{ctx.task}", ctx.attempt, ctx.iteration)
    while not ctx.cancelled:
        time.sleep(0.01)
    return True


def echo(value=None, *inputs, ctx):
    """Return what was given."""
    note(ctx.params["log"], ctx.task, ctx.attempt, ctx.iteration)
    return [value, *inputs] if inputs else value


def meet(*others, ctx):
    """Return when every other one has begun as well: only if all of them run at once."""
    log = Path(ctx.params["log"])
    note(str(log), ctx.task)
    while not set(others) <= set(log.read_text().split()):
        time.sleep(0.005)


def occupy(seconds, *, ctx):
    """Note when the call began and when it ended."""
    note(ctx.params["log"], ctx.task, "+", time.time())
    time.sleep(seconds)
    note(ctx.params["log"], ctx.task, "-", time.time())


def fail_at(times, *, ctx):
    """Fail in the first attempts; note when each began."""
    note(ctx.params["log"], ctx.task, ctx.attempt, time.time())
    if ctx.attempt <= times:
        raise ValueError(f"attempt {ctx.attempt}")
    return ctx.attempt


def count(*, ctx):
    """Say in which iteration it is; note when it began."""
    note(ctx.params["log"], ctx.task, ctx.iteration, time.time())
    return ctx.iteration


def third(ctx, result):
    return result.data == 3


def heed(*, ctx) -> str:
    """Run until cancelled, and say so."""
    note(ctx.params["log"], ctx.task, "begun")
    while not ctx.cancelled:
        time.sleep(0.01)
    note(ctx.params["log"], ctx.task, "heeded")
    return "stopped where it could"


def linger(*, ctx) -> str:
    """Run until it is better to stop, and say so."""
    note(ctx.params["log"], ctx.task, "begun")
    while not ctx.stopping:
        time.sleep(0.01)
    return "stopped where it could"


def ignore(*, ctx):
    """Run until a file beside the log lets it end, whatever happens."""
    note(ctx.params["log"], ctx.task, "begun")
    wait_for_file(ctx.params["log"] + ".open")
    return "too late"


def tell(*, ctx):
    """What ctx says."""
    return {
        "run_id": ctx.run_id,
        "task": ctx.task,
        "attempt": ctx.attempt,
        "iteration": ctx.iteration,
        "key": ctx.key,
        "params": ctx.params,
        "cancelled": ctx.cancelled,
    }


def look(*names, ctx):
    """How dependencies ended, as ``ctx.result_of`` tells it."""
    told = [ctx.result_of(name) for name in names]
    return [[result.status.value, result.message, result.data] for result in told]


def look_elsewhere(name, *, ctx):
    return ctx.result_of(name)


def succeeded(ctx):
    """A condition that looks at a dependency."""
    return ctx.result_of("first").data == "go"


def fill(size):
    return b"\0" * size


def greeting(*, ctx):
    """What the context holds."""
    return ctx.context.greeting


def remember(params):
    """A context factory: it notes each call."""
    note(params["log"], "factory")
    return SimpleNamespace(greeting=f"hello {params['who']}")


def replay(params, snapshot):
    """A context factory that looks at what is done."""
    done = {name: snapshot[name].data for name in snapshot}
    absent = "nobody" in snapshot
    return SimpleNamespace(greeting=[len(snapshot), done, absent])


def broken(params):
    raise OSError("the context cannot be made")


def claim_pending():
    return TaskResult(TaskStatus.PENDING)


def leave(*, ctx):
    raise SystemExit(7)


def heed_and_fail(*, ctx):
    heed(ctx=ctx)
    raise ValueError("stopped midway")


def ignore_once(*, ctx):
    """The first try takes until the second has ended."""
    if ctx.attempt == 2:
        note(ctx.params["log"], ctx.task, "second")
        return "second"
    wait_for_line(ctx.task, "second", ctx=ctx)
    note(ctx.params["log"], ctx.task, "late")
    return "late"


def wait_for_line(*words, ctx) -> None:
    """Return when a task has written this."""
    while list(words) not in lines(Path(ctx.params["log"])):
        time.sleep(0.005)


def optional(params, snapshot=None):
    return SimpleNamespace(greeting=len(snapshot))


def variadic(params, *more, **options):
    return SimpleNamespace(greeting="none" if not more and not options else "some")


def keyword(params, size=3, *, snapshot=None):
    return SimpleNamespace(greeting="none" if (size, snapshot) == (3, None) else "some")


def second(ctx, result):
    return result.data == 2


def swallow():
    """Wait for ever, and let no ordinary error end that."""
    while True:
        try:
            time.sleep(0.01)
        except Exception:  # noqa: BLE001 - what it shows
            continue
