"""The assay model: perfect assay, written-out sums, coupled errors, agreement, simulated truth."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import xarray as xr
from scipy import stats

from her2bayes.errors import BadInput
from her2bayes.inference import densities, engine
from her2bayes.transition import assay, her2_transition
from her2bayes.transition.assay import read_rows
from her2bayes.transition.assay_error import behind_readings, drawn_reads
from her2bayes.transition.draws import Rows

HER2 = ["zero", "low", "positive"]
TABLE = np.array([[103, 43, 3], [100, 149, 12], [6, 16, 50]])
READS = np.array([[0.9, 0.09, 0.01], [0.1, 0.85, 0.05], [0.01, 0.04, 0.95]])


def pairs(table: np.ndarray = TABLE) -> xr.Dataset:
    return xr.Dataset(
        {
            "counts": (("stratum", "primary_reading", "recurrence_reading"), table[None]),
            "incidence": (("reading", "her2"), np.eye(3, dtype=bool)),
        },
        coords={
            "stratum": ["all"], "primary_reading": HER2, "recurrence_reading": HER2,
            "reading": HER2, "her2": HER2,
        },
        attrs={"factors": []},
    )  # fmt: skip


def fixed(reads: np.ndarray, **more: Any) -> xr.Dataset:
    return pairs().assign(misclassification=(("her2", "read"), reads), **more)


def values(model: Any, *names: str) -> list[np.ndarray]:
    outputs = model.replace_rvs_by_values([model[name] for name in names])
    function = model.compile_fn(
        outputs, inputs=model.value_vars, mode="FAST_COMPILE", on_unused_input="ignore"
    )
    return [np.asarray(value) for value in function(model.initial_point())]


def log_density(model: Any) -> float:
    return float(model.compile_logp(mode="FAST_COMPILE")(model.initial_point()))


@pytest.mark.slow
def test_a_perfect_assay_is_the_plain_model() -> None:
    with engine.compiler_flags():
        perfect = assay.build(fixed(np.eye(3)))
        plain = her2_transition.build(pairs())
        assert log_density(perfect) == pytest.approx(log_density(plain), rel=1e-12)
        observed, unchanged, share, rows = values(
            perfect, "observed_flow", "unchanged_flow", "primary_share", "transition"
        )
    flow = share[0][:, None] * rows[0]
    np.testing.assert_allclose(observed[0], flow)
    np.testing.assert_allclose(unchanged[0], np.diag(np.diag(flow)))


def test_observed_flow_is_the_sum_over_true_classes() -> None:
    with engine.compiler_flags():
        observed, unchanged, share, rows = values(
            assay.build(fixed(READS)), "observed_flow", "unchanged_flow", "primary_share",
            "transition",
        )  # fmt: skip
    flow = share[0][:, None] * rows[0]
    expected, same = np.zeros((3, 3)), np.zeros((3, 3))
    for t1, t2, o1, o2 in np.ndindex(3, 3, 3, 3):
        part = flow[t1, t2] * READS[t1, o1] * READS[t2, o2]
        expected[o1, o2] += part
        same[o1, o2] += part * (t1 == t2)
    np.testing.assert_allclose(observed[0], expected)
    np.testing.assert_allclose(unchanged[0], same)


def comonotone(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Coupling of two rows by one uniform number, by brute force over its breakpoints."""
    one, two = np.cumsum(first), np.cumsum(second)
    ends = np.unique(np.concatenate([[0.0], one, two]))
    joint = np.zeros((3, 3))
    for low, high in itertools.pairwise(ends):
        middle = (low + high) / 2
        joint[min(np.searchsorted(one, middle), 2), min(np.searchsorted(two, middle), 2)] += (
            high - low
        )
    return joint


def test_errors_made_together_keep_margins_and_raise_agreement() -> None:
    with engine.compiler_flags():
        observed, share, rows = values(
            assay.build(fixed(READS, error_correlation=0.4)),
            "observed_flow", "primary_share", "transition",
        )  # fmt: skip
    flow = share[0][:, None] * rows[0]
    expected = np.zeros((3, 3))
    for t1, t2 in np.ndindex(3, 3):
        apart = np.outer(READS[t1], READS[t2])
        together = comonotone(READS[t1], READS[t2])
        np.testing.assert_allclose(together.sum(1), READS[t1])
        expected += flow[t1, t2] * (0.6 * apart + 0.4 * together)
    np.testing.assert_allclose(observed[0], expected)


