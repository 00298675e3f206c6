"""What "agrees" means: small differences pass, real ones and loose errors do not."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from agreement import dirichlet_margin, disagreements, exact, summary


def test_draws_agree_with_their_own_distribution(rng: np.random.Generator) -> None:
    known = stats.norm(2.0, 3.0)
    draws = known.rvs(size=(4, 10_000), random_state=rng)
    assert disagreements(summary(draws), exact(known)) == []


@pytest.mark.parametrize(("shift", "scale", "what"), [(0.1, 1.0, "mean"), (0.0, 1.05, "sd")])
def test_a_real_difference_is_found(
    rng: np.random.Generator, shift: float, scale: float, what: str
) -> None:
    draws = shift + scale * rng.normal(size=(4, 10_000))
    found = disagreements(summary(draws), exact(stats.norm()), "x")
    assert any(text.startswith(f"x {what}:") for text in found)


def test_too_few_draws_cannot_agree(rng: np.random.Generator) -> None:
    found = disagreements(summary(rng.normal(size=(4, 100))), exact(stats.norm()))
    assert any("above 3 % of the SD" in text for text in found)


def test_margin_of_a_dirichlet() -> None:
    margin = dirichlet_margin(np.array([2.0, 3.0, 5.0]), 1)
    assert margin.mean() == pytest.approx(0.3)


def test_ratios_are_summarised_on_their_log(rng: np.random.Generator) -> None:
    draws = np.exp(rng.normal(0.3, 0.4, size=(4, 10_000)))
    assert disagreements(summary(draws, "hazard_ratio"), exact(stats.norm(0.3, 0.4))) == []
    one, other = summary(draws, "hazard_ratio"), summary(1 / draws, "hazard_ratio")
    assert one["sd"] == pytest.approx(other["sd"])
    assert one["mcse_lower"] == pytest.approx(other["mcse_upper"], rel=0.05)
