"""Conclusions that rest on printed numbers alone: a ratio with its interval, counts of a rate.

    log HR     ~ Normal(log printed HR, SE),   log HR ~ Normal(0, scale)
    responders ~ Binomial(patients, rate),     rate   ~ Beta(m/2, m/2)       m prior patients

Both posteriors are closed forms. The SE is that of the printed interval, (log upper - log lower) /
(2 * 1.96), as of a Cox model; or, as "observed/expected" reading, the one that the printed P value
implies, |log HR| / z(P), which a log-rank test gives together with (O - E)/V. A bias factor b means
that the printed ratio is b times the true one (unmeasured confounding). Where the study quotes the
same rate of other studies with their patients, these can count with a weight: of each patient
(power prior), or of the informed part of a robust prior (MAP).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import stats

from her2bayes.analysis import sensitivity_borrowed as borrowed
from her2bayes.analysis.conclusion_target import EXACT, Drawn, Target, independent
from her2bayes.analysis.scenarios import DATA, PRIOR, READING, Axis, Scenario
from her2bayes.estimand import Contrast, Estimand
from her2bayes.evidence.conclusions import Conclusion
from her2bayes.evidence.vocabulary import canonical
from her2bayes.inference.convergence import Diagnostics

if TYPE_CHECKING:
    import pandas as pd

    from her2bayes.bayes.borrowing import Outside
    from her2bayes.evidence.study import Study
    from her2bayes.inference.sampling import Sampling

Z = 1.959963984540054
SCALE = 0.75  # of the log hazard ratio, as in ``bayes.survival``: ratios between 0.23 and 4.3
RATES = ("response_rate", "event_rate")
INTERVAL, FROM_P = "Cox: printed interval", "observed/expected: printed P"
ROW, ERROR, PRIOR_SCALE, BIAS = "printed row", "standard error", "prior scale of log HR", "bias"
PATIENTS, MOVED = "prior patients", "patients counted otherwise"


def targets(study: Study, conclusions: Sequence[Conclusion]) -> list[Target]:
    """One target for each estimand that a printed interval or printed counts answer."""
    found = []
    by: dict[str, list[Conclusion]] = {}
    for conclusion in conclusions:
        by.setdefault(str(conclusion.estimand), []).append(conclusion)
    for asked in by.values():
        made = _target(study, asked[0].estimand, tuple(asked))
        if made is not None:
            found.append(made)
    return found


def available(study: Study) -> Iterator[str]:
    """Estimands with a printed interval or printed counts."""
    ledger = study.ledger
    yield from dict.fromkeys(ledger.loc[ledger["statistic"] == "hazard_ratio", "estimand"])
    counted = ledger["numerator"].notna() & ledger["denominator"].notna()
    rates = ledger["estimand"].str.startswith(RATES)
    yield from dict.fromkeys(ledger.loc[counted & rates, "estimand"])


def _target(study: Study, estimand: Estimand, asked: tuple[Conclusion, ...]) -> Target | None:
    ledger, outside = study.ledger, None
    if estimand.kind == "hazard_ratio":
        rows: dict[str, Any] = _ratios(ledger, estimand)
        axes: tuple[Axis, ...] = _ratio_axes(rows)
    elif estimand.kind in RATES:
        rows = {"": _counts(ledger, estimand)}
        outside = borrowed.outside(study, estimand)
        axes = (*_rate_axes(rows[""]), *borrowed.axes(outside))
    elif estimand.kind in tuple(f"{kind}_difference" for kind in RATES):
        rows = {part.given[-1][1]: _counts(ledger, part) for part in _parts(estimand)}
        axes = _rate_axes(next(iter(rows.values()), {}))[:2]
    else:
        return None
    if not rows or not all(rows.values()):
        return None
    data = {"rows": rows, "outside": outside}
    return Target("printed", f"printed: {estimand}", asked, axes, data, True)


def _parts(estimand: Estimand) -> list[Estimand]:
    """The two rates that a difference compares."""
    if estimand.contrast is None or not estimand.contrast.a:
        return []
    kind = estimand.kind.removesuffix("_difference")
    return [
        Estimand(kind, estimand.outcome, (*estimand.given, (estimand.contrast.factor, level)))
        for level in (estimand.contrast.a, estimand.contrast.b)
    ]


def _ratios(ledger: pd.DataFrame, estimand: Estimand) -> dict[str, dict[str, float]]:
    """Printed ratios by claim: log HR, SE from the interval, SE from P (NaN without one)."""
    contrast = estimand.contrast
    if contrast is None or not contrast.a:
        return {}
    turned = Contrast(contrast.factor, contrast.b, contrast.a)
    found = {}
    for row in ledger[ledger["statistic"] == "hazard_ratio"].to_dict("records"):
        printed = canonical(str(row["estimand"]))
        same = (printed.kind, printed.outcome, printed.given) == (
            estimand.kind, estimand.outcome, estimand.given,
        )  # fmt: skip
        if not same or printed.contrast not in (contrast, turned):
            continue
        ratio, low, high = (row[f"{n}_number"] for n in ("value", "lower", "upper"))
        if not (low > 0 and high > low and ratio > 0):
            continue
        sign = 1.0 if printed.contrast == contrast else -1.0
        p = row["p_number"] if row["p_relation"] == "=" else np.nan
        from_p = abs(np.log(ratio)) / stats.norm.isf(p / 2) if p > 0 else np.nan
        found[str(row["claim_id"])] = {
            "log_ratio": sign * float(np.log(ratio)),
            INTERVAL: float(np.log(high / low) / (2 * Z)),
            FROM_P: float(from_p),
        }
    return found


def _ratio_axes(rows: Mapping[str, Mapping[str, float]]) -> tuple[Axis, ...]:
    names = tuple(rows)
    found = [
        Axis(
            PRIOR_SCALE,
            PRIOR,
            1.0,
            (0.25, 0.5, 2.0, 4.0),
            f"scale of the normal prior of the log hazard ratio, times {SCALE}",
        ),
        Axis(
            BIAS,
            DATA,
            1.0,
            (0.8, 0.9, 1.1, 1.25),
            "printed ratio over true ratio (unmeasured confounding)",
        ),
    ]
    if names and not np.isnan(rows[names[0]][FROM_P]):
        found.append(Axis(ERROR, READING, INTERVAL, (FROM_P,), "where the standard error is from"))
    if len(names) > 1:
        found.append(Axis(ROW, READING, names[0], names[1:], "printed row of the ledger"))
    return tuple(found)


def _counts(ledger: pd.DataFrame, estimand: Estimand) -> dict[str, Any]:
    """Printed counts of a rate: distinct (numerator, denominator) by claim."""
    rows = ledger[
        (ledger["estimand"] == str(estimand))
        & ledger["numerator"].notna()
        & ledger["denominator"].notna()
    ]
    found: dict[str, tuple[int, int]] = {}
    for row in rows.to_dict("records"):
        pair = (int(row["numerator"]), int(row["denominator"]))
        if pair not in found.values():
            found[str(row["claim_id"])] = pair
    return found


def _rate_axes(rows: Mapping[str, tuple[int, int]]) -> tuple[Axis, ...]:
    found = [
        Axis(PATIENTS, PRIOR, 2.0, (0.5, 1.0, 4.0, 8.0, 16.0), "patients the prior weighs, at 1/2"),
        Axis(
            MOVED,
            DATA,
            0.0,
            (-3.0, -2.0, -1.0, 1.0, 2.0, 3.0),
            "patients more (or fewer) with the outcome; of a difference, in its first group",
        ),
    ]
    names = tuple(rows)
    if len(names) > 1:
        found.append(Axis(ROW, READING, names[0], names[1:], "printed row of the ledger"))
    return tuple(found)


def drawn(target: Target, of: Scenario, sampling: Sampling) -> Drawn:
    """Draw from the closed-form posterior and prior of a scenario."""
    rng = np.random.default_rng([sampling.seed, 7])
    size = sampling.chains * sampling.draws
    estimand = target.conclusions[0].estimand
    rows = target.data["rows"]
    if estimand.kind == "hazard_ratio":
        posterior, prior = _ratio(rows, of, rng, size)
    else:
        moved = int(of.get(MOVED, 0.0))
        shifts = [moved, *[0] * (len(rows) - 1)]  # of a difference, in the first group only
        pairs = [
            _rate(counts, of, shift, rng, size, target.data.get("outside"))
            for counts, shift in zip(rows.values(), shifts, strict=True)
        ]
        posterior, prior = pairs[0]
        if len(pairs) == 2:
            posterior, prior = (one - other for one, other in zip(*pairs, strict=True))
    draws = {str(estimand): tuple(independent(x, sampling.chains) for x in (posterior, prior))}
    run = Diagnostics(sampling.chains, sampling.draws, 0, np.inf)
    return Drawn("closed form", EXACT, draws, run)  # type: ignore[arg-type]


def _ratio(
    rows: Mapping[str, Mapping[str, float]], of: Scenario, rng: np.random.Generator, size: int
) -> tuple[np.ndarray, np.ndarray]:
    row = rows[str(of.get(ROW, next(iter(rows))))]
    error = row[str(of.get(ERROR, INTERVAL))]
    scale = SCALE * float(of.get(PRIOR_SCALE, 1.0))
    printed = row["log_ratio"] - np.log(float(of.get(BIAS, 1.0)))
    precision = 1 / error**2 + 1 / scale**2
    mean, sd = printed / error**2 / precision, precision**-0.5
    return np.exp(mean + sd * _normal(rng, size)), np.exp(scale * _normal(rng, size))


def _rate(
    rows: Mapping[str, tuple[int, int]],
    of: Scenario,
    shift: int,
    rng: np.random.Generator,
    size: int,
    outside: Outside | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    count, patients = rows[str(of.get(ROW, next(iter(rows))))]
    count = min(patients, max(0, count + shift))
    half = float(of.get(PATIENTS, 2.0)) / 2
    uniform = (np.arange(size) + 0.5) / size
    if prior := borrowed.prior(outside, of, patients, half):
        places = [rng.permutation(uniform) for _ in range(2)]
        return prior.updated(count, patients).ppf(places[0]), prior.ppf(places[1])
    after = stats.beta(half + count, half + patients - count).ppf(rng.permutation(uniform))
    return after, stats.beta(half, half).ppf(rng.permutation(uniform))


def _normal(rng: np.random.Generator, size: int) -> np.ndarray:
    """Evenly spread quantiles in random order: probabilities exact to 1/size."""
    return stats.norm.ppf(rng.permutation((np.arange(size) + 0.5) / size))
