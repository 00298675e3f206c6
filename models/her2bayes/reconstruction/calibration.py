"""Are reconstructed cohorts calibrated: the true cohort's rank among cohorts made from its summary.

An exercise draws parameters from the reference prior and patients from them (NumPy, patient by
patient, sharing nothing with the compiled chain), or takes a sub-sample of a real cohort; prints
its numbers with their usual decimals; reconstructs; and ranks the truth among the members.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from her2bayes.reconstruction import summary_problem as model
from her2bayes.reconstruction import summary_statistics as kernel
from her2bayes.reconstruction.summary import Chain, Settings, chain
from her2bayes.reconstruction.summary_design import (
    Cells,
    CountFact,
    Statistic,
    Summary,
    Target,
)
from her2bayes.reconstruction.summary_diagnostics import analyses, quantities

CELLS = Cells({"her2": ("zero", "low", "positive"), "hr_status": ("positive", "negative")})
MEMBERS = 19
CUT_END = 96.0  # months; the hazards' intervals do not depend on a cohort's follow-up
QUICK = Settings(chains=1, replicas=12, warm=200, sweeps=900, moves=120)

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


def printed(cohort: Cohort, survival: bool = True) -> Summary:
    """The numbers a paper would print of a cohort; without ``survival`` only counts and deaths."""
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
    statistics = [replace(follow, targets=tuple(months))]
    if survival:
        statistics += [s for s in _tests(cohort) if s.targets]
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
    """Log-rank P of HER2 overall and by HR status (two digits), Cox ratios with limits."""
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
            shown = round(float(np.exp(value[k])), 2)
            low, high = (float(np.log(max(shown + half, 1e-4))) for half in (-0.005, 0.005))
            targets.append(Target(f"HR {k}", "ratio", "", k, low, high, "exp"))
        found.append(replace(ratio, targets=tuple(targets)))
    return found


def ensemble(cohort: Cohort, seed: int, survival: bool = True, settings: Settings = QUICK) -> Chain:
    """Cohorts behind the numbers of a cohort; raises ``RuntimeError`` where none was found."""
    posed = model.problem(printed(cohort, survival), intervals=4, cut_end=CUT_END)
    found = chain(posed, settings, seed)
    if found is None:
        raise RuntimeError("no cohort found that meets the numbers of a cohort that exists")
    return found


def exercise(cohort: Cohort, seed: int, survival: bool = True) -> pd.DataFrame:
    """Rank of the truth among 19 members (0 to 19) and the 90 % interval, by quantity."""
    item = printed(cohort, survival)
    found = ensemble(cohort, seed, survival)
    tenths, event, cell = cohort
    truth_chain = replace(
        found, months=tenths[None, :] / model.TENTHS, event=event[None, :], cell=cell[None, :]
    )
    truth = quantities(item, truth_chain, 0)
    picks = np.linspace(0, found.months.shape[0] - 1, MEMBERS).round().astype(int)
    asked = analyses(item)
    members = pd.DataFrame([quantities(item, found, int(d), asked) for d in picks])
    thin = range(0, found.months.shape[0], 3)
    every = pd.DataFrame([quantities(item, found, d, asked) for d in thin])
    rng = np.random.default_rng(seed)
    rows = []
    for name, value in truth.items():
        values = members[name].to_numpy()
        ties = int((np.abs(values - value) < 1e-12).sum())
        rank = int((values < value - 1e-12).sum()) + int(rng.integers(0, ties + 1))
        low, high = np.quantile(every[name], [0.05, 0.95])
        rows.append({"quantity": name, "truth": value, "rank": rank, "lower": low, "upper": high,
                     "covered": bool(low - 1e-9 <= value <= high + 1e-9)})  # fmt: skip
    return pd.DataFrame(rows)


def run(
    source: Callable[[np.random.Generator], Cohort], number: int, seed: int,
    survival: bool = True, say: Callable[[str], None] = lambda _: None,
) -> pd.DataFrame:  # fmt: skip
    """Several exercises; one row an exercise and quantity."""
    tables = []
    for k, stream in enumerate(np.random.default_rng(seed).spawn(number)):
        while True:
            cohort = source(stream)
            if min(np.bincount(cohort[2] // 2, cohort[1], 3)) >= 2 and cohort[0].max() <= 1200:
                break  # a paper with fewer deaths prints no hazard ratio
        tables.append(exercise(cohort, k + 1, survival).assign(exercise=k + 1))
        say(f"exercise {k + 1} of {number}")
    return pd.concat(tables, ignore_index=True)


def verdict(table: pd.DataFrame, quantities_shown: Sequence[str] = ()) -> pd.DataFrame:
    """By quantity: share covered with its 95 % interval, and P that the ranks are uniform."""
    from scipy.stats import binomtest, chisquare

    rows = []
    for name, part in table.groupby("quantity", sort=False):
        if quantities_shown and name not in quantities_shown:
            continue
        part = part.dropna()
        test = binomtest(int(part["covered"].sum()), len(part))
        interval = test.proportion_ci(method="wilson")
        observed = np.bincount(part["rank"] // 4, minlength=5)
        rows.append({"quantity": name, "exercises": len(part), "covered": part["covered"].mean(),
                     "lower": interval.low, "upper": interval.high,
                     "uniform_p": float(chisquare(observed).pvalue)})  # fmt: skip
    return pd.DataFrame(rows)
