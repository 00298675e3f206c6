"""Several studies in one model: patients of some, printed facts of others, and a new centre.

Each study is a stratum of the factor "study". A study whose whole table is printed, one of which
only sums are known, and one recorded in coarser classes (negative / positive) all enter; what a
study does not print it borrows from the others as far as the spread between them allows.

Transition matrix of a stratum not among the data: a new centre, a new level of every factor.

    mean | centre, sd   normal: precision-weighted between prior mean and centre
    log odds of the new stratum = mean + sum_f Normal(0, sd_f)

Factors in ``known`` are held at their average instead: a new study of the usual mix of patients.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import xarray as xr

from her2bayes.bayes.prior import Prior
from her2bayes.errors import Fault, raise_if
from her2bayes.inference.fit import Fit, fit
from her2bayes.inference.sampling import Sampling
from her2bayes.transition import transition_synthesis
from her2bayes.transition.design import STUDY, changes, design
from her2bayes.transition.draws import Matrix
from her2bayes.transition.rows import log_odds_mean
from her2bayes.transition.tables.facts import TableSet, table_set
from her2bayes.transition.tables.polytope import conflict, listed_tables

if TYPE_CHECKING:
    from her2bayes.inference.store import Store


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
    ``mean_share`` (factor) is that of ``transition_design.design``: 0 for padding.
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
    fitted = fit(transition_synthesis.build, data, sampling=sampling, store=store)
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
    at = {"stratum": name}
    after, before = fitted.posterior.sel(at, drop=True), fitted.prior.sel(at, drop=True)
    part = next(d for d in data.values() if name in d["stratum"].values).sel(at, drop=True)
    pairs = part["counts"].sum() if "counts" in part else part["patients"]
    return Matrix(
        given=((STUDY, name),),
        transition=after["transition"],
        prior=before["transition"],
        share=after["primary_share"],
        prior_share=before["primary_share"],
        observed=after["primary_share"],
        pairs=int(pairs),
        fit=fitted,
    )


def _new_centre(fitted: Fit, data: Mapping[str, xr.Dataset], seed: int) -> Matrix:
    """Rows of a new study, on the mean primary shares of the studies at hand."""
    strata = xr.Dataset(coords={
        "stratum": list(fitted.posterior["stratum"].values),
        STUDY: ("stratum", list(fitted.posterior["stratum"].values)),
    }, attrs={"factors": [STUDY]})  # fmt: skip
    mean_share = design(strata, pd.Series(1.0, range(strata.sizes["stratum"])).to_numpy())[
        "mean_share"
    ]
    rows = [
        new_stratum(draws, mean_share, transition_synthesis.DEFAULT_PRIORS, seed=seed + place)
        for place, draws in enumerate((fitted.posterior, fitted.prior))
    ]
    share = fitted.posterior["primary_share"].mean("stratum")
    prior_share = fitted.prior["primary_share"].mean("stratum")
    return Matrix(
        given=((STUDY, NEW),),
        transition=rows[0],
        prior=rows[1],
        share=share,
        prior_share=prior_share,
        observed=share,
        pairs=0,
        fit=fitted,
    )
