"""Real open cohorts as patients of the exercises: time in months, event, her2, hr_status.

Files below the folder named by ``HER2_REALDATA``:

- gbsg: r_survival_breast/survival_gbsg.csv (R package survival); recurrence or death; 1-3,
  4-9 and more positive nodes as HER2 zero, low, positive; ER >= 10 as HR positive.
- rotterdam: r_survival_breast/survival_rotterdam.csv (R package survival); death, up to 10 years;
  size <= 20, 20-50, > 50 mm as HER2; ER >= 10 as HR positive.
- msk: breast_msk_2018 (cBioPortal); death after the biopsy; HER2 of the biopsy, HR of the primary.

Only MSK 2018 has HER2; in the others another factor of three levels stands in under its names.
Nothing of them is kept: a file of patients is made from the sources wherever it is needed.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from her2bayes.cohorts.validation.printed_cohort import CELLS, LONGEST, Cohort, prior_cohort
from her2bayes.errors import BadInput, Fault

DAYS = 365.25 / 12  # in a month
ER_POSITIVE = 10  # fmol / l in the files, the usual limit of the assay
HER2 = CELLS.factors["her2"]


def gbsg(folder: Path) -> pd.DataFrame:
    """German Breast Cancer Study Group trial, positive nodes in the place of HER2."""
    frame = _csv(folder / "r_survival_breast" / "survival_gbsg.csv")
    return pd.DataFrame(
        {
            "time": frame["rfstime"] / DAYS,
            "event": frame["status"],
            "her2": np.array(HER2)[np.searchsorted([3, 9], frame["nodes"])],
            "hr_status": np.where(frame["er"] >= ER_POSITIVE, "positive", "negative"),
        }
    )


def rotterdam(folder: Path) -> pd.DataFrame:
    """Rotterdam tumour bank, size in the place of HER2; followed for ten years at most."""
    frame = _csv(folder / "r_survival_breast" / "survival_rotterdam.csv")
    months, end = frame["dtime"] / DAYS, LONGEST / 10
    return pd.DataFrame(
        {
            "time": months.clip(upper=end),
            "event": frame["death"] * (months <= end),
            "her2": frame["size"].map(dict(zip(("<=20", "20-50", ">50"), HER2, strict=True))),
            "hr_status": np.where(frame["er"] >= ER_POSITIVE, "positive", "negative"),
        }
    )


def msk(folder: Path) -> pd.DataFrame:
    """MSK 2018 after the biopsy of a metastasis, with its HER2 where that is one class."""
    from her2bayes.evidence.patients.cohort import read_cohort
    from her2bayes.evidence.patients.maps import packaged_maps

    everyone = read_cohort(packaged_maps() / "msk2018.toml", folder / "breast_msk_2018").patients
    rows = everyone[
        everyone["recurrence_reading"].isin(HER2)
        & everyone["hr_status"].isin(CELLS.factors["hr_status"])
        & (everyone["os_biopsy_months"] > 0)
    ]
    end = LONGEST / 10
    return pd.DataFrame(
        {
            "time": rows["os_biopsy_months"].clip(upper=end),
            "event": rows["os_biopsy_event"].astype(int) * (rows["os_biopsy_months"] <= end),
            "her2": rows["recurrence_reading"].astype(str),
            "hr_status": rows["hr_status"].astype(str),
        }
    )


REAL: dict[str, Callable[[Path], pd.DataFrame]] = {"gbsg": gbsg, "rotterdam": rotterdam, "msk": msk}


def _csv(path: Path) -> pd.DataFrame:
    try:
        return pd.read_csv(path)
    except OSError as error:
        remedy = "name the folder with the open cohorts: HER2_REALDATA"
        raise BadInput(Fault("no such file of real patients", file=path, remedy=remedy)) from error


def patients(frame: pd.DataFrame, path: Path | None = None) -> Cohort:
    """Times in whole month tenths, events and cells; raises ``BadInput`` for columns or levels."""
    missing = [n for n in ("time", "event", *CELLS.factors) if n not in frame.columns]
    if missing:
        raise BadInput(Fault(f"column(s) missing: {', '.join(missing)}", file=path))
    combos = [tuple(c.values()) for c in CELLS.combinations]
    rows = list(frame[list(CELLS.factors)].itertuples(index=False, name=None))
    unknown = sorted({str(row) for row in rows if row not in combos})
    if unknown:
        allowed = "; ".join(f"{n}: {', '.join(v)}" for n, v in CELLS.factors.items())
        raise BadInput(Fault("unknown levels", file=path, value=unknown[:3], allowed=allowed))
    cell = np.array([combos.index(row) for row in rows])
    tenths = np.ceil(frame["time"].to_numpy(float) * 10 - 1e-9).astype(np.int64)
    return np.maximum(tenths, 1), frame["event"].to_numpy(np.int64), cell


def subsample(everyone: Cohort, number: int, rng: np.random.Generator) -> Cohort:
    """Some of the patients of a cohort, without replacement."""
    time, event, cell = everyone
    chosen = rng.choice(time.size, number, replace=False)
    return time[chosen], event[chosen], cell[chosen]


def simulated(number: int, rng: np.random.Generator) -> Cohort:
    """Patients of the reference prior."""
    return prior_cohort(rng, number)


def sampler(everyone: Cohort | None, number: int) -> Callable[[np.random.Generator], Cohort]:
    """Where exercises of a number of patients come from: a cohort, or the prior without one."""
    if everyone is None:
        return partial(simulated, number)
    return partial(subsample, everyone, number)
