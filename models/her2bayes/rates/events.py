"""Adverse events of one arm at two severities, or of two arms: fits and their rows.

Counts of the event "any" are those of any event at all, which is not one of the events: its rates
are one binomial each with a uniform prior. Exchanging two arms mirrors every answer exactly: the
model is symmetric, and the arms are put into one order before they are fitted.

Beside other studies, with x of n patients here and y of m there, rates own ~ Beta(1 + x, 1 + n - x)
and external ~ Beta(1 + y, 1 + m - y), both uncertain, P(own > external) is computed by quadrature;
the same with the own rate as the hierarchical model shrinks it is the mean over its draws of the
external distribution function. The studies are taken as they are: other patients, other grading,
other follow-up are no part of these probabilities.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import xarray as xr
from scipy import stats

from her2bayes.bayes.prior import Prior
from her2bayes.classical.association import variants
from her2bayes.classical.proportions import adjusted, interval, newcombe, percent_row, wilson_row
from her2bayes.errors import Fault, raise_if
from her2bayes.estimand import Contrast, Estimand
from her2bayes.evidence.printed.adverse_events import ANY, NO_SYSTEM, AdverseEvents, at_risk_faults
from her2bayes.inference.fit import ExactFit, Fit
from her2bayes.rates import adverse_events as one_arm
from her2bayes.rates import adverse_events_two_arms as two_arms
from her2bayes.rates.classical import barnard, boschloo
from her2bayes.rates.cohort_shares import binomials, counted, shares_fit
from her2bayes.rates.draws import (
    POSTERIOR,
    Cell,
    Drawn,
    Make,
    Part,
    Say,
    of_arms,
    of_distributions,
    of_events,
    rate_row,
)
from her2bayes.rates.rate_exact import (
    Computed,
    Rate,
    RateDifference,
    beta,
    lattice,
    probability_greater,
)

if TYPE_CHECKING:
    from her2bayes.evidence.printed.study import Study
    from her2bayes.inference.sampling import Sampling

THRESHOLDS = (0.20, 0.05)
"""Rates whose exceedance is reported: events of any severity, severe events."""


def modelled(events: AdverseEvents) -> xr.Dataset:
    """Counts as the model takes them: no severe share of an event that is severe by definition."""
    counts = events.counts
    severe = counts["severe"].where(~counts["by_definition"], 0)
    return counts.assign(severe=severe)


def fit_events(
    events: AdverseEvents, make: Make, sampling: Sampling, say: Say, priors: Mapping[str, Prior]
) -> Fit | None:
    """Fit the single events; None where only any event at all is counted."""
    if not events.names:
        return None
    say("adverse events")
    return make(one_arm.build, modelled(events), priors=priors, sampling=sampling)


def event_part(events: AdverseEvents, done: Fit) -> Part:
    """Rates of the single events at each severity."""

    def made(group: str) -> Drawn:
        return of_events(done.posterior if group == POSTERIOR else done.prior, events)

    asked = [
        _rate(event, severity=severity)
        for severity in events.severities
        for event in events.names
        if severity == events.severities[0] or events.graded(event)
    ]
    return Part(done, tuple(asked), made)


def whole_part(events: AdverseEvents, sampling: Sampling) -> Part:
    """Rates of any event at all: printed counts of their own, one binomial each."""
    cells = {_rate(ANY, severity=severity): cell for severity, cell in events.whole.items()}
    return binomials(cells, sampling, whole_fit(events))


def whole_fit(events: AdverseEvents) -> ExactFit:
    """Name of the computation behind the rates of any event at all."""
    return shares_fit({f"any event, {name}": cell for name, cell in events.whole.items()})


def limits(events: AdverseEvents, thresholds: tuple[float, float]) -> dict[str, float]:
    """Threshold of each severity: the first is that of events of any severity."""
    order = thresholds if events.severities[0] == ANY else thresholds[::-1]
    return dict(zip(events.severities, order, strict=False))


def event_rows(
    events: AdverseEvents, part: Part, limit: Mapping[str, float]
) -> Iterator[dict[str, Any]]:
    """Rates of the single events, with the probability of exceeding the limit of a severity."""
    for asked in part.asked:
        severity = asked.conditions["severity"]
        note = f"P(rate > {100 * limit[severity]:g} %)"
        if severity != events.severities[0] and asked.outcome in events.by_definition:
            note += "; severe by definition: one rate"
        yield rate_row(part, asked, above=limit[severity], note=note)


def whole_rows(
    events: AdverseEvents, part: Part, limit: Mapping[str, float]
) -> Iterator[dict[str, Any]]:
    """Rates of any event at all, with the probability of exceeding the limit of a severity."""
    for asked, (severity, cell) in zip(part.asked, events.whole.items(), strict=True):
        note = f"{counted(cell)}; P(rate > {100 * limit[severity]:g} %)"
        yield rate_row(part, asked, above=limit[severity], note=note)


def event_classical(events: AdverseEvents) -> Iterator[dict[str, Any]]:
    """Wilson interval of every rate."""
    for (event, severity), cell in events.cells().items():
        yield wilson_row(_rate(event, severity=severity), *cell)


def _rate(event: str, **given: str) -> Estimand:
    return Estimand("event_rate", event, tuple(given.items()))


COLUMNS = ("study", "event", "severity", "count", "patients", "external_count", "external_patients",
           "difference", "difference_lower", "difference_upper", "probability_higher",
           "probability_higher_shrunken")  # fmt: skip


def compare(
    own: AdverseEvents, draws: Drawn, external: Mapping[str, AdverseEvents]
) -> pd.DataFrame:
    """One row an event, severity and study that both report; ``draws`` of the own rates.

    ``difference`` is own less external in percentage points with Newcombe's 95 % interval.
    """
    rows = []
    for study, events in external.items():
        for name, severity, (x, n), (y, m) in shared(own, events):
            places = lattice(n + m)
            rates = beta(1 + x, 1 + n - x, places), beta(1 + y, 1 + m - y, places)
            shrunken = np.nan
            asked = _rate(name, severity=severity)
            if asked in draws:
                rate = draws[asked].to_numpy()
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


@dataclass(frozen=True)
class Arms:
    """Counts (dims arm, event) by severity: of the single events, and of any event at all."""

    single: Mapping[str, xr.Dataset]
    whole: Mapping[str, xr.Dataset]

    @property
    def names(self) -> tuple[str, str]:
        """Control and treated arm."""
        table = next(iter({**self.whole, **self.single}.values()))
        control, treated = map(str, table["arm"].values)
        return control, treated

    @property
    def contrast(self) -> Contrast:
        """Treated against control."""
        control, treated = self.names
        return Contrast("arm", treated, control)

    @cached_property
    def cells(self) -> dict[str, list[tuple[str, Cell]]]:
        """Arm and counts of any event at all, by severity."""
        return {
            severity: list(zip(self.names, _pairs(table, 0), strict=True))
            for severity, table in self.whole.items()
        }

    @property
    def whole_fit(self) -> ExactFit:
        """Name of the computation behind the rates of any event at all."""
        return shares_fit(
            {f"any event, {arm}, {severity}": cell
             for severity, cells in self.cells.items() for arm, cell in cells}
        )  # fmt: skip

    def difference(self, event: str, severity: str) -> Estimand:
        """Difference of an event's rates, treated less control."""
        given = (("severity", severity),)
        return Estimand("event_rate_difference", event, given, self.contrast)


