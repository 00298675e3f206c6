"""Draws of every estimand on rates: what a posterior by level, category, event or arm says of it.

``drawn`` answers rates, and what is made of two or more of them draw by draw:

    response_rate[orr | her2=low]                    a rate
    response_rate_difference[orr ; her2: low vs zero]      the first less the second
    share_ratio[orr ; her2: low vs zero]             the first over the second
    ordering[orr low > zero ; her2]                  1 where the rates fall in the order written
    heterogeneity[orr ; her2]                        largest less smallest rate of a factor's levels

so do ``event_rate``, ``event_rate_difference``, ``share`` and ``share_difference``. The functions
before it turn the variables of one model into rates. Rows, page, sensitivity analysis, calibration
and users all ask here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from her2bayes.errors import BadInput, Fault, raise_if
from her2bayes.estimand import Estimand, is_percent, not_answered
from her2bayes.inference.convergence import CONVERGED, MCSE_COLUMNS, Diagnostics
from her2bayes.inference.estimates import INTERVAL, Event, estimate
from her2bayes.inference.fit import ExactFit, Fit
from her2bayes.rates.rate_exact import Rate

if TYPE_CHECKING:
    from her2bayes.evidence.printed.adverse_events import AdverseEvents
    from her2bayes.inference.sampling import Sampling
    from her2bayes.rates.rate_exact import Computed

Drawn = Mapping[Estimand, xr.DataArray]

Say = Callable[[str], None]
"""Is told of each step."""

Make = Callable[..., Fit]
"""Makes a fit of a model's ``build`` and data, or takes it from where it is kept."""

Cell = tuple[int, int]
"""Patients with the outcome, and patients."""

POSTERIOR, PRIOR = "posterior", "prior"
BASES = {
    "response_rate_difference": ("response_rate",),
    "event_rate_difference": ("event_rate",),
    "share_difference": ("share", "response_rate", "event_rate"),
    "share_ratio": ("share", "response_rate", "event_rate"),
    "ordering": ("response_rate", "event_rate", "share"),
    "heterogeneity": ("response_rate", "event_rate", "share"),
}
"""Kinds that are made of rates, and of which."""


def rates(draws: xr.Dataset, seed: int, weight: float | None = None) -> xr.DataArray:
    """Rate of each level from draws of ``response`` (dims of ``draws``), between 0 and 1.

    A draw is that of the exchangeable part with probability ``together``, else that of the level
    on its own. Draws from the prior have seen no data: give them their ``weight`` instead.
    """
    share = draws["together"] if weight is None else xr.full_like(draws["together"], weight)
    chosen = np.random.default_rng(seed).uniform(size=share.shape) < share
    rate = draws["rate_together"].where(chosen, draws["rate_alone"])
    return rate.transpose("chain", "draw", ...).rename("rate")


def group_rate(shares: xr.DataArray, categories: Sequence[str]) -> xr.DataArray:
    """Rate of a group of best responses: the sum of their shares (dim ``category``)."""
    return shares.sel(category=list(categories)).sum("category")


def of_levels(rate: xr.DataArray, group: str, counts: xr.Dataset) -> Drawn:
    """Rates of a group of responses by level, from ``rates``."""
    given = zip(counts["factor"].values, counts["level"].values, strict=True)
    return {
        Estimand("response_rate", group, ((str(factor), str(level)),)): bare(
            rate.isel(subgroup=place)
        )
        for place, (factor, level) in enumerate(given)
    }


def of_categories(
    share: xr.DataArray,
    response: str,
    groups: Mapping[str, Sequence[str]],
    given: Sequence[tuple[tuple[str, str], ...]],
) -> Drawn:
    """Shares of best responses and rates of their groups; ``given`` are the conditions by row.

    Shares of single categories are answered of all patients only, where nothing is given.
    """
    found: dict[Estimand, xr.DataArray] = {}
    for place, where in enumerate(given):
        one = share.isel(subgroup=place, drop=True)
        for category in () if where else map(str, one["category"].to_numpy()):
            asked = Estimand("share", f"{response}={category}")
            found[asked] = bare(one.sel(category=category))
        for group, members in groups.items():
            found[Estimand("response_rate", group, where)] = bare(group_rate(one, members))
    return found


def of_events(draws: xr.Dataset, events: AdverseEvents) -> Drawn:
    """Rates of events at each severity that is counted; one rate where every case is severe."""
    any_ = draws["rate"].isel(stage=0, drop=True)
    defined = events.counts["by_definition"].drop_vars("body_system")
    severe = draws["rate_severe"].where(~defined, any_)
    return {
        Estimand("event_rate", event, (("severity", severity),)): bare(rate.sel(event=event))
        for severity, rate in zip(events.severities, (any_, severe), strict=False)
        for event in events.names
        if severity == events.severities[0] or events.graded(event)
    }


