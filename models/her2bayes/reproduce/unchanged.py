"""A report that would come out as it stands is left alone: same inputs, code and settings."""

from __future__ import annotations

import json
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import her2bayes
from her2bayes.files import changed_files, note
from her2bayes.page.conclusions import SUMMARY
from her2bayes.page.passport import passports
from her2bayes.page.report import RECORD
from her2bayes.reproduce.provenance import environment, input_digest

if TYPE_CHECKING:
    from her2bayes.evidence.printed.study import Study
    from her2bayes.inference.sampling import Sampling


def basis(study: Study, folder: Path, sampling: Sampling, families: object) -> str:
    """Hash everything a study's report in ``folder`` depends on.

    Its printed evidence, the text of this package with templates and passports, library versions
    and processor, settings, and the sensitivity analysis that stands beside it.
    """
    package = Path(her2bayes.__file__).parent
    kept = (".html", ".j2", ".css", ".js")
    parts: list[Any] = [study.id, study.digest, input_digest(study.folder), asdict(sampling)]
    parts += [environment(), passports(), str(families)]
    parts += [input_digest(p) for p in sorted(package.rglob("*")) if p.suffix in kept]
    beside = folder / SUMMARY
    parts.append(input_digest(beside) if beside.is_file() else "")
    return sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()


def unchanged(
    study: Study, folder: Path, sampling: Sampling, families: object
) -> dict[str, Any] | None:
    """Record of the report in ``folder`` where it is whole and would come out the same, or None."""
    try:
        record = json.loads((folder / RECORD).read_text("utf-8"))
        files = dict(record["files"])
        same = record["basis"] == basis(study, folder, sampling, families)
        if not same or changed_files(folder, files):
            return None
    except (OSError, ValueError, KeyError, TypeError):  # no record, or one that cannot be believed
        return None
    note([*(folder / name for name in files), folder / RECORD])
    return dict(record)
