"""The analysis as reported is that of the page, row by row: same fit, same draws, to the digit."""

from __future__ import annotations

import shutil
from importlib import import_module
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from her2bayes.estimand import is_percent, parse
from her2bayes.evidence.printed.study import Study, load_study, study_folder
from her2bayes.evidence.printed.tables import Conclusion
from her2bayes.inference.sampling import Sampling
from her2bayes.inference.store import Store
from her2bayes.rates import sensitivity as sensitivity_rates
from her2bayes.reproduce.build import FAMILIES
from her2bayes.results.fitted import Fitted
from her2bayes.sensitivity import run, worker
from her2bayes.sensitivity.summary import Limits
from her2bayes.sensitivity.target import BASE, Drawn, Target
from her2bayes.sensitivity.target import FAMILIES as ROOMS

QUICK = Sampling(draws=600, tune=400, chains=2)
SHOWN = ("median", "lower", "upper")


@pytest.fixture(autouse=True)
def without_power_scaling(monkeypatch: pytest.MonkeyPatch) -> None:
    """Power-scaling of hundreds of quantities takes minutes and changes none of them."""
    from her2bayes.inference import reweight

    monkeypatch.setattr(reweight, "power_scaling", lambda *_: {})


def as_conclusions(rows: pd.DataFrame, study: Study | None = None) -> list[Conclusion]:
    """Each row of estimates as a statement on its own median, or on the event it has a P for."""
    found = []
    for place, row in enumerate(rows.to_dict("records")):
        estimand = parse(row["estimand"])
        scale = 100.0 if is_percent(estimand.kind) else 1.0
        relation, number = ">", float(row["posterior_median"]) / scale
        if "P(difference > 0)" in row["note"] or "flow" in row["note"]:
            relation, number = ">", 0.0
        if "P(ratio < 1)" in row["note"] or "P(HR < 1)" in row["note"]:
            relation, number = "<", 1.0
        found.append(Conclusion(f"c{place}", estimand, relation, number))
    return found


def answered(targets: list[Target]) -> set[str]:
    return {str(c.estimand) for target in targets for c in target.conclusions}


def base_rows(targets: list[Target], sampling: Sampling, fits: Store) -> pd.DataFrame:
    """Rows of the reported analysis, as ``sensitivity.run`` makes them."""
    rows = []
    for target in targets:
        found: Drawn = worker.baseline(target, sampling, fits)
        rows += list(run._rows(target, BASE, found, Limits(), False))
    return pd.DataFrame(rows)


def assert_same(page: pd.DataFrame, table: pd.DataFrame) -> None:
    """Every number, fit and verdict of the table of scenarios is that of the page's row."""
    rows = page.set_index("estimand")
    for said in table.to_dict("records"):
        estimand = said["statement"].rpartition("]")[0] + "]"
        row = rows.loc[estimand]
        for name in SHOWN:
            assert said[name] == pytest.approx(row[f"posterior_{name}"], rel=1e-12), estimand
        assert said["fit_id"] == row["fit_id"], estimand
        assert said["unit"] == row["unit"], estimand
        assert said["convergence"] == row["convergence"], estimand
        named = ("P(difference > 0)", "P(ratio < 1)", "P(HR < 1)", "P(flow")
        if any(event in row["note"] for event in named):
            for one, other in (("probability", "posterior_probability"),
                               ("prior_probability", "prior_probability")):  # fmt: skip
                assert said[one] == pytest.approx(row[other], abs=1e-12), estimand
        elif said["probability"] is not None:  # the chance of a value above the median
            assert said["probability"] == pytest.approx(0.5, abs=2e-3), estimand


def page_of(study: Study, fits: Store, *names: str) -> pd.DataFrame:
    """Rows of the page that have a posterior under the reading that is reported first."""
    done = [f.run(study, fits, QUICK, lambda _: None)
            for f in FAMILIES if f.name in names and f.applies(study)]  # fmt: skip
    tables = [r.estimates() if isinstance(r, Fitted) else r.estimates for r in done]
    rows = pd.concat(tables, ignore_index=True)
    return rows[(rows["reading"] == "") & rows["posterior_median"].notna()]


def study_answers(study: Study, rows: pd.DataFrame) -> list[Target]:
    """Targets for every row of the page that a conclusion of this study can be about."""
    asked, found = as_conclusions(rows), []
    for name in run.STUDY_FAMILIES:
        module = import_module(ROOMS[name])
        left = [c for c in asked if str(c.estimand) not in answered(found)]
        found += module.targets(study, left)
    return found


class ReadOnce(Store):
    """A store that reads a file once: each of hundreds of statements asks for its fit."""

    def load(self, model: str, fit_id: str) -> xr.DataTree | None:
        known = self.__dict__.setdefault("known", {})
        if (model, fit_id) not in known:
            known[model, fit_id] = super().load(model, fit_id)
        tree = known[model, fit_id]
        return known.pop((model, fit_id)) if tree is None else tree.copy()


