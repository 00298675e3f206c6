"""Whom to re-biopsy: what transitions say of a patient's next biopsy, in the units of a decision.

    eligible[i]    = sum over j > i of transition[i, j]          classes in order: newly eligible
    lost[i]        = sum over j < i of transition[i, j]          eligibility lost
    needed[i]      = 1 / eligible[i]                             number needed to re-biopsy
    net_benefit(t) = eligible - (1 - eligible) t / (1 - t)       re-biopsy all of the class, at a
                                                                 threshold probability t; none is 0

(Vickers and Elkin 2006, Medical Decision Making 26:565.) A net benefit above 0 is the same as an
eligible share above the threshold.

Selection: patients were not re-biopsied at random. ``tilt`` is how many times the odds of being
re-biopsied were higher for patients who changed than for those who did not; the share among all is

    eligible / (eligible + tilt (1 - eligible))

and the tipping value is the tilt at which re-biopsy of all stops being worth it in the median.

Missing, not at random: a share m of patients has no second reading. ``missing_tilt`` is how many
times the odds of a change to a higher class are those of patients who have one:

    all = (1 - m) seen + m missing,     odds(missing) = missing_tilt * odds(seen)

Its tipping value is again where re-biopsy stops being worth it in the median; there is none (NaN)
where not even a change in all, or in none, of the missing would do.

HER2-ultralow splits zero, and tables of zero, low and positive do not say how. ``ultralow`` is what
share of the recurrences read as zero would be ultralow and eligible:

    eligible[zero] + ultralow transition[zero, zero],     lost[low] - ultralow transition[low, zero]

for a primary without any staining, which is taken to change as all zero do.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Protocol

import numpy as np
import pandas as pd
import xarray as xr

from her2bayes.errors import Fault, raise_if
from her2bayes.estimand import Estimand
from her2bayes.sensitivity.summary import tilted, tipping_missing, with_missing

THRESHOLDS = (0.05, 0.1, 0.2, 0.3)
"""Probabilities of being newly eligible at which a re-biopsy is worth its burden."""

TILTS = (1.0, 1.5, 2.0)
"""Odds of being re-biopsied, changed against unchanged; 1: at random."""

ZERO = "zero"
"""The class that HER2-ultralow splits."""

MISSING_TILTS = (0.5, 1.0, 2.0)
"""Odds of a change among the missing, as a multiple of the others'; 1: missing at random."""


class Answers(Protocol):
    """A fit that answers transitions."""

    def drawn(self, asked: list[Estimand], group: str = ...) -> Mapping[Estimand, xr.DataArray]:
        """Draws of estimands."""


