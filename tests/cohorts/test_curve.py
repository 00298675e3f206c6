"""Curves back to patients: on simulated and real patients whose curve was drawn and read again."""

from itertools import product

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from scipy.special import gammaln, logsumexp

from her2bayes.cohorts.curve import (
    LEAVING,
    _grid,
    _moved,
    reconstruct,
    reconstruct_with_error,
)
from her2bayes.cohorts.ensemble import (
    kaplan_meier,
    log_hazard_ratio,
    median_is_flat,
    median_time,
    survival_at,
)
from her2bayes.cohorts.validation import pixels_of
from her2bayes.errors import BadInput
from her2bayes.evidence.patients.digitised import AtRisk, Curve, clean_curve

ROWS = np.arange(0.0, 72.0, 12.0)


def trial(rng, n=150, scale=60.0):
    """Weibull deaths, uniform recruitment censoring, administrative end at 70 months."""
    death = scale * rng.weibull(1.2, n)
    leave = np.minimum(rng.uniform(10, 100, n), 70.0)
    return np.minimum(death, leave), death <= leave


def numbers_at_risk(time, rows=ROWS):
    return (time[None, :] >= rows[:, None]).sum(axis=1)


def below(patients, **more):
    """What a figure prints below the curve of these patients."""
    return AtRisk(ROWS, numbers_at_risk(patients[0]), **more)


def steps_of(patients):
    time, survival = kaplan_meier(*patients)
    return np.repeat(time, 2)[1:], np.repeat(survival, 2)[:-1]


def test_exact_steps_give_back_events_and_curve(rng):
    truth = trial(rng)
    curve = clean_curve(*steps_of(truth))
    assert curve.steps
    events = int(truth[1].sum())
    for member in reconstruct(curve, below(truth, events=events), members=5):
        at = np.linspace(0, 69, 200)
        np.testing.assert_allclose(survival_at(member, at), survival_at(truth, at), atol=1e-7)
        assert member[1].sum() == truth[1].sum()


def test_printed_numbers_are_met_by_construction(rng):
    truth = trial(rng)
    number = numbers_at_risk(truth[0])
    points = pixels_of(truth, rng)
    for total in (None, int(truth[1].sum())):
        for time, event in reconstruct(
            clean_curve(*points), AtRisk(ROWS, number, events=total), members=5
        ):
            assert time.size == truth[0].size
            np.testing.assert_array_equal(numbers_at_risk(time), number)
            if total is not None:
                assert event.sum() == total
            assert abs(event.sum() - truth[1].sum()) <= max(2, 0.05 * truth[1].sum())


def test_points_in_percent_and_in_any_order_read_alike(rng):
    time, survival = pixels_of(trial(rng), rng)
    order = rng.permutation(time.size)
    one, other = clean_curve(time, survival), clean_curve(time[order], 100 * survival[order])
    np.testing.assert_allclose(one.survival, other.survival)
    assert one.sigma == pytest.approx(other.sigma)


@pytest.mark.slow
def test_flat_tail_gets_no_events(rng):
    time = np.concatenate([np.linspace(1, 24, 30), np.full(20, 60.0)])
    event = np.concatenate([np.ones(30, bool), np.zeros(20, bool)])
    points = np.linspace(0, 60, 300)
    height = np.round(survival_at((time, event), points) * 400 + rng.integers(-1, 2, 300)) / 400
    rows = np.array([0.0, 12, 24])
    number = (time[None, :] >= rows[:, None]).sum(axis=1)
    for member in reconstruct(clean_curve(points, height), AtRisk(rows, number), members=10):
        late = member[0][member[1]] > 26
        assert late.sum() == 0


@pytest.mark.slow
@pytest.mark.parametrize("rows", [np.array([0.0]), np.array([0.0, 36.0])])
def test_missing_rows_at_risk_still_give_the_curve(rng, rows):
    truth = trial(rng)
    members = reconstruct(
        clean_curve(*pixels_of(truth, rng)),
        AtRisk(rows, numbers_at_risk(truth[0], rows)),
        members=5,
    )
    at = np.array([12.0, 24, 36, 48, 60])
    mean = np.mean([survival_at(m, at) for m in members], axis=0)
    np.testing.assert_allclose(mean, survival_at(truth, at), atol=0.015)


@pytest.mark.slow
def test_same_seed_same_patients(rng):
    truth = trial(rng, n=60)
    curve, number = clean_curve(*pixels_of(truth, rng)), numbers_at_risk(truth[0])
    one, same, other = (
        reconstruct(curve, AtRisk(ROWS, number), members=2, seed=s) for s in (1, 1, 2)
    )
    np.testing.assert_array_equal(one[1][0], same[1][0])
    assert not np.array_equal(one[1][0], other[1][0])
    assert not np.array_equal(one[0][0], one[1][0])  # members differ