def read(rows: pd.DataFrame, file: Path) -> Arms:
    """Counts by severity from rows with ``arm`` (the control first), ``event``, ``severity``.

    Raises ``BadInput`` for more than two arms, an event missing in one of them, nobody at risk, and
    severe events above those of any severity.
    """
    arms = list(dict.fromkeys(rows["arm"]))
    if len(arms) != 2 or "" in arms:
        allowed, remedy = "two names, one in every row", "name the arm in every row; keep two arms"
        raise_if([Fault("arms", file, None, "arm", ", ".join(arms), allowed, remedy)])
    whole = rows["event"] == ANY
    faults = [*_missing(rows, arms, file), *at_risk_faults(rows, file), *_above_any(rows, file)]
    raise_if(faults)
    return Arms(*(_by_severity(part, arms) for part in (rows[~whole], rows[whole])))


def _missing(rows: pd.DataFrame, arms: list[str], file: Path) -> Iterator[Fault]:
    known = set(zip(rows["arm"], rows["event"], rows["severity"], strict=True))
    for event, severity in dict.fromkeys(zip(rows["event"], rows["severity"], strict=True)):
        for arm in arms:
            if (arm, event, severity) not in known:
                problem = f"{event}, severity {severity}, is not counted in the arm {arm}"
                remedy = "add the row, with count 0 where nobody had it"
                yield Fault(problem, file, None, "event", event, remedy=remedy)


