"""The loggers of distflow: text from outside cannot forge a log record."""

from __future__ import annotations

import logging
from typing import Any

from distflow.text import visible

#: Values of these types cannot change the terminal that shows them.
_HARMLESS = (int, float, type(None))

_FORMATTER = logging.Formatter()


def get_logger(name: str) -> logging.Logger:
    """The logger of a name; its records pass :func:`distflow.text.visible`."""
    logger = logging.getLogger(name)
    if _make_visible not in logger.filters:
        logger.addFilter(_make_visible)
    return logger


def _make_visible(record: logging.LogRecord) -> bool:
    """A filter that lets every record pass. The message keeps its template, for tools that group
    by it.
    """
    if isinstance(record.msg, str):
        record.msg = visible(record.msg)
    if isinstance(record.args, tuple):
        record.args = tuple(_seen(value) for value in record.args)
    elif record.args:
        record.args = {name: _seen(value) for name, value in record.args.items()}
    if record.exc_info and not record.exc_text:
        # Formatters use this text. Its lines are indented, so none looks like a new record.
        trace = _FORMATTER.formatException(record.exc_info)
        record.exc_text = "\n".join(f"  {visible(line)}" for line in trace.split("\n"))
    return True


def _seen(value: Any) -> Any:
    return value if isinstance(value, _HARMLESS) else visible(str(value))
