"""fit_transitions: doors, faults told together, one answer to one question, a file and back."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from matplotlib.figure import Figure

import her2bayes as hb
from her2bayes.estimand import parse
from her2bayes.evidence.patients.aggregate import transition_counts
from her2bayes.evidence.printed.tables import Conclusion
from her2bayes.inference.fit import Fit
from her2bayes.transition import cohort, paper
from her2bayes.transition.fitted import FittedFacts, FittedPairs, pair_likelihood

CLASSES = ["zero", "low", "positive"]
MSK = np.array([[124, 48, 3], [116, 162, 13], [7, 19, 79]])


def counts_frame() -> pd.DataFrame:
    """Counts of MSK 2018, 571 pairs of single classes, two thirds in the first centre."""
    rows = [
        (CLASSES[i], CLASSES[j], centre, n)
        for i, j in np.ndindex(3, 3)
        for centre, n in (("a", MSK[i, j] - MSK[i, j] // 3), ("b", MSK[i, j] // 3))
    ]
    return pd.DataFrame(rows, columns=["primary", "recurrence", "centre", "n"])


def conjugate(data: xr.Dataset, how: Any) -> Fit:
    """Uniform rows and shares given the pairs of single classes: draws without a sampler."""
    rng = np.random.default_rng(5)
    counts = cohort.single(data)["counts"].to_numpy()
    dims = ("chain", "draw", "stratum", "her2_primary", "her2")

    def draws(table: np.ndarray) -> xr.Dataset:
        rows = rng.standard_gamma(np.broadcast_to(table + 1.0, (2, 100, *table.shape)))
        share = rng.standard_gamma(np.broadcast_to(table.sum(-1) + 1.0, (2, 100, *table.shape[:2])))
        return xr.Dataset(
            {
                "transition": (dims, rows / rows.sum(-1, keepdims=True)),
                "primary_share": (dims[:-1], share / share.sum(-1, keepdims=True)),
            },
            coords={"stratum": data["stratum"].to_numpy(), "her2_primary": CLASSES,
                    "her2": CLASSES},
        )  # fmt: skip

    stats = xr.Dataset(
        {
            "diverging": (("chain", "draw"), np.zeros((2, 100), bool)),
            "energy": (("chain", "draw"), rng.normal(size=(2, 100))),
        }
    )
    groups = {"posterior": draws(counts), "prior": draws(0 * counts), "sample_stats": stats}
    provenance = {"fit_id": "0123456789ab", "model": "her2_transition",
                  "priors": {name: str(p) for name, p in how.priors.items()}}  # fmt: skip
    return Fit(xr.DataTree.from_dict(groups), provenance)


@pytest.fixture(scope="module")
def fit() -> FittedPairs:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cohort, "_fit", conjugate)
        found = hb.fit_transitions(counts_frame(), by="centre", assay=False)
    assert isinstance(found, FittedPairs)
    return found


def test_a_row_and_its_draws_are_one_answer(fit: FittedPairs) -> None:
    table = fit.estimates()
    main = table[table["reading"] == ""]
    asked = list(main["estimand"])
    drawn, before = (fit.draws(asked, group=group) for group in ("posterior", "prior"))
    for row in main.to_dict("records"):
        scale = 100 if row["unit"] == "%" else 1
        assert row["posterior_median"] == float(np.median(drawn[row["estimand"]])) * scale
        assert row["prior_median"] == float(np.median(before[row["estimand"]])) * scale
    again = fit.estimates(asked[:3])
    pd.testing.assert_frame_equal(again, main.head(3)[again.columns].reset_index(drop=True))


def test_what_no_row_holds_is_answered_too(fit: FittedPairs) -> None:
    (row,) = fit.estimates(["flow[zero -> low + low -> zero]"]).to_dict("records")
    expected = 100 * (48 + 116) / 571
    assert row["posterior_median"] == pytest.approx(expected, abs=1.5)
    (row,) = fit.estimates(["discordance_difference[; centre: b vs a]"]).to_dict("records")
    (other,) = fit.estimates(["discordance_difference[; centre: a vs b]"]).to_dict("records")
    assert row["posterior_median"] == pytest.approx(-other["posterior_median"])


@pytest.mark.slow
def test_patients_and_counts_are_the_same_pairs(fit: FittedPairs, tmp_path: Path) -> None:
    frame = counts_frame()
    rows = frame.loc[frame.index.repeat(frame["n"])].drop(columns="n")
    rows.to_csv(tmp_path / "pairs.csv", index=False)
    frame.to_csv(tmp_path / "counts.csv", index=False)
    for data in (
        rows,
        tmp_path / "pairs.csv",
        str(tmp_path / "counts.csv"),
        hb.read_patients(rows, her2={"primary": "primary", "recurrence": "recurrence"}),
    ):
        with pytest.MonkeyPatch.context() as patch:  # fmt: skip
            patch.setattr(cohort, "_fit", conjugate)
            other = hb.fit_transitions(data, by={"centre": ["a", "b"]}, assay=False)
        pd.testing.assert_frame_equal(other.estimates(), fit.estimates())
        pd.testing.assert_frame_equal(other.classical(), fit.classical())


def test_all_faults_are_told_before_anything_is_fitted() -> None:
    wrong = counts_frame().assign(recurrence="high")
    priors = {"log_ods": hb.prior("Normal", mu=0.0, sigma=1.0),
              "stratum_sd": hb.prior("Normal", mu=0.0, sigma=1.0)}  # fmt: skip
    with pytest.raises(hb.BadInput) as bad:
        hb.fit_transitions(wrong, by="centre", priors=priors)
    text = str(bad.value)
    for part in ("high", "no prior named 'log_ods'", "stratum_sd"):
        assert part in text
    half = counts_frame().astype({"n": float}).replace({"n": {124 - 41: 0.5}})
    with pytest.raises(hb.BadInput, match=r"not a number of pairs.*0\.5"):
        hb.fit_transitions(half)
    with pytest.raises(hb.BadInput, match="center"):
        hb.fit_transitions(counts_frame(), by="center", assay=False)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("true_discordance[her2]", "true classes were not fitted"),
        ("hazard_ratio[os ; her2: a vs b]", "fit_survival"),
        ("discordance[| centre=c]", "centre=a"),
    ],
)
def test_what_was_not_fitted_is_refused(fit: FittedPairs, text: str, message: str) -> None:
    with pytest.raises(hb.BadInput, match=message):
        fit.draws(text)


def test_figures_are_matplotlib_figures(fit: FittedPairs) -> None:
    assert set(fit.figures) == {"flow", "matrix", "contraction", "scenarios"}
    for name in fit.figures:
        assert isinstance(getattr(fit.figures, name)(), Figure)
    assert isinstance(fit.figures.matrix(centre="b"), Figure)
    with pytest.raises(hb.BadInput, match="no such stratum"):
        fit.figures.flow(centre="c")


def test_the_likelihood_of_pairs_is_the_multinomials(fit: FittedPairs) -> None:
    """scipy.stats.multinomial.logpmf of the table, but for its coefficient."""
    from scipy import stats

    found = fit.tree["log_likelihood"]["pairs"].sum("pair")
    posterior = fit.tree["posterior"].to_dataset().isel(chain=1, draw=7, stratum=0)
    flow = (posterior["primary_share"] * posterior["transition"]).to_numpy().ravel()
    one, two = (stats.multinomial.logpmf(MSK.ravel(), 571, p) for p in (flow, np.full(9, 1 / 9)))
    expected = one - two + 571 * np.log(1 / 9)
    assert float(found[1, 7]) == pytest.approx(expected)


def test_sets_of_classes_have_the_probability_of_any_of_them() -> None:
    frame = pd.DataFrame({"primary_reading": ["zero/low"] * 3, "recurrence_reading": ["low"] * 3})
    counts = transition_counts(frame)
    fitted = conjugate(counts, cohort.Specification())
    found = pair_likelihood(fitted.posterior, counts)["pairs"].isel(pair=0)
    flow = (fitted.posterior["primary_share"] * fitted.posterior["transition"]).isel(stratum=0)
    inside = flow.sel(her2="low").sel(her2_primary=["zero", "low"]).sum("her2_primary")
    np.testing.assert_allclose(found, 3 * np.log(inside))


@pytest.mark.slow
def test_decisions_are_of_readings_or_of_true_classes(
    fit: FittedPairs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Number needed is one over the chance of a higher class; true rows are asked where fitted."""
    table = fit.decisions(centre="a", tilts=(1.0,), thresholds=(0.1,)).set_index("primary")
    row = sum(fit.draws(f"transition[zero -> {end} | centre=a]") for end in ("low", "positive"))
    assert table.loc["zero", "needed"] == pytest.approx(1 / float(row.median()))
    with pytest.raises(hb.BadInput, match="true classes were not fitted"):
        fit.decisions(true=True)
    monkeypatch.setattr(type(fit), "true_matrices", fit.matrices)
    again = fit.decisions(true=True, centre="a", tilts=(1.0,), thresholds=(0.1,))
    pd.testing.assert_frame_equal(again.set_index("primary"), table)


