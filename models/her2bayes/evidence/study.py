"""A folder of printed evidence becomes a checked ``Study``."""

from __future__ import annotations

import hashlib
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from her2bayes.evidence.schema import LEDGER, TABLES

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr


@dataclass(frozen=True)
class Factor:
    """A characteristic of patients and the levels a table prints for it.

    ``parent`` and ``within`` (level -> level of the parent) describe nesting, ``unknown`` the
    levels outside the tables, ``groups`` named unions of levels.
    """

    name: str
    label: str
    levels: tuple[str, ...]
    parent: str = ""
    within: dict[str, str] = field(default_factory=dict)
    unknown: tuple[str, ...] = ()
    groups: dict[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class Study:
    """Everything one publication prints, as tables of checked rows.

    ``ledger`` holds the columns of ``estimates.csv`` as text exactly as in the file, except
    ``numerator``, ``denominator`` and ``decimals`` (nullable integers), and beside them the parsed
    floats ``value_number``, ``lower_number``, ``upper_number``, ``p_number`` (NaN where empty) and
    ``p_relation`` (``=``, ``<``, ``>`` or empty). Tables a study does not have are empty frames.
    """

    id: str
    title: str
    folder: Path
    meta: dict[str, Any]
    factors: dict[str, Factor]
    ledger: pd.DataFrame
    tables: dict[str, pd.DataFrame]
    digest: str

    @property
    def transition_facts(self) -> pd.DataFrame:
        """Facts about the table of primary against recurrence; ``value`` is an integer."""
        return self.tables["transition_facts.csv"]

    @property
    def survival(self) -> pd.DataFrame:
        """Patients, events (nullable integers) and medians by group; unit in ``meta``."""
        return self.tables["survival.csv"]

    @property
    def responses(self) -> pd.DataFrame:
        """Counts of patients by group and response category."""
        return self.tables["responses.csv"]

    @property
    def adverse_events(self) -> pd.DataFrame:
        """Counts of patients by adverse event and severity."""
        return self.tables["adverse_events.csv"]

    @property
    def external(self) -> pd.DataFrame:
        """Estimates of other studies that this one quotes."""
        return self.tables["external.csv"]

    def status_counts(self) -> dict[str, xr.DataArray]:
        """HER2 counts: factor name (empty = all patients) -> int64 array (subgroup, her2).

        Coordinates ``factor``, ``level`` and ``parent`` (level of the parent factor, empty where
        the factor is not nested) lie on ``subgroup``.
        """
        import numpy as np
        import xarray as xr

        frame = self.tables["status_counts.csv"]
        arrays = {}
        for name, rows in frame.groupby("factor", sort=False):
            known = self.factors.get(str(name))
            levels = list(dict.fromkeys(rows["level"]))
            her2 = [x for x in self.factors["her2"].levels if x in set(rows["her2"])]
            cells = rows.set_index(["level", "her2"])["count"]
            counts = np.array([[cells[level, x] for x in her2] for level in levels], dtype=np.int64)
            within = known.within if known else {}
            arrays[str(name)] = xr.DataArray(
                counts,
                dims=("subgroup", "her2"),
                coords={
                    "subgroup": [level or "all" for level in levels],
                    "her2": her2,
                    "factor": ("subgroup", [str(name)] * len(levels)),
                    "level": ("subgroup", levels),
                    "parent": ("subgroup", [within.get(level, "") for level in levels]),
                },
                name="status_counts",
            )
        return arrays


def published_folder() -> Path:
    """Folder of the shipped studies: the checkout's ``data/published``, else the wheel's copy."""
    package = Path(__file__).resolve().parents[1]
    checkout = package.parents[1] / "data" / "published"
    return checkout if checkout.is_dir() else package / "_data" / "published"


def load_study(path: Path) -> Study:
    """Read and check a study folder; ``BadInput`` holds every fault found."""
    import pandas as pd

    meta = tomllib.loads((path / "study.toml").read_text(encoding="utf-8"))
    factors = {name: _factor(name, given) for name, given in meta["factors"].items()}
    tables = {}
    digest = hashlib.sha256()
    for name, columns in TABLES.items():
        file = path / name
        if file.exists():
            digest.update(file.read_bytes())
            frame = pd.read_csv(file, dtype=str, keep_default_na=False)
        else:
            frame = pd.DataFrame({column: pd.Series(dtype=str) for column in columns})
        for column in ("count", "patients", "events", "numerator", "denominator", "decimals"):
            if column in frame:
                frame[column] = pd.to_numeric(frame[column].replace("", None)).astype("Int64")
        tables[name] = frame
    facts = tables["transition_facts.csv"]
    facts["value"] = facts["value"].astype("int64")
    ledger = tables[LEDGER]
    for column in ("value", "lower", "upper"):
        ledger[f"{column}_number"] = pd.to_numeric(ledger[column].replace("", None)).astype(float)
    ledger["p_number"] = pd.to_numeric(
        ledger["p_value"].str.lstrip("<>=").replace("", None)
    ).astype(float)
    relation = ledger["p_value"].str.extract(r"^([<>])", expand=False).fillna("=")
    ledger["p_relation"] = relation.where(ledger["p_value"] != "", "")
    return Study(meta["id"], meta["title"], path, meta, factors, ledger, tables, digest.hexdigest())


def _factor(name: str, given: dict[str, Any]) -> Factor:
    return Factor(
        name,
        given["label"],
        tuple(given["levels"]),
        given.get("parent", ""),
        dict(given.get("within", {})),
        tuple(given.get("unknown", ())),
        {key: tuple(levels) for key, levels in given.get("groups", {}).items()},
    )
