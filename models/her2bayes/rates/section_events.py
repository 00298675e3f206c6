"""The section on adverse events: rates at both severities, raw and shrunken, by body system."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd

from her2bayes.classical.proportions import interval as share_interval
from her2bayes.estimand import Estimand
from her2bayes.evidence.printed.adverse_events import ANY
from her2bayes.inference.convergence import CONVERGED
from her2bayes.page.fit_card import exact_card, fit_card, worst
from her2bayes.page.numbers import count, interval, probability
from her2bayes.page.section import Figure, FitCard, Section, Table
from her2bayes.rates import figures
from her2bayes.rates.event_estimates import limits, whole_fit

if TYPE_CHECKING:
    from her2bayes.rates.event_estimates import Result

Known = Mapping[str, Mapping[str, Any]]


def section(result: Result, external: pd.DataFrame | None = None) -> Section:
    """Report adverse events; ``external`` compares them with other studies."""
    known: Known = {
        str(row["estimand"]): {str(name): value for name, value in row.items()}
        for row in result.estimates.to_dict("records")
    }
    return Section(
        id="adverse-events",
        title="Adverse events",
        paragraphs=tuple(_paragraphs(result)),
        figures=(_figure(result, known),) if result.events.names else (),
        tables=(_table(result, known), *_external(external)),
        fits=tuple(_cards(result)),
    )


def ordered(result: Result) -> list[tuple[str, str]]:
    """Body system and event, systems by their most frequent event, events by frequency."""
    counts = result.events.counts
    rows = list(zip(map(str, counts["body_system"].values), map(str, counts["event"].values),
                    map(int, counts["any"].values), strict=True))  # fmt: skip
    top = {system: max(n for s, _, n in rows if s == system) for system, _, _ in rows}
    return [(s, e) for s, e, n in sorted(rows, key=lambda r: (-top[r[0]], r[0], -r[2], r[1]))]


def _paragraphs(result: Result) -> Iterator[str]:
    events = result.events
    if said := events.contradictions():
        yield f"Contradictory counts: {'; '.join(said)}."
    if not events.names:
        yield (
            "Only any event at all is counted: each rate is one binomial with a uniform prior, and "
            "nothing can be said of single events."
        )
        return
    systems = len(set(map(str, events.counts["body_system"].values)))
    patients = int(events.counts["patients"].values.max())
    yield (
        f"{count(events.counts.sizes['event'], 'adverse event')} in "
        f"{count(systems, 'body system')} among {patients} patients. Severe events are a part of "
        "all events of their kind, so that no severe rate exceeds the rate of any severity. Rare "
        "events are drawn towards the others of their body system and of all systems: an event "
        "without severe cases among few patients is not taken for one that has none."
    )
    if events.by_definition:
        yield (
            f"Severe by definition (CTCAE 5.0): {', '.join(events.by_definition)}. Both severities "
            "are one count and one rate; such an event says nothing of how often others are severe."
        )
    lines = []
    for severity in events.severities:
        low, high = events.bounds(severity)
        name = "any severity" if severity == ANY else severity
        printed = events.whole.get(severity)
        seen = f", printed {printed[0]}" if printed else ""
        lines.append(f"{name}: between {low} and {high} of {patients} patients{seen}")
    yield (
        "Counts by event do not say which events meet in one patient. Patients with at least one "
        f"of the listed events are therefore only bounded: {'; '.join(lines)}."
    )


def _figure(result: Result, known: Known) -> Figure:
    cells = result.events.cells()
    rows = []
    for system, event in ordered(result):
        found: list[figures.Dot] = []
        for severity in result.events.severities:
            row = known.get(_estimand(event, severity))
            if row and (event, severity) in cells:
                some, patients = cells[event, severity]
                found.append(figures.Dot(100 * some / patients, _three(row)))
        rows.append(figures.Event(event, system, found))
    verdict = worst(str(row["convergence"]) for row in known.values())
    warning = "" if verdict == CONVERGED else f" This fit is {verdict}."
    return Figure(
        "figure-adverse-events",
        "Adverse events at both severities",
        figures.dots(rows, result.events.severities),
        f"Ordered by body system, within it by frequency.{warning}",
        _alt(rows, result.events.severities),
    )


def _alt(rows: Sequence[figures.Event], severities: Sequence[str]) -> str:
    parts = [
        f"{row.name} " + ", ".join(
            f"{name} {dot.pooled[0]:.1f} %" for name, dot in zip(severities, row.dots, strict=False)
        )
        for row in rows
    ]  # fmt: skip
    return f"Posterior medians: {'; '.join(parts)}."


def _table(result: Result, known: Known) -> Table:
    cells = result.events.cells()
    names = [(system, event) for system, event in ordered(result)]
    if result.events.whole:
        names.insert(0, ("", ANY))
    rows = []
    for system, event in names:
        for severity, limit in limits(result.events, result.thresholds).items():
            row = known.get(_estimand(event, severity))
            if row is None or (event, severity) not in cells:
                continue
            some, patients = cells[event, severity]
            exact = share_interval(some, patients, "Clopper-Pearson")
            rows.append(
                {
                    "Body system": system,
                    "Event": "any event" if event == ANY else event,
                    "Severity": severity,
                    "Counted": f"{some} of {patients}",
                    "Clopper-Pearson": interval(
                        100 * some / patients, 100 * exact[0], 100 * exact[1], unit="%"
                    ),
                    "Posterior": interval(*_three(row), unit="%"),
                    "Threshold, %": f"{100 * limit:g}",
                    "P(rate above)": probability(row["posterior_probability"]),
                    "fit_id": str(row["fit_id"]),
                }
            )
    caption = (
        "Percent with 95 % intervals. The last probability is that the rate exceeds the threshold "
        "of its severity. Shrinkage answers the number of events looked at; no P value is adjusted."
    )
    return Table("Adverse events", pd.DataFrame(rows), caption)


def _external(compared: pd.DataFrame | None) -> Iterator[Table]:
    """Own rates beside those of other studies."""
    if compared is None or compared.empty:
        return
    rows = [
        {
            "Event": "any event" if row["event"] == ANY else row["event"],
            "Severity": row["severity"],
            "Here": f"{row['count']} of {row['patients']}",
            str(row["study"]): f"{row['external_count']} of {row['external_patients']}",
            "Difference, %": interval(
                row["difference"], row["difference_lower"], row["difference_upper"], 1
            ),
            "P(higher here)": probability(row["probability_higher"]),
            "shrunken": probability(row["probability_higher_shrunken"]),
        }
        for row in compared.to_dict("records")
    ]
    caption = (
        "Difference in percentage points (Newcombe, method 10). P: probability that the rate here "
        "is the higher one, both uncertain (uniform priors); shrunken: with the rate here as the "
        "hierarchical model gives it. Other patients, grading and follow-up are not adjusted for."
    )
    yield Table("Compared with other studies", pd.DataFrame(rows).fillna(""), caption)


def _cards(result: Result) -> Iterator[FitCard]:
    if result.fit is not None:
        yield fit_card(result.fit, "Adverse events", result.estimates)
    if result.events.whole:
        yield exact_card(whole_fit(result.events), "Any adverse event", {"share": "Beta(1, 1)"})


def _estimand(event: str, severity: str) -> str:
    return str(Estimand("event_rate", event, (("severity", severity),)))


def _three(row: Mapping[str, Any]) -> tuple[float, float, float]:
    return (row["posterior_median"], row["posterior_lower"], row["posterior_upper"])
