"""Survival from reconstructed cohorts: estimates, their origin, the store, the page."""

from dataclasses import replace

import numpy as np
import pytest

from her2bayes.bayes.prior import prior
from her2bayes.cohorts import analysis, kept
from her2bayes.cohorts import section as report
from her2bayes.cohorts.chain import statistics as kernel
from her2bayes.cohorts.chain.problem import problem
from her2bayes.cohorts.chain.replica import Settings, prior_theta
from her2bayes.cohorts.chain.summary import Cells, CountFact, Statistic, Summary, Target
from her2bayes.cohorts.constraints import summary as read_summary
from her2bayes.cohorts.ensemble import ensemble_of
from her2bayes.cohorts.interpretations import reported, settings_of
from her2bayes.estimand import parse
from her2bayes.evidence.printed.study import load_study, published_folder, study_folder
from her2bayes.inference.store import Store
from her2bayes.survival.figures import endpoint_name

pytestmark = pytest.mark.slow  # it samples chains, and compiles them first in a new home

CELLS = Cells({"her2": ("low", "positive"), "hr_status": ("positive", "negative")})
SHORT = Settings(chains=2, replicas=4, warm=60, sweeps=120, moves=200, soft_moves=200)


def toy() -> Summary:
    """Forty patients, 16 deaths, a hazard ratio within 0.4 to 0.6, follow-up median 15 to 25."""
    everyone = np.ones(4, np.int64)
    positive = CELLS.where({"her2": "positive"}).astype(np.int64)
    facts = (
        CountFact("deaths", "deaths", everyone, True, 16, 16),
        CountFact("positive", "positive", positive, False, 20, 20),
    )
    ratio = Target("hr", "hazard ratio", "0.5", 0, np.log(0.4), np.log(0.6), "exp")
    follow = Target("follow", "median", "20", 0, 150.0, 250.0, "months")
    statistics = (
        Statistic("hazard_ratio[os ; her2]", kernel.COX, {}, "her2", ("low", "positive"), (ratio,)),
        Statistic("follow_up[os]", kernel.FOLLOW_UP, {}, "", (), (follow,)),
    )
    return Summary("toy", "os", 40, CELLS, facts, statistics, 60.0, ("her2", "hr_status"), {})


TOY = kept.Specification(toy(), SHORT)


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> tuple[analysis.Endpoint, Store]:
    store = Store(tmp_path_factory.mktemp("fits"))
    return analysis.analyse(TOY, store), store


def test_printed_ratio_is_by_construction_and_consequences_are_implied(found) -> None:
    table = found[0].estimates.set_index("estimand")
    assert table.loc["hazard_ratio[os ; her2: positive vs low]", "evidence_kind"] == (
        "by_construction"
    )
    others = table.drop("hazard_ratio[os ; her2: positive vs low]")
    assert set(others["evidence_kind"]) == {"implied"}
    kinds = {parse(text).kind for text in table.index}
    assert kinds == {"survival", "rmst", "hazard_ratio", "hazard_ratio_ratio"}
    assert table["convergence"].str.len().gt(0).all()
    survival = table.loc["survival[os @ 24 months]"]
    assert 0 < survival["posterior_lower"] < survival["posterior_upper"] < 100
    assert survival["contraction"] > 0


def test_share_of_variance_is_a_share(found) -> None:
    share = found[0].variance["share"]
    assert share.between(0, 1).all()
    assert share.max() > 0


def test_chains_are_read_from_the_store(found, monkeypatch: pytest.MonkeyPatch) -> None:
    first, store = found
    monkeypatch.setattr(kept.tempering, "chains", None)
    again = analysis.analyse(TOY, store)
    columns = ["posterior_median", "posterior_lower", "prior_upper"]
    np.testing.assert_array_equal(again.estimates[columns], first.estimates[columns])


def test_prior_draws_have_the_priors_of_the_page(rng) -> None:
    model = problem(toy()).model
    theta = prior_theta(model, 4000, rng)
    assert theta[:, 0].std() == pytest.approx(1, abs=0.05)
    smoothing = np.exp(theta[:, model.start.size])
    assert np.median(smoothing) == pytest.approx(0.674, abs=0.05)  # of a half-normal of scale 1


def test_section_says_what_the_cohorts_are(found) -> None:
    result = analysis.Result("toy", {}, (found[0],), SHORT)
    section = report.section(result)
    text = " ".join(section.paragraphs)
    assert "No cohort is the paper's data" in text
    assert "uncongenial" in text
    curves = len(toy().model_factors)
    assert len(section.figures) == curves + 1  # and one forest
    first = section.figures[0].svg
    assert ("one cohort" in first, "extrapolated" in first) == (True, False)
    assert section.fits[0]["fit_id"] == found[0].fit_id


def test_which_studies_are_reported() -> None:
    assert analysis.applies(load_study(study_folder("ni2025")))
    assert analysis.applies(load_study(study_folder("shi2023")))


def test_chains_kept_with_the_package_are_used_under_their_own_key_only(
    found, tmp_path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chains = list(found[0].ensemble.chains)
    kept.keep(TOY, chains, tmp_path / kept.SHIPPED)
    monkeypatch.setattr(kept, "published_folder", lambda: tmp_path / "published")
    read = kept.shipped(TOY)
    assert read is not None
    np.testing.assert_array_equal(read[0].cell, chains[0].cell)
    assert kept.shipped(replace(TOY, settings=replace(SHORT, sweeps=7))) is None
    wide = {**TOY.priors, "smoothing": prior("HalfNormal", sigma=2.0)}
    assert kept.shipped(replace(TOY, priors=wide)) is None


def test_every_kept_chain_is_of_the_present_numbers_code_and_settings() -> None:
    converged = {}
    for name in ("shi2023", "ni2025"):
        study = load_study(study_folder(name))
        for endpoint in reported(study):
            item = read_summary(study, endpoint)
            chains = kept.shipped(kept.Specification(item, settings_of(study)))
            assert chains is not None, f"{name} {endpoint}: chains are made anew in every report"
            converged[endpoint_name(endpoint)] = ensemble_of(item, chains, 1).agrees
    assert converged == {"BCSS": True, "rwPFS": True, "OS": True}
    folder = published_folder().parent / kept.SHIPPED
    assert len(list(folder.glob("*.nc"))) == len(converged)


def test_chains_that_differ_speak_against_every_number(found) -> None:
    endpoint = found[0]
    verdicts = set(endpoint.estimates["convergence"])
    if endpoint.ensemble.agrees:
        assert endpoint.ensemble.verdict == "chains agree"
        assert "chains agree" in verdicts
    else:
        assert all(text.startswith("chains disagree: ") for text in verdicts)
        assert endpoint.ensemble.verdict.startswith("chains disagree: R-hat")
