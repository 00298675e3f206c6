"""How the files of a folder came about: command, inputs, versions, digests, in provenance.json.

One entry a script, since ``reproduce`` and ``sensitivity`` share a folder. It is written last, so
that files whose digests it does not carry are known to be unfinished or changed. A report that
would come out as it stands is left alone: same inputs, code and settings.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from her2bayes.files import changed_files, note
from her2bayes.version import __version__, versions

if TYPE_CHECKING:
    from her2bayes.evidence.printed.study import Study
    from her2bayes.inference.sampling import Sampling

FILE = "provenance.json"
SUMMARY = "sensitivity_summary.csv"
"""What a sensitivity analysis beside a report says, which the report quotes."""
SCHEMA = 1
OUTPUTS = frozenset({"out_folder", "out_file", "kept"})
"""Parameters of scripts that name places of results: a replay puts others in their stead."""
_SHOWN = frozenset({"json", "debug", "help"})
_NAMED = frozenset({"study", "map_", "coords"})
"""Parameters that name inputs in text: a study, a column map, ARM=FILE."""
_DERIVED = frozenset({".svg", ".tex", ".typ"})
"""Drawn or set from files beside them: no record of their own."""
_DEFAULT_STUDIES = ("shi2023", "ni2025")


@dataclass(frozen=True)
class Call:
    """A script's call: its arguments without the places of results, and digests of its inputs."""

    script: str
    arguments: tuple[str, ...]
    outputs: Mapping[str, str]
    inputs: Mapping[str, str]
    values: Mapping[str, Any]

    @classmethod
    def of(cls, script: str, context: Any) -> Call:
        """Read a call from typer's context; inputs are hashed now, before anything is read."""
        arguments: list[str] = [context.info_name] if context.parent is not None else []
        outputs: dict[str, str] = {}
        for param in context.command.params:
            value = context.params.get(param.name)
            if param.name in OUTPUTS:
                outputs[param.opts[-1]] = str(value or "")
            elif param.name not in _SHOWN and value != param.get_default(context):
                arguments += _spelt(param, value)
        return cls(script, tuple(arguments), outputs, _digests(context.params), context.params)

    def write(self, files: Iterable[Path]) -> None:
        """Write the record beside ``files``, one in each folder; raises ``BadInput``."""
        from her2bayes.files import publish

        for folder, names in _by_folder(files).items():
            entry = {
                "arguments": list(self.arguments),
                "outputs": dict(self.outputs),
                "place": self._place(folder),
                # a report to share names no digest of the patients it hides
                "inputs": {} if self.values.get("suppress_below") else dict(self.inputs),
                "seed": self.values.get("seed"),
                "quick": self.values.get("quick"),
                "environment": environment(),
                "files": {name: _sha256(folder / name) for name in sorted(names)},
            }
            publish(folder, {FILE: _text(_kept(folder, names) | {self.script: entry})})

    def _place(self, folder: Path) -> str:
        """Where the folder stands below the place of the results."""
        base = Path(next(iter(self.outputs.values()), ""))
        base = base.parent if "out_file" in self.values else base
        try:
            return folder.absolute().relative_to(base.absolute()).as_posix()
        except ValueError:
            return "."