def test_a_table_of_another_arm_is_refused(rng):
    truth = trial(rng)
    number = numbers_at_risk(truth[0])
    number[1:] = number[0]  # nobody leaves, although the curve falls
    with pytest.raises(BadInput, match="no patients fit the curve"):
        reconstruct(clean_curve(*steps_of(truth)), AtRisk(ROWS, number), members=1)


@pytest.mark.slow
def test_two_arms_give_the_hazard_ratio_of_the_patients(rng):
    control, treated = trial(rng, 300, 40.0), trial(rng, 300, 70.0)
    truth, error = log_hazard_ratio(control, treated)
    ensembles = [
        reconstruct(clean_curve(*pixels_of(arm, rng)), below(arm), members=6)
        for arm in (control, treated)
    ]
    estimates = [log_hazard_ratio(a, b)[0] for a, b in zip(*ensembles, strict=True)]
    assert abs(np.mean(estimates) - truth) < 0.25 * error


@pytest.mark.parametrize("decimals", [3, 5])
def test_steps_rounded_to_decimals_are_fitted_with_that_error(rng, decimals):
    truth = trial(rng)
    time, survival = steps_of(truth)
    curve = clean_curve(time, np.round(survival, decimals))
    assert curve.sigma == pytest.approx(10.0**-decimals / np.sqrt(12))
    assert f"rounded to {decimals} decimals" in curve.error_from
    at = np.array([12.0, 36, 60])
    for member in reconstruct(curve, below(truth), members=3):
        assert np.abs(survival_at(member, at) - survival_at(truth, at)).max() <= 0.01
        assert abs(int(member[1].sum()) - int(truth[1].sum())) <= 2


def test_wobbling_clicks_with_several_heights_a_time_are_fitted(rng):
    truth = trial(rng, n=80)
    time = np.repeat(np.linspace(0, truth[0].max(), 600), 2)
    height = np.clip(survival_at(truth, time) + rng.normal(0, 0.003, time.size), 0, 1)
    curve, members = reconstruct_with_error(clean_curve(time, height), below(truth), members=3)
    assert curve.sigma < 0.02
    at = np.array([12.0, 36, 60])
    for member in members:
        assert np.abs(survival_at(member, at) - survival_at(truth, at)).max() <= 0.02


def test_printed_censorings_are_met(rng):
    truth = trial(rng)
    censored = ((truth[0] < ROWS[:, None]) & ~truth[1]).sum(axis=1)
    curve = clean_curve(*pixels_of(truth, rng))
    _, members = reconstruct_with_error(curve, below(truth, censored=censored), members=3)
    for time, event in members:
        np.testing.assert_array_equal(numbers_at_risk(time), numbers_at_risk(truth[0]))
        np.testing.assert_array_equal(((time < ROWS[:, None]) & ~event).sum(axis=1), censored)


def test_flat_median_is_flagged():
    time = np.concatenate([np.linspace(1, 10, 50), np.linspace(40, 60, 50)])
    assert median_is_flat([(time, np.ones(100, bool))], 0.001)
    steep = np.linspace(1, 60, 400)
    assert not median_is_flat([(steep, np.ones(400, bool))], 0.001)


