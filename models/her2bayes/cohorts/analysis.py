"""Survival that a paper does not publish, from the patients its printed numbers allow.

Cohorts D and parameters theta of the reference model come from one chain, so its draws of theta
already mix over cohorts: p(theta | printed) = sum over D of p(theta | D) p(D | printed). That is
exact for this model and these priors. Any other model fitted to the cohorts afterwards is multiple
imputation by an uncongenial imputer, and must be called so.

The baseline hazard is one of several (``chain.problem.BASELINES``). A ``Mixture`` holds an endpoint
under each, weighted by how well the baseline predicts what is printed:

    weight of b  ~  prior weight of b  *  p_b(printed),    p_b(printed) = sum over D of p_b(D)

over all cohorts D that meet the print; no number is used twice. Chains draw D in proportion to
p_b(D), parameters summed out, so ratios of p_b(printed) follow from the densities of all draws
under every baseline (Meng & Wong 1996; of several at once Shirts & Chodera 2008).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy.special import logsumexp

from her2bayes.cohorts import kept
from her2bayes.cohorts.chain.problem import BASELINES, EQUAL
from her2bayes.cohorts.chain.replica import Settings
from her2bayes.cohorts.chain.tempering import Chain
from her2bayes.cohorts.constraints import read_summary
from her2bayes.cohorts.draws import Draws, Marginal, MixedDraws, check, spread_over
from her2bayes.cohorts.ensemble import SummaryEnsemble, ensemble_of
from her2bayes.cohorts.estimates import (
    asked_of,
    over_cohorts,
    prior_sensitivity,
    prior_stances,
    rows,
)
from her2bayes.cohorts.interpretations import reported, settings_of
from her2bayes.cohorts.kept import Specification
from her2bayes.errors import BadInput
from her2bayes.estimand import Contrast, Estimand
from her2bayes.evidence.printed.vocabulary import canonical
from her2bayes.inference.convergence import CHAINS_DISAGREE
from her2bayes.inference.estimates import estimates_table
from her2bayes.inference.store import fit_key

if TYPE_CHECKING:
    from her2bayes.evidence.printed.study import Study
    from her2bayes.inference.sampling import Sampling
    from her2bayes.inference.store import Store

Interval = tuple[float, float, float]
WEIGHED = 50  # draws of each chain whose density is taken under every baseline
LARGEST_ERROR = 1.0  # of a log evidence: weights known to less than a factor of e are not known
RULED_OUT, LEAST_WEIGHT = 0.01, 0.001
MEMBERS = 50  # cohorts drawn and matched in a report


@dataclass(frozen=True)
class Endpoint:
    """One endpoint: what its chains are of, its cohorts, and what both say.

    ``shipped``: its chains were made before and came with the package.
    """

    spec: Specification
    ensemble: SummaryEnsemble
    shipped: bool = False

    @property
    def name(self) -> str:
        """Endpoint, as in the study."""
        return self.spec.summary.endpoint

    @property
    def fit_id(self) -> str:
        """Key of the chains."""
        return self.spec.fit_id

    @cached_property
    def draws(self) -> Draws | MixedDraws:
        """Rates and patients of the chains, of the prior, of each member's patients."""
        return Draws(self.spec.posed, self.ensemble.chains, self.spec.settings.seed)

    @cached_property
    def reported(self) -> tuple[Estimand, ...]:
        """Estimands of a report."""
        return tuple(asked_of(self.spec.summary))

    @cached_property
    def _rows(self) -> tuple[pd.DataFrame, pd.DataFrame]:
        found, shares = rows(self.reported, self.draws, self.ensemble, self.fit_id)
        return estimates_table(found), shares

    @property
    def estimates(self) -> pd.DataFrame:
        """One row an estimand of the report."""
        return self._rows[0]

    @property
    def variance(self) -> pd.DataFrame:
        """Share of each estimate's posterior variance that is due to not knowing the patients."""
        return self._rows[1]

    @cached_property
    def prior_sensitivity(self) -> pd.DataFrame:
        """Hazard ratios under wider and narrower priors of the factor's effects."""
        return prior_sensitivity(self.reported, self.draws, self.ensemble)

    @cached_property
    def cohorts(self) -> pd.DataFrame:
        """Classical numbers over the cohorts."""
        return over_cohorts(self.ensemble)

    @property
    def baseline_said(self) -> str:
        """Baseline hazard in words, where it is not the reported one."""
        name = self.spec.baseline
        return "" if name == EQUAL else f"baseline hazard: {BASELINES[name]}, not the reported one."

    def rows_of(self, asked: Sequence[Estimand]) -> pd.DataFrame:
        """Rows as of ``estimates`` for any estimands that the cohorts answer."""
        self.check(asked)
        return estimates_table(rows(asked, self.draws, self.ensemble, self.fit_id)[0])

    def check(self, asked: Sequence[Estimand]) -> None:
        """Raise ``BadInput`` with all estimands that the cohorts do not answer."""
        check(asked, self.name, self.draws.levels, self.spec.summary.last)


