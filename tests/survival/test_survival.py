"""The survival model's graph: densities, priors, modes and structures, mostly without sampling."""

from __future__ import annotations

from typing import Any

import greenwood as gw
import numpy as np
import pandas as pd
import pymc as pm
import pytest
import xarray as xr
from scipy import stats
from scipy.optimize import minimize

from her2bayes.bayes.prior import prior
from her2bayes.classical.hazard_regression import piecewise_exponential
from her2bayes.errors import BadInput
from her2bayes.evidence.patients.external_survival import landmark_counts
from her2bayes.evidence.patients.follow_up import read_follow_up
from her2bayes.evidence.patients.survival_cells import cut_points, survival_cells
from her2bayes.inference.structure import compiler_flags, structure
from her2bayes.survival import survival
from her2bayes.survival.parts import event_weights, informed, parts, walk_basis


def cells_of(number: int = 300, seed: int = 1, intervals: int = 6, **options: Any) -> xr.Dataset:
    """Cells of simulated patients by her2 (three levels), hr (two) and site within type."""
    rng = np.random.default_rng(seed)
    site = rng.choice(["breast", "chest", "lung", "liver", "bone"], number)
    table = pd.DataFrame(
        {
            "t": rng.exponential(30, number) + 0.01,
            "e": (rng.random(number) < 0.6).astype(int),
            "c": rng.choice(["cancer", "other"], number),
            "her2": rng.choice(["zero", "low", "positive"], number),
            "hr": rng.choice(["negative", "positive"], number),
            "site": site,
            "type": np.where(np.isin(site, ["breast", "chest"]), "LRR", "DM"),
            "centre": rng.choice(list("pqrs"), number),
        }
    )
    by, nested = options.get("by", ["her2"]), options.get("nested")
    found = read_follow_up(table, time="t", event="e", by=by, cause=options.get("cause"))
    return survival_cells(found, cut_points(found, intervals=intervals), nested)


LANDMARKS = pd.DataFrame(
    {"study": ["x"], "start": [0.0], "stop": [12.0], "patients": [100], "survivors": [70]}
)
CASES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "no factor": ({"by": []}, {}),
    "three levels": ({}, {}),
    "two levels": ({"by": ["hr"]}, {}),
    "interaction": ({"by": ["her2", "hr"]}, {"interactions": (("her2", "hr"),)}),
    "drift": ({}, {"nonproportional": ("her2",)}),
    "nested": ({"by": ["her2", "type", "site"], "nested": {"site": "type"}}, {}),
    "frailty": ({"by": ["her2", "centre"]}, {"frailty": ("centre",)}),
    "causes": ({"cause": "c"}, {}),
    "second order": ({}, {"walk_order": 2}),
    "fixed spread": ({}, {"pooling": "fixed"}),
    "saturated": ({}, {"baseline": "independent", "strata": ("her2",)}),
    "one interval": ({"intervals": 1}, {"nonproportional": ("her2",)}),
}


@pytest.mark.parametrize("case", CASES)
def test_finite_gradient_at_the_initial_point(case: str):
    given, options = CASES[case]
    with compiler_flags():
        model = survival.build(cells_of(**given), **options)
        gradient = model.compile_dlogp(mode="FAST_COMPILE")(model.initial_point())
    assert np.isfinite(gradient).all()


def test_log_density_equals_poisson_by_hand():
    cells = cells_of()
    rng = np.random.default_rng(7)
    with compiler_flags():
        model = survival.build(cells)
        point = {k: v + rng.normal(0, 0.5, np.shape(v)) for k, v in model.initial_point().items()}
        value = model.compile_logp(vars=[model["events"]], mode="FAST_COMPILE")(point)
    scale = {"baseline": point["smoothing_log__"], "her2": point["spread_her2_log__"]}
    terms = {}
    for part in informed(cells, parts(cells)):
        sd = np.exp(scale[part.name])
        coefficient = point[f"{part.name}_free"] * sd / np.sqrt(1 + part.information * sd**2)
        terms[part.name] = part.basis.to_numpy() @ coefficient
    hazard = np.exp(point["reference_log_hazard"] + terms["her2"][:, None] + terms["baseline"])
    expected = stats.poisson.logpmf(cells["events"], cells["person_months"] * hazard).sum()
    assert value == pytest.approx(expected, rel=1e-10)


