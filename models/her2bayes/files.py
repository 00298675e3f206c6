"""Files for the user: written whole or not at all, remembered, tables safe for spreadsheets."""

from __future__ import annotations

import csv
import io
import math
import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from hashlib import sha256
from numbers import Integral, Real
from pathlib import Path
from typing import TYPE_CHECKING

from her2bayes.errors import BadInput, Fault

if TYPE_CHECKING:
    import pandas as pd

_paths: dict[Path, None] = {}


def note(paths: Iterable[Path]) -> None:
    """Remember files that stand complete under their final names."""
    _paths.update(dict.fromkeys(paths))


def peek() -> list[Path]:
    """Files noted since the last ``take``, in the order they were first noted."""
    return list(_paths)


def take() -> list[Path]:
    """Give what ``peek`` gives, and start anew."""
    found = peek()
    _paths.clear()
    return found


_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_RELATIONS = ("=", "<", ">")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


def csv_text(frame: pd.DataFrame) -> str:
    """Give the columns of a table, without its index, as the text of a CSV file.

    A text that starts as a formula would (``=``, ``+``, ``-``, ``@``, tab, carriage return) gets
    an apostrophe in front, which spreadsheets take for "this is text"; a text that is a number
    stays one. Missing values are empty. Numbers carry up to ten significant digits.
    """
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow([cell(name) for name in frame.columns])
    for row in frame.itertuples(index=False, name=None):
        writer.writerow([cell(value) for value in row])
    return file.getvalue()


def write_csv(frame: pd.DataFrame, path: Path) -> None:
    """Write the table as ``csv_text`` gives it, in UTF-8."""
    path.write_text(csv_text(frame), encoding="utf-8", newline="")


def cell(value: object) -> str:
    """Text of one cell."""
    if value is None or type(value).__name__ == "NAType":  # that of pandas, not imported for it
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Integral):
        return str(int(value))
    if isinstance(value, Real):
        return "" if math.isnan(float(value)) else f"{float(value):.10g}"
    text = str(value)
    if text in _RELATIONS:
        return text  # alone it is no formula, and it is a value of published_relation
    if text.startswith(_FORMULA) and not _NUMBER.fullmatch(text):
        return f"'{text}"
    return text


def publish(folder: Path, files: Mapping[str, str | bytes]) -> None:
    """Write texts (in UTF-8) and bytes under their names into ``folder``, in the order given.

    A name may lead into a folder below (``figures/one.svg``).

    Nothing is replaced before everything is written and synced; what is listed last (the record
    of the run, with the digests of the others) is renamed last, so an interrupted run can be told.
    Raises ``BadInput`` where the folder cannot be written or the disk is full.
    """
    aside: Path | None = None
    try:
        folder.mkdir(parents=True, exist_ok=True)
        aside = Path(tempfile.mkdtemp(prefix=".writing-", dir=folder))
        for name, text in files.items():
            (aside / name).parent.mkdir(parents=True, exist_ok=True)
            with (aside / name).open("wb") as file:
                file.write(text.encode() if isinstance(text, str) else text)
                file.flush()
                os.fsync(file.fileno())
        for name in files:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (aside / name).replace(folder / name)
        note(folder / name for name in files)
    except OSError as error:
        raise BadInput(
            Fault(
                f"the report cannot be written here: {error.strerror or error}",
                file=folder,
                remedy="give an output folder that can be written and has space",
            )
        ) from error
    finally:
        if aside is not None:
            shutil.rmtree(aside, ignore_errors=True)


def digests(files: Mapping[str, str | bytes]) -> dict[str, str]:
    """SHA-256 of each text, and of bytes, as it will stand on disk."""
    return {
        name: sha256(text.encode() if isinstance(text, str) else text).hexdigest()
        for name, text in files.items()
    }


def changed_files(folder: Path, recorded: Mapping[str, str]) -> list[str]:
    """Names of files that are gone or no longer have the digest recorded for them."""
    return [
        name
        for name, digest in recorded.items()
        if not (folder / name).is_file()
        or sha256((folder / name).read_bytes()).hexdigest() != digest
    ]
