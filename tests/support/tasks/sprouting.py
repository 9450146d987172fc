"""A workflow that grows in every way, for workers of every kind."""

from __future__ import annotations

from distflow import plan, task, workflow


@task(effects="idempotent")
def find(count):
    return [{"name": f"f{number}", "size": number} for number in range(count)]


@task
def clean(file, *, more):
    if file["size"] == 1:
        raise ValueError("a bad file")
    return {**file, "size": file["size"] + more}


@task
def measure(file):
    return 0 if file is None else file["size"]


@task
def add(*values):
    return sum(values)


@task
def total(values):
    return sum(values)


def name_of(file):
    return file["name"]


@plan(timeout=20)
def train(file):
    halves = [add.options(name=name)(file["size"], bias) for name, bias in (("a", 1), ("b", 2))]
    rest = add.map([1, 2, 3], [file["size"]] * 3)
    return {"file": file["name"], "best": total(halves), "rest": rest}


@task
def gather(cleaned, sizes, trained, keyed, ctx):
    errors = [result.error for result in ctx.results_of("clean") if result.error]
    return {
        "cleaned": cleaned,
        "sizes": sizes,
        "trained": trained,
        "keyed": keyed,
        "errors": errors,
    }


@workflow
def sprout(count: int = 2):
    files = find(count)
    cleaned = clean.map(files, more=10, max_failures=1)
    keyed = measure.options(name="keyed").map(files, key=name_of)
    sizes = measure.map(cleaned)
    trained = train.map(files)
    return gather(cleaned, sizes, trained, keyed)
