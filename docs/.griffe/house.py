"""What the API reference must know of this project's docstrings; see zensical.toml."""

from __future__ import annotations

import re
from typing import Any

import griffe

#: References as Sphinx writes them: of the text, the name alone is shown.
_ROLE = re.compile(r":(?:attr|class|data|exc|func|meth|mod):`~?([^`]+)`")


class House(griffe.Extension):
    """Named tuples are made by ``__new__``, and docstrings name things by Sphinx's roles."""

    def on_class_members(self, *, cls: griffe.Class, **_kwargs: Any) -> None:
        """Show the signature of ``__new__`` where there is no ``__init__``."""
        new = cls.members.get("__new__")
        if "__init__" not in cls.members and isinstance(new, griffe.Function):
            cls.members["__init__"] = new

    def on_instance(self, *, obj: griffe.Object, **_kwargs: Any) -> None:
        """Show the names that a docstring refers to as code."""
        if obj.docstring is not None:
            obj.docstring.value = _ROLE.sub(r"`\1`", obj.docstring.value)