def of_arms(
    draws: xr.Dataset,
    counts: xr.Dataset,
    severity: str,
    seed: int,
    *,
    turned: bool,
    before: bool = False,
) -> Drawn:
    """Rates of events in two arms; equal with probability ``same``.

    ``turned``: the model took the arms of ``counts`` in the other order. ``before``: draws from
    the prior have seen no data, their probability is that of the event's body system.
    """
    share = draws["same"]
    if before:
        systems = xr.DataArray(counts["body_system"].values, dims="event")
        share = draws["same_prior"].sel(system=systems).drop_vars(("system", "body_system"),
                                                                 errors="ignore")  # fmt: skip
        share = share.assign_coords(event=draws["event"].values).transpose(*draws["same"].dims)
    equal = np.random.default_rng(seed).uniform(size=share.shape) < share
    found: dict[Estimand, xr.DataArray] = {}
    for arm, place in zip(map(str, counts["arm"].values), (1, 0) if turned else (0, 1),
                          strict=True):  # fmt: skip
        apart = draws["rate_different"].isel(arm=place, drop=True)
        rate = draws["rate_same"].where(equal, apart)
        for event in map(str, counts["event"].values):
            given = (("arm", arm), ("severity", severity))
            found[Estimand("event_rate", event, given)] = bare(rate.sel(event=event))
    return found


def of_distributions(
    computed: Mapping[Estimand, Computed], sampling: Sampling, group: str = POSTERIOR
) -> Drawn:
    """Independent draws of computed rates: their quantiles on an even grid, in random order."""
    rng = np.random.default_rng([sampling.seed, 11, group != POSTERIOR])
    even = (np.arange(sampling.chains * sampling.draws) + 0.5) / (sampling.chains * sampling.draws)
    return {
        asked: chained(rng.permutation(rate.ppf(even)), sampling)
        for asked, rate in computed.items()
    }


def chained(values: np.ndarray, sampling: Sampling) -> xr.DataArray:
    """Independent draws as chains of the length of those that are sampled."""
    return xr.DataArray(
        values.reshape(sampling.chains, sampling.draws),
        dims=("chain", "draw"),
        coords={"chain": np.arange(sampling.chains), "draw": np.arange(sampling.draws)},
    )


def bare(draws: xr.DataArray) -> xr.DataArray:
    """Draws without coordinates of what they are of."""
    return draws.drop_vars([n for n in draws.coords if n not in ("chain", "draw")])


@dataclass(frozen=True)
class Part:
    """Rates that one fit answers: ``made`` gives their draws, ``exact`` what is computed of them.

    ``exact`` maps an estimand to its distribution after and before the data, ``cells`` the rate of
    one binomial to its counts. ``reading`` is that under which they are reported, empty for the
    first one.
    """

    fit: Fit | ExactFit
    asked: tuple[Estimand, ...]
    made: Callable[[str], Drawn]
    exact: Mapping[Estimand, tuple[Computed, Computed]] = field(default_factory=dict)
    cells: Mapping[Estimand, Cell] = field(default_factory=dict)
    reading: str = ""

    @cached_property
    def _kept(self) -> dict[str, Drawn]:
        return {}

    def rates(self, group: str = POSTERIOR) -> Drawn:
        """Draws of the rates from one group of the tree, made when they are first asked for."""
        if group not in self._kept:
            self._kept[group] = self.made(group)
        return self._kept[group]


def drawn(
    parts: Sequence[Part], asked: Iterable[Estimand], group: str = POSTERIOR, reading: str = ""
) -> dict[Estimand, xr.DataArray]:
    """Draws (chain, draw) of estimands, of a whole table in one pass, on the natural scale.

    ``group`` is "posterior" or "prior". Raises ``BadInput`` that names what these parts answer.
    """
    if group not in (POSTERIOR, PRIOR):
        allowed = f"{POSTERIOR}, {PRIOR}"
        raise BadInput(Fault("no such group of draws", value=group, allowed=allowed))
    where: dict[Estimand, Part] = {}
    for part in parts:
        if part.reading == reading:
            where = {**dict.fromkeys(part.asked, part), **where}
    return combined(where, asked, lambda rate: where[rate].rates(group)[rate])


def combined(
    known: Iterable[Estimand],
    asked: Iterable[Estimand],
    rate_of: Callable[[Estimand], xr.DataArray],
) -> dict[Estimand, xr.DataArray]:
    """Draws of estimands made of the ``known`` rates, whose draws ``rate_of`` gives."""
    found, faults, answered = dict[Estimand, xr.DataArray](), list[Fault](), dict.fromkeys(known)
    for one in asked:
        needed = _needed(one, answered)
        if needed is None:
            faults.append(not_answered(one, "rates", map(str, answered)))
        else:
            found[one] = _made(one, [rate_of(rate) for rate in needed])
    raise_if(faults)
    return found


