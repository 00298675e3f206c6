"""Patients behind printed survival and digitised curves: compared with the print, judged, written.

Nothing in the check of cohorts behind printed numbers is shared with the compiled chain: patients
are written out one row each and analysed with ``classical`` (greenwood); observed/expected
estimators follow from its log-rank test.

Data sets behind digitised curves: distances are between each member's Kaplan-Meier curve and the
points read, in units of survival; medians and hazard ratios are summarised over members, with the
flatness that makes a median unstable said.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from math import exp, sqrt
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

from her2bayes.cohorts.chain import statistics as kinds
from her2bayes.cohorts.chain.summary import CHANGED, PAIRED, CountFact, Statistic, Summary, Target
from her2bayes.cohorts.chain.tempering import Chain
from her2bayes.cohorts.chain.tempering import members as spread
from her2bayes.cohorts.curve import reconstruct_with_error
from her2bayes.cohorts.diagnostics import Patients, diagnose, kaplan_meier, survival_at
from her2bayes.evidence.patients.digitised import FINEST, AtRisk, Curve, DigitisedArm, clean_curve
from her2bayes.files import publish
from her2bayes.inference.convergence import CHAINS_AGREE, CHAINS_DISAGREE, LARGEST_RHAT, LEAST_ESS


def median_time(patients: Patients) -> float:
    """First time at which survival is at most one half; infinite where it stays above."""
    steps, survival = kaplan_meier(*patients)
    below = survival <= 0.5 + 1e-12
    return float(steps[np.argmax(below)]) if below.any() else np.inf


def match_curve(arm: DigitisedArm, members: Sequence[Patients]) -> pd.DataFrame:
    """One row a member: n, events, distance to the points read, mismatch at the rows at risk."""
    scale = 100.0 if arm.survival.max() > 1.5 else 1.0
    rows = []
    for number, patients in enumerate(members, 1):
        time, event = patients
        gap = np.abs(survival_at(patients, arm.time) - arm.survival / scale)
        # a vertical piece holds two values at one time: the nearer one is the curve's
        gap = pd.Series(gap).groupby(arm.time).min().to_numpy()
        at_risk = (time[None, :] >= arm.risk_time[:, None]).sum(axis=1)
        rows.append(
            {
                "arm": arm.name,
                "member": number,
                "patients": time.size,
                "events": int(event.sum()),
                "events_printed": arm.events,
                "rmse": float(np.sqrt(np.mean(gap**2))),
                "mean_difference": float(gap.mean()),
                "largest_difference": float(gap.max()),
                "at_risk_mismatch": int(np.abs(at_risk - arm.at_risk).max()),
                "censored_mismatch": _censored_mismatch(arm, time, event),
                "median": median_time(patients),
            }
        )
    return pd.DataFrame(rows)


def _censored_mismatch(arm: DigitisedArm, time: np.ndarray, event: np.ndarray) -> int | None:
    """Farthest miss of the patients censored so far; None where the table does not print them."""
    if arm.censored is None:
        return None
    censored = (time[event == 0][None, :] < arm.risk_time[:, None]).sum(axis=1)
    return int(np.abs(censored - arm.censored).max())


def median_is_flat(patients: Sequence[Patients], sigma: float) -> bool:
    """Say whether one half is crossed where the curve is flat, so that the median hangs on pixels.

    True where survival within one reading error or one patient of one half lasts for more than a
    fiftieth of follow-up in any member.
    """
    for time, event in patients:
        steps, survival = kaplan_meier(time, event)
        near = np.abs(survival - 0.5) <= max(sigma, 1.0 / time.size)
        width = np.diff(np.append(steps, steps[-1]))[near].sum()
        if width > 0.02 * steps[-1]:
            return True
    return False


def log_hazard_ratio(reference: Patients, other: Patients) -> tuple[float, float]:
    """Cox log hazard ratio of ``other`` against ``reference`` and its standard error."""
    from her2bayes.classical.hazard_regression import cox

    time = np.concatenate([reference[0], other[0]])
    frame = pd.DataFrame(
        {
            "arm": pd.Categorical(
                np.repeat(["reference", "other"], [reference[0].size, other[0].size]),
                categories=["reference", "other"],
            ),
            "entry": 0.0,
            "time": time,
            "event": np.concatenate([reference[1], other[1]]).astype(int),
            "patients": 1,
        }
    )
    row = cox(frame, {"arm": "reference"}).table.iloc[0]
    return float(row["log_hazard_ratio"]), float(row["std_error"])


RATIO_COLUMNS = (
    "hazard_ratio", "lower", "upper", "ensemble_lower", "ensemble_upper", "within", "between",
)  # fmt: skip


def hazard_ratios(ensemble: Mapping[str, Sequence[Patients]]) -> pd.DataFrame:
    """Hazard ratio of each later arm against the first, over members.

    ``within`` is the usual standard error, ``between`` the spread over members: what the figure
    does not tell about the patients. ``lower`` and ``upper`` join both (Rubin 1987).
    """
    names = list(ensemble)
    rows = []
    for name in names[1:]:
        pairs = zip(ensemble[names[0]], ensemble[name], strict=True)
        estimates, errors = np.array([log_hazard_ratio(a, b) for a, b in pairs]).T
        infinite = int((~np.isfinite(estimates)).sum())
        if infinite:  # an arm without events, say: neither a mean nor a variance
            missing = dict.fromkeys(RATIO_COLUMNS, np.nan)
            why = f"not available: infinite or not determined in {infinite} of {estimates.size}"
            rows.append({"arm": name, "reference": names[0], **missing, "method": f"{why} members"})
            continue
        within, between = float(np.mean(errors**2)), float(np.var(estimates, ddof=1))
        total = np.sqrt(within + (1 + 1 / estimates.size) * between)
        centre = estimates.mean()
        rows.append(
            {
                "arm": name,
                "reference": names[0],
                "hazard_ratio": np.exp(centre),
                "lower": np.exp(centre - 1.959964 * total),
                "upper": np.exp(centre + 1.959964 * total),
                "ensemble_lower": np.exp(np.quantile(estimates, 0.05)),
                "ensemble_upper": np.exp(np.quantile(estimates, 0.95)),
                "within": np.sqrt(within),
                "between": np.sqrt(between),
                "method": "Cox, Efron ties, mean over members, Rubin's variance",
            }
        )
    return pd.DataFrame(rows)


@dataclass(frozen=True)
class Ensemble:
    """Members by arm, how they match the figure, and hazard ratios against the first arm."""

    members: Mapping[str, Sequence[Patients]]
    match: pd.DataFrame
    hazard_ratios: pd.DataFrame
    flat_medians: tuple[str, ...]
    curves: Mapping[str, Curve] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def patients(self) -> pd.DataFrame:
        """All data sets in one table: member, arm, time (as read), event (0 or 1)."""
        parts = [
            pd.DataFrame({"member": i, "arm": arm, "time": time, "event": event.astype(np.int8)})
            for arm, members in self.members.items()
            for i, (time, event) in enumerate(members, 1)
        ]
        table = pd.concat(parts, ignore_index=True)
        table.attrs = {"her2bayes": "ensemble", "members": int(table["member"].max())}
        return table

    def summary(self) -> str:
        """What a reader must know first, one line an arm and a comparison."""
        lines = [*self.notes]
        for arm, rows in self.match.groupby("arm", sort=False):
            flat = "; the median is unstable: the curve is flat there" if self._is_flat(arm) else ""
            low, high = rows["events"].min(), rows["events"].max()
            counted = f"{low}" if low == high else f"{low} to {high}"
            lines.append(
                f"{arm}: {rows['patients'].iloc[0]} patients, {counted} events, median "
                f"{_span(rows['median'])}, RMSE of survival {rows['rmse'].mean():.4f}, "
                f"numbers at risk missed by {rows['at_risk_mismatch'].max()}{flat}"
            )
            lines += self._reading_error(str(arm))
        for row in self.hazard_ratios.itertuples():
            lines.append(
                f"hazard ratio {row.arm} vs {row.reference}: {row.hazard_ratio:.2f} "
                f"({row.lower:.2f}-{row.upper:.2f}); of its standard error {row.within:.3f}, "
                f"the reconstruction adds {row.between:.3f}"
            )
        return "\n".join(lines)

    def _reading_error(self, arm: str) -> list[str]:
        curve = self.curves.get(arm)
        if curve is None:
            return []
        error = "none" if curve.sigma <= FINEST else f"{curve.sigma:.2g} of survival"
        return [f"{arm}: reading error {error} (standard deviation), from {curve.error_from}"]

    def _is_flat(self, arm: object) -> bool:
        return arm in self.flat_medians


def _span(values: pd.Series) -> str:
    if np.isinf(values).any():
        return "not reached in some members" if np.isfinite(values).any() else "not reached"
    low, high = np.quantile(values, [0.05, 0.95])
    return f"{values.median():.1f} ({low:.1f}-{high:.1f} over members)"


def reconstruct_arms(arms: Mapping[str, DigitisedArm], members: int, seed: int) -> Ensemble:
    """Reconstruct every arm; arms draw from seeds of their own, so their order does not matter."""
    made, flat, tables, curves = {}, [], [], {}
    for name, arm in arms.items():
        own_seed = int(np.random.SeedSequence([seed, *name.encode()]).generate_state(1)[0])
        curves[name], made[name] = reconstruct_with_error(
            clean_curve(arm.time, arm.survival),
            AtRisk(arm.risk_time, arm.at_risk, arm.censored, arm.events),
            members=members,
            seed=own_seed,
        )
        table = match_curve(arm, made[name])
        tables.append(table.assign(reading_error=curves[name].sigma))
        if median_is_flat(made[name], curves[name].sigma):
            flat.append(name)
    ratios = hazard_ratios(made) if len(made) > 1 and members > 1 else pd.DataFrame()
    notes = tuple(dict.fromkeys(note for arm in arms.values() for note in arm.notes))
    return Ensemble(made, pd.concat(tables, ignore_index=True), ratios, tuple(flat), curves, notes)


def write_curves(ensemble: Ensemble, folder: Path) -> list[Path]:
    """Write patients.parquet, match.csv and hazard_ratios.csv; whole or not at all."""
    tables = {"patients.parquet": ensemble.patients(), "match.csv": ensemble.match}
    if len(ensemble.hazard_ratios):
        tables["hazard_ratios.csv"] = ensemble.hazard_ratios
    return write_tables(tables, folder)


def write_tables(tables: Mapping[str, pd.DataFrame], folder: Path) -> list[Path]:
    """Write tables by file name into a folder; raises ``BadInput`` where that is impossible."""
    publish(folder, {name: _bytes(table, name) for name, table in tables.items()})
    return [folder / name for name in tables]


def _bytes(table: pd.DataFrame, name: str) -> bytes:
    if name.endswith(".parquet"):
        return bytes(table.to_parquet(None, index=False))  # with table.attrs as metadata
    return table.to_csv(index=False).encode()


def patients(summary: Summary, chain: Chain, draw: int) -> pd.DataFrame:
    """One cohort, a row a patient: the factors, ``time`` (months) and ``event`` (0 or 1)."""
    combos = pd.DataFrame(summary.cells.combinations)
    rows = combos.iloc[chain.cell[draw]].reset_index(drop=True)
    if summary.cells.pair:
        primary, recurrence = (rows[name] for name in summary.cells.pair)
        changed = {value: name for name, value in CHANGED.items()}
        rows[PAIRED] = (primary != recurrence).map(changed)
    return rows.assign(time=np.round(chain.months[draw], 1), event=chain.event[draw])


def match_numbers(summary: Summary, cohorts: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Every printed number with the value each cohort gives and whether it prints alike.

    Columns: claim_id, statistic, method, printed, low, high, member, achieved, met.
    """
    everyone = _members(cohorts)
    values = [_values(statistic, everyone, len(cohorts)) for statistic in summary.statistics]
    rows = []
    for member, cohort in enumerate(cohorts):
        cell = _cell(summary, cohort)
        rows += [_count_row(cell, cohort, fact, member + 1) for fact in summary.facts]
        rows += [_target_row(statistic, target, found[member], member + 1)
                 for statistic, found in zip(summary.statistics, values, strict=True)
                 for target in statistic.targets]  # fmt: skip
    return pd.DataFrame(rows)


