"""A new study folder, filled with an invented example that the loader accepts as it stands."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from her2bayes.errors import BadInput, Fault
from her2bayes.evidence.design import DESIGN, STUDY_ID
from her2bayes.evidence.study import load_study, published_folder
from her2bayes.written import note

_ID = 'id = "my_paper"'


def skeleton_folder() -> Path:
    """Folder of the example: ``skeleton`` beside the folder of the shipped studies."""
    return published_folder().parent / "skeleton"


def write_skeleton(name: str, parent: Path) -> Path:
    """Write the example study ``parent/name`` and return its folder.

    The folder appears whole or not at all. Raises ``BadInput`` where the name is no study id,
    where the folder exists already (nothing is overwritten) or where it cannot be written.
    """
    if not STUDY_ID.fullmatch(name):
        allowed = "lower-case letters, digits, _ and -, starting with a letter or digit, up to 64"
        remedy = "choose a name such as smith2024; --out says in which folder"
        raise BadInput(Fault("not a study name", value=name[:80], allowed=allowed, remedy=remedy))
    target = parent / name
    try:
        if target.exists() or target.is_symlink():
            remedy = "choose another name, or remove that folder yourself"
            raise BadInput(Fault("exists already; nothing is overwritten", target, remedy=remedy))
        parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=parent, prefix=f".{name}-") as space:
            draft = _draft(name, Path(space))
            load_study(draft)
            draft.rename(target)
            note(sorted(target.iterdir()))
    except (OSError, ValueError) as error:  # no permission, a file in the way, a NUL byte, no space
        what = getattr(error, "strerror", None) or str(error)
        remedy = "name a folder you may write to with --out"
        raise BadInput(Fault(f"cannot be written: {what}", file=target, remedy=remedy)) from error
    return target


def _draft(name: str, space: Path) -> Path:
    draft = space / name
    shutil.copytree(skeleton_folder(), draft)
    design = draft / DESIGN
    text = design.read_text(encoding="utf-8")
    design.write_text(text.replace(_ID, f'id = "{name}"', 1), encoding="utf-8", newline="\n")
    return draft
