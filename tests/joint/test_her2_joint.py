"""The joint model: its graph against NumPy, limits where it is models fitted apart, recovery."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from scipy import stats
from scipy.special import logsumexp

from her2bayes.evidence.patients.patients import Wanted, read_patients
from her2bayes.inference import engine
from her2bayes.inference.fit import without_padding
from her2bayes.inference.sampling import Sampling
from her2bayes.joint.calibration import (
    EDGES,
    READS,
    RECOVERED,
    Believed,
    as_draws,
    believed,
    counts_of,
    draw_joint,
    joint_of,
    pairs,
    patients_of,
    recovered,
    recovery,
    rows_of,
)
from her2bayes.joint.counts import Counted, count_patients, with_assay, without_follow_up
from her2bayes.joint.draws import Answers, log_density
from her2bayes.joint.her2_joint import build
from her2bayes.survival.comparison import log_density as survival_density
from her2bayes.survival.piecewise import log_hazard
from her2bayes.transition import assay

HER2 = ("zero", "low", "positive")
TWO = {"primary": "primary", "recurrence": "recurrence"}


def frame_of(size: int = 120, entry: float = 0.0) -> pd.DataFrame:
    """Patients in two strata, some readings left open or missing, some not followed."""
    rng = np.random.default_rng(3)
    two = Believed(
        np.repeat(RECOVERED.share, 2, 0), np.repeat(RECOVERED.transition, 2, 0), RECOVERED.reads,
        np.repeat(RECOVERED.log_hazard, 2, 0),
    )  # fmt: skip
    frame = patients_of(rng, two, {"positive": size, "negative": size // 2}, entry=entry)
    frame.loc[:5, "primary"] = "zero/low"
    frame.loc[4:9, "recurrence"] = ""
    frame.loc[10:12, "months"] = np.nan
    place = np.arange(len(frame))
    cause = np.where(place % 4, "cancer", "other")
    return frame.assign(
        lab=np.where(place % 3, "central", "local"),
        cause=np.where(frame["event"] == 1, cause, "alive"),
    )


def counted(frame: pd.DataFrame, wanted: Wanted | None = None, **more: Any) -> Counted:
    patients = read_patients(frame, her2=TWO)
    asked = wanted or Wanted("months", "event")
    return count_patients(patients, asked, {"hr_status": None}, intervals=5, **more)


def at_points(data: Mapping[str, xr.Dataset], points: int = 5) -> tuple[xr.Dataset, np.ndarray]:
    """Parameters at random points of the model, and the graph's log likelihood of all patients."""
    rng = np.random.default_rng(11)
    with engine.compiler_flags():
        model = build(data)
        named = [*model.free_RVs, *model.deterministics]
        outputs = model.replace_rvs_by_values([*named, *model.potentials])
        function = model.compile_fn(
            outputs, inputs=model.value_vars, mode="FAST_COMPILE", on_unused_input="ignore"
        )
        start, found = model.initial_point(), []
        for _ in range(points):
            moved = {k: v + rng.normal(0.0, 0.4, np.shape(v)) for k, v in start.items()}
            found.append(function(moved))
    group = {}
    for place, variable in enumerate(named):
        dims = model.named_vars_to_dims.get(variable.name, ())
        stacked = np.stack([np.asarray(one[place]) for one in found])[None]
        coords = {dim: list(model.coords[dim]) for dim in dims}
        group[variable.name] = xr.DataArray(stacked, dims=("chain", "draw", *dims), coords=coords)
    return without_padding(xr.Dataset(group)), np.array([float(one[-1]) for one in found])


def total(group: xr.Dataset, data: Mapping[str, xr.Dataset]) -> np.ndarray:
    return log_density(group, data) @ data["rows"]["patients"].to_numpy()


@pytest.mark.parametrize(
    "case", ["plain", "entry", "causes", "laboratories", "primary too", "together", "fixed"]
)
def test_the_graph_is_the_sum_written_in_numpy(case: str) -> None:
    more: dict[str, Any] = {}
    wanted = Wanted("months", "event")
    if case == "entry":
        wanted = Wanted("months", "event", entry="entry")
    if case == "causes":
        wanted = Wanted("months", "cause", cause="cause")
        more["more"] = {"censored_codes": ("alive",)}
    if case == "laboratories":
        more["assays"] = dict.fromkeys(TWO, "lab")
    if case == "primary too":
        more["of_primary"] = True
    found = counted(frame_of(entry=6.0 if case == "entry" else 0.0), wanted, **more)
    if case == "together":
        found = with_assay(found, error_correlation=0.4)
    if case == "fixed":
        reads = READS / READS.sum(axis=1, keepdims=True)
        found = with_assay(found, misclassification=(("her2", "read"), reads))
    group, graph = at_points(found.data)
    assert found.pairs_only == 3
    assert ("entry_place" in found.data["rows"]) == (case == "entry")
    assert total(group, found.data) == pytest.approx(graph, rel=1e-10)


