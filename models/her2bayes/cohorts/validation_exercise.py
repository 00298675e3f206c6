"""One exercise: a known cohort's numbers are printed, cohorts are made from them, and it is ranked.

Beside the ensemble stand what patients and deaths alone leave open, and what would be believed of
one annealed cohort, or of 19 of them.

What is done without a chain: one cohort annealed to the printed numbers, and stopped there.

The control of the validation. A random cohort is cooled at once to the printed numbers, under
parameters that are fixed beforehand (exponential times to death and to censoring, at the rates that
deaths and the median follow-up suggest, the same in all groups), and the first that meets all of
them is kept.

Cohorts are drawn from the reference prior, or real. Files of real patients below the folder named
by ``HER2_REALDATA``:

- gbsg: r_survival_breast/survival_gbsg.csv (R package survival); recurrence or death; 1-3,
  4-9 and more positive nodes as HER2 zero, low, positive; ER >= 10 as HR positive.
- rotterdam: r_survival_breast/survival_rotterdam.csv (R package survival); death, up to 10 years;
  size <= 20, 20-50, > 50 mm as HER2; ER >= 10 as HR positive.
- msk: breast_msk_2018 (cBioPortal); death after the biopsy; HER2 of the biopsy, HR of the primary.

Only MSK 2018 has HER2; in the others another factor of three levels stands in under its names.
Nothing of them is kept: a file of patients is made from the sources wherever it is needed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from her2bayes.cohorts.chain import kernel as kernel_of_calibration_annealed
from her2bayes.cohorts.chain import problem as model
from her2bayes.cohorts.chain import statistics
from her2bayes.cohorts.chain import statistics as kernel
from her2bayes.cohorts.chain.problem import Problem, counts_of_facts
from her2bayes.cohorts.chain.reference_model import sizes
from her2bayes.cohorts.chain.replica import Effort, Replica, Settings
from her2bayes.cohorts.chain.summary import Cells, CountFact, Statistic, Summary, Target
from her2bayes.cohorts.chain.tempering import Chain, chain
from her2bayes.cohorts.diagnostics import landmarks, log_hazards, survival_at
from her2bayes.cohorts.printed_curves import Curves, with_curves
from her2bayes.errors import BadInput, Fault
from her2bayes.evidence.patients.digitised import read_numbers
from her2bayes.evidence.read_table import text_table

CELLS = Cells({"her2": ("zero", "low", "positive"), "hr_status": ("positive", "negative")})
CUT_END = 96.0  # months; the hazards' intervals do not depend on a cohort's follow-up
LONGEST = 1200  # month tenths: nobody is followed longer
FEWEST_DEATHS = 2  # in each HER2 class; a paper with fewer prints no hazard ratio
PATIENCE = 10_000  # cohorts looked at for one that can be printed
TESTS = 4  # log-rank overall and by HR status, Cox
EVERYTHING, NO_TESTS, COUNTS = "everything", "no tests", "counts"
LANDMARK, AT_RISK, PIXELS = "landmark", "at risk", "curve"
FIGURE = (LANDMARK, AT_RISK, PIXELS)
"""What may be shown of survival at times beside everything else."""
LANDMARK_AT, ROWS = 12.0, (0.0, 12.0, 24.0, 36.0, 48.0, 60.0)  # months
ACROSS, UP = 240, 450  # pixels of a figure

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
    follow-up as well, but for its end, so that patients and deaths by group remain. ``landmark``
    adds survival at a year in whole per cent to everything, ``at risk`` the patients at risk each
    year, ``curve`` the pixels of the Kaplan-Meier curve; all of all patients.
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
    if given == EVERYTHING or given in FIGURE:
        statistics += _tests(cohort)
    made = Summary(
        "exercise", "os", tenths.size, CELLS, tuple(facts), tuple(statistics),
        float(tenths.max()) / model.TENTHS, ("her2", "hr_status"), {},
    )  # fmt: skip
    return _with_figure(made, cohort, given) if given in FIGURE else made


def _with_figure(made: Summary, cohort: Cohort, given: str) -> Summary:
    """A summary with survival of all patients at times, as a figure or a text would show it."""
    months, died = cohort[0] / model.TENTHS, cohort[1].astype(int)
    end = float(months.max())
    if given == LANDMARK:
        if end < LANDMARK_AT:
            return made
        value = float(np.round(survival_at((months, died), np.array([LANDMARK_AT]))[0], 2))
        target = Target("landmark", "survival", "", 0, value - 0.005, value + 0.005, "share",
                        LANDMARK_AT)  # fmt: skip
        one = Statistic("survival[os]", kernel.SURVIVAL, {}, "", (), (target,))
        return replace(made, statistics=(*made.statistics, one))
    rows = [time for time in ROWS if time <= end]
    left = [months.size if time == 0 else int((months > time).sum()) for time in rows]
    table = text_table(pd.DataFrame({"arm": "all", "time": rows, "n_at_risk": left}))
    read: dict[str, Any] = {}
    if given == PIXELS:
        time = np.linspace(0.0, end, ACROSS + 1)
        height = np.round(survival_at((months, died), time) * UP) / UP
        read["all"] = text_table(pd.DataFrame({"time": time.round(3), "survival": height.round(5)}))
    return with_curves(made, Curves({"all": {}}, read, read_numbers(table)))


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


FREE, COLD = 0.3, 800.0  # sharpness
COOLING, MOVES = 40, 400
MOST_STEPS = 200  # coolings' steps until a search is given up
ATTEMPTS = 2  # for each restart
NO_SPREAD = -3.0  # log standard deviation of all walks and effects


def restarts(
    posed: Problem, seed: int, number: int
) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Annealed cohorts (month tenths, event, cell) from random starts; fewer where some failed."""
    streams = np.random.default_rng(seed).spawn(ATTEMPTS * number)
    found: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    for stream in streams:
        if len(found) == number:
            break
        made = annealed(posed, stream)
        if made is not None:
            found.append(made)
    return found


