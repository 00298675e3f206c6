"""Data sets behind digitised curves by arm: made, compared with the figure, written.

Distances are between each member's Kaplan-Meier curve and the points read, in units of survival;
medians and hazard ratios are summarised over members, with the flatness that makes a median
unstable said.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from her2bayes.cohorts.curve import FINEST, AtRisk, Curve, clean_curve, reconstruct_with_error
from her2bayes.cohorts.diagnostics import Patients, kaplan_meier, survival_at
from her2bayes.evidence.patients.digitised import DigitisedArm
from her2bayes.files import publish


def median_time(patients: Patients) -> float:
    """First time at which survival is at most one half; infinite where it stays above."""
    steps, survival = kaplan_meier(*patients)
    below = survival <= 0.5 + 1e-12
    return float(steps[np.argmax(below)]) if below.any() else np.inf


def match(arm: DigitisedArm, members: Sequence[Patients]) -> pd.DataFrame:
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
        table = match(arm, made[name])
        tables.append(table.assign(reading_error=curves[name].sigma))
        if median_is_flat(made[name], curves[name].sigma):
            flat.append(name)
    ratios = hazard_ratios(made) if len(made) > 1 and members > 1 else pd.DataFrame()
    notes = tuple(dict.fromkeys(note for arm in arms.values() for note in arm.notes))
    return Ensemble(made, pd.concat(tables, ignore_index=True), ratios, tuple(flat), curves, notes)


def write(ensemble: Ensemble, folder: Path) -> list[Path]:
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
