"""Runs of the borrowing model over its four numbers, on one graph, and what each choice says.

Normalising constants of power posteriors by thermodynamic integration over the power.

With p(x | a) proportional to p(x) L(x)^a and constant C(a), log C(a) - log C(0) is the integral of
E[log L | t] over t from 0 to a (Gelman & Meng 1998; Friel & Pettitt 2008). The expectation is steep
where a is near 0: with a = u^4 it is smooth in u, and Gauss-Legendre nodes of u need no point at 0.

A choice is a mixture of runs: estimates, worth in events, conflict, tipping curves. *Worth* is the
expected local-information ratio (Neuenschwander et al. 2020) of what the choice says of the level
of the own log hazard, in events (information 1 each), less that of the prior alone; levels are
taken as normal given the run and, where studies differ by offsets, given the size tau of these.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from numpy.polynomial import legendre
from numpy.polynomial.legendre import leggauss
from scipy import stats
from xarray.ufuncs import exp

from her2bayes.bayes.prior import Prior
from her2bayes.estimand import Estimand, is_percent
from her2bayes.evidence.patients.external_survival import External
from her2bayes.inference.convergence import CONVERGED, Diagnostics, diagnostics, failed, verdict
from her2bayes.inference.estimates import INTERVAL
from her2bayes.inference.meaning import meaning
from her2bayes.inference.reweight import weighted_quantiles
from her2bayes.inference.sampling import Sampling
from her2bayes.inference.store import Store, data_digest, fit_key
from her2bayes.survival.borrowing_exact import effective_events
from her2bayes.survival.draws import draws as answers
from her2bayes.survival.piecewise import log_hazard
from her2bayes.survival.survival_borrowing import build, offset_basis
from her2bayes.version import versions

if TYPE_CHECKING:
    import pandas as pd

NAME = "survival_borrowing"
Say = Callable[[str], None]


@dataclass(frozen=True)
class Setting:
    """Numbers of one run: see ``survival_borrowing``."""

    own: float
    power: float
    fixed: float = 0.0
    learned: float = 0.0


@dataclass(frozen=True)
class Model:
    """What all runs share: own cells, external ones, priors and options of the model.

    ``grid``: months between which medians are read, those of the own analysis.
    """

    cells: xr.Dataset
    external: External
    priors: Mapping[str, Prior]
    options: Mapping[str, Any]
    grid: np.ndarray | None = None

    @property
    def data(self) -> dict[str, xr.Dataset]:
        """Data of the model."""
        return {"own": self.cells, "external": self.external.cells}


@dataclass(frozen=True)
class Run:
    """Draws (chain, draw) of one setting.

    ``estimands`` by canonical text; ``external_kernel``: log likelihood of the external patients at
    the own hazards; ``level``: log hazard averaged over the own events; ``expected``: events
    expected in the own person-months; ``offset`` has the further dim ``element``.
    """

    estimands: Mapping[str, xr.DataArray]
    external_kernel: xr.DataArray
    level: xr.DataArray
    expected: xr.DataArray
    offset: xr.DataArray
    diagnostics: Diagnostics

    @property
    def convergence(self) -> str:
        """Verdict on the level of the hazard."""
        return str(verdict(self.level, self.diagnostics))


def sweep(
    model: Model,
    settings: Sequence[Setting],
    asked: Sequence[Estimand],
    sampling: Sampling,
    store: Store | None,
    say: Say = lambda _: None,
) -> dict[Setting, Run]:
    """Run every setting once; finished ones are read back from ``store``."""
    names = [str(estimand) for estimand in asked]
    about = {
        "model": NAME,
        "source": meaning(build, sweep),
        "data": data_digest(model.data),
        "priors": {name: str(value) for name, value in sorted(model.priors.items())},
        "options": {name: repr(value) for name, value in sorted(model.options.items())},
        "asked": names,
        "grid": None if model.grid is None else model.grid.tolist(),
        "sampling": asdict(sampling),
        "versions": versions(),
    }
    found = {}
    wanted = list(dict.fromkeys(settings))
    for place, setting in enumerate(wanted):
        key = fit_key({**about, "setting": asdict(setting)})
        tree = store.load(NAME, key) if store else None
        if tree is None:
            say(f"borrowing: run {place + 1} of {len(wanted)}")
            tree = _tree(_run(model, setting, asked, sampling))
            if store:
                with store.lock(key):  # makes the folder
                    store.save(NAME, key, tree)
        found[setting] = _read(tree, names)
    return found


def _run(
    model: Model, setting: Setting, asked: Sequence[Estimand], sampling: Sampling
) -> tuple[xr.Dataset, Diagnostics]:
    from her2bayes.inference import engine

    with engine.compiler_flags():
        graph = build(model.data, model.priors, **asdict(setting), **model.options)
        draws, stats, _ = engine.sample(graph, sampling)
    cells, external = model.cells, model.external.cells.sum("study")
    groups = [str(dim) for dim in cells["person_months"].dims]
    hazard = log_hazard(draws, cells).drop_vars(["interval_start", "interval_end"])
    weight = cells["events"] if int(cells["events"].sum()) else cells["person_months"]
    offset = draws["offset"].stack(element=("study", "offset_of"), create_index=False)  # noqa: PD013 (xarray)
    spent = cells["person_months"]
    found = {
        "external_kernel": (external["events"] * hazard - external["person_months"] * exp(hazard)),
        "level": weight / float(weight.sum()) * hazard,
        "expected": spent * exp(hazard),
    }
    totals = {
        name: (value + 0.0 * spent).sum(groups) if name != "level" else value.sum(groups)
        for name, value in found.items()
    }
    numbers = answers(draws, cells, asked, grid=model.grid)
    totals |= {f"q{place}": numbers[one] for place, one in enumerate(asked)}
    kept = {name: _bare(value) for name, value in totals.items()}
    kept["offset"] = _bare(offset)
    return xr.Dataset(kept), diagnostics(stats)


def _bare(draws: xr.DataArray) -> xr.DataArray:
    kept = draws.drop_vars(list(draws.coords), errors="ignore")
    return kept.transpose("chain", "draw", ...).astype(float)


def _tree(found: tuple[xr.Dataset, Diagnostics]) -> xr.DataTree:
    tree = xr.DataTree.from_dict({"posterior": found[0]})
    tree.attrs["diagnostics"] = json.dumps(asdict(found[1]))
    return tree


def _read(tree: xr.DataTree, names: Sequence[str]) -> Run:
    draws = tree["posterior"].to_dataset()
    return Run(
        {name: draws[f"q{place}"] for place, name in enumerate(names)},
        draws["external_kernel"],
        draws["level"],
        draws["expected"],
        draws["offset"],
        Diagnostics(**json.loads(tree.attrs["diagnostics"])),
    )


def mean_and_error(draws: xr.DataArray) -> tuple[float, float]:
    """Mean of draws and its Monte-Carlo standard error."""
    from arviz_stats.base import array_stats

    values = draws.transpose("chain", "draw").to_numpy()
    ess = max(float(array_stats.ess(values, method="mean")), 1.0)
    return float(values.mean()), float(values.std() / np.sqrt(ess))


EXPONENT = 4


@dataclass(frozen=True)
class Nodes:
    """Nodes of the power in (0, 1), their quadrature weights, and integrals up to any power."""

    power: np.ndarray
    weight: np.ndarray

    def integral_to(self, power: np.ndarray) -> np.ndarray:
        """Matrix (powers, nodes) that turns values at the nodes into integrals from 0."""
        u = np.atleast_1d(np.asarray(power, float)) ** (1 / EXPONENT)
        number = len(self.power)
        at_nodes = legendre.legvander(2 * self.power ** (1 / EXPONENT) - 1, number - 1)
        primitive = np.zeros((len(u), number))
        for degree in range(number):
            term = legendre.Legendre.basis(degree, domain=[0, 1]).integ()
            primitive[:, degree] = term(u) - term(0.0)
        slope = EXPONENT * self.power ** (1 - 1 / EXPONENT)
        return np.asarray(primitive @ np.linalg.inv(at_nodes) * slope)


def nodes(number: int) -> Nodes:
    """``number`` nodes; ten are enough for hundreds of events."""
    x, w = legendre.leggauss(number)
    u = (x + 1) / 2
    return Nodes(u**EXPONENT, w / 2 * EXPONENT * u ** (EXPONENT - 1))


@dataclass(frozen=True)
class Weight:
    """Posterior of the power of a normalised power prior on ``nodes``, uniform before the data.

    ``share`` are the probabilities of the nodes as quadrature weights; ``error`` is the Monte-Carlo
    standard error of the log density at power 1 against power 0.
    """

    nodes: Nodes
    log_density: np.ndarray
    error: float
    _gap: np.ndarray

    @property
    def share(self) -> np.ndarray:
        """Weights of the nodes, with sum 1."""
        mass = self.nodes.weight * np.exp(self.log_density - self.log_density.max())
        return np.asarray(mass / mass.sum())

    def log_at(self, power: np.ndarray) -> np.ndarray:
        """Log density against that at power 0."""
        return self.nodes.integral_to(power) @ self._gap

    def quantiles(self, at: tuple[float, ...]) -> tuple[float, ...]:
        """Quantiles of the power."""
        grid = np.linspace(0, 1, 2001) ** 2
        log = self.log_at(grid)
        density = np.exp(log - log.max())
        total = np.append(0.0, np.cumsum((density[1:] + density[:-1]) / 2 * np.diff(grid)))
        return tuple(float(v) for v in np.interp(at, total / total[-1], grid))

    @property
    def mean(self) -> float:
        """Mean of the power."""
        return float(self.share @ self.nodes.power)


def weight_posterior(
    found: Nodes, with_data: np.ndarray, without: np.ndarray, errors: np.ndarray
) -> Weight:
    """Posterior of the power from E[log L] at the nodes, with and without the other data.

    p(a | data) is proportional to M(a) / C(a): M the constant with the data, C without. ``errors``
    are the Monte-Carlo standard errors of ``with_data - without``.
    """
    gap = with_data - without
    log_density = found.integral_to(found.power) @ gap
    error = float(np.sqrt(((found.integral_to(np.ones(1))[0] * errors) ** 2).sum()))
    return Weight(found, log_density, error, gap)


def bridge(first: np.ndarray, second: np.ndarray, rounds: int = 200) -> float:
    """Log ratio of two constants from log density ratios (one over two) at draws of each.

    Optimal bridge sampling (Meng & Wong 1996).
    """
    middle = float(np.median(np.concatenate([first, second])))
    one, two = first - middle, second - middle
    shares = np.log(len(one) / (len(one) + len(two))), np.log(len(two) / (len(one) + len(two)))
    ratio = 0.0
    for _ in range(rounds):
        above = np.logaddexp.reduce(two - np.logaddexp(shares[0] + two, shares[1] + ratio))
        below = np.logaddexp.reduce(-np.logaddexp(shares[0] + one, shares[1] + ratio))
        ratio = float(above - np.log(len(two)) - below + np.log(len(one)))
    return ratio + middle


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
