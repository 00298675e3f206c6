"""Conclusions from printed intervals and counts against R, and what no printed number answers."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from her2bayes.cohorts import sensitivity as printed
from her2bayes.errors import BadInput
from her2bayes.evidence.printed.study import load_study, published_folder
from her2bayes.evidence.printed.tables import conclusions_of
from her2bayes.inference.sampling import Sampling
from her2bayes.rates import sensitivity as alone
from her2bayes.rates import sensitivity as rates
from her2bayes.sensitivity.run import study_targets
from her2bayes.sensitivity.target import scenario


def asked(*texts: str):
    rows = [
        {"conclusion_id": f"c{k}", "conclusion": t, "locator": "", "note": ""}
        for k, t in enumerate(texts)
    ]
    return conclusions_of(rows)


def probability(study: str, text: str, **changes: object) -> float:
    (conclusion,) = asked(text)
    family = printed if conclusion.estimand.kind == "hazard_ratio" else rates
    (target,) = family.targets(load_study(published_folder() / study), [conclusion])
    found = family.drawn(target, scenario(target.axes, changes), Sampling())
    (posterior, _) = next(iter(found.draws.values()))
    return float(conclusion.holds(posterior).mean())


def test_hazard_ratio_from_the_interval():
    # R 4.2: se <- log(.892/.199)/(2*qnorm(.975)); v <- 1/(1/se^2 + 1/.75^2)
    # m <- log(.422)/se^2*v; pnorm(0, m, sqrt(v)) -> 0.9776812; with se from P = 0.024: 0.9778383
    text = "hazard_ratio[bcss ; her2: positive vs low] < 1"
    interval = {printed.ERROR: printed.INTERVAL}
    assert probability("shi2023", text, **interval) == pytest.approx(0.9776812, abs=5e-4)
    changed = probability("shi2023", text, **{printed.ERROR: printed.FROM_P})
    assert changed == pytest.approx(0.9778383, abs=5e-4)
    turned = "hazard_ratio[bcss ; her2: low vs positive] > 1"
    assert probability("shi2023", turned, **interval) == pytest.approx(0.9776812, abs=5e-4)


def test_rate_from_counts():
    # R 4.2: pbeta(.3, 24, 42, lower.tail = FALSE) -> 0.860026
    flat = {alone.ALONE: 2.0}
    found = probability("ni2025", "response_rate[orr] > 0.3", **flat)
    assert found == pytest.approx(0.860026, abs=5e-4)


def test_every_printed_row_is_a_reading():
    (conclusion,) = asked("hazard_ratio[rwpfs ; brain_metastases: yes vs no] > 1")
    (target,) = printed.targets(load_study(published_folder() / "ni2025"), [conclusion])
    rows = next(axis for axis in target.axes if axis.name == printed.ROW)
    assert rows.base == printed.COHORTS
    assert set(rows.values) == {"ni.eff.hr.pfs.bm", "ni.mv.hr.bm"}


@pytest.mark.parametrize("interval", [False, True])
def test_prior_draws_follow_the_prior_scale(interval: bool):
    """By the printed interval exactly; the cohorts' spread of three classes is half-normal."""
    (conclusion,) = asked("hazard_ratio[bcss ; her2: positive vs low] < 1")
    (target,) = printed.targets(load_study(published_folder() / "shi2023"), [conclusion])
    spread, middle = {}, {}
    for value in (0.5, 2.0):
        changes = {printed.PRIOR_SCALE: value}
        changes |= {printed.ERROR: printed.INTERVAL} if interval else {}
        found = printed.drawn(target, scenario(target.axes, changes), Sampling())
        after, prior = next(iter(found.draws.values()))
        spread[value] = float(np.log(prior).std())
        weight = xr.full_like(after, 1.0) if found.weight is None else found.weight
        middle[value] = float((np.log(after) * weight).sum() / weight.sum())
    if interval:
        assert spread[0.5] == pytest.approx(0.375, rel=0.01)
        assert spread[2.0] == pytest.approx(1.5, rel=0.01)
    assert spread[2.0] > 2 * spread[0.5]
    assert middle[2.0] < middle[0.5] < 0  # a wider prior shrinks less


def test_what_no_printed_number_answers_is_told_with_what_exists():
    study = load_study(published_folder() / "shi2023")
    with pytest.raises(BadInput) as caught:
        study_targets(
            study,
            asked(
                "hazard_ratio[bcss ; age: <50 vs >=50] < 1",
                "share[her2=low | hr_status=positive, relapse_type=DM] > 0.5",
                "share[her2=low] > 0.5",
            ),
        )
    assert len(caught.value.faults) == 2
    text = str(caught.value)
    assert "hazard_ratio[bcss ; her2: positive vs low]" in text
    assert "share_difference[her2=... ; hr_status: a vs b]" in text
    assert "discordance[]" in text
