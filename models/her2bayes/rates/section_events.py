"""The section on adverse events: rates at both severities by body system, or two arms compared."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import pandas as pd

from her2bayes.classical.proportions import interval as share_interval
from her2bayes.estimand import Estimand
from her2bayes.evidence.printed.adverse_events import ANY
from her2bayes.inference.convergence import CONVERGED
from her2bayes.inference.predictive import conjugate, left_out_exactly
from her2bayes.page.fit_card import (
    SAME,
    Judged,
    by_label,
    exact_card,
    fit_card,
    judged_counts,
    worst,
)
from her2bayes.page.numbers import count, interval, p_value, probability
from her2bayes.page.section import Figure, FitCard, Section, Table
from her2bayes.rates import figures
from her2bayes.rates.events import whole_fit
from her2bayes.results.fitted import Figures

if TYPE_CHECKING:
    import matplotlib.figure
    import xarray as xr

    from her2bayes.evidence.printed.adverse_events import AdverseEvents
    from her2bayes.inference.fit import Fit
    from her2bayes.rates.events import Arms

Known = Mapping[str, Mapping[str, Any]]


class OneArm(Protocol):
    """What is reported of one arm."""

    @property
    def data(self) -> AdverseEvents:
        """Counts."""

    @property
    def fit(self) -> Fit | None:
        """Fit of the single events, where there are any."""

    @property
    def thresholds(self) -> Mapping[str, float]:
        """Rate that matters, by severity, as a fraction."""

    @property
    def compared(self) -> pd.DataFrame:
        """Rates here beside those of other studies."""

    def estimates(self) -> pd.DataFrame:
        """Every row of estimates."""


class TwoArms(Protocol):
    """What is reported of two arms."""

    @property
    def data(self) -> Arms:
        """Counts by severity."""

    @property
    def sampled(self) -> Mapping[str, Fit]:
        """Fits of the single events by severity."""

    @property
    def differences(self) -> pd.DataFrame:
        """One row an event."""

    def estimates(self) -> pd.DataFrame:
        """Every row of estimates."""


def _known(fit: OneArm | TwoArms) -> Known:
    """Rows of estimates by estimand."""
    return {
        str(row["estimand"]): {str(name): value for name, value in row.items()}
        for row in fit.estimates().to_dict("records")
    }


def section(fit: OneArm) -> Section:
    """Report adverse events of one arm, beside those of other studies where there are any."""
    known = _known(fit)
    return Section(
        id="adverse-events",
        title="Adverse events",
        paragraphs=tuple(_paragraphs(fit)),
        figures=(_figure(fit, known),) if fit.data.names else (),
        tables=(_table(fit, known), *_external(fit.compared)),
        fits=tuple(_cards(fit)),
    )


def ordered(fit: OneArm) -> list[tuple[str, str]]:
    """Body system and event, systems by their most frequent event, events by frequency."""
    counts = fit.data.counts
    rows = list(zip(map(str, counts["body_system"].values), map(str, counts["event"].values),
                    map(int, counts["any"].values), strict=True))  # fmt: skip
    top = {system: max(n for s, _, n in rows if s == system) for system, _, _ in rows}
    return [(s, e) for s, e, n in sorted(rows, key=lambda r: (-top[r[0]], r[0], -r[2], r[1]))]


def _paragraphs(fit: OneArm) -> Iterator[str]:
    events = fit.data
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


def _dots(fit: OneArm, known: Known) -> list[figures.Event]:
    cells = fit.data.cells()
    rows = []
    for system, event in ordered(fit):
        found: list[figures.Dot] = []
        for severity in fit.data.severities:
            row = known.get(_estimand(event, severity))
            if row and (event, severity) in cells:
                some, patients = cells[event, severity]
                found.append(figures.Dot(100 * some / patients, _three(row)))
        rows.append(figures.Event(event, system, found))
    return rows


def drawings(fit: OneArm) -> Figures:
    """Figures of one arm by name."""
    return Figures({"events": lambda: figures.dots(_dots(fit, _known(fit)))})


def _figure(fit: OneArm, known: Known) -> Figure:
    rows = _dots(fit, known)
    verdict = worst(str(row["convergence"]) for row in known.values())
    warning = "" if verdict == CONVERGED else f" This fit is {verdict}."
    return Figure(
        "figure-adverse-events",
        "Adverse events at both severities",
        figures.svg(figures.dots(rows), key=figures.event_key(fit.data.severities)),
        f"Ordered by body system, within it by frequency.{warning}",
        _alt(rows, fit.data.severities),
    )


def _alt(rows: Sequence[figures.Event], severities: Sequence[str]) -> str:
    parts = [
        f"{row.name} " + ", ".join(
            f"{name} {dot.pooled[0]:.1f} %" for name, dot in zip(severities, row.dots, strict=False)
        )
        for row in rows
    ]  # fmt: skip
    return f"Posterior medians: {'; '.join(parts)}."


def _table(fit: OneArm, known: Known) -> Table:
    cells = fit.data.cells()
    names = [(system, event) for system, event in ordered(fit)]
    if fit.data.whole:
        names.insert(0, ("", ANY))
    rows = []
    for system, event in names:
        for severity, limit in fit.thresholds.items():
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
                    "Observed": f"{some} of {patients}",
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
        "Percent; observed with 95 % CI, posterior with 95 % CrI. The last probability is that the "
        "rate exceeds the threshold of its severity. Shrinkage answers the number of events looked "
        "at; no P value is adjusted."
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


_ANSWER = "patient's answer on one event (did it occur; if so, was it severe)"
_TOGETHER = "one rate for all events"


def judged(fit: Fit, counts: xr.Dataset) -> Judged:
    """What a model of events is judged by: one answer of a patient left out.

    An event that occurred has a second answer where its severe cases are counted.
    """
    from xarray import concat

    severe_of = counts.get("severe_of", counts["any"])
    yes = concat([counts["any"], counts["severe"]], "stage").drop_vars("body_system")
    of = concat([counts["patients"], severe_of], "stage").drop_vars("body_system")
    table = concat([yes.where(of > 0, 0), (of - yes).where(of > 0, 0)], "answer")
    table = table.transpose("stage", "event", "answer")
    rate = fit.posterior["rate"].drop_vars("stage")
    share = concat([rate, 1 - rate], "answer")
    found = judged_counts(share, table, ("mu", "tau_system", "tau_event"), _ANSWER)
    number = table.to_numpy().astype(float)
    together = [np.broadcast_to(conjugate(n.sum(0, keepdims=True)), n.shape) for n in number]
    occupied = number > 0
    scores = {name: one for name, one in found.scores.items() if name != SAME}
    scores[_TOGETHER] = left_out_exactly(np.stack(together)[occupied], number[occupied])
    rates = (fit.posterior["rate"].isel(stage=0, drop=True), fit.posterior["rate_severe"])
    named = {name: draws for one in rates for name, draws in by_label(one).items()}
    return replace(found, quantities=named, scores=scores)


def _cards(fit: OneArm) -> Iterator[FitCard]:
    if fit.fit is not None:
        told = judged(fit.fit, fit.data.counts)
        yield fit_card(fit.fit, "Adverse events", fit.estimates(), told)
    if fit.data.whole:
        yield exact_card(whole_fit(fit.data), "Any adverse event", {"share": "Beta(1, 1)"})


def _estimand(event: str, severity: str) -> str:
    return str(Estimand("event_rate", event, (("severity", severity),)))


def _three(row: Mapping[str, Any]) -> tuple[float, float, float]:
    return (row["posterior_median"], row["posterior_lower"], row["posterior_upper"])


_MODEL = (
    "Every event differs between the arms or does not: its log odds ratio is exactly 0 with a "
    "probability that its body system shares. Differences are shrunken towards those of the system "
    "and of all events, which is the answer to many events looked at; the adjusted P values stand "
    "beside it. The prior is the same for both arms: exchanging them turns the sign of every "
    "difference and changes nothing else."
)


def section_of_arms(fit: TwoArms) -> Section:
    """Report adverse events of two arms."""
    paragraphs = [_MODEL] if fit.sampled else []
    if fit.data.whole:
        paragraphs.append(
            "Any event at all is compared for itself: two binomials with uniform priors, and exact "
            "tests."
        )
    cards = [
        fit_card(done, f"Adverse events, {severity}", fit.estimates())
        for severity, done in fit.sampled.items()
    ]
    if fit.data.whole:
        cards.append(exact_card(fit.data.whole_fit, "Any adverse event", {"share": "Beta(1, 1)"}))
    return Section(
        id="adverse-events",
        title="Adverse events of two arms",
        paragraphs=tuple(paragraphs),
        figures=tuple(_arm_figure(fit, severity) for severity in fit.data.single),
        tables=tuple(_arm_tables(fit)),
        fits=tuple(cards),
    )


def _panels(fit: TwoArms, severity: str) -> dict[str, list[figures.Row]]:
    """Rows of a forest by arm, under their body systems."""
    known = _known(fit)
    arms = dict(zip(fit.data.names, ("control", "treated"), strict=True))
    panels: dict[str, list[figures.Row]] = {arm: [] for arm in arms}
    part = fit.differences[_single(fit) & (fit.differences["severity"] == severity)]
    for system, rows in part.groupby("body_system", sort=False):
        for panel in panels.values():
            panel.append(figures.Row(str(system)))
        for row in rows.to_dict("records"):
            for arm, role in arms.items():
                given = (("arm", arm), ("severity", severity))
                found = known[str(Estimand("event_rate", row["event"], given))]
                some, patients = row[f"{role}_count"], row[f"{role}_patients"]
                raw = (100 * some / patients,) * 3
                marks = (
                    figures.Mark(raw, figures.RAW),
                    figures.Mark(_three(found), figures.POOLED),
                )
                panels[arm].append(figures.Row(row["event"], f"{some}/{patients}", marks))
    return panels


def drawings_of_arms(fit: TwoArms) -> Figures:
    """Figures of two arms by name."""

    def events(severity: str, arm: str) -> matplotlib.figure.Figure:
        return figures.forest(arm, _panels(fit, severity)[arm], axis=_AXIS)

    return Figures({"events": events})


_AXIS = "patients with the event, %"


def _arm_figure(fit: TwoArms, severity: str) -> Figure:
    panels = _panels(fit, severity)
    key = {"observed": figures.RAW, "posterior, 95 % CrI": figures.POOLED}
    control, treated = panels
    drawn = [figures.forest(arm, rows, axis=_AXIS) for arm, rows in panels.items()]
    slug = "any" if severity == "any" else "severe"
    return Figure(
        f"figure-adverse-events-{slug}",
        f"Adverse events by arm, {severity}",
        figures.svg(*drawn, key=figures.forest_key(key)),
        "By body system. The two panels are the arms.",
        f"Rates of {fit.data.single[severity].sizes['event']} events in the arms {control} and "
        f"{treated}.",
    )


def _single(fit: TwoArms) -> pd.Series:
    return fit.differences["event"] != ANY


def _arm_tables(fit: TwoArms) -> Iterator[Table]:
    single = _single(fit)
    if (~single).any():
        yield Table("Any event at all", _frame(fit, fit.differences[~single]), _WHOLE)
    if single.any():
        yield Table("Differences by event", _frame(fit, fit.differences[single]), _EVENTS)


_EVENTS = (
    "Difference in percentage points (second arm minus first), posterior median with 95 % "
    "CrI, exact zeros included; P(more): more events in the second arm."
)
_WHOLE = (
    "Difference in percentage points (second arm minus first), posterior median with 95 % "
    "CrI, uniform priors; P(more): more patients in the second arm. Two-sided exact P: Fisher "
    "(conditional), Barnard (pooled score) and Boschloo (unconditional; empty where both arms are "
    "large)."
)


def _frame(fit: TwoArms, differences: pd.DataFrame) -> pd.DataFrame:
    known = _known(fit)
    control, treated = fit.data.names
    rows = []
    for row in differences.to_dict("records"):
        found = known[str(fit.data.difference(row["event"], row["severity"]))]
        median, low, high = (found[f"posterior_{part}"] for part in ("median", "lower", "upper"))
        rows.append(
            {
                "Severity": row["severity"],
                "Body system": row["body_system"],
                "Event": row["event"],
                control: f"{row['control_count']}/{row['control_patients']}",
                treated: f"{row['treated_count']}/{row['treated_patients']}",
                "Difference": interval(median, low, high, unit="%"),
                "P(no difference)": probability(row["no_difference"]),
                "P(more)": probability(row["more_in_treated"]),
                "Fisher P": p_value(row["fisher_p"]),
                "Benjamini-Hochberg P": p_value(row["benjamini_hochberg_p"]),
                "fit_id": str(found["fit_id"]),
            }
        )
        if row["event"] == ANY:
            for name in ("Body system", "P(no difference)", "Benjamini-Hochberg P"):
                del rows[-1][name]
            rows[-1] |= {"Event": "any event", "Barnard P": p_value(row["barnard_p"]),
                         "Boschloo P": p_value(row["boschloo_p"])}  # fmt: skip
    return pd.DataFrame(rows)