def test_a_perfect_assay_is_transitions_and_survival_fitted_apart() -> None:
    frame = frame_of().iloc[13:].assign(event=1)
    frame["primary"], frame["recurrence"] = frame["primary_true"], frame["recurrence_true"]
    found = with_assay(counted(frame), misclassification=(("her2", "read"), np.eye(3)))
    group, graph = at_points(found.data)
    flow = group["primary_share"] * group["transition"]
    names = {level: f"hr_status={level}" for level in ("positive", "negative")}
    of_pairs = sum(
        np.log(flow.sel(stratum=names[row.hr_status], her2_primary=row.primary,
                        her2=row.recurrence, drop=True))
        for row in frame.itertuples()
    )  # fmt: skip
    exits = frame.rename(columns={"recurrence": "her2", "months": "time"})
    exits = exits.assign(entry=0.0, cause="")
    cells = found.data["cells"]
    of_survival = survival_density(log_hazard(group, cells), exits).sum(axis=1)
    assert graph == pytest.approx(of_pairs.to_numpy()[0] + of_survival, rel=1e-12)


def test_without_follow_up_it_is_the_model_of_the_assay() -> None:
    found = without_follow_up(counted(frame_of().iloc[13:]))
    group, graph = at_points(found.data)
    of = found.data["readings"]
    counts = np.zeros((2, 3, 3), np.int64)
    held = [of[f"holds_{end}"].to_numpy().argmax(axis=1) for end in TWO]
    np.add.at(counts, (of["place"].to_numpy(), *held), of["patients"].to_numpy())
    table = xr.Dataset(
        {
            "counts": (("stratum", "primary_reading", "recurrence_reading"), counts),
            "incidence": (("reading", "her2"), np.eye(3, dtype=bool)),
        },
        coords={
            "stratum": of["stratum"].to_numpy(), "primary_reading": list(HER2),
            "recurrence_reading": list(HER2), "reading": list(HER2), "her2": list(HER2),
            "hr_status": ("stratum", of["hr_status"].to_numpy()),
        },
        attrs={"factors": ["hr_status"]},
    )  # fmt: skip
    with engine.compiler_flags():
        model = assay.build(table)
        of_pairs = model.compile_fn(
            [model.logp(vars=[model["pairs"]])], mode="FAST_COMPILE", on_unused_input="ignore"
        )
        outputs = model.replace_rvs_by_values(
            [model[n] for n in ("primary_share", "transition", "misclassification")]
        )
        values = model.compile_fn(
            outputs, inputs=model.value_vars, mode="FAST_COMPILE", on_unused_input="ignore"
        )
        start, rng, gaps = model.initial_point(), np.random.default_rng(2), []
        for _ in range(4):
            point = {k: v + rng.normal(0.0, 0.4, np.shape(v)) for k, v in start.items()}
            share, rows, reads = values(point)
            here = as_draws(Believed(share[:2], rows[:2], reads, np.zeros((2, 3, 5))), found.data)
            gaps.append(float(of_pairs(point)[0]) - total(here, found.data)[0])
    order = list(of["hr_status"].to_numpy())
    assert order == ["positive", "negative"]
    coefficient = sum(stats.multinomial(one.sum(), np.full(9, 1 / 9)).logpmf(one.ravel())
                      + one.sum() * np.log(9) for one in counts)  # fmt: skip
    assert gaps == pytest.approx([coefficient] * 4, rel=1e-9)
    assert len(graph) == len(group["draw"])


def test_an_assay_that_tells_nothing_leaves_the_shares_to_the_prior() -> None:
    found = without_follow_up(counted(frame_of()))
    blind = np.tile([0.5, 0.3, 0.2], (3, 1))
    found = with_assay(found, misclassification=(("her2", "read"), blind))
    group, graph = at_points(found.data)
    assert np.ptp(graph) < 1e-9
    assert float(np.ptp(group["primary_share"].to_numpy(), axis=1).max()) > 0.05


def test_nodes_of_many_patients_give_the_sum_over_each() -> None:
    rng = np.random.default_rng(5)
    frame = patients_of(rng, RECOVERED, {"all": 6000})
    many = counts_of(frame, "hr_status", ["all"])
    parts = [counts_of(frame.iloc[k : k + 3000], "hr_status", ["all"]) for k in (0, 3000)]
    sizes = [one["rows"].sizes["row"] for one in (many, *parts)]
    assert sizes[0] < sizes[1]
    values = []
    for data in (many, *parts):
        values.append(float(total(as_draws(RECOVERED, data), data)[0]))
    assert values[0] == pytest.approx(values[1] + values[2], rel=1e-8)


