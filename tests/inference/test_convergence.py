"""The verdict on a reported quantity: each reason is found, named and counted."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from her2bayes.inference.convergence import Diagnostics, diagnostics, verdict

GOOD = Diagnostics(chains=4, draws=1000, divergences=0, bfmi=0.9)


def draws(values: np.ndarray) -> xr.DataArray:
    return xr.DataArray(values, dims=("chain", "draw"))


@pytest.fixture
def normal(rng: np.random.Generator) -> np.ndarray:
    return rng.normal(size=(4, 1000))


def test_independent_draws_converge(normal: np.ndarray) -> None:
    result = verdict(draws(normal), GOOD)
    assert result.passed
    assert str(result) == "converged"
    assert result.ess_bulk > 3000


def test_dims_in_any_order(normal: np.ndarray) -> None:
    assert verdict(draws(normal).T, GOOD) == verdict(draws(normal), GOOD)


def test_a_chain_elsewhere_is_named(normal: np.ndarray) -> None:
    normal[0] += 0.5
    assert str(verdict(draws(normal), GOOD)).startswith("not converged: R-hat 1.")


def test_slow_chains_lack_effective_draws(rng: np.random.Generator) -> None:
    steps = rng.normal(size=(4, 1000))
    slow = np.zeros_like(steps)
    for i in range(1, 1000):
        slow[:, i] = 0.95 * slow[:, i - 1] + steps[:, i]
    text = str(verdict(draws(slow), GOOD))
    assert "bulk ESS" in text
    assert "tail ESS" in text


def test_chains_that_differ_in_spread_alone_are_caught(normal: np.ndarray) -> None:
    normal[0] *= 5
    assert "R-hat" in str(verdict(draws(normal), GOOD))


@pytest.mark.parametrize(
    ("run", "text"),
    [
        (Diagnostics(4, 1000, 3, 0.9), "not converged: 3 divergences"),
        (Diagnostics(4, 1000, 0, 0.21), "not converged: E-BFMI 0.21"),
        (Diagnostics(4, 1000, 1, float("nan")), "not converged: 1 divergences; E-BFMI nan"),
    ],
)
def test_a_bad_run_speaks_against_all_its_quantities(
    normal: np.ndarray, run: Diagnostics, text: str
) -> None:
    assert str(verdict(draws(normal), run)) == text


def test_a_constant_has_nothing_to_converge() -> None:
    assert verdict(draws(np.full((4, 100), 0.75)), GOOD).passed
    assert verdict(draws(np.zeros((4, 100))), GOOD).passed


def test_constant_but_different_chains_did_not_converge() -> None:
    values = np.repeat([[0.0], [1.0]], 100, axis=1)
    assert str(verdict(draws(values), GOOD)) == "not converged: a chain does not move"


def test_draws_that_are_not_finite_are_counted(normal: np.ndarray) -> None:
    normal[0, :3] = np.nan
    normal[1, 0] = np.inf
    assert str(verdict(draws(normal), GOOD)) == "not converged: 4 draws are not finite"


def test_diagnostics_of_a_run(rng: np.random.Generator) -> None:
    stats = xr.Dataset(
        {
            "energy": (("chain", "draw"), rng.normal(size=(2, 2000))),
            "diverging": (("chain", "draw"), np.arange(4000).reshape(2, 2000) < 2),
        }
    )
    run = diagnostics(stats)
    assert (run.chains, run.draws, run.divergences) == (2, 2000, 2)
    assert run.bfmi == pytest.approx(2, rel=0.1)  # independent energies: E(dE^2) = 2 Var(E)