def test_cells_nobody_entered_add_nothing():
    cells = cells_of()
    empty = cells.copy(deep=True)
    empty["person_months"][1] = 0.0
    empty["events"][1] = 0
    with compiler_flags():
        model = survival.build(empty)
        point = model.initial_point()
        logp = model.compile_logp(vars=[model["events"]], mode="FAST_COMPILE", sum=False)(point)[0]
        gradient = model.compile_dlogp(mode="FAST_COMPILE")(point)
    np.testing.assert_allclose(np.asarray(logp)[1], 0.0, atol=1e-90)
    assert np.isfinite(gradient).all()


def test_walk_has_the_same_prior_for_any_number_of_intervals():
    """Covariance of the walk at given months, exact from its basis."""
    rng = np.random.default_rng(5)
    table = pd.DataFrame({"t": rng.uniform(0, 60, 4000), "e": 1})
    found = read_follow_up(table, time="t", event="e")

    def covariance(intervals: int) -> np.ndarray:
        cells = survival_cells(found, cut_points(found, "equal", intervals))
        basis = walk_basis(cells, cells["events"]).to_numpy()
        middle = (cells["interval_start"] + cells["interval_end"]).to_numpy() / 2
        at = [np.argmin(np.abs(middle - t)) for t in (10, 30, 50)]
        return (basis @ basis.T)[np.ix_(at, at)]

    np.testing.assert_allclose(covariance(30), covariance(240), atol=0.03)
    # event-weighted mean zero, sd of the change over the whole follow-up 1
    cells = survival_cells(found, cut_points(found, intervals=40))
    basis = walk_basis(cells, cells["events"])
    np.testing.assert_allclose(event_weights(cells).to_numpy() @ basis.to_numpy(), 0, atol=1e-12)
    change = basis.to_numpy()[-1] - basis.to_numpy()[0]
    assert np.sqrt(change @ change) == pytest.approx(1, abs=0.03)


def test_rotation_leaves_the_prior_alone():
    for part in parts(cells_of(by=["her2", "hr"])):
        flat = part.basis.to_numpy().reshape(-1, part.basis.sizes["coefficient"])
        if part.name == "her2":
            np.testing.assert_allclose(flat @ flat.T, np.eye(3) - 1 / 3, atol=1e-12)
        if part.name == "hr":
            np.testing.assert_allclose(flat[1] - flat[0], 1.0)


def test_information_is_the_curvature_of_the_log_likelihood():
    """Minus the second derivative by each coefficient, by hand, where cells have what they expect.

    Holds for each cause by itself, and a thousand times the patients have a thousand times it.
    """
    cells = cells_of()
    cells["events"] = cells["person_months"] * 0.02
    for part in informed(cells, parts(cells)):
        square = part.basis**2 * cells["events"]
        by_hand = square.sum([dim for dim in square.dims if dim != "coefficient"])
        np.testing.assert_allclose(part.information, by_hand, rtol=0.02)
    causes = xr.concat([cells["events"], 9 * cells["events"]], "cause")
    for part in informed(cells.assign(events=causes), parts(cells)):
        np.testing.assert_allclose(part.information[1], 9 * part.information[0], rtol=0.02)


@pytest.mark.parametrize("patients", [10, 100_000])
def test_information_leaves_the_prior_alone(patients: int):
    """Zero-sum effects of three levels over their spread: their squares sum to chi-square(2)."""
    with compiler_flags():
        model = survival.build(cells_of(patients))
        asked = [model[name].values for name in ("spread_her2", "term_her2")]
        spread, effects = pm.draw(asked, 2000, mode="FAST_COMPILE", random_seed=1)
    square = np.square(effects).reshape(2000, -1).sum(axis=1) / spread**2
    assert stats.kstest(square, stats.chi2(2).cdf).pvalue > 0.001


