"""Simulated patients: counts add up, shares come back, the same seed gives the same patients."""

from __future__ import annotations

import numpy as np

from her2bayes.evidence import simulate


def test_counts_are_the_patients_counted(rng: np.random.Generator) -> None:
    share = simulate.status_share(rng, 3)
    patients = [10, 0, 250_000]
    counts = simulate.status_counts(rng, patients, share, levels=["a", "b", "c"], factor="site")
    np.testing.assert_array_equal(counts.sum("her2"), patients)
    assert counts.dtype == np.int64
    assert list(counts["subgroup"].values) == ["a", "b", "c"]
    assert set(counts["factor"].values) == {"site"}
    observed = counts.sel(subgroup="c") / 250_000
    np.testing.assert_allclose(observed, share[2], atol=5 * 0.5 / np.sqrt(250_000))


def test_true_shares_scatter_around_the_overall_ones(rng: np.random.Generator) -> None:
    share = simulate.status_share(rng, 400, overall=(0.1, 0.2, 0.3, 0.4), spread=0.2)
    np.testing.assert_allclose(share.sum(axis=1), 1)
    log_ratio = np.log(share / np.array([0.1, 0.2, 0.3, 0.4]))
    deviation = log_ratio - log_ratio.mean(axis=1, keepdims=True)
    np.testing.assert_allclose(deviation.mean(axis=0), 0, atol=1e-9)
    np.testing.assert_allclose(deviation.std(), 0.2 * np.sqrt(3 / 4), rtol=0.05)
    same = simulate.status_share(rng, 5, spread=0.0)
    np.testing.assert_allclose(same, [[0.2, 0.5, 0.3]] * 5)


def test_the_same_seed_gives_the_same_patients() -> None:
    one, two = (
        simulate.status_patients(np.random.default_rng(5), [4, 6], np.full((2, 3), 1 / 3))
        for _ in range(2)
    )
    np.testing.assert_array_equal(one, two)