@dataclass(frozen=True)
class Result:
    """All reconstructed endpoints of a study, with what a report needs of the study."""

    study: str
    labels: Mapping[str, str]
    endpoints: tuple[Endpoint, ...]
    settings: Settings
    failed: tuple[tuple[str, str], ...] = ()  # endpoint and why it has no cohorts
    published: Mapping[str, Interval] = field(default_factory=dict)  # printed ratios by estimand
    about: Mapping[str, str] = field(default_factory=dict)  # of the study: title, citation, ...

    @property
    def estimates(self) -> pd.DataFrame:
        """Rows of all endpoints."""
        return pd.concat([estimates_table([]), *(e.estimates for e in self.endpoints)])

    @property
    def stances(self) -> dict[str, str]:
        """Hazard ratios under other priors, in words, by estimand."""
        return {
            estimand: said
            for endpoint in self.endpoints
            for estimand, said in prior_stances(endpoint.prior_sensitivity).items()
        }

    @property
    def classical(self) -> pd.DataFrame:
        """Classical numbers over the cohorts of all endpoints."""
        return pd.concat([pd.DataFrame(), *(e.cohorts for e in self.endpoints)])


@dataclass(frozen=True)
class MixedEnsemble(SummaryEnsemble):
    """Cohorts under several baselines; ``error`` of the log evidence where weights hang on it."""

    error: float = 0.0

    @property
    def agrees(self) -> bool:
        """Whether the chains of every baseline agree, and the weights are known."""
        return super().agrees and self.error <= LARGEST_ERROR

    @property
    def verdict(self) -> str:
        """The same in words."""
        if super().agrees and not self.agrees:
            return f"{CHAINS_DISAGREE}: error of a baseline's log evidence {self.error:.1f}"
        return super().verdict


@dataclass(frozen=True)
class Mixture(Endpoint):
    """One endpoint under every baseline hazard, in ``parts``, weighted by evidence.

    ``weighed`` has one row a baseline: ``prior_weight``, ``log_evidence`` against the first with
    its ``std_error`` (jackknife over chains), ``weight``.
    """

    parts: tuple[Endpoint, ...] = ()
    weighed: pd.DataFrame = field(default_factory=pd.DataFrame)

    @property
    def fit_id(self) -> str:
        """Key of all chains."""
        return fit_key({"mixture": [part.fit_id for part in self.parts]})

    @property
    def baseline_said(self) -> str:
        """Weights of the baseline hazards in words, with the evidence behind them."""
        weights = ", ".join(
            f"{BASELINES[row['baseline']]} {row['weight']:.0%}"
            + (f" (log evidence {row['log_evidence']:+.1f}, SE {row['std_error']:.1f})"
               if row["baseline"] != EQUAL else "")
            for row in self.weighed.to_dict("records")
        )  # fmt: skip
        return f"baseline hazards, weighted by how well they predict what is printed: {weights}."

    @cached_property
    def draws(self) -> Draws | MixedDraws:
        """Rates and patients, of each baseline as many as its weight."""
        weights = self.weighed["weight"].to_numpy(float)
        return MixedDraws([part.draws for part in self.parts], weights)


