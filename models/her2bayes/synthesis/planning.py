"""Assurance: how many patients a new cohort needs for a statement to come out, from the predictive.

A statement (``share[her2=low] > 0.45``) comes out in a cohort of n patients where the posterior
probability of it, from the cohort alone under a flat prior, is 0.975 or more. Assurance is the
probability of that over what the synthesis predicts of a new study (O'Hagan et al. 2005,
Pharmaceutical Statistics 4:187); it is bounded by the predictive probability that the statement is
true, however many patients there are.

    share, transition   y ~ Binomial(n, share), share | y ~ Beta(1 + y, 1 + n - y): summed over y
    ratio of hazards    log ratio ~ Normal(truth, 1 / sqrt(events p (1 - p))), p in the first group
    median              log median ~ Normal(truth, 1 / sqrt(events))
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy import stats

from her2bayes.errors import BadInput, Fault
from her2bayes.estimand import Estimand, parse

if TYPE_CHECKING:
    from her2bayes.results.fitted import Fitted

STUDY = "study"
AVERAGE, NEW = "average", "new"
"""Levels of the condition ``study``: the middle of the studies, and one that is not among them."""

SIZES = (25, 50, 75, 100, 150, 200, 300, 400, 600, 800, 1200, 1600, 2400)
HOLDS = 0.975
"""Posterior probability at which a statement comes out."""


def assurance(
    fit: Fitted, statement: str, sizes: Sequence[int] = SIZES, *, first: float = 0.5
) -> pd.DataFrame:
    """One row a size: assurance, its Monte-Carlo error, and the most it can be.

    ``sizes`` are patients (of the primary class, for a transition), or events for ratios and
    medians. ``first`` is the share of patients in the first group of a ratio.
    """
    asked, above, limit = _statement(statement)
    if STUDY not in asked.conditions:
        asked = asked.where(**{STUDY: NEW})
    truth = fit.drawn([asked], "posterior")[asked].to_numpy().ravel()
    holds = truth > limit if above else truth < limit
    rows = []
    for size in sizes:
        if asked.kind in ("share", "transition"):
            chance = _of_share(truth, size, limit, above)
        else:
            chance = _of_log(truth, size, limit, above, asked, first)
        rows.append({
            "size": size, "assurance": float(chance.mean()),
            "mcse": float(chance.std() / np.sqrt(len(chance))), "most": float(holds.mean()),
        })  # fmt: skip
    return pd.DataFrame(rows)


def needed(table: pd.DataFrame, wanted: float = 0.8) -> int | None:
    """Least size of ``assurance`` that reaches ``wanted``; None where none does."""
    enough = table[table["assurance"] >= wanted]["size"]
    return int(enough.iloc[0]) if len(enough) else None


def _statement(text: str) -> tuple[Estimand, bool, float]:
    for sign in (">", "<"):
        head, mark, tail = text.rpartition(sign)
        if mark and head.rstrip().endswith("]"):
            try:
                return parse(head.strip()), sign == ">", float(tail)
            except ValueError:
                break
    raise BadInput(Fault("not a statement", value=text, allowed="<estimand> > or < <number>",
                         remedy='e.g. "share[her2=low] > 0.45"'))  # fmt: skip


def _of_share(truth: np.ndarray, size: int, limit: float, above: bool) -> np.ndarray:
    y = np.arange(size + 1)
    posterior = stats.beta(1 + y, 1 + size - y)
    out = np.asarray(posterior.sf(limit) if above else posterior.cdf(limit)) >= HOLDS
    if not out.any():
        return np.zeros_like(truth)
    if above:
        return np.asarray(stats.binom.sf(y[out].min() - 1, size, truth))
    return np.asarray(stats.binom.cdf(y[out].max(), size, truth))


def _of_log(
    truth: np.ndarray, events: int, limit: float, above: bool, asked: Estimand, first: float
) -> np.ndarray:
    known = events * (first * (1 - first) if asked.contrast else 1.0)
    error = known**-0.5
    z = (np.log(truth) - np.log(limit)) / error
    return np.asarray(stats.norm.cdf((z if above else -z) - stats.norm.ppf(HOLDS)))
