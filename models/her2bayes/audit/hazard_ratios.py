"""Hazard ratio, confidence interval and P together: which estimators they are compatible with.

    Wald (Cox, Peto):    lower, upper = exp(log HR -+ 1.96 SE),  P from z = log HR / SE
    Cox:                 SE >= sqrt(1/O1 + 1/O2), equality where the share at risk never changes
    Peto:                log HR = (O1 - E1) / V, SE = 1 / sqrt(V), V <= E1 E2 / (O1 + O2)
    observed/expected:   HR = (O1/E1) / (O2/E2), SE = sqrt(1/E1 + 1/E2) or sqrt(1/O1 + 1/O2),
                         P of the log-rank test, chi2 = (O1 - E1)^2 / V; always E1 + E2 = O1 + O2

The interval is taken as 95 % and symmetric on the log scale under every estimator. Collett 2015,
ch. 2-3; Peto 1977; Berry, Kitchin & Mock 1991 (observed/expected).
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from math import erfc, exp, inf, log, sqrt

import numpy as np

from her2bayes.audit import rounding
from her2bayes.audit.rounding import Interval

Z = 1.959963984540054

# Over 7,000 simulated comparisons of two groups (24 to 400 patients, hazard ratios 0.5 to 2.5, half
# of them heavily tied) V / (E1 E2 / O) lay between 0.70 and 1 in 99 %, the z of the log-rank test
# between 1.00 and 1.25 times that of Cox's Wald test in 98 %, and Cox's SE between 1 and 1.45 times
# sqrt(1/O1 + 1/O2) in all but the smallest.
SMALLEST_VARIANCE = 0.70
LOG_RANK_OVER_WALD = Interval(0.98, 1.25)
LARGEST_COX_SE = 1.5
SAME_CURVES = Interval(0.8, 1.5)
SLACK_Z = 0.1

# Events of a group are tried one by one up to this many, then evenly spread
FINEST_GRID = 400

WALD = "Cox/Wald"
PETO = "Peto (O - E)/V"
LOG_RANK_P = "Cox with the P of a log-rank test"
EXPECTED = "observed/expected, SE from 1/E"
OBSERVED = "observed/expected, SE from 1/O"
ESTIMATORS = (WALD, PETO, LOG_RANK_P, EXPECTED, OBSERVED)


@dataclass(frozen=True)
class Triplet:
    """What is printed; ``patients`` and ``events`` are those of the two groups where known."""

    ratio: Decimal
    lower: Decimal
    upper: Decimal
    p: Decimal | None = None
    p_relation: str = "="
    patients: tuple[int, int] | None = None
    events: tuple[int | None, int | None] = (None, None)
    total_events: int | None = None

    @property
    def cells(self) -> tuple[Interval, Interval, Interval]:
        """Rounding cells of hazard ratio, lower and upper bound, kept positive."""
        found = [rounding.cell(x) for x in (self.ratio, self.lower, self.upper)]
        first, second, third = (Interval(max(c.lower, 1e-9), max(c.upper, 1e-9)) for c in found)
        return first, second, third

    @property
    def p_cell(self) -> Interval:
        """Rounding cell of the P value; everything where none is printed."""
        return Interval(0, 1) if self.p is None else rounding.p_cell(self.p, self.p_relation)


@dataclass(frozen=True)
class Fit:
    """An estimator the triplet is compatible with, and an example of the counts it would need."""

    estimator: str
    example: str = ""


def centre(triplet: Triplet) -> Interval:
    """Hazard ratio in the middle of the printed bounds on the log scale."""
    _, low, high = triplet.cells
    return Interval(sqrt(low.lower * high.lower), sqrt(low.upper * high.upper))


def is_symmetric(triplet: Triplet) -> bool:
    """Tell whether the bounds lie symmetric around the hazard ratio on the log scale."""
    return centre(triplet).meets(triplet.cells[0])


def standard_error(triplet: Triplet) -> Interval:
    """Standard error of the log hazard ratio that the width of the interval implies."""
    _, low, high = triplet.cells
    return Interval(
        max(1e-9, log(high.lower / low.upper) / (2 * Z)), log(high.upper / low.lower) / (2 * Z)
    )


def wald_p(triplet: Triplet) -> Interval:
    """P that hazard ratio and interval imply, over the rounding of all three."""
    found, printed, error = centre(triplet), triplet.cells[0], standard_error(triplet)
    low, high = max(found.lower, printed.lower), min(found.upper, printed.upper)
    if low > high:
        low, high = found.lower, found.upper
    distances = sorted((abs(log(low)), abs(log(high))))
    nearest = 0.0 if low <= 1 <= high else distances[0]
    return Interval(_two_sided(distances[1] / error.lower), _two_sided(nearest / error.upper))


def compatible(triplet: Triplet) -> list[Fit]:
    """Estimators under which all printed parts can be right, the common ones first."""
    if not is_symmetric(triplet):
        return []
    fits = []
    if wald_p(triplet).meets(triplet.p_cell):
        fits += [Fit(WALD)] if _cox_possible(triplet) else []
        fits += [Fit(PETO)] if _peto_possible(triplet) else []
    elif _log_rank_beside_wald(triplet) and _cox_possible(triplet):
        fits.append(Fit(LOG_RANK_P))
    for estimator in (EXPECTED, OBSERVED):
        example = _observed_expected(triplet, estimator)
        fits += [Fit(estimator, example)] if example else []
    return fits


def curves_agree(wald: Interval, log_rank: Interval) -> bool:
    """Tell whether the P of a log-rank test may belong to the curves of a Wald P.

    Wider than for numbers of one analysis: the Cox model may have held a third group as well.
    """
    one, other = _z_interval(wald), _z_interval(log_rank)
    wide = Interval(
        one.lower * SAME_CURVES.lower - SLACK_Z, one.upper * SAME_CURVES.upper + SLACK_Z
    )
    return wide.meets(other)


def odd_part(triplet: Triplet) -> str:
    """Name the one printed part without which the others agree under Wald, if only one does."""
    if triplet.p is None:
        return ""
    found = []
    z = _z_interval(triplet.p_cell)
    ratio, low, high = triplet.cells
    for name, near, far in (("upper bound", low, ratio), ("lower bound", ratio, high)):
        distance = Interval(log(far.lower / near.upper), log(far.upper / near.lower))
        effect = Interval(z.lower * distance.lower / Z, z.upper * distance.upper / Z)
        sizes = sorted((abs(log(ratio.lower)), abs(log(ratio.upper))))
        if effect.meets(Interval(sizes[0], sizes[1])):
            found.append(name)
    middle, error = centre(triplet), standard_error(triplet)
    sizes = sorted((abs(log(middle.lower)), abs(log(middle.upper))))
    if Interval(sizes[0] / error.upper, sizes[1] / error.lower).meets(z):
        found.append("hazard ratio")
    return found[0] if len(found) == 1 else ""


def least_cox_error(triplet: Triplet) -> float | None:
    """sqrt(1/O1 + 1/O2), which Cox's standard error cannot undercut; None without the events."""
    first, second = triplet.events
    return sqrt(1 / first + 1 / second) if first and second else None


