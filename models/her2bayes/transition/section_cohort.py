"""The section on the transitions of a cohort: flow of patients, matrices by stratum, the assay."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pandas as pd

from her2bayes.inference.predictive import leave_one_out
from her2bayes.page.cohort import flow_figure
from her2bayes.page.evidence_table import join_unprinted
from her2bayes.page.fit_card import HERE, Judged, by_label, fit_card, other_scores
from her2bayes.page.numbers import count, interval, probability
from her2bayes.page.section import Figure, Section, Table
from her2bayes.page.shared import HIDDEN, SHARED, conceal_flow
from her2bayes.transition.assay_error import NOT_IDENTIFIED
from her2bayes.transition.cohort import ALL, SINGLE, CohortTransitions
from her2bayes.transition.draws import pair_likelihood, shared
from her2bayes.transition.section import (
    alluvial_figure,
    classical_table,
    contraction_figure,
    estimate_table,
    matrix_figure,
    scenario_figure,
    three,
    tipping_figure,
    words,
)

if TYPE_CHECKING:
    import xarray as xr

    from her2bayes.inference.fit import Fit
    from her2bayes.transition.cohort import Pairs
    from her2bayes.transition.draws import Matrix

_MOST_PANELS = 8
_TIPPING = (
    "True classes behind two fallible readings, for assays known almost exactly: the default error "
    "rates scaled, errors of the two readings independent."
)


def evidence(result: CohortTransitions) -> pd.DataFrame:
    """Estimates and classical rows of the cohort in the columns of the evidence table."""
    table = join_unprinted(result.pairs.id, result.estimates, result.classical)
    return table.assign(evidence_kind="patients")


def cohort_section(pairs: Pairs, below: int = 0) -> Section:
    """Where the patients come from, and what became of every row.

    With ``below`` for a report that is shared: counts in the flow table only, small ones hidden.
    """
    number = int(pairs.overall["counts"].sum())
    if pairs.flow is None:
        text = f"{pairs.title}. {SHARED}" if below else f"{pairs.title}: {count(number, 'pair')}."
        return Section("cohort", "Cohort", (text,))
    source = "; ".join(f"{key}: {value}" for key, value in pairs.source.items())
    words: tuple[str, ...] = (
        f"{pairs.title}. {source}. {SHARED}"
        if below
        else f"{pairs.title}: {count(pairs.patients, 'patient')}, of whom {number} have "
        f"tissue of the primary and of a recurrence. {source}".strip(),
        "A reading that leaves several classes open is kept as the set of these classes: IHC 0-1+ "
        "as zero or low, IHC 2+ without ISH as low or positive, a negative verdict without a "
        "score as not positive. Nothing is imputed and nothing is dropped; the flow "
        "table counts what every rule did.",
    )
    told = () if below else pairs.remarks
    words += tuple(f"{line[:1].upper()}{line[1:]}." for line in told)
    flow = conceal_flow(pairs.flow, below) if below else pairs.flow
    caption = (
        "Within a stage the counts add up to the number in the last column. Notes change nothing."
        + (f" <{below}: from 1 to {below - 1}. {HIDDEN}" if below else "")
    )
    table = Table("Flow", flow.rename(columns=str.capitalize), caption)
    figures = () if below else (flow_figure(pairs.flow),)
    return Section("cohort", "Cohort", words, figures, (table,))


def pairs_section(result: CohortTransitions, below: int = 0) -> Section:
    """Report all matrices of the cohort; with ``below``, for a shared report, models only."""
    if below:
        result = _shared(result)
    overall = {m.reading: m for m in result.matrices if not m.given}
    main = overall[ALL]
    pairs = int(result.pairs.overall["counts"].sum())
    who = result.pairs.title + ("" if below else f", {pairs} pairs of readings")
    figures: list[Figure] = [
        alluvial_figure(main, who, "all"),
        matrix_figure([main], who, "all", "Transition matrix"),
    ]
    tables = [_main_table(result)] + ([] if below else [_single_table(result)])
    for factor in result.by:
        found = [m for m in result.matrices if _is_level(m, factor, ALL)]
        figures.append(
            matrix_figure(
                found[:_MOST_PANELS],
                who,
                factor.replace("_", "-"),
                f"Transition matrix by {factor}",
            )
        )
        tables += _level_tables(result, factor)[: 1 if below else None]
    figures += [
        _scenarios(overall, who),
        contraction_figure(main, result.estimates, who, "all"),
    ]
    if result.assay is not None:
        figures.append(tipping_figure(result.assay.tipping, main, who, _TIPPING))
        tables.append(_assay_table(result))
    return Section(
        id="transition",
        title="HER2 status: from primary tumour to recurrence",
        paragraphs=_paragraphs(result, overall, bool(below)),
        figures=tuple(figures),
        tables=tuple(tables),
        fits=tuple(
            fit_card(
                fit,
                title,
                result.estimates,
                Judged() if place or below else judged(fit, result.pairs.overall),
            )
            for place, (title, fit) in enumerate(result.fits.items())
        ),
    )


def judged(fit: Fit, pairs: xr.Dataset) -> Judged:
    """What a model of pairs is judged by: each pair left out, given the other pairs.

    Models without a sampler stand beside it where every reading is of one class.
    """
    if not {"primary_share", "transition"} <= set(fit.posterior):
        return Judged(unit="nothing: the model has no shares of pairs")
    counts = pairs["counts"].transpose("stratum", "primary_reading", "recurrence_reading")
    number = counts.to_numpy().astype(float)
    patients = number[number > 0]
    rows = pair_likelihood(fit.posterior, pairs)["pairs"].to_numpy()
    rows = rows.reshape(-1, rows.shape[-1]) / patients
    scores = {HERE: leave_one_out(rows, patients)}
    if (pairs["incidence"].to_numpy().sum(axis=-1) == 1).all():
        scores |= other_scores(number.reshape(len(number), -1))
    top_level = ("centre", "deviation_sd", "primary_share")
    return Judged(by_label(fit.posterior["transition"]), top_level, scores, "pair of readings")


def _is_level(matrix: Matrix, factor: str, reading: str) -> bool:
    return [f for f, _ in matrix.given] == [factor] and matrix.reading == reading


def _shared(result: CohortTransitions) -> CohortTransitions:
    """Without counts: no numbers of pairs, and flows from the model's primary shares."""
    return replace(result, matrices=shared(result.matrices), classical=result.classical.iloc[:0])


