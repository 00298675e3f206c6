"""Cells, time counts and exit counts: identities that hold whatever the data."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest

from her2bayes.errors import BadInput
from her2bayes.evidence.patients.external_survival import effective_counts, landmark_counts
from her2bayes.evidence.patients.follow_up import FollowUp, read_follow_up
from her2bayes.evidence.patients.survival_cells import (
    at_risk,
    cut_points,
    exit_counts,
    horizon,
    survival_cells,
    time_counts,
)


def patients(seed: int = 1, number: int = 400) -> pd.DataFrame:
    """Rows with ties, delayed entry for some, two factors and two causes."""
    rng = np.random.default_rng(seed)
    entry = np.round(rng.uniform(0, 30, number), 1) * (rng.random(number) < 0.6)
    return pd.DataFrame(
        {
            "n": entry,
            "t": entry + np.round(rng.exponential(30, number), 1) + 0.1,
            "e": (rng.random(number) < 0.6).astype(int),
            "c": rng.choice(["cancer", "other"], number),
            "g": rng.choice(list("abc"), number),
            "h": rng.choice(list("xy"), number),
        }
    )


def read(table: pd.DataFrame, **options: object) -> FollowUp:
    wanted: dict = {"time": "t", "event": "e", "entry": "n", "by": ["g", "h"], **options}
    return read_follow_up(table, **wanted)


def test_cells_equal_the_row_by_row_split():
    table = patients()
    found = read(table, cause="c")
    cuts = cut_points(found, intervals=9)
    cells = survival_cells(found, cuts)
    for g in "abc":
        for h in "xy":
            mine = table[(table["g"] == g) & (table["h"] == h)]
            at = {"g": g, "h": h}
            for j, (start, end) in enumerate(pairwise(cuts)):
                spent = np.minimum(mine["t"], end) - np.maximum(mine["n"], start)
                months = math.fsum(spent[spent > 0])
                assert float(cells["person_months"].sel(at)[j]) == pytest.approx(months, rel=1e-12)
                inside = (mine["t"] > start) & (mine["t"] <= end) & (mine["e"] == 1)
                for cause in ("cancer", "other"):
                    number = int((inside & (mine["c"] == cause)).sum())
                    assert int(cells["events"].sel({**at, "cause": cause})[j]) == number


def test_totals_do_not_depend_on_the_cuts():
    found = read(patients())
    for scheme, number in (("quantile", 7), ("equal", 33)):
        cells = survival_cells(found, cut_points(found, scheme, number))
        assert int(cells["events"].sum()) == found.events
        assert int(cells["rows"].sum()) == found.rows
        total = math.fsum(patients()["t"] - patients()["n"])
        assert float(cells["person_months"].sum()) == pytest.approx(total, rel=1e-12)


def test_intervals_are_closed_on_the_right():
    table = pd.DataFrame({"t": [1.0, 2.0, 2.5], "e": 1})
    found = read_follow_up(table, time="t", event="e")
    cells = survival_cells(found, [0, 1, 2, 3])
    assert list(cells["events"].values) == [1, 1, 1]
    assert list(cells["person_months"].values) == [3.0, 2.0, 0.5]


def test_entry_at_a_cut_starts_the_next_interval():
    table = pd.DataFrame({"n": [1.0], "t": [2.5], "e": 1})
    found = read_follow_up(table, time="t", event="e", entry="n")
    cells = survival_cells(found, [0, 1, 2, 3])
    assert list(cells["person_months"].values) == [0.0, 1.0, 0.5]


def test_rows_of_one_patient_are_counted_as_one():
    table = pd.DataFrame({"p": ["a", "a", "b"], "n": [0.0, 2, 0], "t": [2.0, 5, 4], "e": [0, 1, 0]})
    found = read_follow_up(table, time="t", event="e", entry="n", patient="p")
    assert (found.patients, found.rows) == (2, 3)
    exits = exit_counts(found, [0, 3, 6])
    assert exits.groupby("history")["patients"].first().sum() == 2
    assert "p" not in exits.columns


def test_quantile_cuts_share_the_events_out_evenly():
    rng = np.random.default_rng(2)
    table = pd.DataFrame({"t": rng.exponential(20, 1000), "e": 1})
    found = read_follow_up(table, time="t", event="e")
    cells = survival_cells(found, cut_points(found, intervals=10))
    assert set(cells["events"].values) <= {99, 100, 101}


def test_cuts_with_ties_everywhere_and_without_events():
    tied = read_follow_up(pd.DataFrame({"t": [5.0] * 9, "e": 1}), time="t", event="e")
    assert list(cut_points(tied)) == [0, 5]
    censored = read_follow_up(pd.DataFrame({"t": [4.0, 8], "e": 0}), time="t", event="e")
    assert list(cut_points(censored, intervals=4)) == [0, 2, 4, 6, 8]
    alone = read_follow_up(pd.DataFrame({"t": [7.0], "e": 1}), time="t", event="e")
    assert int(survival_cells(alone, cut_points(alone))["events"].sum()) == 1


def test_given_cuts_are_kept_and_bad_ones_refused():
    found = read(patients())
    assert list(cut_points(found, [6, 12])[:3]) == [0, 6, 12]
    with pytest.raises(BadInput, match="months above 0"):
        cut_points(found, [6, -1])
    with pytest.raises(BadInput, match="quantile, equal"):
        cut_points(found, "cubic")


def test_nested_factor_carries_its_parent():
    table = pd.DataFrame(
        {
            "t": [1.0, 2, 3, 4],
            "e": 1,
            "site": ["lung", "liver", "breast", "lung"],
            "type": ["DM", "DM", "LRR", "DM"],
        }
    )
    found = read_follow_up(table, time="t", event="e", by=["type", "site"])
    cells = survival_cells(found, [0, 5], {"site": "type"})
    assert cells["events"].dims == ("site", "interval")
    assert dict(zip(cells["site"].values, cells["type"].values, strict=True)) == {
        "breast": "LRR",
        "liver": "DM",
        "lung": "DM",
    }
    crossed = table.assign(type=["DM", "DM", "LRR", "LRR"])
    found = read_follow_up(crossed, time="t", event="e", by=["type", "site"])
    with pytest.raises(BadInput, match="level 'lung' lies in several"):
        survival_cells(found, [0, 5], {"site": "type"})


def test_too_many_cells_are_refused():
    rng = np.random.default_rng(3)
    table = pd.DataFrame({f"f{k}": rng.integers(0, 35, 500) for k in range(4)})
    found = read_follow_up(
        table.assign(t=1.0, e=1), time="t", event="e", by=[f"f{k}" for k in range(4)]
    )
    with pytest.raises(BadInput, match="fewer factors"):
        survival_cells(found, [0, 1])


def test_times_that_differ_by_rounding_error_are_one_time():
    table = pd.DataFrame({"t": [0.1 + 0.2, 0.3, 0.7], "e": [1, 1, 0]})
    counts = time_counts(read_follow_up(table, time="t", event="e"))
    assert list(counts["patients"]) == [2, 1]


def test_patients_at_nodes_sum_smooth_functions_as_patients_do():
    found = read(patients(number=3000))
    cuts = cut_points(found, intervals=10)
    exact, nodes = exit_counts(found, cuts), exit_counts(found, cuts, most=1)
    assert exact.attrs["exact"]
    assert not nodes.attrs["exact"]
    for function in (
        lambda n, t: np.ones_like(t),
        lambda n, t: (t - n) ** 3,
        lambda n, t: np.exp(-0.01 * (t - n)),
    ):
        one, other = (
            float(x["patients"] @ function(x["entry"].to_numpy(), x["time"].to_numpy()))
            for x in (exact, nodes)
        )
        assert other == pytest.approx(one, rel=1e-4)


def test_at_risk_and_horizon():
    table = pd.DataFrame({"t": [1.0, 2, 3, 4, 5, 6, 7], "e": 1, "g": list("aaaaaab")})
    counts = time_counts(read_follow_up(table, time="t", event="e", by=["g"]))
    assert list(at_risk(counts, [0, 1, 1.5, 7, 8])) == [7, 7, 6, 1, 0]
    assert horizon(counts) == 3.0
    # group b never has five patients: its only time limits the horizon
    assert horizon(counts, ["g"]) == 2.0


def test_landmarks_become_conditional_counts():
    found = read(patients(), entry=None, by=["g"])
    cells = survival_cells(found, cut_points(found, [12, 24]))
    table = pd.DataFrame(
        {"study": "x", "start": [0, 12], "stop": [12, 24], "patients": [100, 70],
         "survivors": [70, 40], "g": ["a", ""]}
    )  # fmt: skip
    counts = landmark_counts(table, cells)
    np.testing.assert_allclose(counts["months_to_stop"].sum("interval"), [12, 24])
    np.testing.assert_allclose(counts["share"].sum("g"), 1)
    assert float(counts["share"].sel(g="a")[0]) == 1
    own = table.assign(study="mine")
    with pytest.raises(BadInput, match="already"):
        landmark_counts(own, cells, "mine")
    with pytest.raises(BadInput, match="overlap"):
        landmark_counts(table.assign(start=[0, 6], g=""), cells)
    with pytest.raises(BadInput, match="0 <= survivors <= patients"):
        landmark_counts(table.assign(survivors=[200, 1]), cells)


def test_printed_survival_is_worth_its_standard_error():
    # S (1 - S) / SE^2 = 0.7 * 0.3 / 0.05^2 = 84
    assert effective_counts(0.7, 0.05) == (84, 59)
    with pytest.raises(BadInput, match="between 0 and 1"):
        effective_counts(1.2, 0.1)