def decisions(
    fit: Answers,
    classes: Sequence[str],
    where: Mapping[str, str] | None = None,
    *,
    thresholds: Sequence[float] = THRESHOLDS,
    tilts: Sequence[float] = TILTS,
    missing: float = 0.0,
    missing_tilts: Sequence[float] = MISSING_TILTS,
    ultralow: Sequence[float] = (0.0,),
) -> pd.DataFrame:
    """One row a primary class, tilts and threshold: per 100, number needed, net benefit, its P.

    ``where`` are the conditions (``{"study": "new"}``, ``{"hr_status": "positive"}``). Intervals
    are 95 % equal-tailed; ``per_100`` counts newly eligible patients of 100 re-biopsied,
    ``lost_per_100`` those whose class falls; ``net_benefit`` is in true positives of 100 patients.
    With ``missing``, the share of patients without a second reading, there is a row for each of
    ``missing_tilts``, and ``tipping_missing_tilt``; with ``ultralow`` one for each of these shares.
    Raises ``BadInput`` for thresholds and shares that are no probabilities, tilts that are not
    above 0, and ultralow where there is no class zero.
    """
    _check(thresholds, tilts, missing, missing_tilts, ultralow, classes)
    others = missing_tilts if missing else (1.0,)
    given = tuple((where or {}).items())
    rows = []
    for place, start in enumerate(classes):
        asked = [Estimand("transition", f"{start} -> {end}", given) for end in classes]
        found = fit.drawn(asked)
        row = [found[one].to_numpy().ravel() for one in asked]
        lost = sum(row[:place], np.zeros_like(row[0]))
        higher = sum(row[place + 1 :], np.zeros_like(row[0]))
        for split, tilt, other in product(ultralow, tilts, others):
            seen = higher + split * row[0] * (place == 0)
            fallen = lost - split * row[0] * (place == 1)
            selected = tilted(seen, 1 / tilt)
            gained = with_missing(selected, missing, other)
            low, mid, high = 100 * np.quantile(gained, [0.025, 0.5, 0.975])
            base = {"primary": start, "tilt": tilt}
            base |= {"missing": missing, "missing_tilt": other} if missing else {}
            base |= {"ultralow": split} if any(ultralow) else {}
            base |= {"per_100": mid, "per_100_lower": low, "per_100_upper": high,
                     "lost_per_100": 100 * float(np.median(fallen))}  # fmt: skip
            if place + 1 == len(classes):
                rows.append({**base, "needed": np.nan})
                continue
            for threshold in thresholds:
                benefit = 100 * (gained - (1 - gained) * threshold / (1 - threshold))
                middle = float(np.median(seen))
                odds = middle / (1 - middle) * (1 - threshold) / threshold
                tips = {"tipping_tilt": odds}
                if missing:
                    at = tipping_missing(float(np.median(selected)), missing, threshold)
                    tips = {"tipping_missing_tilt": at}
                rows.append({
                    **base, "needed": 100 / mid, "needed_lower": 100 / high,
                    "needed_upper": 100 / low, "threshold": threshold,
                    "net_benefit": float(np.median(benefit)),
                    "p_worth_it": float((gained > threshold).mean()), **tips,
                })  # fmt: skip
    return pd.DataFrame(rows)


def _check(
    thresholds: Sequence[float], tilts: Sequence[float], missing: float,
    missing_tilts: Sequence[float], ultralow: Sequence[float], classes: Sequence[str],
) -> None:  # fmt: skip
    faults = [Fault("not a probability", column="thresholds", value=t, allowed="between 0 and 1")
              for t in thresholds if not 0 < t < 1]  # fmt: skip
    named = (("tilts", tilts), ("missing_tilts", missing_tilts))
    faults += [Fault("not above 0", column=n, value=t) for n, some in named for t in some if t <= 0]
    if not 0 <= missing < 1:
        allowed, remedy = "0 or more, below 1", "29 of 247 are 29 / 247"
        faults.append(Fault("not a share of patients", None, None, "missing", missing, allowed,
                            remedy))  # fmt: skip
    faults += [Fault("not a share of those read as zero", column="ultralow", value=u,
                     allowed="0 to 1") for u in ultralow if not 0 <= u <= 1]  # fmt: skip
    if any(ultralow) and classes[0] != ZERO:
        problem = "no class that ultralow splits"
        faults.append(Fault(problem, column="ultralow", value=list(classes), allowed="zero, ..."))
    raise_if(faults)


def next_patient(
    fit: Answers, classes: Sequence[str], primary: str, where: Mapping[str, str] | None = None
) -> pd.DataFrame:
    """Class at recurrence of one new patient with this primary: probability, 95 % interval of it.

    The probability of a patient is the mean of the draws; its interval says how well it is known.
    """
    given = tuple((where or {}).items())
    asked = [Estimand("transition", f"{primary} -> {end}", given) for end in classes]
    found = fit.drawn(asked)
    rows = []
    for end, one in zip(classes, asked, strict=True):
        values = found[one].to_numpy().ravel()
        low, high = np.quantile(values, [0.025, 0.975])
        rows.append({"her2": end, "probability": float(values.mean()), "lower": low, "upper": high})
    return pd.DataFrame(rows)
