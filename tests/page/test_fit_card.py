"""Predictive checks in words: rows of the card, and sentences for what is rare only."""

from __future__ import annotations

import numpy as np
import xarray as xr

from her2bayes.inference.predictive import predictive_checks
from her2bayes.page.fit_card import check_rows, check_warnings


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
