"""Patient-level scores from counts: what they must equal and what must not move them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from her2bayes.errors import BadInput
from her2bayes.evidence.patients.follow_up import FollowUp, read_follow_up
from her2bayes.evidence.patients.survival_cells import exit_counts, survival_cells
from her2bayes.survival import comparison

END = [3.0, 8.0, 20.0, 60.0]


def draws_of(end: list[float], groups: str = "ab", causes: tuple[str, ...] = ()) -> xr.DataArray:
    rng = np.random.default_rng(1)
    shape = (2, 400, *([len(causes)] if causes else []), len(groups), len(end))
    return xr.DataArray(
        rng.normal(np.log(0.03), 0.08, shape),
        dims=("chain", "draw", *(["cause"] if causes else []), "g", "interval"),
        coords={
            "g": list(groups),
            "interval": range(len(end)),
            "interval_start": ("interval", [0.0, *end[:-1]]),
            "interval_end": ("interval", end),
        }
        | ({"cause": list(causes)} if causes else {}),
    )


def patients(number: int = 1500, entry: bool = True) -> FollowUp:
    rng = np.random.default_rng(2)
    start = rng.uniform(0, 20, number) * entry
    time = start + rng.exponential(30, number)
    table = pd.DataFrame(
        {
            "n": start,
            "t": np.minimum(time, 60.0),
            "e": (time < 60).astype(int),
            "c": rng.choice(["x", "y"], number),
            "g": rng.choice(list("ab"), number),
        }
    )
    return read_follow_up(
        table[table["t"] > table["n"]], time="t", event="e", entry="n" if entry else None, by=["g"]
    )


def by_hand(log_hazard: xr.DataArray, exits: pd.DataFrame) -> np.ndarray:
    """d log h(t) - (H(t) - H(e)), patient by patient."""
    start, end = log_hazard["interval_start"].to_numpy(), log_hazard["interval_end"].to_numpy()
    flat = log_hazard.to_numpy().reshape(-1, 2, len(end))
    columns = []
    for row in exits.itertuples():
        values = flat[:, "ab".index(str(row.g))]
        spent = np.clip(np.minimum(row.time, end) - np.maximum(row.entry, start), 0, None)
        at = int(np.searchsorted(end, row.time))
        columns.append(row.event * values[:, at] - np.exp(values) @ spent)
    return np.stack(columns, axis=1)


def test_log_density_by_hand():
    exits = exit_counts(patients(200), [0, *END]).iloc[:60]
    draws = draws_of(END)
    np.testing.assert_allclose(
        comparison.log_density(draws, exits), by_hand(draws, exits), rtol=1e-10
    )


@pytest.mark.parametrize("entry", [False, True])
def test_nodes_reproduce_the_row_wise_score(entry: bool):
    found = patients(entry=entry)
    exact = exit_counts(found, [0, *END], most=10**6)
    nodes = exit_counts(found, [0, *END], most=1)
    assert len(nodes) < len(exact)
    one, other = (comparison.patient_elpd(draws_of(END), e) for e in (exact, nodes))
    assert other.elpd == pytest.approx(one.elpd, abs=0.02)
    assert other.std_error == pytest.approx(one.std_error, rel=1e-3)
    assert other.effective == pytest.approx(one.effective, abs=0.02)


def test_splitting_a_cell_under_an_equal_hazard_leaves_the_score():
    exits = exit_counts(patients(400), [0, *END])
    draws = draws_of(END)
    split = xr.concat([draws.isel(interval=[0, 1]), draws.isel(interval=[1, 2, 3])], "interval")
    split = split.assign_coords(
        interval=range(5),
        interval_start=("interval", [0.0, 3, 5, 8, 20]),
        interval_end=("interval", [3.0, 5, 8, 20, 60]),
    )
    one, other = (comparison.patient_elpd(d, exits) for d in (draws, split))
    assert other.elpd == pytest.approx(one.elpd, rel=1e-12)


def test_causes_score_the_cause_that_happened():
    draws = draws_of(END, causes=("x", "y"))
    exits = pd.DataFrame(
        {"g": ["a", "a"], "entry": 0.0, "time": 5.0, "event": 1, "cause": ["x", "y"]}
    ).assign(patients=1)
    density = comparison.log_density(draws, exits)
    rates = draws.to_numpy().reshape(-1, 2, 2, 4)
    np.testing.assert_allclose(
        density[:, 0] - density[:, 1], rates[:, 0, 0, 1] - rates[:, 1, 0, 1], rtol=1e-9
    )


def test_rows_of_one_patient_are_summed_first():
    whole = pd.DataFrame({"g": ["a"], "entry": [0.0], "time": [10.0], "event": [1], "cause": ""})
    parts = pd.DataFrame(
        {"g": "a", "entry": [0.0, 4.0], "time": [4.0, 10.0], "event": [0, 1], "cause": ""}
    ).assign(history=0, patients=1)
    draws = draws_of(END)
    summed, number = comparison.by_patient(comparison.log_density(draws, parts), parts)
    np.testing.assert_allclose(
        summed, comparison.log_density(draws, whole.assign(patients=1)), rtol=1e-9
    )
    assert list(number) == [1.0]


def test_the_better_model_wins_and_gets_the_weight():
    exits = exit_counts(patients(entry=False), [0, *END])
    good, bad = draws_of(END), draws_of(END) + 0.7
    table = comparison.compare(
        {"good": comparison.patient_elpd(good, exits), "bad": comparison.patient_elpd(bad, exits)}
    )
    assert list(table["model"]) == ["good", "bad"]
    assert table["stacking_weight"][0] > 0.5
    assert table["difference"][1] < -4 * table["difference_std_error"][1]


def test_different_patients_cannot_be_compared():
    draws = draws_of(END)
    one, other = (
        comparison.patient_elpd(draws, exit_counts(patients(n), [0, *END])) for n in (100, 120)
    )
    with pytest.raises(BadInput, match="different patients"):
        comparison.compare({"a": one, "b": other})


def test_a_group_left_out_keeps_the_shape_and_loses_its_patients():
    cells = survival_cells(patients(), [0, *END])
    left = comparison.without_group(cells, "g", "b")
    assert left["events"].dtype == cells["events"].dtype
    assert int(left["events"].sel(g="b").sum()) == 0
    xr.testing.assert_equal(left["events"].sel(g="a"), cells["events"].sel(g="a"))
    with pytest.raises(BadInput, match="no such group"):
        comparison.without_group(cells, "g", "z")


def test_predictive_density_of_patients_who_were_not_in_the_fit():
    exits = exit_counts(patients(300), [0, *END])
    draws = draws_of(END)
    value, error = comparison.log_predictive(draws, exits)
    density = np.exp(comparison.log_density(draws, exits)).mean(axis=0)
    assert value == pytest.approx(float(exits["patients"] @ np.log(density)))
    assert error > 0
