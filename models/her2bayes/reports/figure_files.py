"""Figures of a page as files of their own: the theme's colours filled in, one file a drawing."""

from __future__ import annotations

import re
from collections.abc import Iterable

from her2bayes.reports.section import Figure, plain_name
from her2bayes.reports.style import THEME

_FONT = "DejaVu Sans, Verdana, Arial, sans-serif"


def figure_files(figures: Iterable[Figure]) -> dict[str, str]:
    """Name -> SVG text in the light theme; a figure of several drawings gives numbered files."""
    files = {}
    for figure in figures:
        drawings = re.findall(r"<svg\b.*?</svg>", figure.svg, flags=re.DOTALL)
        for number, drawing in enumerate(drawings, 1):
            suffix = f"-{number}" if len(drawings) > 1 else ""
            files[f"figures/{plain_name(figure.id)}{suffix}.svg"] = standalone(drawing)
    return files


def standalone(drawing: str) -> str:
    """Return one inline drawing as a complete SVG file."""
    for name, day, _ in THEME.values():
        drawing = drawing.replace(f"var(--{name})", day)
    drawing = re.sub(r' (?:data-tip|aria-label|class|role|tabindex)="[^"]*"', "", drawing)
    head = f'<svg xmlns="http://www.w3.org/2000/svg" font-family="{_FONT}" '
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + drawing.replace("<svg ", head, 1) + "\n"