def test_a_saved_fit_answers_as_before(fit: FittedPairs, tmp_path: Path) -> None:
    again = hb.load_fit(fit.save(tmp_path / "fit.nc"))
    assert isinstance(again, FittedPairs)
    pd.testing.assert_frame_equal(again.estimates(), fit.estimates())
    pd.testing.assert_frame_equal(again.classical(), fit.classical())
    asked = ["discordance[| centre=b]", "gain[low]"]
    xr.testing.assert_equal(again.draws(asked), fit.draws(asked))
    assert again.title == fit.title
    assert again.section().paragraphs == fit.section().paragraphs


def test_a_summary_has_ten_lines(fit: FittedPairs) -> None:
    assert len(str(fit).splitlines()) <= 10
    assert "571 pairs" in repr(fit)


@pytest.fixture(scope="module")
def shi() -> FittedFacts:
    rows = paper.row_priors(3)
    two = {name: rows[name] for name in ("Dirichlet(1, ..., 1)", "Dirichlet(1/2, ..., 1/2)")}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(paper, "row_priors", lambda k: two)
        sampling = hb.Sampling(draws=200, tune=10, chains=2)
        found = hb.fit_transitions(hb.load_study("shi2023"), by=(), sampling=sampling, assay=False)
    assert isinstance(found, FittedFacts)
    return found