def test_agreement_studies_are_two_readings_of_one_tumour() -> None:
    counts = np.array([[[30, 6, 0], [5, 40, 2], [0, 3, 14]]])
    data = fixed(READS, agreement=(("agreement_study", "first", "second"), counts))
    with engine.compiler_flags():
        model = assay.build(data.assign_coords(agreement_study=["ring trial"]))
        logp = model.logp(model["agreement"])
        share = model.replace_rvs_by_values([model["agreement_share"]])
        function = model.compile_fn(
            [logp, *share], inputs=model.value_vars, mode="FAST_COMPILE", on_unused_input="ignore"
        )
        found, drawn = function(model.initial_point())
    flow = np.einsum("t,to,tp->op", drawn[0], READS, READS)
    expected = stats.multinomial.logpmf(counts.ravel(), 100, flow.ravel())
    assert float(found) == pytest.approx(expected, rel=1e-9)


@pytest.mark.slow
def test_prior_of_the_reads() -> None:
    """Dirichlet rows with the diagonal above one half (scipy.stats.dirichlet means)."""
    with engine.compiler_flags():
        draws, _ = densities.prior_draws(assay.build(pairs()), 3)
    reads = draws["misclassification"].to_numpy()[0]
    assert (np.diagonal(reads, axis1=1, axis2=2) > 0.5).all()
    np.testing.assert_allclose(reads.sum(axis=-1), 1.0)
    rows = read_rows(HER2, assay.DEFAULT_PRIORS, {})
    expected = np.array([stats.dirichlet.mean(row) for row in rows])
    np.testing.assert_allclose(reads.mean(axis=0), expected, atol=0.008)
    spread = np.sqrt([stats.dirichlet.var(row) for row in rows])
    np.testing.assert_allclose(reads.std(axis=0), spread, rtol=0.12)


def test_finite_gradient_at_the_initial_point() -> None:
    with engine.compiler_flags():
        model = assay.build(pairs().assign(error_correlation=0.0))
        gradient = model.compile_dlogp(mode="FAST_COMPILE")(model.initial_point())
    assert np.isfinite(gradient).all()


@pytest.mark.parametrize(
    ("reads", "message"),
    [
        ({"low": (1.0, 2.0)}, "no prior for how class 'low' is read"),
        ({"zero": (1.0, -2.0, 1.0)}, "no prior for how class 'zero' is read"),
    ],
)
def test_bad_rows_are_refused(reads: dict[str, tuple[float, ...]], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        assay.build(pairs(), reads=reads)


def test_a_fixed_matrix_must_hold_distributions() -> None:
    with pytest.raises(BadInput, match="no distribution"):
        assay.build(fixed(READS * 0.9))


def test_true_rows_behind_readings_are_those_that_made_them(rng: np.random.Generator) -> None:
    """True flows read by an assay, and back; readings that no such flow gives are left out."""
    her2 = ["zero", "low", "positive"]
    true = rng.dirichlet(np.ones(9), 400).reshape(400, 3, 3)
    reads = drawn_reads(her2, {}, 400, rng)
    read = np.einsum("dij,dio,djp->dop", true, reads, reads)
    read[0] = np.eye(3)[:, ::-1] / 3  # all change, whatever the assay
    reads[0] = 0.1 + 0.7 * np.eye(3)
    dims = ("chain", "draw", "her2_primary", "her2")
    flow = xr.DataArray(read[None], dims=dims, coords={"her2_primary": her2, "her2": her2})
    share = flow.sum("her2")
    rows, possible = behind_readings(Rows(flow / share, share, share[0, 0]), reads)
    assert possible == 399 / 400
    np.testing.assert_allclose(rows.flow(new_cohort=True)[0], true[1:], atol=1e-12)


def test_drawn_accuracy_is_the_prior_of_the_model(rng: np.random.Generator) -> None:
    """Beta(17, 3) cut at one half, errors split 2.8 : 0.2."""
    found = drawn_reads(["zero", "low", "positive"], {}, 100_000, rng)
    np.testing.assert_allclose(found.sum(2), 1.0)
    law = stats.beta(17, 3)
    mean = law.expect(lb=0.5, conditional=True)
    assert found[:, 0, 0].mean() == pytest.approx(mean, abs=4 * law.std() / np.sqrt(100_000))
    assert found[:, 0, 0].min() > 0.5
    low = found[:, 0, 1] / (1 - found[:, 0, 0])
    assert low.mean() == pytest.approx(2.8 / 3.0, abs=4 * low.std() / np.sqrt(100_000))
