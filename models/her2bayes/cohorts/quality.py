"""How well reconstructed patients match the figure they came from, and what the figure leaves open.

Distances are between each member's Kaplan-Meier curve and the points read, in units of survival;
medians and hazard ratios are summarised over the ensemble, with the flatness that makes a median
unstable said.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from her2bayes.evidence.patients.digitised import DigitisedArm

Patients = tuple[np.ndarray, np.ndarray]


def kaplan_meier(time: np.ndarray, event: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Steps of the Kaplan-Meier curve: distinct times and survival after each (from time 0)."""
    distinct, which = np.unique(time, return_inverse=True)
    deaths = np.bincount(which, weights=event)
    leaving = np.bincount(which)
    at_risk = time.size - np.concatenate([[0], np.cumsum(leaving)[:-1]])
    return np.append(0.0, distinct), np.append(1.0, np.cumprod(1 - deaths / at_risk))


def survival_at(patients: Patients, times: np.ndarray) -> np.ndarray:
    """Kaplan-Meier survival of one data set at ``times``."""
    steps, survival = kaplan_meier(*patients)
    return survival[np.searchsorted(steps, times, side="right") - 1]


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
