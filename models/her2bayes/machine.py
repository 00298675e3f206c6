"""One JSON document in place of a script's text: lines, files, estimates, findings, faults.

========================  =========================================================================
``script``, ``arguments``  what was called
``exit_code``             that of the process
``lines``                 what the script prints without ``--json``, a line each
``warnings``              what did not converge or needs a second look, and notices of the log
``files``                 paths of everything written
``estimates``             rows of estimates.csv and evidence.csv; an empty cell is null
``findings``              rows of findings.csv
``faults``                message, file, row, column, value, allowed, remedy; text is the whole line
========================  =========================================================================
"""

from __future__ import annotations

import csv
import io
import json
import logging
import math
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any

from rich.console import Console

from her2bayes.errors import Fault

_ATTENTION = ("Not converged", "Look again")


class _Notices(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(record.getMessage())


@contextmanager
def held(console: Console) -> Iterator[tuple[list[str], list[str]]]:
    """Keep stdout clean: what ``console`` prints becomes lines, what others print goes to stderr.

    Gives two lists, lines and warnings, filled when the block ends.
    """
    lines: list[str] = []
    warnings: list[str] = []
    text, notices = io.StringIO(), _Notices()
    before = console.file, console.width
    log = logging.getLogger("her2bayes")
    log.addHandler(notices)
    try:
        with _no_file_one(), redirect_stdout(sys.stderr):
            console.file, console.width = text, 10_000
            yield lines, warnings
    finally:
        log.removeHandler(notices)
        console.file, console.width = before
        lines += [line.rstrip() for line in text.getvalue().splitlines()]
        warnings += [line for line in lines if line.startswith(_ATTENTION)] + notices.texts


@contextmanager
def _no_file_one() -> Iterator[None]:
    """Send file descriptor 1 to stderr, for libraries and processes that do not ask Python."""
    try:
        one, two = sys.__stdout__.fileno(), sys.__stderr__.fileno()  # type: ignore[union-attr]
    except (AttributeError, OSError, ValueError):  # no real streams: a test, or a closed stdout
        yield
        return
    sys.__stdout__.flush()  # type: ignore[union-attr]
    kept = os.dup(one)
    os.dup2(two, one)
    try:
        yield
    finally:
        os.dup2(kept, one)
        os.close(kept)


def document(
    script: str,
    arguments: Sequence[str],
    exit_code: int,
    *,
    lines: Sequence[str] = (),
    warnings: Sequence[str] = (),
    files: Sequence[Path] = (),
    faults: Sequence[Fault] = (),
) -> str:
    """Text of the document, in ASCII, with a newline at its end."""
    content = {
        "script": script,
        "arguments": list(arguments),
        "exit_code": exit_code,
        "lines": list(lines),
        "warnings": list(warnings),
        "files": [str(path) for path in files],
        "estimates": _rows(files, ("estimates.csv", "evidence.csv")),
        "findings": _rows(files, ("findings.csv",)),
        "faults": [fault_record(fault) for fault in faults],
    }
    return json.dumps(content, allow_nan=False) + "\n"


def fault_record(fault: Fault) -> dict[str, Any]:
    """A fault by the names of its parts; what does not apply is null."""
    return {
        "message": fault.problem,
        "file": None if fault.file is None else str(fault.file),
        "row": fault.row,
        "column": fault.column,
        "value": _plain(fault.value),
        "allowed": fault.allowed,
        "remedy": fault.remedy,
        "text": str(fault),
    }


def _plain(value: object) -> object:
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value if value is None or isinstance(value, str | int | float) else str(value)


def _rows(files: Sequence[Path], names: Sequence[str]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for path in files:
        if path.name in names and path.is_file():
            with path.open(encoding="utf-8", newline="") as opened:
                found += typed(list(csv.DictReader(opened)))
    return found


def typed(rows: Sequence[dict[str, str]]) -> list[dict[str, Any]]:
    """Numbers in the columns that hold nothing else, null for empty cells."""
    names = list(rows[0]) if rows else []
    numeric = {name for name in names if _all_numbers([row[name] for row in rows])}
    return [
        {name: _number(row[name]) if name in numeric else row[name] or None for name in names}
        for row in rows
    ]


def _all_numbers(cells: Sequence[str]) -> bool:
    filled = [cell for cell in cells if cell]
    return bool(filled) and all(map(_is_number, filled))


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return "_" not in cell


def _number(cell: str) -> float | str | None:
    if not cell:
        return None
    value = float(cell)
    return value if math.isfinite(value) else cell