@pytest.fixture
def fits_of(reproduced: Path, tmp_path: Path):
    """Make a store with the fits of a paper's quick report, of the same sampling as ``QUICK``."""

    def copy(name: str) -> Store:
        kept = reproduced / "out" / name / "fits"
        return ReadOnce(Path(shutil.copytree(kept, tmp_path / "fits")))

    return copy


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "families", "kinds"),
    [
        ("shi2023", ("distribution",), {"share", "share_difference"}),
        ("shi2023", ("reconstructed_survival",), {"hazard_ratio"}),
        ("ni2025", ("response", "adverse_events", "reconstructed_survival"),
         {"response_rate", "response_rate_difference", "event_rate", "share", "hazard_ratio"}),
    ],
)  # fmt: skip
def test_the_reported_analysis_is_that_of_the_page(name, families, kinds, fits_of) -> None:
    study, fits = load_study(study_folder(name)), fits_of(name)
    rows = page_of(study, fits, *families)
    targets = study_answers(study, rows)
    table = base_rows(targets, QUICK, fits)
    assert kinds <= {parse(text).kind for text in answered(targets)}
    wanted = {text for text in rows["estimand"] if parse(text).kind in kinds}
    assert answered(targets) >= {text for text in wanted if "best_response" not in text}
    assert_same(rows, table)


@pytest.mark.slow
def test_transitions_of_a_paper_are_those_of_the_page(fits_of, monkeypatch) -> None:
    from her2bayes.transition import paper

    study, fits = load_study(study_folder("shi2023")), fits_of("shi2023")
    first = dict(list(paper.row_priors(3).items())[:1])
    monkeypatch.setattr(paper, "row_priors", lambda k: first)
    monkeypatch.setattr(paper, "partitions", lambda facts: [(), ("hr_status",)])
    result = paper.run(study, fits, QUICK)
    rows = result.estimates[(result.estimates["reading"] == "")]
    targets = study_answers(study, rows)
    kinds = {parse(text).kind for text in answered(targets)}
    assert kinds >= {"transition", "discordance", "discordance_difference", "gain", "loss",
                     "flow_difference", "true_discordance"}  # fmt: skip
    assert_same(rows, base_rows(targets, QUICK, fits))


def test_every_conclusion_of_the_papers_rests_on_the_page_or_says_that_it_does_not() -> None:
    for name in ("shi2023", "ni2025"):
        study = load_study(study_folder(name))
        for target in run.study_targets(study, study.conclusions):
            if target.family == "printed":
                assert target.data["page"], target.name
            if target.family == "rates":
                assert target.data["model"] != "binomial", target.name


def test_numbers_of_a_binomial_are_those_of_the_page() -> None:
    """scipy.stats.beta(1 + count, 1 + patients - count): median, interval, survival function."""
    from scipy import stats

    study = load_study(study_folder("ni2025"))
    rows = study.ledger[study.ledger["estimand"] == "event_rate[any | severity=any]"]
    count, patients = (int(rows[n].dropna().iloc[0]) for n in ("numerator", "denominator"))
    text = Conclusion("c", parse("event_rate[any | severity=any]"), ">", 0.9)
    (target,) = sensitivity_rates.targets(study, [text])
    (row,) = base_rows([target], QUICK, Store(study.folder)).to_dict("records")
    beta = stats.beta(1 + count, 1 + patients - count)
    assert [row[n] for n in SHOWN] == pytest.approx(
        list(100 * beta.ppf([0.5, 0.025, 0.975])), rel=1e-6
    )
    assert row["probability"] == pytest.approx(float(beta.sf(0.9)), rel=1e-6)
    assert np.isfinite(row["prior_probability"])


@pytest.mark.slow
def test_survival_of_a_cohort_is_that_of_the_page(tmp_path) -> None:
    from her2bayes.evidence.patients.follow_up import read_follow_up
    from her2bayes.survival import analysis
    from her2bayes.survival import sensitivity as sensitivity_survival
    from her2bayes.survival.doors import Specification

    rng = np.random.default_rng(8)
    time = np.round(rng.exponential(30, 240), 1) + 0.1  # horizons are printed in full
    patients = pd.DataFrame(
        {
            "os_months": np.minimum(time, 60),
            "os_event": (time < 60).astype(int),
            "entry": np.minimum(time, 60) * rng.uniform(0, 0.3, 240),
            "her2": rng.choice(["zero", "low", "positive"], 240),
            "hr_status": rng.choice(["positive", "negative"], 240),
        }
    )
    follow_up = read_follow_up(
        patients, time="os_months", event="os_event", entry="entry",
        by={"her2": ["zero", "low", "positive"], "hr_status": None},
    )  # fmt: skip
    fits, question = Store(tmp_path), Specification(intervals=6)
    result = analysis.run(follow_up, question, fits, QUICK)
    rows = result.estimates[result.estimates["reading"] == ""]
    kept = rows[[parse(text).kind in sensitivity_survival.KINDS for text in rows["estimand"]]]
    asked = [c for c in as_conclusions(kept)
             if sensitivity_survival._answerable(c.estimand, result.cells)]  # fmt: skip
    assert {c.estimand.kind for c in asked} >= {"hazard_ratio", "survival", "rmst"}
    target = sensitivity_survival.target(follow_up, question, asked)
    assert_same(rows, base_rows([target], QUICK, fits))


@pytest.mark.slow
def test_pairs_of_a_cohort_are_those_of_the_page(tmp_path, paired) -> None:
    from her2bayes.transition import cohort as transition_cohort
    from her2bayes.transition import sensitivity_pairs

    cohort, fits = paired, Store(tmp_path)
    result = transition_cohort.run_pairs(
        transition_cohort.pairs_of(cohort, ["hr_status"]),
        transition_cohort.Specification(assay=False, sampling=QUICK, store=fits),
    )
    rows = result.estimates[result.estimates["reading"] == ""]
    asked = [c for c in as_conclusions(rows)
             if sensitivity_pairs.paper.factors_of(c.estimand) is not None]  # fmt: skip
    targets = sensitivity_pairs.targets(cohort, asked)
    assert len(targets) == 2
    assert_same(rows, base_rows(targets, QUICK, fits))
