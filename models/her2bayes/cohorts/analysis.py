"""Survival that a paper does not publish, from the patients its printed numbers allow.

Cohorts D and parameters theta of the reference model come from one chain, so its draws of theta
already mix over cohorts: p(theta | printed) = sum over D of p(theta | D) p(D | printed). That is
exact for this model and these priors. Any other model fitted to the cohorts afterwards is multiple
imputation by an uncongenial imputer, and must be called so.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING

import pandas as pd

from her2bayes.cohorts import kept
from her2bayes.cohorts.chain.replica import Settings
from her2bayes.cohorts.chain.tempering import Chain
from her2bayes.cohorts.constraints import read_summary
from her2bayes.cohorts.draws import Draws, check
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
from her2bayes.inference.estimates import estimates_table

if TYPE_CHECKING:
    from her2bayes.evidence.printed.study import Study
    from her2bayes.inference.sampling import Sampling
    from her2bayes.inference.store import Store

Interval = tuple[float, float, float]
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
    def draws(self) -> Draws:
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
