"""Axes of evidence from elsewhere, groups and definitions; choices that cannot be asked."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from her2bayes.cohorts import sensitivity as printed
from her2bayes.evidence.classify import PAPERS
from her2bayes.evidence.patients.cohort import Cohort, reclassified
from her2bayes.evidence.patients.follow_up import FollowUp, read_follow_up
from her2bayes.evidence.printed.study import Study, load_study, published_folder
from her2bayes.evidence.printed.tables import Conclusion, conclusions_of
from her2bayes.inference import densities, engine
from her2bayes.inference.fit import Specification, without_padding
from her2bayes.inference.sampling import Sampling
from her2bayes.rates import sensitivity as borrowed
from her2bayes.rates import sensitivity as rates
from her2bayes.rates.borrowing import Outside
from her2bayes.sensitivity.target import BASE, WANTED, Target, not_asked, scenario
from her2bayes.survival import sensitivity as survival
from her2bayes.survival.doors import Specification as Question
from her2bayes.transition import sensitivity as change
from her2bayes.transition import sensitivity as left_out
from her2bayes.transition import sensitivity_pairs as pairs


@pytest.fixture(autouse=True)
def few_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(densities, "_PRIOR_DRAWS", 40)


def asked(*texts: str) -> tuple[Conclusion, ...]:
    rows = [{"conclusion_id": f"c{k}", "conclusion": t, "locator": "", "note": ""}
            for k, t in enumerate(texts)]  # fmt: skip
    return conclusions_of(rows)


def prior_of(spec: Specification) -> xr.Dataset:
    with engine.compiler_flags():
        return without_padding(densities.prior_draws(spec.model(), 1)[0])


@pytest.fixture(scope="module")
def ni() -> Study:
    return load_study(published_folder() / "ni2025")


@pytest.fixture(scope="module")
def shi() -> Study:
    return load_study(published_folder() / "shi2023")


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        # R 4.2: pbeta(.3, 1+23+10, 1+41+10, lower.tail = FALSE): 20 of 40 with weight 0.5
        ({borrowed.POWER: 0.5}, 0.9685679),
        # R 4.2: pbeta(.3, 1+23+20, 1+41+20, lower.tail = FALSE)
        ({borrowed.POWER: 1.0}, 0.99367),
        ({borrowed.ROBUST: 1e-9}, 0.860026),
    ],
)
def test_response_with_destiny_breast04(
    ni: Study, changes: dict[str, float], expected: float
) -> None:
    (target,) = rates.targets(ni, asked("response_rate[orr] > 0.3"))
    names = [axis.name for axis in target.axes]
    assert borrowed.POWER in names
    assert borrowed.STUDY not in names  # one study elsewhere
    of = scenario(target.axes, changes)
    posterior, _ = next(iter(rates.drawn(target, of, Sampling()).draws.values()))
    assert float((posterior > 0.3).mean()) == pytest.approx(expected, abs=6e-4)


def test_one_of_several_studies_elsewhere_is_left_out() -> None:
    outside = Outside((20, 3), (40, 10))
    axis = borrowed.borrowed_axes(outside)[-1]
    assert axis.name == borrowed.STUDY
    of = scenario([axis], {borrowed.STUDY: axis.values[1]})
    prior = borrowed.borrowed(outside, of, 64, 1.0)
    assert prior is not None
    assert prior.mean() == pytest.approx(21 / 42, abs=1e-4)


def test_pairs_without_contralateral_cancers(shi: Study) -> None:
    (target,) = change.targets(shi, asked("discordance[] > 0.3"))
    axis = next(axis for axis in target.axes if axis.name == change.OUT)
    assert axis.values == ("relapse_type=LRR", "relapse_type=DM", "relapse_type=CBC")
    facts = left_out.without(shi.transition_facts, "relapse_type=CBC")
    known = {(r["cells"], r["relation"]): int(r["value"]) for r in facts.to_dict("records")}
    assert known["*->*", "="] == 247 - 66
    assert known["off_diagonal", "="] == 94 - 42
    assert known["*->low", "="] == 127 - 37
    assert known["low->*", "<="], known["low->*", ">="] == (125, 125 - 66)
    tables = change._tables(target, scenario(target.axes, {change.OUT: "relapse_type=CBC"}))
    assert tables.names == ["all"]


def patients(seed: int, number: int) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    time = rng.exponential(20, number)
    return pd.DataFrame(
        {
            "os_months": np.minimum(time, 36),
            "e": (time < 36).astype(int),
            "her2": rng.choice(["zero", "low"], number),
            "centre": rng.choice(["p", "q", "r"], number),
        }
    )


def read(seed: int, number: int, by: list[str]) -> FollowUp:
    return read_follow_up(patients(seed, number), time="os_months", event="e", by=by)


RATIO = "hazard_ratio[os ; her2: low vs zero] < 1"


def survival_target(*by: str, **options: object) -> Target:
    question = replace(Question(intervals=4), frailty=tuple(n for n in by if n == "centre"))
    return survival.target(read(1, 90, list(by)), question, asked(RATIO), **options)  # type: ignore[arg-type]


@pytest.mark.slow
def test_survival_with_patients_elsewhere() -> None:
    elsewhere = {name: read(seed, 120, ["her2"]) for name, seed in (("a", 2), ("b", 3))}
    target = survival_target("her2", elsewhere=elsewhere)
    axes = {axis.name: axis for axis in target.axes}
    assert axes[survival.BORROWED].ordered[:2] == (0.0, 0.1)
    assert axes[survival.STUDIES].values == ("all", "all but a", "all but b")
    for changes, weight, studies in (
        ({survival.BORROWED: 0.5}, 0.5, {"a", "b"}),
        ({survival.STUDIES: "all but a"}, 1.0, {"b"}),
        ({survival.BORROWED: 0.25, survival.OUT: "her2=zero"}, 0.25, {"a", "b"}),
    ):
        of = scenario(target.axes, changes)
        spec = survival.specification(target, of)
        assert spec.options["power"] == weight
        external = spec.data["external"]["events"]
        counted = external.sum([d for d in external.dims if d != "study"])
        assert {str(s) for s in external["study"].values if float(counted.sel(study=s))} == studies
        if survival.OUT in changes:
            assert float(external.sel(her2="zero").sum()) == 0
            continue
        found = survival.quantities(target, of, prior_of(spec))
        assert all(np.isfinite(values).all() for values in found.values())
    plain = survival.specification(target, BASE)
    assert "power" not in plain.options


def test_centres_are_left_out_one_at_a_time() -> None:
    target = survival_target("her2", "centre")
    out = next(axis for axis in target.axes if axis.name == survival.OUT)
    assert {"centre=p", "centre=q", "centre=r"} <= set(out.values)
    of = scenario(target.axes, {survival.OUT: "centre=q"})
    spec = survival.specification(target, of)
    assert spec.options["frailty"] == ("centre",)
    assert int(spec.data["events"].sel(centre="q").sum()) == 0
    assert "frailty_centre" in spec.top_level


@pytest.mark.slow
def test_survival_under_another_definition() -> None:
    other = patients(1, 90)
    other.loc[other.index[:20], "her2"] = "zero"
    recounted = read_follow_up(other, time="os_months", event="e", by=["her2"])
    same = read(1, 90, ["her2"])
    target = survival_target("her2", definitions={"2+ as zero": recounted, "same": same})
    axis = next(axis for axis in target.axes if axis.name == survival.DEFINED)
    assert axis.values == ("2+ as zero",)
    cells = survival.scenario_cells(target, scenario(target.axes, {axis.name: "2+ as zero"}))
    assert int(cells["rows"].sel(her2="zero").sum()) == int((other["her2"] == "zero").sum())


def paired(number: int = 80) -> Cohort:
    """Pairs of IHC scores, 2+ with a negative ISH."""
    rng = np.random.default_rng(4)
    rows = pd.DataFrame({"patient_id": [f"P{i}" for i in range(number)]})
    for end in ("primary", "recurrence"):
        rows[f"{end}_score"] = rng.choice(["0", "1", "2", "3"], number)
        rows[f"{end}_ish"] = np.where(rows[f"{end}_score"] == "2", "negative", "")
        rows[[f"{end}_overall", f"{end}_rule", f"{end}_reading"]] = ""
        rows[f"{end}_sampled"] = True
    rows["hr_status"] = np.where(np.arange(number) < 50, "positive", "negative")
    rows["pair"] = True
    flow = pd.DataFrame({"stage": ["rows"], "unit": ["rows"], "rule": ["one row a patient"],
                         "result": [""], "outcome": ["kept"], "count": [number],
                         "of": [number]})  # fmt: skip
    bare = Cohort("x", "Pairs", rows, flow, {"hr_status": ("positive", "negative")}, (), PAPERS,
                  {}, "x")  # fmt: skip
    return reclassified(bare, PAPERS)


def test_pairs_under_other_definitions() -> None:
    cohort = paired()
    as_zero = reclassified(cohort, PAPERS.counting("2", "zero"))
    moved = cohort.patients.assign(hr_status="positive")
    moved.loc[70:, "hr_status"] = "negative"
    receptors = replace(cohort, patients=moved)
    defined = {"IHC 2+/ISH− counted as zero": as_zero, "ER from 10 %": receptors}
    texts = ("transition[zero -> low] > 0.4", "discordance[| hr_status=negative] > 0.3")
    everyone, by_receptor = pairs.targets(cohort, asked(*texts), defined)
    axes = [next(a for a in t.axes if a.name == pairs.DEFINED) for t in (everyone, by_receptor)]
    assert axes[0].values == ("IHC 2+/ISH− counted as zero",)  # receptors change nobody's class
    assert set(axes[1].values) == set(defined)
    of = scenario(everyone.axes, {pairs.DEFINED: axes[0].values[0]})
    low = pairs.scenario_data(everyone, of)["counts"].sel(primary_reading="low").sum()
    assert int(low) == int((cohort.patients["primary_score"] == "1").sum())


def test_what_is_not_asked_is_told(ni: Study, shi: Study) -> None:
    found = not_asked(rates.targets(ni, asked("response_rate[orr] > 0.3")))
    reasons = dict(zip(found["choice"], found["reason"], strict=True))
    assert "weight of other studies (borrowing)" not in reasons
    assert "no conclusion rests on reconstructed cohorts" in reasons.values()
    ratio = asked("hazard_ratio[bcss ; her2: positive vs low] < 1")
    told = " ".join(not_asked(printed.targets(shi, ratio))["reason"])
    assert "each reading needs chains of its own" in told
    assert "duplicates results" in told  # from the study's reconstruction.toml
    assert all(reasons.values())
    pairs_asked = not_asked(change.targets(shi, asked("discordance[] > 0.3")))["choice"]
    assert "relapse without contralateral cancers" not in set(pairs_asked)
    assert len(not_asked([])) == len(WANTED)
