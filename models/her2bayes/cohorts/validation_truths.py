"""Known cohorts of the exercises, from the reference prior or real, and the numbers a paper prints.

Files of real patients below the folder named by ``HER2_REALDATA``:

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
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from her2bayes.cohorts.chain import problem as model
from her2bayes.cohorts.chain import statistics as kernel
from her2bayes.cohorts.chain.summary import Cells, CountFact, Statistic, Summary, Target
from her2bayes.errors import BadInput, Fault

CELLS = Cells({"her2": ("zero", "low", "positive"), "hr_status": ("positive", "negative")})
CUT_END = 96.0  # months; the hazards' intervals do not depend on a cohort's follow-up
LONGEST = 1200  # month tenths: nobody is followed longer
FEWEST_DEATHS = 2  # in each HER2 class; a paper with fewer prints no hazard ratio
PATIENCE = 10_000  # cohorts looked at for one that can be printed
TESTS = 4  # log-rank overall and by HR status, Cox
EVERYTHING, NO_TESTS, COUNTS = "everything", "no tests", "counts"

Cohort = tuple[np.ndarray, np.ndarray, np.ndarray]  # month tenths (whole), event, cell


def prior_cohort(rng: np.random.Generator, patients: int, intervals: int = 4) -> Cohort:
    """Parameters from the reference prior, patients from them; follow-up may be of any length."""
    tenth = np.log(model.TENTHS)
    basis, her2, both = model.walk(intervals), model.zero_sum(3), abs(rng.normal(0, 0.25))
    base = np.full(intervals, rng.normal(*model.LOG_HAZARD) - tenth)
    base += abs(rng.normal()) * (basis @ rng.normal(size=intervals - 1))
    leave = np.full(intervals, rng.normal(*model.LOG_CENSORING) - tenth)
    leave += abs(rng.normal()) * (basis @ rng.normal(size=intervals - 1))
    of_her2 = abs(rng.normal(0, model.SPREAD_SD)) * (her2 @ rng.normal(size=2))
    of_hr = rng.normal(0, model.LOG_RATIO_SD) * np.array([-0.5, 0.5])
    crossed = both * np.outer(her2 @ rng.normal(size=2), [-0.5, 0.5])
    cell = rng.choice(6, patients, p=rng.dirichlet(np.ones(6)))
    effect = (of_her2[:, None] + of_hr[None, :] + crossed).ravel()[cell]
    death = _draw(rng, base[None, :] + effect[:, None])
    left = _draw(rng, np.tile(leave, (patients, 1)))
    tenths = np.ceil(np.minimum(death, left)).astype(np.int64)
    return tenths, (death < left).astype(np.int64), cell


def _draw(rng: np.random.Generator, log_rate: np.ndarray) -> np.ndarray:
    """Times of piecewise-constant hazards (patient, interval), the last interval open."""
    width = CUT_END * model.TENTHS / log_rate.shape[1]
    rate = np.exp(log_rate)
    left: np.ndarray = rng.exponential(size=(log_rate.shape[0],))
    time: np.ndarray = np.zeros(left.size)
    for j in range(rate.shape[1]):
        last = j == rate.shape[1] - 1
        inside = left / rate[:, j] if last else np.minimum(left / rate[:, j], width)
        time += inside
        left = left - inside * rate[:, j]
    return time


def is_told(cohort: Cohort) -> bool:
    """Whether a paper could print every number of a cohort: what is not printed would tell too.

    It depends on what is printed only, so that leaving the others out keeps ranks uniform.
    """
    tenths, event, cell = cohort
    deaths = np.bincount(cell // 2, event, 3)
    if deaths.min() < FEWEST_DEATHS or tenths.max() > LONGEST:
        return False
    return len(_tests(cohort)) == TESTS


def drawn(source: Callable[[np.random.Generator], Cohort], rng: np.random.Generator) -> Cohort:
    """The first cohort of a source whose numbers can all be printed; ``RuntimeError`` if none."""
    for _ in range(PATIENCE):
        cohort = source(rng)
        if is_told(cohort):
            return cohort
    raise RuntimeError("no sub-sample of these patients has deaths in every group")


def printed(cohort: Cohort, given: str = EVERYTHING) -> Summary:
    """The numbers a paper would print of a cohort.

    ``given``: ``everything``; ``no tests`` leaves out P values and hazard ratios; ``counts`` the
    follow-up as well, but for its end, so that patients and deaths by group remain.
    """
    tenths, event, cell = cohort
    facts = []
    for factor, levels in CELLS.factors.items():
        for level in levels:
            inside = CELLS.where({factor: level})
            facts.append(_count(f"patients {level}", inside, False, int(inside[cell].sum())))
            if factor == "her2":
                deaths = int((inside[cell] * event).sum())
                facts.append(_count(f"deaths {level}", inside, True, deaths))
    follow = Statistic("follow_up[os]", kernel.FOLLOW_UP, {}, "", (), ())
    value = _value(follow, cohort)
    months = [Target(f"follow-up {k}", "months", "", k, value[k] - 0.5, value[k] + 0.5, "months")
              for k in (0, 2)]  # fmt: skip
    statistics = [] if given == COUNTS else [replace(follow, targets=tuple(months))]
    if given == EVERYTHING:
        statistics += _tests(cohort)
    return Summary(
        "exercise", "os", tenths.size, CELLS, tuple(facts), tuple(statistics),
        float(tenths.max()) / model.TENTHS, ("her2", "hr_status"), {},
    )  # fmt: skip


def _count(name: str, inside: np.ndarray, event: bool, number: int) -> CountFact:
    return CountFact(name, name, inside.astype(np.int64), event, number, number)


def _value(statistic: Statistic, cohort: Cohort) -> np.ndarray:
    tenths, event, cell = cohort
    order = np.argsort(tenths, kind="stable")
    out = np.full(kernel.VALUES, np.nan)
    exists = kernel.statistic(
        statistic.kind, max(len(statistic.levels), 1), statistic.groups(CELLS), tenths[order],
        event[order], cell[order], cell.size,
        np.zeros(kernel.GROUPS), np.full(kernel.GROUPS, kernel.FAR),
        *kernel.memory(cell.size), out,
    )  # fmt: skip
    return out if exists else np.full(kernel.VALUES, np.nan)


def _tests(cohort: Cohort) -> list[Statistic]:
    """Log-rank P of HER2 overall and by HR status (two digits), Cox ratios with limits.

    Ratios as 0.12, 1.23, 12.3, 123.
    """
    from scipy.stats import chi2

    her2 = CELLS.factors["her2"]
    found = []
    for given in ({}, {"hr_status": "positive"}, {"hr_status": "negative"}):
        test = Statistic(f"logrank {given}", kernel.LOG_RANK, given, "her2", her2, ())
        value = _value(test, cohort)[0]
        if np.isfinite(value):
            p = float(chi2.sf(value, 2))
            digits = max(2, int(np.ceil(-np.log10(max(p, 1e-6)))) + 1)
            low, high = round(p, digits) - 0.5 * 10**-digits, round(p, digits) + 0.5 * 10**-digits
            window = float(chi2.isf(min(high, 1.0), 2)), float(chi2.isf(max(low, 0.0), 2))
            found.append(replace(test, targets=(Target(f"P {given}", "P", "", 0, *window, "p2"),)))
    levels = ("low", "zero", "positive")
    ratio = Statistic("cox", kernel.COX, {}, "her2", levels, ())
    value = _value(ratio, cohort)
    if np.isfinite(value[[0, 4]]).all():
        targets = []
        for k in (0, 1, 2, 4, 5, 6):
            ratio_k = float(np.exp(value[k]))
            decimals = 2 if ratio_k < 10 else 1 if ratio_k < 100 else 0
            shown, half = round(ratio_k, decimals), 0.5 * 10**-decimals
            low, high = (float(np.log(max(end, 1e-4))) for end in (shown - half, shown + half))
            targets.append(Target(f"HR {k}", "ratio", "", k, low, high, "exp"))
        found.append(replace(ratio, targets=tuple(targets)))
    return found


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


def real_patients(frame: pd.DataFrame, path: Path | None = None) -> Cohort:
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
