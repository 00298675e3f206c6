"""Patients with paired readings: fits with and without partial readings, by stratum, with extremes.

One fit of all pairs, the same for each scenario (single-class pairs only; every ambiguous score
read as each of its classes), and one fit over the crossed strata with and without partial readings.
The analysis takes counts (``Pairs``); a cohort of patients and a table of counts both make them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import xarray as xr

from her2bayes.bayes.prior import Prior
from her2bayes.errors import BadInput, Fault, nearest, raise_if
from her2bayes.evidence.patients.aggregate import transition_counts
from her2bayes.evidence.patients.cohort import Cohort, read_cohort, reclassified
from her2bayes.evidence.patients.maps import load_map, map_path
from her2bayes.inference.estimates import estimates_table
from her2bayes.inference.sampling import Sampling
from her2bayes.transition import assay, assay_error, classical, her2_transition
from her2bayes.transition.assay_error import AssayResult, has_prior
from her2bayes.transition.draws import (
    Given,
    Matrix,
    Rows,
    contrast_rows,
    matrix_rows,
    pooled,
    rows_of,
)

if TYPE_CHECKING:
    from her2bayes.inference.fit import Fit
    from her2bayes.inference.store import Store

ALL, SINGLE = "", "one class at both ends"
Say = Callable[[str], None]


@dataclass(frozen=True)
class Pairs:
    """Counts of paired readings, and who they are of.

    ``overall`` are TransitionCounts of all pairs, ``crossed`` over the strata of all factors ``by``
    (pairs of unknown level left out), ``alone`` those by each factor. ``settled`` are all pairs
    with each ambiguous score read one way, by the name of the scenario. ``flow`` says what became
    of each of ``patients``, where they are at hand; ``source`` and ``remarks`` where they are from
    and how they were read.
    """

    id: str
    title: str
    overall: xr.Dataset
    by: tuple[str, ...] = ()
    crossed: xr.Dataset | None = None
    alone: Mapping[str, xr.Dataset] = field(default_factory=dict)
    settled: Mapping[str, xr.Dataset] = field(default_factory=dict)
    source: Mapping[str, str] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()
    patients: int = 0
    flow: pd.DataFrame | None = None
    digest: str = ""

    @property
    def classes(self) -> tuple[str, ...]:
        """HER2 classes in order."""
        return tuple(str(name) for name in self.overall["her2"].to_numpy())

    @property
    def scenarios(self) -> dict[str, xr.Dataset]:
        """Data by scenario: all readings, single classes only, each ambiguous score as a class."""
        return {**with_single(self.overall), **self.settled}


@dataclass(frozen=True)
class Specification:
    """How pairs are analysed: model and priors, the assay modelled too or not, sampler, store."""

    build: Callable[..., Any] = her2_transition.build
    priors: Mapping[str, Prior] = field(default_factory=dict)
    assay: bool = True
    sampling: Sampling = Sampling()  # noqa: RUF009 (frozen)
    store: Store | None = None


@dataclass(frozen=True)
class CohortTransitions:
    """What the pairs of a cohort give: matrices by scenario and stratum, estimates, tests, fits."""

    pairs: Pairs
    matrices: tuple[Matrix, ...]
    estimates: pd.DataFrame
    classical: pd.DataFrame
    fits: Mapping[str, Fit]
    assay: AssayResult | None

    @property
    def by(self) -> tuple[str, ...]:
        """Factors of the strata."""
        return self.pairs.by


def pool(cohorts: Sequence[Cohort]) -> Cohort:
    """Several cohorts as one with the factor ``study``; their classes must be the same."""
    first, *others = cohorts
    raise_if(
        [
            Fault("cohorts have different HER2 classes", value=other.id,
                  allowed=", ".join(first.categories), remedy="give both maps the same categories")
            for other in others if other.categories != first.categories
        ]
        + [
            Fault("two cohorts have the same id", value=other.id, remedy="give each map its own id")
            for n, other in enumerate(others) if other.id in {c.id for c in cohorts[: n + 1]}
        ]
    )  # fmt: skip
    if not others:
        return first
    patients = pd.concat([c.patients.assign(study=c.id) for c in cohorts], ignore_index=True)
    texts = patients.select_dtypes(exclude=["number", "bool"]).columns
    patients[texts] = patients[texts].fillna("")
    factors: dict[str, tuple[str, ...]] = {"study": tuple(c.id for c in cohorts)}
    for name in dict.fromkeys(name for c in cohorts for name in c.factors):
        levels = [level for c in cohorts for level in c.factors.get(name, ())]
        factors[name] = tuple(dict.fromkeys(levels))
    flow = pd.concat([c.flow.assign(cohort=c.id) for c in cohorts], ignore_index=True)
    return replace(
        first,
        id="+".join(c.id for c in cohorts),
        title=" and ".join(c.title for c in cohorts),
        patients=patients,
        flow=flow,
        factors=factors,
        remarks=tuple(dict.fromkeys(text for c in cohorts for text in c.remarks)),
        digest="+".join(c.digest for c in cohorts),
    )


def check(cohort: Cohort, by: Sequence[str]) -> None:
    """Raise ``BadInput`` before anything is fitted: no pairs, unknown or constant factors."""
    faults = []
    if not cohort.patients["pair"].any():
        faults.append(
            Fault("no patient has both a primary and a recurrence reading", file=cohort.id,
                  remedy="transitions need pairs; for HER2 status alone use fit_distribution")
        )  # fmt: skip
    raise_if(faults + unknown_factors(by, cohort.factors))


def unknown_factors(by: Iterable[str], known: Iterable[str]) -> list[Fault]:
    """Faults of factors that nobody recorded."""
    names, faults = list(known), []
    for factor in by:
        if factor not in names:
            close = nearest(factor, names)
            faults.append(
                Fault("no such factor", column="--by", value=factor, allowed=", ".join(names),
                      remedy=f"did you mean '{close}'?" if close else "name it in the column map")
            )  # fmt: skip
    return faults


def unused(cohort: Cohort, by: Sequence[str]) -> tuple[str, ...]:
    """Line on what the maps declare and transitions do not use."""
    factors = [name for name in cohort.factors if name not in by]
    parts = {"endpoints": list(cohort.endpoints), "factors": factors}
    told = [f"{kind} {', '.join(names)}" for kind, names in parts.items() if names]
    return (f"declared in the map, not used here: {'; '.join(told)}",) if told else ()


def pairs_of(cohort: Cohort, by: By = ()) -> Pairs:
    """Count the pairs of a (pooled) cohort. Raises ``BadInput`` as ``check`` does."""
    factors = factors_of(by)
    check(cohort, list(factors))
    return replace(
        count_pairs(cohort, factors),
        id=cohort.id,
        title=cohort.title,
        settled=_settled(cohort),
        source=cohort.source,
        remarks=(*cohort.remarks, *unused(cohort, list(factors))),
        patients=len(cohort.patients),
        flow=cohort.flow,
        digest=cohort.digest,
    )


By = str | Sequence[str] | Mapping[str, Sequence[str] | None]


def factors_of(by: By | None) -> dict[str, Sequence[str] | None]:
    """Factors with their levels in order, None: as they are found."""
    if isinstance(by, Mapping):
        return dict(by)
    return dict.fromkeys([by] if isinstance(by, str) else by or ())


def count_pairs(source: Any, factors: Mapping[str, Sequence[str] | None]) -> Pairs:
    """Count the pairs of what ``transition_counts`` takes, of all and by factors."""
    overall = transition_counts(source)
    crossed = transition_counts(source, factors) if factors else None
    alone = [transition_counts(source, {name: levels}) for name, levels in factors.items()]
    return Pairs(
        id="",
        title="",
        overall=overall,
        by=() if crossed is None else tuple(crossed.attrs["factors"]),
        crossed=crossed,
        alone={str(data.attrs["factors"][0]): data for data in alone},
        patients=int(overall["counts"].sum()),
    )


def flow_text(cohort: Cohort, by: Iterable[str] = ()) -> str:
    """The cohort before anything is fitted, one line a rule."""
    lines = [f"{cohort.title}: {len(cohort.patients)} patients"]
    lines += [f"  {line}" for line in (*cohort.remarks, *unused(cohort, list(by)))]
    for stage, rows in cohort.flow.groupby("stage", sort=False):
        lines.append(f"{stage}" + (f" ({rows['of'].iloc[0]})" if stage != "notes" else ""))
        for row in rows.to_dict("records"):
            result = f" = {row['result']}" if row["result"] and row["result"] != row["rule"] else ""
            mark = "" if row["outcome"] == "kept" else "  [set aside]"
            lines.append(f"  {row['count']:>6}  {row['rule']}{result}{mark}")
    return "\n".join(lines)


def read_cohorts(where: Sequence[str | Path], maps: Sequence[str | Path]) -> Cohort:
    """Read each cohort through its map and pool them; all faults of all files together."""
    if len(where) != len(maps):
        text = f"{len(where)} cohorts and {len(maps)} maps"
        raise BadInput(Fault(text, remedy="give one --map for each --cohort, in the same order"))
    faults: list[Fault] = []
    cohorts = []
    for folder, name in zip(where, maps, strict=True):
        try:
            cohorts.append(read_cohort(load_map(map_path(str(name))), Path(folder)))
        except BadInput as bad:
            faults += bad.faults
    raise_if(faults)
    return pool(cohorts)


def _settled(cohort: Cohort) -> dict[str, xr.Dataset]:
    """All pairs with every score of 0 or 1+ read as each of its classes."""
    found = {}
    pairs = cohort.patients[cohort.patients["pair"]]
    scores = {s for end in ("primary", "recurrence") for s in pairs[f"{end}_score"]}
    for score in sorted(s for s in scores if s == "0 1"):
        ends = dict(cohort.scheme.scores)
        classes = dict.fromkeys(c for part in score.split() for c in ends.get(part, ()))
        for name in classes:
            scheme = cohort.scheme.counting(score.replace(" ", "-"), name)
            found[f"IHC 0-1+ read as {name}"] = transition_counts(reclassified(cohort, scheme))
    return found


TRUE = "true classes: "


def fitted_data(pairs: Pairs) -> dict[str, tuple[str, xr.Dataset]]:
    """Reading and data of every fit of the rows, by what the fit is of."""
    found = {
        f"all patients: {reading or 'all readings'}": (reading, data)
        for reading, data in pairs.scenarios.items()
    }
    named = " and ".join(pairs.by)
    for reading, data in with_single(pairs.crossed).items() if pairs.crossed is not None else ():
        found[f"by {named}: {reading or 'all readings'}"] = reading, data
    return found


def matrices_of(pairs: Pairs, fits: Mapping[str, Fit]) -> list[Matrix]:
    """Matrices of every fit of the rows."""
    return [
        matrix
        for name, (reading, data) in fitted_data(pairs).items()
        for matrix in level_matrices(fits[name], data, reading)
    ]


def run_pairs(
    pairs: Pairs, how: Specification = Specification(), say: Say = lambda _: None
) -> CohortTransitions:
    """Fit everything for one set of pairs; see the module for what is fitted.

    With ``how.assay`` also true classes behind fallible readings, where the prior of the assay
    covers the classes.
    """
    matrices: list[Matrix] = []
    rows: list[dict[str, Any]] = []
    fits: dict[str, Fit] = {}
    known = fitted_data(pairs)
    for name, (reading, data) in known.items():
        say(name.replace(": ", ", "))
        # where every reading is one class, the pairs of single classes are all pairs
        same = next((old for old, (_, other) in known.items() if other.identical(data)), name)
        fits[name] = fits[same] if same in fits else _fit(data, how)
        found = level_matrices(fits[name], data, reading)
        matrices += found
        rows += [row for matrix in found for row in matrix_rows(matrix)]
        for factor in data.attrs["factors"]:
            alone = [m for m in found if [f for f, _ in m.given] == [factor]]
            rows += contrast_rows(alone, factor)
    read = _assay(pairs, how, say) if how.assay and has_prior(pairs.classes) else None
    if read is not None:
        rows += list(read.estimates)
        fits |= {f"{TRUE}{name}": fitted for name, fitted in read.fits.items()}
    tests = classical.classical_frame(_tests(pairs))
    return CohortTransitions(pairs, tuple(matrices), estimates_table(rows), tests, fits, read)


def _assay(pairs: Pairs, how: Specification, say: Say) -> AssayResult:
    say("all patients, true classes behind fallible readings")
    priors = {name: value for name, value in how.priors.items() if name in assay.DEFAULT_PRIORS}
    return assay_error.run(pairs.overall, priors=priors, sampling=how.sampling, store=how.store)


def with_single(data: xr.Dataset) -> dict[str, xr.Dataset]:
    """All pairs, and those of single classes, of which there may be none."""
    alone = single(data)
    return {ALL: data, SINGLE: alone} if int(alone["counts"].sum()) else {ALL: data}


def single(data: xr.Dataset) -> xr.Dataset:
    """Return only the pairs of which both readings are one class."""
    classes = [str(name) for name in data["her2"].to_numpy()]
    return data.sel(primary_reading=classes, recurrence_reading=classes, reading=classes)


def _fit(data: xr.Dataset, how: Specification) -> Fit:
    from her2bayes.inference.fit import fit

    defaults = how.build.__globals__.get("DEFAULT_PRIORS", {})
    priors = {name: value for name, value in how.priors.items() if name in defaults}
    return fit(how.build, data, priors=priors, sampling=how.sampling, store=how.store)


def exact_counts(data: xr.Dataset) -> xr.DataArray:
    """Pairs with a single class at the primary, by that class (stratum, her2_primary)."""
    classes = [str(name) for name in data["her2"].to_numpy()]
    primary = data["counts"].sum("recurrence_reading").sel(primary_reading=classes)
    return primary.rename(primary_reading="her2_primary")


def level_rows(draws: xr.Dataset, data: xr.Dataset, *, crossed: bool = True) -> dict[Given, Rows]:
    """Rows of every level of every factor, then of the crossed strata where there are several.

    With crossed factors the rows of a level are standardised to this cohort: each is the mean over
    the strata in the level, weighted by their patients in the primary class of that row.
    """
    primary, factors = exact_counts(data), data.attrs["factors"]
    cells: dict[Given, Rows] = {}
    for name in map(str, data["stratum"].to_numpy()):
        given = tuple((f, str(data[f].sel(stratum=name).item())) for f in factors)
        cells[given] = rows_of(draws, name, _shares(primary.sel(stratum=name, drop=True)))
    if len(factors) < 2:
        return cells
    found: dict[Given, Rows] = {}
    for factor in factors:
        names = data[factor].to_numpy()
        for level in dict.fromkeys(names):
            found[(factor, str(level)),] = _standardised(
                draws, data.sel(stratum=data["stratum"].to_numpy()[names == level])
            )
    return {**found, **(cells if crossed else {})}


def _shares(primary: xr.DataArray) -> xr.DataArray | None:
    """Shares of the primary classes as counted; None where nobody has a single one."""
    known = int(primary.sum())
    return primary / known if known else None


def _standardised(draws: xr.Dataset, inside: xr.Dataset) -> Rows:
    primary = exact_counts(inside)
    pairs = inside["counts"].sum(("primary_reading", "recurrence_reading"))
    row_total = primary.sum("stratum")
    weight = (primary / row_total.where(row_total > 0)).fillna(pairs / pairs.sum())
    here = draws.sel(stratum=[str(name) for name in inside["stratum"].to_numpy()])
    share = pooled(here["primary_share"], pairs / pairs.sum())
    counted = _shares(row_total)
    cohort = share.mean(("chain", "draw")) if counted is None else counted
    return Rows(pooled(here["transition"], weight), share, cohort)


def level_matrices(fitted: Fit, data: xr.Dataset, reading: str) -> list[Matrix]:
    """Matrices of ``level_rows``, with the patients behind each; no crossed ones of a scenario."""
    after, before = (
        level_rows(draws, data, crossed=reading == ALL)
        for draws in (fitted.posterior, fitted.prior)
    )
    pairs = data["counts"].sum(("primary_reading", "recurrence_reading"))
    matrices = []
    for given, rows in after.items():
        inside = np.ones(len(pairs), dtype=bool)
        for factor, level in given:
            inside &= data[factor].to_numpy() == level
        prior = replace(before[given], cohort=rows.cohort)
        number = int(pairs.to_numpy()[inside].sum())
        matrices.append(Matrix(given, rows, prior, number, fitted, reading))
    return matrices


def _tests(pairs: Pairs) -> list[dict[str, Any]]:
    """Classical rows of the single-class pairs, of all and by each factor."""
    overall = _tables(pairs.overall)[0]
    rows: list[dict[str, Any]] = []
    if overall.sum():
        rows += classical.table_rows(overall, pairs.classes, reading=SINGLE)
    for factor, data in pairs.alone.items():
        levels = [str(level) for level in data[factor].to_numpy()]
        tables = dict(zip(levels, _tables(data), strict=True))
        for level, table in tables.items():
            if table.sum():
                given = ((factor, level),)
                rows += classical.table_rows(table, pairs.classes, given, SINGLE)
        rows += classical.stratified_rows(tables, factor, SINGLE)
    return rows


def _tables(data: xr.Dataset) -> list[np.ndarray]:
    """Counts of the single-class pairs of each stratum (her2_primary, her2)."""
    return list(single(data)["counts"].to_numpy())
