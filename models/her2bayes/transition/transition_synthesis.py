"""Transition over several studies, of patients or printed facts only, and in a new centre.

    transition, primary_share        as in ``rows``; the factor "study" has the spread between
                                     studies, further factors add to it
    pairs, partial                   of the studies with patients, as in ``her2_transition``
    agrees                           of the studies with printed facts, as in ``latent_table``

Each study is a stratum of the factor "study". A study whose whole table is printed, one of which
only sums are known, and one recorded in coarser classes (negative / positive) all enter; what a
study does not print it borrows from the others as far as the spread between them allows. The matrix
of a stratum not among the data, a new centre with a new level of every factor:

    mean | centre, sd   normal: precision-weighted between prior mean and centre
    log odds of the new stratum = mean + sum_f Normal(0, sd_f)

Factors in ``known`` are held at their average instead: a new study of the usual mix of patients.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import xarray as xr

from her2bayes.bayes.prior import Prior, complete
from her2bayes.errors import BadInput, Fault, raise_if
from her2bayes.inference.fit import Fit, fit
from her2bayes.inference.sampling import Sampling
from her2bayes.transition.draws import Matrix, Rows, rows_of
from her2bayes.transition.facts import TableSet, table_set
from her2bayes.transition.polytope import conflict, listed_tables
from her2bayes.transition.rows import (
    ROW_PRIORS,
    STUDY,
    changes,
    coordinates,
    facts_agree,
    listed_labels,
    log_odds_mean,
    logistic_rows,
    observe_pairs,
    primary_shares,
    split_readings,
    strata_design,
)

if TYPE_CHECKING:
    from her2bayes.inference.store import Store


DEFAULT_PRIORS = ROW_PRIORS


def build(data: Mapping[str, xr.Dataset], priors: Mapping[str, Prior] | None = None) -> Any:
    """Model of ``data["pairs"]`` (TransitionCounts) and ``data["tables"]`` (``listed_tables``).

    Either may be absent. Strata of both carry the same factors as coords. Posterior variables
    ``transition``, ``primary_share``, ``centre``, ``deviation_sd``. Raises ``BadInput``.
    """
    import pymc as pm

    priors = complete(priors, DEFAULT_PRIORS)
    pairs, tables = data.get("pairs"), data.get("tables")
    readings = None if pairs is None else split_readings(pairs)
    strata = strata_design(*all_strata(pairs, tables, readings))
    her2 = [str(n) for n in (pairs if pairs is not None else tables)["her2"].values]  # type: ignore[index]
    labels = coordinates(strata, her2)
    if readings is not None:
        labels["pair"] = [str(name) for name in readings["pair"].values]
    if tables is not None:
        labels.update(listed_labels(tables))  # type: ignore[arg-type]
    with pm.Model(coords=labels) as model:
        transition = logistic_rows(strata, her2, priors)
        flow = primary_shares(priors) * transition
        if readings is not None:
            observe_pairs(readings, strata["stratum"].values, flow)
        if tables is not None:
            facts_agree(tables, strata["stratum"].values, flow)
    return model


def all_strata(
    pairs: xr.Dataset | None, tables: xr.Dataset | None, readings: xr.Dataset | None
) -> tuple[xr.Dataset, np.ndarray]:
    """Strata of both sources with their factors, and the pairs of patients in each."""
    if pairs is None and tables is None:
        raise BadInput(Fault("no study", remedy="give 'pairs', 'tables' or both"))
    found, sizes = [], []
    for source, size in ((pairs, readings), (tables, tables)):
        if source is None or size is None:
            continue
        found.append(source)
        sizes.append(size["pairs" if "pairs" in size else "patients"].values)
    factors = [list(source.attrs.get("factors", [])) for source in found]
    classes = [list(source["her2"].values) for source in found]
    names = [str(name) for source in found for name in source["stratum"].values]
    raise_if(
        [
            Fault(f"{what} of the studies differ", value=values)
            for what, values in (("factors", factors), ("classes", classes))
            if any(value != values[0] for value in values)
        ]
        + [Fault("two strata have one name", value=n) for n in set(names) if names.count(n) > 1]
    )
    coords: dict[str, Any] = {"stratum": names}
    for factor in factors[0]:
        levels = [str(level) for source in found for level in source[factor].values]
        coords[factor] = ("stratum", levels)
    return xr.Dataset(coords=coords, attrs={"factors": factors[0]}), np.concatenate(sizes)


def new_stratum(
    draws: xr.Dataset,
    mean_share: xr.DataArray,
    priors: Mapping[str, Prior],
    *,
    known: Collection[str] = (),
    seed: int = 0,
) -> xr.DataArray:
    """Draws of the new stratum's rows (chain, draw, her2_primary, her2).

    ``draws`` holds ``centre`` (change) and ``deviation_sd`` (factor), posterior or prior;
    ``mean_share`` (factor) is that of ``rows.strata_design``: 0 for padding.
    """
    rng = np.random.default_rng(seed)
    her2 = [str(name) for name in draws["her2"].values]
    share = mean_share.sel(factor=draws["factor"].values)
    mu, variance = log_odds_mean(priors, len(her2)), float(priors["log_odds"]["sigma"]) ** 2
    centre = draws["centre"].transpose("chain", "draw", "change")
    spread = (share * draws["deviation_sd"] ** 2).sum("factor").transpose("chain", "draw")
    weight = variance / (variance + spread)
    mean = mu + weight * (centre - mu)
    noise = _like(centre, rng) * np.sqrt(weight * spread)
    used = (share > 0) & ~share["factor"].isin(list(known))
    between = (draws["deviation_sd"] ** 2).where(used, 0.0).sum("factor")
    log_odds = mean + noise + _like(centre, rng) * np.sqrt(between)
    logits = (log_odds * changes(her2)).sum("change")
    odds = xr.DataArray(np.exp(logits - logits.max("her2")))
    return (odds / odds.sum("her2")).transpose("chain", "draw", "her2_primary", "her2")


def _like(draws: xr.DataArray, rng: np.random.Generator) -> xr.DataArray:
    return draws.copy(data=rng.standard_normal(draws.shape))


NEW = "new centre"


@dataclass(frozen=True)
class Synthesis:
    """A joint fit, the matrix of every study and that of a new centre."""

    fit: Fit
    matrices: tuple[Matrix, ...]
    new_centre: Matrix


def synthesise(
    pairs: Mapping[str, xr.Dataset],
    facts: Mapping[str, pd.DataFrame],
    her2: Sequence[str],
    *,
    readings: Mapping[str, str] | None = None,
    sampling: Sampling = Sampling(),  # noqa: B008 (frozen)
    store: Store | None = None,
) -> Synthesis:
    """Fit TransitionCounts (``pairs``) and transition facts (``facts``) of studies together.

    Both map a study's name to its data; counts are summed over their strata, of facts those on all
    patients are used, under the reading ``readings`` names for the study. Raises ``BadInput`` for
    fewer than two studies, a name used twice, or facts that contradict each other.
    """
    readings = readings or {}
    sets = {
        name: table_set(table, her2, (), readings.get(name, "")) for name, table in facts.items()
    }
    raise_if(_faults(pairs, sets))
    data = {}
    if pairs:
        data["pairs"] = side_by_side(pairs)
    if sets:
        named = [_as_study(name, tables) for name, tables in sets.items()]
        data["tables"] = listed_tables(named)
    fitted = fit(build, data, sampling=sampling, store=store)
    matrices = [_matrix(fitted, name, data) for name in (*pairs, *sets)]
    return Synthesis(fitted, tuple(matrices), _new_centre(fitted, data, sampling.seed))


def side_by_side(pairs: Mapping[str, xr.Dataset]) -> xr.Dataset:
    """TransitionCounts of several studies as strata of one data set, factor "study"."""
    readings = list(dict.fromkeys(str(r) for one in pairs.values() for r in one["reading"].values))
    known = {
        str(r): one["incidence"].sel(reading=r).values
        for one in pairs.values()
        for r in one["reading"].values
    }
    counts = [
        one["counts"].sum("stratum").reindex(
            primary_reading=readings, recurrence_reading=readings, fill_value=0
        )
        for one in pairs.values()
    ]  # fmt: skip
    first = next(iter(pairs.values()))
    return xr.Dataset(
        {
            "counts": xr.concat(counts, "stratum").astype("int64"),
            "incidence": (("reading", "her2"), [known[name] for name in readings]),
        },
        coords={
            "stratum": list(pairs),
            STUDY: ("stratum", list(pairs)),
            "reading": readings,
            "her2": first["her2"].values,
        },
        attrs={"factors": [STUDY]},
    )


def _as_study(name: str, tables: TableSet) -> TableSet:
    return TableSet(
        (((STUDY, name),),), tables.her2, tables.form, tables.lower, tables.upper,
        tables.fact_id, tables.reading,
    )  # fmt: skip


def _faults(pairs: Mapping[str, xr.Dataset], sets: Mapping[str, TableSet]) -> list[Fault]:
    faults = [
        Fault("a study is given twice", value=name, remedy="give pairs or facts of it, not both")
        for name in pairs
        if name in sets
    ]
    if len(pairs) + len(sets) < 2:
        faults.append(Fault("fewer than two studies", value=[*pairs, *sets]))
    for name, tables in sets.items():
        contradicting = conflict(tables)
        if contradicting:
            value = ", ".join(contradicting)
            faults.append(Fault(f"no table of study '{name}' agrees with its facts", value=value))
    return faults


def _matrix(fitted: Fit, name: str, data: Mapping[str, xr.Dataset]) -> Matrix:
    part = next(d for d in data.values() if name in d["stratum"].values)
    part = part.sel({"stratum": name}, drop=True)
    pairs = part["counts"].sum() if "counts" in part else part["patients"]
    share = fitted.posterior["primary_share"].sel(stratum=name, drop=True)
    after, before = (rows_of(group, name, share) for group in (fitted.posterior, fitted.prior))
    return Matrix(((STUDY, name),), after, before, int(pairs), fitted)


def _new_centre(fitted: Fit, data: Mapping[str, xr.Dataset], seed: int) -> Matrix:
    """Rows of a new study, on the mean primary shares of the studies at hand."""
    names = [str(name) for name in fitted.posterior["stratum"].values]
    coords = {"stratum": names, STUDY: ("stratum", names)}
    strata = xr.Dataset(coords=coords, attrs={"factors": [STUDY]})
    mean_share = strata_design(strata, np.ones(len(names)))["mean_share"]
    observed = fitted.posterior["primary_share"].mean("stratum")
    after, before = (
        Rows(
            new_stratum(group, mean_share, DEFAULT_PRIORS, seed=seed + place),
            group["primary_share"].mean("stratum"),
            observed,
        )
        for place, group in enumerate((fitted.posterior, fitted.prior))
    )
    return Matrix(((STUDY, NEW),), after, before, 0, fitted)
