"""StatusCells: patients by crossed factors and what is known of their HER2 class, as a model needs.

A contract: ``counts`` (subgroup, reading) int64 and ``incidence`` (reading, her2) bool, which
classes a reading may be; one coordinate on ``subgroup`` (a cell: a combination of levels) for each
name in ``attrs["factors"]``, whose order of levels may stand in ``attrs["levels"]``. A reading of
every class is ``unknown``: it says nothing of the class, and its patients still weigh in the cell.

Doors of ``fit_distribution``: contracts of what a user gives, and what to call it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from scipy.linalg import helmert

from her2bayes.bayes.levels import information, padded, places
from her2bayes.errors import BadInput, Fault, raise_if, suggestion
from her2bayes.evidence.patients.aggregate import described, status_counts
from her2bayes.evidence.patients.counts import NUMBERS, Counts, read_counts
from her2bayes.evidence.patients.follow_up import factor_name
from her2bayes.evidence.patients.patients import read_patients

if TYPE_CHECKING:
    import pandas as pd

Standard = tuple[Mapping[str, tuple[str, ...]], tuple[float, ...]]
"""A population: level of each factor by row, and weights of the rows."""


MOST_EFFECTS = 2000
KINDS = ("main", "interaction", "exchangeable")


@dataclass(frozen=True)
class Term:
    """What adds to the logits of a cell: a factor, a pair of factors, or an exchangeable factor.

    ``levels`` are those of each factor, largest first.
    """

    factors: tuple[str, ...]
    levels: tuple[tuple[str, ...], ...]
    kind: str

    @property
    def name(self) -> str:
        """Name as on the page."""
        return " x ".join(self.factors)

    @property
    def size(self) -> int:
        """Number of effects."""
        return int(np.prod([len(one) - 1 for one in self.levels]))

    def columns(self, at: Mapping[str, Sequence[str]]) -> np.ndarray:
        """Contrasts (row, effect) of rows with these levels: orthonormal, summing to zero."""
        found = np.ones((len(next(iter(at.values()))), 1))
        for factor, levels in zip(self.factors, self.levels, strict=True):
            basis = _contrasts(len(levels))[[levels.index(level) for level in at[factor]]]
            found = (found[:, :, None] * basis[:, None, :]).reshape(len(found), -1)
        return found


def _contrasts(levels: int) -> np.ndarray:
    """Helmert contrasts: the n-th sets one level against the (larger) ones before it."""
    return np.asarray(helmert(levels).T) if levels > 1 else np.zeros((1, 0))


def factors_of(cells: xr.Dataset) -> list[str]:
    """Names of the crossed factors."""
    return [str(name) for name in cells.attrs.get("factors", ())]


def levels_of(cells: xr.Dataset, factor: str) -> list[str]:
    """Levels of a factor that occur, in their order."""
    found = list(dict.fromkeys(str(level) for level in cells[factor].values))
    order = list(cells.attrs.get("levels", {}).get(factor, ()))
    return sorted(found, key=lambda level: order.index(level) if level in order else len(order))


def terms(
    cells: xr.Dataset, exchangeable: Iterable[str] = (), *, interactions: bool = True
) -> list[Term]:
    """Terms of the linear predictor: factors with two or more levels, then pairs of them.

    An exchangeable factor has no interactions: it is a sample of groups, not a question.
    """
    size = cells["counts"].sum("reading").values
    known: dict[str, tuple[str, ...]] = {}
    for factor in factors_of(cells):
        at = cells[factor].values.astype(str)
        order = sorted(levels_of(cells, factor), key=lambda level: -size[at == level].sum())
        if len(order) > 1:
            known[factor] = tuple(order)
    groups = set(exchangeable)
    found = [
        Term((f,), (levels,), "exchangeable" if f in groups else "main")
        for f, levels in known.items()
    ]
    pairs = combinations([f for f in known if f not in groups], 2) if interactions else ()
    return found + [Term(pair, (known[pair[0]], known[pair[1]]), "interaction") for pair in pairs]


def split(cells: xr.Dataset) -> xr.Dataset:
    """Readings of one class as ``exact`` (subgroup, her2), others as ``partial`` (subgroup, set).

    ``holds`` (set, her2) says which classes a set has; ``unknown`` (subgroup) counts readings of
    all classes. Readings of the same classes are added up.
    """
    holds = cells["incidence"].transpose("reading", "her2").values.astype(bool)
    counts = cells["counts"].transpose("subgroup", "reading").values
    size = holds.sum(axis=1)
    her2 = [str(name) for name in cells["her2"].values]
    exact = counts @ np.where((size == 1)[:, None], holds, 0).astype(np.int64)
    sets: dict[str, np.ndarray] = {}
    partial: dict[str, np.ndarray] = {}
    for column in np.flatnonzero((size > 1) & (size < len(her2))):
        if not counts[:, column].any():
            continue
        name = "/".join(h for h, inside in zip(her2, holds[column], strict=True) if inside)
        sets[name] = holds[column]
        partial[name] = partial.get(name, 0) + counts[:, column]
    number = len(counts)
    table = np.array([partial[name] for name in sets]).reshape(len(sets), number).T
    return xr.Dataset(
        {
            "exact": (("subgroup", "her2"), exact),
            "partial": (("subgroup", "set"), table.astype(np.int64)),
            "holds": (("set", "her2"), np.array(list(sets.values())).reshape(-1, len(her2))),
            "unknown": ("subgroup", counts[:, size == len(her2)].sum(axis=1)),
        },
        coords={"subgroup": cells["subgroup"].values, "her2": her2, "set": list(sets)},
    )


def design(
    cells: xr.Dataset, exchangeable: Iterable[str] = (), *, interactions: bool = True
) -> xr.Dataset:
    """Describe cells for the crossed model, padded to one shape.

    Variables: ``exact`` (subgroup, her2), ``partial`` (subgroup, set), ``holds`` (set, her2),
    ``contrast`` (subgroup, effect), ``member`` (effect, term) 0/1, by effect 0/1 ``learned``,
    ``interacts`` (for the fixed scale) and ``information``; by term ``kind`` (place in ``KINDS``)
    and ``mean_share``, the part of tau^2 that the mean of the observed levels keeps (1 / levels
    where exchangeable). ``set`` has size 0 where every reading is of one class. Raises
    ``BadInput``.
    """
    groups = tuple(exchangeable)
    raise_if(list(_faults(cells, groups, interactions)))
    found = terms(cells, groups, interactions=interactions)
    data = split(cells)
    rows, width = data.sizes["subgroup"], sum(term.size for term in found)
    size, effects, listed = places(rows), places(width), places(len(found), 2)
    contrast, member = np.zeros((size, effects)), np.zeros((effects, listed))
    learned, interacts = np.zeros(effects), np.zeros(effects)
    kind, mean_share = np.zeros(listed, dtype=int), np.zeros(listed)
    names: list[str] = []
    for number, term in enumerate(found):
        span = slice(len(names), len(names) + term.size)
        at = {f: [str(level) for level in cells[f].values] for f in term.factors}
        contrast[:rows, span] = term.columns(at)
        member[span, number] = 1
        learned[span] = term.size > 1 or term.kind == "exchangeable"
        interacts[span] = term.kind == "interaction"
        kind[number] = KINDS.index(term.kind)
        mean_share[number] = (term.kind == "exchangeable") / len(term.levels[0])
        names += [f"{term.name} {place + 1}" for place in range(term.size)]
    member[len(names) :, 0] = 1  # an unused effect still needs a scale; its contrast is zero
    sets = data.sizes["set"]
    many = places(sets, 2) if sets else 0
    classes = data.sizes["her2"]
    exact, partial = (np.zeros((size, n), dtype=np.int64) for n in (classes, many))
    exact[:rows], partial[:rows, :sets] = data["exact"].values, data["partial"].values
    holds = np.zeros((many, classes))
    holds[:sets] = data["holds"].values
    told = np.hstack([exact, partial]).sum(axis=1, keepdims=True)
    pooled = exact + 0.0
    pooled += (told - exact.sum(axis=1, keepdims=True)) / classes  # for a rough information only
    return xr.Dataset(
        {
            "exact": (("subgroup", "her2"), exact),
            "partial": (("subgroup", "set"), partial),
            "holds": (("set", "her2"), holds),
            "contrast": (("subgroup", "effect"), contrast),
            "member": (("effect", "term"), member),
            "learned": ("effect", learned),
            "interacts": ("effect", interacts),
            "information": ("effect", information(pooled, contrast)),
            "kind": ("term", kind),
            "mean_share": ("term", mean_share),
        },
        coords={
            "subgroup": padded(cells["subgroup"].values, size),
            "her2": [str(name) for name in data["her2"].values],
            "set": padded(data["set"].values, many),
            "effect": padded(names, effects),
            "term": padded([term.name for term in found], listed),
        },
    )


def one_level(cells: xr.Dataset, factor: str) -> xr.DataArray:
    """Readings of a single class by level of one factor: StatusCounts ``(subgroup, her2)``.

    Empty ``factor``: all patients. Attributes ``partial`` and ``unknown`` count what is left out,
    ``ordered`` says whether somebody gave the levels an order.
    """
    data = split(cells)
    at = np.array([str(level) for level in cells[factor].values]) if factor else None
    levels = levels_of(cells, factor) if factor else [""]
    chosen = [
        at == level if at is not None else np.ones(data.sizes["subgroup"], bool) for level in levels
    ]
    table = np.array([data["exact"].values[rows].sum(axis=0) for rows in chosen], dtype=np.int64)
    return xr.DataArray(
        table,
        dims=("subgroup", "her2"),
        coords={
            "subgroup": levels if factor else ["all"],
            "her2": data["her2"].values,
            "factor": ("subgroup", [factor] * len(levels)),
            "level": ("subgroup", levels),
            "parent": ("subgroup", [""] * len(levels)),
        },
        attrs={
            "partial": int(data["partial"].sum()),
            "unknown": int(data["unknown"].sum()),
            "ordered": factor in cells.attrs.get("ordered", ()),
        },
    )


def summed(cells: xr.Dataset, factors: Sequence[str]) -> xr.Dataset:
    """The same patients by fewer factors."""
    rows = list(zip(*(cells[f].values.astype(str) for f in factors), strict=True))
    rows = rows or [()] * cells.sizes["subgroup"]
    known = list(dict.fromkeys(rows))
    counts = cells["counts"].transpose("subgroup", "reading").values
    table = np.zeros((len(known), counts.shape[1]), dtype=np.int64)
    np.add.at(table, [known.index(row) for row in rows], counts)
    names = [", ".join(f"{f}={v}" for f, v in zip(factors, row, strict=True)) for row in known]
    return xr.Dataset(
        {"counts": (("subgroup", "reading"), table), "incidence": cells["incidence"]},
        coords={
            "subgroup": [name or "all" for name in names],
            **{f: ("subgroup", [row[k] for row in known]) for k, f in enumerate(factors)},
        },
        attrs={**cells.attrs, "factors": list(factors)},
    )


def singles(cells: xr.Dataset) -> xr.Dataset:
    """The same cells with readings of one class only."""
    one = cells["incidence"].sum("her2").values == 1
    return cells.isel(reading=np.flatnonzero(one))


def _faults(
    cells: xr.Dataset, exchangeable: tuple[str, ...], interactions: bool
) -> Iterator[Fault]:
    for name, dims in (("counts", {"subgroup", "reading"}), ("incidence", {"reading", "her2"})):
        if name not in cells or set(cells[name].dims) != dims:
            yield Fault("not StatusCells", column=name, allowed=", ".join(sorted(dims)))
            return
    values = cells["counts"].values
    if not (np.isfinite(values).all() and (values >= 0).all() and (values % 1 == 0).all()):
        yield Fault("counts are not whole numbers of patients", allowed="0, 1, 2, ...")
    if cells.sizes["her2"] < 2:
        yield Fault("fewer than two HER2 classes", value=list(cells["her2"].values))
    for reading in cells["reading"].values[~cells["incidence"].any("her2").values]:
        yield Fault("a reading holds no class", column="reading", value=str(reading))
    yield from _no_groups(cells, exchangeable)
    known = factors_of(cells)
    named = [tuple(str(cells[f].values[i]) for f in known) for i in range(cells.sizes["subgroup"])]
    if len(set(named)) < len(named):
        yield Fault("a combination of levels appears twice", remedy="add the counts up")
    wide = sum(t.size for t in terms(cells, exchangeable, interactions=interactions))
    if wide > MOST_EFFECTS:
        remedy = "name factors of many levels in exchangeable, or leave interactions out"
        yield Fault(f"{wide} effects", allowed=f"at most {MOST_EFFECTS}", remedy=remedy)


def _no_groups(cells: xr.Dataset, exchangeable: tuple[str, ...]) -> Iterator[Fault]:
    known = factors_of(cells)
    for name in exchangeable:
        if name not in known:
            allowed = ", ".join(known) or "no factor: give it in by"
            yield Fault("no such factor", None, None, "exchangeable", name, allowed,
                        suggestion(name, known))  # fmt: skip
        elif len(levels_of(cells, name)) < 2:
            remedy = "a spread between groups needs two groups or more"
            yield Fault("a single level", column="exchangeable", value=name, remedy=remedy)


By = str | Sequence[str] | Mapping[str, Sequence[str] | None]
Tables = dict[str, xr.DataArray] | xr.Dataset


@dataclass(frozen=True)
class Source:
    """What a source is called, whose it is, what became of its rows."""

    name: str
    about: Mapping[str, str] = field(default_factory=dict)
    flow: pd.DataFrame | None = None
    described: Mapping[str, pd.DataFrame] = field(default_factory=dict)


def contracts(
    data: Any,
    by: By | None,
    *,
    classes: Sequence[str] | None,
    end: str,
    describe: str | Sequence[str] = (),
) -> tuple[Tables, Source]:
    """Contracts of what the user gave, and what to call it.

    Raises ``BadInput`` for columns to ``describe`` of what are no patients.
    """
    wanted = [describe] if isinstance(describe, str) else list(describe)
    counted = _of_counts(data, by, classes)
    if counted is not None:
        raise_if(not_described(wanted))
        return counted
    patients = read_patients(data, classes=classes)
    ordered = [f for f, levels in by.items() if levels] if isinstance(by, Mapping) else []
    cells = status_counts(patients, by or (), classes, her2=end).assign_attrs(ordered=ordered)
    numbers = described(patients, wanted, classes, her2=end)
    about = {"title": patients.name, "citation": patients.file, "digest": patients.digest}
    if patients.cohort is None:
        return cells, Source(patients.name, about, described=numbers)
    cohort = patients.cohort
    citation = cohort.source.get("citation", "")
    about |= {"id": cohort.id, "design": "patient data", "citation": citation}
    return cells, Source(cohort.title, about, cohort.flow, numbers)


def _of_counts(
    data: Any, by: By | None, classes: Sequence[str] | None
) -> tuple[Tables, Source] | None:
    """Contracts of what is counted already; None for patients."""
    if isinstance(data, xr.DataArray):
        return {_factor_of(data): data}, Source("counts")
    if isinstance(data, Mapping) and all(isinstance(v, xr.DataArray) for v in data.values()):
        return _chosen(dict(data), by), Source("counts")
    if isinstance(data, xr.Dataset):
        return _with_levels(data, by), Source("counts")
    if isinstance(data, Counts):
        return _counted(data, by), Source(data.name, {"digest": data.digest})
    patients = read_patients(data, classes=classes)
    if patients.cohort is None and set(NUMBERS) & set(patients.columns):
        counts = read_counts(data, classes=classes)
        return _counted(counts, by), Source(counts.name, {"digest": counts.digest})
    return None


def not_described(columns: Sequence[str]) -> list[Fault]:
    """Columns that only patients have."""
    problem, remedy = "only patients have columns to describe", "leave describe out"
    return [Fault(problem, column="describe", value=name, remedy=remedy) for name in columns]


def _factor_of(counts: xr.DataArray) -> str:
    named = {str(f) for f in counts["factor"].values} if "factor" in counts.coords else {"subgroup"}
    return named.pop() if len(named) == 1 else "subgroup"


def _chosen(tables: dict[str, xr.DataArray], by: By | None) -> dict[str, xr.DataArray]:
    """Tables of the factors asked for, then that of all patients."""
    asked = names(by)
    if asked is None:
        return tables
    known = [f for f in tables if f]
    raise_if(
        [
            Fault("no counts by this factor", column="by", value=f, allowed=", ".join(known),
                  remedy=suggestion(f, known))
            for f in asked if f not in tables
        ]
    )  # fmt: skip
    return {f: tables[f] for f in (*asked, *(("",) if "" in tables else ()))}


def _with_levels(cells: xr.Dataset, by: By | None) -> xr.Dataset:
    """StatusCells with their factors and levels in order."""
    factors = cells.attrs.get("factors")
    if factors is None:
        factors = [
            str(c) for c in cells.coords if cells[c].dims == ("subgroup",) and c != "subgroup"
        ]
    asked = by if isinstance(by, Mapping) else {}
    wrong = [f for f in names(by) or () if f not in factors]
    raise_if(
        [
            Fault("no such factor", column="by", value=f, allowed=", ".join(factors),
                  remedy=suggestion(f, factors))
            for f in wrong
        ]
    )  # fmt: skip
    kept = names(by) if by is not None else factors
    cells = cells.assign_attrs(factors=list(factors))
    if len(kept or []) < len(factors):
        cells = summed(cells, kept or [])
    levels = {f: list(v) for f, v in asked.items() if v}
    return cells.assign_attrs(levels=cells.attrs.get("levels", {}) | levels, ordered=list(levels))


def _counted(counts: Counts, by: By | None) -> Tables:
    """Contracts of a table of counts: a table a factor, or cells of crossed factors."""
    asked = None if by is None else [factor_name(name) for name in names(by) or ()]
    crossed = len(counts.tables) == 1 and len(factors_of(_only(counts))) > 1
    open_ = {f: _left_open(one) for f, one in counts.tables.items()}
    if crossed:
        return _with_levels(_only(counts), by)
    if not any(open_.values()):
        tables = {f: one_level(one, f) for f, one in counts.tables.items()}
        return _chosen(tables, asked)
    known = [f for f in counts.tables if f and (asked is None or f in asked)]
    if len(known) > 1:
        problem = "several factors, and readings of several classes or none"
        remedy = f"one of them at a time: by='{known[0]}'"
        raise BadInput(Fault(problem, file=counts.name, value=", ".join(known), remedy=remedy))
    return _with_levels(counts.tables[(known or [""])[0]], None)


def cells_from(counts: xr.DataArray, factor: str) -> xr.Dataset:
    """StatusCells of a table of one factor: the contract of a user's own model."""
    classes = [str(name) for name in counts["her2"].values]
    named = counts["level"].values if "level" in counts.coords else counts["subgroup"].values
    holds = xr.DataArray(np.eye(len(classes), dtype=bool), dims=("reading", "her2"))
    table = counts.transpose("subgroup", "her2").values
    return xr.Dataset(
        {"counts": (("subgroup", "reading"), table), "incidence": holds},
        coords={
            "subgroup": counts["subgroup"].values, "reading": classes, "her2": classes,
            **({factor: ("subgroup", named.astype(str))} if factor else {}),
        },
        attrs={"factors": [factor] if factor else []},
    )  # fmt: skip


