"""The files of a report appear together: written aside, synced, then renamed into place."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path

from her2bayes.errors import BadInput, Fault
from her2bayes.written import note


def publish(folder: Path, files: Mapping[str, str]) -> None:
    """Write texts (UTF-8) under their names into ``folder``, in the order given.

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
            with (aside / name).open("w", encoding="utf-8", newline="") as file:
                file.write(text)
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


def digests(files: Mapping[str, str]) -> dict[str, str]:
    """SHA-256 of each text as it will stand on disk."""
    return {name: sha256(text.encode()).hexdigest() for name, text in files.items()}


def changed_files(folder: Path, recorded: Mapping[str, str]) -> list[str]:
    """Names of files that are gone or no longer have the digest recorded for them."""
    return [
        name
        for name, digest in recorded.items()
        if not (folder / name).is_file()
        or sha256((folder / name).read_bytes()).hexdigest() != digest
    ]
