"""Several studies as the rows of one model: what each prints of a question, and who is left out.

    StudyCells    ``counts`` (row, reading) int64 and ``printed`` (row, reading) bool, ``incidence``
                  (reading, her2) bool: a row is a study, at one level of a moderator, in one centre
    Effects       ``estimate`` and ``error`` (row), on the log scale, and ``design`` (row, term)

Coordinates ``study``, ``setting``, ``year``, ``level``, ``centre`` lie on ``row``. A moderator is
"setting" or "year" (of a study), or a factor whose levels studies print (``within``; one at most,
because printed tables cross none). Studies that cannot say anything on the question are named in
``attrs["left_out"]`` with the reason: nothing is dropped in silence.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import xarray as xr

from her2bayes.errors import BadInput, Fault, raise_if, suggestion
from her2bayes.estimand import parse
from her2bayes.evidence.printed.design import CLASSES, DESIGN, SETTINGS
from her2bayes.evidence.printed.study import Study, load_study, published_folder
from her2bayes.evidence.printed.vocabulary import STATUS

if TYPE_CHECKING:
    from her2bayes.evidence.printed.design import Factor

OF_STUDIES = ("setting", "year")
"""Moderators that a study has one value of."""

DECADE = 10.0
"""Years of one unit of the moderator ``year``."""

OVER_CENTRES = "its centres, lowest to highest"
"""``population`` of a row of external.csv: a range of shares over the study's own centres."""

FINEST = ("null", "ultralow", "low", "positive")


@dataclass(frozen=True)
class Source:
    """One study as a synthesis takes it: printed, or patients and counts as a contract.

    ``cells`` is StatusCells (``distribution.cells``) of patients, ``study`` a printed one.
    """

    name: str
    study: Study | None = None
    patients: Any = None
    meta: Mapping[str, Any] = field(default_factory=dict)

    @property
    def setting(self) -> str:
        """Early, metastatic, any stage; empty where it is not said."""
        return str(self.meta.get("setting", ""))

    @property
    def year(self) -> float:
        """Middle of the years of inclusion; NaN where they are not said."""
        years = self.meta.get("years")
        return float(np.mean(years)) if years else float("nan")


def sources(studies: Any) -> tuple[Source, ...]:
    """Read what a user names: ids, folders or ``Study`` objects, and ``{name: patients}``.

    Patients of a mapping may come with what they are of: ``{name: (patients, {"setting": ...})}``.
    Raises ``BadInput`` for fewer than two studies and names that stand twice.
    """
    named = studies.items() if isinstance(studies, Mapping) else [(None, s) for s in _list(studies)]
    found = [_source(name, one) for name, one in named]
    names = [one.name for one in found]
    faults = [Fault("a study is given twice", value=n) for n in names if names.count(n) > 1][:1]
    if len(found) < 2:
        remedy = "name two or more: bash scripts/run studies lists those at hand"
        faults.append(Fault("fewer than two studies", value=", ".join(names), remedy=remedy))
    for one in found:
        if one.setting not in ("", *SETTINGS):
            faults.append(Fault("not a setting", value=one.setting, allowed=", ".join(SETTINGS)))
    raise_if(faults)
    return tuple(found)


def _list(studies: Any) -> list[Any]:
    return [studies] if isinstance(studies, str | Path | Study) else list(studies)


def _source(name: str | None, given: Any) -> Source:
    meta: Mapping[str, Any] = {}
    if isinstance(given, tuple):
        given, meta = given
    if isinstance(given, str | Path) and (name is None or _is_study(given)):
        given = load_study(given)
    if isinstance(given, Study):
        return Source(name or given.id, given, None, {**given.meta, **meta})
    if name is None:
        remedy = "give patients a name: {'hospital': patients}"
        raise BadInput(Fault("a study without a name", value=type(given).__name__, remedy=remedy))
    return Source(name, None, given, meta)


def _is_study(text: str | Path) -> bool:
    """Tell a study's id or folder from a file of patients."""
    return any((folder / DESIGN).is_file() for folder in (Path(text), published_folder() / text))


def moderators_of(moderators: str | Iterable[str]) -> tuple[tuple[str, ...], str]:
    """Moderators of studies, and the one factor within studies (empty without)."""
    asked = (moderators,) if isinstance(moderators, str) else tuple(moderators)
    between = tuple(name for name in asked if name in OF_STUDIES)
    within = [name for name in asked if name not in OF_STUDIES]
    if len(within) > 1:
        remedy = "one at a time: printed tables cross no factors"
        raise BadInput(Fault("several factors within studies", value=", ".join(within),
                             remedy=remedy))  # fmt: skip
    return between, "".join(within)


