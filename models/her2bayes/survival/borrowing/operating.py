"""What each choice of borrowing does over repeated trials: simulated, with one constant hazard.

A trial has the own number of patients, each followed until the event or for the own median
follow-up; its true hazard is ``ratio`` times the rate seen elsewhere, so that ratios other than 1
are conflict between the prior and the data. The external patients are those given. With one
hazard every posterior is computed by quadrature (``bayes.hazard_borrowing``), none is sampled or
approximated; factors and a hazard that changes with time are left out of these trials.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import stats

from her2bayes.survival.borrowing.exact import Choices, Hazard, places

if TYPE_CHECKING:
    import pandas as pd

RATIOS = (0.5, 0.67, 0.8, 1.0, 1.25, 1.5, 2.0)
AT_ONCE = 500
CERTAINTY = 0.975
MEASURES = ("claims", "bias", "square", "covered", "width")


@dataclass(frozen=True)
class Design:
    """Trials of ``patients`` followed for ``months``; ``events`` in ``person_months`` elsewhere.

    ``mu`` and ``sigma`` are those of the normal prior of the log hazard.
    """

    patients: int
    months: float
    events: float
    person_months: float
    mu: float
    sigma: float
    robust_weight: float | None = None
    discounts: tuple[float, ...] = (0.25, 0.5)


def choices(design: Design) -> dict[str, Hazard]:
    """Every choice of borrowing before the trial, by its label."""
    prior = stats.norm(design.mu, design.sigma)
    x = places(prior, design.events, design.person_months)
    every = Choices(prior, design.events, design.person_months, x)
    found = {"none": every.none()}
    if design.robust_weight is not None:
        label = f"robust, weight {design.robust_weight:g}"
        found[label] = every.robust(design.robust_weight)
    found |= {
        "commensurate": every.commensurate(),
        "normalised power": every.normalised_power(),
        **{f"power, weight {a:g}": every.power(a) for a in design.discounts},
        "full (pooled)": every.full(),
    }
    return found


def simulate(
    design: Design, ratio: float, trials: int, seed: Sequence[int]
) -> dict[str, np.ndarray]:
    """Sums of ``MEASURES`` over trials, by choice; what a worker does."""
    rng = np.random.default_rng(list(seed))
    truth = np.log(ratio * design.events / design.person_months)
    time = rng.exponential(np.exp(-truth), (trials, design.patients))
    events = (time <= design.months).sum(axis=1)
    months = np.minimum(time, design.months).sum(axis=1)
    found = {}
    for label, prior in choices(design).items():
        mass = prior.updated(events, months)
        cumulated = np.cumsum(mass, axis=1)
        low, high = (prior.x[(cumulated < p).sum(axis=1)] for p in (0.025, 0.975))
        error = mass @ prior.x - truth
        below = (mass * (prior.x < truth)).sum(axis=1)
        measures = (
            below > CERTAINTY, error, error**2, (low <= truth) & (truth <= high), high - low,
        )  # fmt: skip
        found[label] = np.array([np.sum(measure) for measure in measures], float)
    return found


def operating_characteristics(
    design: Design, trials: int, client: Any, seed: int, say: Callable[[str], None] = lambda _: None
) -> pd.DataFrame:
    """Run ``trials`` for each true ratio on the workers of ``client``.

    Columns choice, ratio (true hazard over the external rate), trials, type_1_error (share of
    trials that claim, with 97.5 % certainty, a hazard below the true one), its standard error,
    bias and rmse of the log hazard, coverage and width of the 95 % interval.
    """
    import pandas as pd

    jobs = [
        (ratio, min(AT_ONCE, trials - start), (seed, place, start))
        for place, ratio in enumerate(RATIOS)
        for start in range(0, trials, AT_ONCE)
    ]
    futures = [client.submit(simulate, design, *job, pure=False) for job in jobs]
    say(f"{len(jobs)} batches of simulated trials")
    totals: dict[tuple[str, float], np.ndarray] = {}
    for (ratio, _, _), sums in zip(jobs, client.gather(futures), strict=True):
        for label, values in sums.items():
            totals[label, ratio] = totals.get((label, ratio), np.zeros(len(MEASURES))) + values
    rows = []
    for (label, ratio), values in totals.items():
        claims, bias, square, covered, width = values / trials
        rows.append(
            {
                "choice": label,
                "ratio": ratio,
                "trials": trials,
                "type_1_error": claims,
                "standard_error": float(np.sqrt(claims * (1 - claims) / trials)),
                "bias": bias,
                "rmse": float(np.sqrt(square)),
                "coverage": covered,
                "width": width,
            }
        )
    order = list(choices(design))
    frame = pd.DataFrame(rows)
    frame["choice"] = pd.Categorical(frame["choice"], order, ordered=True)
    return frame.sort_values(["choice", "ratio"], ignore_index=True).astype({"choice": str})
