"""Fixtures shared by the tests of analyses."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from her2bayes.evidence.classify import PAPERS
from her2bayes.evidence.patients.cohort import Cohort
from her2bayes.evidence.simulate import coarsened_sets, known_truth, simulate_pairs


@pytest.fixture
def paired() -> Cohort:
    """Simulated pairs of readings, sets as often as in MSK 2018, two factors."""
    rng = np.random.default_rng(11)
    rows = simulate_pairs(
        rng, {"positive": 400, "negative": 150}, **known_truth(), factor="hr_status",
        coarsening=coarsened_sets(),
    )  # fmt: skip
    rows["site"] = np.where(np.arange(len(rows)) % 3 == 0, "liver", "bone")
    for end in ("primary", "recurrence"):
        scores = {"zero": "0", "low": "1", "positive": "3", "zero/low": "0 1", "low/positive": "2"}
        rows[f"{end}_score"] = rows[f"{end}_reading"].map(scores).fillna("")
        rows[[f"{end}_ish", f"{end}_overall", f"{end}_rule"]] = ""
        rows[f"{end}_sampled"] = True
    rows["pair"] = True
    factors = {"hr_status": ("positive", "negative"), "site": ("bone", "liver")}
    return Cohort(
        id="simulated", title="Simulated pairs", patients=rows,
        flow=pd.DataFrame({"stage": ["rows"], "unit": ["rows"], "rule": ["one row a patient"],
                           "result": [""], "outcome": ["kept"], "count": [550], "of": [550]}),
        factors=factors, endpoints=(), scheme=PAPERS, source={}, digest="x",
    )  # fmt: skip
