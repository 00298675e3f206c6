"""Runs of the borrowing model over its four numbers: one compiled graph, one short run for each.

Normalising constants of power posteriors by thermodynamic integration over the power.

With p(x | a) proportional to p(x) L(x)^a and constant C(a), log C(a) - log C(0) is the integral of
E[log L | t] over t from 0 to a (Gelman & Meng 1998; Friel & Pettitt 2008). The expectation is steep
where a is near 0: with a = u^4 it is smooth in u, and Gauss-Legendre nodes of u need no point at 0.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import xarray as xr
from numpy.polynomial import legendre
from xarray.ufuncs import exp

from her2bayes.bayes.prior import Prior
from her2bayes.estimand import Estimand
from her2bayes.evidence.patients.external_survival import External
from her2bayes.inference.convergence import Diagnostics, diagnostics, verdict
from her2bayes.inference.meaning import meaning
from her2bayes.inference.sampling import Sampling
from her2bayes.inference.store import Store, data_digest, fit_key
from her2bayes.survival.draws import draws as answers
from her2bayes.survival.piecewise import log_hazard
from her2bayes.survival.survival_borrowing import build
from her2bayes.version import versions

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
    offset = draws["offset"].stack(element=("study", "offset_of"), create_index=False)
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
