"""What names the children of mapped tasks in tests."""

from __future__ import annotations


def first(element):
    return element[0]


def refuse(element):
    raise ValueError(f"no {element}")


def of_type(element):
    return element.code