def test_mode_under_flat_priors_is_the_poisson_glm():
    """R: glm(event ~ 0 + factor(interval) + sex + offset(log(time)), poisson) on survSplit rows,
    which classical.hazard_regression equals (tests/classical/test_survival.py)."""
    lung = gw.load_dataset("lung", backend="pandas")
    found = read_follow_up(
        lung.assign(e=lung["status"] - 1), time="time", event="e", by=["sex"], time_unit="days"
    )
    cells = survival_cells(found, cut_points(found, [6, 12, 18]))
    glm = piecewise_exponential(cells, {"sex": "1"})[0].set_index("term")["estimate"]
    flat = {name: prior("Flat") for name in ("interval_log_hazard", "log_hazard_ratio")}
    with compiler_flags():
        model = survival.build(cells, flat, baseline="independent", pooling="fixed")
        names = [v.name for v in model.value_vars]
        logp = model.compile_logp(mode="FAST_COMPILE")
        dlogp = model.compile_dlogp(mode="FAST_COMPILE")
        start = model.initial_point()
        sizes = [np.size(start[name]) for name in names]

        def point(x: np.ndarray) -> dict[str, np.ndarray]:
            pieces = np.split(x, np.cumsum(sizes)[:-1])
            return {
                name: piece.reshape(np.shape(start[name]))
                for name, piece in zip(names, pieces, strict=True)
            }

        first = np.concatenate([np.ravel(start[name]) - 2.0 for name in names])
        mode = minimize(
            lambda x: -float(logp(point(x))),
            first,
            jac=lambda x: -np.asarray(dlogp(point(x))),
            method="BFGS",
            options={"gtol": 1e-9, "maxiter": 500},
        )
    found_at = point(mode.x)
    ratio = float(found_at["log_hazard_ratio_sex"][0])
    assert ratio == pytest.approx(glm["sex=2"], abs=1e-6)
    # the model's intervals stand half way between the two levels
    level = found_at["interval_log_hazard"] - ratio / 2
    np.testing.assert_allclose(level, glm.filter(like="interval"), atol=1e-6)


def test_models_of_other_data_share_one_compiled_graph():
    with compiler_flags():
        one = survival.build(cells_of(300, seed=1))
        other = survival.build(cells_of(500, seed=2))
        wider = survival.build(
            cells_of(300), {"reference_log_hazard": prior("Normal", mu=-3.0, sigma=2.0)}
        )
        different = survival.build(cells_of(300), nonproportional=("her2",))
        assert structure(one) == structure(other) == structure(wider)
        assert structure(one) != structure(different)


def test_landmarks_enter_as_binomials():
    cells = cells_of()
    landmarks = landmark_counts(LANDMARKS, cells)
    with compiler_flags():
        model = survival.build({"cells": cells, "landmarks": landmarks})
        point = model.initial_point()
        value = model.compile_logp(vars=[model["survivors"]], mode="FAST_COMPILE")(point)
    hazard = np.exp(-4.0)  # at the initial point all effects are 0 or cancel
    assert np.isfinite(value)
    assert value < stats.binom.logpmf(70, 100, 0.7)
    assert hazard < 0.02


def test_wrong_names_are_told_together():
    with pytest.raises(BadInput, match="no such factor") as bad:
        survival.build(cells_of(), nonproportional=("hair",), walk_order=3)
    assert "walk_order" in str(bad.value)
    with pytest.raises(BadInput, match="no prior named 'hazard'"):
        survival.build(cells_of(), {"hazard": prior("Normal", mu=0.0, sigma=1.0)})
    nested = cells_of(by=["her2", "type", "site"], nested={"site": "type"})
    with pytest.raises(BadInput, match="nested in"):
        survival.build(nested, interactions=(("type", "site"),))
