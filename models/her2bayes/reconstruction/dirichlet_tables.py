"""Exact posterior of transition rows given listed tables, where rows are independent Dirichlet.

    rows P_si ~ Dirichlet(a_i),  primary shares ~ Dirichlet(b, ..., b),  T_s ~ multinomial
    weight of T  =  prod_s n_s! / prod_ij T_sij!  x  prod_si B(a_i + T_si.) / B(a_i)  x  B(b + n_s.)
    P | facts    =  sum_T weight_T  prod_si Dirichlet(a_i + T_si.)                a finite mixture

With a = (1, 1, 1) and printed row totals all tables weigh the same, whatever the number of
patients; with a below 1 those with extreme rows weigh more. No sampling is involved.
"""

from __future__ import annotations

import numpy as np
from scipy.special import betainc, gammaln, logsumexp


def table_weights(tables: np.ndarray, concentration: np.ndarray, share: float = 1.0) -> np.ndarray:
    """Posterior probability of each table (table, stratum, primary, recurrence); they sum to 1.

    ``concentration`` (primary, recurrence) are the Dirichlet parameters of the rows, ``share`` that
    of the primary shares. The tables must be all that agree with the facts, each once.
    """
    row = tables.sum(axis=-1)
    size = row.sum(axis=-1)
    log_weight = (gammaln(tables + concentration) - gammaln(tables + 1.0)).sum(axis=(-3, -2, -1))
    log_weight += (gammaln(row + share) - gammaln(row + concentration.sum(-1))).sum(axis=(-2, -1))
    log_weight += (gammaln(size + 1.0) - gammaln(size + share * row.shape[-1])).sum(axis=-1)
    return np.asarray(np.exp(log_weight - logsumexp(log_weight)))


def mixture_moments(
    tables: np.ndarray, weight: np.ndarray, concentration: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Posterior mean and standard deviation of every transition probability."""
    a = tables + concentration
    total = a.sum(axis=-1, keepdims=True)
    mean = np.tensordot(weight, a / total, 1)
    square = np.tensordot(weight, a * (a + 1) / (total * (total + 1)), 1)
    return mean, np.sqrt(np.maximum(square - mean**2, 0.0))


def mixture_cdf(
    value: np.ndarray, tables: np.ndarray, weight: np.ndarray, concentration: np.ndarray
) -> np.ndarray:
    """Posterior probability that each transition probability is at most ``value`` (same shape)."""
    a = tables + concentration
    rest = a.sum(axis=-1, keepdims=True) - a
    return np.asarray(np.tensordot(weight, betainc(a, rest, value), 1))


def mixture_draws(
    tables: np.ndarray,
    weight: np.ndarray,
    concentration: np.ndarray,
    share: float,
    number: int,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Independent draws: tables, transition (draw, stratum, primary, recurrence), shares."""
    table = tables[rng.choice(len(tables), size=number, p=weight)]
    row = rng.standard_gamma(table + concentration)
    primary = rng.standard_gamma(table.sum(axis=-1) + share)
    return table, row / row.sum(-1, keepdims=True), primary / primary.sum(-1, keepdims=True)
