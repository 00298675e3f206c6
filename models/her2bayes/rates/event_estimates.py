"""Adverse events of a study at two severities: printed counts in, shrunken rates out.

Adverse events beside those of other studies: how probably the own rate is the higher one.

With x of n patients here and y of m there, rates own ~ Beta(1 + x, 1 + n - x) and external
~ Beta(1 + y, 1 + m - y), both uncertain, P(own > external) is computed by quadrature; the same
with the own rate as the hierarchical model shrinks it is the mean over its draws of the external
distribution function. The studies are taken as they are: other patients, other grading, other
follow-up are no part of these probabilities.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import xarray as xr
from scipy import stats

from her2bayes.bayes.prior import Prior, complete
from her2bayes.classical.proportions import newcombe, wilson_row
from her2bayes.errors import Fault, raise_if
from her2bayes.estimand import Estimand
from her2bayes.evidence.printed.adverse_events import ANY, AdverseEvents, read_adverse_events
from her2bayes.inference.estimates import estimate, estimates_table
from her2bayes.inference.fit import ExactFit, Fit, fit
from her2bayes.inference.sampling import Sampling
from her2bayes.inference.store import Store
from her2bayes.rates import adverse_events as model
from her2bayes.rates.cohort_shares import shares_fit
from her2bayes.rates.exact_rows import exact_row
from her2bayes.rates.lattice import beta, lattice, probability_greater

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

    from her2bayes.evidence.printed.study import Study


Cell = tuple[int, int]
COLUMNS = ("study", "event", "severity", "count", "patients", "external_count", "external_patients",
           "difference", "difference_lower", "difference_upper", "probability_higher",
           "probability_higher_shrunken")  # fmt: skip


def compare(
    own: AdverseEvents, draws: Mapping[str, xr.DataArray], external: Mapping[str, AdverseEvents]
) -> pd.DataFrame:
    """One row an event, severity and study that both report; ``draws`` as of ``adverse_events``.

    ``difference`` is own less external in percentage points with Newcombe's 95 % interval.
    """
    import pandas as pd

    rows = []
    for study, events in external.items():
        for name, severity, (x, n), (y, m) in shared(own, events):
            places = lattice(n + m)
            rates = beta(1 + x, 1 + n - x, places), beta(1 + y, 1 + m - y, places)
            shrunken = np.nan
            if name != ANY and severity in draws:
                rate = draws[severity].sel(event=name).to_numpy()
                shrunken = float(np.mean(stats.beta.cdf(rate, 1 + y, 1 + m - y)))
            gap = [100 * v for v in (x / n - y / m, *newcombe(x, n, y, m))]
            rows.append((study, name, severity, x, n, y, m, *gap, probability_greater(*rates),
                         shrunken))  # fmt: skip
    return pd.DataFrame(rows, columns=list(COLUMNS))


def shared(own: AdverseEvents, other: AdverseEvents) -> list[tuple[str, str, Cell, Cell]]:
    """Events (own name, severity) that both report, with both cells; matched without case."""
    known = {(event.lower(), severity): (event, cell)
             for (event, severity), cell in own.cells().items()}  # fmt: skip
    return [
        (known[event.lower(), severity][0], severity, known[event.lower(), severity][1], cell)
        for (event, severity), cell in other.cells().items()
        if (event.lower(), severity) in known
    ]


def check(own: AdverseEvents, external: Mapping[str, AdverseEvents]) -> None:
    """Raise ``BadInput`` for a study with no event and severity in common."""
    allowed = ", ".join(f"{event} ({severity})" for event, severity in own.cells())
    problem = "no event of the external table has the name and severity of an own one"
    raise_if(
        [
            Fault(problem, value=study, allowed=allowed, remedy="use the same names in both tables")
            for study, events in external.items()
            if not shared(own, events)
        ]
    )


THRESHOLDS = (0.20, 0.05)
"""Rates whose exceedance is reported: events of any severity, severe events."""

CAREFUL = 0.99


@dataclass(frozen=True)
class Result:
    """Counts, fit and estimates; ``draws`` and ``before`` hold rates by severity and event.

    Without single events there is no ``fit``, and rates of any event at all are all there is.
    """

    study: str
    events: AdverseEvents
    fit: Fit | None
    draws: Mapping[str, xr.DataArray]
    before: Mapping[str, xr.DataArray]
    thresholds: tuple[float, float]
    estimates: pd.DataFrame
    classical: pd.DataFrame


def applies(study: Study) -> bool:
    """Whether the study prints adverse events."""
    return not study.adverse_events.empty


def run(
    study: Study,
    store: Store | None,
    sampling: Sampling,
    say: Callable[[str], None] = lambda _: None,
) -> Result:
    """Fit the adverse events of ``study``.

    Raises ``BadInput`` before the first draw where severe events exceed events of any severity.
    """
    events = read_adverse_events(study.adverse_events, "adverse_events.csv")
    return analyse(study.id, events, store, sampling, say)


def analyse(
    name: str,
    events: AdverseEvents,
    store: Store | None,
    sampling: Sampling,
    say: Callable[[str], None] = lambda _: None,
    *,
    priors: Mapping[str, Prior] | None = None,
    thresholds: tuple[float, float] = THRESHOLDS,
) -> Result:
    """Fit checked counts; ``thresholds`` are rates (any severity, severe) as fractions."""
    complete(priors, model.DEFAULT_PRIORS, same_family=True)
    careful = replace(sampling, target_accept=max(sampling.target_accept, CAREFUL))
    rows, done, draws, before = list[dict[str, Any]](), None, {}, {}
    if events.names:
        say("adverse events")
        done = fit(model.build, modelled(events), priors=priors, sampling=careful, store=store)
        draws, before = (_by_severity(group, events) for group in (done.posterior, done.prior))
        rows += _rows(events, done, draws, before, thresholds)
    rows += _whole(events, thresholds)
    return Result(
        name,
        events,
        done,
        draws,
        before,
        thresholds,
        estimates_table(rows),
        pd.DataFrame(list(classical_rows(events))),
    )


def modelled(events: AdverseEvents) -> xr.Dataset:
    """Counts as the model takes them: no severe share of an event that is severe by definition."""
    counts = events.counts
    severe = counts["severe"].where(~counts["by_definition"], 0)
    return counts.assign(severe=severe)


def _by_severity(group: xr.Dataset, events: AdverseEvents) -> dict[str, xr.DataArray]:
    """Rates by severity; one rate where every case is severe."""
    any_ = group["rate"].isel(stage=0, drop=True)
    defined = events.counts["by_definition"].drop_vars("body_system")
    severe = group["rate_severe"].where(~defined, any_)
    return dict(zip(events.severities, (any_, severe), strict=False))


def limits(events: AdverseEvents, thresholds: tuple[float, float]) -> dict[str, float]:
    """Threshold of each severity: the first is that of events of any severity."""
    order = thresholds if events.severities[0] == ANY else thresholds[::-1]
    return dict(zip(events.severities, order, strict=False))


def _rows(
    events: AdverseEvents,
    done: Fit,
    draws: Mapping[str, xr.DataArray],
    before: Mapping[str, xr.DataArray],
    thresholds: tuple[float, float],
) -> Iterator[dict[str, Any]]:
    for severity, limit in limits(events, thresholds).items():
        for event in events.names:
            if severity != events.severities[0] and not events.graded(event):
                continue
            asked = Estimand("event_rate", event, (("severity", severity),))
            after, prior = (
                group[severity].sel(event=event, drop=True) for group in (draws, before)
            )
            yield estimate(
                asked,
                after,
                prior,
                done,
                event=lambda rate, limit=limit: rate > limit,  # type: ignore[misc]
                note=_note(events, event, severity, limit),
            )


def _note(events: AdverseEvents, event: str, severity: str, limit: float) -> str:
    same = severity != events.severities[0] and event in events.by_definition
    return f"P(rate > {100 * limit:g} %)" + ("; severe by definition: one rate" if same else "")


def _whole(events: AdverseEvents, thresholds: tuple[float, float]) -> Iterator[dict[str, Any]]:
    """Rates of any event at all: printed counts of their own, one binomial each."""
    for severity, (count, patients) in events.whole.items():
        limit = limits(events, thresholds)[severity]
        places = lattice(patients)
        prior = beta(1, 1, places)
        yield exact_row(
            Estimand("event_rate", ANY, (("severity", severity),)),
            prior.updated(count, patients),
            prior,
            whole_fit(events),
            event=lambda rate, limit=limit: float(1 - rate.cdf(limit)),  # type: ignore[misc]
            note=f"{count} of {patients}; Beta(1, 1) prior; P(rate > {100 * limit:g} %)",
        )


def whole_fit(events: AdverseEvents) -> ExactFit:
    """Name of the computation behind the rates of any event at all."""
    return shares_fit({f"any event, {name}": cell for name, cell in events.whole.items()})


def classical_rows(events: AdverseEvents) -> Iterator[dict[str, Any]]:
    """Wilson interval of every printed rate."""
    for (event, severity), (count, patients) in events.cells().items():
        asked = Estimand("event_rate", event, (("severity", severity),))
        yield wilson_row(asked, count, patients)
