"""Survival across subgroups in a report: section, rows, tables, and what a terminal is told."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

from her2bayes.classical import survival as km
from her2bayes.estimand import parse
from her2bayes.evidence.patients.survival_cells import at_risk
from her2bayes.page.cohort import flow_figure, left_out_flow
from her2bayes.page.fit_card import HERE, Judged, fit_card
from her2bayes.page.numbers import count, interval, number, p_value, probability, survival_time
from her2bayes.page.report import Part
from her2bayes.page.section import Figure, Section, Table
from her2bayes.page.shared import HIDDEN, SHARED, conceal, survival_counts
from her2bayes.survival import drawings
from her2bayes.survival.analysis import Analysis
from her2bayes.survival.comparison import patient_elpd
from her2bayes.survival.doors import MODELS
from her2bayes.survival.estimates import given_entry, pairs
from her2bayes.survival.figures import endpoint_name
from her2bayes.survival.piecewise import log_hazard
from her2bayes.survival.survival import TOP_LEVEL

TOLD = ("median", "association", "hazard_ratio")  # kinds of classical numbers in the terminal
FEW = 10  # patients at risk; below, a Kaplan–Meier step is over a tenth

METHODS = (
    "Numbers marked reproduced are classical: Kaplan–Meier with Greenwood's variance and log "
    "interval, medians by R's rule, Cox regression with Efron's ties and Wald intervals (adjusted "
    "for the other factors), restricted means under the Kaplan–Meier curve. Where the likelihood "
    "of a hazard ratio rises without end the ratio is infinite or 0; its interval is that of the "
    "profile likelihood and its P that of the likelihood-ratio test. With competing causes: "
    "Aalen–Johansen cumulative incidence with log interval, Gray's test, cause-specific Cox "
    "regression. classical.csv holds the other variants. Posterior numbers are medians with "
    "95 % equal-tailed intervals, and the same quantity under the prior stands beside them. "
    "Contraction is one minus the ratio of posterior to prior variance.",
    "Patients enter the models as events and person-months by group and interval, which hold all "
    "that a piecewise-constant hazard can learn from them (Holford 1980; Laird & Olivier 1981). A "
    "median that some draws do not reach within follow-up has no upper limit here; the "
    "probability that it is not reached is a row of its own.",
)


def part(
    result: Analysis,
    about: Mapping[str, str],
    tables: Mapping[str, pd.DataFrame] | None = None,
    further: Sequence[Section] = (),
    below: int = 0,
) -> Part:
    """One survival analysis as a part of a report; ``about`` says whose data they are.

    ``further`` sections follow that on survival, which shows the ``tables`` it knows. With
    ``below`` for a report to share: counts below it hidden, nothing that comes from patients.
    """
    tables = tables or {}
    return Part(
        "survival",
        (section(result, tables, below), *further),
        result.estimates,
        result.classical.iloc[:0] if below else result.classical,
        about={
            "id": result.specification.study, "title": result.specification.title,
            "design": "patient data", "doi": "", **about,
        },
        cohort=cohort_section(result, below),
        tables={} if below else {"classical": result.variants, **tables},
        evidence_kind="patients",
        methods=METHODS[1:] if below else METHODS,
    )  # fmt: skip


def lines(result: Analysis, shared: bool = False) -> Iterator[str]:
    """The answer in lines for a terminal: entry, medians, hazard ratios, classical numbers."""
    if result.follow_up.has_entry:
        yield entry_text(result)
    chosen = result.estimates["estimand"].str.startswith(("hazard_ratio[", "median["))
    for row in result.estimates[chosen].to_dict("records"):
        values = (row["posterior_median"], row["posterior_lower"], row["posterior_upper"])
        median = row["estimand"].startswith("median[")
        text = survival_time(*values) if median else interval(*values, unit=row["unit"])
        chance = probability(row["posterior_probability"])
        yield f"{row['estimand']} {text}" + (f", P(HR < 1) {chance}" if chance else "")
    if not shared:
        yield from _classical_lines(result.classical)


def cohort_section(result: Analysis, below: int = 0) -> Section:
    """Patients, events and follow-up by level of each factor, and what was left out.

    With ``below`` for a report that is shared: counts only, small ones hidden.
    """
    if below:
        return _shared_cohort(result, below)
    follow_up = result.follow_up
    left_out = "; ".join(f"{reason}: {n}" for reason, n in follow_up.left_out.items())
    text = [
        f"{result.specification.title}: {count(follow_up.patients, 'patient')}, "
        f"{count(follow_up.events, 'event')}, longest follow-up {follow_up.last_time:.1f} months"
        + (", with delayed entry" if follow_up.has_entry else "")
        + "."
    ]
    text.append(f"Rows left out: {left_out}." if left_out else "No row was left out.")
    text += [f"{line[:1].upper()}{line[1:]}." for line in follow_up.told]
    flow = _cohort_table(result)
    caption = "Median follow-up by reverse Kaplan–Meier; median time by Kaplan–Meier, R's rule."
    figures: tuple[Figure, ...] = ()
    if follow_up.left_out:
        figures = (flow_figure(left_out_flow(follow_up.rows, follow_up.left_out)),)
    tables = (Table("Patients", flow, caption),)
    return Section("cohort", "Cohort", tuple(text), figures, tables)


def _shared_cohort(result: Analysis, below: int) -> Section:
    texts = survival_counts(result.counts, result.factors, below)
    patients, events = texts[0][2:]
    text = [f"{result.specification.title}: {patients} patients, {events} events.", SHARED]
    hidden = [
        f"{reason}: {conceal([n], (), below)[0]}" for reason, n in result.follow_up.left_out.items()
    ]
    text.append(f"Rows left out: {'; '.join(hidden)}." if hidden else "No row was left out.")
    frame = pd.DataFrame(texts, columns=["Factor", "Level", "Patients", "Events"])
    table = Table("Patients", frame, f"<{below}: from 1 to {below - 1}. {HIDDEN}")
    return Section("cohort", "Cohort", tuple(text), tables=(table,))


def section(
    result: Analysis, tables: Mapping[str, pd.DataFrame] | None = None, below: int = 0
) -> Section:
    """Report one survival analysis; ``tables`` are further ones (checks, comparison, left_out).

    With ``below`` for a report that is shared: the model's curves without Kaplan–Meier steps,
    without patients at risk and without classical estimates.
    """
    reported, shared = result.factors, bool(below)
    found: list[Figure] = []
    for name in reported or [""]:
        found += drawings.page_curves(result, name, shared)
    found += drawings.page_ratios(result)
    found += drawings.page_forests(result, shared)
    more = () if below else (*_further(tables or {}), _variants_table(result))
    return Section(
        id="survival",
        title=f"Survival: {endpoint_name(result.follow_up.endpoint)} across subgroups",
        paragraphs=_paragraphs(result, reported, below),
        figures=tuple(found),
        tables=(_main_table(result), *more),
        fits=(fit_card(result.fit, "Survival", result.estimates, judged(result, shared)),),
    )


_MOST_SCALED = 12  # hazard ratios whose power sensitivity is on the card
_SCORED = 1000  # draws of the score of patients left out


def judged(result: Analysis, shared: bool = False) -> Judged:
    """What a model of hazards is judged by: each patient's follow-up left out, given the others.

    No other model stands beside it: one without a sampler has no smooth hazard, so that a
    difference would not tell hazards from subgroups. ``fit.compare_models()`` refits others.
    """
    if shared:
        return Judged()
    if result.specification.own is not None:
        return Judged(unit="nothing: of a model of one's own, see fit.elpd")
    draws = result.fit.posterior
    every = max(1, draws.sizes["chain"] * draws.sizes["draw"] // _SCORED)
    some = draws.isel(draw=slice(None, None, every))
    scores = {HERE: patient_elpd(log_hazard(some, result.cells), result.exits)}
    asked = [parse(text) for text in result.estimates["estimand"] if text.startswith("hazard_r")]
    ratios = result.draws(asked[:_MOST_SCALED], "posterior")
    names = [str(name) for name in draws.data_vars if str(name).startswith(TOP_LEVEL)]
    return Judged({str(name): one for name, one in ratios.items()}, names, scores, "patient")


def _cohort_table(result: Analysis) -> pd.DataFrame:
    rows = []
    for name in result.levels:
        by = [name] if name else []
        median = km.quantile(result.counts, by).set_index("group")
        follow = km.quantile(result.counts, by, reverse=True).set_index("group")["estimate"]
        labels = km.label(result.counts, by)
        for group in result.levels[name]:
            inside = result.counts[labels == group]
            row = median.loc[group]
            rows.append(
                {
                    "Factor": name or "all patients",
                    "Level": group if name else "",
                    "Patients": int(inside["patients"].sum()),
                    "Events": int(inside.loc[inside["event"] == 1, "patients"].sum()),
                    "Median months (95 % CI)": interval(
                        row["estimate"],
                        row["lower"],
                        row["upper"],
                        unit="months",
                        unreached="not reached",
                    )
                    or "not reached",
                    "Follow-up, median": number(follow[group], 1) or "not reached",
                }
            )
    return pd.DataFrame(rows)


def _paragraphs(result: Analysis, reported: list[str], below: int) -> tuple[str, ...]:
    asked = result.specification
    walk = "change over time" if asked.model == "nonph" else "are constant over time"
    cells = result.cells
    ours = (
        f"Piecewise-exponential hazards on {cells.sizes['interval']} intervals, smoothed by a "
        f"random walk whose prior does not depend on their number; hazard ratios {walk}. Effects "
        "of three or more levels are partially pooled."
        if asked.model in MODELS
        else f"The model is the user's own, {asked.model}; its equations stand in the card of the "
        "fit."
    )
    texts = [
        f"{ours} Bands and intervals are 95 % credible (equal-tailed); each figure draws the "
        "posterior of the mean survival of the patients in a "
        "group" + ("." if below else " over their own Kaplan–Meier curve."),
        _prior_text(result),
        f"Restricted mean survival times end at {result.horizon:.1f} months, the smallest over "
        "groups of the last time with five patients at risk. Anything beyond the last time "
        "observed in a group is marked as extrapolated.",
    ]
    for name in reported:
        texts += _sentences(result, name)
    if result.follow_up.has_entry:
        texts.append(
            "Patients enter late: each counts from the entry on only, which removes the bias of "
            "survival counted from before anybody could be observed to die."
            + ("" if below else f" {entry_text(result)}")
        )
    return tuple(text for text in texts if text)


def entry_text(result: Analysis) -> str:
    """What survival is conditional on where patients enter late, and on how few it rests there."""
    first, counts = float(result.cells["interval_start"][0]), result.counts
    times = counts.loc[counts["event"] == 1, "time"]
    text = (
        f"Survival, medians, restricted means and cumulative incidences are {given_entry(first)}: "
        "the data say nothing of the time before, and curves begin there."
        if first > 0
        else "Patients are under observation from time 0 on, if few at first."
    )
    if times.empty:
        return text
    number = int(at_risk(counts, [times.min()])[0])
    few = ": what stands there rests on few patients" if number < FEW else ""
    return f"{text} At the first event, at {times.min():.5g} months, {number} are at risk{few}."


def _prior_text(result: Analysis) -> str:
    """The prior of the hazard read back as what it says of this endpoint."""
    endpoint, table = result.follow_up.endpoint, result.estimates.set_index("estimand")
    if f"median[{endpoint}]" not in table.index:
        return ""  # a model of the user's that does not answer it
    row = table.loc[f"median[{endpoint}]"].to_dict()
    text = interval(row["prior_median"], row["prior_lower"], row["prior_upper"], 0)
    text = text or f"more than {result.follow_up.last_time:.0f}"
    beyond = "" if "–" in text else "; many prior draws do not reach it within follow-up"
    return (
        f"Prior median {endpoint_name(endpoint)} of all patients: {text} months (95 % "
        f"CrI{beyond}). Set it with --prior-median where more is known of the endpoint."
    )


def _further(tables: Mapping[str, pd.DataFrame]) -> list[Table]:
    titles = {
        "checks": (
            "Predictive check",
            "Kaplan–Meier survival (%) beside that of 400 cohorts simulated at one draw of the "
            "posterior with the observed entries and the estimated censoring; tail: two-sided "
            "probability of a replicate as far out, uniform where the model holds.",
        ),
        "comparison": (
            "Model comparison",
            "Expected log predictive density of patients left out one at a time, and stacking "
            "weights. Cells alone cannot give it: patients are counted by entry, exit and event.",
        ),
        "left_out": (
            "Leave-one-group-out",
            "Log predictive density of a group's patients in a fit without them, and with them.",
        ),
    }
    return [
        Table(titles[name][0], frame, titles[name][1])
        for name, frame in tables.items()
        if len(frame) and name in titles
    ]


def _sentences(result: Analysis, factor: str) -> list[str]:
    table = result.estimates.set_index("estimand")
    endpoint = result.follow_up.endpoint
    sentences = []
    for a, b in pairs(result.levels[factor], result.reference[factor]):
        key = f"hazard_ratio[{endpoint} ; {factor}: {a} vs {b}]"
        if key not in table.index:
            continue
        row = table.loc[key]
        sentences.append(
            f"{factor} {a} vs {b}: hazard ratio "
            + interval(row["posterior_median"], row["posterior_lower"], row["posterior_upper"], 2)
            + f", below 1 with probability {probability(row['posterior_probability'])} "
            f"(prior {probability(row['prior_probability'])})."
        )
    ordering = [k for k in table.index if k.startswith("ordering[") and f"; {factor} " in k]
    for key in ordering:
        row = table.loc[key]
        sentences.append(
            f"The ordering {row['note'].removeprefix('P(RMST ').rstrip(')')} of mean survival time "
            f"holds with probability {probability(row['posterior_probability'])} (prior "
            f"{probability(row['prior_probability'])})."
        )
    return [" ".join(sentences)] if sentences else []


def _main_table(result: Analysis) -> Table:
    kinds = {"survival", "median", "not_reached", "rmst", "rmst_difference", "hazard_ratio"}
    kinds |= {"cumulative_incidence", "ordering", "heterogeneity"}
    table = result.estimates
    chosen = table[table["estimand"].str.split("[").str[0].isin(kinds)]
    rows = pd.DataFrame(
        {
            "Estimand": chosen["estimand"],
            "Posterior (95 % CrI)": [
                _interval(row, "posterior") for row in chosen.to_dict("records")
            ],
            "P": [probability(p) for p in chosen["posterior_probability"]],
            "Prior P": [probability(p) for p in chosen["prior_probability"]],
            "Prior (95 % CrI)": [_interval(row, "prior") for row in chosen.to_dict("records")],
            "Note": chosen["note"],
            "fit_id": chosen["fit_id"],
            "Convergence": chosen["convergence"],
        }
    )
    return Table("Posterior estimates", rows, "P is the probability of the event the note names.")


def _interval(row: Mapping[Any, Any], name: str) -> str:
    median, lower, upper = (row[f"{name}_{part}"] for part in ("median", "lower", "upper"))
    if str(row["estimand"]).startswith("median["):
        return survival_time(median, lower, upper, str(row["unit"]))
    return interval(median, lower, upper, unit=str(row["unit"]))


def _variants_table(result: Analysis) -> Table:
    table = result.variants.assign(p_value=[p_value(p) for p in result.variants["p_value"]])
    caption = "Every row names its variant; times in months."
    return Table("Classical methods, all variants", table, caption)


def _classical_lines(classical: pd.DataFrame) -> Iterator[str]:
    """Medians, tests of all groups and ratios of all patients, each with its P and its note."""
    rows = [row for row in classical.to_dict("records") if _told_rows(str(row["estimand"]))]
    if rows:
        yield "Classical (Kaplan-Meier, tests of all groups, Cox); all variants in classical.csv:"
    for row in rows:
        yield f"  {row['estimand']} {_text(row)}"


def _told_rows(estimand: str) -> bool:
    asked = parse(estimand)
    return asked.kind in TOLD and not (asked.kind == "hazard_ratio" and asked.given)


def _text(row: Mapping[Any, Any]) -> str:
    """Number with its interval, P, and the note; of a test its method stands for the number."""
    unreached = "not reached" if row["unit"] == "months" else ""
    text = interval(
        row["reproduced"], row["reproduced_lower"], row["reproduced_upper"], unit=row["unit"],
        unreached=unreached,
    )  # fmt: skip
    if row["statistic"] == "p_value":
        text = str(row["method"])
    p = p_value(row["reproduced_p"])
    text = text.replace("∞", "infinite")
    parts = (text, f"P {p if p[0] == '<' else f'= {p}'}" if p else "", str(row["note"]))
    return ", ".join(part for part in parts if part)