def test_a_paper_is_asked_as_patients_are(shi: FittedFacts, tmp_path: Path) -> None:
    # Dirichlet(1, 1, 1): mean of P(zero -> low) is (25 + 1) / (51 + 3) in every table
    assert float(shi.draws("transition[zero -> low]").mean()) == pytest.approx(26 / 54, abs=0.02)
    again = hb.load_fit(shi.save(tmp_path / "shi.nc"))
    pd.testing.assert_frame_equal(again.estimates(), shi.estimates())
    asked = ["discordance[]", "flow_difference[zero -> low]"]
    xr.testing.assert_equal(again.draws(asked), shi.draws(asked))
    assert set(shi.figures) == {"flow", "matrix", "contraction", "scenarios"}


def test_priors_of_a_paper_are_those_of_its_models() -> None:
    study = hb.load_study("shi2023")
    with pytest.raises(hb.BadInput, match="no prior named 'rows'"):
        hb.fit_transitions(study, priors={"rows": hb.prior("Normal", mu=0.0, sigma=1.0)})
    changed = paper.with_priors(3, {"log_odds": hb.prior("Normal", mu=-1.0, sigma=1.0)})
    assert dict(changed["logistic-normal"].priors)["log_odds"]["mu"] == -1.0
    assert not changed["Dirichlet, 3 patients, 60 % unchanged"].priors
    with pytest.raises(hb.BadInput, match="for patients and counts"):
        hb.fit_transitions(study, map="msk2018")


def test_conclusions_on_a_fit_are_asked_of_its_own_counts(fit: FittedPairs) -> None:
    difference = parse("discordance_difference[; centre: a vs b]")
    asked = [
        Conclusion("a", parse("discordance[]"), ">", 0.3),
        Conclusion("b", difference, ">", 0.0),
    ]
    overall, by_centre = fit.targets(asked)
    left_out = next(axis for axis in overall.axes if axis.name == "left out")
    assert left_out.values == ("centre=a", "centre=b")
    assert "prior scale of differences between levels" in {axis.name for axis in by_centre.axes}
    wrong = Conclusion("c", parse("discordance[| site=liver]"), ">", 0.3)
    with pytest.raises(hb.BadInput, match="do not answer the conclusion"):
        fit.targets([wrong])
    own = replace(fit, result=replace(fit.result, fits=dict(fit.fits)))
    first = next(iter(own.fits.values()))
    first.provenance["priors"] = {"log_odds": "Normal(mu=0.0, sigma=1.0)"}
    with pytest.raises(hb.BadInput, match=r"default model and priors.*log_odds"):
        own.targets(asked)
    first.provenance["priors"] = {}
