"""Replicated data beside the observed: tails that name what a model cannot make."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from her2bayes.inference.predictive import RARE, predictive_checks


def tree(observed: list[int]) -> xr.DataTree:
    rng = np.random.default_rng(1)
    coords = {"level": ["a", "b"]}
    dims = ("chain", "draw", "level")
    replicates = {
        group: xr.Dataset({"n": (dims, rng.poisson(10, size=(2, 2000, 2)))}, coords)
        for group in ("prior_predictive", "replicates")
    }
    seen = xr.Dataset({"n": ("level", observed)}, coords)
    return xr.DataTree.from_dict({**replicates, "observed_data": seen})


def test_statistics_tell_a_planted_cell_from_a_fair_table() -> None:
    fair = predictive_checks(tree([10, 11])).set_index("statistic")
    assert (fair["posterior_tail"] > 0.2).all()
    assert fair.loc["total", "posterior_observed"] == 21
    planted = predictive_checks(tree([10, 40])).set_index("statistic")
    assert planted.loc["farthest cell", "cell"] == "b"
    assert planted.loc["farthest cell", "posterior_tail"] < RARE
    assert planted.loc["distance", "prior_tail"] < RARE
    # two-sided; none of 2000 + 2000 replicates is as far, and the data count as half of one more
    assert planted.loc["total", "posterior_tail"] == pytest.approx(1 / 4001)
    assert "empty cells" not in planted.index  # none in nearly every replicate: it cannot tell


@pytest.mark.slow
def test_tail_of_the_distance_is_uniform_for_data_from_the_same_distribution() -> None:
    """400 tables of the replicates' own distribution: the farthest cell's tail is a P value."""
    rng = np.random.default_rng(3)
    tails = []
    for _ in range(400):
        checks = predictive_checks(tree(list(rng.poisson(10, 2)))).set_index("statistic")
        tails.append(checks.loc["distance", "posterior_tail"])
    # P(tail <= 0.1) is 0.1 up to ties; binomial standard error 0.015
    assert np.mean(np.array(tails) <= 0.1) == pytest.approx(0.1, abs=0.05)
    assert np.mean(np.array(tails) <= 0.5) == pytest.approx(0.5, abs=0.1)


def test_a_single_indicator_is_no_table() -> None:
    one = tree([10, 10]).isel(level=slice(0, 1))
    assert predictive_checks(one).empty
    assert predictive_checks(xr.DataTree.from_dict({"posterior": xr.Dataset()})).empty


STUDIES, REPLICATES = 300, 400


def study(rng: np.random.Generator, family: str) -> xr.DataTree:
    """One study from the prior, and its replicates at one exact draw of its posterior."""
    if family == "shares":  # Dirichlet(1, 1, 1) shares in each of four levels, 30 patients each
        share = rng.dirichlet(np.ones(3), size=4)
        seen = rng.multinomial(30, share)
        share = np.array([rng.dirichlet(1 + row) for row in seen])
        drawn = rng.multinomial(30, share, size=(REPLICATES, 4))
        before = rng.multinomial(30, rng.dirichlet(np.ones(3), size=(REPLICATES, 4)))
    elif family == "saturated rates":  # one rate a cell, nothing pooled
        seen = rng.binomial(25, rng.beta(1, 1, 6))
        drawn = rng.binomial(25, rng.beta(1 + seen, 26 - seen), size=(REPLICATES, 6))
        before = rng.binomial(25, rng.beta(1, 1, size=(REPLICATES, 6)))
    else:  # one rate for all cells: Gamma(2, 1/5)
        seen = rng.poisson(rng.gamma(2, 5), 5)
        drawn = rng.poisson(rng.gamma(2 + seen.sum(), 1 / (0.2 + 5)), size=(REPLICATES, 5))
        before = rng.poisson(rng.gamma(2, 5, size=(REPLICATES, 1)), size=(REPLICATES, 5))
    dims = tuple("abc"[: seen.ndim])
    groups = {
        name: xr.Dataset({"n": (("chain", "draw", *dims), values[None])})
        for name, values in (("prior_predictive", before), ("replicates", drawn))
    }
    return xr.DataTree.from_dict({**groups, "observed_data": xr.Dataset({"n": (dims, seen)})})


@pytest.mark.slow
@pytest.mark.parametrize("family", ["shares", "saturated rates", "common rate"])
def test_tails_are_uniform_over_studies_from_the_model(family: str) -> None:
    """Kolmogorov–Smirnov at 0.1 %: posterior tails at one draw, and prior tails, of each statistic.

    Averaged over the posterior the tail of the distance would pile up near 1/2 (or 1 where cells
    are their own parameters); at one draw it is uniform (Johnson 2007).
    """
    from scipy.stats import kstest

    rng = np.random.default_rng(11)
    rows = [predictive_checks(study(rng, family)) for _ in range(STUDIES)]
    for statistic in ("distance", "farthest cell"):
        for group in ("posterior", "prior"):
            tails = [float(r.set_index("statistic").loc[statistic, f"{group}_tail"]) for r in rows]
            assert kstest(tails, "uniform").pvalue > 0.001, (statistic, group)


def test_a_model_that_is_wrong_is_found() -> None:
    """Counts that vary more than a common rate allows (variance four times the mean)."""
    rng = np.random.default_rng(5)
    tails = []
    for _ in range(60):
        seen = rng.negative_binomial(40 / 3, 1 / 4, 5)  # mean 40, variance 160
        made = study(rng, "common rate")
        rate = rng.gamma(2 + seen.sum(), 1 / (0.2 + 5))
        made["observed_data"] = xr.Dataset({"n": ("a", seen)})
        made["replicates"] = xr.Dataset(
            {"n": (("chain", "draw", "a"), rng.poisson(rate, size=(1, REPLICATES, 5)))}
        )
        found = predictive_checks(made).set_index("statistic")
        tails.append(float(found.loc["distance", "posterior_tail"]))
    assert np.mean(np.array(tails) < 0.05) > 0.5


def test_conditions_of_the_likelihood_are_not_checked() -> None:
    """Sets of classes are observed as n of n: every replicate holds fewer, whatever the model."""
    made = tree([10, 11])
    renamed = xr.DataTree.from_dict(
        {name: made[name].to_dataset().rename(n="partial") for name in made.children}
    )
    assert predictive_checks(renamed).empty
    pairs = xr.DataTree.from_dict(
        {
            name: made[name].to_dataset().rename(n="pairs").assign(partial=made[name]["n"])
            for name in made.children
        }
    )
    assert predictive_checks(pairs).empty  # which pairs are read as one class is no chance draw
    pairs["observed_data"] = pairs["observed_data"].to_dataset().drop_vars("partial")
    assert not predictive_checks(pairs).empty


@pytest.mark.slow
def test_tails_of_kaplan_meier_curves_are_uniform_over_studies_from_the_model() -> None:
    """Exponential survival in two groups, exact posterior draws of both rates, censoring 5 to 60.

    Rates Gamma(20, 1/800) a month; with d events in T months the posterior is Gamma(20 + d,
    1/(800 + T)).
    """
    import pandas as pd
    from scipy.stats import kstest

    from her2bayes.classical.survival import survival_at
    from her2bayes.inference.predictive import tail
    from her2bayes.survival.comparison import predictive_curves

    rng = np.random.default_rng(7)
    tails = []
    for number in range(120):
        tables, rates = [], []
        for group in ("a", "b"):
            exits = rng.exponential(1 / rng.gamma(20, 1 / 800), 60)
            last = rng.uniform(5, 60, 60)
            time, event = np.minimum(exits, last), (exits <= last).astype(int)
            rates.append(rng.gamma(20 + event.sum(), 1 / (800 + time.sum())))
            tables.append(
                pd.DataFrame(
                    {"g": group, "entry": 0.0, "time": time, "event": event, "patients": 1}
                )
            )
        hazard = xr.DataArray(
            np.log(rates)[None, None, :, None],
            dims=("chain", "draw", "g", "interval"),
            coords={
                "g": ["a", "b"],
                "interval_start": ("interval", [0.0]),
                "interval_end": ("interval", [60.0]),
            },
        )
        counts = pd.concat(tables, ignore_index=True)
        curves = predictive_curves(hazard, counts, "g", [24.0], seed=number, replicates=200)
        seen = survival_at(counts, [24.0], ["g"]).set_index("group")["estimate"]
        tails.append(tail(float(seen["a"]), curves.sel(g="a", time=24.0).to_numpy()))
    assert kstest(tails, "uniform").pvalue > 0.001
