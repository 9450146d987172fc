"""Random programs: maps and plans within each other, and what their tasks do."""

from __future__ import annotations

import random
from typing import Any, NamedTuple

from tests.support.meaning import Refused, read
from tests.support.programs import (
    Block,
    Call,
    Each,
    Given,
    Gives,
    Map,
    Of,
    Options,
    Plan,
    Program,
    Statement,
    Sub,
)

#: How deep plans and workflows are within each other, and of how many tasks a program is at most.
_DEEPEST, _MOST_TASKS = 2, 60

#: What is a list for a map; the rest fails there.
_LISTS = ("list", "tuple", "dict", "pairs", "records", "twins", "lists")
_KINDS = (*["text"] * 8, *["list"] * 6, "tuple", "dict", "pairs", "records", "lists", "number")
_SIZES = (0, 1, 1, 2, 2, 3, 4)
_STEPS = (*["ok"] * 5, *["raise"] * 4, "failure", "not_done")
_SAID = ("skipped", "cancelled", "unknown")
_KEY = "tests.support.behaviour:key_of"


class _Seen(NamedTuple):
    """A value that a statement may take: how it is written, of what kind it is, and its size."""

    value: Any
    kind: str = "text"
    size: int = 0


class _Drawing:
    def __init__(self, chance: random.Random) -> None:
        self.chance = chance

    def block(self, depth: int, given: list[_Seen], most: int = 5, *, real: bool = True) -> Block:
        """Up to so many statements. What a plan was given is real, what a workflow was may stand
        for a task.
        """
        chance = self.chance
        seen = [*given]
        statements: list[Statement] = []
        for number in range(chance.randint(1, most)):
            drawn, stands = self._statement(f"t{number}", depth, seen, real=real)
            statements.append(drawn)
            seen.append(stands)
        returned = self._returned([each.value for each in seen])
        return Block(tuple(statements), returned)

    def _returned(self, values: list[Any]) -> Any:
        chance = self.chance
        return chance.choice(
            [
                None,
                values[-1],
                chance.choice(values),
                [*chance.choices(values, k=2), 7],
                {"a": chance.choice(values)},
                (values[-1],),
            ]
        )

    def _statement(
        self, name: str, depth: int, seen: list[_Seen], *, real: bool
    ) -> tuple[Statement, _Seen]:
        chance = self.chance
        kind = chance.random()
        if kind < 0.35:
            return self._map(name, depth, seen)
        if kind < 0.5 and depth < _DEEPEST:
            args = tuple(
                chance.choices(seen, k=chance.randint(0, min(2, len(seen)))) if seen else ()
            )
            inner = [each._replace(value=Given(at)) for at, each in enumerate(args)]
            block = self.block(depth + 1, inner, 3)
            taken = tuple(each.value for each in args)
            return Plan(name, block, taken, self._options(plan=True)), _Seen(Of(name), "any")
        if kind < 0.58 and depth < _DEEPEST:
            args = tuple(
                chance.choices(seen, k=chance.randint(0, min(2, len(seen)))) if seen else ()
            )
            inner = [each._replace(value=Given(at)) for at, each in enumerate(args)]
            block = self.block(depth + 1, inner, 3, real=False)
            return Sub(name, block, tuple(each.value for each in args)), _Seen(Of(name), "any")
        lists = [
            each for each in seen if type(each.value) is Given and each.kind in ("list", "lists")
        ]
        gives = Gives(chance.choice(_KINDS), chance.choice(_SIZES))
        if lists and real and depth and kind < 0.75:
            return Each(name, chance.choice(lists).value, gives, self._options()), _Seen(
                Of(name), "any"
            )
        args = tuple(self._argument(seen) for _ in range(chance.choice((0, 1, 1, 2))))
        maps = [each.value for each in seen if type(each.value) is Of and each.kind == "map"]
        if maps and chance.random() < 0.25:
            looked_at = chance.choice(maps)
            call = Call(name, (looked_at, *args), gives, self._options(), looked_at.name)
            return call, _Seen(Of(name), gives.kind, gives.size)
        return Call(name, args, gives, self._options()), _Seen(Of(name), gives.kind, gives.size)

    def _argument(self, seen: list[_Seen]) -> Any:
        chance = self.chance
        if not seen or chance.random() < 0.2:
            return chance.choice([1, "x", None, [1, "y"]])
        value = chance.choice(seen).value
        return chance.choice([value, value, [value, 1], {"a": value}, (value,)])

    def _map(self, name: str, depth: int, seen: list[_Seen]) -> tuple[Map, _Seen]:
        chance = self.chance
        first = self._source(seen)
        sources = [first]
        if chance.random() < 0.3:
            even = [
                each
                for each in seen
                if each.size == first.size and each.kind in ("map", "refs", *_LISTS)
            ]
            sources.append(chance.choice(even) if even else self._literal(first.size))
            if chance.random() < 0.05:
                sources[1] = self._source(seen)
        key = None
        if len(sources) == 1 and first.kind in ("records", "twins") and chance.random() < 0.6:
            key = "id"
        elif len(sources) == 1 and first.kind != "refs" and chance.random() < 0.15:
            key = _KEY
        block = None
        if depth < _DEEPEST and chance.random() < 0.3:
            element = "list" if first.kind == "lists" else "text"
            inner = [_Seen(Given(at), element, 2) for at in range(len(sources))]
            block = self.block(depth + 1, inner, 3)
        most = chance.choice([None, None, None, None, 0, 1, 2, 0.5, 0.34])
        options = self._options(plan=block is not None, once=key is not None)
        gives = Gives(chance.choice(["text", "text", "list"]), chance.choice((1, 2)))
        fixed = self._argument(seen) if chance.random() < 0.3 else None
        values = tuple(each.value for each in sources)
        mapped = Map(name, values, fixed, gives, block, key, most, options)
        return mapped, _Seen(Of(name), "list" if block else "map", first.size)

    def _source(self, seen: list[_Seen]) -> _Seen:
        chance = self.chance
        mapped = [each for each in seen if each.kind == "map"]
        lists = [each for each in seen if each.kind in _LISTS]
        kind = chance.random()
        if mapped and kind < 0.45:
            return chance.choice(mapped)
        if lists and kind < 0.85:
            return chance.choice(lists)
        wrong = [
            each for each in seen if type(each.value) is Of and each.kind in ("text", "number")
        ]
        if wrong and kind > 0.96:
            return chance.choice(wrong)
        if seen and kind > 0.9:
            values = [each.value for each in chance.choices(seen, k=chance.randint(1, 3))]
            return _Seen(values, "refs", len(values))
        return self._literal(chance.choice(_SIZES))

    def _literal(self, size: int) -> _Seen:
        chance = self.chance
        values = [f"v{position}" for position in range(size)]
        drawn = chance.choice(
            [
                values,
                tuple(values),
                {f"K{at}.": each for at, each in enumerate(values)},
                {at * 3: each for at, each in enumerate(values)},
            ]
        )
        return _Seen(drawn, "list", size)

    def _options(self, *, plan: bool = False, once: bool = True) -> Options:
        chance = self.chance
        return Options(
            retries=chance.choice((0, 0, 0, 1, 2)),
            tolerated=chance.random() < 0.15,
            effects="normal"
            if plan
            else chance.choice(
                ("normal", "normal", "idempotent", "at_most_once" if once else "idempotent")
            ),
            asks=chance.random() < 0.15,
        )


def draw_program(chance: random.Random, prefix: str = "", *, unknown: bool = True) -> Program:
    """A random program, as one of several or alone.

    Args:
        chance: what it is drawn from.
        prefix: what the names of all of its tasks will begin with.
        unknown: whether tasks may say that they are unknown.
    """
    while True:
        block = _Drawing(chance).block(0, [])
        whole = Block((Sub(prefix[:-1], block),)) if prefix else block
        try:
            names = read(Program(whole, {})).tasks
        except Refused:
            continue
        if len(names) <= _MOST_TASKS:
            break
    said = _SAID if unknown else _SAID[:2]
    script: dict[str, tuple[str, ...]] = {}
    rate = chance.choice((0.0, 0.1, 0.1, 0.3))
    for name, meaning in names.items():
        # The function of a map does what it always does.
        if not meaning.is_map and chance.random() < rate:
            script[name] = tuple(chance.choices((*_STEPS, *said), k=chance.randint(1, 3)))
        if chance.random() < rate:
            script[f"?{name}"] = (chance.choice(("yes", "yes", "no", "raise")),)
    return Program(block, script)
