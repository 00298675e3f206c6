"""Delayed entry: survival is conditional on no event by the first entry, where cells begin."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from scipy.integrate import quad

from her2bayes.classical import survival as km
from her2bayes.errors import BadInput
from her2bayes.estimand import parse
from her2bayes.evidence.patients.follow_up import FollowUp, read_follow_up
from her2bayes.evidence.patients.survival_cells import (
    cut_points,
    first_entry,
    survival_cells,
    time_counts,
)
from her2bayes.survival import piecewise as post
from her2bayes.survival.doors import landmark_times
from her2bayes.survival.draws import draws as draws_of
from her2bayes.survival.estimates import given_entry

# ages in years; nobody is observed before 40
ENTRY = [40, 42, 45, 50, 41, 48, 55, 60, 43, 52]
EXIT = [61, 70, 66, 80, 75, 72, 71, 90, 58, 85]
EVENT = [1, 1, 0, 1, 1, 1, 1, 0, 1, 1]


def ages(entry: list[float] = ENTRY) -> FollowUp:
    table = pd.DataFrame({"t": EXIT, "e": EVENT, "entry": entry})
    return read_follow_up(table, time="t", event="e", entry="entry")


def hazard_draws(cells: xr.Dataset, value: float) -> xr.Dataset:
    """One draw of a constant hazard."""
    draws = xr.Dataset({"reference_log_hazard": (("chain", "draw"), [[np.log(value)]])})
    return draws.assign(term_baseline=("interval", np.zeros(cells.sizes["interval"])))


@pytest.mark.parametrize("scheme", ["quantile", "equal", [50.0, 70.0], [20.0]])
def test_cells_begin_at_the_first_entry_and_hold_all_months(scheme):
    follow_up = ages()
    cuts = cut_points(follow_up, scheme, 4)
    assert cuts[0] == first_entry(follow_up) == 40
    cells = survival_cells(follow_up, cuts)
    assert float(cells["person_months"].sum()) == sum(EXIT) - sum(ENTRY)
    assert int(cells["events"].sum()) == sum(EVENT)


def test_without_delayed_entry_time_begins_at_zero():
    follow_up = read_follow_up(pd.DataFrame({"t": EXIT, "e": EVENT}), time="t", event="e")
    assert cut_points(follow_up, "equal", 2).tolist() == [0, 45, 90]
    assert given_entry(0.0) == ""


def test_survival_median_and_restricted_mean_are_given_the_first_entry():
    cells = survival_cells(ages(), cut_points(ages(), "equal", 5))
    draws = hazard_draws(cells, 0.03)
    log_hazard = post.log_hazard(draws, cells)
    assert post.survival(log_hazard, [40, 60]).values.ravel() == pytest.approx([1, np.exp(-0.6)])
    area = quad(lambda t: np.exp(-0.03 * (t - 40)), 40, 80)[0]
    assert post.rmst(log_hazard, 80).item() == pytest.approx(40 + area)
    asked = [parse(name) for name in ("median[t]", "survival[t @ 60 months]")]
    median, survival = (one.item() for one in draws_of(draws, cells, asked).values())
    assert median == pytest.approx(40 + np.log(2) / 0.03, rel=1e-6)
    assert survival == pytest.approx(np.exp(-0.6))


def test_incidences_of_causes_begin_at_the_first_entry():
    cells = survival_cells(ages(), cut_points(ages(), "equal", 5))
    one = post.log_hazard(hazard_draws(cells, 0.03), cells)
    both = xr.concat([one + np.log(0.25), one + np.log(0.75)], pd.Index(["x", "y"], name="cause"))
    found = post.cumulative_incidence(both, [40.0, 60.0]).squeeze()
    gone = 1 - np.exp(-0.6)
    assert found.transpose("cause", "time").values == pytest.approx(
        np.array([[0, 0.25 * gone], [0, 0.75 * gone]])
    )


def test_kaplan_meier_has_the_same_condition():
    # R 4.2, survival 3.5.3: s <- survfit(Surv(entry, exit, event) ~ 1); s: median 72 (70, NA)
    # survival:::survmean(s, rmean = 80): rmean 72.067019, counted from 0 as here
    counts = time_counts(ages())
    median = km.quantile(counts).iloc[0]
    assert (median["estimate"], median["lower"]) == (72, 70)
    assert km.rmst(counts, 80)["estimate"].iloc[0] == pytest.approx(72.067019, abs=1e-6)


def test_what_moves_the_first_entry_a_little_moves_survival_a_little():
    values = []
    for shift in (0.0, 1e-6):
        follow_up = ages([ENTRY[0] + shift, *ENTRY[1:]])
        cells = survival_cells(follow_up, cut_points(follow_up, "equal", 5))
        (median,) = draws_of(hazard_draws(cells, 0.03), cells, [parse("median[t]")]).values()
        values.append(median.item())
    assert values[1] == pytest.approx(values[0], abs=1e-5)


def test_patients_elsewhere_count_from_the_own_first_entry_on():
    cells = survival_cells(ages(), [60.0, 75.0, 90.0])
    late = [(max(a, 60), b, e) for a, b, e in zip(ENTRY, EXIT, EVENT, strict=True) if b > 60]
    assert float(cells["person_months"].sum()) == sum(b - a for a, b, _ in late)
    assert int(cells["events"].sum()) == sum(e for *_, e in late)
    assert int(cells["rows"].sum()) == len(late)


def test_landmarks_lie_after_the_first_entry():
    assert landmark_times((), 0.0, 40.0) == (6, 12, 24, 36)
    assert landmark_times((), 7.5, 40.0) == (12, 24, 36)
    assert landmark_times((), 481.0, 1034.0) == (600, 720, 840, 960)
    assert landmark_times((500.0,), 481.0, 1034.0) == (500.0,)
    with pytest.raises(BadInput, match="not after the first entry"):
        landmark_times((240.0, 600.0), 481.0, 1034.0)
