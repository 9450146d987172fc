"""The names of a workflow that is being built: those of its tasks and of its sub-workflows."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Self

from distflow.core.expansion import MOST_NESTED
from distflow.errors import WorkflowInvalid


class Namespace:
    """Which names are taken, and what the names of tasks that are added now begin with.

    Args:
        said: the workflow or plan, for errors.
        prefix: what all names begin with: nothing, or the plan's name and a dot.
    """

    def __init__(self, said: str, prefix: str = "") -> None:
        self._said = said
        #: The last one is that of the innermost sub-workflow that is being built.
        self._prefixes = [prefix]
        #: Name -> what has it.
        self._taken: dict[str, str] = {}
        self._next_suffix: dict[str, int] = {}

    def copy(self) -> Self:
        """The same names, to which others are added independently."""
        copied = type(self)(self._said, self._prefixes[0])
        copied._taken.update(self._taken)  # noqa: SLF001 - it is one of its own
        return copied

    def full(self, name: str) -> str:
        """The full name of a task that is called so where tasks are added now."""
        return self._prefixes[-1] + name

    def take(self, name: str, owner: str, what: str = "task") -> None:
        """Take a full name for ``what``.

        Raises:
            WorkflowInvalid: it is taken; the error starts with ``owner``.
        """
        self.check_free(name, owner)
        self._taken[name] = what

    def check_free(self, name: str, owner: str) -> None:
        """Check that a full name is not taken.

        Raises:
            WorkflowInvalid: it is; the error starts with ``owner``.
        """
        if name in self._taken:
            raise WorkflowInvalid(
                f"{owner}: {self._said} has a {self._taken[name]} of this name already; "
                "give one of them another name"
            )

    def find_free(self, base: str) -> str:
        """The full name, or else ``name_2``, ``name_3``, …: the first that is not taken."""
        name = base
        suffix = self._next_suffix.get(base, 2)
        while name in self._taken:
            name = f"{base}_{suffix}"
            suffix += 1
        self._next_suffix[base] = suffix
        return name

    @contextmanager
    def section(self, name: str, *, chosen: bool) -> Iterator[None]:
        """Begin the names of tasks that are added in this block with ``name.``: they are those of a
        sub-workflow.

        Args:
            name: of the sub-workflow; a number makes it unique, as that of a task.
            chosen: whether the user chose it for this call: then it must be unique.

        Raises:
            WorkflowInvalid: it was chosen and is taken, or sub-workflows nest too deep.
        """
        if len(self._prefixes) > MOST_NESTED:
            raise WorkflowInvalid(
                f"workflow {name!r}: sub-workflows nest deeper than {MOST_NESTED} levels; one of "
                "them calls itself"
            )
        full = self.full(name)
        if not chosen:
            full = self.find_free(full)
        self.take(full, f"sub-workflow {full!r}", "sub-workflow")
        self._prefixes.append(f"{full}.")
        try:
            yield
        finally:
            self._prefixes.pop()