def annealed(
    posed: Problem, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """The first cohort that meets all printed numbers while one is cooled, or None."""
    counts = counts_of_facts(posed.summary, rng)
    if counts is None:
        return None
    replica = Replica(posed, counts, rng)
    replica.theta[:] = fixed_theta(posed, int(counts[:, 1].sum()))
    replica.pace[:] = 0.0  # parameters stay
    tally = np.zeros((kernel_of_calibration_annealed.MOVES, 2), np.int64)
    places = np.append(np.geomspace(FREE, COLD, COOLING), np.full(MOST_STEPS - COOLING, COLD))
    for sharpness in places:
        replica.run(Effort(MOVES), float(sharpness), False, tally)
        if replica.distance == 0:
            p = replica.patients
            return p.time.copy(), p.event.copy(), p.cell.copy()
    return None


def fixed_theta(posed: Problem, deaths: int) -> np.ndarray:
    """Parameters of exponential times, the same in all groups, at rates from counts and follow-up.

    Times to either exit with median m have the rate log 2 / m; of it deaths take their share.
    """
    model, patients = posed.model, posed.summary.patients
    median = posed.printed.last / 2
    for t, statistic in enumerate(posed.summary.statistics):
        if statistic.kind == statistics.FOLLOW_UP:
            median = float(posed.printed.low[t, 0] + posed.printed.high[t, 0]) / 2
    rate, share = np.log(2) / median, np.clip(deaths / patients, 0.02, 0.98)
    mean, sd, leave_mean, leave_sd = model.location
    sigma, columns, _, second = sizes(model)
    theta = np.zeros(posed.theta_size)
    theta[0] = (np.log(rate * share) - mean) / sd
    theta[second] = (np.log(rate * (1 - share)) - leave_mean) / leave_sd
    theta[sigma] = theta[-1] = NO_SPREAD
    theta[sigma + 1 + columns : second] = NO_SPREAD
    return theta


MEMBERS = 19
LEVEL = 0.90
QUICK = Settings(chains=1, replicas=12, warm=200, sweeps=1300, moves=400, soft_moves=300)
LOOSE = Settings(chains=1, replicas=4, warm=100, sweeps=600, moves=120, soft_moves=120)  # counts
MOST_CHAINS = 3
TRIES = 12  # to begin a chain
ENOUGH = 40.0  # effective draws of the slowest quantity, for 19 members that hardly depend
DRAWS = 300  # of a chain that are measured

REFERENCE, OTHERS = "low", ("zero", "positive")
GIVEN: tuple[dict[str, str], ...] = (
    {},
    {"hr_status": "positive"},
    {"hr_status": "negative"},
)
CURVE = ("survival at 24 months", "survival at 60 months", "restricted mean to 60 months")
RATIOS = tuple(
    f"log hazard ratio {level} vs {REFERENCE}" + "".join(f" | HR {v}" for v in given.values())
    for given in GIVEN
    for level in OTHERS
)
QUANTITIES = CURVE + RATIOS
"""The list of the verdict, fixed before any exercise was run."""
PRINTED = RATIOS[:2]  # known to their rounding by construction
_FREE = np.array([name not in PRINTED for name in QUANTITIES])
# Half a unit of what a reader would quote of a single cohort: whole percent, 0.1 month, HR to 0.01.
QUOTED = np.array([0.005, 0.005, 0.05] + [0.005] * len(RATIOS))

_GROUPS = np.array(
    [Statistic("", kernel.COX, g, "her2", (REFERENCE, *OTHERS), ()).groups(CELLS) for g in GIVEN]
)


def measure(tenths: np.ndarray, event: np.ndarray, cell: np.ndarray, last: int) -> np.ndarray:
    """Quantities (draw, quantity) of cohorts (draw, patient) followed to ``last`` month tenths.

    Survival later than that is missing; the restricted mean ends there if that is before 60 months.
    A ratio that would be infinite is the largest looked for, and 0 where neither class has deaths.
    """
    rows = []
    for draw in range(tenths.shape[0]):
        order = np.argsort(tenths[draw], kind="stable")
        months, labels = tenths[draw][order] / model.TENTHS, cell[draw][order].astype(np.int64)
        died = event[draw][order].astype(bool)
        survival, _, mean = landmarks(months, died, last / model.TENTHS)
        logs = [log_hazards(group, 1 + len(OTHERS), months, died, labels) for group in _GROUPS]
        ratios = np.concatenate([one[1:] - one[0] for one in np.nan_to_num(logs)])
        rows.append(np.concatenate([survival, [mean], ratios]))
    return np.array(rows).reshape(-1, len(QUANTITIES))


def _measured(found: Chain, last: int) -> np.ndarray:
    """Quantities of a chain's draws, evenly thinned."""
    number = found.months.shape[0]
    picks = np.unique(np.linspace(0, number - 1, min(number, DRAWS)).round().astype(int))
    tenths = np.rint(found.months[picks] * model.TENTHS)
    return measure(tenths, found.event[picks], found.cell[picks], last)


def effective(chains: Sequence[np.ndarray]) -> np.ndarray:
    """Effective sample size of each quantity over chains (draw, quantity); missing where fixed."""
    import arviz as az
    import xarray as xr

    number = min(c.shape[0] for c in chains)
    values = np.array([c[:number] for c in chains])
    found = np.full(values.shape[2], np.nan)
    for q in range(found.size):
        one = values[:, :, q]
        if number >= 4 and np.isfinite(one).all() and one.std() > 0:
            found[q] = float(az.ess(xr.Dataset({"x": (("chain", "draw"), one)}))["x"])
    return found


def ensemble(
    cohort: Cohort, seed: int, settings: Settings = QUICK, given: str = EVERYTHING,
    most: int = MOST_CHAINS,
) -> tuple[np.ndarray, np.ndarray, int]:  # fmt: skip
    """Quantities of cohorts behind the numbers of a cohort, their effective number, the chains.

    Independent chains are added until the slowest quantity that is not printed has ``ENOUGH``
    effective draws, at most ``most``. One that met no cohort in its warm-up, as its start was
    caught far from all, is left for another. Raises ``RuntimeError`` where none of ``TRIES`` did.
    """
    posed = model.problem(printed(cohort, given), intervals=4, cut_end=CUT_END)
    last = int(cohort[0].max())
    chains: list[np.ndarray] = []
    size = np.array([0.0])
    for one in np.random.SeedSequence(seed).generate_state(TRIES):
        found = chain(posed, settings, int(one))
        if found is None:
            continue
        chains.append(_measured(found, last))
        size = effective(chains)
        free = size[_FREE]
        if len(chains) == most or not np.isfinite(free).any() or np.nanmin(free) >= ENOUGH:
            break
    if not chains:
        raise RuntimeError("no cohort found that meets the numbers of a cohort that exists")
    return np.concatenate(chains), size, len(chains)


def exercise(
    source: Callable[[np.random.Generator], Cohort], seed: int, settings: Settings, number: int
) -> dict[str, Any]:
    """One exercise as plain numbers: a row for each quantity, or why there is none."""
    rng = np.random.default_rng([seed, number])
    cohort = drawn(source, rng)
    tenths, event, cell = (column[None, :] for column in cohort)
    last = int(cohort[0].max())
    truth = measure(tenths, event, cell, last)[0]
    inner = int(rng.integers(2**31))
    begun = time.process_time()
    row: dict[str, Any] = {
        "number": number, "patients": tenths.size, "deaths": int(event.sum()), "last": last / 10,
        "failed": "", "chains": 0,
    }  # fmt: skip
    try:
        draws, size, row["chains"] = ensemble(cohort, inner, settings)
    except RuntimeError as error:
        row["failed"] = str(error)
        draws, size = np.full((1, len(QUANTITIES)), np.nan), np.full(len(QUANTITIES), np.nan)
    row["seconds"] = time.process_time() - begun
    loose = ensemble(cohort, inner, LOOSE, COUNTS, most=1)[0]
    posed = model.problem(printed(cohort), intervals=4, cut_end=CUT_END)
    made = restarts(posed, inner, MEMBERS)
    naive = np.full((1, len(QUANTITIES)), np.nan)
    if made:
        months, exits, cells = (np.array(part) for part in zip(*made, strict=True))
        naive = measure(months, exits, cells, last)
    row["restarts"] = len(made)
    row["all_seconds"] = time.process_time() - begun
    row["quantities"] = _rows(rng, truth, draws, size, loose, naive)
    return row


def _rows(
    rng: np.random.Generator, truth: np.ndarray, draws: np.ndarray, size: np.ndarray,
    loose: np.ndarray, naive: np.ndarray,
) -> list[dict[str, Any]]:  # fmt: skip
    """Rank, intervals and coverage of each quantity that the cohort has."""
    members = draws[np.linspace(0, draws.shape[0] - 1, MEMBERS).round().astype(int)]
    rows = []
    for q in np.flatnonzero(np.isfinite(truth)):
        value = truth[q]
        failed = bool(np.isnan(members[:, q]).any())
        below = int((members[:, q] < value - 1e-9).sum())
        ties = int((np.abs(members[:, q] - value) <= 1e-9).sum())
        low, high, in_it = _interval(draws[:, q], value)
        wide_low, wide_high, _ = _interval(loose[:, q], value)
        naive_low, naive_high, in_naive = _interval(naive[:, q], value)
        rows.append({
            "quantity": QUANTITIES[q],
            "truth": float(value),
            "rank": None if failed else below + int(rng.integers(0, ties + 1)),
            "lower": low, "upper": high, "covered": in_it,
            "ess": None if np.isnan(size[q]) else float(size[q]),
            "counts_lower": wide_low, "counts_upper": wide_high,
            "annealed": None if np.isnan(naive[0, q]) else float(naive[0, q]),
            "annealed_covered": bool(abs(naive[0, q] - value) <= QUOTED[q]),
            "restarts_lower": naive_low, "restarts_upper": naive_high,
            "restarts_covered": in_naive,
        })  # fmt: skip
    return rows


def _interval(values: np.ndarray, truth: float) -> tuple[float | None, float | None, bool]:
    """Central interval of values and whether it holds the truth; without values it does not."""
    if np.isnan(values).any():
        return None, None, False
    low, high = np.quantile(values, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high), bool(low - 1e-9 <= truth <= high + 1e-9)
