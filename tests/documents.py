"""Text of the files of a report, for tests that search them."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path


def text_of(path: Path) -> str:
    """Text of a file; of a Word document that of its parts."""
    if path.suffix != ".docx":
        return path.read_text("utf-8")
    with zipfile.ZipFile(path) as parts:
        found = (parts.read(name).decode() for name in parts.namelist() if name.endswith(".xml"))
        return re.sub(r"<[^>]+>", " ", " ".join(found))
