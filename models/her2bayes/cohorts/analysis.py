"""Survival that a paper does not publish, from the patients its printed numbers allow.

Cohorts D and parameters theta of the reference model come from one chain (``reconstruction``), so
its draws of theta already mix over cohorts: p(theta | printed) = sum over D of p(theta | D)
p(D | printed). That is exact for this model and these priors. Any other model fitted to the
cohorts afterwards is multiple imputation by an uncongenial imputer, and must be called so.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import xarray as xr

from her2bayes import __version__
from her2bayes.cohorts import estimates
from her2bayes.cohorts.answers import over_cohorts
from her2bayes.cohorts.chain import tempering as reconstruction
from her2bayes.cohorts.chain.problem import Problem, problem
from her2bayes.cohorts.chain.settings import Settings, settings_of
from her2bayes.cohorts.chain.tempering import Chain
from her2bayes.cohorts.ensemble import SummaryEnsemble, ensemble_of
from her2bayes.cohorts.printed.design import Summary
from her2bayes.cohorts.printed.interpretations import reported
from her2bayes.cohorts.printed.survival import read_summary
from her2bayes.errors import BadInput
from her2bayes.estimand import Contrast, Estimand
from her2bayes.evidence.printed.study import published_folder
from her2bayes.evidence.printed.vocabulary import canonical
from her2bayes.inference import digest
from her2bayes.inference.estimates import estimates_table
from her2bayes.inference.meaning import meaning
from her2bayes.inference.store import Store

if TYPE_CHECKING:
    from her2bayes.evidence.printed.study import Study
    from her2bayes.inference.sampling import Sampling

Interval = tuple[float, float, float]
MEMBERS = 50  # cohorts drawn and matched in a report; the script `reconstruct` makes any number
KEPT = 250  # draws of each chain that are kept, evenly spaced
MODEL = "reconstructed_survival"
SAMPLED_BY = (reconstruction.chains, problem)  # what they mean is part of the key of chains
SHIPPED = "reconstructed"  # folder beside the published studies


@dataclass(frozen=True)
class Endpoint:
    """One endpoint: its cohorts, what they and the reference model say, and the fit's name."""

    ensemble: SummaryEnsemble
    posed: Problem
    fit_id: str
    estimates: pd.DataFrame
    cohorts: pd.DataFrame  # classical numbers over the cohorts
    variance: pd.DataFrame  # share of posterior variance due to not knowing the patients
    shipped: bool  # chains made before and kept with the package, or made for this report


@dataclass(frozen=True)
class Result:
    """All endpoints of a study, with their estimates and classical numbers in one table each."""

    study: str
    labels: Mapping[str, str]
    endpoints: tuple[Endpoint, ...]
    estimates: pd.DataFrame
    classical: pd.DataFrame
    settings: Settings
    failed: tuple[tuple[str, str], ...] = ()  # endpoint and why it has no cohorts
    published: Mapping[str, Interval] = field(default_factory=dict)  # printed ratios by estimand


def applies(study: Study) -> bool:
    """Whether the study names endpoints that a report reconstructs."""
    return bool(reported(study))


def run(
    study: Study,
    store: Store | None,
    sampling: Sampling,
    say: Callable[[str], None] = lambda _: None,
) -> Result:
    """Reconstruct every endpoint, or read its chains from the store, and estimate from it."""
    settings, short = _settings(study, sampling)
    found: list[Endpoint] = []
    failed: list[tuple[str, str]] = []
    for name in reported(study):
        say(f"patients behind the printed numbers of {name}")
        try:
            item = read_summary(study, name)
            known = shipped(item, settings) is not None
            found.append(analyse(item, settings if known else short, store))
        except BadInput as bad:  # contradictory numbers are a finding of the report, not its end
            failed.append((name, str(bad)))
    used = settings if all(e.shipped for e in found) else short
    return result_of(study, found, used, failed)


def _settings(study: Study, sampling: Sampling) -> tuple[Settings, Settings]:
    """Settings of the chains kept with the package, and those of chains made for a report."""
    settings = settings_of(study, seed=sampling.seed)
    quick = sampling.draws < 1000
    return settings, replace(settings, chains=2, warm=120, sweeps=60) if quick else settings


@dataclass(frozen=True)
class Drawn:
    """Draws behind the rows of one endpoint, asked one estimand at a time."""

    fit_id: str
    ensemble: SummaryEnsemble
    posed: Problem
    draws: estimates.Draws

    def of(self, estimand: Estimand) -> tuple[str, tuple[xr.DataArray, xr.DataArray]]:
        """Verdict, posterior and prior draws of one estimand: those of the report's row."""
        after, before = estimates.value(estimand, self.draws, self.ensemble.summary, self.posed)
        return estimates.verdict(after, self.ensemble), (after, before)


def drawn(study: Study, endpoint: str, store: Store | None, sampling: Sampling) -> Drawn:
    """Draws of an endpoint, from the chains of the report."""
    item = read_summary(study, endpoint)
    settings, short = _settings(study, sampling)
    kept = shipped(item, settings)
    used = settings if kept is not None else short
    fit_id = digest.key(_identity(item, used))
    posed = problem(item)
    ensemble = ensemble_of(item, kept or _chains(posed, used, store, fit_id), MEMBERS)
    return Drawn(fit_id, ensemble, posed, estimates.draws_of(posed, ensemble.chains, used.seed))


