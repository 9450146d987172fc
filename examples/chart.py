"""The chart of the standard library's report, drawn with Pillow and its built-in font."""

from __future__ import annotations

import math
from io import BytesIO
from itertools import count, takewhile
from typing import Any, NamedTuple

from PIL import Image, ImageDraw, ImageFont

WIDTH, HEIGHT = 1500, 960
MARGIN = 48
#: Where the panels begin and end, in pixels from the top.
PANEL_TOP, PANEL_BOTTOM = 190, 868

INK = "#1f2933"
FAINT = "#627282"
GRID = "#dde3e8"
PAPER = "#ffffff"

#: Ticks that an axis aims at; it gets between 4 and 8.
TICKS = 5

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


class Panel(NamedTuple):
    """One bar chart: its place, its words and its numbers."""

    left: int
    right: int
    title: str
    unit: str
    rows: list[tuple[str, int]]
    colour: str


def draw_report(report: dict[str, Any]) -> bytes:
    """The report as a PNG: the top identifiers beside the top imports."""
    image = Image.new("RGB", (WIDTH, HEIGHT), PAPER)
    draw = ImageDraw.Draw(image)
    _text(draw, (MARGIN, 64), f"The standard library of Python {report['python']}", 38)
    told = (
        f"{report['files']:,} files, {report['lines']:,} lines, "
        f"{report['identifiers']['distinct']:,} distinct identifiers; "
        f"files that do not parse: {len(report['unparsable'])}"
    )
    _text(draw, (MARGIN, 108), told, 21, FAINT)
    middle = WIDTH // 2
    for panel in (
        Panel(
            MARGIN,
            middle - MARGIN // 2,
            "Most used identifiers",
            "occurrences",
            [tuple(row) for row in report["top_identifiers"]],
            "#2f6f9f",
        ),
        Panel(
            middle + MARGIN // 2,
            WIDTH - MARGIN,
            "Most imported modules",
            "files that import it",
            [tuple(row) for row in report["top_imports"]],
            "#b8632a",
        ),
    ):
        _draw_panel(draw, panel)
    png = BytesIO()
    image.save(png, "PNG")
    return png.getvalue()


def _draw_panel(draw: ImageDraw.ImageDraw, panel: Panel) -> None:
    _text(draw, (panel.left, PANEL_TOP - 24), panel.title, 25)
    if not panel.rows:
        _text(draw, (panel.left, PANEL_TOP + 20), "none", 19, FAINT)
        return
    pitch = (PANEL_BOTTOM - PANEL_TOP) / len(panel.rows)
    size = int(min(19, pitch * 0.6))
    label_width = max(draw.textlength(name, _font(size)) for name, _ in panel.rows)
    value_width = max(draw.textlength(f"{value:,}", _font(size)) for _, value in panel.rows)
    origin = panel.left + label_width + 12
    largest = max(value for _, value in panel.rows)
    scale = (panel.right - value_width - 10 - origin) / largest
    for tick in _ticks(largest):
        x = origin + tick * scale
        draw.line((x, PANEL_TOP, x, PANEL_BOTTOM), GRID)
        _text(draw, (x, PANEL_BOTTOM + 18), f"{tick:,}", 16, FAINT, "mm")
    for number, (name, value) in enumerate(panel.rows):
        y = PANEL_TOP + pitch * (number + 0.5)
        half = min(13.0, pitch * 0.36)
        draw.rectangle((origin, y - half, origin + value * scale, y + half), panel.colour)
        _text(draw, (origin - 12, y), name, size, INK, "rm")
        after = (origin + value * scale + 8, y)
        # No grid line runs through a number.
        draw.rectangle(draw.textbbox(after, f"{value:,}", _font(size), "lm"), PAPER)
        _text(draw, after, f"{value:,}", size, INK, "lm")
    draw.line((origin, PANEL_TOP, origin, PANEL_BOTTOM), FAINT)
    centre = (origin + panel.right - value_width) / 2
    _text(draw, (centre, PANEL_BOTTOM + 48), panel.unit, 18, INK, "mm")


def _ticks(largest: int) -> list[int]:
    """Round numbers from 0 up to the largest value: steps of 1, 2 or 5 times a power of ten."""
    rough = max(1.0, largest / TICKS)
    power = 10 ** math.floor(math.log10(rough))
    step = int(next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough))
    return list(takewhile(lambda tick: tick <= largest, count(0, step)))


def _text(
    draw: ImageDraw.ImageDraw,
    at: tuple[float, float],
    words: str,
    size: int,
    colour: str = INK,
    anchor: str = "ls",
) -> None:
    draw.text(at, words, colour, _font(size), anchor)


def _font(size: int) -> Font:
    return ImageFont.load_default(size)
