"""The section on response: best response, rates across subgroups, evidence from outside."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from her2bayes.classical.proportions import interval as share_interval
from her2bayes.estimand import Estimand
from her2bayes.inference.convergence import CONVERGED
from her2bayes.inference.fit import ExactFit
from her2bayes.page.fit_card import exact_card, fit_card, worst
from her2bayes.page.numbers import count, number, probability
from her2bayes.page.section import Figure, FitCard, Section
from her2bayes.rates import figures
from her2bayes.rates import response_tables as tables

if TYPE_CHECKING:
    from her2bayes.rates.borrowed_rates import Borrowing
    from her2bayes.rates.response_estimates import Result

Known = Mapping[tuple[str, str], Mapping[str, Any]]
ALL = "All patients"


def section(result: Result) -> Section:
    """Report responses: bars, forest raw and pooled, borrowing and its tipping curve."""
    known = tables.index(result.estimates)
    return Section(
        id="response",
        title="Response",
        paragraphs=tuple(_paragraphs(result)),
        figures=tuple(_figures(result, known)),
        tables=tuple(tables.tables(result, known)),
        fits=tuple(_cards(result)),
    )


def _paragraphs(result: Result) -> Iterator[str]:
    patients = max(int(table["patients"].sum()) for table in result.counts.values())
    yield (
        f"Responses of {patients} patients. Each factor is an analysis of its own: the same "
        "patients stand in all of them, and nothing is said about combinations that are not "
        "printed. A level may be exchangeable with the others of its factor, or not (EXNEX, prior "
        "probability one half each): the data move that probability, and where levels differ they "
        "are pulled together less. With two levels this rests on the prior to a large part."
    )
    if any(one.factor for one in result.best):
        yield (
            "The categories of best response are also fitted by one ordered model, from which "
            "objective response and disease control follow together (reading “ordered” in the "
            "evidence table). It supposes that a level shifts all categories by the same odds "
            "ratio; where it disagrees with the separate rates, that is what it costs."
        )
    yield from _left_out(result)
    for one in result.borrowings:
        y, n = one.outside.total
        yield (
            f"Evidence from outside: {y} of {n} ({one.source}) beside {one.responders} of "
            f"{one.patients} here. Every choice of borrowing is shown, none is recommended; the "
            "weight of a robust prior has no default. Patients are not randomised between the two "
            "studies: borrowing supposes that they differ by chance or by the modelled spread."
        )
    if result.refused:
        reasons: dict[str, list[str]] = {}
        for r in result.refused:
            reasons.setdefault(r.reason, []).append(f"{r.quantity} {r.printed} ({r.source})")
        for reason, items in reasons.items():
            yield f"Shown for comparison and not borrowed, because {reason}: {'; '.join(items)}."
    for seen in result.conversions:
        yield (
            f"HER2 conversion: {seen.converted} of {seen.patients} patients were zero at the "
            f"primary and low now. From {seen.source}, {seen.from_zero} of "
            f"{seen.from_zero + seen.from_low} low recurrences had been zero (positive primaries "
            f"left out), which predicts {number(seen.expected, 1)} of {seen.patients}, 95 % "
            f"between {seen.lower} and {seen.upper}; a number as unlikely as the one seen has "
            f"probability {probability(seen.tail)}. No printed pairs tell of hormone receptors, "
            "so their conversion is not predicted."
        )


def left_out(result: Result) -> list[str]:
    """Say of each factor which patients no comparison holds, and why."""
    said = []
    for (group, factor), rest in result.rests.items():
        label = result.labels.get(factor, factor)
        unknown = "an unknown number of" if rest.unknown is None else rest.unknown
        if not rest.name:
            said.append(f"{label}: {unknown} patients have no known level")
            continue
        others = "" if rest.others is None else f"{rest.others} "
        said.append(
            f"{label}: {group.upper()} of the {others}patients who are “{rest.name}” is not "
            f"printed ({rest.fewest} to {rest.most} responders would fit), and {unknown} further "
            "patients have no known level"
        )
    return list(dict.fromkeys(said))


def _left_out(result: Result) -> Iterator[str]:
    if said := left_out(result):
        yield (
            f"Left out of the comparisons: {'; '.join(said)}. A patient of unknown level is not "
            "one without it: where only one level is counted there is no difference and no test, "
            "and its rate stands alone (one binomial, Beta(1, 1) prior)."
        )


def _figures(result: Result, known: Known) -> Iterator[Figure]:
    if result.best:
        yield _bars(result)
    panels = _panels(result, known)
    if panels:
        verdict = worst(str(row["convergence"]) for row in known.values())
        warning = "" if verdict == CONVERGED else f" A fit behind it is {verdict}."
        yield Figure(
            "figure-response-forest",
            "Response rates by subgroup, raw and pooled",
            figures.forest(
                panels,
                _overall(result),
                {"counted, 95 % Wilson": figures.RAW, "posterior (EXNEX), 95 %": figures.POOLED},
            ),
            "Open: as counted. Filled: posterior median of the hierarchical model. Dotted: all "
            f"patients. The factors divide the same patients.{warning}",
            _alt(panels),
        )
    for one in result.borrowings:
        yield _choices(one)
        yield Figure(
            f"figure-tipping-{one.group}",
            f"How the answer depends on the weight of the outside data: {one.group.upper()}",
            figures.tipping(one.tipping, one.threshold),
            "Robust MAP prior; the weight runs from the vague prior alone (0) to the outside "
            f"evidence alone (1). Dotted: the outside rate, {100 * one.threshold:.3g} %.",
            f"Posterior rate from {100 * one.tipping['mean'][0]:.1f} % at weight 0 to "
            f"{100 * one.tipping['mean'][-1]:.1f} % at weight 1.",
        )


def _bars(result: Result) -> Figure:
    rows = {}
    for one in result.best:
        for place, level in enumerate(map(str, one.counts["level"].values)):
            label = f"{result.labels.get(one.factor, one.factor)}: {level}" if one.factor else ALL
            values = one.counts.values[place]
            names = map(str, one.counts["category"].values)
            rows[label] = {n: int(v) for n, v in zip(names, values, strict=True)}
    alt = "; ".join(
        f"{label}: " + ", ".join(f"{n} {v}" for n, v in counts.items())
        for label, counts in rows.items()
    )
    caption = (
        "Counted patients. Levels that are not printed are what the printed ones leave of all "
        "patients; categories follow from objective response and disease control."
    )
    return Figure("figure-best-response", "Best response", figures.bars(rows), caption, alt)


def _panels(result: Result, known: Known) -> dict[str, list[figures.Row]]:
    panels: dict[str, list[figures.Row]] = {}
    for (group, factor), counts in result.counts.items():
        if not factor:
            continue
        rows = panels.setdefault(group.upper(), [])
        rows.append(figures.Row(result.labels.get(factor, factor)))
        for level, responders, patients in tables.cells(counts):
            asked = Estimand("response_rate", group, ((factor, level),))
            row = known.get((str(asked), ""))
            if row is None or not patients:
                continue
            low, high = share_interval(responders, patients, "Wilson")
            raw = (100 * responders / patients, 100 * low, 100 * high)
            marks = (figures.Mark(raw, figures.RAW), figures.Mark(_three(row), figures.POOLED))
            rows.append(figures.Row(level, f"{responders}/{patients}", marks))
    return panels


def _overall(result: Result) -> dict[str, float]:
    return {
        group.upper(): 100 * float(table["responders"].sum() / table["patients"].sum())
        for (group, factor), table in result.counts.items()
        if not factor
    }


def _choices(one: Borrowing) -> Figure:
    rows = []
    for choice in one.choices:
        low, middle, high = (float(v) for v in 100 * choice.posterior.ppf(_POINTS))
        mark = figures.Mark((middle, low, high), figures.BORROWED)
        detail = f"worth {number(choice.patients_worth, 0)}"
        rows.append(figures.Row(choice.label, detail, (mark,)))
    y, n = one.outside.total
    return Figure(
        f"figure-borrowing-{one.group}",
        f"{one.group.upper()} of all patients under every choice of borrowing",
        figures.forest(
            {one.group.upper(): rows},
            {one.group.upper(): 100 * y / n},
            {"posterior with outside data, 95 %": figures.BORROWED},
        ),
        f"{one.responders} of {one.patients} here, {y} of {n} outside ({one.source}; dotted). "
        "“Worth” is the effective sample size of the prior in patients (ELIR).",
        "; ".join(f"{row.label} {row.marks[0].values[0]:.1f} %" for row in rows),
    )


_POINTS = (0.025, 0.5, 0.975)


def _three(row: Mapping[str, Any]) -> figures.Three:
    return (row["posterior_median"], row["posterior_lower"], row["posterior_upper"])


def _alt(panels: Mapping[str, list[figures.Row]]) -> str:
    parts = [
        f"{name}: "
        + "; ".join(
            f"{r.label} {r.marks[0].values[0]:.1f} % counted, {r.marks[1].values[0]:.1f} % pooled"
            for r in rows
            if r.marks
        )
        for name, rows in panels.items()
    ]
    return ". ".join(parts) + "."


def _cards(result: Result) -> Iterator[FitCard]:
    for analysis in result.analyses:
        label = result.labels.get(analysis.factor, analysis.factor)
        title = f"{analysis.group.upper()} by {label}"
        if isinstance(analysis.fit, ExactFit):
            yield exact_card(analysis.fit, title)
        else:
            yield fit_card(analysis.fit, title, result.estimates)
    for one in result.best:
        label = result.labels.get(one.factor, ALL)
        yield fit_card(one.fit, f"Best response: {label}", result.estimates)
    for borrowed in result.borrowings:
        priors = {
            "rate, initial": "Beta(1, 1)",
            "mu": "Normal(0, 2), log odds: typical rate 50 %, 95 % between 2 and 98 %",
            "tau of MAP": "HalfNormal(1), log odds between studies: median 0.67, 95 % below 2.0",
            "tau, commensurate": "HalfNormal(0.5): median 0.34, 95 % below 1.0",
            "discount, normalised power": "Beta(1, 1)",
        }
        yield exact_card(borrowed.fit, f"Borrowing: {borrowed.group.upper()}", priors)
    for fit in result.shares:
        title = f"Shares of patients by one binomial each: {count(len(fit.inputs), 'share')}"
        yield exact_card(fit, title, {"share": "Beta(1, 1)"})