def _above_any(rows: pd.DataFrame, file: Path) -> Iterator[Fault]:
    low = rows[rows["severity"] == ANY].set_index(["arm", "event"])["count"].to_dict()
    for row in rows[rows["severity"] != ANY].to_dict("records"):
        most = low.get((row["arm"], row["event"]))
        if most is not None and row["count"] > most:
            problem = f"{row['event']}: more patients with {row['severity']} than with any severity"
            yield Fault(problem, file, int(row["row"]), "count", int(row["count"]), f"0 to {most}",
                        "correct one of the two counts")  # fmt: skip


def _by_severity(rows: pd.DataFrame, arms: list[str]) -> dict[str, xr.Dataset]:
    return {
        str(severity): _dataset(
            part.set_index(["arm", "event"]), arms, list(dict.fromkeys(part["event"]))
        )
        for severity, part in rows.groupby("severity", sort=False)
    }


def _dataset(table: pd.DataFrame, arms: list[str], events: list[str]) -> xr.Dataset:
    def column(name: str) -> np.ndarray:
        return np.array([[table.loc[(arm, event), name] for event in events] for arm in arms])

    systems = [str(table.loc[(arms[0], event), "body_system"]) or NO_SYSTEM for event in events]
    return xr.Dataset(
        {name: (("arm", "event"), column(name).astype(np.int64)) for name in ("count", "patients")},
        coords={"arm": arms, "event": events, "body_system": ("event", systems)},
    )


def fit_arms(
    arms: Arms, make: Make, sampling: Sampling, say: Say, priors: Mapping[str, Prior]
) -> dict[str, Fit]:
    """Fit the single events of each severity."""
    found = {}
    for severity, table in arms.single.items():
        say(f"adverse events of two arms, {severity}")
        ordered = table.isel(arm=[1, 0]) if _turned(table) else table
        found[severity] = make(two_arms.build, ordered, priors=priors, sampling=sampling)
    return found


def _turned(table: xr.Dataset) -> bool:
    """Whether the arms are fitted in the other order: that of their counts, whatever their names.

    Both orders of a table are then one fit, with the same draws.
    """
    first, second = (
        [v for name in ("patients", "count") for v in table[name].values[place].tolist()]
        for place in (0, 1)
    )
    return second < first


def arm_part(arms: Arms, severity: str, done: Fit, sampling: Sampling) -> Part:
    """Rates of the single events in both arms."""
    table = arms.single[severity]
    asked = [
        _rate(event, arm=arm, severity=severity)
        for event in map(str, table["event"].values) for arm in arms.names
    ]  # fmt: skip

    def made(group: str) -> Drawn:
        before = group != POSTERIOR
        draws = done.prior if before else done.posterior
        seed = sampling.seed + before
        return of_arms(draws, table, severity, seed, turned=_turned(table), before=before)

    return Part(done, tuple(asked), made)


def arms_whole_part(arms: Arms, sampling: Sampling) -> Part:
    """Rates of any event at all in both arms, their differences computed."""
    exact: dict[Estimand, tuple[Computed, Computed]] = {}
    laws: dict[Estimand, tuple[Rate, Rate]] = {}
    for severity, cells in arms.cells.items():
        (after, other), before = _uniform(cells)
        for (arm, _), rate in zip(cells, (after, other), strict=True):
            laws[_rate(ANY, arm=arm, severity=severity)] = rate, before
        gaps = RateDifference(other, after), RateDifference(before, before)
        exact[arms.difference(ANY, severity)] = gaps

    def made(group: str) -> Drawn:
        return of_distributions(
            {asked: pair[group != POSTERIOR] for asked, pair in laws.items()}, sampling, group
        )

    counts = {
        _rate(ANY, arm=arm, severity=severity): cell
        for severity, found in arms.cells.items() for arm, cell in found
    }  # fmt: skip
    return Part(arms.whole_fit, tuple(laws), made, {**laws, **exact}, counts)


def _uniform(cells: list[tuple[str, Cell]]) -> tuple[list[Rate], Rate]:
    """Rates of any event in the two arms after their counts, and before: uniform priors."""
    before = beta(1, 1, lattice(max(patients for _, (_, patients) in cells)))
    return [before.updated(*cell) for _, cell in cells], before


