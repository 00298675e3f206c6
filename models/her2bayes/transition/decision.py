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
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np
import pandas as pd
import xarray as xr

from her2bayes.errors import Fault, raise_if
from her2bayes.estimand import Estimand

THRESHOLDS = (0.05, 0.1, 0.2, 0.3)
"""Probabilities of being newly eligible at which a re-biopsy is worth its burden."""

TILTS = (1.0, 1.5, 2.0)
"""Odds of being re-biopsied, changed against unchanged; 1: at random."""


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
) -> pd.DataFrame:
    """One row a primary class, tilt and threshold: per 100, number needed, net benefit, its P.

    ``where`` are the conditions (``{"study": "new"}``, ``{"hr_status": "positive"}``). Intervals
    are 95 % equal-tailed; ``per_100`` counts newly eligible patients of 100 re-biopsied,
    ``lost_per_100`` those whose class falls; ``net_benefit`` is in true positives of 100 patients.
    Raises ``BadInput`` for thresholds that are no probabilities and tilts that are not above 0.
    """
    raise_if(
        [Fault("not a probability", column="thresholds", value=t, allowed="between 0 and 1")
         for t in thresholds if not 0 < t < 1]
        + [Fault("not above 0", column="tilts", value=t) for t in tilts if not t > 0]
    )  # fmt: skip
    given = tuple((where or {}).items())
    rows = []
    for place, start in enumerate(classes):
        asked = [Estimand("transition", f"{start} -> {end}", given) for end in classes]
        found = fit.drawn(asked)
        row = [found[one].to_numpy().ravel() for one in asked]
        lost = sum(row[:place], np.zeros_like(row[0]))
        seen = sum(row[place + 1 :], np.zeros_like(row[0]))
        for tilt in tilts:
            gained = seen / (seen + tilt * (1 - seen))
            low, mid, high = 100 * np.quantile(gained, [0.025, 0.5, 0.975])
            base = {"primary": start, "tilt": tilt, "per_100": mid, "per_100_lower": low,
                    "per_100_upper": high,
                    "lost_per_100": 100 * float(np.median(lost))}  # fmt: skip
            if place + 1 == len(classes):
                rows.append({**base, "needed": np.nan})
                continue
            for threshold in thresholds:
                benefit = 100 * (gained - (1 - gained) * threshold / (1 - threshold))
                middle = float(np.median(seen))
                odds = middle / (1 - middle) * (1 - threshold) / threshold
                rows.append({
                    **base, "needed": 100 / mid, "needed_lower": 100 / high,
                    "needed_upper": 100 / low, "threshold": threshold,
                    "net_benefit": float(np.median(benefit)),
                    "p_worth_it": float((gained > threshold).mean()), "tipping_tilt": odds,
                })  # fmt: skip
    return pd.DataFrame(rows)


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
