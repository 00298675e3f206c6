"""Unadjusted hazard ratios of a model with cells: exact cases, and Cox on a large cohort."""

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from her2bayes.cohorts.draws import Part, log_ratios

CUTS = np.array([0.0, 12.0, 36.0])


def part(log_hazard: np.ndarray, patients: list[float]) -> Part:
    """Rates of one draw: hazards (cell, interval), censoring 0.02 a month."""
    axes = {
        "interval_start": ("interval", CUTS),
        "interval_end": ("interval", np.append(CUTS[1:], 96.0)),
    }
    dims = ("chain", "draw", "cell", "interval")
    leave = np.full((1, 1, 3), np.log(0.02))
    return Part(
        xr.DataArray(log_hazard[None, None], dims=dims, coords=axes),
        xr.DataArray(leave, dims=("chain", "draw", "interval"), coords=axes),
        xr.DataArray(np.array(patients)[None, None], dims=("chain", "draw", "cell")),
    )


def test_proportional_hazards_give_their_ratio() -> None:
    base = np.log([0.03, 0.01, 0.02])
    rates = part(np.stack([base, base + 0.7, base - 0.4]), [30.0, 50.0, 20.0])
    found = log_ratios(rates, [np.array([0]), np.array([1]), np.array([2])])
    np.testing.assert_allclose(found[0, 0], [0, 0.7, -0.4], atol=1e-8)


def test_a_factor_left_out_confounds_as_it_does_in_a_cohort(rng: np.random.Generator) -> None:
    """Two groups with the same cell hazards but other mixtures; greenwood's Cox on 40 000."""
    from her2bayes.classical.hazard_regression import cox

    hazard = np.array([0.01, 0.06])
    mixture = np.array([[0.8, 0.2], [0.3, 0.7]])
    cells = np.log(np.tile(hazard, 2))[:, None] + np.zeros(3)
    rates = part(cells, list(mixture.ravel()))
    expected = log_ratios(rates, [np.array([0, 1]), np.array([2, 3])])[0, 0, 1]
    n = 40_000
    group = rng.integers(0, 2, n)
    kind = (rng.random(n) < mixture[group, 1]).astype(int)
    death, left = rng.exponential(1 / hazard[kind]), rng.exponential(50.0, n)
    time = np.minimum(np.minimum(death, left), 96.0)
    name = pd.Categorical(np.array(["a", "b"])[group])
    rows = pd.DataFrame({"time": time, "event": (death == time).astype(int), "group": name})
    rows = rows.assign(entry=0.0, patients=1)
    fitted = cox(rows, {"group": "a"}).table.iloc[0]
    assert fitted["log_hazard_ratio"] == pytest.approx(expected, abs=4 * fitted["std_error"])
    assert expected == pytest.approx(0.70, abs=0.1)