def _only(counts: Counts) -> xr.Dataset:
    return next(iter(counts.tables.values()))


def _left_open(cells: xr.Dataset) -> int:
    data = split(cells)
    return int(data["partial"].sum() + data["unknown"].sum())


def names(by: By | None) -> list[str] | None:
    """Names of the factors asked for, None where nothing is asked."""
    if by is None:
        return None
    return [by] if isinstance(by, str) else list(by)


def population(given: Any, cells: xr.Dataset) -> Standard | None:
    """Population of a frame with a column for each factor and ``weight``."""
    if given is None:
        return None
    import pandas as pd

    frame = pd.DataFrame(given)
    factors = factors_of(cells)
    missing = [name for name in (*factors, "weight") if name not in frame]
    faults = [Fault("no such column in standard", column=name) for name in missing]
    raise_if(faults)
    for factor in factors:
        known = levels_of(cells, factor)
        faults += [
            Fault("a level of standard is not among the patients", None, None, factor, level,
                  ", ".join(known))
            for level in dict.fromkeys(frame[factor].astype(str)) if level not in known
        ]  # fmt: skip
    weight = pd.to_numeric(frame["weight"], errors="coerce")
    if not (weight >= 0).all() or not weight.sum() > 0:
        faults.append(Fault("weights are numbers, none negative, not all 0", column="weight"))
    raise_if(faults)
    rows = {f: tuple(frame[f].astype(str)) for f in factors}
    return rows, tuple(float(w) for w in weight)


def with_whole(tables: Mapping[str, xr.DataArray]) -> dict[str, xr.DataArray]:
    """Tables of one factor each, and that of all patients, where all count the same patients."""
    totals = {tuple(int(n) for n in table.sum("subgroup").values) for table in tables.values()}
    if "" in tables or len(totals) != 1:
        return dict(tables)
    whole = next(iter(tables.values())).sum("subgroup", keep_attrs=True)
    nothing = {name: ("subgroup", [""]) for name in ("factor", "level", "parent")}
    return {"": whole.expand_dims(subgroup=["all"]).assign_coords(nothing), **tables}
