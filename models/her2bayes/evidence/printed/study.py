"""A folder of printed evidence becomes a checked ``Study``; a new folder begins as an example."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from her2bayes.errors import BadInput, Fault, raise_if, suggestion
from her2bayes.evidence.printed.csv_rows import Rows, check_cells, read_rows
from her2bayes.evidence.printed.design import (
    DESIGN,
    STUDY_ID,
    Design,
    Factor,
    headline_faults,
    read_design,
)
from her2bayes.evidence.printed.ledger import check_ledger, remarks
from her2bayes.evidence.printed.schema import LEDGER, MAX_FAULTS, TABLES
from her2bayes.evidence.printed.tables import FILE as CONCLUSIONS
from her2bayes.evidence.printed.tables import Conclusion, check_table, choice_faults, conclusions_of
from her2bayes.evidence.printed.vocabulary import STATUS, Vocabulary
from her2bayes.files import note

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

    from her2bayes.evidence.printed.frames import Bounded


__all__ = [
    "Factor", "Printed", "Study", "load_study", "published_folder", "studies", "study_folder",
]  # fmt: skip

EXTERNAL = "external.csv"
_OUTPUTS = ("evidence.csv", "findings.csv", "key_results.csv")


@dataclass(frozen=True, repr=False)
class Printed:
    """Printed numbers that an evidence table is made for: of a study, a part of it, or none.

    ``ledger`` has the columns of ``Study.ledger``, one row a printed number.
    """

    id: str
    ledger: pd.DataFrame

    @classmethod
    def nothing(cls, name: str) -> Printed:
        """No printed numbers: the evidence of an analysis without a paper, called ``name``."""
        from her2bayes.evidence.printed.frames import ledger_frame, table_frame

        return cls(name, ledger_frame(table_frame((), TABLES[LEDGER])))

    def only(self, claims: Collection[str]) -> Printed:
        """Those of the printed numbers with these ids."""
        return Printed(self.id, self.ledger[self.ledger["claim_id"].isin(claims)])


@dataclass(frozen=True, repr=False)
class Study(Printed):
    """Everything one publication prints, as tables of checked rows; ``print`` it for an overview.

    ``ledger`` holds the columns of ``estimates.csv`` as printed text, except ``numerator``,
    ``denominator`` and ``decimals`` (nullable integers), and beside them the parsed floats
    ``value_number``, ``lower_number``, ``upper_number``, ``p_number`` (NaN where empty) and
    ``p_relation`` (``=``, ``<``, ``>`` or empty). Tables a study does not have are empty frames.
    ``remarks`` are oddities of the print worth a look; ``digest`` identifies the content.
    ``bounded`` are rows of the tables that print a bound, ``<11``, where a count could stand: the
    audit uses them, and no model does.
    """

    title: str
    folder: Path
    meta: dict[str, Any]
    factors: dict[str, Factor]
    tables: dict[str, pd.DataFrame]
    remarks: tuple[Fault, ...]
    digest: str
    bounded: tuple[Bounded, ...] = ()

    def __str__(self) -> str:
        """Title, what is printed by table, what is remarkable about the print."""
        rows = {name.removesuffix(".csv"): len(rows) for name, rows in self.tables.items()}
        printed = ", ".join(f"{name} {n}" for name, n in rows.items() if n)
        lines = [f"{self.id}: {self.title}", f"Printed rows: {printed}"]
        lines.append(f"Factors: {', '.join(self.factors)}")
        lines += [f"Remark: {remark}" for remark in self.remarks[:4]]
        more = len(self.remarks) - 4
        return "\n".join([*lines, *([f"and {more} remarks more"] if more > 0 else [])])

    def __repr__(self) -> str:
        """One line."""
        return f"<Study {self.id}: {len(self.ledger)} printed numbers>"

    @property
    def transition_facts(self) -> pd.DataFrame:
        """Facts about the table of primary against recurrence; ``value`` is an integer."""
        return self.tables["transition_facts.csv"]

    @property
    def survival(self) -> pd.DataFrame:
        """Patients, events (nullable integers) and medians (floats) by endpoint and group."""
        return self.tables["survival.csv"]

    @property
    def responses(self) -> pd.DataFrame:
        """Counts of patients by group and response category."""
        return self.tables["responses.csv"]

    @property
    def adverse_events(self) -> pd.DataFrame:
        """Counts of patients by adverse event and severity.

        An event whose count of any severity is only bounded is left out at every severity.
        """
        rows = self.tables["adverse_events.csv"]
        without = {
            one.cells["event"]
            for one in self.bounded
            if one.file == "adverse_events.csv" and one.cells["severity"] == "any"
        }
        return rows[~rows["event"].isin(without)] if without else rows

    @property
    def external(self) -> pd.DataFrame:
        """Estimates of other studies that this one quotes."""
        return self.tables[EXTERNAL]

    @property
    def conclusions(self) -> tuple[Conclusion, ...]:
        """Conclusions the paper draws, as statements on estimands."""
        return conclusions_of(self.tables[CONCLUSIONS].to_dict("records"))

    @property
    def headline(self) -> dict[str, str]:
        """Rows of the ledger the paper is known for: claim id -> the quantity in words."""
        return {str(claim): str(words) for claim, words in self.meta.get("headline", {}).items()}

    @property
    def words(self) -> Vocabulary:
        """Names the study declares, against which estimands are checked."""
        events = self.adverse_events
        return Vocabulary(
            Design(
                self.meta,
                self.factors,
                self.meta.get("measures", {}),
                self.meta.get("endpoints", {}),
            ),
            tuple(dict.fromkeys(events["event"])),
            tuple(dict.fromkeys(events["severity"])),
        )

    def status_counts(self) -> dict[str, xr.DataArray]:
        """HER2 counts: factor name (empty = all patients) -> int64 array (subgroup, her2).

        Coordinates ``factor``, ``level`` and ``parent`` (level of the parent factor, empty where
        the factor is not nested) lie on ``subgroup``. A table with a count that is only bounded is
        left out whole.
        """
        import numpy as np
        import xarray as xr

        arrays = {}
        bounded = {x.cells["factor"] for x in self.bounded if x.file == "status_counts.csv"}
        for name, rows in self.tables["status_counts.csv"].groupby("factor", sort=False):
            if name in bounded:
                continue
            levels = list(dict.fromkeys(rows["level"]))
            classes = [x for x in self.factors[STATUS].names if x in set(rows["her2"])]
            cells = rows.set_index(["level", "her2"])["count"]
            grid = cells.loc[[(level, x) for level in levels for x in classes]]
            within = self.factors[str(name)].within if name else {}
            arrays[str(name)] = xr.DataArray(
                grid.to_numpy(dtype=np.int64).reshape(len(levels), len(classes)),
                dims=("subgroup", "her2"),
                coords={
                    "subgroup": [level or "all" for level in levels],
                    "her2": classes,
                    "factor": ("subgroup", [str(name)] * len(levels)),
                    "level": ("subgroup", levels),
                    "parent": ("subgroup", [within.get(level, "") for level in levels]),
                },
                name="status_counts",
            )
        return arrays


def published_folder() -> Path:
    """Folder of the shipped studies: the checkout's ``data/published``, else the wheel's copy."""
    package = Path(__file__).resolve().parents[2]
    checkout = package.parents[1] / "data" / "published"
    return checkout if checkout.is_dir() else package / "_data" / "published"


def study_folder(name: str) -> Path:
    """Folder of a shipped study by its id, else ``name`` read as a path to a study folder.

    Raises ``BadInput`` where neither exists.
    """
    shipped = sorted(file.parent for file in published_folder().glob(f"*/{DESIGN}"))
    for folder in shipped:
        if folder.name == name:
            return folder
    _check_folder(Path(name), [folder.name for folder in shipped])
    return Path(name)


def load_study(name_or_path: str | Path) -> Study:
    """Read and check a study: one that is shipped, by name, or a folder (see data/README.md).

    Nothing is repaired or guessed. Counts are numbers of patients, times in the unit the study
    declares, percentages in per cent as printed. Raises ``BadInput`` with every fault of every
    file: file, row (the header is row 1), column, value, what is allowed and the remedy.

    >>> paper = load_study("shi2023")
    >>> paper
    <Study shi2023: 230 printed numbers>
    >>> paper.status_counts()["hr_status"].sel(subgroup="positive").values
    array([23, 92, 20])
    """
    path = study_folder(name_or_path) if isinstance(name_or_path, str) else name_or_path
    _check_folder(path, [])
    design, faults = read_design(path)
    faults += _file_faults(path)
    files = {
        name: read_rows(path / name, [column.name for column in columns])
        for name, columns in TABLES.items()
        if name == LEDGER or (path / name).exists()
    }
    words = _vocabulary(design, files) if design else None
    ledger = files[LEDGER]
    # where the ledger itself is unreadable, ids missing from it are no news
    claims = None if ledger.faults else {row["claim_id"] for row in ledger.rows}
    for name, read in files.items():
        faults += _shortened(_faults(name, read, words, claims), path / name)
    if design and claims is not None:
        faults += headline_faults(
            design, path, {row["claim_id"]: row["statistic"] for row in ledger.rows}
        )
    faults += choice_faults(path, words, claims)
    raise_if(faults)
    assert design is not None  # without a design there is at least one fault
    return _study(path, design, files)


def load_studies(names: Sequence[str]) -> list[Study]:
    """Load shipped studies by name and others by their folder; all faults are raised together."""
    studies: list[Study] = []
    faults: list[Fault] = []
    for name in dict.fromkeys(names):
        try:
            studies.append(load_study(study_folder(name)))
        except BadInput as bad:
            faults += bad.faults
    doubled = {s.id for s in studies if sum(s.id == other.id for other in studies) > 1}
    faults += [
        Fault("two studies have the same id", value=name, remedy="give each its own id")
        for name in sorted(doubled)
    ]
    raise_if(faults)
    return studies


def studies(folder: str | Path | None = None) -> pd.DataFrame:
    """List the published studies, or those in the folders below ``folder``: one row each.

    ``status_counts`` names the factors with their rows (``all``: all patients); the next columns
    are numbers of rows of the study's other tables, ``printed_numbers`` those of its ledger. What a
    study does not say is empty. Raises ``BadInput`` with the faults of all studies.

    >>> library = studies()
    >>> library.loc[library["id"] == "shi2023", ["patients", "setting", "years"]].values
    array([[247, 'metastatic', '2009-2018']], dtype=object)
    """
    import pandas as pd

    place = published_folder() if folder is None else Path(folder)
    _check_folder(place, [])
    found = sorted(file.parent for file in place.glob(f"*/{DESIGN}"))
    if not found:
        remedy = "name the folder above the study folders"
        raise BadInput(Fault("no study in this folder", file=place, remedy=remedy))
    return pd.DataFrame([_listed(study) for study in load_studies([str(one) for one in found])])


def _listed(study: Study) -> dict[str, Any]:
    """Row of a study in the list."""
    counts = study.tables["status_counts.csv"]["factor"].value_counts(sort=False)
    tables = ("transition_facts", "survival", "responses", "adverse_events")
    return {
        "id": study.id,
        "patients": int(study.meta["patients"]),
        **{name: str(study.meta.get(name, "")) for name in ("setting", "pairs")},
        "years": "-".join(map(str, dict.fromkeys(study.meta.get("years", ())))),
        "status_counts": ", ".join(f"{name or 'all'} {n}" for name, n in counts.items()),
        **{name: len(study.tables[f"{name}.csv"]) for name in tables},
        "printed_numbers": len(study.ledger),
        "citation": str(study.meta["citation"]),
    }


def _check_folder(path: Path, shipped: Sequence[str]) -> None:
    try:
        if path.is_dir():
            return
        exists = path.exists()
    except (OSError, ValueError) as error:  # NUL bytes and names longer than the system takes
        remedy = "name a study folder"
        raise BadInput(
            Fault(f"not a path: {error}", value=str(path)[:80], remedy=remedy)
        ) from error
    if exists:
        remedy = f"name the folder that holds {DESIGN} and {LEDGER}"
        raise BadInput(Fault("a file where a study folder should be", file=path, remedy=remedy))
    allowed = f"{', '.join(shipped)} or the path of a folder" if shipped else None
    remedy = "correct the path, or write a new study with: bash scripts/run new_study NAME"
    raise BadInput(
        Fault("no such study folder", None, None, None, str(path)[:200], allowed, remedy)
    )


def _file_faults(path: Path) -> list[Fault]:
    """CSV files that the format does not know, which are most likely misspelt."""
    known = (*TABLES, *_OUTPUTS)
    return [
        Fault("no such file in the format", file, allowed=", ".join(TABLES), remedy=remedy)
        for file in sorted(path.glob("*.csv"))
        if file.name not in known
        for remedy in (f"{suggestion(file.name, TABLES)} Else move it out of the folder",)
    ]


def _vocabulary(design: Design, files: dict[str, Rows]) -> Vocabulary:
    events = files["adverse_events.csv"].rows if "adverse_events.csv" in files else ()
    return Vocabulary(
        design,
        tuple(dict.fromkeys(row["event"] for row in events)),
        tuple(dict.fromkeys(row["severity"] for row in events)),
    )


def _faults(
    name: str, read: Rows, words: Vocabulary | None, claims: set[str] | None
) -> list[Fault]:
    columns = TABLES[name]
    faults = [*read.faults, *check_cells(read.file, read.rows, columns, read.columns)]
    missing = {column.name for column in columns} - read.columns
    if name in (LEDGER, EXTERNAL):
        names = words if name == LEDGER else None
        faults += check_ledger(read.file, read.rows, names, missing)
    else:
        told = check_table(name, read.file, read.rows, words, claims)
        faults += [fault for fault in told if fault.column not in missing]
    if name == LEDGER and not read.rows and not read.faults:
        remedy = "write one row for each printed number"
        faults.append(Fault("no rows below the header", file=read.file, remedy=remedy))
    return faults


def _shortened(faults: list[Fault], file: Path) -> list[Fault]:
    faults = sorted(dict.fromkeys(faults), key=lambda fault: fault.row or 0)
    if len(faults) <= MAX_FAULTS:
        return faults
    rest = Fault(
        f"and {len(faults) - MAX_FAULTS} more faults", file=file, remedy="mend these first"
    )
    return [*faults[:MAX_FAULTS], rest]


def _study(path: Path, design: Design, files: dict[str, Rows]) -> Study:
    from her2bayes.evidence.printed.frames import bounded_rows, ledger_frame, table_frame

    tables = {
        name: table_frame(files[name].rows if name in files else (), columns)
        for name, columns in TABLES.items()
    }
    for name in (LEDGER, EXTERNAL):
        tables[name] = ledger_frame(tables[name])
    bounded = tuple(
        bound
        for name, columns in TABLES.items()
        if name in files and name not in (LEDGER, EXTERNAL)
        for bound in bounded_rows(name, files[name].rows, columns)
    )
    return Study(
        id=design.meta["id"],
        ledger=tables[LEDGER],
        title=design.meta["title"],
        folder=path,
        meta=design.meta,
        factors=design.factors,
        tables=tables,
        remarks=(
            *_uncited(path, design),
            *remarks(files[LEDGER].file, files[LEDGER].rows),
            *map(_bound_remark, bounded),
        ),
        digest=_digest(path, files),
        bounded=bounded,
    )


def _uncited(path: Path, design: Design) -> Iterator[Fault]:
    if not design.meta["citation"].strip():
        remedy = "name the paper, so that others find the printed numbers"
        yield Fault("no citation", path / DESIGN, column="citation", remedy=remedy)


def _bound_remark(bound: Bounded) -> Fault:
    span = bound.span
    shown = f"{span.low} to {span.high}" if span.high is not None else f"{span.low} or more"
    problem = f"a bound, not a count: the audit takes it as {shown}, no model uses it"
    return Fault(problem, bound.file, bound.row, bound.column, bound.printed)


def _digest(path: Path, files: dict[str, Rows]) -> str:
    """SHA-256 of names and bytes of all files of the study."""
    digest = hashlib.sha256()
    for name in (DESIGN, *files):
        content = (path / name).read_bytes()
        digest.update(f"{name} {len(content)}\n".encode() + content)
    return digest.hexdigest()


_ID = 'id = "my_paper"'


def skeleton_folder() -> Path:
    """Folder of the example: ``skeleton`` beside the folder of the shipped studies."""
    return published_folder().parent / "skeleton"


def write_skeleton(name: str, parent: Path, files: Mapping[str, str] | None = None) -> Path:
    """Write the example study, or ``files`` (name -> text), as ``parent/name``; return the folder.

    The folder appears whole or not at all. Raises ``BadInput`` where the name is no study id,
    where the folder exists already (nothing is overwritten), where it cannot be written or where
    the files are no study.
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
            draft = _draft(name, Path(space), files)
            load_study(draft)
            draft.rename(target)
            note(sorted(target.iterdir()))
    except (OSError, ValueError) as error:  # no permission, a file in the way, a NUL byte, no space
        what = getattr(error, "strerror", None) or str(error)
        remedy = "name a folder you may write to with --out"
        raise BadInput(Fault(f"cannot be written: {what}", file=target, remedy=remedy)) from error
    return target


def _draft(name: str, space: Path, files: Mapping[str, str] | None) -> Path:
    draft = space / name
    if files is not None:
        draft.mkdir()
        for file, text in files.items():
            (draft / file).write_text(text, encoding="utf-8", newline="\n")
        return draft
    shutil.copytree(skeleton_folder(), draft)
    design = draft / DESIGN
    text = design.read_text(encoding="utf-8")
    design.write_text(text.replace(_ID, f'id = "{name}"', 1), encoding="utf-8", newline="\n")
    return draft
