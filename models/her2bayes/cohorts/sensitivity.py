"""Conclusions on hazard ratios of a paper: reconstructed cohorts, and the printed interval alone.

Where the page reconstructs the endpoint, its posterior is the reported analysis. A choice beside
it, and the reported one of a paper without reconstruction, is the printed interval:

    log HR ~ Normal(log printed HR, SE),   log HR ~ Normal(0, scale)

in closed form. The SE is that of the printed interval, (log upper - log lower) / (2 * 1.96), as of
a Cox model; or, as "observed/expected" reading, the one that the printed P value implies,
|log HR| / z(P), which a log-rank test gives together with (O - E)/V. A bias factor b means that
the ratio is b times the true one (unmeasured confounding).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import stats

from her2bayes.estimand import Contrast, Estimand
from her2bayes.evidence.printed.tables import Conclusion
from her2bayes.evidence.printed.vocabulary import canonical
from her2bayes.inference.convergence import Diagnostics
from her2bayes.sensitivity.target import (
    BASE,
    DATA,
    EXACT,
    PRIOR,
    READING,
    REFIT,
    REWEIGHTED,
    STRUCTURE,
    Axis,
    Drawn,
    Scenario,
    Target,
    independent,
)

if TYPE_CHECKING:
    import pandas as pd

    from her2bayes.evidence.printed.study import Study
    from her2bayes.inference.sampling import Sampling
    from her2bayes.inference.store import Store

Z = 1.959963984540054
SCALE = 0.75  # of the log hazard ratio, as in ``bayes.survival``: ratios between 0.23 and 4.3
COHORTS = "reconstructed cohorts"
INTERVAL, FROM_P = "Cox: printed interval", "observed/expected: printed P"
ROW, ERROR, PRIOR_SCALE, BIAS = "printed row", "standard error", "prior scale of log HR", "bias"


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
    """Hazard ratios with a printed interval."""
    ledger = study.ledger
    yield from dict.fromkeys(ledger.loc[ledger["statistic"] == "hazard_ratio", "estimand"])


def _target(study: Study, estimand: Estimand, asked: tuple[Conclusion, ...]) -> Target | None:
    from her2bayes.cohorts.interpretations import choices

    if estimand.kind != "hazard_ratio":
        return None
    rows = _ratios(study.ledger, estimand)
    page = _reconstructed(study, estimand)
    if not rows and not page:
        return None
    data = {
        "rows": rows,
        "page": page,
        "estimand": str(estimand),
        "study": str(study.folder),
        "digest": study.digest,
        "readings": dict(choices(study).get("readings", {})) if page else {},
    }
    return Target("printed", f"printed: {estimand}", asked, _ratio_axes(rows, page), data, True)


def _reconstructed(study: Study, estimand: Estimand) -> bool:
    """Whether the page answers the ratio from reconstructed cohorts."""
    from her2bayes.cohorts.constraints import summary
    from her2bayes.cohorts.estimates import asked_of
    from her2bayes.cohorts.interpretations import reported
    from her2bayes.errors import BadInput

    if estimand.outcome not in reported(study):
        return False
    try:
        known = set(asked_of(summary(study, estimand.outcome)))
    except BadInput:  # contradictory numbers: a finding of the page, which has no posterior then
        return False
    return bool({estimand, _turned(estimand)} & known)


def _turned(estimand: Estimand) -> Estimand:
    """Return the ratio the other way round."""
    assert estimand.contrast is not None  # checked by the grammar of a ratio
    c = estimand.contrast
    return replace(estimand, contrast=Contrast(c.factor, c.b, c.a))


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


def _ratio_axes(rows: Mapping[str, Mapping[str, float]], page: bool) -> tuple[Axis, ...]:
    names = tuple(rows)
    meaning = "ratio over true ratio (unmeasured confounding)"
    found = [Axis(BIAS, DATA, 1.0, (0.8, 0.9, 1.1, 1.25), meaning)]
    if not rows:
        return tuple(found)
    meaning = f"scale of the normal prior of the log hazard ratio, times {SCALE}"
    if page:
        meaning = (
            f"scale of the prior of the cohorts' effects; with the printed interval, {meaning}"
        )
    found.insert(0, Axis(PRIOR_SCALE, PRIOR, 1.0, (0.25, 0.5, 2.0, 4.0), meaning))
    errors = (INTERVAL, *([] if np.isnan(rows[names[0]][FROM_P]) else [FROM_P]))
    if page:  # these choices put the printed interval in the place of the cohorts
        found.append(
            Axis(ERROR, STRUCTURE, COHORTS, errors, "what the ratio and its error are from")
        )
        if len(names) > 1:
            found.append(Axis(ROW, READING, COHORTS, names, "printed row of the ledger"))
        return tuple(found)
    if len(errors) > 1:
        found.append(Axis(ERROR, READING, INTERVAL, (FROM_P,), "where the standard error is from"))
    if len(names) > 1:
        found.append(Axis(ROW, READING, names[0], names[1:], "printed row of the ledger"))
    return tuple(found)


def baseline(target: Target, sampling: Sampling, store: Store | None) -> Drawn:
    """Analysis as the page reports it: reconstructed cohorts, else the printed interval."""
    if target.data["page"]:
        return _from_cohorts(target, sampling, store)
    note = "the page has no posterior for it: printed interval alone"
    return replace(_from_interval(target, BASE, sampling), reason=note)


def drawn(target: Target, of: Scenario, sampling: Sampling, store: Store | None = None) -> Drawn:
    """Draw from the posterior and prior of a scenario."""
    changed = dict(of.changes)
    if not target.data["page"] or set(changed) & {ERROR, ROW}:
        return _from_interval(target, of, sampling)
    found = _from_cohorts(target, sampling, store, float(changed.get(PRIOR_SCALE, 1.0)))
    bias = float(changed.get(BIAS, 1.0))
    draws = {n: (after / bias, before) for n, (after, before) in found.draws.items()}
    return replace(found, draws=draws, fit_id="")


_COHORTS: dict[str, Any] = {}  # of this process, by endpoint: ratios share the draws
_RATIOS: dict[tuple[str, Estimand], list[Any]] = {}  # of its posterior and prior; scenarios share


def _from_cohorts(
    target: Target, sampling: Sampling, store: Store | None, times: float = 1.0
) -> Drawn:
    """Ratio of the page's reconstructed cohorts; under another prior from weighted draws."""
    from her2bayes.cohorts import draws as of_chains
    from her2bayes.cohorts.estimates import trusted, verdict, weights_for
    from her2bayes.cohorts.fitted import reconstruct
    from her2bayes.cohorts.kept import MODEL
    from her2bayes.evidence.printed.study import load_study

    data = target.data
    estimand = canonical(data["estimand"])
    key = repr((data["digest"], estimand.outcome, sampling))
    if key not in _COHORTS:
        quick = sampling.draws < 1000
        _COHORTS[key] = reconstruct(
            load_study(Path(data["study"])), endpoint=estimand.outcome, seed=sampling.seed,
            quick=quick, store=store,
        )  # fmt: skip
    fit = _COHORTS[key]
    if (key, estimand) not in _RATIOS:
        groups = ("posterior", "prior")
        _RATIOS[key, estimand] = [fit.drawn([estimand], group)[estimand] for group in groups]
    after, before = _RATIOS[key, estimand]
    said = verdict(after, fit.endpoint().ensemble)
    run = Diagnostics(after.sizes["chain"], 0, 0, np.inf)
    if times == 1:
        draws = {data["estimand"]: (after, before)}
        return Drawn(MODEL, REFIT, draws, run, fit_id=fit.fit_id, verdict=said)
    drawn = fit.endpoint().draws
    weights = weights_for(estimand, after, drawn, times)
    found = Drawn(MODEL, REWEIGHTED, {}, run, k_hat=weights.k_hat, ess=weights.ess)
    if not trusted(weights):
        why = f"the draws do not tell of this prior (Pareto k-hat {weights.k_hat:.2f})"
        return replace(found, reason=why)
    assert estimand.contrast is not None  # of the grammar
    prior = drawn.prior_with(estimand.contrast.factor, times)
    before = of_chains.draws([estimand], prior, drawn.levels)[estimand]
    draws = {data["estimand"]: (after, before)}
    return replace(found, draws=draws, weight=weights.weight, verdict=said)


