"""The table sampler against exact answers: enumeration, quadrature, and any number of cores."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from scipy.special import gammaln, logsumexp

from agreement import disagreements, summary
from her2bayes.evidence.printed.study import load_study, study_folder
from her2bayes.inference.convergence import Diagnostics, verdict
from her2bayes.inference.sampling import Sampling
from her2bayes.transition.facts import TableSet, cell_mask, table_set
from her2bayes.transition.polytope import enumerate_tables
from her2bayes.transition.rows import ROW_PRIORS, log_odds_mean
from her2bayes.transition.table_fit import table_weights
from her2bayes.transition.table_sampler import sample_dirichlet, sample_rows


def mixture_moments(
    tables: np.ndarray, weight: np.ndarray, concentration: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Posterior mean and standard deviation of every transition probability."""
    a = tables + concentration
    total = a.sum(axis=-1, keepdims=True)
    mean = np.tensordot(weight, a / total, 1)
    square = np.tensordot(weight, a * (a + 1) / (total * (total + 1)), 1)
    return mean, np.sqrt(np.maximum(square - mean**2, 0.0))


HER2 = ("zero", "low", "positive")
ALPHA = np.full((3, 3), 0.6) + 1.2 * np.eye(3)
LONG = Sampling(draws=5000, tune=500)


@pytest.fixture(scope="module")
def shi() -> TableSet:
    facts = load_study(study_folder("shi2023")).transition_facts
    return table_set(facts, HER2, (), "abstract")


def two_strata(sizes_printed: bool) -> TableSet:
    """Two strata of 9 and 7 patients, one bound, one fact on their sum; about 400 tables."""
    facts = [("*->zero", 0, 4), ("off_diagonal", 0, 4), ("*->zero", 1, 2), ("zero->*", None, 7)]
    facts += [("low->low", None, 2), ("positive->*", 1, 2), ("*->low", 0, 3)]
    facts += [("*->*", 0, 9), ("*->*", 1, 7)] if sizes_printed else [("*->*", None, 16)]
    form = np.zeros((len(facts) + 1, 2, 3, 3), dtype=np.int64)
    for number, (cells, stratum, _) in enumerate(facts):
        form[number, slice(None) if stratum is None else stratum] = cell_mask(cells, HER2)
    form[-1, 1] = cell_mask("off_diagonal", HER2)
    value = np.array([fact[2] for fact in facts])
    return TableSet(
        ((("s", "a"),), (("s", "b"),)), HER2, form, np.append(value, 2), np.append(value, 4),
        tuple(str(n) for n in range(len(form))),
    )  # fmt: skip


def probabilities(draws: xr.Dataset, members: np.ndarray) -> tuple[np.ndarray, float]:
    """Share of each member among the drawn tables, and the share of draws that are members."""
    drawn = draws["table"].transpose("chain", "draw", "stratum", "her2_primary", "her2")
    key = {table.tobytes(): place for place, table in enumerate(members.astype(np.int64))}
    values = drawn.to_numpy().reshape(-1, *members.shape[1:])
    places = [key.get(table.tobytes(), -1) for table in values]
    count = np.bincount([p for p in places if p >= 0], minlength=len(members))
    return count / len(values), 1 - places.count(-1) / len(values)


@pytest.mark.slow
@pytest.mark.parametrize("sizes_printed", [True, False])
def test_sampled_tables_have_their_exact_probabilities(sizes_printed: bool) -> None:
    """Every cell's mean and the probability of every table, within Monte-Carlo error."""
    tables = two_strata(sizes_printed)
    members = enumerate_tables(tables)
    assert 100 < len(members) < 5000
    weight = table_weights(members, ALPHA)
    draws = sample_dirichlet(tables, ALPHA, 1.0, LONG)
    frequency, inside = probabilities(draws, members)
    assert inside == 1
    effective = LONG.chains * LONG.draws / 2
    error = np.sqrt(weight * (1 - weight) / effective)
    assert (np.abs(frequency - weight) < 4.5 * error + 1e-4).all()
    mean, _ = mixture_moments(members, weight, ALPHA)
    for place in np.ndindex(2, 3, 3):
        one = summary(draws["transition"][(..., *place)])
        assert abs(one["mean"] - mean[place]) < 4 * one["mcse_mean"]


@pytest.mark.slow
def test_dirichlet_rows_on_shi(shi: TableSet) -> None:
    """Dirichlet(1/2) rows: the nine probabilities of the exact mixture."""
    draws = sample_dirichlet(shi, np.full((3, 3), 0.5), 1.0, LONG)
    first = draws["table"].sel(her2_primary="zero", her2="zero").to_numpy().ravel()
    frequency = np.bincount(first, minlength=27)[18:] / first.size
    expected = [0.247, 0.118, 0.088, 0.075, 0.069, 0.069, 0.074, 0.091, 0.169]
    np.testing.assert_allclose(frequency, expected, atol=0.015)


