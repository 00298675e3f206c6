"""Numbers of each choice of borrowing: estimates, worth in events, conflict, tipping curves.

A choice is a mixture of runs. *Worth* is the expected local-information ratio (Neuenschwander et
al. 2020) of what the choice says of the level of the own log hazard, in events (information 1
each), less that of the prior alone; levels are taken as normal given the run and, where studies
differ by offsets, given the size tau of these.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.polynomial.legendre import leggauss
from scipy import stats

from her2bayes.estimand import Estimand, is_percent
from her2bayes.inference.convergence import CONVERGED, failed, verdict
from her2bayes.inference.estimates import INTERVAL
from her2bayes.inference.reweight import weighted_quantiles
from her2bayes.survival.borrowing_exact import effective_events
from her2bayes.survival.borrowing_sweep import Model, Run, Setting, bridge
from her2bayes.survival.survival_borrowing import offset_basis

if TYPE_CHECKING:
    import pandas as pd

Mixture = Mapping[Setting, float]
LEAST = 0.01  # share of a mixture below which a run that did not converge does not matter
POWER, ROBUST = "power prior", "robust prior"
COLUMNS = ("choice", "label", "estimand", "posterior_median", "posterior_lower", "posterior_upper",
           "posterior_probability", "before_median", "before_lower", "before_upper",
           "before_probability", "unit", "note", "worth_events", "conflict", "learned", "fit_id",
           "convergence")  # fmt: skip


@dataclass(frozen=True)
class Choice:
    """One way to borrow: mixtures of runs with and without the own patients.

    ``worth`` (events; what the choice adds to the prior) and ``conflict`` (two-sided predictive
    probability of the own events before they were seen); ``learned`` says in words what the data
    made of the weight.
    """

    name: str
    label: str
    after: Mixture
    before: Mixture
    worth: float
    conflict: float
    learned: str = ""


def table(
    choices: Sequence[Choice], asked: Sequence[Estimand], runs: Mapping[Setting, Run], fit_id: str
) -> pd.DataFrame:
    """One row an estimand and choice: with the own patients, and before them."""
    import pandas as pd

    found = []
    for estimand in asked:
        for choice in choices:
            row: dict[str, Any] = {
                "choice": choice.name,
                "label": choice.label,
                "estimand": str(estimand),
                **summarised("posterior", estimand, choice.after, runs),
                **summarised("before", estimand, choice.before, runs),
                "unit": _unit(estimand),
                "note": "P(HR < 1)" if estimand.kind == "hazard_ratio" else "",
                "worth_events": choice.worth,
                "conflict": choice.conflict,
                "learned": choice.learned,
                "fit_id": fit_id,
                "convergence": convergence(str(estimand), choice.after, choice.before, runs),
            }
            found.append(row)
    return pd.DataFrame(found, columns=COLUMNS)


def _unit(estimand: Estimand) -> str:
    if is_percent(estimand.kind):
        return "%"
    return "months" if estimand.kind in ("median", "rmst") else ""


def summarised(
    name: str, estimand: Estimand, of: Mixture, runs: Mapping[Setting, Run]
) -> dict[str, float]:
    """Median and limits of a mixture of runs (NaN where not reached), and P(HR < 1)."""
    values, weights = _mixed(str(estimand), of, runs)
    tail = (1 - INTERVAL) / 2
    scale = 100.0 if is_percent(estimand.kind) else 1.0
    # an endless median is a large number while sorting, and not reached as a quantile
    low, middle, high = weighted_quantiles(
        np.where(np.isfinite(values), values, 1e9), weights, (tail, 0.5, 1 - tail)
    )
    reached = [scale * v if v < 1e6 else float("nan") for v in (middle, low, high)]
    ratio = estimand.kind == "hazard_ratio"
    return {
        f"{name}_median": reached[0],
        f"{name}_lower": reached[1],
        f"{name}_upper": reached[2],
        f"{name}_probability": float(weights @ (values < 1)) if ratio else float("nan"),
    }


def _mixed(text: str, of: Mixture, runs: Mapping[Setting, Run]) -> tuple[np.ndarray, np.ndarray]:
    parts = [(runs[way].estimands[text].to_numpy().ravel(), share) for way, share in of.items()]
    values = np.concatenate([draws for draws, _ in parts])
    weights = np.concatenate([np.full(draws.size, share / draws.size) for draws, share in parts])
    return values, weights / weights.sum()


def convergence(text: str, after: Mixture, before: Mixture, runs: Mapping[Setting, Run]) -> str:
    """Verdict on an estimand: that of the first run of either mixture that failed, if any.

    Of runs without the own patients the level of the hazard is judged.
    """
    said = [
        str(verdict(runs[way].estimands[text].clip(max=1e6), runs[way].diagnostics))
        for way, share in after.items()
        if share >= LEAST
    ]
    said += [runs[way].convergence for way, share in before.items() if share >= LEAST]
    return next(filter(failed, said), CONVERGED)


def conflict(before: Mixture, runs: Mapping[Setting, Run], events: float) -> float:
    """Two-sided predictive probability of the own events, given their person-months."""
    below = above = 0.0
    for way, share in before.items():
        expected = runs[way].expected.to_numpy().ravel()
        below += share * float(np.mean(stats.poisson.cdf(events, expected)))
        above += share * float(np.mean(stats.poisson.sf(events - 1, expected)))
    return min(1.0, 2 * min(below, above))


def commensurate_odds(model: Model, runs: Mapping[Setting, Run], own: float) -> float:
    """Log evidence of the commensurate part against the vague part of the robust prior.

    Both differ in the prior of the offsets alone: a bridge between their draws of these.
    """
    scale = float(model.priors["tau"]["sigma"])
    ratios = []
    for way in (Setting(own, 1.0, learned=1.0), Setting(own, 1.0, fixed=1.0)):
        offset = runs[way].offset.to_numpy()
        flat = offset.reshape(-1, offset.shape[-1])
        vague = stats.norm.logpdf(flat).sum(axis=1)
        ratios.append(_learned_density(flat, scale) - vague)
    return bridge(*ratios)


def _learned_density(offset: np.ndarray, scale: float) -> np.ndarray:
    """Log density of offsets (draws, elements) of one size tau ~ HalfNormal(scale)."""
    tau, share = _sizes(scale)
    square, number = np.square(offset).sum(axis=1)[:, None], offset.shape[1]
    log = -0.5 * square / tau**2 - number * np.log(tau * np.sqrt(2 * np.pi))
    return np.logaddexp.reduce(log + np.log(share), axis=1)


def _sizes(scale: float) -> tuple[np.ndarray, np.ndarray]:
    x, w = leggauss(128)
    u = (x + 1) / 2
    return stats.halfnorm.ppf(u**3, scale=scale), 1.5 * w * u**2


def after_odds(weight: float, log_odds: float) -> float:
    """Share of the commensurate part after the data."""
    if weight in (0.0, 1.0):
        return weight
    return float(1 / (1 + (1 - weight) / weight * np.exp(-log_odds)))


class Worth:
    """Worth of choices in events; normal approximations of what the external patients say."""

    def __init__(self, model: Model, runs: Mapping[Setting, Run]) -> None:
        moments = {way: (float(run.level.mean()), float(run.level.var()))
                   for way, run in runs.items() if way.own == 0.0}  # fmt: skip
        self._moments = moments
        self._prior = moments[Setting(0.0, 0.0)]
        pooled = moments[Setting(0.0, 1.0)]
        information = max(1 / pooled[1] - 1 / self._prior[1], 1e-6)
        self._external = (
            (pooled[0] / pooled[1] - self._prior[0] / self._prior[1]) / information,
            information,
        )
        events = model.external.cells["events"].sum(
            [dim for dim in model.external.cells["events"].dims if dim != "study"]
        )
        self._shares = events.to_numpy() / max(float(events.sum()), 1e-6)
        self._scale = float(model.priors["tau"]["sigma"])
        weight = model.cells["events"].sum("interval") + 1e-9
        average = (offset_basis(model.cells) * weight / float(weight.sum())).sum(list(weight.dims))
        self._spread = float(np.square(average).sum())

    def events(self, before: Mixture) -> float:
        """Worth of a choice, less that of the prior alone."""
        parts = [(share * s, m, v) for way, share in before.items() for s, m, v in self._parts(way)]
        return _information(parts) - _information([(1.0, *self._prior)])

    def _parts(self, way: Setting) -> list[tuple[float, float, float]]:
        """Normals (share, mean, variance) of the level in one run before the own patients."""
        if not (way.fixed or way.learned):
            return [(1.0, *self._moments[way])]
        taus, shares = _sizes(self._scale) if way.learned else (np.ones(1), np.ones(1))
        found = []
        mean, variance = self._prior
        for tau, share in zip(taus, shares, strict=True):
            known = self._shares[self._shares > 0] * self._external[1]
            precision = float((1 / (1 / known + tau**2 * self._spread)).sum())
            total = precision + 1 / variance
            middle = (precision * self._external[0] + mean / variance) / total
            gap = stats.norm.pdf(self._external[0], mean, np.sqrt(variance + 1 / precision))
            found.append((float(share * gap), middle, 1 / total))
        whole = sum(share for share, _, _ in found)
        return [(share / whole, m, v) for share, m, v in found]


def _information(parts: Sequence[tuple[float, float, float]]) -> float:
    """Expected local information of a mixture of normals."""
    share, mean, variance = (np.array(column) for column in zip(*parts, strict=True))
    sd = np.sqrt(variance)
    x = np.linspace((mean - 8 * sd).min(), (mean + 8 * sd).max(), 8001)
    if (least := float(sd.min())) / (x[1] - x[0]) < 4:
        x = np.arange(x[0], x[-1], least / 4)
    density = sum(s * stats.norm.pdf(x, m, d) for s, m, d in zip(share, mean, sd, strict=True))
    return effective_events(x, np.asarray(density) / float(np.sum(density)))


def tipping(
    runs: Mapping[Setting, Run],
    powers: Sequence[float],
    asked: Sequence[Estimand],
    log_odds: float,
) -> pd.DataFrame:
    """Every estimand over the weight of the external patients and of the commensurate part."""
    import pandas as pd

    found = []
    ways: list[tuple[str, float, Mixture]] = [
        (POWER, power, {Setting(1.0, power): 1.0}) for power in powers
    ]
    parts = Setting(1.0, 1.0, learned=1.0), Setting(1.0, 1.0, fixed=1.0)
    for weight in np.linspace(0, 1, 21).tolist():
        share = after_odds(weight, log_odds)
        ways.append((ROBUST, weight, {parts[0]: share, parts[1]: 1 - share}))
    for estimand in asked:
        for prior, weight, of in ways:
            numbers = summarised("posterior", estimand, of, runs)
            found.append({"prior": prior, "weight": weight, "estimand": str(estimand), **numbers,
                          "unit": _unit(estimand)})  # fmt: skip
    return pd.DataFrame(found)


def offset_text(run: Run) -> str:
    """What the data say of the distance between the studies, as a hazard ratio."""
    level = -run.offset.isel(element=0).to_numpy().ravel()
    low, middle, high = np.exp(np.quantile(level, [0.025, 0.5, 0.975]))
    return f"own hazard {middle:.2f} ({low:.2f} to {high:.2f}) times the external one"


def shown(row: Mapping[str, Any]) -> str:
    """Estimate with limits, and the probability of a ratio below 1 where there is one."""
    low, middle, high = (row[f"posterior_{part}"] for part in ("lower", "median", "upper"))
    limits = [f"{v:.2f}" if np.isfinite(v) else "not reached" for v in (low, middle, high)]
    text = f"{limits[1]} ({limits[0]} to {limits[2]})"
    chance = row["posterior_probability"]
    return text + (f", P(HR < 1) {chance:.3f}" if np.isfinite(chance) else "")