def arms_whole_rows(arms: Arms, severity: str, part: Part) -> Iterator[dict[str, Any]]:
    """Rates of any event at all by arm, and their difference."""
    for arm, cell in arms.cells[severity]:
        yield rate_row(part, _rate(ANY, arm=arm, severity=severity), note=counted(cell))
    yield rate_row(part, arms.difference(ANY, severity), above=0.0,
              note="two Beta(1, 1) priors; P(difference > 0)")  # fmt: skip


def arm_rows(arms: Arms, severity: str, part: Part) -> Iterator[dict[str, Any]]:
    """Rates of the single events by arm, and their differences."""
    for event in map(str, arms.single[severity]["event"].values):
        for arm in arms.names:
            yield rate_row(part, _rate(event, arm=arm, severity=severity))
        yield rate_row(part, arms.difference(event, severity), above=0.0,
                  note="P(difference > 0), a difference of exactly 0 not counted")  # fmt: skip


def whole_difference(arms: Arms, severity: str, part: Part) -> pd.DataFrame:
    """The row of ``differences`` of any event at all: alone, so that no P is adjusted."""
    table = arms.whole[severity]
    fewer = float(part.exact[arms.difference(ANY, severity)][0].cdf(0.0))
    one, other = _pairs(table, 0)
    return _counted(severity, table).assign(
        no_difference=np.nan,  # no point mass here
        more_in_treated=1 - fewer,
        fewer_in_treated=fewer,
        fisher_p=_fisher(table, 0),
        benjamini_hochberg_p=np.nan,
        barnard_p=barnard(*other, *one),
        boschloo_p=boschloo(*other, *one),
    )


def differences(arms: Arms, severity: str, part: Part) -> pd.DataFrame:
    """One row an event: probability of no difference, of more and of fewer events, P adjusted."""
    table, rates = arms.single[severity], part.rates()
    higher, lower = [], []
    for event in map(str, table["event"].values):
        control, treated = (rates[_rate(event, arm=arm, severity=severity)] for arm in arms.names)
        higher.append(float((treated > control).mean()))
        lower.append(float((control > treated).mean()))
    fisher = [_fisher(table, place) for place in range(table.sizes["event"])]
    return _counted(severity, table).assign(
        no_difference=1 - np.array(higher) - np.array(lower),
        more_in_treated=higher,
        fewer_in_treated=lower,
        fisher_p=fisher,
        benjamini_hochberg_p=adjusted(fisher, "Benjamini-Hochberg"),
    )


def _pairs(table: xr.Dataset, place: int) -> list[tuple[int, int]]:
    """Count and patients of one event in the two arms."""
    return [
        (int(table["count"].values[k, place]), int(table["patients"].values[k, place]))
        for k in (0, 1)
    ]


def _counted(severity: str, table: xr.Dataset) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "severity": severity,
            "body_system": table["body_system"].values,
            "event": table["event"].values,
            **{f"{role}_count": table["count"].values[k] for k, role in enumerate(_ROLES)},
            **{f"{role}_patients": table["patients"].values[k] for k, role in enumerate(_ROLES)},
        }
    )


_ROLES = ("control", "treated")


def _fisher(table: xr.Dataset, place: int) -> float:
    count, patients = (table[name].values[:, place] for name in ("count", "patients"))
    cells = np.column_stack([count, patients - count])
    return variants(cells, ["Fisher exact"])[0].p_value if cells.sum(axis=0).all() else 1.0


def arm_classical(severity: str, table: xr.Dataset) -> Iterator[dict[str, Any]]:
    """Wilson interval of each rate; Newcombe's of each difference, with Fisher's P."""
    control, treated = map(str, table["arm"].values)
    for place, event in enumerate(map(str, table["event"].values)):
        cells = _pairs(table, place)
        for arm, cell in zip((control, treated), cells, strict=True):
            asked = Estimand("event_rate", event, (("arm", arm), ("severity", severity)))
            bounds = interval(*cell, "Wilson")
            yield percent_row(asked, "percentage", cell[0] / cell[1], *bounds, "95 % CI: Wilson")
        contrast = Contrast("arm", treated, control)
        asked = Estimand("event_rate_difference", event, (("severity", severity),), contrast)
        value = cells[1][0] / cells[1][1] - cells[0][0] / cells[0][1]
        bounds = newcombe(*cells[1], *cells[0])
        method = "95 % CI: Newcombe, method 10; P: Fisher's exact test"
        row = percent_row(asked, asked.kind, value, *bounds, method)
        yield {**row, "reproduced_p": _fisher(table, place)}


def applies(study: Study) -> bool:
    """Whether the study prints adverse events."""
    return not study.adverse_events.empty
