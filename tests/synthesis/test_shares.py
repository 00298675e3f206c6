"""Shares over studies: likelihood, limits, an independent posterior, what is answered."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import special, stats

import her2bayes as hb
from her2bayes.bayes.prior import prior
from her2bayes.errors import BadInput
from her2bayes.inference.sampling import Sampling
from her2bayes.synthesis import study_shares
from her2bayes.synthesis.cells import design
from her2bayes.synthesis.shares import SharesFit
from her2bayes.synthesis.studies import of_table


def test_binomials_are_the_multinomial_of_what_is_printed(shares: SharesFit) -> None:
    """Three classes, two sets, two classes with one left out by design: closed forms by scipy."""
    data = design(shares.cells)
    rng = np.random.default_rng(1)
    share = rng.dirichlet([1.0, 1.0, 1.0], data.sizes["row"])
    here = share[data["row_of"].values]
    chance = (here * data["inside"].values).sum(1) / (here * data["rest"].values).sum(1)
    each = stats.binom.logpmf(data["y"].values, data["n"].values, chance)
    found = np.bincount(data["row_of"].values, each)
    counts = shares.cells["counts"].values
    names = list(map(str, shares.cells["reading"].values))
    for row in range(data.sizes["row"]):
        given = zip(names, counts[row], shares.cells["printed"].values[row], strict=True)
        printed = {name: int(count) for name, count, yes in given if yes}
        zero, low, positive = share[row]
        of = {"zero": zero, "low": low, "positive": positive, "negative": zero + low}
        p = np.array([of[name] for name in printed])
        right = stats.multinomial.logpmf(list(printed.values()), sum(printed.values()), p / p.sum())
        assert found[row] == pytest.approx(right, rel=1e-9)


def test_it_converges_and_answers(shares: SharesFit) -> None:
    assert shares.converged
    total = sum(shares.draws(f"share[her2={name} | level=positive, study=new]")
                for name in shares.classes)  # fmt: skip
    np.testing.assert_allclose(total, 1.0)
    a, b = (shares.draws(f"share[her2=low | level={level}, study=average]")
            for level in ("positive", "negative"))  # fmt: skip
    difference = shares.draws("share_difference[her2=low ; level: positive vs negative]")
    np.testing.assert_allclose(difference, a - b)
    ratio = shares.draws("share_ratio[her2=low ; level: positive vs negative]")
    np.testing.assert_allclose(ratio, a / b)
    wide, narrow = (float(shares.draws(f"share[her2=low | level=positive, study={one}]").std())
                    for one in ("new", "average"))  # fmt: skip
    assert wide > narrow


def test_much_data_is_left_as_it_is_and_little_is_drawn_in(shares: SharesFit) -> None:
    big = float(shares.draws("share[her2=low | level=positive, study=b]").mean())
    assert big == pytest.approx(504 / 1266, abs=0.01)
    coarse = shares.draws("share[her2=positive | study=c]")
    assert float(coarse.mean()) == pytest.approx(60 / 360, abs=0.03)
    inside = shares.draws("share[her2=low | study=c]").std()
    assert inside > 3 * shares.draws("share[her2=positive | study=c]").std()


def test_two_classes_against_quadrature() -> None:
    """Logistic-normal random effects of four studies on a grid: an independent posterior."""
    y, n = np.array([12, 30, 5, 60]), np.array([60, 90, 40, 150])
    table = pd.DataFrame(
        [(f"s{k}", name, int(count)) for k in range(4)
         for name, count in (("negative", n[k] - y[k]), ("positive", y[k]))],
        columns=["study", "her2", "n"],
    )  # fmt: skip
    fit = hb.synthesise(table, sampling=Sampling(chains=4, draws=2000, tune=1000))
    # axis z = (negative - positive) / sqrt(2) in logits: log odds of positive = -sqrt(2) z
    nodes, weights = np.polynomial.hermite_e.hermegauss(60)
    mu, sd = np.linspace(-2, 3, 401), np.linspace(0.0025, 2.5, 250)
    z = mu[:, None, None] + sd[None, :, None] * nodes
    p = special.expit(-np.sqrt(2) * z)
    log_weight = stats.norm.logpdf(mu, 0, 1.5)[:, None] + stats.halfnorm.logpdf(sd, scale=0.5)
    for events, patients in zip(y, n, strict=True):
        inner = (stats.binom.pmf(events, patients, p) * weights).sum(-1) / np.sqrt(2 * np.pi)
        log_weight = log_weight + np.log(inner)
    weight = np.exp(log_weight - log_weight.max())
    weight /= weight.sum()
    of_mu, of_sd = weight.sum(1), weight.sum(0)
    draws = fit.tree["posterior"]
    for name, grid, right in (("mu", mu, of_mu), ("study_sd", sd, of_sd)):
        found = draws[name].values.reshape(-1)
        mean = right @ grid
        spread = np.sqrt(right @ (grid - mean) ** 2)
        error = 4 * spread / np.sqrt(2000)  # at least 2,000 effective draws, checked below
        assert found.mean() == pytest.approx(mean, abs=error), name
        assert found.std() == pytest.approx(spread, rel=0.1), name
    import arviz as az

    ess = az.ess(fit.tree, var_names=["mu", "study_sd"])
    assert min(float(ess[name].min()) for name in ("mu", "study_sd")) > 2000


def test_without_spread_the_studies_are_one(shares: SharesFit) -> None:
    """Spreads to 0: a new study is the average, and every study has one share."""
    tiny = {name: prior("HalfNormal", sigma=1e-3) for name in ("study_sd", "slope_sd")}
    data = design(shares.cells)
    from her2bayes.inference.fit import Specification, refit

    used = {**study_shares.DEFAULT_PRIORS, **tiny}
    one = refit(
        Specification(study_shares.build, data, used), Sampling(chains=4, draws=500, tune=1000)
    )
    share = one.posterior["share"].sel(her2="positive")
    a, b = (share.sel(row=f"{study} positive") for study in "ab")
    assert float(np.abs(a - b).max()) < 0.01


def test_a_study_left_out_is_predicted(shares: SharesFit) -> None:
    found = shares.influence().set_index(["study", "level", "her2"])
    assert set(found.index.get_level_values("study")) == {"a", "b", "c"}  # d left a class out
    row = found.loc[("a", "positive", "low")]
    assert row["observed"] == pytest.approx(100 * 92 / 135)
    assert row["lower"] < row["predicted"] < row["upper"]
    assert 0 < row["p"] <= 1
    assert row["upper"] - row["lower"] > 20  # from two other studies


@pytest.mark.parametrize(
    ("asked", "said"),
    [("share[her2=ultralow]", "no such HER2 class"), ("share[her2=low | study=z]", "no such place"),
     ("share[her2=low | level=unknown]", "no such place"),
     ("share[her2=low | study=new]", "no level is said"),
     ("share[her2=low | study=a]", "no level is said"), ("hazard_ratio[os ; her2: low vs zero]",
      "does not answer")],
)  # fmt: skip
def test_what_is_not_answered_is_said(shares: SharesFit, asked: str, said: str) -> None:
    with pytest.raises(BadInput, match=said):
        shares.draws(asked)


def test_faults_of_a_table() -> None:
    with pytest.raises(BadInput, match="no such HER2 class"):
        of_table(pd.DataFrame([("a", "lwo", 3)], columns=["study", "her2", "n"]))
    with pytest.raises(BadInput, match="no such column"):
        of_table(pd.DataFrame([("a", 3)], columns=["study", "n"]))
    with pytest.raises(BadInput, match="whole number"):
        of_table(pd.DataFrame([("a", "low", 3.5)], columns=["study", "her2", "n"]))


def test_it_is_saved_and_read(shares: SharesFit, tmp_path) -> None:
    again = hb.load_fit(shares.save(tmp_path / "fit.nc"))
    asked = "share[her2=low | level=positive, study=new]"
    np.testing.assert_array_equal(again.draws(asked), shares.draws(asked))
    pd.testing.assert_frame_equal(again.studies, shares.studies)


def test_ranges_over_centres_are_order_statistics() -> None:
    """No spread at all: the least of 25 binomials of 456 patients, in closed form."""
    table = pd.DataFrame(
        [(s, name, n) for s in "ab" for name, n in
         (("zero", 400_000), ("low", 430_000), ("positive", 170_000))],
        columns=["study", "her2", "n"],
    )  # fmt: skip
    small = {name: prior("HalfNormal", sigma=1e-6) for name in ("study_sd", "centre_sd")}
    fit = hb.synthesise(table, priors=small, sampling=Sampling(chains=2, draws=2000, tune=500))
    assert isinstance(fit, SharesFit)
    row = fit.ranges().set_index(["study", "her2"]).loc[("kim2024", "low")]
    assert (row["printed_lower"], row["printed_upper"]) == (10.5, 69.1)  # external.csv
    assert row["centres"] == 25
    patients = 11416 // 25
    law = stats.binom(patients, 0.43)
    y = np.arange(patients + 1)
    least = 1 - law.sf(y) ** 25  # P(least of 25 <= y)
    for p, name in ((0.025, "lowest_lower"), (0.5, "lowest"), (0.975, "lowest_upper")):
        right = 100 * y[np.searchsorted(least, p)] / patients
        assert row[name] == pytest.approx(right, abs=100 / patients + 0.1), name
    assert row["inside"] == 100
    assert row["p_lowest"] == 0
    other = fit.ranges().set_index(["study", "her2"]).loc[("nielsen2023", "low")]
    assert np.isnan(other["centres"])
    assert other["inside"] == 0  # 46.3 to 71.8 %
    known = fit.ranges({"nielsen2023": 13}).set_index(["study", "her2"])
    assert known.loc[("nielsen2023", "low"), "p_lowest"] == pytest.approx(0, abs=0.01)
    assert any("kim2024, HER2-low: 10.5 to 69.1 % over 25 centres" in line for line in fit.told())
    assert "centre_ranges" in fit.tables
    titles = [one.title for one in fit.section().tables]
    assert "Ranges over centres that are printed without counts" in titles


def test_centres_of_one_study_share_its_deviation() -> None:
    """A study that prints centres: their range is narrower than that of as many studies."""
    rng = np.random.default_rng(2)
    rows = []
    for study, base in (("a", 0.2), ("b", 0.5), ("c", 0.7)):
        for centre in "uvwxyz":
            low = rng.binomial(400, base)
            rows += [(study, centre, "low", low), (study, centre, "zero", 400 - low)]
    table = pd.DataFrame(rows, columns=["study", "centre", "her2", "n"])
    quick = Sampling(chains=2, draws=500, tune=500)
    with_centres = hb.synthesise(table, sampling=quick)
    added = table.groupby(["study", "her2"], as_index=False)["n"].sum()
    without = hb.synthesise(added, sampling=quick)
    assert isinstance(with_centres, SharesFit)
    assert isinstance(without, SharesFit)
    width = []
    for fit in (with_centres, without):
        row = fit.ranges().set_index(["study", "her2"]).loc[("kim2024", "low")]
        width.append(row["highest"] - row["lowest"])
    assert width[0] < 0.5 * width[1]


def test_two_classes_are_the_meta_analytic_prediction_of_rbest() -> None:
    """RBesT 1.9-0, vignette "Getting started with RBesT (binary)", printed by gMAP(cbind(r, n - r)
    ~ 1 | study, data = AS, tau.dist = "HalfNormal", tau.prior = 1, beta.prior = 2, family =
    binomial): mean, sd, 2.5, 50 and 97.5 % of a new study, from 4000 draws.

    A coordinate of two classes is their log odds by the root of 2.
    """
    responders = [23, 12, 19, 9, 39, 6, 9, 10]
    patients = [107, 44, 51, 39, 139, 20, 78, 35]
    rows = [(f"study {s}", her2, n) for s, (r, of) in enumerate(zip(responders, patients,
            strict=True)) for her2, n in (("positive", r), ("negative", of - r))]  # fmt: skip
    table = pd.DataFrame(rows, columns=["study", "her2", "n"])
    scale = {"mu": prior("Normal", mu=0.0, sigma=2 / np.sqrt(2)),
             "study_sd": prior("HalfNormal", sigma=1 / np.sqrt(2))}  # fmt: skip
    new = hb.synthesise(table, priors=scale).draws("share[her2=positive | study=new]").values
    found = (new.mean(), new.std(), *np.quantile(new, [0.025, 0.5, 0.975]))
    published = (0.2550, 0.0864, 0.1060, 0.2470, 0.4610)
    assert found[0] == pytest.approx(published[0], abs=4 * 0.088 / np.sqrt(2000))
    assert found[1:] == pytest.approx(published[1:], abs=0.016)