def _members(cohorts: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Patients of all cohorts as ``classical`` counts them, with the ``member`` they are of."""
    sizes = [len(cohort) for cohort in cohorts]
    everyone = pd.concat(cohorts, ignore_index=True).assign(entry=0.0, patients=1)
    return everyone.assign(member=np.repeat(np.arange(len(cohorts)), sizes))


def predict_numbers(summary: Summary, cohorts: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Printed numbers that are no constraint, beside what the cohorts say of them.

    Columns: claim_id, statistic, method, printed, ``median``, ``lower`` and ``upper`` (95 % of the
    cohorts), ``agree`` (share of cohorts that print alike, or are as significant as said) and
    ``p_value``, two-sided: how rarely a cohort is as far from the middle as the printed number; of
    words on significance the share of cohorts that agree.
    A number of a model that cannot be fitted in a cohort is missing there.
    """
    everyone, rows = _members(cohorts), []
    fits: dict[str, list[dict[int, float]]] = {}
    for statistic in summary.held_out:
        name = str(replace(statistic, estimand="", targets=()))  # several rows are of one model
        if name not in fits:
            fits[name] = _values(statistic, everyone, len(cohorts))
        rows += [_target_row(statistic, target, values, member)
                 for member, values in enumerate(fits[name], 1)
                 for target in statistic.targets]  # fmt: skip
    table = pd.DataFrame(rows)
    if table.empty:
        return pd.DataFrame(columns=[*_PREDICTED, "median", "lower", "upper", "agree", "p_value"])
    found = []
    for _, part in table.groupby(list(_PREDICTED), sort=False):
        achieved = part["achieved"].dropna()
        low, high = part["low"].iloc[0], part["high"].iloc[0]
        middle = achieved.quantile([0.5, 0.025, 0.975]).tolist()
        tails = (achieved <= high).mean(), (achieved >= low).mean()
        sides = 1 if max(tails) == 1 and not low > 0 else 2  # "significant" has one side
        found.append({
            **{name: part[name].iloc[0] for name in _PREDICTED},
            **dict(zip(("median", "lower", "upper"), middle, strict=True)),
            "agree": float(part["met"].mean()), "p_value": float(min(sides * min(tails), 1.0)),
        })  # fmt: skip
    return pd.DataFrame(found)


_PREDICTED = ("claim_id", "statistic", "method", "printed")


def _cell(summary: Summary, cohort: pd.DataFrame) -> list[int]:
    """Cell of each patient."""
    names = list(summary.cells.factors)
    index = {tuple(c[n] for n in names): k for k, c in enumerate(summary.cells.combinations)}
    return [index[row] for row in zip(*(cohort[n] for n in names), strict=True)]


@dataclass(frozen=True)
class _Number:
    """One printed number: whose it is, its method, its words, the values that print alike."""

    claim_id: str
    statistic: str
    method: str
    printed: str
    low: float
    high: float

    def row(self, member: int, achieved: float) -> dict[str, object]:
        """What one cohort gives, and whether it prints alike."""
        slack = 1e-7 * max(abs(self.low), abs(self.high), 1e-3)
        met = bool(self.low - slack <= achieved <= self.high + slack)
        return {**asdict(self), "member": member, "achieved": achieved, "met": met}


def _count_row(
    cell: list[int], cohort: pd.DataFrame, fact: CountFact, member: int
) -> dict[str, object]:
    counted = fact.cells[cell] * (cohort["event"].to_numpy() if fact.event else 1)
    printed = str(fact.low) if fact.low == fact.high else f"{fact.low} to {fact.high}"
    number = _Number(fact.claim_id, fact.what, "count", printed, fact.low, fact.high)
    return number.row(member, int(counted.sum()))


def _target_row(
    statistic: Statistic, target: Target, values: dict[int, float], member: int
) -> dict[str, object]:
    from scipy.stats import chi2

    low, high = target.low, target.high
    if target.scale == "exp":
        low, high = exp(low), exp(high)
    elif target.scale[1:].isdigit():
        degrees = int(target.scale[1:])
        low, high = (float(chi2.sf(x, degrees)) for x in (high, low))
    elif target.scale == "months":
        low, high = low / 10, high / 10
    elif target.scale == "share":
        low, high = 100 * low, 100 * high
    what = f"{statistic.estimand} {target.what}"
    number = _Number(target.claim_id, what, statistic.method, target.text, low, high)
    return number.row(member, values[target.position])


def _values(statistic: Statistic, everyone: pd.DataFrame, members: int) -> list[dict[int, float]]:
    """Numbers of one statistic in each member, on the printed scale, by position."""
    rows = everyone
    for factor, level in statistic.given.items():
        rows = rows[rows[factor] == level]
    if statistic.factor:
        rows = rows[rows[statistic.factor].isin(statistic.levels)]
    if statistic.kind == kinds.SURVIVAL:
        return _survival(statistic, rows, members)
    if statistic.kind in (kinds.MEDIAN, kinds.FOLLOW_UP_REVERSE):
        middle = _medians(rows, members, reverse=statistic.kind == kinds.FOLLOW_UP_REVERSE)
        if statistic.kind == kinds.MEDIAN:
            return [{0: float(value)} for value in middle]
        ends = rows.groupby("member")["time"].agg(["min", "max"]).reindex(range(members))
        return [dict(enumerate(map(float, row)))
                for row in np.column_stack([middle, ends.to_numpy(float)])]  # fmt: skip
    of_member = dict(iter(rows.groupby("member")))
    nobody = rows.iloc[:0]
    return [_of_one(statistic, of_member.get(member, nobody)) for member in range(members)]


def _of_one(statistic: Statistic, rows: pd.DataFrame) -> dict[int, float]:
    """Numbers of one statistic in the patients of one member whom it is of."""
    if statistic.kind == kinds.LOG_RANK:
        return _log_rank(statistic, rows)
    if statistic.kind == kinds.COX:
        return _cox(statistic, rows)
    if statistic.kind in (kinds.PETO, kinds.EXPECTED, kinds.OBSERVED):
        return _observed_expected(statistic, rows)
    if statistic.kind >= kinds.FIRST_AT_TIMES:
        return _at_times(statistic, rows)
    seen = rows[rows["event"] == 0] if statistic.kind == kinds.FOLLOW_UP_SURVIVORS else rows
    time = seen["time"]
    return {0: float(time.median()), 1: float(time.min()), 2: float(time.max())}


def _log_rank(statistic: Statistic, rows: pd.DataFrame) -> dict[int, float]:
    from her2bayes.classical.survival import logrank

    found = logrank(rows, [statistic.factor])
    second = statistic.levels[1]
    excess = float(found["observed"][second] - found["expected"][second])
    return {0: found["p_value"], 1: excess}


def _observed_expected(statistic: Statistic, rows: pd.DataFrame) -> dict[int, float]:
    from her2bayes.classical.survival import logrank

    found = logrank(rows, [statistic.factor])
    observed = np.array([float(found["observed"][level]) for level in statistic.levels])
    expected = np.array([float(found["expected"][level]) for level in statistic.levels])
    excess = observed[1] - expected[1]
    if statistic.kind == kinds.PETO:
        variance = excess**2 / found["statistic"]
        ratio, error = excess / variance, 1 / sqrt(variance)
    else:
        ratio = np.log(observed[1] / expected[1]) - np.log(observed[0] / expected[0])
        base = expected if statistic.kind == kinds.EXPECTED else observed
        error = float(np.sqrt((1 / base).sum()))
    return {**_limits(ratio, error), 3: found["p_value"]}


def _limits(ratio: float, error: float) -> dict[int, float]:
    z = 1.959963984540054
    return {0: exp(ratio), 1: exp(ratio - z * error), 2: exp(ratio + z * error)}


def _cox(statistic: Statistic, rows: pd.DataFrame) -> dict[int, float]:
    from her2bayes.classical.hazard_regression import cox

    rows = rows.assign(
        **{statistic.factor: pd.Categorical(rows[statistic.factor], categories=statistic.levels)}
    )
    others = {name: sorted(set(rows[name])) for name in statistic.adjusted}
    rows = rows.assign(
        **{name: pd.Categorical(rows[name], categories=levels) for name, levels in others.items()}
    )
    references = {name: levels[0] for name, levels in others.items() if len(levels) > 1}
    table = cox(rows, {statistic.factor: statistic.levels[0], **references}).table
    table = table[table["factor"] == statistic.factor].set_index("level")
    values = {}
    for k, level in enumerate(statistic.levels[1:]):
        numbers = table.loc[level, ["hazard_ratio", "lower", "upper", "p_value"]]
        values.update({4 * k + at: float(v) for at, v in enumerate(numbers.to_numpy(float))})
    return values


def _survival(statistic: Statistic, rows: pd.DataFrame, members: int) -> list[dict[int, float]]:
    """Survival in per cent at the times of the targets, by position, in each member."""
    from her2bayes.classical.survival import survival_at

    times = sorted({float(target.at or 0.0) for target in statistic.targets})
    table = survival_at(rows, times, ["member"]).assign(member=lambda t: t["group"].astype(int))
    wide = 100 * table.pivot_table("estimate", "member", "time")
    wide = wide.reindex(range(members))
    return [{target.position: float(row[float(target.at or 0.0)]) for target in statistic.targets}
            for row in wide.to_dict("records")]  # fmt: skip


def _at_times(statistic: Statistic, rows: pd.DataFrame) -> dict[int, float]:
    """Patients at risk, or censored so far, at the times of the targets, by position."""
    times = {target.position: float(target.at or 0.0) for target in statistic.targets}
    time, censored = rows["time"].to_numpy(float), rows["event"].to_numpy() == 0
    if statistic.kind == kinds.AT_RISK:
        return {place: float((time > at + 1e-7).sum()) for place, at in times.items()}
    return {place: float((censored & (time <= at + 1e-7)).sum()) for place, at in times.items()}


def _medians(rows: pd.DataFrame, members: int, reverse: bool) -> np.ndarray:
    """Median by Kaplan-Meier, of survival or with ``reverse`` of follow-up, in each member."""
    from her2bayes.classical.survival import quantile

    table = quantile(rows, ["member"], reverse=reverse)
    found = pd.Series(table["estimate"].to_numpy(float), table["group"].astype(int))
    return found.reindex(range(members)).to_numpy(float)


@dataclass(frozen=True)
class SummaryEnsemble:
    """Cohorts, how each matches the print, and whether the chains agree."""

    summary: Summary
    chains: Sequence[Chain]
    cohorts: Sequence[pd.DataFrame]
    diagnostics: pd.DataFrame

    @cached_property
    def match(self) -> pd.DataFrame:
        """Every printed number beside what each cohort gives (``match_numbers``)."""
        return match_numbers(self.summary, self.cohorts)

    @cached_property
    def predicted(self) -> pd.DataFrame:
        """Printed numbers that were not used, beside what cohorts say (``predict_numbers``)."""
        return predict_numbers(self.summary, self.cohorts)

    @property
    def agrees(self) -> bool:
        """Tell whether every monitored quantity has R-hat <= 1.05 and ESS >= 50."""
        table = self.diagnostics.dropna(subset=["rhat"])
        return bool(
            len(table)
            and (table["rhat"] <= LARGEST_RHAT).all()
            and (table["ess"] >= LEAST_ESS).all()
        )

    @property
    def verdict(self) -> str:
        """The same in words, as it travels with every number."""
        if self.agrees:
            return CHAINS_AGREE
        table = self.diagnostics.dropna(subset=["rhat"])
        if not len(table):
            return f"{CHAINS_DISAGREE}: one chain"
        worst = f"R-hat {table['rhat'].max():.2f}; ESS {table['ess'].min():.0f}"
        return f"{CHAINS_DISAGREE}: {worst}"

    def patients(self) -> pd.DataFrame:
        """All cohorts in one table, ``member`` counting from 1."""
        parts = [frame.assign(member=k) for k, frame in enumerate(self.cohorts, 1)]
        table = pd.concat(parts, ignore_index=True)
        return table[["member", *(c for c in table.columns if c != "member")]]

    def text(self) -> str:
        """What a reader must know first."""
        summary, table = self.summary, self.match
        met = table.groupby("member")["met"].all()
        seconds = sum(c.seconds for c in self.chains)
        numbers = len(table) // len(self.cohorts)
        lines = [
            f"{summary.study} {summary.endpoint}: {len(self.cohorts)} cohorts of "
            f"{summary.patients} patients, {int(met.sum())} of them meet all "
            f"{numbers} printed numbers ({seconds:.0f} s of processor time)",
            "readings: " + ", ".join(f"{k} = {v}" for k, v in summary.readings.items() if v),
        ]
        lines += [f"left out: {claim}, {why}" for claim, why in summary.left_out]
        worst = self.diagnostics.dropna(subset=["rhat"])
        if len(worst):
            verdict = "agree" if self.agrees else "DISAGREE (give more --sweeps)"
            lines.append(
                f"chains {verdict}: max R-hat {worst['rhat'].max():.2f}, "
                f"min ESS {worst['ess'].min():.0f}"
            )
        for row in self.diagnostics.head(4).itertuples():
            lines.append(f"{row.quantity}: {row.mean:.3g} (sd over cohorts {row.sd:.2g})")
        return "\n".join(lines)


def ensemble_of(summary: Summary, chains: Sequence[Chain], number: int) -> SummaryEnsemble:
    """An ensemble of members spread over chains, matched and judged."""
    cohorts = [patients(summary, chains[c], d) for c, d in spread(chains, number)]
    return SummaryEnsemble(summary, chains, cohorts, diagnose(summary, chains))


def verdict_of(draws: xr.DataArray) -> str:
    """Whether chains (chain, draw) agree about one quantity, by the rule for ensembles."""
    from arviz_stats.base import array_stats

    values = draws.transpose("chain", "draw").to_numpy()
    if len(values) < 2 or not values.std() > 0:
        return CHAINS_AGREE if not values.std() > 0 else f"{CHAINS_DISAGREE}: one chain"
    rhat, ess = float(array_stats.rhat(values)), float(array_stats.ess(values))
    reasons = [f"R-hat {rhat:.2f}"] if not rhat <= LARGEST_RHAT else []
    reasons += [f"ESS {ess:.0f}"] if not ess >= LEAST_ESS else []
    return f"{CHAINS_DISAGREE}: {'; '.join(reasons)}" if reasons else CHAINS_AGREE


def write(ensemble: SummaryEnsemble, folder: Path) -> list[Path]:
    """Write patients.parquet, match.csv, diagnostics.csv; each appears whole or not at all."""
    runs = pd.DataFrame(
        [
            {
                "chain": k,
                "cohorts": chain.months.shape[0],
                "round_trips": chain.trips,
                "largest_refusal": float(np.max(chain.refusals)),
                "seconds": chain.seconds,
            }
            for k, chain in enumerate(ensemble.chains, 1)
        ]
    )
    stem = ensemble.summary.endpoint
    return write_tables(
        {
            f"{stem}_patients.parquet": ensemble.patients(),
            f"{stem}_match.csv": ensemble.match,
            f"{stem}_diagnostics.csv": ensemble.diagnostics,
            f"{stem}_chains.csv": runs,
        },
        folder,
    )
