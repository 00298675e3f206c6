"""The distribution models against independent answers: Stan, conjugate algebra, simulated truth."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from scipy import stats

from agreement import dirichlet_margin, disagreements, exact, summary
from her2bayes.bayes.prior import prior
from her2bayes.distribution import her2_distribution, her2_distribution_dirichlet
from her2bayes.evidence import simulate
from her2bayes.inference import engine
from her2bayes.inference.convergence import Diagnostics, diagnostics, verdict
from her2bayes.inference.sampling import Sampling

pytestmark = pytest.mark.slow

REFERENCE = json.loads(
    (Path(__file__).parents[1] / "reference" / "her2_distribution.json").read_text("utf-8")
)
LONG = Sampling(draws=20_000)
SMALL_COUNTS = np.array([[1, 4, 2], [6, 2, 9], [30, 120, 10]])


def table(values: np.ndarray, parents: list[str] | None = None) -> xr.DataArray:
    rows, columns = values.shape
    return xr.DataArray(
        values,
        dims=("subgroup", "her2"),
        coords={
            "subgroup": [f"level {row}" for row in range(rows)],
            "her2": [f"category {column}" for column in range(columns)],
            "parent": ("subgroup", parents or [""] * rows),
        },
    )


def draw(
    build: Callable[..., Any], counts: xr.DataArray, sampling: Sampling = LONG, **arguments: Any
) -> tuple[xr.Dataset, Diagnostics, xr.Dataset]:
    """Posterior draws alone: predictive draws and densities are not looked at here."""
    with engine.compiler_flags():
        posterior, stats_, _ = engine.sample(build(counts, **arguments), sampling)
    return posterior.isel(subgroup=slice(counts.sizes["subgroup"])), diagnostics(stats_), stats_


def stan(name: str, posterior: xr.Dataset, nested: bool, learned: bool) -> dict[str, xr.DataArray]:
    """Quantities under the names Stan gives them."""
    found = {
        f"share[{row + 1},{column + 1}]": posterior["share"].isel(subgroup=row, her2=column)
        for row in range(posterior.sizes["subgroup"])
        for column in range(posterior.sizes["her2"])
    }
    found |= {f"alpha[{n + 1}]": posterior["alpha"][..., n] for n in range(posterior.sizes["her2"])}
    if learned:
        found["tau_within"] = posterior["tau"].sel(family="level")
    if nested:
        found["tau_between"] = posterior["tau"].sel(family="parent")
    return found


@pytest.mark.parametrize("name", ["relapse_type", "hr_status", "site", "sparse"])
def test_agrees_with_stan(name: str) -> None:
    """Same posterior as tests/reference/her2_distribution.R (rstan 2.21.7, projected normals)."""
    reference = REFERENCE[name]
    counts, parents = np.array(reference["counts"]), reference["parent"]
    nested, learned = len(set(parents)) > 1, len(counts) > 2
    posterior, run, _ = draw(her2_distribution.build, table(counts, parents))
    assert not run.reasons
    known = {row["name"]: row for row in reference["posterior"]}
    found = stan(name, posterior, nested, learned)
    assert len(found) >= counts.size
    assert [
        text
        for key, draws in found.items()
        for text in disagreements(summary(draws), known[key], key)
    ] == []


def dirichlet_disagreements(share: xr.DataArray, concentration: np.ndarray) -> list[str]:
    return [
        text
        for (row, column), _ in np.ndenumerate(concentration)
        for text in disagreements(
            summary(share.isel(subgroup=row, her2=column)),
            exact(dirichlet_margin(concentration[row], column)),
            f"share[{row},{column}]",
        )
    ]


WIDE = {"alpha": prior("ZeroSumNormal", sigma=100.0), "fixed_tau": prior("Constant", value=100.0)}


def test_without_pooling_and_with_a_wide_prior_it_is_the_dirichlet_of_the_counts() -> None:
    """A flat density of the logits is Dirichlet(0, ..., 0): the posterior is Dirichlet(counts)."""
    posterior, run, _ = draw(
        her2_distribution.build, table(SMALL_COUNTS), priors=WIDE, pooling="fixed"
    )
    assert not run.reasons
    assert dirichlet_disagreements(posterior["share"], SMALL_COUNTS) == []


def test_with_complete_pooling_it_is_the_dirichlet_of_the_summed_counts() -> None:
    posterior, run, _ = draw(
        her2_distribution.build, table(SMALL_COUNTS), priors=WIDE, pooling="complete"
    )
    assert not run.reasons
    pooled = np.broadcast_to(SMALL_COUNTS.sum(axis=0), SMALL_COUNTS.shape)
    assert dirichlet_disagreements(posterior["share"], pooled) == []


def test_dirichlet_with_fixed_concentration_is_exact() -> None:
    counts = np.array([[19, 48, 22], [0, 5, 1], [12, 37, 17]])
    mean, concentration = np.array([0.2, 0.5, 0.3]), 20.0
    posterior, run, _ = draw(
        her2_distribution_dirichlet.build, table(counts), concentration=concentration, mean=mean
    )
    assert not run.reasons
    assert dirichlet_disagreements(posterior["share"], concentration * mean + counts) == []


def test_a_million_patients_in_eight_strata_sample_as_well_as_247() -> None:
    """Gradients of both tables are the same compiled function, so only their number can differ."""
    rng = np.random.default_rng(7)
    effort = {}
    for name, patients in {
        "247": [31] * 7 + [30],
        "million": [125_000] * 8,
        "uneven million": [500_000, 250_000, 120_000, 60_000, 40_000, 20_000, 9_900, 100],
    }.items():
        truth = simulate.status_share(rng, 8, spread=0.2)
        counts = simulate.status_counts(rng, patients, truth)
        posterior, run, stats_ = draw(her2_distribution.build, counts, Sampling())
        shares = posterior["share"].stack(cell=("subgroup", "her2"))
        reported = [shares.isel(cell=n, drop=True) for n in range(shares.sizes["cell"])]
        reported.append(posterior["tau"].sel(family="level", drop=True))
        verdicts = [verdict(draws.drop_vars("cell", errors="ignore"), run) for draws in reported]
        assert {str(v) for v in verdicts} == {"converged"}
        least = min(min(v.ess_bulk, v.ess_tail) for v in verdicts)
        effort[name] = float(stats_["n_steps"].sum()) / least * 400
        within = (posterior["share"].quantile([0.001, 0.999], ("chain", "draw")) - truth).prod(
            "quantile"
        ) <= 0
        assert bool(within.all())
    assert effort["million"] <= 2 * effort["247"]
    assert effort["uneven million"] <= 2 * effort["247"]


def test_recovers_simulated_truth() -> None:
    """Shares drawn from the model's prior by other code lie in 90 % intervals 90 % of the time."""
    rng = np.random.default_rng(20230221)
    ranks, studies = [], 40
    for _ in range(studies):
        logit = 1.5 * rng.normal(size=3)
        overall = np.exp(logit - logit.mean())
        truth = simulate.status_share(
            rng, 4, overall=tuple(overall / overall.sum()), spread=abs(rng.normal(0, 0.5))
        )
        counts = simulate.status_counts(rng, rng.integers(10, 120, 4), truth)
        posterior, _, _ = draw(
            her2_distribution.build, counts, Sampling(draws=250, tune=400, chains=2, seed=1)
        )
        below = (posterior["share"] < truth).mean(("chain", "draw"))
        ranks.append(below.transpose("subgroup", "her2").values)
    rank = np.array(ranks)
    covered = ((rank > 0.05) & (rank < 0.95)).mean(axis=(1, 2))
    # shares within a study are dependent, studies are not: the mean of 40 coverages is near normal
    assert covered.mean() == pytest.approx(0.9, abs=4 * covered.std() / np.sqrt(studies) + 0.01)
    # one share a study: independent ranks, uniform if and only if the posterior is calibrated
    first = rank[np.arange(studies), rng.integers(4, size=studies), rng.integers(3, size=studies)]
    assert stats.kstest(first, "uniform").pvalue > 0.001
