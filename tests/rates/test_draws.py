"""What is made of rates draw by draw, by hand; joint draws of a hierarchy against importance."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from scipy.special import expit

from her2bayes.errors import BadInput
from her2bayes.estimand import parse
from her2bayes.rates.draws import combined
from her2bayes.rates.rate_exact import Hyper, hierarchical, joint_draws

RATES = {
    parse(f"response_rate[orr | her2={level}]"): xr.DataArray([values], dims=("chain", "draw"))
    for level, values in {"zero": [0.1, 0.5], "low": [0.3, 0.4], "positive": [0.6, 0.2]}.items()
}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("response_rate[orr | her2=low]", [0.3, 0.4]),
        ("response_rate_difference[orr ; her2: low vs zero]", [0.2, -0.1]),
        ("share_ratio[orr ; her2: positive vs low]", [2.0, 0.5]),
        ("ordering[orr positive > low > zero ; her2]", [1.0, 0.0]),
        ("heterogeneity[orr ; her2]", [0.5, 0.3]),
    ],
)
def test_what_is_made_of_rates(text: str, expected: list[float]) -> None:
    asked = parse(text)
    found = combined(RATES, [asked], RATES.__getitem__)[asked]
    assert found.values.ravel() == pytest.approx(expected)


def test_all_that_is_not_answered_is_told_together() -> None:
    asked = [parse("response_rate[dcr | her2=low]"), parse("hazard_ratio[os ; her2: low vs zero]")]
    with pytest.raises(BadInput) as caught:
        combined(RATES, asked, RATES.__getitem__)
    assert len(caught.value.faults) == 2
    assert "fit_survival" in str(caught.value)


@pytest.mark.parametrize("weight", [1.0, 0.5])
def test_joint_draws_are_those_of_importance_sampling(weight: float) -> None:
    """Two arms, 2 of 11 and 21 of 53: 400 000 draws of the prior, weighted by their likelihood."""
    y, n = np.array([2, 21]), np.array([11, 53])
    drawn = joint_draws(y, n, Hyper(weight=weight), 20_000, 3)
    rng = np.random.default_rng(4)
    size = 400_000
    mu, tau = rng.normal(0, 2, size), abs(rng.normal(0, 1, size))
    together = mu + tau * rng.normal(size=(2, size))
    own = rng.normal(0, 2, (2, size))
    theta = np.where(rng.random((2, size)) < weight, together, own)
    rate = expit(theta)
    log = (y[:, None] * theta - n[:, None] * np.logaddexp(0, theta)).sum(axis=0)
    likely = np.exp(log - log.max())
    likely /= likely.sum()
    effective = 1 / (likely**2).sum()
    for of in (lambda r: r[1] - r[0], lambda r: r[0] * r[1], lambda r: (r[1] > r[0]) * 1.0):
        known, found = of(rate), of(drawn)
        mean = float(likely @ known)
        sd = float(np.sqrt(likely @ (known - mean) ** 2))
        error = sd * np.sqrt(1 / effective + 1 / drawn.shape[1])
        assert float(found.mean()) == pytest.approx(mean, abs=4 * error)
    assert drawn.mean(axis=1) == pytest.approx(
        [arm.mean() for arm in hierarchical(y, n, Hyper(weight=weight)).arms], abs=0.004
    )
