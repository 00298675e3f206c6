"""Commas in numbers, decided by the whole column: decimal signs, thousands, or two readings.

``12,5`` and ``0,123`` can only be decimals, ``1,234,567`` and ``1,234.5`` only thousands; ``1,234``
can be either. A column is read with decimal commas where at least one cell says so and none speaks
against it. Where every comma can be read in two ways, or cells contradict each other, the column is
refused: a guess might change a number a thousandfold.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from her2bayes.errors import Fault

_NUMBER = re.compile(r"[+-]?(\d[\d.,]*|[.,]\d+)([eE][+-]?\d+)?%?")
_EITHER = re.compile(r"[+-]?[1-9]\d{0,2},\d{3}")
_DECIMAL = re.compile(r"[+-]?(\d*|\d{1,3}(\.\d{3})+),\d+([eE][+-]?\d+)?")


def is_number(text: str) -> bool:
    """Say whether a cell looks like a number, with decimal point or comma."""
    return bool(_NUMBER.fullmatch(text.strip()))


def with_point(text: str) -> str:
    """A number written with a decimal comma, with a decimal point: ``1.234,5`` is ``1234.5``."""
    return text.replace(".", "").replace(",", ".") if "," in text else text


def decimal_fault(
    cells: Sequence[str], rows: Sequence[int], file: Path, column: str
) -> Fault | None:
    """What speaks against reading the commas of a column as decimal signs; None where nothing does.

    ``cells`` are those that look like numbers with a comma or a point, ``rows`` their lines.
    """
    commas = [k for k, cell in enumerate(cells) if "," in cell]
    against = next((k for k in commas if not _DECIMAL.fullmatch(cells[k])), None)
    points = next((k for k, cell in enumerate(cells) if "," not in cell and "." in cell), None)
    if against is not None:
        return Fault(
            "thousands are set off by commas", file, rows[against], column, cells[against],
            "digits without separators, a decimal point or comma",
            "write the numbers of this column without separators of thousands",
        )  # fmt: skip
    if points is not None:
        return Fault(
            "points and commas in the numbers of one column", file, rows[points], column,
            f"{cells[points]} here, {cells[commas[0]]} in row {rows[commas[0]]}",
            "one decimal sign in a column", "write all numbers of this column alike",
        )  # fmt: skip
    if all(_EITHER.fullmatch(cells[k]) for k in commas):
        first = cells[commas[0]]
        return Fault(
            f"two readings: {with_point(first)} or {first.replace(',', '')}",
            file, rows[commas[0]], column, first, "a number that can be read in one way only",
            "write the column with a decimal point, or without separators of thousands",
        )  # fmt: skip
    return None