class Left:
    """Studies that are left out, with the reason."""

    def __init__(self) -> None:
        self.why: dict[str, str] = {}

    def out(self, source: Source, reason: str) -> None:
        """Remember one."""
        self.why[source.name] = reason

    def kept(self, sources: Sequence[Source], between: Sequence[str]) -> list[Source]:
        """Studies that have a value of every moderator of studies."""
        for one in sources:
            if "setting" in between and not one.setting:
                self.out(one, "its setting is not said (study.toml)")
            if "year" in between and np.isnan(one.year):
                self.out(one, "its years are not said (study.toml)")
        return [one for one in sources if one.name not in self.why]

    def enough(self, names: Iterable[str], what: str) -> None:
        """Raise ``BadInput`` where fewer than two studies are left, with the reasons."""
        known = list(dict.fromkeys(names))
        if len(known) < 2:
            said = "; ".join(f"{name}: {why}" for name, why in self.why.items())
            remedy = f"left out: {said}" if said else None
            problem = f"fewer than two studies say something on {what}"
            raise BadInput(Fault(problem, value=", ".join(known) or "none", remedy=remedy))


# HER2 classes


def atoms(factor: Factor | None, name: str) -> frozenset[str]:
    """Finest classes that a study's class may be; empty where it has no common meaning."""
    means = factor.means.get(name, (name,)) if factor else (name,)
    known = [CLASSES[one] for one in means if one in CLASSES]
    return frozenset(x for one in known for x in one) if len(known) == len(means) else frozenset()


def common_classes(sets: Iterable[frozenset[str]]) -> dict[str, frozenset[str]]:
    """Coarsest classes of which every set is a union, by name, from negative to positive."""
    sets = list(dict.fromkeys(sets))
    groups: dict[tuple[bool, ...], list[str]] = {}
    for atom in FINEST:
        inside = tuple(atom in one for one in sets)
        if any(inside):
            groups.setdefault(inside, []).append(atom)
    return {_class_name(frozenset(members)): frozenset(members) for members in groups.values()}


def _class_name(members: frozenset[str]) -> str:
    plain = next((n for n, of in CLASSES.items() if frozenset(of) == members), "")
    return plain or "/".join(atom for atom in FINEST if atom in members)


# Shares


def status_cells(
    given: Sequence[Source],
    moderators: str | Iterable[str] = (),
    *,
    centre: str = "",
    end: str = "",
) -> xr.Dataset:
    """StudyCells of printed studies and patients. Raises ``BadInput`` where fewer than two remain.

    ``centre`` names the factor of centres, ``end`` the tumour ("primary", "recurrence") that counts
    where patients have readings of both.
    """
    between, within = moderators_of(moderators)
    left = Left()
    rows: list[dict[str, Any]] = []
    for one in left.kept(given, between):
        rows += _status_rows(one, within, centre, end, left)
    left.enough((row["study"] for row in rows), "HER2 status" + (f" by {within}" if within else ""))
    data = _cells(rows, given)
    return data.assign_attrs(between=list(between), within=within, left_out=left.why)


def _cells(rows: Sequence[Mapping[str, Any]], given: Sequence[Source]) -> xr.Dataset:
    classes = common_classes(of for row in rows for of in row["counts"])
    readings = list(dict.fromkeys(of for row in rows for of in row["counts"]))
    table = [[row["counts"].get(of, 0) for of in readings] for row in rows]
    printed = [[of in row["counts"] for of in readings] for row in rows]
    holds = [[members <= of for members in classes.values()] for of in readings]
    dims = ("row", "reading")
    return xr.Dataset(
        {"counts": (dims, np.array(table)), "printed": (dims, np.array(printed)),
         "incidence": (("reading", "her2"), np.array(holds))},
        {"reading": [_class_name(of) for of in readings], "her2": list(classes),
         **row_coords(rows, given)},
    )  # fmt: skip


def row_coords(rows: Sequence[Mapping[str, Any]], given: Sequence[Source]) -> dict[str, Any]:
    """Coordinates of rows: name, study, setting, year, level, centre."""
    known = {one.name: one for one in given}
    names = [" ".join(filter(None, (r["study"], r["level"], r.get("centre", "")))) for r in rows]
    of = [known[row["study"]] for row in rows]
    return {
        "row": names,
        "study": ("row", [row["study"] for row in rows]),
        "level": ("row", [row["level"] for row in rows]),
        "centre": ("row", [row.get("centre", "") for row in rows]),
        "setting": ("row", [one.setting for one in of]),
        "year": ("row", [one.year for one in of]),
    }


def _status_rows(
    one: Source, within: str, centre: str, end: str, left: Left
) -> Iterator[dict[str, Any]]:
    if one.study is None:
        yield from _patient_rows(one, within, centre, end)
        return
    study = one.study
    tables = study.status_counts()
    by = within or (centre if centre in tables else "")
    if by not in tables and by == "" and tables:
        by = next(iter(tables))  # a factor that divides all patients, added up below
        added = tables[by].sum("subgroup").expand_dims(subgroup=["all"])
        tables = {"": added.assign_coords(level=("subgroup", [""]))}
        by = ""
    if by not in tables:
        what = f"no HER2 status by {within} is printed" if within else "no HER2 counts are printed"
        left.out(one, what)
        return
    table, factor = tables[by], study.factors[STATUS]
    sets = [atoms(factor, str(name)) for name in table["her2"].values]
    unclear = [str(n) for n, s in zip(table["her2"].values, sets, strict=True) if not s]
    if unclear:
        left.out(one, f"what {', '.join(unclear)} means is not said (study.toml, means)")
        return
    for level in (str(x) for x in table["level"].values):
        counts: dict[frozenset[str], int] = {}
        of_level = table.isel(subgroup=table["level"].values.tolist().index(level))
        for members, n in zip(sets, of_level.values, strict=True):
            counts[members] = counts.get(members, 0) + int(n)
        if within and study.factors[by].levels and level not in study.factors[by].levels:
            continue  # unknown levels and unions of levels
        place = {"centre": level, "level": ""} if by == centre and by else {"level": level}
        yield {"study": one.name, "counts": counts, **place}