def mixture(parts: Sequence[Endpoint], number: int, weighed: pd.DataFrame | None = None) -> Mixture:
    """One endpoint from its chains under several baselines, ``number`` cohorts drawn from all."""
    weighed = weigh(parts) if weighed is None else weighed
    weights = weighed["weight"].to_numpy(float)
    used = [part for part, weight in zip(parts, weights, strict=True) if weight > 0]
    chains = [
        _mixed(runs, weights[weights > 0])
        for runs in zip(*(part.ensemble.chains for part in used), strict=False)
    ]
    made = ensemble_of(parts[0].spec.summary, chains, number)
    tables = [made.diagnostics]
    for part in used:
        table = part.ensemble.diagnostics
        tables.append(table.assign(quantity=table["quantity"] + f" [{part.spec.baseline}]"))
    unsure = weighed["std_error"][(weights > RULED_OUT) & (weights < 1 - RULED_OUT)]
    ensemble = MixedEnsemble(
        made.summary, made.chains, made.cohorts, pd.concat(tables, ignore_index=True),
        float(unsure.max()) if len(unsure) else 0.0,
    )  # fmt: skip
    shipped = all(part.shipped for part in parts)
    return Mixture(parts[0].spec, ensemble, shipped, tuple(parts), weighed)


def weigh(parts: Sequence[Endpoint]) -> pd.DataFrame:
    """Evidence and weight of each baseline (``Mixture.weighed``); prior weights are equal."""
    runs = [
        (place, number, chain, pick)
        for place, part in enumerate(parts)
        for number, chain in enumerate(part.ensemble.chains)
        for pick in np.linspace(
            0, len(chain.months) - 1, min(WEIGHED, len(chain.months))
        ).round().astype(int)
    ]  # fmt: skip
    density = np.empty((len(parts), len(runs)))
    for k, part in enumerate(parts):
        theta = np.concatenate([chain.theta for chain in part.ensemble.chains])
        marginal = Marginal(part.spec.posed, theta, part.spec.settings.seed)
        for n, (_, _, chain, pick) in enumerate(runs):
            density[k, n] = marginal.of(chain.months[pick], chain.event[pick], chain.cell[pick])
    of, number = (np.array([run[axis] for run in runs]) for axis in (0, 1))

    def evidence(kept: np.ndarray) -> np.ndarray:
        return bridged(density[:, kept], np.bincount(of[kept], minlength=len(parts)))

    found = evidence(np.ones(len(runs), bool))
    chains = np.unique(number)
    left = np.array([evidence(number != one) for one in chains])
    error = np.full(len(parts), np.inf)
    if len(chains) > 1:
        spread = np.square(left - left.mean(axis=0)).sum(axis=0)
        error = np.sqrt((len(chains) - 1) / len(chains) * spread)
    weight = np.exp(found - logsumexp(found))
    weight[weight < LEAST_WEIGHT] = 0.0
    return pd.DataFrame({
        "baseline": [part.spec.baseline for part in parts], "prior_weight": 1 / len(parts),
        "log_evidence": found, "std_error": error, "weight": weight / weight.sum(),
    })  # fmt: skip


def bridged(log_density: np.ndarray, number: np.ndarray) -> np.ndarray:
    """Logs of normalising constants, of the first 0, from draws of several densities.

    ``log_density`` (density, draw) of all draws under all densities, of which ``number`` (density)
    come from each.
    """
    found = np.zeros(len(log_density))
    for _ in range(10_000):
        mixed = logsumexp(log_density - found[:, None], axis=0, b=number[:, None])
        new = logsumexp(log_density - mixed, axis=1)
        new -= new[0]
        change, found = np.abs(new - found).max(), new
        if change < 1e-9:
            break
    return found


