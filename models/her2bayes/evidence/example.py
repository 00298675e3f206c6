"""An invented patient file with its column map, to try the scripts on."""

from __future__ import annotations

import numpy as np
import pandas as pd

from her2bayes.evidence.simulate import (
    coarsened_sets,
    cohort,
    known_truth,
    simulate_pairs,
    weibull_hazard,
)

# reading -> pairs of IHC score and ISH verdict that a pathologist may have written
_WRITTEN = {
    "zero": (("0", ""),),
    "low": (("1+", ""), ("2+", "negative")),
    "positive": (("3+", ""), ("2+", "positive")),
    "zero/low": (("0-1+", ""),),
    "low/positive": (("2+", ""),),
    "unknown": (("", ""),),
}
# hazard of death after recurrence against HER2-low, by true class at recurrence
HAZARD_RATIO = {"zero": 1.3, "low": 1.0, "positive": 0.6}

MAP = """\
# Column map of the invented cohort beside it; data/maps/README.md explains every key.
schema = 1
id = "example"
title = "Invented cohort"
rows = "patient"

[files]
table = "patients.csv"

[columns]
patient_id = "patient"

[primary]
ihc = "primary_ihc"
ish = "primary_ish"
er = "primary_er"
pr = "primary_pr"

[recurrence]
ihc = "recurrence_ihc"
ish = "recurrence_ish"
"""


def example_patients(patients: int, seed: int) -> pd.DataFrame:
    """Draw a cohort: readings of both tumours, receptors, survival from recurrence in months.

    Transition rows and primary shares differ by HR status (``simulate_pairs.known_truth``), sets
    of classes occur as often as in real exports, and survival depends on the class at recurrence
    through ``HAZARD_RATIO`` (Weibull, median 42 months in HER2-low).
    """
    rng = np.random.default_rng(seed)
    positive = round(0.7 * patients)
    truth = known_truth()
    pairs = simulate_pairs(
        rng,
        {"positive": positive, "negative": patients - positive},
        {level: share.tolist() for level, share in truth["share"].items()},
        truth["transition"],
        factor="hr_status",
        coarsening=coarsened_sets(),
    )
    readings = {
        f"{end}_{test}": column
        for end in ("primary", "recurrence")
        for test, column in _written(rng, pairs[f"{end}_reading"]).items()
    }
    percent = np.where(pairs["hr_status"] == "positive", rng.integers(10, 100, len(pairs)), 0)
    frame = pd.DataFrame(
        {
            "patient": [f"E{i:04d}" for i in range(1, len(pairs) + 1)],
            **readings,
            "primary_er": percent,
            "primary_pr": np.where(percent > 0, rng.integers(0, 100, len(pairs)), 0),
            "her2": pairs["recurrence_true"].to_numpy(),
            "hr_status": pairs["hr_status"].to_numpy(),
        }
    )
    return frame.join(_survival(rng, frame["her2"]))


def _written(rng: np.random.Generator, reading: pd.Series) -> dict[str, list[str]]:
    options = [_WRITTEN[name] for name in reading]
    chosen = [some[int(rng.integers(len(some)))] for some in options]
    return {"ihc": [ihc for ihc, _ in chosen], "ish": [ish for _, ish in chosen]}


def _survival(rng: np.random.Generator, her2: pd.Series) -> pd.DataFrame:
    edges = [6.0 * k for k in range(21)]
    parts = []
    for level, rows in her2.groupby(her2).groups.items():
        hazard = weibull_hazard(edges, 1.2, 57.0, HAZARD_RATIO[str(level)])
        key: tuple[str, ...] = (str(level),)
        drawn = cohort(rng, {key: len(rows)}, ["her2"], edges, {key: hazard.tolist()})
        times = drawn["months"].clip(lower=0.1).round(1)
        parts.append(
            pd.DataFrame(
                {"os_months": times.to_numpy(), "os_event": drawn["event"].to_numpy()}, index=rows
            )
        )
    return pd.concat(parts).sort_index()
