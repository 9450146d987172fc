"""MODULE:WORKFLOW and -p K=V, as the command line reads them."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Optional
from uuid import UUID

import pytest

from distflow.authoring import Workflow, WorkflowTemplate, task, workflow
from distflow.authoring.params import load_workflow, parse_params
from distflow.errors import InvalidInput

if TYPE_CHECKING:
    from types import SimpleNamespace as OnlyForTypeCheckers

SOURCE = """
from distflow.authoring import Workflow, task, workflow

@task
def extract(day): return day

@workflow
def etl(day: str = "mon", parts: int = 2):
    extract(day)

nightly = Workflow("nightly")
nightly.add("a", extract, ("tue",))

def factory(day: str, parts: int = 1):
    made = Workflow("made")
    made.add("a", extract, (day,))
    return made

def not_a_workflow():
    return 7

number = 7
"""


@workflow
def annotated(  # noqa: PLR0917
    text: str = "",
    count: int = 0,
    ratio: float = 0.0,
    flag: bool = False,  # noqa: FBT002
    at: datetime | None = None,
    day: date | None = None,
    wait: timedelta = timedelta(0),
    price: Decimal = Decimal(0),
    key: UUID | None = None,
    maybe: Optional[int] = None,  # noqa: UP045
    either: str | int = 0,
    level: Literal["low", "high", 3] = "low",
    items: list[int] = [],  # noqa: B006
    days: Sequence[date] = (),
    table: dict[str, Decimal] = {},  # noqa: B006
    by_number: Mapping[int, Any] = {},
    pair: tuple[int, str] = (0, ""),
    row: tuple[int, ...] = (),
    names: set[str] = set(),  # noqa: B006
    noted: Annotated[int, "rows"] = 0,
    unknown: OnlyForTypeCheckers | None = None,
    anything: Any = None,
    bare: Any = None,
) -> Any:
    """Has a parameter of every kind."""


@workflow
def strict(day: str, parts: int, *, note: str = "") -> Any:
    """Has two parameters that need a value."""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A working directory with a module of workflows, which is on nobody's path yet."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    known = set(sys.modules)
    (tmp_path / "etl_flows.py").write_text(SOURCE)
    yield tmp_path
    for name in set(sys.modules) - known:
        del sys.modules[name]


@pytest.mark.parametrize(
    ("pair", "value"),
    [
        ("text=007", "007"),
        ("text=a=b", "a=b"),
        ("text=", ""),
        ("text=@home", "@home"),
        ("count=-7", -7),
        ("ratio=2", 2.0),
        ("flag=true", True),
        ("flag=No", False),
        ("at=2026-01-01T10:00:00Z", datetime(2026, 1, 1, 10, tzinfo=UTC)),
        ("at=null", None),
        ("day=2026-01-01", date(2026, 1, 1)),
        ("wait=1.5", timedelta(seconds=1.5)),
        ("price=0.10", Decimal("0.10")),
        ("key=12345678-1234-5678-1234-567812345678", UUID("12345678123456781234567812345678")),
        ("maybe=3", 3),
        ("maybe=null", None),
        ("either=3", 3),
        ("either=x", "x"),
        ("level=high", "high"),
        ("level=3", 3),
        ("items=[1, 2]", [1, 2]),
        ('days=["2026-01-01"]', [date(2026, 1, 1)]),
        ('table={"a": "1.10"}', {"a": Decimal("1.10")}),
        ('by_number={"1": [2]}', {1: [2]}),
        ('pair=[1, "a"]', (1, "a")),
        ("row=[1, 2, 3]", (1, 2, 3)),
        ('names=["a", "a"]', {"a"}),
        ("noted=4", 4),
        ("unknown=[1]", [1]),
        ("anything=2026-01-01", "2026-01-01"),
        ("bare=1.5", 1.5),
        ("bare=true", True),
        ("bare=plain text", "plain text"),
    ],
)
def test_a_value_is_read_by_its_annotation(pair: str, value: Any) -> None:
    """By the annotation, else as JSON, else as text."""
    read = parse_params(annotated, [pair])[pair.partition("=")[0]]
    assert read == value
    assert type(read) is type(value)


@pytest.mark.parametrize(
    ("pair", "message"),
    [
        ("count=x", "parameter 'count' is not of type int: 'x'"),
        ("count=1.5", "'count' is not of type int"),
        ("flag=maybe", r"'flag' is not of type bool: 'maybe' \(say true or false\)"),
        ("day=tomorrow", "'day' is not of type .*date"),
        ("price=x", "'price' is not of type .*Decimal: 'x'"),
        ("level=mid", "'level' is not of type .*Literal.*'low', 'high', 3"),
        ("items=1", r"'items' is not of type list\[int\]: '1'"),
        ('items=["x"]', "'items' is not"),
        ("items=1,2", "'items' is not"),
        ("pair=[1]", "1 elements, not 2"),
        ("wait=1e999", "'wait' is not"),
        ("countt=1", "'annotated' has no parameter 'countt'; did you mean 'count'"),
        ("count", "-p 'count' is not of the form K=V"),
        ("=1", "not of the form K=V"),
    ],
)
def test_a_wrong_pair_is_named(pair: str, message: str) -> None:
    """The parameter, what it should be and what was given, in one line."""
    with pytest.raises(InvalidInput, match=message) as refused:
        parse_params(annotated, [pair])
    assert "\n" not in str(refused.value)


def test_a_parameter_given_twice_is_named() -> None:
    """Which of the two was meant is not guessed."""
    with pytest.raises(InvalidInput, match="parameter 'count' is given twice"):
        parse_params(annotated, ["count=1", "count=2"])


def test_a_missing_parameter_is_named() -> None:
    """A parameter without a default must be among the pairs."""
    with pytest.raises(InvalidInput, match="'strict' needs a value for parameter 'parts'"):
        parse_params(strict, ["day=mon"])
    assert parse_params(strict, ["day=1", "parts=1"]) == {"day": "1", "parts": 1}


def test_a_file_gives_many(tmp_path: Path) -> None:
    """@FILE.json is read by the annotations too; what comes later wins."""
    file = tmp_path / "p.json"
    file.write_text(
        json.dumps(
            {"count": 1, "ratio": 2, "day": "2026-01-01", "at": None, "items": [3], "price": "1.0"}
        )
    )
    assert parse_params(annotated, ["count=5", f"@{file}", "ratio=3"]) == {
        "count": 1,
        "ratio": 3.0,
        "day": date(2026, 1, 1),
        "at": None,
        "items": [3],
        "price": Decimal("1.0"),
    }


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot be read: No such file"),
        ("{", "is not JSON"),
        ("[1]", "holds no JSON object"),
        ('{"coutn": 1}', "no parameter 'coutn'; did you mean 'count'"),
        ('{"count": "x"}', "'count' in @p.json is not of type int"),
        ('{"text": 5}', "'text' in @p.json is not of type str"),
        ('{"text": null}', "'text' in @p.json is not of type str"),
    ],
)
def test_a_wrong_file_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: Any, message: str
) -> None:
    """A file that cannot be read or used is named with the reason."""
    monkeypatch.chdir(tmp_path)
    if content is not None:
        (tmp_path / "p.json").write_text(content)
    with pytest.raises(InvalidInput, match=message):
        parse_params(annotated, ["@p.json"])


def test_a_workflow_is_found_in_the_working_directory(project: Path) -> None:
    """The module is looked up with the working directory on the path."""
    template = load_workflow("etl_flows:etl")
    assert isinstance(template, WorkflowTemplate)
    built = template.build(parse_params(template, ["parts=3"]))
    assert built.reference == "etl_flows:etl"
    assert built.params == {"day": "mon", "parts": 3}


def test_a_workflow_object_is_found_too(project: Path) -> None:
    """A module-level Workflow takes any parameters for its run."""
    nightly = load_workflow("etl_flows:nightly")
    assert isinstance(nightly, Workflow)
    assert nightly.reference == "etl_flows:nightly"
    run = nightly.build(parse_params(nightly, ["n=1", "t=x"]))
    assert (run.params, run.reference) == ({"n": 1, "t": "x"}, "etl_flows:nightly")


def test_a_function_that_returns_a_workflow_is_found_too(project: Path) -> None:
    """A plain factory has parameters like a workflow function."""
    factory = load_workflow("etl_flows:factory")
    run = factory.build(parse_params(factory, ["day=5"]))
    assert (run.params, run.reference) == ({"day": "5", "parts": 1}, "etl_flows:factory")
    assert run.tasks[0].args == ("5",)
    with pytest.raises(InvalidInput, match="it returned int"):
        load_workflow("etl_flows:not_a_workflow").build()


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("etl_flows", "'etl_flows' is not of the form 'pkg.module:name', such as 'etl_flows:name'"),
        ("etl_flows.py:etl", "such as 'etl_flows:etl'"),
        ("./flows/night.py:etl", "such as 'flows.night:etl'"),
        ("etl_flows:elt", r"etl_flows.py\) has no workflow 'elt'; did you mean 'etl'"),
        ("etl_flows:zzz", "has no workflow 'zzz'; it has etl, nightly"),
        ("etl_flows:extract", "has no workflow 'extract'; it is a task"),
        ("etl_flows:number", "has no workflow 'number'"),
        ("etl_flow:etl", "module 'etl_flow' is not found.*did you mean 'etl_flows'"),
        ("etl_flows.sub:etl", "module 'etl_flows.sub' is not found"),
        ("json.decodr:etl", "module 'json.decodr' is not found.*did you mean 'json.decoder'"),
    ],
)
def test_an_unknown_workflow_is_one_clear_line(project: Path, spec: str, message: str) -> None:
    """What is not found is named, with the closest name."""
    with pytest.raises(InvalidInput, match=message) as refused:
        load_workflow(spec)
    assert "\n" not in str(refused.value)
    assert refused.value.exit_code == 2


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("\n\nboom", r"NameError: name 'boom' is not defined \(.*broken.py, line 3\)"),
        ("x = (", r"SyntaxError: '\(' was never closed \(.*broken.py, line 1\)"),
        ("\nimport no_such_module", r"No module named 'no_such_module' \(.*broken.py, line 2\)"),
        ("import json\njson.loads('{')", r"JSONDecodeError: .*\(.*broken.py, line 2\)"),
        ("import sys\nsys.exit(3)", r"SystemExit: 3 \(.*broken.py, line 2\)"),
        (
            "from distflow.authoring import task\n\n@task(timeuot=1)\ndef f(): pass",
            r"@task 'f': there is no option 'timeuot'.*\(.*broken.py, line 3\)",
        ),
        ("raise ValueError('two\\nlines')", r"ValueError: two lines \(.*broken.py, line 1\)"),
    ],
)
def test_an_error_in_the_users_module_has_its_file_and_line(
    project: Path, source: str, message: str
) -> None:
    """An import that fails is one line with the place in the user's own code."""
    (project / "etl_broken.py").write_text(source)
    with pytest.raises(InvalidInput, match=f"module 'etl_broken' cannot be imported: .*{message}"):
        load_workflow("etl_broken:etl")


def test_parameters_read_for_a_task_are_its_plain_arguments() -> None:
    """What parse_params gives is what the workflow function gets."""
    seen: dict[str, Any] = {}

    @task
    def unused() -> Any:
        return None

    @workflow
    def spy(day: date, parts: int = 1) -> Any:
        seen.update(day=day, parts=parts)

    spy.build(parse_params(spy, ["day=2026-02-03"]))
    assert seen == {"day": date(2026, 2, 3), "parts": 1}