ARMS = [
    ("gbsg_rfs_hormon", "hormone"),
    ("gbsg_rfs_hormon", "no_hormone"),
    ("rotterdam_os_grade", "grade2"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("study", "arm"), ARMS)
@pytest.mark.parametrize("version", ["exact", "pixel"])
def test_real_patients(realdata, study, arm, version):
    """Against patients whose curve was drawn and read: no farther from the truth at 12, 36 and 60
    months than IPDfromKM on the same points (ipdfromkm_benchmark.csv beside the data), or than one
    patient."""
    folder = realdata / "km_truth"
    points = pd.read_csv(folder / f"{study}__{arm}_coords_{version}.csv")
    risk = pd.read_csv(folder / "n_at_risk.csv").query("study == @study and arm == @arm")
    truth = pd.read_csv(folder / f"{study}_true_ipd.csv").query("arm == @arm")
    patients = truth["time"].to_numpy(), truth["event"].to_numpy(bool)
    curve = clean_curve(points["time"].to_numpy(), points["survival"].to_numpy())
    total = int(patients[1].sum())
    rows, number = risk["time"].to_numpy(), risk["n_at_risk"].to_numpy()
    members = reconstruct(curve, AtRisk(rows, number, events=total), members=4)
    at = np.array([12.0, 36, 60])
    mean = np.mean([survival_at(m, at) for m in members], axis=0)
    distance = np.abs(mean - survival_at(patients, at)).max()
    assert all(m[0].size == patients[0].size and m[1].sum() == total for m in members)
    if version == "exact":
        assert distance < 1e-4
        assert median_time(members[0]) == pytest.approx(median_time(patients), abs=1e-3)
    else:
        reference = pd.read_csv(folder / "ipdfromkm_benchmark.csv")
        row = reference.query("ver == @version and study == @study and arm == @arm").iloc[0]
        assert distance <= max(row["maxdS"], 1 / patients[0].size)


def test_a_few_clicks_far_apart_are_no_axis_calibrated_askew():
    """Five clicks a third of the axis apart: each reading keeps the axis, so that patients fit."""
    curve = clean_curve(np.array([0, 5, 10, 20, 30.0]), np.array([1, 0.9, 0.7, 0.45, 0.4]))
    for seed in range(6):
        for time, event in reconstruct(
            curve, AtRisk(np.array([0, 10, 20]), np.array([50, 33, 20])), members=2, seed=seed
        ):
            assert [(time >= t).sum() for t in (0, 10, 20)] == [50, 33, 20]
            assert 0 < event.sum() < 50


def admissible(grid, table, part):
    """Every (deaths, censored) of a small figure, with its probability but for a factor."""
    size, patients = grid.end.size, table.patients
    rates = np.exp(np.linspace(*np.log(LEAVING), 400)) / grid.end[-1]  # log-uniform
    found = {}
    for deaths, censored in product(product(range(4), repeat=size), product(range(5), repeat=size)):
        if sum(deaths) + sum(censored) > patients:
            continue
        d, c = np.array(deaths), np.array(censored)
        n = patients - np.concatenate([[0], np.cumsum(d + c)[:-1]])
        closed = grid.target >= 0
        ends = [k for k in range(size) if closed[k] and grid.row_end[k] == k]
        if any(n[k] - d[k] - c[k] != grid.target[k] for k in ends) or (n < d + c).any():
            continue
        if table.events is not None and d.sum() != table.events:
            continue
        before = n - part * c
        if (d > before).any() or (d[~grid.can_fall] > 0).any() or (d[grid.must_fall] < 1).any():
            continue
        survival = np.cumprod(1 - d / np.maximum(before, 1e-9))
        value = stats.norm.logpdf(grid.observed, survival, 0.06).sum()
        if part < 1:
            value += stats.poisson.logpmf(d, n * grid.rate * grid.width).sum()
        else:
            value -= 2.0 * np.maximum(d - 1, 0).sum()
        for first, last in zip([0, *(k + 1 for k in ends)], ends, strict=False):
            mine, width = c[first : last + 1], grid.width[first : last + 1]
            if grid.censored[last] >= 0 and c[: last + 1].sum() != grid.censored[last]:
                value = -np.inf
            # rate of leaving of the row integrated over a flat prior
            value += (mine * np.log(width / width.sum()) - gammaln(mine + 1)).sum()
            value += gammaln(mine.sum() + 1)
        late = ~closed
        mean = rates[:, None] * (n * grid.width)[late]
        value += logsumexp(stats.poisson.logpmf(c[late], mean).sum(axis=1)) if late.any() else 0.0
        if np.isfinite(value):
            found[*map(int, d), *map(int, c)] = value
    total = logsumexp(list(found.values()))
    return {key: np.exp(value - total) for key, value in found.items()}


SMALL = {
    "points": (False, AtRisk(np.array([0.0, 2.0]), np.array([6, 4]))),
    "points, total printed": (False, AtRisk(np.array([0.0, 2.0]), np.array([6, 4]), events=2)),
    "points, censored printed": (
        False,
        AtRisk(np.array([0.0, 2.0, 4.0]), np.array([7, 5, 2]), np.array([0, 1, 2])),
    ),
    "two rows": (False, AtRisk(np.array([0.0, 2.0, 4.0]), np.array([7, 4, 1]), events=3)),
    "steps": (True, AtRisk(np.array([0.0, 2.0]), np.array([6, 4]))),
}


@pytest.mark.parametrize("case", SMALL)
def test_moves_draw_from_the_stated_density(case):
    """Frequencies of a long walk against every admissible table of exits, listed."""
    steps, table = SMALL[case]
    curve = Curve(np.arange(5.0), np.array([1, 0.9, 0.72, 0.7, 0.45]), 0.06, steps)
    grid = _grid(curve, table)
    exact = admissible(grid, table, 1.0 if steps else 0.5)
    start = max(exact, key=exact.get)
    rng = np.random.default_rng(20230221)
    seen = dict.fromkeys(exact, 0)
    size, batches = grid.end.size, []
    pair = np.array(start[:size]), np.array(start[size:])
    for _ in range(40):
        before = dict(seen)
        for _ in range(250):
            pair = _moved(curve, grid, pair, table, rng)
            key = (*map(int, pair[0]), *map(int, pair[1]))
            seen[key] = seen.get(key, 0) + 1
        batches.append([seen[key] - before[key] for key in exact])
    share = np.array(batches) / 250
    probability = np.array(list(exact.values()))
    often = probability > 0.01
    assert often.sum() >= 5
    error = share.std(axis=0, ddof=1) / np.sqrt(len(batches))
    apart = (share.mean(axis=0) - probability)[often] / error[often]
    assert np.abs(apart).max() < 4.5
    assert share.mean(axis=0)[often].sum() == pytest.approx(probability[often].sum(), abs=0.02)
