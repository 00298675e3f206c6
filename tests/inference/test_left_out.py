"""Patients left out one at a time: as ArviZ does it row by row, and exactly where it is known."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from arviz_stats import compare as arviz_compare
from arviz_stats import loo

from her2bayes.inference.predictive import (
    compare,
    conjugate,
    leave_one_out,
    left_out_exactly,
)

COUNTS = np.array([[12, 30, 8], [5, 9, 21], [3, 0, 4]])


def drawn(counts: np.ndarray, seed: int, prior: float = 1.0) -> np.ndarray:
    """Draws of the shares of every row given its counts: (draw, subgroup, class)."""
    rng = np.random.default_rng(seed)
    return np.stack([rng.dirichlet(row + prior, 4000) for row in counts], axis=1)


def test_equal_patients_counted_are_patients_left_out_by_arviz() -> None:
    shares, patients = drawn(COUNTS, 1), COUNTS[COUNTS > 0]
    density = np.log(shares[:, COUNTS > 0])
    ours = leave_one_out(density, patients.astype(float))
    rows = np.repeat(density, patients, axis=1).reshape(4, 1000, -1)
    tree = xr.DataTree.from_dict(
        {
            "posterior": xr.Dataset({"share": (("chain", "draw"), rows[..., 0])}),
            "log_likelihood": xr.Dataset({"class": (("chain", "draw", "patient"), rows)}),
        }
    )
    theirs = loo(tree, pointwise=True, reff=1.0)
    assert ours.elpd == pytest.approx(theirs.elpd, abs=1e-6)
    number = patients.sum()  # ArviZ divides by one patient less
    assert ours.std_error * np.sqrt(number / (number - 1)) == pytest.approx(theirs.se, abs=1e-6)
    assert ours.effective == pytest.approx(theirs.p, abs=1e-6)
    assert ours.pareto_k == pytest.approx(float(theirs.pareto_k.max()), abs=1e-6)


def test_conjugate_scores_need_no_draws() -> None:
    patients = COUNTS[COUNTS > 0].astype(float)
    exact = left_out_exactly(conjugate(COUNTS)[COUNTS > 0], patients)
    smoothed = leave_one_out(np.log(drawn(COUNTS, 2)[:, COUNTS > 0]), patients)
    assert smoothed.elpd == pytest.approx(exact.elpd, abs=0.1)
    # one patient of the first class: 11 + 1 of 49 + 3
    assert conjugate(COUNTS)[0, 0] == pytest.approx(np.log(12 / 52))
    assert np.isnan(conjugate(COUNTS)[2, 1])


def test_stacking_weights_are_those_of_arviz() -> None:
    patients = COUNTS[COUNTS > 0]
    trees, scores = {}, {}
    pooled = np.broadcast_to(COUNTS.sum(axis=0), COUNTS.shape)
    for seed, (name, counts) in enumerate({"apart": COUNTS, "alike": pooled}.items()):
        shares = drawn(counts, seed)
        density = np.log(shares[:, COUNTS > 0])
        scores[name] = leave_one_out(density, patients.astype(float))
        rows = np.repeat(density, patients, axis=1).reshape(4, 1000, -1)
        tree = {
            "posterior": xr.Dataset({"share": (("chain", "draw"), rows[..., 0])}),
            "log_likelihood": xr.Dataset({"class": (("chain", "draw", "patient"), rows)}),
        }
        trees[name] = loo(xr.DataTree.from_dict(tree), pointwise=True, reff=1.0)
    theirs = arviz_compare(trees, method="stacking", round_to="none")["weight"]
    ours = compare(scores).set_index("model")["stacking_weight"]
    for name in scores:
        assert ours[name] == pytest.approx(float(theirs[name]), abs=5e-3)
