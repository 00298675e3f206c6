"""Exact mixture for Dirichlet rows: known weights, Monte Carlo, calibration over tables."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from scipy.special import betainc

from her2bayes.evidence.printed.study import load_study, study_folder
from her2bayes.transition.facts import TableSet, cell_mask, table_set
from her2bayes.transition.polytope import enumerate_tables
from her2bayes.transition.table_fit import is_listed, mixture_draws, table_weights


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


HER2 = ("zero", "low", "positive")


@pytest.fixture(scope="module")
def nine() -> np.ndarray:
    facts = load_study(study_folder("shi2023")).transition_facts
    return enumerate_tables(table_set(facts, HER2, (), "abstract"))


def test_tables_are_listed_where_margins_give_their_size() -> None:
    """Primary margins add up to the pairs: no total need be printed; without one it must be."""
    cells = ("zero->*", "low->*", "positive->*", "*->zero", "*->low", "diagonal", "zero->low",
             "low->zero")  # fmt: skip
    form = np.stack([cell_mask(text, HER2) for text in cells])[:, None]
    value = np.array([96, 151, 65, 84, 163, 199, 47, 28])
    tables = TableSet(((),), HER2, form, value, value, cells)
    assert is_listed(tables)
    assert len(enumerate_tables(tables)) == 13
    few = np.array([4, 7, 3, 4, 8, 10, 2, 1])
    least = np.where(np.isin(cells, ("zero->*", "diagonal")), 0, few)  # at most: sizes differ
    assert is_listed(TableSet(((),), HER2, form, few, few, cells))
    assert not is_listed(TableSet(((),), HER2, form, least, few, cells))


def test_weights_of_shi(nine: np.ndarray) -> None:
    """Uniform rows weigh all nine tables alike, Jeffreys rows those with small cells more."""
    np.testing.assert_allclose(table_weights(nine, np.ones((3, 3))), 1 / 9, atol=1e-12)
    half = table_weights(nine, np.full((3, 3), 0.5))
    expected = [0.247, 0.118, 0.088, 0.075, 0.069, 0.069, 0.074, 0.091, 0.169]
    np.testing.assert_allclose(half, expected, atol=5e-4)


def test_weights_are_the_dirichlet_multinomial_probabilities(nine: np.ndarray) -> None:
    a = np.array([[1.8, 0.6, 0.6], [0.6, 1.8, 0.6], [0.6, 0.6, 1.8]])
    density = np.array(
        [
            np.prod(
                [
                    stats.dirichlet_multinomial.pmf(row, alpha, row.sum())
                    for row, alpha in zip(table[0], a, strict=True)
                ]
            )
            for table in nine
        ]
    )
    np.testing.assert_allclose(table_weights(nine, a), density / density.sum(), rtol=1e-9)


def test_unknown_row_totals_weigh_by_their_share(rng: np.random.Generator) -> None:
    """Two of three margins unknown: weights equal the frequency of tables among prior draws."""
    form = np.stack([cell_mask(text, ("a", "b")) for text in ("*->*", "*->a", "diagonal")])
    value = np.array([6, 3, 4])
    tables = TableSet(((),), ("a", "b"), form[:, None], value, value, ("n", "c", "d"))
    members = enumerate_tables(tables)
    a = np.array([[2.0, 0.7], [0.4, 1.5]])
    share, number = rng.dirichlet([1.5, 1.5], 400_000), 400_000
    rows = np.stack([rng.dirichlet(alpha, number) for alpha in a], axis=1)
    drawn = rng.multinomial(6, (share[:, :, None] * rows).reshape(number, 4))
    kept = drawn[tables.holds(drawn.reshape(-1, 1, 2, 2))].reshape(-1, 1, 2, 2)
    frequency = np.array([(kept == member).all(axis=(1, 2, 3)).mean() for member in members])
    error = np.sqrt(frequency * (1 - frequency) / len(kept))
    weight = table_weights(members, a, share=1.5)
    assert (np.abs(weight - frequency) < 4 * error + 1e-4).all()


def test_moments_and_distribution_function_are_those_of_the_draws(
    nine: np.ndarray, rng: np.random.Generator
) -> None:
    a = np.full((3, 3), 0.5)
    weight = table_weights(nine, a)
    table, transition, share = mixture_draws(nine, weight, a, 1.0, 100_000, rng)
    mean, sd = mixture_moments(nine, weight, a)
    np.testing.assert_allclose(transition.mean(0), mean, atol=4 * sd.max() / np.sqrt(1e5))
    np.testing.assert_allclose(transition.std(0), sd, rtol=0.02)
    below = (transition <= mean).mean(0)
    np.testing.assert_allclose(mixture_cdf(mean, nine, weight, a), below, atol=0.01)
    assert (table.sum(axis=(1, 2, 3)) == 247).all()
    np.testing.assert_allclose(share.mean(0)[0], [52 / 250, 126 / 250, 72 / 250], atol=0.002)


FACTS = {
    "both margins and the diagonal": ("zero->*", "low->*", "*->zero", "*->low", "diagonal"),
    "recurrence margin and the diagonal": ("*->zero", "*->low", "diagonal"),
}


@pytest.mark.slow
@pytest.mark.parametrize(("printed", "patients"), [*zip(FACTS, (40, 15), strict=True)])
def test_intervals_cover_and_cells_are_calibrated(printed: str, patients: int) -> None:
    """600 tables from the prior, reduced to printed sums: 95 % intervals cover 93 to 97 %.

    Coverage averages over the cells (they are exchangeable only in pairs); each latent cell has a
    uniform randomised PIT (Kolmogorov-Smirnov, P > 0.001 for each of nine).
    """
    rng = np.random.default_rng(7)
    a = np.full((3, 3), 0.6) + 1.2 * np.eye(3)
    names = ("*->*", *FACTS[printed])
    form = np.stack([cell_mask(text, HER2) for text in names])[:, None]
    level, pit = [], []
    for _ in range(600):
        truth = np.stack([rng.dirichlet(alpha) for alpha in a])
        share = rng.dirichlet(np.ones(3))
        table = rng.multinomial(patients, (share[:, None] * truth).ravel()).reshape(1, 3, 3)
        value = np.einsum("sij,fsij->f", table, form)
        members = enumerate_tables(TableSet(((),), HER2, form, value, value, names), tight=False)
        weight = table_weights(members, a)
        level.append(mixture_cdf(truth[None], members, weight, a)[0])
        less = np.tensordot(weight, members < table, 1)
        same = np.tensordot(weight, members == table, 1)
        pit.append((less + rng.random(same.shape) * same)[0])
    covered = (np.abs(np.array(level) - 0.5) < 0.475).mean(axis=0)
    assert 0.93 <= covered.mean() <= 0.97
    assert covered.min() > 0.92
    for i, j in np.ndindex(3, 3):
        assert stats.kstest(np.array(pit)[:, i, j], "uniform").pvalue > 0.001
