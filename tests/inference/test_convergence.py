"""The laxer standard of chains over cohorts has words of its own, read as a failure or not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from her2bayes.cohorts.ensemble import SummaryEnsemble, verdict_of
from her2bayes.inference.convergence import ESS_MIN, LARGEST_RHAT, LEAST_ESS, RHAT_MAX, failed


def ensemble(rhat: float, ess: float) -> SummaryEnsemble:
    diagnostics = pd.DataFrame({"quantity": ["S(60)"], "rhat": [rhat], "ess": [ess]})
    nothing: Any = None
    return SummaryEnsemble(nothing, (), (), diagnostics)


@pytest.mark.parametrize(
    ("rhat", "ess", "verdict"),
    [
        (1.04, 80.0, "chains agree"),
        (1.06, 80.0, "chains disagree: R-hat 1.06; ESS 80"),
        (1.01, 40.0, "chains disagree: R-hat 1.01; ESS 40"),
        (np.nan, np.nan, "chains disagree: one chain"),
    ],
)
def test_an_ensemble_is_never_called_converged(rhat: float, ess: float, verdict: str) -> None:
    found = ensemble(rhat, ess)
    assert found.verdict == verdict
    assert found.agrees == (verdict == "chains agree") == (not failed(found.verdict))


def test_draws_of_one_quantity_by_the_same_words(rng: np.random.Generator) -> None:
    values = rng.normal(size=(4, 200))
    draws = xr.DataArray(values, dims=("chain", "draw"))
    assert verdict_of(draws) == "chains agree"
    assert verdict_of(draws[:1]) == "chains disagree: one chain"
    apart = draws + xr.DataArray([0, 0, 0, 2], dims="chain")
    assert verdict_of(apart).startswith("chains disagree: R-hat 1.")
    assert verdict_of(xr.zeros_like(draws)) == "chains agree"


def test_it_is_the_laxer_of_the_two() -> None:
    assert LARGEST_RHAT > RHAT_MAX
    assert LEAST_ESS < ESS_MIN