def _paragraphs(
    result: CohortTransitions, overall: dict[str, Matrix], shared: bool
) -> tuple[str, ...]:
    single = int(result.classical["estimand"].eq("discordance[]").sum()) and _single(result)
    discordance = {reading: _value(result, "discordance[]", reading) for reading in overall}
    pairs = int(result.pairs.overall["counts"].sum())
    first, second = result.pairs.classes[:2]
    direction = f"flow_difference[{first} -> {second}]"
    chance = _row(result, direction, ALL)["posterior_probability"]
    names = {
        ALL: "with all readings",
        SINGLE: "from pairs with one class at both ends only",
    }
    scenarios = "; ".join(
        f"{names.get(reading, reading)} {text}" for reading, text in discordance.items()
    )
    return (
        ("" if shared else f"Of {pairs} pairs {single} have one class at both ends. ")
        + "Pairs with sets of classes at one end or both enter the likelihood as the sum over the "
        "classes they hold, which is right where the set recorded depends on the class only "
        "through the set (coarsening at random). The extremes, in which every IHC 0-1+ is zero or "
        "every one is low, do not need that assumption.",
        f"Discordance, percent of patients: {scenarios}. Posterior median with 95 % CrI. Net "
        f"switching from {first} to {second} is above 0 with probability {probability(chance)}.",
        "Misclassification is not modelled in the matrices. " + NOT_IDENTIFIED,
    )


def _single(result: CohortTransitions) -> int:
    row = result.classical[result.classical["estimand"] == "discordance[]"].iloc[0]
    return int(str(row["method"]).split(";")[0].split("/")[1])


def _row(result: CohortTransitions, estimand: str, reading: str) -> pd.Series:
    table = result.estimates
    return table[(table["estimand"] == estimand) & (table["reading"] == reading)].iloc[0]


def _value(result: CohortTransitions, estimand: str, reading: str) -> str:
    row = _row(result, estimand, reading)
    return interval(
        row["posterior_median"], row["posterior_lower"], row["posterior_upper"], unit="%"
    )


def _scenarios(overall: dict[str, Matrix], who: str) -> Figure:
    named = {reading or "all readings": matrix for reading, matrix in overall.items()}
    return scenario_figure(
        named, who, "readings", "With and without partial readings",
        "All readings: sets of classes as they are. One class at both ends: all other pairs "
        "dropped. The last two settle every IHC 0-1+ one way.",
    )  # fmt: skip


def _main_table(result: CohortTransitions) -> Table:
    chosen = result.estimates[
        (result.estimates["reading"] == ALL) & ~result.estimates["estimand"].str.contains("[|;]")
    ]
    caption = (
        "All readings. Discordance, kappa, gain, loss and flows are for the primary proportions of "
        "this cohort; rows for a new cohort are in estimates.csv."
    )
    return estimate_table(chosen, "All patients: posterior and prior", caption)


def _single_table(result: CohortTransitions) -> Table:
    plain = result.classical[~result.classical["estimand"].str.contains("[|;]")]
    caption = "Pairs with one class at both ends; counts of this cohort, not of a population."
    return classical_table(plain, "Counts and tests", caption)


def _assay_table(result: CohortTransitions) -> Table:
    """What is believed of the assay, and the answers that follow."""
    kinds = {"true_discordance[her2]", "unchanged_given_observed_change[her2]"}
    mine = result.estimates[result.estimates["estimand"].isin(kinds)]
    rows = [
        {
            "Assumed accuracy of the assay": row["note"],
            "Quantity": words(row["estimand"]),
            "Posterior (95 % CrI)": three(row, "posterior"),
            "Prior (95 % CrI)": three(row, "prior"),
            "Contraction": row["contraction"],
            "Convergence": row["convergence"],
        }
        for row in mine.to_dict("records")
    ]
    return Table("True change or misclassification", pd.DataFrame(rows), NOT_IDENTIFIED)


def _level_tables(result: CohortTransitions, factor: str) -> list[Table]:
    estimates = result.estimates[result.estimates["reading"] == ALL]
    mine = estimates[
        estimates["estimand"].str.startswith(f"discordance_difference[; {factor}:")
        | estimates["estimand"].str.fullmatch(rf"discordance\[\| {factor}=[^,]*\]")
    ]
    rows = [
        {
            "Estimand": row["estimand"],
            "Posterior (95 % CrI)": interval(
                row["posterior_median"], row["posterior_lower"], row["posterior_upper"], unit="%"
            )
            + " %",
            "P(difference > 0)": probability(row["posterior_probability"]),
            "Contraction": row["contraction"],
            "Convergence": row["convergence"],
        }
        for row in mine.to_dict("records")
    ]
    tests = result.classical[result.classical["estimand"].str.contains(f"; {factor}", regex=False)]
    return [
        Table(
            f"Discordance by {factor}",
            pd.DataFrame(rows),
            "All readings, partial pooling across levels.",
        ),
        classical_table(
            tests,
            f"Tests by {factor}",
            "Pairs with one class at both ends; each row names its method.",
        ),
    ]