def read(folder: Path) -> dict[str, dict[str, Any]]:
    """Entries of a folder's record by script; empty where there is none that can be read."""
    try:
        record = json.loads((folder / FILE).read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    runs = record.get("runs") if isinstance(record, dict) and record.get("schema") == SCHEMA else {}
    whole = isinstance(runs, dict) and all(map(_is_entry, runs.values()))
    return dict(runs) if whole and runs else {}


def _is_entry(entry: Any) -> bool:
    kinds = {"arguments": list, "outputs": dict, "place": str, "inputs": dict,
             "environment": dict, "files": dict}  # fmt: skip
    return isinstance(entry, dict) and all(
        isinstance(entry.get(name), kind)
        and all(isinstance(part, str) for part in entry[name])
        and (kind is not dict or all(isinstance(part, str) for part in entry[name].values()))
        for name, kind in kinds.items()
    )


@cache
def environment() -> dict[str, str]:
    """What numbers may depend on besides inputs: versions, this package's text, the processor."""
    root = Path(__file__).parents[1]
    code = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        code.update(path.relative_to(root).as_posix().encode() + path.read_bytes())
    return {
        "her2bayes": __version__,
        "code": code.hexdigest(),
        **versions(),
        "system": platform.system(),
        "processor": _processor(),
    }


def input_digest(path: Path) -> str:
    """SHA-256 of a file; of a folder, of its files and of the Parquet files at any depth."""
    if not path.is_dir():
        return _sha256(path)
    own = [p for p in path.iterdir() if p.is_file() and p.name[0] != "." and p.name != FILE]
    total = hashlib.sha256()
    for file in sorted({*own, *path.rglob("*.parquet")}):
        total.update(f"{file.relative_to(path).as_posix()} {_sha256(file)}\n".encode())
    return total.hexdigest()


def named_input(text: str) -> Path | None:
    """Path of a study folder, a column map, or the file of ARM=FILE; None where there is none."""
    from her2bayes.evidence.printed.study import published_folder

    data = published_folder()
    places = (Path(text), Path(text.partition("=")[2] or text), data / text,
              data.parent / "maps" / f"{text}.toml")  # fmt: skip
    return next((place for place in places if text and os.path.exists(place)), None)


def _spelt(param: Any, value: Any) -> list[str]:
    values = value if isinstance(value, list | tuple) else [value]
    if param.param_type_name == "argument":
        return [str(item) for item in values]
    if isinstance(value, bool):
        return [param.opts[-1] if value else param.secondary_opts[-1]]
    return [part for item in values for part in (param.opts[-1], str(item))]


def _digests(values: Mapping[str, Any]) -> dict[str, str]:
    found: dict[str, Path] = {}
    for name, value in values.items():
        given = list(value) if isinstance(value, list | tuple) else [value]
        if name == "study" and value in (None, [], ()):
            given = list(_DEFAULT_STUDIES)
        for item in given if name not in OUTPUTS else []:
            if name in _NAMED and item:
                found |= {str(item): place} if (place := named_input(str(item))) else {}
            elif isinstance(item, Path):
                found[str(item)] = item
    digests = {}
    for text, path in found.items():
        try:
            digests[text] = input_digest(path)
        except OSError:  # the reader of the input says what is wrong with it, in its own words
            continue
    return digests


def _by_folder(files: Iterable[Path]) -> dict[Path, list[str]]:
    folders: dict[Path, list[str]] = {}
    for path in files:
        if path.name != FILE and path.suffix not in _DERIVED and path.is_file():
            folders.setdefault(path.parent, []).append(path.name)
    # a new study's folder is an input to be
    return {folder: names for folder, names in folders.items() if "study.toml" not in names}


def _kept(folder: Path, names: Iterable[str]) -> dict[str, Any]:
    """Entries of other scripts none of whose files has been replaced."""
    new, runs = set(names), read(folder)
    return {script: entry for script, entry in runs.items() if not new & set(entry["files"])}


def _text(runs: Mapping[str, Any]) -> str:
    return json.dumps({"schema": SCHEMA, "runs": dict(sorted(runs.items()))}, indent=1) + "\n"


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.processor()) + f", {os.cpu_count()} cores"


def basis(study: Study, folder: Path, sampling: Sampling, families: object) -> str:
    """Hash everything a study's report in ``folder`` depends on.

    Its printed evidence, the text of this package with templates and passports, library versions
    and processor, settings, and the sensitivity analysis that stands beside it.
    """
    from her2bayes.page.fit_card import passports

    package = Path(__file__).parents[1]
    kept = (".html", ".j2", ".css", ".js")
    parts: list[Any] = [study.id, study.digest, input_digest(study.folder), asdict(sampling)]
    parts += [environment(), passports(), str(families)]
    parts += [input_digest(p) for p in sorted(package.rglob("*")) if p.suffix in kept]
    beside = folder / SUMMARY
    parts.append(input_digest(beside) if beside.is_file() else "")
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()


def unchanged(
    study: Study, folder: Path, sampling: Sampling, families: object
) -> dict[str, Any] | None:
    """Record of the report in ``folder`` where it is whole and would come out the same, or None."""
    try:
        record = json.loads((folder / "run.json").read_text("utf-8"))
        files = dict(record["files"])
        same = record["basis"] == basis(study, folder, sampling, families)
        if not same or changed_files(folder, files):
            return None
    except (OSError, ValueError, KeyError, TypeError):  # no record, or one that cannot be believed
        return None
    note([*(folder / name for name in files), folder / "run.json"])
    return dict(record)