def _from_interval(target: Target, of: Scenario, sampling: Sampling) -> Drawn:
    rows, changed = target.data["rows"], dict(of.changes)
    rng = np.random.default_rng([sampling.seed, 7])
    size = sampling.chains * sampling.draws
    row = rows[str(changed.get(ROW, next(iter(rows))))]
    error = row[str(changed.get(ERROR, INTERVAL))]
    scale = SCALE * float(changed.get(PRIOR_SCALE, 1.0))
    printed = row["log_ratio"] - np.log(float(changed.get(BIAS, 1.0)))
    precision = 1 / error**2 + 1 / scale**2
    mean, sd = printed / error**2 / precision, precision**-0.5
    posterior, prior = np.exp(mean + sd * _normal(rng, size)), np.exp(scale * _normal(rng, size))
    draws = (independent(posterior, sampling.chains), independent(prior, sampling.chains))
    run = Diagnostics(sampling.chains, sampling.draws, 0, np.inf)
    return Drawn("closed form", EXACT, {target.data["estimand"]: draws}, run)


def _normal(rng: np.random.Generator, size: int) -> np.ndarray:
    """Evenly spread quantiles in random order: probabilities exact to 1/size."""
    return stats.norm.ppf(rng.permutation((np.arange(size) + 0.5) / size))