def _needed(asked: Estimand, known: Mapping[Estimand, None]) -> list[Estimand] | None:
    """Rates that an estimand is made of, in order; None where one is missing."""
    if asked in known:
        return [asked]
    contrast = asked.contrast
    if contrast is None or asked.time is not None:
        return None
    for kind in BASES.get(asked.kind, ()):
        outcome, levels = asked.outcome, [contrast.a, contrast.b]
        if asked.kind == "ordering":
            outcome, _, said = outcome.partition(" ")
            levels = [level.strip() for level in said.split(">")]
        if asked.kind == "heterogeneity":
            levels = _levels(known, kind, outcome, contrast.factor, asked.given)
        rates = [
            Estimand(kind, outcome, (*asked.given, (contrast.factor, level)))
            for level in levels
            if level
        ]
        if len(rates) > 1 and all(rate in known for rate in rates):
            return rates
    return None


def _levels(
    known: Iterable[Estimand], kind: str, outcome: str, factor: str, given: Iterable[Any]
) -> list[str]:
    """Levels of a factor that an outcome has rates of."""
    return [
        rate.conditions[factor]
        for rate in known
        if (rate.kind, rate.outcome) == (kind, outcome)
        and factor in rate.conditions
        and set(rate.given) == {*given, (factor, rate.conditions[factor])}
    ]


def _made(asked: Estimand, rates: Sequence[xr.DataArray]) -> xr.DataArray:
    match asked.kind if len(rates) > 1 else "":
        case "":
            return rates[0]
        case "share_ratio":
            return rates[0] / rates[1]
        case "ordering":
            falls = [before > after for before, after in pairwise(rates)]
            return xr.concat(falls, dim="pair").all("pair").astype(float)
        case "heterogeneity":
            each = xr.concat(rates, dim="level")
            return each.max("level") - each.min("level")
    return rates[0] - rates[1]


EXACT = "computed by quadrature, without sampling"


@dataclass(frozen=True)
class Independent:
    """What independent draws of a computed posterior say of themselves: nothing can be wrong."""

    named: ExactFit
    draws: xr.DataArray

    @property
    def fit_id(self) -> str:
        """Name of the computation."""
        return self.named.fit_id

    @property
    def model(self) -> str:
        """File that holds its equations."""
        return self.named.model

    @property
    def diagnostics(self) -> Diagnostics:
        """Chains and draws."""
        return Diagnostics(self.draws.sizes["chain"], self.draws.sizes["draw"], 0, np.inf)


def rate_row(
    part: Part,
    asked: Estimand,
    *,
    above: float | None = None,
    below: float | None = None,
    note: str = "",
) -> dict[str, Any]:
    """Row of estimates of one estimand: computed where the part computes it, else from its draws.

    The probability reported is that of a value above or below a limit; ``note`` must name it.
    """
    if asked in part.exact:
        return _computed_row(part, asked, above, below, note)
    after, before = (
        drawn([part], [asked], group, part.reading)[asked] for group in (POSTERIOR, PRIOR)
    )
    event: Event | None = None
    if above is not None:
        event = lambda draws: draws > above  # noqa: E731
    if below is not None:
        event = lambda draws: draws < below  # noqa: E731
    fit = part.fit if isinstance(part.fit, Fit) else Independent(part.fit, after)
    unit = "%" if asked.kind == "heterogeneity" else None
    return estimate(asked, after, before, fit, event=event, note=note, unit=unit,
                    reading=part.reading)  # fmt: skip


def _computed_row(
    part: Part, asked: Estimand, above: float | None, below: float | None, note: str
) -> dict[str, Any]:
    after, before = part.exact[asked]
    scale = 100.0 if is_percent(asked.kind) else 1.0
    variance, variance_before = _variance(after), _variance(before)
    return {
        "estimand": str(asked),
        **_summary(POSTERIOR, after, scale, above, below),
        **_summary(PRIOR, before, scale, above, below),
        "contraction": 1 - variance / variance_before if variance_before else float("nan"),
        "note": "; ".join(text for text in (note, EXACT) if text),
        "unit": "%" if scale > 1 else "",
        "reading": part.reading,
        "model": part.fit.model,
        "fit_id": part.fit.fit_id,
        "convergence": CONVERGED,
        **dict.fromkeys(MCSE_COLUMNS, 0.0),
    }


def _variance(computed: Computed) -> float:
    """Variance on the scale of the kind: of the log odds of a rate, of a difference as it is."""
    if isinstance(computed, Rate):
        mean = computed.mass @ computed.log_odds
        return float(computed.mass @ (computed.log_odds - mean) ** 2)
    return computed.std() ** 2


def _summary(
    name: str, rate: Computed, scale: float, above: float | None, below: float | None
) -> dict[str, float]:
    tail = (1 - INTERVAL) / 2
    lower, median, upper = rate.ppf(np.array([tail, 0.5, 1 - tail])) * scale
    chance = float("nan")
    if above is not None:
        chance = float(1 - rate.cdf(above))
    if below is not None:
        chance = float(rate.cdf(below))
    return {
        f"{name}_median": float(median),
        f"{name}_lower": float(lower),
        f"{name}_upper": float(upper),
        f"{name}_probability": chance,
    }