def centre_ranges(known: Iterable[str]) -> Iterator[dict[str, Any]]:
    """Ranges of shares over centres that the library prints without counts, of studies not known.

    ``members`` are the finest classes, ``centres`` and ``patients`` their number (0: not printed).
    """
    for file in sorted(published_folder().glob("*/external.csv")):
        if file.parent.name in set(known) or OVER_CENTRES not in file.read_text("utf-8"):
            continue
        study = load_study(file.parent)
        table = study.external
        for row in table[table["population"] == OVER_CENTRES].to_dict("records"):
            asked = parse(str(row["estimand"]))
            name = asked.outcome.removeprefix("her2=")
            if asked.kind == "share" and not asked.given:
                yield {
                    "study": study.id, "setting": str(study.meta.get("setting", "")), "her2": name,
                    "members": atoms(study.factors[STATUS], name),
                    "centres": int(study.meta.get("centres", 0)),
                    "patients": int(study.meta["patients"]),
                    "lower": float(row["lower_number"]), "upper": float(row["upper_number"]),
                }  # fmt: skip


def _patient_rows(one: Source, within: str, centre: str, end: str) -> Iterator[dict[str, Any]]:
    from her2bayes.distribution.cells import contracts

    by = [name for name in (within, centre) if name]
    tables, _ = contracts(one.patients, by or None, classes=None, end=end)
    if isinstance(tables, Mapping):
        remedy = "give patients, or counts with one column for each factor"
        raise BadInput(Fault("counts of one factor each", value=one.name, remedy=remedy))
    holds = tables["incidence"].transpose("reading", "her2").values.astype(bool)
    classes = [atoms(None, str(name)) for name in tables["her2"].values]
    sets = [
        frozenset().union(*(c for c, inside in zip(classes, row, strict=True) if inside))
        for row in holds
    ]
    for at in range(tables.sizes["subgroup"]):
        cell = tables.isel(subgroup=at)
        counts: dict[frozenset[str], int] = {}
        for members, n in zip(sets, cell["counts"].values, strict=True):
            single = any(members == of for of in classes)
            if single or n:  # a set that nobody has was not on the form
                counts[members] = counts.get(members, 0) + int(n)
        yield {
            "study": one.name, "counts": counts,
            "level": str(cell[within].item()) if within else "",
            "centre": str(cell[centre].item()) if centre else "",
        }  # fmt: skip


def of_table(table: pd.DataFrame) -> xr.Dataset:
    """StudyCells of a table with the columns ``study``, ``her2``, ``n``, ``level`` and ``centre``.

    ``level`` and ``centre`` may be missing, ``setting`` and ``year`` may be there.
    """
    needed = [name for name in ("study", "her2", "n") if name not in table]
    if needed:
        allowed = "study, her2, n, and level, centre, setting, year"
        raise BadInput([Fault("no such column", column=n, allowed=allowed) for n in needed])
    if (table["n"] < 0).any() or (table["n"] % 1 != 0).any():
        raise BadInput(Fault("a count is not a whole number of patients", column="n"))
    plain = table.assign(**{c: table.get(c, "") for c in ("level", "centre", "setting")})
    plain["year"] = table.get("year", float("nan"))
    unclear = sorted({str(x) for x in plain["her2"] if not atoms(None, str(x))})
    if unclear:
        allowed, remedy = ", ".join(CLASSES), suggestion(unclear[0], CLASSES)
        raise BadInput(Fault("no such HER2 class", column="her2", value=", ".join(unclear),
                             allowed=allowed, remedy=remedy))  # fmt: skip
    rows, given = [], dict[str, Source]()
    for (study, level, centre), group in plain.groupby(["study", "level", "centre"], sort=False):
        counts: dict[frozenset[str], int] = {}
        for name, n in zip(group["her2"], group["n"], strict=True):
            members = atoms(None, str(name))
            counts[members] = counts.get(members, 0) + int(n)
        rows.append({"study": str(study), "level": str(level), "centre": str(centre),
                     "counts": counts})  # fmt: skip
        first = group.iloc[0]
        years = None if pd.isna(first["year"]) else (first["year"], first["year"])
        meta = {"setting": str(first["setting"]), "years": years}
        given.setdefault(str(study), Source(str(study), meta=meta))
    within = "level" if plain["level"].any() else ""
    found = _cells(rows, list(given.values()))
    return found.assign_attrs(between=[], within=within, left_out={})