def quadrature(members: np.ndarray) -> tuple[np.ndarray, dict[tuple[int, int], dict[str, float]]]:
    """Exact posterior of logistic-normal rows of one stratum: weights of tables, summaries of P.

    Each row is a two-dimensional integral over its log odds, here on a grid of 281 x 281.
    """
    grid = np.linspace(-8.5, 5.5, 281)
    one, two = np.meshgrid(grid, grid, indexing="ij")
    mu, sigma = log_odds_mean(ROW_PRIORS, 3), 1.0
    prior = -0.5 * (((one - mu) / sigma) ** 2 + ((two - mu) / sigma) ** 2)
    total = np.logaddexp(0.0, np.logaddexp(one, two))
    log_p = {0: np.stack([-total, one - total, two - total])}
    log_p |= {1: log_p[0][[1, 0, 2]], 2: log_p[0][[1, 2, 0]]}
    evidence = np.zeros((len(members), 3))
    density = np.zeros((3, len(members), *one.shape))
    for i in range(3):
        for number, table in enumerate(members[:, 0]):
            log_joint = prior + np.tensordot(table[i].astype(float), log_p[i], 1)
            evidence[number, i] = logsumexp(log_joint)
            density[i, number] = np.exp(log_joint - evidence[number, i])
    log_weight = evidence.sum(axis=1) - gammaln(members + 1.0).sum(axis=(1, 2, 3))
    weight = np.exp(log_weight - logsumexp(log_weight))
    found = {}
    for i, j in np.ndindex(3, 3):
        mass, p = np.tensordot(weight, density[i], 1).ravel(), np.exp(log_p[i][j]).ravel()
        order = np.argsort(p)
        lower, upper = np.interp([0.025, 0.975], np.cumsum(mass[order]), p[order])
        mean = float(mass @ p)
        found[i, j] = {
            "mean": mean, "sd": float(np.sqrt(mass @ (p - mean) ** 2)), "lower": lower,
            "upper": upper, **{f"mcse_{s}": 0.0 for s in ("mean", "sd", "lower", "upper")},
        }  # fmt: skip
    return weight, found


@pytest.mark.slow
def test_logistic_normal_rows_on_shi_agree_with_quadrature(shi: TableSet) -> None:
    members = enumerate_tables(shi)
    weight, exact = quadrature(members)
    draws = sample_rows(shi, ROW_PRIORS, LONG)
    frequency, inside = probabilities(draws, members)
    assert inside == 1
    assert (np.abs(frequency - weight) < 0.02).all()
    assert [
        text
        for (i, j), known in exact.items()
        for text in disagreements(summary(draws["transition"][..., 0, i, j]), known, f"{i}{j}")
    ] == []


@pytest.mark.slow
def test_shi_subgroups_converge() -> None:
    """Default settings give every transition of relapse type a passing verdict."""
    facts = load_study(study_folder("shi2023")).transition_facts
    tables = table_set(facts, HER2, ["relapse_type"], "abstract")
    draws = sample_rows(tables, ROW_PRIORS, Sampling())
    run = Diagnostics(4, 1000, 0, np.inf)
    for place in np.ndindex(*tables.shape):
        assert verdict(draws["transition"][(..., *place)], run).passed
    assert tables.holds(draws["table"].to_numpy()).all()


@pytest.mark.slow
def test_draws_do_not_depend_on_cores() -> None:
    tables, short = two_strata(True), Sampling(draws=20, tune=10, chains=3)
    for one, two in (
        (sample_rows(tables, ROW_PRIORS, short, cores=c) for c in (1, 3)),
        (sample_dirichlet(tables, ALPHA, 1.0, short, cores=c) for c in (1, 3)),
    ):
        xr.testing.assert_identical(one, two)
        assert len(np.unique(one["transition"].to_numpy()[:, -1, 0, 0, 0])) == 3


def test_a_single_possible_table_is_sampled_as_it_is() -> None:
    value = np.array([5, 1, 4, 2])
    form = np.stack([np.eye(4, dtype=int).reshape(4, 1, 2, 2)[n] for n in range(4)])
    tables = TableSet(((),), ("a", "b"), form, value, value, ("1", "2", "3", "4"))
    short = Sampling(draws=50, tune=10, chains=2)
    for draws in (
        sample_rows(tables, ROW_PRIORS, short),
        sample_dirichlet(tables, np.ones((2, 2)), 1.0, short),
    ):
        assert (draws["table"].to_numpy() == value.reshape(2, 2)).all()
        np.testing.assert_allclose(draws["transition"].sum("her2"), 1.0)
