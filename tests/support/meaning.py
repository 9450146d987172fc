"""What a program means, read plainly off the rules: by recursion, without a graph or an event.

It knows what the functions of ``tests.support.tasks.programmed`` make of their inputs.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

from distflow.core.expansion import child_name
from tests.support.behaviour import SAID, give, key_of
from tests.support.programs import Block, Call, Each, Map, Options, Plan, Program, Sub, fill


class Meaning(NamedTuple):
    """What a task comes to.

    ``status`` is empty for one that waits behind an unknown task; ``calls`` and ``asked`` are how
    often its function and its condition were called. ``value`` is what its dependents take: of a
    node, what it stands for. ``roots`` are the tasks that the message of its skip may name.
    ``made`` is what a node grew from.
    """

    status: str
    calls: int = 0
    asked: int = 0
    value: Any = None
    roots: frozenset[str] = frozenset()
    tolerated: bool = False
    made: Any = None
    #: Whether its function is that of ``map``.
    is_map: bool = False


class Known(NamedTuple):
    """The outcome of a task in an earlier run, or before a resume.

    ``made`` is what a node had grown from; None for one whose data are plain.
    """

    status: str
    value: Any = None
    attempt: int = 1
    started: bool = False
    made: Any = None


@dataclasses.dataclass
class Stood:
    """A task as others see it: ``good`` says whether they may go on, and is None while that is not
    known. ``roots`` are the first causes where it is bad.
    """

    good: bool | None
    name: str = ""
    value: Any = None
    roots: frozenset[str] = frozenset()
    #: Whether it is a map of a task, which may be followed.
    is_mapped: bool = False
    #: Whether it is a node that has expanded.
    has_grown: bool = False
    #: Of a map that has expanded, by their keys.
    children: list[tuple[Any, Stood]] | None = None


class Refused(Exception):
    """What the function of a plan writes, or what a node maps, cannot be."""


class Read(NamedTuple):
    """What a program means: of each task, of the whole, and how its run ends."""

    tasks: dict[str, Meaning]
    value: Any
    verdict: str
    #: Whether the run has a value: every node in it has joined.
    is_complete: bool


def read(program: Program, known: Mapping[str, Known] | None = None) -> Read:
    """What every task of a program comes to, by name; ``known`` is what it starts from.

    Raises:
        Refused: nobody may submit it.
    """
    reader = _Reader(program.script, known or {})
    value, _all = reader.block("", program.block, ())
    is_complete = not any(stood.has_grown and not stood.good for stood in _stood(value))
    return Read(reader.told, _filled(value), _verdict(reader.told), is_complete)


def _verdict(told: Mapping[str, Meaning]) -> str:
    statuses = [meaning.status for meaning in told.values()]
    if "unknown" in statuses:
        return "blocked"
    if any(each.status == "failure" and not each.tolerated for each in told.values()):
        return "failure"
    return "cancelled" if "cancelled" in statuses else "success"


class _Reader:
    def __init__(self, script: Mapping[str, Sequence[str]], known: Mapping[str, Known]) -> None:
        self._script = script
        self._known = known
        self.told: dict[str, Meaning] = {}

    def block(self, prefix: str, block: Block, given: Sequence[Any]) -> tuple[Any, list[Stood]]:
        """What a block comes to, with a :class:`Stood` in the place of each task; and all of these
        that are its own.
        """
        made: dict[str, Any] = {}
        own: list[Stood] = []
        for each in block.statements:
            name = prefix + each.name
            if isinstance(each, Each):
                made[each.name] = [
                    self._call(f"{name}{position}", each, each.options, (element,), None)
                    for position, element in enumerate(_listed(given[each.over.position]))
                ]
                own += made[each.name]
            elif isinstance(each, Sub):
                args = fill(each.args, made, given)
                made[each.name], inner = self.block(f"{name}.", each.block, args)
                own += inner
            else:
                made[each.name] = stood = self._one(name, each, made, given)
                own.append(stood)
        return fill(block.returns, made, given), own

    def _one(
        self, name: str, each: Call | Map | Plan, made: Mapping[str, Any], given: Sequence[Any]
    ) -> Stood:
        if isinstance(each, Map):
            sources, fixed = fill(each.sources, made, given), fill(each.fixed, made, given)
            return self._map(name, each, sources, fixed)
        args = fill(each.args, made, given)
        if isinstance(each, Plan):
            return self._plan(name, each.block, each.options, args, None)
        seen = made[each.looks_at] if each.looks_at else None
        return self._call(name, each, each.options, args, None, seen)

    # Every task

    def _begin(
        self, name: str, options: Options, above: Iterable[Stood], act: Callable[[], Any]
    ) -> tuple[Meaning, Known | None]:
        """What a task comes to, before its children; and what was known of it, if that stands."""
        known = self._known.get(name)
        if known and (known.status in ("success", "unknown") or known.started):
            return Meaning(known.status, value=known.value), known
        above = list(above)
        bad = [stood.roots for stood in above if stood.good is False]
        if bad:
            return Meaning("skipped", roots=frozenset[str]().union(*bad)), None
        if any(stood.good is None for stood in above):
            return Meaning(""), None
        says = self._script.get(f"?{name}", ("yes",))[0] if options.asks else "yes"
        if says != "yes":
            return Meaning("skipped" if says == "no" else "failure", asked=1), None
        return self._called(name, options, act, known.attempt if known else 0), None

    def _called(self, name: str, options: Options, act: Callable[[], Any], before: int) -> Meaning:
        """Call a task as often as its policy says."""
        steps = self._script.get(name, ("ok",))
        asked = int(options.asks)
        for calls in range(1, options.retries + 2):
            step = steps[min(before + calls, len(steps)) - 1]
            if step == "ok":
                with suppress(Refused):
                    return Meaning("success", calls, asked, act())
            if step in SAID and step != "failure":
                return Meaning(step, calls, asked)
            if options.effects == "at_most_once" and step != "not_done":
                break
        return Meaning("failure", calls, asked)

    def _tell(self, name: str, meaning: Meaning, options: Options) -> Stood:
        """Note what a task came to that has no children."""
        success = meaning.status == "success"
        tolerated = meaning.status == "failure" and options.tolerated
        self.told[name] = meaning = meaning._replace(
            roots=meaning.roots or frozenset({name}),
            tolerated=tolerated,
            value=meaning.value if success else None,
        )
        good = None if meaning.status in ("", "unknown") else success or tolerated
        return Stood(good, name, meaning.value, meaning.roots)

    def _tell_grown(self, name: str, meaning: Meaning, value: Any, children: list[Stood]) -> Stood:
        """Note what a node with children came to: it joins if all of them are good."""
        goods = [stood.good for stood in children]
        good = None if None in goods else all(goods)
        filled = _filled(value) if good else None
        self.told[name] = meaning._replace(value=filled, roots=frozenset({name}))
        bad = [stood.roots for stood in children if stood.good is False]
        return Stood(good, name, filled, frozenset[str]().union(*bad), has_grown=True)

    # Each kind

    def _call(
        self,
        name: str,
        call: Call | Each | Map,
        options: Options,
        values: Any,
        fixed: Any,
        seen: Stood | None = None,
    ) -> Stood:
        def act() -> Any:
            taken = _filled(fixed) if seen is None else self._results_of(seen)
            return give(call.gives, name, (*_filled(values), taken))

        meaning, _known = self._begin(name, options, _stood([values, fixed]), act)
        return self._tell(name, meaning, options)

    def _results_of(self, node: Stood) -> list[Any]:
        """The outcomes of the children of a map, each with its data."""
        if node.children is None:
            raise Refused("it has no children")
        told = [self.told[stood.name] for _key, stood in node.children]
        return [[each.status, each.value] for each in told]

    def _plan(self, name: str, block: Block, options: Options, values: Any, fixed: Any) -> Stood:
        def act() -> Any:
            given = [*_filled(values), _filled(fixed)]
            # Read for nobody, to see whether what it writes is refused.
            _Reader({}, {}).block("", block, given)
            return given

        meaning, known = self._begin(name, options, _stood([values, fixed]), act)
        given = known.made if known else meaning.value
        if meaning.status != "success" or given is None:
            return self._tell(name, meaning, options)
        self.told[name] = meaning
        value, own = self.block(f"{name}.", block, given)
        return self._tell_grown(name, meaning._replace(made=given), value, own)

    def _map(self, name: str, mapped: Map, sources: Sequence[Any], fixed: Any) -> Stood:
        options = Options(asks=mapped.options.asks)
        _refuse_at_once(sources)
        followed = [
            type(each) is Stood and each.is_mapped and mapped.key is None for each in sources
        ]
        shapes = [each for each, follows in zip(sources, followed, strict=True) if follows]
        above = [
            _shape(stood) if any(stood is each for each in shapes) else stood
            for stood in _stood([*sources, fixed])
        ]
        meaning, known = self._begin(
            name, options, above, lambda: _elements(mapped, sources, followed)
        )
        grown = known.made if known else meaning.value
        if meaning.status != "success" or grown is None:
            stood = self._tell(name, meaning._replace(is_map=True), options)
            stood.is_mapped = mapped.block is None
            return stood
        if known:
            grown = _followed_anew(grown, sources, followed)
        self.told[name] = meaning
        children = [
            (key, self._child(child_name(name, key), mapped, values, fixed))
            for key, values in grown
        ]
        self._judge(mapped, [(child_name(name, key), stood) for key, stood in children])
        stoods = [stood for _key, stood in children]
        made = [(key, _filled(values)) for key, values in grown]
        stood = self._tell_grown(name, meaning._replace(made=made, is_map=True), stoods, stoods)
        stood.is_mapped, stood.children = mapped.block is None, children
        return stood

    def _child(self, name: str, mapped: Map, values: Any, fixed: Any) -> Stood:
        options = mapped.options._replace(asks=False)
        if mapped.block is None:
            return self._call(name, mapped, options, values, fixed)
        return self._plan(name, mapped.block, options, values, fixed)

    def _judge(self, mapped: Map, children: Sequence[tuple[str, Stood]]) -> None:
        """When all children have ended: whether their failures are within what is allowed."""
        most = mapped.max_failures
        if most is None:
            return
        failed = [
            (name, stood)
            for name, stood in children
            if self.told[name].status == "failure" and not stood.good
        ]
        if any(stood.good is None for _name, stood in children):
            for _name, stood in failed:
                stood.good = None
        elif len(failed) <= (most if isinstance(most, int) else int(most * len(children))):
            for name, stood in failed:
                stood.good = True
                self.told[name] = self.told[name]._replace(tolerated=True)


# Values


def _filled(value: Any) -> Any:
    """A value with the data of each task in its place."""
    kind = type(value)
    if kind is Stood:
        return value.value
    if kind in (list, tuple):
        return kind([_filled(element) for element in value])
    if kind is dict:
        return {key: _filled(element) for key, element in value.items()}
    return value


def _stood(value: Any) -> list[Stood]:
    """The tasks in a value."""
    if type(value) is Stood:
        return [value]
    if type(value) is dict:
        value = [*value.values()]
    return (
        [stood for element in value for stood in _stood(element)]
        if type(value) in (list, tuple)
        else []
    )


def _listed(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return value
    raise Refused(f"no list: {value!r}")


# Elements


def _refuse_at_once(sources: Sequence[Any]) -> None:
    """What is known before anything has run must be lists of one length.

    Raises:
        Refused: it is not.
    """
    at_once = [each for each in sources if type(each) is not Stood]
    if any(not isinstance(each, list | tuple | dict) for each in at_once):
        raise Refused("no list")
    if len({len(each) for each in at_once}) > 1:
        raise Refused("unequal lengths")


def _shape(source: Stood) -> Stood:
    """A mapped node as one that follows it sees it: its expansion is enough."""
    return source if source.children is None else Stood(good=True)


def _elements(
    mapped: Map, sources: Sequence[Any], followed: Sequence[bool]
) -> list[tuple[Any, tuple[Any, ...]]]:
    """The keys of a map's elements, with what each child takes of each source.

    Raises:
        Refused: they cannot be mapped.
    """
    columns = [_column(*pair) for pair in zip(sources, followed, strict=True)]
    if len({len(values) for _keys, values in columns}) > 1:
        raise Refused("unequal lengths")
    rows = list(zip(*(values for _keys, values in columns), strict=True))
    keys: list[Any] = list(range(len(rows)))
    first = [each for each, follows in zip(columns, followed, strict=True) if follows] or columns
    named = [column for column, _values in first if column is not None][:1]
    if mapped.key is not None:
        keys = [_key(mapped.key, row[0]) for row in rows]
    elif named and all(isinstance(key, str | int) for key in named[0]):
        keys = named[0]
    if len({str(key) for key in keys}) < len(keys):
        raise Refused("equal keys")
    return list(zip(keys, rows, strict=True))


def _column(source: Any, follows: bool) -> tuple[list[Any] | None, list[Any]]:
    """The keys of a source, if it has some, and its elements."""
    if follows and source.children is not None:
        return [key for key, _stood in source.children], [stood for _key, stood in source.children]
    # In a list that was written, a child takes the task that stands there itself.
    value = source.value if type(source) is Stood else source
    if isinstance(value, dict):
        return [*value], [*value.items()]
    return None, [*_listed(value)]


def _key(key: str, element: Any) -> Any:
    if ":" in key:
        return key_of(element)
    try:
        return element[key]
    except (TypeError, KeyError):
        raise Refused(f"no {key}: {element!r}") from None


def _followed_anew(
    grown: Sequence[tuple[Any, tuple[Any, ...]]], sources: Sequence[Any], followed: Sequence[bool]
) -> list[tuple[Any, tuple[Any, ...]]]:
    """The elements that a node had: by value, or the children of what it follows, or what was
    written.
    """
    columns = [
        _column(source, follows)[1] if follows or type(source) is not Stood else None
        for source, follows in zip(sources, followed, strict=True)
    ]
    return [
        (
            key,
            tuple(
                old if column is None else column[row]
                for column, old in zip(columns, values, strict=True)
            ),
        )
        for row, (key, values) in enumerate(grown)
    ]
