"""Simulated pairs have the margins they were drawn with, through the same door as real ones."""

import numpy as np
import pytest

from her2bayes.evidence.patients.aggregate import transition_counts
from her2bayes.evidence.simulate import coarsened_sets, known_truth, simulate_pairs

CLASSES = ["zero", "low", "positive"]


def test_true_rows_and_shares(rng: np.random.Generator) -> None:
    truth = known_truth()
    sizes = {"positive": 60_000, "negative": 40_000}
    pairs = simulate_pairs(rng, sizes, **truth, factor="hr_status")
    counts = transition_counts(pairs, ["hr_status"])["counts"]
    for level, size in sizes.items():
        table = counts.sel(stratum=f"hr_status={level}").to_numpy()
        assert table.sum() == size
        np.testing.assert_allclose(table.sum(1) / size, truth["share"][level], atol=0.01)
        np.testing.assert_allclose(
            table / table.sum(1, keepdims=True), truth["transition"][level], atol=0.02
        )


def test_assay_error_acts_on_both_ends(rng: np.random.Generator) -> None:
    assay = np.array([[0.85, 0.14, 0.01], [0.12, 0.85, 0.03], [0.01, 0.04, 0.95]])
    share = {"all": np.array([0.4, 0.4, 0.2])}
    stay = {"all": np.eye(3)}
    pairs = simulate_pairs(rng, {"all": 200_000}, share, stay, assay=assay)
    assert (pairs["primary_true"] == pairs["recurrence_true"]).all()
    table = transition_counts(pairs)["counts"].isel(stratum=0).to_numpy() / 200_000
    # P(o1, o2) = sum_t share_t M[t, o1] M[t, o2]
    expected = np.einsum("t,ti,tj->ij", share["all"], assay, assay)
    np.testing.assert_allclose(table, expected, atol=0.005)


def test_sets_hold_the_class_and_keep_the_shares(rng: np.random.Generator) -> None:
    pairs = simulate_pairs(rng, {"positive": 100_000}, **known_truth(), coarsening=coarsened_sets())
    data = transition_counts(pairs)
    assert set(data["reading"].to_numpy()) == {*CLASSES, "zero/low", "low/positive", "unknown"}
    inside = [
        true in reading.split("/") or reading == "unknown"
        for true, reading in zip(pairs["primary_read"], pairs["primary_reading"], strict=True)
    ]
    assert all(inside)
    # coarsening at random: among those recorded as zero/low, classes as among zero and low
    sets = pairs[pairs["primary_reading"] == "zero/low"]["primary_true"].value_counts()
    known = pairs[pairs["primary_true"].isin(["zero", "low"])]["primary_true"].value_counts()
    assert sets["low"] / sets.sum() == pytest.approx(known["low"] / known.sum(), abs=0.02)


def test_impossible_sets(rng: np.random.Generator) -> None:
    with pytest.raises(ValueError, match="class zero is recorded as a set with probability"):
        simulate_pairs(
            rng, {"positive": 10}, **known_truth(), coarsening={"zero/low": 0.7, "unknown": 0.5}
        )


def test_seed_decides() -> None:
    first, second = (
        simulate_pairs(np.random.default_rng(7), {"positive": 50}, **known_truth())
        for _ in range(2)
    )
    assert first.equals(second)
