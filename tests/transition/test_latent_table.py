"""The likelihood that sums over tables: brute force, grouping, calibration, and the sampler."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from scipy import stats
from scipy.special import gammaln, logsumexp

from agreement import disagreements, summary
from her2bayes.errors import BadInput
from her2bayes.evidence.printed.study import load_study, study_folder
from her2bayes.inference import engine
from her2bayes.inference.convergence import diagnostics
from her2bayes.inference.sampling import Sampling
from her2bayes.transition import latent_table
from her2bayes.transition.facts import TableSet, cell_mask, table_set
from her2bayes.transition.polytope import enumerate_tables, listed_tables
from her2bayes.transition.rows import ROW_PRIORS, log_odds_mean
from her2bayes.transition.table_sampler import sample_rows

HER2 = ("zero", "low", "positive")


def shi(*factors: str) -> TableSet:
    facts = load_study(study_folder("shi2023")).transition_facts
    return table_set(facts, HER2, factors, "abstract")


def subgroup(level: str) -> TableSet:
    """Facts on one level of HR status alone: recurrence margin and discordant patients."""
    facts = load_study(study_folder("shi2023")).transition_facts
    return table_set(facts[facts["level"] == level], HER2, ["hr_status"])


def log_facts(data: xr.Dataset) -> tuple[np.ndarray, np.ndarray]:
    """Log probability of the facts of each block, and cell probabilities, at the initial point."""
    with engine.compiler_flags():
        model = latent_table.build(data)
        logp = model.logp(model["agrees"], sum=False)
        values = model.replace_rvs_by_values([model["primary_share"], model["transition"]])
        function = model.compile_fn(
            [logp[0] if isinstance(logp, list) else logp, *values],
            inputs=model.value_vars, mode="FAST_COMPILE", on_unused_input="ignore",
        )  # fmt: skip
        agrees, share, transition = function(model.initial_point())
    strata = data.sizes["stratum"]
    return np.asarray(agrees), (share[..., None] * transition)[:strata]


def test_likelihood_is_the_sum_of_the_multinomials_of_all_tables() -> None:
    tables = shi()
    found, theta = log_facts(listed_tables([tables]))
    terms = [
        stats.multinomial.logpmf(table.ravel(), 247, theta[0].ravel())
        for table in enumerate_tables(tables)[:, 0]
    ]
    assert found == pytest.approx(logsumexp(terms), rel=1e-9)


def test_grouped_tables_sum_to_the_same_likelihood() -> None:
    """Groups of cells are summed in closed form: 600 listed in place of all tables."""
    small = TableSet(
        ((("hr_status", "x"),),), HER2,
        np.stack([cell_mask(c, HER2) for c in ("*->*", "*->zero", "*->low", "diagonal")])[:, None],
        np.array([14, 4, 6, 8]), np.array([14, 4, 6, 8]), ("n", "z", "l", "d"),
    )  # fmt: skip
    listed = listed_tables([small])
    members = enumerate_tables(small)
    assert listed.sizes["candidate"] < len(members) / 10
    found, theta = log_facts(listed)
    terms = [stats.multinomial.logpmf(t.ravel(), 14, theta[0].ravel()) for t in members[:, 0]]
    assert found == pytest.approx(logsumexp(terms), rel=1e-9)


@pytest.mark.slow
def test_independent_sources_are_blocks_that_multiply() -> None:
    both = listed_tables([subgroup("positive"), subgroup("negative")])
    assert both.sizes["stratum"] == 2
    assert list(both["hr_status"].to_numpy()) == ["positive", "negative"]
    found, _ = log_facts(both)
    alone = [log_facts(listed_tables([subgroup(level)]))[0] for level in ("positive", "negative")]
    np.testing.assert_allclose(found, np.ravel(alone), rtol=1e-9)


def test_strata_of_unknown_size_cannot_be_listed() -> None:
    form = np.zeros((2, 2, 3, 3), dtype=np.int64)
    form[0], form[1, 0] = 1, cell_mask("*->zero", HER2)
    value = np.array([3, 1])
    strata = ((("s", "a"),), (("s", "b"),))
    with pytest.raises(BadInput, match="number of patients of a stratum"):
        listed_tables([TableSet(strata, HER2, form, value, value, ("n", "zero"))])


def test_impossible_facts_cannot_be_listed() -> None:
    facts = load_study(study_folder("shi2023")).transition_facts
    with pytest.raises(BadInput, match="no table agrees"):
        listed_tables([table_set(facts, HER2, (), "results")])


GRID = np.linspace(-7.5, 4.5, 121)


def row_evidence(patients: int) -> tuple[dict[tuple[int, ...], int], np.ndarray, np.ndarray]:
    """Posterior mass on a grid of log odds for every possible row (stays, one, other).

    Returns the row's number, log evidence with the multinomial coefficient left out, masses.
    """
    one, two = (axis.ravel() for axis in np.meshgrid(GRID, GRID, indexing="ij"))
    total = np.logaddexp(0.0, np.logaddexp(one, two))
    log_p = np.stack([-total, one - total, two - total])
    mu = log_odds_mean(ROW_PRIORS, 3)
    prior = -0.5 * ((one - mu) ** 2 + (two - mu) ** 2)
    prior -= logsumexp(prior)
    rows = [
        (a, b, n - a - b)
        for n in range(patients + 1) for a in range(n + 1) for b in range(n - a + 1)
    ]  # fmt: skip
    log_mass = np.array(rows, dtype=float) @ log_p + prior
    evidence = logsumexp(log_mass, axis=1)
    return {row: n for n, row in enumerate(rows)}, evidence, np.exp(log_mass - evidence[:, None])


@pytest.mark.slow
def test_default_rows_are_calibrated() -> None:
    """500 tables of 20 from the default prior, both margins and the diagonal printed.

    Exact posteriors by quadrature: intervals of the nine probabilities cover 93 to 97 %, and each
    latent cell has a uniform randomised PIT (Kolmogorov-Smirnov, P > 0.001).
    """
    rng, patients = np.random.default_rng(5), 20
    number, evidence, mass = row_evidence(patients)
    one, two = (axis.ravel() for axis in np.meshgrid(GRID, GRID, indexing="ij"))
    total = np.exp(np.logaddexp(0.0, np.logaddexp(one, two)))
    grid_p = np.stack([1.0 / total, np.exp(one) / total, np.exp(two) / total])
    order = [[0, 1, 2], [1, 0, 2], [2, 0, 1]]  # classes of a row: stays first
    names = ("*->*", "zero->*", "low->*", "*->zero", "*->low", "diagonal")
    form = np.stack([cell_mask(text, HER2) for text in names])[:, None]
    level, pit = [], []
    for _ in range(500):
        odds = np.exp(rng.normal(log_odds_mean(ROW_PRIORS, 3), 1.0, (3, 2)))
        stay_first = np.column_stack([np.ones(3), odds]) / (1 + odds.sum(1, keepdims=True))
        truth = np.stack([stay_first[i][np.argsort(order[i])] for i in range(3)])
        share = rng.dirichlet(np.ones(3))
        table = rng.multinomial(patients, (share[:, None] * truth).ravel()).reshape(1, 3, 3)
        value = np.einsum("sij,fsij->f", table, form)
        members = enumerate_tables(
            TableSet(((),), HER2, form, value, value, names), tight=False
        )[:, 0]  # fmt: skip
        place = np.array([[number[tuple(m[i][order[i]])] for i in range(3)] for m in members])
        log_weight = evidence[place].sum(1) - gammaln(members + 1.0).sum(axis=(1, 2))
        weight = np.exp(log_weight - logsumexp(log_weight))
        below = np.zeros((3, 3))
        for i in range(3):
            density = weight @ mass[place[:, i]]
            for position, j in enumerate(order[i]):
                below[i, j] = density[grid_p[position] <= truth[i, j]].sum()
        level.append(below)
        less, same = (np.tensordot(weight, test, 1) for test in (members < table, members == table))
        pit.append((less + rng.random((1, 3, 3)) * same)[0])
    covered = (np.abs(np.array(level) - 0.5) < 0.475).mean(axis=0)
    assert 0.93 <= covered.mean() <= 0.97
    assert covered.min() > 0.915
    for i, j in np.ndindex(3, 3):
        assert stats.kstest(np.array(pit)[:, i, j], "uniform").pvalue > 0.001


@pytest.mark.slow
def test_listed_and_sampled_tables_give_the_same_posterior() -> None:
    """Two pooled strata whose tables are tied by facts on their sum: NUTS against the sampler."""
    facts = [("*->*", 0, 30), ("*->*", 1, 24), ("*->zero", 0, 8), ("*->low", 0, 15)]
    facts += [("*->zero", 1, 9), ("*->low", 1, 6), ("off_diagonal", 0, 9), ("zero->*", None, 18)]
    facts += [("low->low", None, 15), ("positive->low", None, 2), ("zero->positive", None, 1)]
    facts += [("positive->zero", None, 1), ("zero->low", 0, 3), ("positive->low", 0, 1)]
    facts += [("low->zero", 0, 3), ("off_diagonal", 1, 7)]
    form = np.zeros((len(facts), 2, 3, 3), dtype=np.int64)
    for number, (cells, stratum, _) in enumerate(facts):
        form[number, slice(None) if stratum is None else stratum] = cell_mask(cells, HER2)
    value = np.array([fact[2] for fact in facts])
    strata = ((("hr_status", "positive"),), (("hr_status", "negative"),))
    tables = TableSet(strata, HER2, form, value, value, tuple(map(str, range(len(facts)))))
    data = listed_tables([tables])
    assert 3 <= data.sizes["candidate"] <= 100
    with engine.compiler_flags():
        listed, run, _ = engine.sample(latent_table.build(data), Sampling(draws=20_000))
    assert not diagnostics(run).reasons
    sampled = sample_rows(tables, ROW_PRIORS, Sampling(draws=20_000))
    assert [
        text
        for s, i, j in np.ndindex(2, 3, 3)
        for text in disagreements(
            summary(listed["transition"][..., s, i, j]),
            summary(sampled["transition"][..., s, i, j]),
            f"P[{s},{i},{j}]",
        )
    ] == []
