"""A fit's card: predictive checks in words, and plots of the quantity that mixes worst."""

from __future__ import annotations

import io
from base64 import b64decode

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from PIL import Image

from her2bayes.inference.fit import Fit
from her2bayes.inference.predictive import predictive_checks
from her2bayes.inference.reweight import CONFLICT, STRONG
from her2bayes.page.fit_card import (
    ALONE,
    HERE,
    PLOTS,
    SAME,
    check_rows,
    check_warnings,
    fit_card,
    judged_counts,
    judgements,
)


def checks(observed: list[int]) -> object:
    rng = np.random.default_rng(1)
    coords = {"level": ["a", "<b>"]}
    made = {
        group: xr.Dataset(
            {"n": (("chain", "draw", "level"), rng.poisson(mean, size=(2, 2000, 2)))}, coords
        )
        for group, mean in (("prior_predictive", 30), ("replicates", 10))
    }
    seen = xr.Dataset({"n": ("level", observed)}, coords)
    return predictive_checks(xr.DataTree.from_dict({**made, "observed_data": seen}))


def test_rows_say_observed_replicates_and_both_tails() -> None:
    rows = {row["statistic"]: row for row in check_rows(checks([9, 12]))}
    assert list(rows) == [
        "χ² discrepancy", "largest cell discrepancy (<b>)", "total of the counts",
    ]  # fmt: skip
    total = rows["total of the counts"]
    assert total["posterior"].startswith("21; 12–")
    assert total["prior_tail"] == "<0.001"
    assert float(total["posterior_tail"]) > 0.2


def test_only_rare_statistics_become_sentences() -> None:
    sentences = check_warnings(checks([9, 12]), "Counts", "abc123")
    assert sentences
    assert all("prior–data conflict" in s and "fit abc123" in s for s in sentences)
    both = check_warnings(checks([9, 60]), "Counts", "abc123")
    assert any("posterior predictive misfit" in s for s in both)


def made_up() -> Fit:
    """Two chains of a table whose second level is shifted in one of them; a constant beside it."""
    rng, dims = np.random.default_rng(2), ("chain", "draw")
    share = rng.normal(size=(2, 500, 2))
    share[1, :, 1] += 0.5
    coords = {"chain": [0, 1], "draw": np.arange(500), "level": ["liver", "lung"]}
    posterior = {"share": ((*dims, "level"), share), "fixed": (dims, np.ones((2, 500)))}
    stats = {"diverging": (dims, np.zeros((2, 500), bool)), "energy": (dims, share[..., 0])}
    groups = {"posterior": xr.Dataset(posterior, coords), "sample_stats": xr.Dataset(stats, coords)}
    return Fit(xr.DataTree.from_dict(groups), {"fit_id": "abc", "model": "response", "priors": {}})


def test_the_quantity_that_mixes_worst_is_plotted() -> None:
    card = fit_card(made_up(), "made up", pd.DataFrame({"fit_id": ["abc"], "convergence": ["x"]}))
    assert card["diagnostics"]["Max R-hat"].endswith("(too large)")
    assert len(card["plots"]) == len(PLOTS)
    for words, png in card["plots"]:
        assert "share[lung]" in words or words.startswith("Energy")
        shades = np.asarray(Image.open(io.BytesIO(b64decode(png))).convert("L"))
        assert 0.5 < (shades > 250).mean() < 0.99  # lines on white, not a blank


@pytest.mark.parametrize("missing", ["energy", "sample_stats"])
def test_draws_without_a_sampler_have_no_plots(missing: str) -> None:
    fit = made_up()
    tree = fit.tree.copy()
    if missing == "energy":
        tree["sample_stats"] = xr.DataTree(tree["sample_stats"].to_dataset().drop_vars("energy"))
    else:
        del tree["sample_stats"]

    class Exact(Fit):
        diagnostics = fit.diagnostics

    card = fit_card(Exact(tree, fit.provenance), "made up",
                    pd.DataFrame({"fit_id": [], "convergence": []}))  # fmt: skip
    assert not card["plots"]


def compared_card(title: str, difference: float, error: float) -> dict[str, object]:
    """A card on which the reported model is first and another one ``difference`` behind."""
    first = {"model": HERE, "elpd": -50.0, "elpd_std_error": 4.0, "difference": 0.0,
             "difference_std_error": 0.0, "stacking_weight": 1.0, "pareto_k": 0.2,
             "unreliable_patients": 0.0}  # fmt: skip
    other = {**first, "model": SAME, "difference": -difference, "difference_std_error": error,
             "stacking_weight": 0.0, "pareto_k": np.nan}  # fmt: skip
    power = [("share[a]", 0.01, 0.2), (f"share[{title}]", 0.09, difference / 100)]
    return {"title": title, "compared": [first, other], "power": power, "unit": "patient"}


def test_the_page_says_of_priors_and_models_what_the_cards_say() -> None:
    cards = [compared_card("receptor", 16.4, 5.7), compared_card("age", 2.0, 0.1),
             {"title": "facts", "unit": "nothing: sums"}]  # fmt: skip
    said = dict(judgements(cards))
    assert "2 of 4 quantities move noticeably" in said["Prior sensitivity"]
    assert f"{STRONG} in age (1)" in said["Prior sensitivity"]
    assert f"{CONFLICT} in receptor (1)" in said["Prior sensitivity"]
    models = said["Model comparison"]
    assert "No alternative" in models
    assert "receptor (by 16.4, SE 5.7)" in models
    assert "age" not in models  # a difference below 4 is none, whatever its standard error
    assert "Largest Pareto k 0.20" in models
    assert "1 other fit" in models
    assert judgements([{"title": "facts"}]) == ()


def test_counts_are_judged_beside_two_models_without_draws() -> None:
    rng, counts = np.random.default_rng(4), np.array([[12, 30, 8], [5, 9, 21]])
    shares = np.stack([rng.dirichlet(row + 1.0, (2, 1000)) for row in counts], axis=2)
    coords = {"subgroup": ["a", "b"], "her2": ["zero", "low", "positive"]}
    draws = xr.DataArray(shares, coords, ("chain", "draw", "subgroup", "her2"), name="share")
    found = judged_counts(draws, xr.DataArray(counts, coords, ("subgroup", "her2")), ())
    assert list(found.quantities)[:2] == ["share[a, zero]", "share[a, low]"]
    assert found.scores[HERE].elpd == pytest.approx(found.scores[ALONE].elpd, abs=0.15)
    whole = counts.sum(axis=0)
    by_hand = (whole * np.log(whole / (whole.sum() + 2))).sum()
    assert found.scores[SAME].elpd == pytest.approx(by_hand)
