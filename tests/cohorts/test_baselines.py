"""Several baseline hazards: their evidence against simulation, the mixture of their draws."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import her2bayes as hb
from her2bayes.cohorts.analysis import Endpoint, bridged, mixture, weigh
from her2bayes.cohorts.chain import statistics
from her2bayes.cohorts.chain.problem import BASELINES, EQUAL, LOG_TIME, Problem
from her2bayes.cohorts.chain.replica import Settings, log_rates, prior_theta
from her2bayes.cohorts.chain.summary import Cells, CountFact, Statistic, Summary, Target
from her2bayes.cohorts.chain.tempering import chain
from her2bayes.cohorts.draws import Marginal, shares_of
from her2bayes.cohorts.kept import Specification
from her2bayes.evidence.printed.study import load_study, study_folder

LAST, N, DEATHS = 60.0, 6, 3
MEDIAN = (5.0, 60.0)  # month tenths: early exits, which a parabola in log time allows more


def toy() -> Summary:
    """Six patients, three deaths, an early median of all times and a long follow-up."""
    cells = Cells({"her2": ("low", "positive")})
    deaths = CountFact("deaths", "deaths", np.ones(2, np.int64), True, DEATHS, DEATHS)
    follow = Statistic("follow", statistics.FOLLOW_UP, {}, "", (),
                       (Target("m", "median", "", 0, *MEDIAN, "months"),
                        Target("l", "longest", "", 2, 300.0, 600.0, "months")))  # fmt: skip
    return Summary("toy", "os", N, cells, (deaths,), (follow,), LAST, (), {})


def simulated(posed: Problem, rng: np.random.Generator, size: int) -> float:
    """How often patients of the prior have all that is printed."""
    death, leave = log_rates(posed.model, prior_theta(posed.model, size, rng))
    start = posed.model.start
    width = np.append(np.diff(start), np.inf)
    times = []
    for rates in (np.exp(death[:, 0]), np.exp(leave)):
        spent = np.cumsum(rates[:, :-1] * width[:-1], axis=1)
        spent = np.column_stack([np.zeros(size), spent])
        e = rng.exponential(size=(size, N))
        last = (e[..., None] >= spent[:, None, :]).sum(axis=2) - 1
        row = np.arange(size)[:, None]
        times.append(start[last] + (e - spent[row, last]) / rates[row, last])
    s, event = np.minimum(*times), times[0] < times[1]
    middle, longest = np.median(np.ceil(s), axis=1), np.ceil(s).max(axis=1)
    fits = (event.sum(axis=1) == DEATHS) & (middle >= MEDIAN[0]) & (middle <= MEDIAN[1])
    return float((fits & (longest >= 300) & (longest <= 600)).mean())


@pytest.mark.slow
def test_evidence_is_how_often_the_prior_has_what_is_printed(rng: np.random.Generator) -> None:
    settings = Settings(chains=4, replicas=3, warm=60, sweeps=200, moves=200, soft_moves=200)
    parts: list[Any] = []
    for name in (EQUAL, LOG_TIME):
        spec = Specification(toy(), settings, baseline=name)
        found = [chain(spec.posed, settings, seed) for seed in range(4)]
        parts.append(SimpleNamespace(spec=spec, ensemble=SimpleNamespace(chains=found)))
    table = weigh(parts)
    often = [simulated(part.spec.posed, rng, 400_000) for part in parts]
    assert min(often) * 400_000 > 200
    truth = np.log(often[1] / often[0])
    error = np.hypot(table["std_error"][1], np.sqrt((1 / np.array(often)).sum() / 400_000))
    assert table["log_evidence"][0] == 0.0
    assert error < 0.3
    assert table["log_evidence"][1] == pytest.approx(truth, abs=4 * max(error, 0.05))
    assert table["weight"][1] == pytest.approx(1 / (1 + np.exp(-table["log_evidence"][1])))


@pytest.mark.parametrize("name", list(BASELINES))
def test_density_of_patients_is_the_mean_likelihood_of_the_prior(
    rng: np.random.Generator, name: str
) -> None:
    """And of no patients 1: the priors integrate to one in every baseline."""
    posed = Specification(toy(), Settings(), baseline=name).posed
    months, event, cell = np.array([0.7, 3.0, 41.0]), np.array([1, 0, 1]), np.array([0, 1, 0])
    before = prior_theta(posed.model, 500, rng)
    found = [Marginal(posed, before, seed).of(months, event, cell) for seed in range(8)]
    death, leave = log_rates(posed.model, prior_theta(posed.model, 100_000, rng))
    s, start = months * 10 - 0.5, posed.model.start
    spent = np.clip(np.minimum(s[:, None], np.append(start[1:], np.inf)) - start, 0.0, None)
    last = np.searchsorted(start, s, side="right") - 1
    log = sum(
        np.where(died, death[:, 0, j], leave[:, j]) - (np.exp(death[:, 0]) + np.exp(leave)) @ time
        for died, j, time in zip(event, last, spent, strict=True)
    )
    mean = np.exp(log).mean()
    error = np.hypot(np.exp(log).std() / mean / np.sqrt(1e5), np.std(found) / np.sqrt(8))
    assert np.mean(found) == pytest.approx(np.log(mean), abs=4 * error + 0.05)
    nobody = np.zeros(0, np.int64)
    none = Marginal(posed, before, 1).of(nobody.astype(float), nobody, nobody)
    assert none == pytest.approx(0.0, abs=0.2)


def test_constants_of_known_densities_are_found(rng: np.random.Generator) -> None:
    centre, spread = np.array([0.0, 1.0, 3.0]), np.array([1.0, 2.0, 0.5])
    number = np.array([4000, 2000, 1000])
    drawn = np.concatenate(
        [rng.normal(c, s, n) for c, s, n in zip(centre, spread, number, strict=True)]
    )
    log_density = -0.5 * ((drawn - centre[:, None]) / spread[:, None]) ** 2
    assert bridged(log_density, number) == pytest.approx(np.log(spread), abs=0.12)


def test_whole_numbers_add_up() -> None:
    assert shares_of(10, np.array([0.55, 0.25, 0.2])).tolist() == [6, 2, 2]
    assert shares_of(7, np.array([0.5, 0.5])).sum() == 7


@pytest.fixture(scope="module")
def shipped() -> Endpoint:
    return hb.reconstruct(load_study(study_folder("ni2025")), endpoint="os").endpoint()


def weights(*of: float) -> pd.DataFrame:
    names = list(BASELINES)[: len(of)]
    return pd.DataFrame({"baseline": names, "prior_weight": 1 / len(of), "log_evidence": 0.0,
                         "std_error": 0.1, "weight": of})  # fmt: skip


def test_a_mixture_of_one_is_that_one_and_of_two_alike_as_well(shipped: Endpoint) -> None:
    finer = replace(shipped, spec=replace(shipped.spec, baseline="equal_deaths"))
    asked = [one for one in shipped.reported if one.kind != "hazard_ratio_ratio"][:12]
    ends = ["posterior_median", "posterior_lower", "posterior_upper"]
    plain = shipped.rows_of(asked)[ends].to_numpy()
    alone = mixture([shipped, finer], 10, weights(1.0, 0.0))
    assert alone.rows_of(asked)[ends].to_numpy() == pytest.approx(plain)
    assert alone.fit_id != shipped.fit_id
    both = mixture([shipped, shipped], 10, weights(0.5, 0.5))
    ratio = both.rows_of(asked)[ends].to_numpy() / plain
    assert np.abs(np.log(ratio)).max() < 0.15
    assert both.ensemble.agrees == shipped.ensemble.agrees
    unsure = weights(0.5, 0.5).assign(std_error=1.5)
    assert not mixture([shipped, shipped], 10, unsure).ensemble.agrees


def test_a_mixture_is_saved_and_says_its_weights(shipped: Endpoint, tmp_path: Path) -> None:
    paper = load_study(study_folder("ni2025"))
    fit = hb.reconstruct(paper, endpoint="os")
    twice = replace(shipped, spec=replace(shipped.spec, baseline="equal_deaths"))
    mixed = mixture([shipped, twice], 10, weights(0.75, 0.25))
    fit = replace(fit, result=replace(fit.result, endpoints=(mixed,)))
    assert "a walk over equal intervals 75%" in str(fit)
    assert any("a walk over equal intervals 75%" in said for said in fit.section().paragraphs)
    other = replace(fit, result=replace(fit.result, endpoints=(twice,)))
    assert any("not the reported one" in said for said in other.section().paragraphs)
    again = hb.load_fit(fit.save(tmp_path / "mixture.nc"))
    assert again.baselines()["weight"].tolist() == [0.75, 0.25]
    name = "survival[os @ 12 months]"
    assert again.draws(name).to_numpy() == pytest.approx(fit.draws(name).to_numpy())
    rows = again.over_baselines([name])
    assert rows["baseline"].tolist() == ["equal_intervals", "equal_deaths", "mixture"]
    assert hb.reconstruct(paper, endpoint="os").baselines().empty


def test_a_fit_saved_before_there_were_mixtures_is_read(shipped: Endpoint) -> None:
    fit = hb.reconstruct(load_study(study_folder("ni2025")), endpoint="os")
    tree = fit.packed()
    said = json.loads(tree.attrs["reconstruction"])
    (one,) = said["endpoints"]
    (part,) = one.pop("parts")
    del one["weighed"]
    said["endpoints"] = [{**one, "shipped": True, "specification": part["specification"]}]
    chains = tree["os/equal_intervals"].children
    older = xr.DataTree.from_dict({f"os/{name}": one.to_dataset() for name, one in chains.items()})
    older.attrs["reconstruction"] = json.dumps(said)
    again = type(fit).unpacked(older)
    name = "survival[os @ 12 months]"
    assert again.draws(name).to_numpy() == pytest.approx(fit.draws(name).to_numpy())
    assert again.fit_id == shipped.fit_id
