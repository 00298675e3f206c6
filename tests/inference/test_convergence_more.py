"""The verdict on a reported quantity: each reason is found, named and counted."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from her2bayes.inference.convergence import (
    CONCENTRATED,
    MCSE_MAX,
    Convergence,
    Diagnostics,
    concentration,
    diagnostics,
    failed,
    of_several,
    reasons,
    verdict,
)

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


def test_an_indicator_near_one_is_not_a_failed_chain() -> None:
    rare = np.ones((4, 1000))
    rare[2, [40, 700]] = 0  # three chains hold nothing but 1
    result = verdict(draws(rare), GOOD)
    assert result.passed
    assert np.isnan(result.rhat)
    assert verdict(draws(1 - rare), GOOD).passed
    once = np.zeros((2, 600))
    once[0, 3] = 1
    assert verdict(draws(once), GOOD).passed


def test_an_indicator_is_judged_by_its_monte_carlo_error(rng: np.random.Generator) -> None:
    # of 400 independent draws at P = 1/2: sqrt(0.25 / 400) = 0.025
    assert MCSE_MAX == 0.025
    assert verdict(draws(rng.random((4, 1000)) < 0.5), GOOD).passed
    few = rng.random((4, 40)) < 0.5  # sqrt(0.25 / 160) = 0.040
    assert "MCSE of a probability 0.0" in str(verdict(draws(few), GOOD))
    apart = rng.random((4, 1000)) < np.array([0.5, 0.5, 0.5, 0.9])[:, None]
    assert "MCSE" in str(verdict(draws(apart), GOOD))
    halves = np.ones((4, 1000))
    halves[0, :500] = 0  # a chain that changed its mind once
    assert "MCSE" in str(verdict(draws(halves), GOOD))


def test_a_median_cut_off_at_the_end_of_follow_up(rng: np.random.Generator) -> None:
    beyond = rng.lognormal(6, 1, size=(4, 1000)).clip(max=20.0)
    beyond[1:] = 20.0  # one chain alone ever came below
    beyond[1, 5] = 19.0
    assert verdict(draws(beyond), GOOD).passed
    half = rng.normal(20, 2, size=(4, 1000)).clip(max=20.0)
    assert verdict(draws(half), GOOD).passed
    half[0] = (half[0] + 1).clip(max=20.0)
    assert "MCSE" in str(verdict(draws(half), GOOD))


def test_cells_of_a_table_are_whole_numbers(rng: np.random.Generator) -> None:
    cells = rng.choice([18, 19], p=[0.001, 0.999], size=(4, 1000))
    cells[0] = 19
    assert verdict(draws(cells), GOOD).passed
    many = rng.poisson(400, size=(4, 1000))  # no value holds 5 %: ranks judge
    assert concentration(many) < CONCENTRATED
    assert verdict(draws(many), GOOD).ess_bulk > 3000


@pytest.mark.parametrize("stuck", [[0], [0, 1], [0, 1, 2]])
def test_continuous_chains_that_do_not_move_still_fail(
    normal: np.ndarray, stuck: list[int]
) -> None:
    for chain in stuck:
        normal[chain] = normal[chain, 0]
    assert str(verdict(draws(normal), GOOD)) == "not converged: a chain does not move"


def test_continuous_chains_that_stick_for_a_while_still_fail(normal: np.ndarray) -> None:
    normal[0, 200:] = normal[0, 200] + 0.5
    assert concentration(normal) < CONCENTRATED
    assert failed(str(verdict(draws(normal), GOOD)))


def test_chains_stuck_at_one_start_fail_where_others_move(normal: np.ndarray) -> None:
    normal[:2] = 1.0
    assert concentration(normal) == 0.5
    assert "MCSE" in str(verdict(draws(normal), GOOD))


def test_verdicts_in_words_are_read_again() -> None:
    assert failed("not converged: R-hat 1.03")
    assert failed("chains disagree: R-hat 1.07")
    assert not failed("converged")
    assert not failed("chains agree")
    assert not failed("")
    assert reasons(["not converged: R-hat 1.03; 2 divergences", "converged",
                    "chains disagree: ESS 20", "not converged: R-hat 1.03"]) == [
        "R-hat 1.03", "2 divergences", "ESS 20"]  # fmt: skip


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


def test_several_runs_mix_each_and_are_enough_together() -> None:
    def run(rhat: float, ess: float, *why: str) -> Convergence:
        return Convergence(rhat, ess, ess, why)

    short = run(1.005, 150, "bulk ESS 150", "tail ESS 150")
    assert of_several([short] * 3).passed
    assert not of_several([short] * 2).passed
    apart = of_several([short, run(1.3, 900, "R-hat 1.300")])
    assert apart.reasons == ("R-hat 1.300",)
    fixed = run(np.nan, np.nan)
    assert of_several([fixed, fixed]).passed
    assert of_several([fixed, run(np.nan, np.nan, "2 transitions diverged")]).reasons