def result_of(
    study: Study, found: Sequence[Endpoint], settings: Settings, failed: Sequence[Any] = ()
) -> Result:
    """All endpoints of a study together."""
    return Result(
        study=study.id,
        labels={name: factor.label for name, factor in study.factors.items()},
        endpoints=tuple(found),
        estimates=pd.concat([estimates_table([]), *(e.estimates for e in found)]),
        classical=pd.concat([pd.DataFrame(), *(e.cohorts for e in found)]),
        settings=settings,
        failed=tuple(failed),
        published=published_ratios(study),
    )


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


def analyse(item: Summary, settings: Settings, store: Store | None) -> Endpoint:
    """Chains of one endpoint, their verdict, estimates and variance shares."""
    before = shipped(item, settings)
    fit_id = digest.key(_identity(item, settings))
    chains = before or _chains(problem(item), settings, store, fit_id)
    return endpoint_of(ensemble_of(item, chains, MEMBERS), settings, before is not None)


def endpoint_of(ensemble: SummaryEnsemble, settings: Settings, kept: bool = False) -> Endpoint:
    """Estimates and variance shares of an ensemble; ``kept``: its chains came with the package."""
    item = ensemble.summary
    posed = problem(item)
    fit_id = digest.key(_identity(item, settings))
    draws = estimates.draws_of(posed, ensemble.chains, settings.seed)
    rows, variance = estimates.rows(item, draws, posed, ensemble, (MODEL, fit_id))
    return Endpoint(
        ensemble, posed, fit_id, estimates_table(rows), over_cohorts(ensemble), variance,
        kept,
    )  # fmt: skip


def shipped(item: Summary, settings: Settings) -> list[Chain] | None:
    """Chains kept with the package, where numbers, code and settings are what they were made of."""
    folder = published_folder().parent / SHIPPED
    tree = Store(folder).load(MODEL, digest.key(_identity(item, settings)))
    return None if tree is None else _read(tree)


def keep(item: Summary, settings: Settings, chains: Sequence[Chain], folder: Path) -> Path:
    """Write chains where ``shipped`` looks for them, if the folder is that of the package."""
    fit_id = digest.key(_identity(item, settings))
    tree = _tree(thinned(chains), _identity(item, settings))
    folder.mkdir(parents=True, exist_ok=True)
    return Store(folder).save(MODEL, fit_id, tree)


def thinned(chains: Sequence[Chain]) -> list[Chain]:
    """At most ``KEPT`` draws of each chain, evenly spaced."""
    found = []
    for chain in chains:
        size = chain.months.shape[0]
        picks = np.linspace(0, size - 1, min(KEPT, size)).round().astype(int)
        names = ("months", "event", "cell", "theta", "found")
        found.append(replace(chain, **{name: getattr(chain, name)[picks] for name in names}))
    return found


def _identity(item: Summary, settings: Settings) -> dict[str, Any]:
    numbers = [(s.estimand, s.kind, dict(s.given), s.levels, s.targets) for s in item.statistics]
    facts = [(f.what, f.cells.tolist(), f.event, f.low, f.high) for f in item.facts]
    return {
        "model": MODEL,
        "package": __version__,
        "source": meaning(*SAMPLED_BY),
        "data": digest.data_digest([item.patients, item.last, item.endpoint, numbers, facts]),
        "settings": asdict(settings),
    }


def _chains(posed: Problem, settings: Settings, store: Store | None, fit_id: str) -> list[Chain]:
    if store is None:
        return thinned(reconstruction.chains(posed, settings))
    tree = store.load(MODEL, fit_id)
    if tree is None:
        with store.lock(fit_id):
            tree = store.load(MODEL, fit_id)
            if tree is None:
                found = thinned(reconstruction.chains(posed, settings))
                identity = _identity(posed.summary, settings)
                store.save(MODEL, fit_id, _tree(found, identity))
                return found
    return _read(tree)


def _tree(chains: Sequence[Chain], identity: Mapping[str, Any]) -> xr.DataTree:
    parts = {}
    for k, chain in enumerate(chains):
        parts[f"chain_{k}"] = xr.Dataset(
            {
                "tenths": (("draw", "patient"), np.rint(10 * chain.months).astype(np.int16)),
                "event": (("draw", "patient"), chain.event.astype(np.int8)),
                "cell": (("draw", "patient"), chain.cell.astype(np.int16)),
                "theta": (("draw", "parameter"), chain.theta),
                "found": ("draw", chain.found),
                "tally": (("move", "count"), chain.tally),
                "refusals": ("place", chain.refusals),
            },
            attrs={"trips": chain.trips, "seconds": chain.seconds},
        )
        for variable in parts[f"chain_{k}"].variables.values():
            variable.encoding["zlib"] = True
    tree = xr.DataTree.from_dict(parts)
    made = {**identity, "versions": digest.versions()}
    tree.attrs["provenance"] = json.dumps(made, default=str)
    return tree


def _read(tree: xr.DataTree) -> list[Chain]:
    chains = []
    for name in sorted(tree.children, key=lambda text: int(text.rpartition("_")[2])):
        part = tree[name].to_dataset()
        chains.append(
            Chain(
                part["tenths"].to_numpy() / 10.0,
                part["event"].to_numpy().astype(np.int64),
                part["cell"].to_numpy().astype(np.int64),
                part["theta"].to_numpy(),
                part["found"].to_numpy(),
                part["tally"].to_numpy(),
                int(part.attrs["trips"]),
                part["refusals"].to_numpy(),
                float(part.attrs["seconds"]),
            )
        )
    return chains
