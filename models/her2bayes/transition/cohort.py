"""Patients with paired readings: fits with and without partial readings, by stratum, with extremes.

One fit of all pairs, the same for each scenario (single-class pairs only; every ambiguous score
read as each of its classes), and one fit over the crossed strata with and without partial readings.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import xarray as xr

from her2bayes.errors import Fault, raise_if
from her2bayes.evidence.patients.aggregate import transition_counts
from her2bayes.evidence.patients.cohort import Cohort, reclassified
from her2bayes.evidence.patients.maps import nearest
from her2bayes.inference.estimates import estimates_table
from her2bayes.transition import classical
from her2bayes.transition import draws as tr
from her2bayes.transition.assay_error import has_prior
from her2bayes.transition.draws import Matrix, contrast_rows, matrix_rows

if TYPE_CHECKING:
    from her2bayes.inference.fit import Fit
    from her2bayes.inference.sampling import Sampling
    from her2bayes.inference.store import Store
    from her2bayes.transition.assay_error import AssayResult

ALL, SINGLE = "", "one class at both ends"
Say = Callable[[str], None]


@dataclass(frozen=True)
class CohortTransitions:
    """What the pairs of a cohort give: matrices by scenario and stratum, estimates, tests, fits."""

    cohort: Cohort
    by: tuple[str, ...]
    counts: xr.Dataset
    matrices: tuple[Matrix, ...]
    estimates: pd.DataFrame
    classical: pd.DataFrame
    fits: Mapping[str, Fit]
    assay: AssayResult | None


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
    for factor in by:
        if factor not in cohort.factors:
            close = nearest(factor, cohort.factors)
            faults.append(
                Fault("no such factor", column="--by", value=factor,
                      allowed=", ".join(cohort.factors),
                      remedy=f"did you mean '{close}'?" if close else "name it in the column map")
            )  # fmt: skip
    raise_if(faults)


def unused(cohort: Cohort, by: Sequence[str]) -> tuple[str, ...]:
    """Line on what the maps declare and transitions do not use."""
    factors = [name for name in cohort.factors if name not in by]
    parts = {"endpoints": list(cohort.endpoints), "factors": factors}
    told = [f"{kind} {', '.join(names)}" for kind, names in parts.items() if names]
    return (f"declared in the map, not used here: {'; '.join(told)}",) if told else ()


def run_cohort(
    cohort: Cohort,
    by: Sequence[str],
    sampling: Sampling,
    store: Store | None = None,
    say: Say = lambda _: None,
    *,
    assay: bool = True,
) -> CohortTransitions:
    """Fit everything for one (pooled) cohort; see the module for what is fitted.

    ``assay`` adds the model of true classes behind fallible readings, where the prior of the assay
    covers the classes.
    """
    check(cohort, by)
    matrices: list[Matrix] = []
    rows: list[dict[str, Any]] = []
    fits: dict[str, Fit] = {}
    overall = transition_counts(cohort)
    for reading, data in scenarios(cohort, overall).items():
        say(f"all patients, {reading or 'all readings'}")
        fits[f"all patients: {reading or 'all readings'}"] = fitted = _fit(data, sampling, store)
        one = stratum_matrices(fitted, data, reading)
        matrices += one
        rows += [row for matrix in one for row in matrix_rows(matrix)]
    table = _table(overall, 0)
    tests = (
        list(classical.table_rows(table, cohort.categories, reading=SINGLE)) if table.sum() else []
    )
    if by:
        data = transition_counts(cohort, by)
        for reading, part in with_single(data).items():
            say(f"by {' and '.join(by)}, {reading or 'all readings'}")
            title = f"by {' and '.join(by)}: {reading or 'all readings'}"
            fits[title] = fitted = _fit(part, sampling, store)
            found = level_matrices(fitted, part, reading, by)
            matrices += found
            rows += [row for matrix in found for row in matrix_rows(matrix)]
            for factor in by:
                alone = [m for m in found if [f for f, _ in m.given] == [factor]]
                rows += contrast_rows(alone, factor)
        tests += _stratified_tests(cohort, by)
    read = _assay(overall, sampling, store, say) if assay and has_prior(cohort.categories) else None
    if read is not None:
        rows += list(read.estimates)
        fits |= {f"true classes: {name}": fitted for name, fitted in read.fits.items()}
    return CohortTransitions(
        cohort, tuple(by), overall, tuple(matrices), estimates_table(rows),
        classical.classical_frame(tests), fits, read,
    )  # fmt: skip


def _assay(overall: xr.Dataset, sampling: Sampling, store: Store | None, say: Say) -> AssayResult:
    from her2bayes.transition import assay_error

    say("all patients, true classes behind fallible readings")
    return assay_error.run(overall, sampling=sampling, store=store)


def scenarios(cohort: Cohort, overall: xr.Dataset) -> dict[str, xr.Dataset]:
    """Data by scenario: all readings, single classes only, each ambiguous score as each class."""
    found = with_single(overall)
    pairs = cohort.patients[cohort.patients["pair"]]
    scores = {s for end in ("primary", "recurrence") for s in pairs[f"{end}_score"]}
    for score in sorted(s for s in scores if s == "0 1"):
        ends = dict(cohort.scheme.scores)
        classes = dict.fromkeys(c for part in score.split() for c in ends.get(part, ()))
        for name in classes:
            scheme = cohort.scheme.counting(score.replace(" ", "-"), name)
            found[f"IHC 0-1+ read as {name}"] = transition_counts(reclassified(cohort, scheme))
    return found


def with_single(data: xr.Dataset) -> dict[str, xr.Dataset]:
    """All pairs, and those of single classes, of which there may be none."""
    alone = single(data)
    return {ALL: data, SINGLE: alone} if int(alone["counts"].sum()) else {ALL: data}


def single(data: xr.Dataset) -> xr.Dataset:
    """Return only the pairs of which both readings are one class."""
    classes = [str(name) for name in data["her2"].to_numpy()]
    return data.sel(primary_reading=classes, recurrence_reading=classes, reading=classes)


def _fit(data: xr.Dataset, sampling: Sampling, store: Store | None) -> Fit:
    from her2bayes.inference.fit import fit
    from her2bayes.transition import her2_transition

    return fit(her2_transition.build, data, sampling=sampling, store=store)


def _table(data: xr.Dataset, stratum: int) -> np.ndarray:
    """Counts of the single-class pairs of one stratum (her2_primary, her2)."""
    return single(data)["counts"].isel(stratum=stratum).to_numpy()


def exact_counts(data: xr.Dataset) -> xr.DataArray:
    """Pairs with a single class at the primary, by that class (stratum, her2_primary)."""
    classes = [str(name) for name in data["her2"].to_numpy()]
    primary = data["counts"].sum("recurrence_reading").sel(primary_reading=classes)
    return primary.rename(primary_reading="her2_primary")


def stratum_matrices(fitted: Fit, data: xr.Dataset, reading: str) -> list[Matrix]:
    """One matrix a stratum of the data."""
    pairs = data["counts"].sum(("primary_reading", "recurrence_reading"))
    primary = exact_counts(data)
    total = primary.sum("her2_primary")
    matrices = []
    for name in data["stratum"].to_numpy():
        drawn, before = (
            getattr(fitted, part)["primary_share"].sel(stratum=name, drop=True)
            for part in ("posterior", "prior")
        )
        here = primary.sel(stratum=name, drop=True)
        known = int(total.sel(stratum=name))
        matrices.append(
            Matrix(
                given=_given(data, str(name)),
                transition=fitted.posterior["transition"].sel(stratum=name, drop=True),
                prior=fitted.prior["transition"].sel(stratum=name, drop=True),
                share=drawn,
                prior_share=before,
                observed=here / known if known else drawn.mean(("chain", "draw")),
                pairs=int(pairs.sel(stratum=name)),
                fit=fitted,
                reading=reading,
            )
        )
    return matrices


def _given(data: xr.Dataset, stratum: str) -> tuple[tuple[str, str], ...]:
    factors = data.attrs["factors"]
    return tuple((f, str(data[f].sel(stratum=stratum).item())) for f in factors)


def level_matrices(fitted: Fit, data: xr.Dataset, reading: str, by: Sequence[str]) -> list[Matrix]:
    """Matrices of every level of every factor, and of the crossed strata where there are several.

    With crossed factors the matrix of a level is standardised to this cohort: each row is the mean
    over the strata in the level, weighted by their patients in the primary class of that row.
    """
    cells = stratum_matrices(fitted, data, reading)
    if len(by) == 1:
        return cells
    primary = exact_counts(data)
    pairs = data["counts"].sum(("primary_reading", "recurrence_reading"))
    found = []
    cells = cells if reading == ALL else []
    for factor in by:
        for level in dict.fromkeys(data[factor].to_numpy()):
            inside = [str(s) for s in data["stratum"].to_numpy()[data[factor].to_numpy() == level]]
            found.append(
                _standardised(fitted, primary.sel(stratum=inside), pairs.sel(stratum=inside),
                              ((factor, str(level)),), reading)
            )  # fmt: skip
    return found + cells


def _standardised(
    fitted: Fit, primary: xr.DataArray, pairs: xr.DataArray, given: tuple[tuple[str, str], ...],
    reading: str,
) -> Matrix:  # fmt: skip
    row_total = primary.sum("stratum")
    weight = (primary / row_total.where(row_total > 0)).fillna(pairs / pairs.sum())
    share = pairs / pairs.sum()
    inside = {"stratum": primary["stratum"].to_numpy()}

    def standard(draws: xr.Dataset, name: str, by: xr.DataArray) -> xr.DataArray:
        return tr.pooled(draws[name].sel(inside), by)

    known = int(row_total.sum())
    drawn = standard(fitted.posterior, "primary_share", share)
    return Matrix(
        given=given,
        transition=standard(fitted.posterior, "transition", weight),
        prior=standard(fitted.prior, "transition", weight),
        share=drawn,
        prior_share=standard(fitted.prior, "primary_share", share),
        observed=row_total / known if known else drawn.mean(("chain", "draw")),
        pairs=int(pairs.sum()),
        fit=fitted,
        reading=reading,
    )


def _stratified_tests(cohort: Cohort, by: Sequence[str]) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for factor in by:
        data = transition_counts(cohort, [factor])
        levels = [str(level) for level in data[factor].to_numpy()]
        tables = {level: _table(data, place) for place, level in enumerate(levels)}
        for level, table in tables.items():
            if table.sum():
                given = ((factor, level),)
                rows += classical.table_rows(table, cohort.categories, given, SINGLE)
        rows += classical.stratified_rows(tables, factor, SINGLE)
    return rows