def _two_sided(z: float) -> float:
    return erfc(z / sqrt(2))


def _z_interval(p: Interval) -> Interval:
    from scipy.special import ndtri

    return Interval(
        float(-ndtri(min(p.upper, 1.0) / 2)), inf if p.lower <= 0 else float(-ndtri(p.lower / 2))
    )


def _cox_possible(triplet: Triplet) -> bool:
    error = standard_error(triplet)
    least = least_cox_error(triplet)
    if least is not None:
        return error.upper >= least * (1 - 1e-6)
    first, second = _event_grid(triplet)
    if not first.size:
        return True
    smallest = np.sqrt(1 / first + 1 / second)
    return bool(np.any((smallest <= error.upper) & (smallest * LARGEST_COX_SE >= error.lower)))


def _log_rank_beside_wald(triplet: Triplet) -> bool:
    wald, printed = _z_interval(wald_p(triplet)), _z_interval(triplet.p_cell)
    if wald.upper <= 0:
        return False
    return Interval(printed.lower / wald.upper, printed.upper / max(wald.lower, 1e-9)).meets(
        LOG_RANK_OVER_WALD
    )


def _peto_possible(triplet: Triplet) -> bool:
    """Some whole O1, O2 with O1 - E1 = V log HR and V <= E1 E2 / (O1 + O2)."""
    first, second = _event_grid(triplet)
    if not first.size:
        return True
    variance = 1 / standard_error(triplet).upper ** 2
    expected = first - variance * log(float(triplet.ratio))
    other = first + second - expected
    possible = (expected > 0) & (other > 0)
    return bool(np.any(possible & (variance <= 1.02 * expected * other / (first + second))))


