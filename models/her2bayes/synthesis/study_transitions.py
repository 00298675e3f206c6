"""Transition over several studies, printed whole or in part or held as patients, and in a new one.

    transition, primary_share        as in ``transition.rows``; the factor "study" has the spread
                                     between studies, a further factor adds to it
    flow[s,i,j]     = primary_share[s,i] transition[s,i,j]
    y               ~ Binomial(n, sum over ``inside`` of flow / sum over ``rest`` of flow)
    tables agree with the facts of a study that prints its table in part, as in ``latent_table``

The cells that a study prints are one such binomial after another, so that a study recorded in
coarser classes (negative, positive), one of patients read partly as sets of classes, and one that
left a class out by design (its cells are in no ``rest``) all enter as they are. What a study does
not print it borrows from the others as far as the spread between them allows. The matrix of a study
not among the data:

    mean | centre, sd   normal: precision-weighted between prior mean and centre
    log odds of the new stratum = mean + sum_f Normal(0, sd_f)

Factors that are ``known`` are held at a level, or at their average, instead.

Not identified: the spread between two or three studies; rows of a primary class that no study has,
which stay at the prior; what a further factor does in one study but not in another (its effect is
taken to be the same in all).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import xarray as xr

from her2bayes.bayes.prior import Prior, complete
from her2bayes.transition.rows import (
    ROW_PRIORS,
    changes,
    coordinates,
    facts_agree,
    log_odds_mean,
    logistic_rows,
    primary_shares,
    strata_design,
)

DEFAULT_PRIORS = ROW_PRIORS


def build(data: Mapping[str, xr.Dataset], priors: Mapping[str, Prior] | None = None) -> Any:
    """Model of ``data["strata"]``, ``data["pairs"]`` and ``data["tables"]`` (``pairs.StudyPairs``).

    ``strata`` has the factors as coords on ``stratum`` and ``size``; ``pairs`` the binomials by
    ``entry`` (``at``, ``n``, ``y``, ``inside`` and ``rest`` over ``cell``); ``tables`` is that of
    ``listed_tables``. The last two may be absent. Posterior variables ``transition``,
    ``primary_share``, ``centre``, ``deviation_sd``. Raises ``BadInput`` for an unknown prior.
    """
    import pymc as pm
    import pymc.dims as pmd

    priors = complete(priors, DEFAULT_PRIORS)
    pairs, tables = data.get("pairs"), data.get("tables")
    strata = strata_design(data["strata"], data["strata"]["size"].values)
    her2 = [str(name) for name in data["strata"]["her2"].values]
    labels: dict[str, Any] = coordinates(strata, her2)
    if pairs is not None:
        labels["entry"] = list(range(pairs.sizes["entry"]))
    with pm.Model(coords=labels) as model:
        transition = logistic_rows(strata, her2, priors)
        flow = primary_shares(priors) * transition
        if pairs is not None:
            bare = pairs.drop_vars(list(pairs.coords))
            at, n, y, inside, rest = (
                pmd.Data(f"pairs_{name}", bare[name]) for name in ("at", "n", "y", "inside", "rest")
            )
            every = flow.transpose("stratum", "her2_primary", "her2").stack(
                {"read_pair": ("her2_primary", "her2")}
            )
            here = every.isel(stratum=at)
            chance = (here * inside).sum("read_pair") / (here * rest).sum("read_pair")
            pmd.Binomial("pairs", n=n, p=chance, observed=y)
        if tables is not None:
            facts_agree(tables, strata["stratum"].values, flow)
    return model


def new_stratum(
    draws: xr.Dataset,
    mean_share: xr.DataArray,
    priors: Mapping[str, Prior],
    *,
    known: Collection[str] = (),
    shift: xr.DataArray | float = 0.0,
    seed: int = 0,
) -> xr.DataArray:
    """Draws of the new stratum's rows (chain, draw, her2_primary, her2).

    ``draws`` holds ``centre`` (change) and ``deviation_sd`` (factor), posterior or prior;
    ``mean_share`` (factor) is that of ``rows.strata_design``: 0 for padding. ``known`` factors add
    no spread, but ``shift`` (change), what their level does to the log odds.
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
    return rows_at(mean + noise + shift + _like(centre, rng) * np.sqrt(between))


def rows_at(log_odds: xr.DataArray) -> xr.DataArray:
    """Rows (chain, draw, her2_primary, her2) of log odds (chain, draw, change)."""
    names = [str(name).split("->") for name in log_odds["change"].values]
    her2 = list(dict.fromkeys(name for pair in names for name in pair))
    logits = (log_odds * changes(her2)).sum("change")
    odds = xr.DataArray(np.exp(logits - logits.max("her2")))
    return (odds / odds.sum("her2")).transpose("chain", "draw", "her2_primary", "her2")


def log_odds_of(transition: xr.DataArray) -> xr.DataArray:
    """Log odds (..., change) of each change against staying."""
    her2 = [str(name) for name in transition["her2"].values]
    found = []
    for change in (f"{a}->{b}" for a in her2 for b in her2 if a != b):
        start, end = change.split("->")
        row = transition.sel(her2_primary=start, drop=True)
        odds = row.sel(her2=end, drop=True) / row.sel(her2=start, drop=True)
        found.append(xr.DataArray(np.log(odds)).expand_dims(change=[change]))
    return xr.concat(found, "change")


def _like(draws: xr.DataArray, rng: np.random.Generator) -> xr.DataArray:
    return draws.copy(data=rng.standard_normal(draws.shape))