def _mixed(runs: Sequence[Chain], weights: np.ndarray) -> Chain:
    """One chain from one under each baseline, of each as many draws as its weight, by their time.

    Parameters mean something else under each baseline and are left out.
    """
    picks, order = spread_over([len(run.months) for run in runs], weights)
    months, event, cell, found = (
        np.concatenate([getattr(r, name)[p] for r, p in zip(runs, picks, strict=True)])[order]
        for name in ("months", "event", "cell", "found")
    )
    return Chain(
        months, event, cell, np.empty((len(months), 0)), found,
        np.sum([run.tally for run in runs], axis=0), sum(run.trips for run in runs),
        np.concatenate([run.refusals for run in runs]), sum(run.seconds for run in runs),
    )  # fmt: skip


def applies(study: Study) -> bool:
    """Whether the study names endpoints that a report reconstructs."""
    return bool(reported(study))


def run(
    study: Study,
    store: Store | None,
    sampling: Sampling,
    say: Callable[[str], None] = lambda _: None,
) -> Result:
    """Reconstruct every endpoint of a report, or read its chains; contradictions are findings."""
    settings, short = _settings(study, sampling)
    found: list[Endpoint] = []
    failed: list[tuple[str, str]] = []
    for name in reported(study):
        say(f"patients behind the printed numbers of {name}")
        try:
            item = read_summary(study, name)
            spec = Specification(item, settings)
            before = kept.shipped(spec)
            if before is not None:
                found.append(_endpoint(spec, before, shipped=True))
            else:
                found.append(analyse(Specification(item, short), store))
        except BadInput as bad:  # contradictory numbers are a finding of the report, not its end
            failed.append((name, str(bad)))
    used = settings if all(e.shipped for e in found) else short
    return result_of(study, found, used, failed)


def _settings(study: Study, sampling: Sampling) -> tuple[Settings, Settings]:
    """Settings of the chains kept with the package, and those of chains made for a report."""
    settings = settings_of(study, seed=sampling.seed)
    return settings, quicker(settings) if sampling.draws < 1000 else settings


def quicker(settings: Settings) -> Settings:
    """Settings of a first look: two short chains."""
    return replace(settings, chains=2, warm=120, sweeps=60)


def analyse(spec: Specification, store: Store | None, members: int = MEMBERS) -> Endpoint:
    """Cohorts of one endpoint, from chains of the package, of the store, or made anew."""
    before = kept.shipped(spec)
    chains = before or kept.stored(spec, store)
    return _endpoint(spec, chains, members, shipped=before is not None)


def _endpoint(
    spec: Specification, chains: Sequence[Chain], members: int = MEMBERS, *, shipped: bool
) -> Endpoint:
    return Endpoint(spec, ensemble_of(spec.summary, chains, members), shipped)


def result_of(
    study: Study,
    found: Sequence[Endpoint],
    settings: Settings,
    failed: Sequence[tuple[str, str]] = (),
) -> Result:
    """All endpoints of a study together."""
    labels = {name: factor.label for name, factor in study.factors.items()}
    about = {"id": study.id, "title": study.title}
    about |= {name: str(study.meta.get(name, "")) for name in ("citation", "doi", "design")}
    ratios = published_ratios(study)
    return Result(study.id, labels, tuple(found), settings, tuple(failed), ratios, about)


def published_ratios(study: Study) -> dict[str, Interval]:
    """Printed unadjusted hazard ratios with their limits, and the same turned round."""
    found: dict[str, Interval] = {}
    for row in study.ledger[study.ledger["statistic"] == "hazard_ratio"].to_dict("records"):
        value, low, high = (float(row[f"{n}_number"]) for n in ("value", "lower", "upper"))
        asked = canonical(str(row["estimand"]))
        if row["reading"] or not low > 0 or asked.contrast is None:
            continue
        found.setdefault(str(asked), (value, low, high))
        turned = Contrast(asked.contrast.factor, asked.contrast.b, asked.contrast.a)
        other = str(replace(asked, contrast=turned))
        found.setdefault(other, (1 / value, 1 / high, 1 / low))
    return found