def test_importance_sampling_from_the_prior_agrees() -> None:
    """Few patients, parameters drawn by NumPy, likelihood patient by patient: weighted means."""
    rng = np.random.default_rng(8)
    frame = patients_of(rng, RECOVERED, {"all": 14})
    data = counts_of(frame, "hr_status", ["all"])
    drawn = [believed(rng, ["all"]) for _ in range(30_000)]
    codes = {name: place for place, name in enumerate(HER2)}
    first, second = (frame[end].map(codes).to_numpy() for end in TWO)
    logs = np.array([_by_patient(of, frame, first, second) for of, _ in drawn])
    weight = np.exp(logs - logsumexp(logs))
    size = 1 / np.square(weight).sum()
    assert size > 400
    with engine.compiler_flags():
        posterior, _, _ = engine.sample(build(data), Sampling(draws=2000, tune=1000, chains=2))
    answers = joint_of(pairs_of_one(), data, posterior.sel(stratum=["hr_status=all"]))
    for name in ("accuracy[zero]", "log_hazard_ratio[low]", "log_hazard_ratio[positive]",
                 "reference", "spread"):  # fmt: skip
        known = np.array([truth[name] for _, truth in drawn])
        mean = float(weight @ known)
        error = np.sqrt(weight @ (known - mean) ** 2 / size)
        values = answers[name].to_numpy()
        spread = values.std() / np.sqrt(values.size / 4)
        assert float(values.mean()) == pytest.approx(mean, abs=4 * np.hypot(error, spread)), name


def pairs_of_one() -> Any:
    from her2bayes.calibration.designs import Design

    return Design("her2_joint", "one", {"all": 14}, factor="hr_status")


def _by_patient(of: Believed, frame: pd.DataFrame, first: np.ndarray, second: np.ndarray) -> float:
    """Log likelihood by patient and class, as the docstring of the model has it."""
    months, event = frame["months"].to_numpy(), frame["event"].to_numpy()
    width = np.diff(EDGES)
    spent = np.clip(months[:, None] - EDGES[:-1], 0.0, width)
    place = np.searchsorted(EDGES[1:], months, side="left")
    rates = np.exp(of.log_hazard[0])
    alive = np.exp(-spent @ rates.T) * np.where(event[:, None] == 1, rates[:, place].T, 1.0)
    flow = of.share[0][:, None] * of.transition[0]
    inside = np.einsum("ab,an,bn,nb->n", flow, of.reads[:, first], of.reads[:, second], alive)
    return float(np.log(inside).sum())


@pytest.fixture(scope="module")
def again() -> pd.DataFrame:
    """Six of the cohorts of the record, fitted again."""
    return recovery(6, first=100)


@pytest.mark.slow
def test_truth_is_recovered_where_readings_dilute_it(again: pd.DataFrame) -> None:
    found = again
    z = (found["median"] - found["truth"]) / ((found["upper"] - found["lower"]) / (2 * 1.96))
    assert (np.abs(z) < 4).all()
    by = found.groupby("answer")[["truth", "median", "naive"]].mean()
    bias, naive = (by["median"] - by["truth"]).abs(), (by["naive"] - by["truth"]).abs()
    assert (bias < naive).sum() >= 2
    ratios = by.loc[by.index.str.startswith("log hazard_ratio")]
    assert (ratios["naive"].abs() < ratios["truth"].abs()).all()


@pytest.fixture(scope="module")
def record() -> dict[str, Any]:
    """Made by ``python tests/reference/joint_recovery.py``."""
    file = Path(__file__).parents[1] / "reference" / "joint_recovery.json"
    kept: dict[str, Any] = json.loads(file.read_text("utf-8"))
    return kept


@pytest.mark.slow
def test_recorded_cohorts_come_out_again(again: pd.DataFrame, record: dict[str, Any]) -> None:
    """Each number within the Monte-Carlo errors of both runs, which are of one length."""
    both = again.merge(rows_of(record), on=["cohort", "answer"], suffixes=("", "_kept"))
    assert len(both) == len(again) == 18
    assert both["naive"].to_numpy() == pytest.approx(both["naive_kept"].to_numpy(), abs=1e-4)
    for name in ("median", "lower", "upper"):
        gap = (both[name] - both[f"{name}_kept"]).abs()
        assert (gap < 4 * np.sqrt(2) * both[f"{name}_error"] + 1e-4).all(), name
        assert (both[f"{name}_error"] < 0.2 * (both["upper"] - both["lower"]) / 4).all(), name


def test_the_record_covers_the_truth_and_removes_what_misreading_does(
    record: dict[str, Any],
) -> None:
    told = recovered(rows_of(record))
    assert set(told) == set(record["answers"])
    for name, known in record["answers"].items():
        assert told[name] == pytest.approx(known)
        assert known["cohorts"] >= 200
        assert 0.92 <= known["share"] <= 0.98
        assert known["naive_bias"] > 4 * known["naive_bias_error"]
        assert abs(known["bias"]) < known["naive_bias"] / 2


def test_simulated_studies_have_an_answer_for_every_truth() -> None:
    design = pairs("her2_joint", "", "")
    made = draw_joint(np.random.default_rng(1), design)
    group, _ = at_points(made.data)
    group = group.assign(spread_her2=group["spread_her2"])
    answers = joint_of(design, made.data, group)
    assert set(answers) == set(made.truth)
    assert all(one.dims == ("chain", "draw") for one in answers.values())
    share = Answers(group, made.data).joint
    everyone = [dim for dim in share.dims if dim not in ("chain", "draw")]
    assert share.sum(everyone).to_numpy() == pytest.approx(1.0)
