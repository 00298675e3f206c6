"""The section on adverse events of two arms: differences by event with their probabilities."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pandas as pd

from her2bayes.estimand import Contrast, Estimand
from her2bayes.evidence.printed.adverse_events import ANY
from her2bayes.page.fit_card import exact_card, fit_card
from her2bayes.page.numbers import interval, p_value, probability
from her2bayes.page.section import Figure, Section, Table
from her2bayes.rates import figures

if TYPE_CHECKING:
    from her2bayes.rates.two_arm_estimates import Result


_MODEL = (
    "Every event differs between the arms or does not: its log odds ratio is exactly 0 with a "
    "probability that its body system shares. Differences are shrunken towards those of the system "
    "and of all events, which is the answer to many events looked at; the adjusted P values stand "
    "beside it. The prior is the same for both arms: exchanging them turns the sign of every "
    "difference and changes nothing else."
)


def section(result: Result) -> Section:
    """Report adverse events of two arms."""
    paragraphs = [_MODEL] if result.fits else []
    if result.arms.whole:
        paragraphs.append(
            "Any event at all is compared for itself: two binomials with uniform priors, and exact "
            "tests."
        )
    cards = [
        fit_card(done, f"Adverse events, {severity}", result.estimates)
        for severity, done in result.fits.items()
    ]
    if result.arms.whole:
        cards.append(exact_card(result.shares, "Any adverse event", {"share": "Beta(1, 1)"}))
    return Section(
        id="adverse-events",
        title="Adverse events of two arms",
        paragraphs=tuple(paragraphs),
        figures=tuple(_figure(result, severity) for severity in result.arms.single),
        tables=tuple(_tables(result)),
        fits=tuple(cards),
    )


def _figure(result: Result, severity: str) -> Figure:
    table = result.arms.single[severity]
    control, treated = map(str, table["arm"].values)
    known = {row["estimand"]: row for row in result.estimates.to_dict("records")}
    panels: dict[str, list[figures.Row]] = {arm: [] for arm in (control, treated)}
    part = result.differences[_single(result) & (result.differences["severity"] == severity)]
    for system, rows in part.groupby("body_system", sort=False):
        for panel in panels.values():
            panel.append(figures.Row(str(system)))
        for row in rows.to_dict("records"):
            for arm, role in ((control, "control"), (treated, "treated")):
                given = (("arm", arm), ("severity", severity))
                asked = str(Estimand("event_rate", row["event"], given))
                found = known[asked]
                some, patients = row[f"{role}_count"], row[f"{role}_patients"]
                raw = (100 * some / patients,) * 3
                pooled = tuple(float(found[f"posterior_{p}"]) for p in ("median", "lower", "upper"))
                marks = (
                    figures.Mark(raw, figures.RAW),
                    figures.Mark((pooled[0], pooled[1], pooled[2]), figures.POOLED),
                )
                panels[arm].append(figures.Row(row["event"], f"{some}/{patients}", marks))
    key = {"as counted": figures.RAW, "posterior, 95 %": figures.POOLED}
    slug = "any" if severity == "any" else "severe"
    return Figure(
        f"figure-adverse-events-{slug}",
        f"Adverse events by arm, {severity}",
        figures.forest(panels, {}, key, "patients with the event, %"),
        "By body system. The two panels are the arms.",
        f"Rates of {len(part)} events in the arms {control} and {treated}.",
    )


def _single(result: Result) -> pd.Series:
    return result.differences["event"] != ANY


def _tables(result: Result) -> Iterator[Table]:
    single = _single(result)
    if (~single).any():
        yield Table("Any event at all", _frame(result, result.differences[~single]), _WHOLE)
    if single.any():
        yield Table("Differences by event", _frame(result, result.differences[single]), _EVENTS)


_EVENTS = (
    "Difference in percentage points (second arm minus first), posterior median with 95 % "
    "interval, exact zeros included; P(more): more events in the second arm."
)
_WHOLE = (
    "Difference in percentage points (second arm minus first), posterior median with 95 % "
    "interval, uniform priors; P(more): more patients in the second arm. Two-sided exact P: Fisher "
    "(conditional), Barnard (pooled score) and Boschloo (unconditional; empty where both arms are "
    "large)."
)


def _frame(result: Result, differences: pd.DataFrame) -> pd.DataFrame:
    known = {row["estimand"]: row for row in result.estimates.to_dict("records")}
    both = {**result.arms.whole, **result.arms.single}
    rows = []
    for row in differences.to_dict("records"):
        arms = both[row["severity"]]["arm"].values
        contrast = Contrast("arm", str(arms[1]), str(arms[0]))
        given = (("severity", row["severity"]),)
        found = known[str(Estimand("event_rate_difference", row["event"], given, contrast))]
        median, low, high = (found[f"posterior_{part}"] for part in ("median", "lower", "upper"))
        rows.append(
            {
                "Severity": row["severity"],
                "Body system": row["body_system"],
                "Event": row["event"],
                str(arms[0]): f"{row['control_count']}/{row['control_patients']}",
                str(arms[1]): f"{row['treated_count']}/{row['treated_patients']}",
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