def _event_grid(triplet: Triplet) -> tuple[np.ndarray, np.ndarray]:
    """Every (O1, O2) that the printed patients and events allow; empty without the patients."""
    if triplet.patients is None:
        return np.array([]), np.array([])
    axes = [
        np.unique(np.linspace(1, n, min(n, FINEST_GRID)).astype(int))
        if d is None
        else np.array([d])
        for n, d in zip(triplet.patients, triplet.events, strict=True)
    ]
    if triplet.total_events is not None and None in triplet.events:
        one = axes[0][axes[0] < triplet.total_events]
        kept_one = one[triplet.total_events - one <= triplet.patients[1]]
        return kept_one.astype(float), (triplet.total_events - kept_one).astype(float)
    first, second = (a.ravel().astype(float) for a in np.meshgrid(*axes, indexing="ij"))
    kept = (first >= 1) & (second >= 1)
    return first[kept], second[kept]


def _observed_expected(triplet: Triplet, estimator: str) -> str:
    """Show counts under which an observed/expected estimator prints the triplet, or nothing."""
    first, second = _event_grid(triplet)
    if not first.size or triplet.p is None:
        return ""
    error, total = standard_error(triplet), first + second
    ratio = triplet.cells[0]
    span = []
    for hazard_ratio in (ratio.lower, float(triplet.ratio), ratio.upper):
        expected = first * total / (first + hazard_ratio * second)
        spread = total / (expected * (total - expected))
        own = spread if estimator == EXPECTED else 1 / first + 1 / second
        span.append((np.sqrt(own), (first - expected) ** 2 * spread, expected))
    errors, chi2 = np.array([s[0] for s in span]), np.array([s[1] for s in span])
    z = _z_interval(triplet.p_cell)
    fits = (errors.min(axis=0) <= error.upper) & (errors.max(axis=0) >= error.lower)
    fits &= chi2.min(axis=0) <= z.upper**2
    fits &= chi2.max(axis=0) / SMALLEST_VARIANCE >= z.lower**2
    if not fits.any():
        return ""
    possible = np.flatnonzero(fits)
    chosen = possible[np.argsort(total[possible], kind="stable")[possible.size // 2]]
    one, two, due = int(first[chosen]), int(second[chosen]), float(span[1][2][chosen])
    return f"for example {one} vs {due:.1f} and {two} vs {one + two - due:.1f} expected"


def implied(triplet: Triplet) -> tuple[float, float, float]:
    """Hazard ratio from the bounds, and each bound from the hazard ratio and the other bound."""
    low, high = float(triplet.lower), float(triplet.upper)
    ratio = float(triplet.ratio)
    if low <= 0:
        return ratio, exp(2 * log(ratio) - log(high)), high
    return sqrt(low * high), ratio**2 / high, ratio**2 / low
