"""The crossed model: density against SciPy, priors by simulation, posterior by Metropolis."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import xarray as xr
from scipy import special, stats

from her2bayes.bayes.prior import prior
from her2bayes.distribution import her2_distribution, her2_distribution_crossed
from her2bayes.distribution.draws import Crossed, draws
from her2bayes.estimand import parse
from her2bayes.inference import engine
from her2bayes.inference.convergence import diagnostics
from her2bayes.inference.densities import prior_draws
from her2bayes.inference.sampling import Sampling

HER2 = ["zero", "low", "positive"]
READINGS = [*HER2, "zero/low", "unknown"]
HOLDS = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0], [1, 1, 1]], dtype=bool)
COUNTS = np.array(
    [[20, 31, 12, 9, 4], [8, 14, 9, 0, 2], [3, 4, 1, 2, 0],
     [16, 11, 14, 5, 3], [9, 6, 10, 1, 0], [2, 0, 5, 0, 1]]
)  # fmt: skip


def cells(counts: np.ndarray, levels: dict[str, list[str]]) -> xr.Dataset:
    rows = list(itertools.product(*levels.values()))
    return xr.Dataset(
        {"counts": (("subgroup", "reading"), counts), "incidence": (("reading", "her2"), HOLDS)},
        coords={
            "subgroup": [", ".join(row) or "all" for row in rows],
            "reading": READINGS,
            "her2": HER2,
            **{f: ("subgroup", [row[k] for row in rows]) for k, f in enumerate(levels)},
        },
        attrs={"factors": list(levels)},
    )


CROSSED = cells(COUNTS, {"hr_status": ["positive", "negative"], "stage": ["I", "II", "III"]})


def test_log_likelihood_is_that_of_scipy_with_sets_and_without_the_unknown() -> None:
    with engine.compiler_flags():
        model = her2_distribution_crossed.build(CROSSED)
        rng = np.random.default_rng(1)
        point = {n: v + 0.3 * rng.normal(size=v.shape) for n, v in model.initial_point().items()}
        outputs = [model["share"].values, *model.logp(vars=model.observed_RVs, sum=False)]
        evaluate = model.compile_fn(
            model.replace_rvs_by_values(outputs), mode="FAST_COMPILE", point_fn=True
        )
        share, exact, partial = evaluate(point)
    expected = [
        stats.multinomial.logpmf(row[:3], row[:3].sum(), p / p.sum())
        for row, p in zip(COUNTS, share[:6], strict=True)
    ]
    np.testing.assert_allclose(exact[:6], expected, rtol=1e-9)
    np.testing.assert_allclose(exact[6:], 0, atol=1e-12)
    inside = share[:6, 0] + share[:6, 1]
    np.testing.assert_allclose(partial[:6, 0], COUNTS[:, 3] * np.log(inside), rtol=1e-9)
    np.testing.assert_allclose(partial[:, 1], 0, atol=1e-9)


def test_prior_of_effects_has_the_scales_of_its_docstring() -> None:
    narrow = {
        "tau": prior("HalfNormal", sigma=1e-9),
        "interaction": prior("HalfNormal", sigma=1e-9),
    }
    with engine.compiler_flags():
        drawn, _ = prior_draws(her2_distribution_crossed.build(CROSSED, narrow), 1)
    hr = [
        f"share[her2={h} | hr_status={s}, stage=I]" for s in ("positive", "negative") for h in HER2
    ]
    asked = [parse(text) for text in hr]
    found = draws(drawn, Crossed(CROSSED), asked)
    logit = np.log(np.stack([found[one].values[0] for one in asked])).reshape(2, 3, -1)
    logit -= logit.mean(axis=1, keepdims=True)
    # two levels, fixed_tau 0.75: their logits differ with sd 0.75 sqrt(2 (1 - 1/3)); 2000 draws
    # of three dependent classes: standard error of the sd about 1.2 %
    assert (logit[0] - logit[1]).std() == pytest.approx(0.75 * np.sqrt(4 / 3), rel=0.05)
    assert logit[0].std() > 1.2


def test_the_mean_of_groups_joins_alpha_and_a_new_group_takes_it_out() -> None:
    """A new group has the prior of a group at hand, whatever the number of groups."""
    groups = cells(np.ones((3, 5), dtype=int), {"centre": ["A", "B", "C"]})
    table = Crossed(groups, ("centre",))
    with engine.compiler_flags():
        drawn, _ = prior_draws(her2_distribution_crossed.build(groups, exchangeable=("centre",)), 3)
    texts = [f"share[her2=low | centre={c}]" for c in ("A", "B", "C", "new centre")]
    found = draws(drawn, table, [parse(text) for text in texts])
    logits = np.stack([special.logit(found[parse(t)].values.ravel()) for t in texts])
    sd = logits.std(axis=1)
    np.testing.assert_allclose(sd, sd.mean(), rtol=0.08)  # 2000 draws, heavy tails
    correlation = np.corrcoef(logits)
    others = correlation[np.triu_indices(4, 1)]
    np.testing.assert_allclose(others, others.mean(), atol=0.04)
    again = draws(drawn, table, [parse(texts[-1])])[parse(texts[-1])]
    np.testing.assert_array_equal(again, found[parse(texts[-1])])


def test_unknown_prior_and_family_are_refused() -> None:
    from her2bayes.errors import BadInput

    with pytest.raises(BadInput, match="no prior named 'sd'"):
        her2_distribution_crossed.build(CROSSED, {"sd": prior("HalfNormal", sigma=1.0)})
    with pytest.raises(BadInput, match="another family"):
        her2_distribution_crossed.build(CROSSED, {"tau": prior("Normal", mu=0.0, sigma=1.0)})


def sampled(build: Any, data: Any, sampling: Sampling, **options: Any) -> xr.Dataset:
    with engine.compiler_flags():
        posterior, run, _ = engine.sample(build(data, **options), sampling)
    assert not diagnostics(run).reasons
    return posterior


def errors(values: np.ndarray) -> np.ndarray:
    """Monte-Carlo errors of means (chain, draw, quantity)."""
    from arviz_stats.base import array_stats

    return np.array([float(array_stats.mcse(v, method="mean")) for v in np.moveaxis(values, -1, 0)])


@pytest.mark.slow
def test_one_factor_of_single_classes_is_the_older_model() -> None:
    counts = COUNTS[:3].copy()
    counts[:, 3:] = 0
    one = cells(counts, {"stage": ["I", "II", "III"]})
    old = xr.DataArray(
        counts[:, :3],
        dims=("subgroup", "her2"),
        coords={"subgroup": ["I", "II", "III"], "her2": HER2},
    )
    sampling = Sampling(draws=4000)
    new = sampled(her2_distribution_crossed.build, one, sampling)
    older = sampled(her2_distribution.build, old, sampling)
    a, b = (
        np.concatenate(
            [d["share"].isel(subgroup=slice(3)).values.reshape(4, 4000, -1), tau.values[..., None]],
            axis=-1,
        )
        for d, tau in (
            (new, new["tau"].sel(term="stage")), (older, older["tau"].sel(family="level"))
        )
    )  # fmt: skip
    gap = np.abs(a.mean(axis=(0, 1)) - b.mean(axis=(0, 1)))
    assert (gap <= 4 * np.hypot(errors(a), errors(b))).all()
    np.testing.assert_allclose(a.std(axis=(0, 1)), b.std(axis=(0, 1)), rtol=0.06)


def metropolis(counts: np.ndarray, steps: int, seed: int) -> np.ndarray:
    """Random-walk Metropolis on plain logits of one cell: N(0, 1.5) made to sum to zero.

    Shares nothing with the model: unconstrained z (3) ~ N(0, 1.5), share = softmax(z - mean(z)).
    60 chains of ``steps``; returns shares (chain, draw, class) of the second half.
    """
    rng = np.random.default_rng(seed)
    z = rng.normal(0, 1.5, (60, 3))

    def density(z: np.ndarray) -> np.ndarray:
        p = special.softmax(z, axis=1)
        sets = np.stack([p[:, 0], p[:, 1], p[:, 2], p[:, 0] + p[:, 1]], axis=1)
        return (counts[:4] * np.log(sets)).sum(axis=1) - (z**2).sum(axis=1) / (2 * 1.5**2)

    at, kept = density(z), []
    for step in range(steps):
        new = z + rng.normal(0, 0.45, z.shape)
        level = density(new)
        accept = np.log(rng.random(60)) < level - at
        z, at = np.where(accept[:, None], new, z), np.where(accept, level, at)
        if step >= steps // 2:
            kept.append(special.softmax(z, axis=1))
    return np.stack(kept, axis=1)


@pytest.mark.slow
def test_sets_of_classes_agree_with_a_random_walk_of_our_own() -> None:
    """Same posterior as ``metropolis(COUNTS[0], 4000, 1)``: a quarter of the readings as sets."""
    counts = np.array([[7, 12, 5, 9, 6]])
    posterior = sampled(her2_distribution_crossed.build, cells(counts, {}), Sampling(draws=4000))
    ours = posterior["share"].isel(subgroup=0).values
    walk = metropolis(counts[0], 4_000, 1)
    gap = np.abs(ours.mean(axis=(0, 1)) - walk.mean(axis=(0, 1)))
    assert (gap <= 4 * np.hypot(errors(ours), errors(walk))).all()
    for q in (0.025, 0.975):
        a, b = (np.quantile(v.reshape(-1, 3), q, axis=0) for v in (ours, walk))
        np.testing.assert_allclose(a, b, atol=0.012)


@pytest.mark.slow
def test_sets_without_single_readings_leave_their_classes_to_the_prior() -> None:
    """Nobody tells zero from low: their ratio is that of the prior, symmetric about 1."""
    counts = np.array([[0, 0, 30, 70, 0]])
    posterior = sampled(her2_distribution_crossed.build, cells(counts, {}), Sampling(draws=4000))
    share = posterior["share"].isel(subgroup=0)
    assert float(share.sel(her2="positive").mean()) == pytest.approx(0.30, abs=0.02)
    ratio = np.log(share.sel(her2="zero") / share.sel(her2="low"))
    assert float(ratio.std()) > 1.5
    assert abs(float(ratio.mean())) < 0.15


@pytest.mark.slow
def test_crossed_factors_and_groups_are_recovered_from_readings_partly_sets() -> None:
    rng = np.random.default_rng(20230221)
    levels = {"hr_status": ["positive", "negative"], "stage": ["I", "II", "III"],
              "centre": list("ABCDEFGH")}  # fmt: skip
    hr = np.array([[-0.3, 0.5, -0.2], [0.3, -0.5, 0.2]])
    stage = np.array([[0.2, 0.1, -0.3], [0.0, 0.0, 0.0], [-0.2, -0.1, 0.3]])
    centre = 0.5 * rng.normal(size=(8, 3))
    centre -= centre.mean(axis=1, keepdims=True)
    rows = list(itertools.product(range(2), range(3), range(8)))
    share = np.array([special.softmax([0.1, 0.6, -0.7] + hr[i] + stage[j] + centre[k])
                      for i, j, k in rows])  # fmt: skip
    n = rng.integers(10, 120, len(rows))
    counts = np.zeros((len(rows), 5), dtype=int)
    for c, (size, p) in enumerate(zip(n, share, strict=True)):
        read = rng.choice(3, size, p=p)
        coarse = (read < 2) & (rng.random(size) < 0.4)
        lost = rng.random(size) < 0.2
        told = np.where(lost, 4, np.where(coarse, 3, read))
        counts[c] = np.bincount(told, minlength=5)
    data = cells(counts, levels)
    table = Crossed(data, ("centre",))
    posterior = sampled(her2_distribution_crossed.build, data, Sampling(), exchangeable=("centre",))
    texts, truth = [], []
    at = np.array(rows)
    for factor, place in (("hr_status", 0), ("stage", 1), ("centre", 2)):
        for number, level in enumerate(levels[factor]):
            inside = at[:, place] == number
            for h, her2 in enumerate(HER2):
                texts.append(f"share[her2={her2} | {factor}={level}]")
                truth.append(n[inside] @ share[inside, h] / n[inside].sum())
    moved = np.array([special.softmax([0.1, 0.6, -0.7] + hr[1] + stage[j] + centre[k])
                      for _, j, k in rows])  # fmt: skip
    for h, her2 in enumerate(HER2):
        texts.append(f"standardised_share[her2={her2} | hr_status=negative]")
        truth.append(n @ moved[:, h] / n.sum())
    found = draws(posterior, table, [parse(text) for text in texts])
    low, high = (
        np.array([float(found[parse(t)].quantile(q)) for t in texts]) for q in (0.025, 0.975)
    )
    inside = (low <= truth) & (truth <= high)
    assert inside.mean() > 0.8  # 42 dependent intervals of 95 %
    middle = np.array([float(found[parse(t)].median()) for t in texts])
    np.testing.assert_allclose(middle, truth, atol=0.12)
