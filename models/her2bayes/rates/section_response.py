"""The section on response: best response, rates across subgroups, evidence from outside."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import pandas as pd

from her2bayes.classical.proportions import interval as share_interval
from her2bayes.errors import BadInput, Fault
from her2bayes.estimand import Estimand
from her2bayes.inference.convergence import CONVERGED
from her2bayes.inference.fit import ExactFit
from her2bayes.inference.predictive import leave_one_out
from her2bayes.page.fit_card import (
    HERE,
    Judged,
    by_label,
    exact_card,
    fit_card,
    judged_counts,
    other_scores,
    worst,
)
from her2bayes.page.numbers import count, interval, number, p_value, probability
from her2bayes.page.section import Figure, FitCard, Section, Table
from her2bayes.rates import figures
from her2bayes.rates.response import POOLING
from her2bayes.rates.responses import ORDERED
from her2bayes.results.fitted import Figures

if TYPE_CHECKING:
    import matplotlib.figure
    import xarray as xr

    from her2bayes.evidence.printed.responses import Rest
    from her2bayes.inference.fit import Fit
    from her2bayes.rates.borrowed_rates import Borrowing
    from her2bayes.rates.draws import Part
    from her2bayes.rates.responses import Best, Levels, ResponseData

Known = Mapping[tuple[str, str], Mapping[str, Any]]
ALL = "All patients"
_KEY = {"observed, 95 % CI (Wilson)": figures.RAW, "posterior (EXNEX), 95 % CrI": figures.POOLED}


class Responses(Protocol):
    """What is reported of responses."""

    @property
    def data(self) -> ResponseData:
        """Counts."""

    @property
    def levels(self) -> tuple[Levels, ...]:
        """Rates by level of each factor."""

    @property
    def best(self) -> tuple[Best, ...]:
        """Categories of best response."""

    @property
    def shares(self) -> tuple[Part, ...]:
        """Rates that stand alone."""

    @property
    def borrowings(self) -> tuple[Borrowing, ...]:
        """Rates of all patients with evidence from outside."""

    @property
    def tests(self) -> list[dict[str, Any]]:
        """Every comparison of two levels."""

    def estimates(self) -> pd.DataFrame:
        """Every row of estimates."""


def section(fit: Responses) -> Section:
    """Report responses: bars, forest raw and pooled, borrowing and its tipping curve."""
    known = index(fit.estimates())
    return Section(
        id="response",
        title="Response",
        paragraphs=tuple(_paragraphs(fit)),
        figures=tuple(_figures(fit, known)),
        tables=tuple(tables(fit, known)),
        fits=tuple(_cards(fit)),
    )


def _paragraphs(fit: Responses) -> Iterator[str]:
    patients = max(int(table["patients"].sum()) for table in fit.data.counts.values())
    yield (
        f"Responses of {patients} patients. Each factor is an analysis of its own: the same "
        "patients stand in all of them, and nothing is said about combinations that are not "
        "printed. A level may be exchangeable with the others of its factor, or not (EXNEX, prior "
        "probability one half each): the data move that probability, and where levels differ they "
        "are pulled together less. With two levels this rests on the prior to a large part."
    )
    if any(one.factor for one in fit.best):
        yield (
            "The categories of best response are also fitted by one ordered model, from which "
            "objective response and disease control follow together (reading “ordered” in the "
            "evidence table). It supposes that a level shifts all categories by the same odds "
            "ratio; where it disagrees with the separate rates, that is what it costs."
        )
    yield from _left_out(fit)
    for one in fit.borrowings:
        y, n = one.outside.total
        yield (
            f"Evidence from outside: {y} of {n} ({one.source}) beside {one.responders} of "
            f"{one.patients} here. Every choice of borrowing is shown, none is recommended; the "
            "weight of a robust prior has no default. Patients are not randomised between the two "
            "studies: borrowing supposes that they differ by chance or by the modelled spread."
        )
    if fit.data.refused:
        reasons: dict[str, list[str]] = {}
        for r in fit.data.refused:
            reasons.setdefault(r.reason, []).append(f"{r.quantity} {r.printed} ({r.source})")
        for reason, items in reasons.items():
            yield f"Shown for comparison and not borrowed, because {reason}: {'; '.join(items)}."
    for seen in fit.data.conversions:
        yield (
            f"HER2 conversion: {seen.converted} of {seen.patients} patients were zero at the "
            f"primary and low now. From {seen.source}, {seen.from_zero} of "
            f"{seen.from_zero + seen.from_low} low recurrences had been zero (positive primaries "
            f"left out), which predicts {number(seen.expected, 1)} of {seen.patients}, 95 % "
            f"between {seen.lower} and {seen.upper} (predictive P {probability(seen.tail)}). The "
            "prediction has no between-study variation, so its interval is too narrow. No paired "
            "hormone-receptor counts are reported, so their conversion is not predicted."
        )


def left_out(fit: Responses) -> list[str]:
    """Say of each factor which patients no comparison holds, and why."""
    said = []
    for (group, factor), rest in fit.data.rests.items():
        label = fit.data.labels.get(factor, factor)
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


def _left_out(fit: Responses) -> Iterator[str]:
    if said := left_out(fit):
        yield (
            f"Left out of the comparisons: {'; '.join(said)}. A patient of unknown level is not "
            "one without it: where only one level is counted there is no difference and no test, "
            "and its rate stands alone (one binomial, Beta(1, 1) prior)."
        )


def _figures(fit: Responses, known: Known) -> Iterator[Figure]:
    if fit.best:
        yield _best(fit)
    panels, overall = _panels(fit, known), _overall(fit)
    if panels:
        verdict = worst(str(row["convergence"]) for row in known.values())
        warning = "" if verdict == CONVERGED else f" A fit behind it is {verdict}."
        yield Figure(
            "figure-response-forest",
            "Response rates by subgroup, raw and pooled",
            figures.svg(
                *(figures.forest(name, rows, overall.get(name)) for name, rows in panels.items()),
                key=figures.forest_key(_KEY),
            ),
            "Open: observed, 95 % CI. Filled: posterior median of the hierarchical model, 95 % "
            f"CrI. Dotted: all patients. The factors divide the same patients.{warning}",
            _alt(panels),
        )
    for one in fit.borrowings:
        yield _choices(one)
        yield Figure(
            f"figure-tipping-{one.group}",
            f"How the answer depends on the weight of the outside data: {one.group.upper()}",
            figures.svg(
                figures.tipping(one.tipping, one.threshold),
                figures.tipping_probability(one.tipping, one.threshold),
            ),
            "Robust MAP prior; the weight runs from the vague prior alone (0) to the outside "
            f"evidence alone (1). Dotted: the outside rate, {100 * one.threshold:.3g} %.",
            f"Posterior rate from {100 * one.tipping['mean'][0]:.1f} % at weight 0 to "
            f"{100 * one.tipping['mean'][-1]:.1f} % at weight 1.",
        )


def _bars(fit: Responses) -> dict[str, dict[str, int]]:
    """Counts of best responses by what they are of."""
    rows = {}
    for one in fit.best:
        for place, level in enumerate(map(str, one.counts["level"].values)):
            label = f"{fit.data.labels.get(one.factor, one.factor)}: {level}" if one.factor else ALL
            values = one.counts.values[place]
            names = map(str, one.counts["category"].values)
            rows[label] = {n: int(v) for n, v in zip(names, values, strict=True)}
    return rows


def _best(fit: Responses) -> Figure:
    rows = _bars(fit)
    alt = "; ".join(
        f"{label}: " + ", ".join(f"{n} {v}" for n, v in counts.items())
        for label, counts in rows.items()
    )
    caption = (
        "Counted patients. Levels that are not printed are what the printed ones leave of all "
        "patients; categories follow from objective response and disease control."
    )
    drawing = figures.svg(figures.bars(rows))
    return Figure("figure-best-response", "Best response", drawing, caption, alt)


def _panels(fit: Responses, known: Known) -> dict[str, list[figures.Row]]:
    panels: dict[str, list[figures.Row]] = {}
    for (group, factor), counts in fit.data.counts.items():
        if not factor:
            continue
        rows = panels.setdefault(group.upper(), [])
        rows.append(figures.Row(fit.data.labels.get(factor, factor)))
        for level, responders, patients in cells(counts):
            asked = Estimand("response_rate", group, ((factor, level),))
            row = known.get((str(asked), ""))
            if row is None or not patients:
                continue
            low, high = share_interval(responders, patients, "Wilson")
            raw = (100 * responders / patients, 100 * low, 100 * high)
            marks = (figures.Mark(raw, figures.RAW), figures.Mark(_three(row), figures.POOLED))
            rows.append(figures.Row(level, f"{responders}/{patients}", marks))
    return panels


def _overall(fit: Responses) -> dict[str, float]:
    return {
        group.upper(): 100 * float(table["responders"].sum() / table["patients"].sum())
        for (group, factor), table in fit.data.counts.items()
        if not factor
    }


def _choice_rows(one: Borrowing) -> list[figures.Row]:
    rows = []
    for choice in one.choices:
        low, middle, high = (float(v) for v in 100 * choice.posterior.ppf(_POINTS))
        mark = figures.Mark((middle, low, high), figures.BORROWED)
        detail = f"prior ESS {number(choice.patients_worth, 0)}"
        rows.append(figures.Row(choice.label, detail, (mark,)))
    return rows


def _forest(one: Borrowing) -> matplotlib.figure.Figure:
    y, n = one.outside.total
    return figures.forest(one.group.upper(), _choice_rows(one), 100 * y / n)


def _choices(one: Borrowing) -> Figure:
    y, n = one.outside.total
    key = figures.forest_key({"posterior with external data, 95 % CrI": figures.BORROWED})
    return Figure(
        f"figure-borrowing-{one.group}",
        f"{one.group.upper()} of all patients under every choice of borrowing",
        figures.svg(_forest(one), key=key),
        f"{one.responders} of {one.patients} here, {y} of {n} outside ({one.source}; dotted). "
        "Posterior median with 95 % CrI. Prior ESS: effective sample size of the prior in patients "
        "(ELIR).",
        "; ".join(f"{row.label} {row.marks[0].values[0]:.1f} %" for row in _choice_rows(one)),
    )


def drawings(fit: Responses) -> Figures:
    """Figures by name; a group of responses is named as in the table ("orr"), or the first one."""
    groups = list(dict.fromkeys(group for group, _ in fit.data.counts))
    of = {one.group: one for one in fit.borrowings}

    def rates(group: str = "") -> matplotlib.figure.Figure:
        name = _one_of(groups, group).upper()
        panels = _panels(fit, index(fit.estimates()))
        return figures.forest(name, panels[name], _overall(fit).get(name))

    def borrowed(draw: Callable[[Borrowing], matplotlib.figure.Figure]) -> Any:
        return lambda group="": draw(of[_one_of(list(of), group)])

    known: dict[str, Callable[..., matplotlib.figure.Figure]] = {}
    if any(factor for _, factor in fit.data.counts):
        known["rates"] = rates
    if fit.best:
        known["best_response"] = lambda: figures.bars(_bars(fit))
    if of:
        known["borrowing"] = borrowed(_forest)
        known["tipping"] = borrowed(lambda one: figures.tipping(one.tipping, one.threshold))
        known["tipping_probability"] = borrowed(
            lambda one: figures.tipping_probability(one.tipping, one.threshold)
        )
    return Figures(known)


def _one_of(groups: Sequence[str], group: str) -> str:
    if group and group not in groups:
        raise BadInput(Fault("no such response", value=group, allowed=", ".join(groups)))
    return group or groups[0]


_POINTS = (0.025, 0.5, 0.975)


def _three(row: Mapping[str, Any]) -> figures.Three:
    return (row["posterior_median"], row["posterior_lower"], row["posterior_upper"])


def _alt(panels: Mapping[str, list[figures.Row]]) -> str:
    parts = [
        f"{name}: "
        + "; ".join(
            f"{r.label} {r.marks[0].values[0]:.1f} % observed, {r.marks[1].values[0]:.1f} % pooled"
            for r in rows
            if r.marks
        )
        for name, rows in panels.items()
    ]
    return ". ".join(parts) + "."


def judged(fit: Fit, counts: xr.Dataset) -> Judged:
    """What a model of responders is judged by: each patient's response left out.

    Given the rates, a level is exchangeable with the probability ``together`` that all its patients
    say; of the others this leaves 1 / sum over both of probability / density of the one.
    """
    draws, order = fit.posterior, ("chain", "draw", "subgroup")
    together, first, second = (
        draws[name].transpose(*order).to_numpy() for name in ("together", "rate_together",
                                                              "rate_alone")
    )  # fmt: skip
    of_class = [
        -np.log(together / one + (1 - together) / other)
        for one, other in ((first, second), (1 - first, 1 - second))
    ]
    yes, of = (counts[name].to_numpy().astype(float) for name in ("responders", "patients"))
    number = np.stack([yes, of - yes], axis=1)
    occupied = number > 0
    rows = np.stack(of_class, axis=-1).reshape(-1, *number.shape)[:, occupied]
    scores = {HERE: leave_one_out(rows, number[occupied])} | other_scores(number)
    rate = draws["together"] * draws["rate_together"]
    rate = (rate + (1 - draws["together"]) * draws["rate_alone"]).rename("rate")
    return Judged(by_label(rate), ("mu", "tau"), scores, "patient")


def _cards(fit: Responses) -> Iterator[FitCard]:
    for levels in fit.levels:
        label = fit.data.labels.get(levels.factor, levels.factor)
        title = f"{levels.group.upper()} by {label}"
        if isinstance(levels.fit, ExactFit):
            yield exact_card(levels.fit, title)
        else:
            told = judged(levels.fit, levels.counts)
            yield fit_card(levels.fit, title, fit.estimates(), told)
    for one in fit.best:
        label = fit.data.labels.get(one.factor, ALL)
        shares = judged_counts(one.fit.posterior["share"], one.counts, ("baseline", "tau", "raw"))
        yield fit_card(one.fit, f"Best response: {label}", fit.estimates(), shares)
    for borrowed in fit.borrowings:
        priors = {
            "rate, initial": "Beta(1, 1)",
            "mu": "Normal(0, 2), log odds: typical rate 50 %, 95 % between 2 and 98 %",
            "tau of MAP": "HalfNormal(1), log odds between studies: median 0.67, 95 % below 2.0",
            "tau, commensurate": "HalfNormal(0.5): median 0.34, 95 % below 1.0",
            "discount, normalised power": "Beta(1, 1)",
        }
        yield exact_card(borrowed.fit, f"Borrowing: {borrowed.group.upper()}", priors)
    for part in fit.shares:
        title = f"Shares of patients by one binomial each: {count(len(part.cells), 'share')}"
        assert isinstance(part.fit, ExactFit)  # as all binomials
        yield exact_card(part.fit, title, {"share": "Beta(1, 1)"})


def index(estimates: pd.DataFrame) -> Known:
    """Rows of estimates by estimand and reading."""
    return {
        (str(row["estimand"]), str(row["reading"])): {str(k): v for k, v in row.items()}
        for row in estimates.to_dict("records")
    }


def cells(counts: xr.Dataset) -> Iterator[tuple[str, int, int]]:
    """Level, responders and patients."""
    for level, responders, patients in zip(
        counts["level"].values, counts["responders"].values, counts["patients"].values, strict=True
    ):
        yield str(level), int(responders), int(patients)


def tables(fit: Responses, known: Known) -> Iterator[Table]:
    """Every table of the section."""
    rows = [row for levels in fit.levels for row in _rate_rows(levels, fit, known)]
    if rows:
        yield Table(
            "Response rates by subgroup under every pooling",
            pd.DataFrame(rows),
            "Percent; observed with 95 % CI, posterior with 95 % CrI. EXNEX is the fit; the "
            "columns exchangeable and none are the same model with weight 1 and 0, computed by "
            "quadrature. Exchangeable: posterior probability that the level is exchangeable with "
            "the others.",
        )
    left = list(_left_rows(fit, known))
    if left:
        yield Table(
            "Levels that are not compared, and patients left out", pd.DataFrame(left), _LEFT
        )
    if fit.tests:
        yield Table("Comparisons of two levels", pd.DataFrame(_test_rows(fit)), _TESTS)
    for one in fit.borrowings:
        yield _borrowing(one)
        yield _performance(one)


_TESTS = (
    "Difference in percentage points (Newcombe, method 10) and ratio (Koopman) with 95 % "
    "CI; two-sided exact P: Fisher (conditional), Barnard (pooled score) and Boschloo "
    "(unconditional; empty where both groups are large); Holm adjusts Fisher's P for all rows of "
    "this table."
)


_LEFT = (
    "Percent, median with 95 % CrI (Beta(1, 1) prior). Not counted: patients whose other level is "
    "known and whose responses are not printed, with the fewest and most responders among them "
    "that fit; unknown: patients of no known level. Neither stands in a comparison."
)


def _left_rows(fit: Responses, known: Known) -> Iterator[dict[str, str]]:
    """One row a level that stands alone or a factor that leaves patients out."""
    for (group, factor), counts in fit.data.counts.items():
        rest = fit.data.rests.get((group, factor))
        single = counts.sizes["subgroup"] == 1
        if not factor or not (single or rest):
            continue
        level, responders, patients = next(cells(counts))
        row = known.get((str(Estimand("response_rate", group, ((factor, level),))), ""), {})
        yield {
            "Response": group.upper(),
            "Factor": fit.data.labels.get(factor, factor),
            "Level": level if single else "all levels",
            "Observed": f"{responders} of {patients}"
            if single
            else f"{counts['patients'].sum():d}",
            "Posterior": _estimate(row) if single else "",
            "Not counted": _not_counted(rest),
            "Unknown": "" if rest is None else ("?" if rest.unknown is None else str(rest.unknown)),
            "fit_id": str(row.get("fit_id", "")) if single else "",
        }


def _not_counted(rest: Rest | None) -> str:
    if rest is None or not rest.name:
        return ""
    number_ = "?" if rest.others is None else str(rest.others)
    return f"{rest.name}: {number_} ({rest.fewest} to {rest.most} responders)"


def _rate_rows(levels: Levels, fit: Responses, known: Known) -> Iterator[dict[str, str]]:
    label = fit.data.labels.get(levels.factor, levels.factor)
    for place, (level, responders, patients) in enumerate(cells(levels.counts)):
        if not patients:
            continue
        asked = str(Estimand("response_rate", levels.group, ((levels.factor, level),)))
        row, ordered = known.get((asked, ""), {}), known.get((asked, ORDERED), {})
        exact = {name: levels.exact[name].arms[place] for name in POOLING}
        mid_p = share_interval(responders, patients, "mid-P")
        clopper = share_interval(responders, patients, "Clopper-Pearson")
        yield {
            "Response": levels.group.upper(),
            "Factor": label,
            "Level": level,
            "Observed": f"{responders} of {patients}",
            "Clopper-Pearson": _percent(responders / patients, clopper),
            "mid-P": _percent(responders / patients, mid_p),
            "EXNEX": _estimate(row),
            "Exchangeable": probability(levels.exact["exnex"].exchangeable[place]),
            "if exchangeable": _quantiles(exact["exchangeable"]),
            "no pooling": _quantiles(exact["none"]),
            "ordered": _estimate(ordered),
            "fit_id": str(row.get("fit_id", "")),
        }


def _test_rows(fit: Responses) -> Iterator[dict[str, str]]:
    for test in fit.tests:
        gap, gap_low, gap_high = (100 * v for v in test["difference"])
        ratio, ratio_low, ratio_high = test["ratio"]
        yield {
            "Response": str(test["group"]).upper(),
            "Factor": str(test["factor"]),
            "Compared": f"{test['a']} vs {test['b']}",
            "Observed": " vs ".join(f"{a}/{b}" for a, b in test["cells"]),
            "Difference": interval(gap, gap_low, gap_high, unit="%"),
            "Ratio": interval(ratio, ratio_low, ratio_high, 2),
            **{
                name.capitalize(): p_value(test[name]) for name in ("fisher", "barnard", "boschloo")
            },
            "Holm": p_value(test["holm"]),
        }


def _borrowing(one: Borrowing) -> Table:
    rows = [
        {
            "Choice": choice.label,
            "Prior": _quantiles(choice.prior),
            "Prior ESS, patients": number(choice.patients_worth, 1),
            "Conflict": probability(choice.conflict),
            "Posterior": _quantiles(choice.posterior),
            f"P(rate < {100 * one.threshold:.3g} %)": probability(
                float(choice.posterior.cdf(one.threshold))
            ),
            "Learned": choice.learned,
            "fit_id": one.fit.fit_id,
        }
        for choice in one.choices
    ]
    caption = (
        "Percent, median with 95 % CrI. Prior ESS: effective sample size of the prior (ELIR). "
        "Conflict: prior predictive P; small values mean prior–data conflict. Discounts and "
        "weights are shown, not proposed."
    )
    return Table(f"Borrowing for {one.group.upper()}", pd.DataFrame(rows), caption)


def _performance(one: Borrowing) -> Table:
    rows = [
        {
            "Choice": row["choice"],
            "True rate": number(100 * row["rate"], 1),
            "Type-I error": number(100 * row["claims"], 1),
            "Bias": number(100 * row["bias"], 1),
            "RMSE": number(100 * row["rmse"], 1),
            "Coverage": number(100 * row["coverage"], 1),
            "Width": number(100 * row["width"], 1),
        }
        for row in one.table.to_dict("records")
    ]
    y, n = one.outside.total
    caption = (
        f"All percent, over all outcomes of a trial of {one.patients} patients, weighted by their "
        f"probability; nothing is simulated. The outside rate is {100 * y / n:.3g} %: other true "
        "rates are conflict between the prior and the data. Type-I error: chance to claim, with "
        f"97.5 % certainty, a rate above the true one (nominally 2.5 %; {_without(one)} without "
        "borrowing, as counts are discrete)."
    )
    title = f"What each choice does over repeated trials: {one.group.upper()}"
    return Table(title, pd.DataFrame(rows), caption)


def _without(one: Borrowing) -> str:
    """Type-I error over the true rates shown where nothing is borrowed, in percent."""
    claims = 100 * one.table.loc[one.table["choice"] == one.choices[0].label, "claims"]
    return f"{number(claims.min(), 1)} to {number(claims.max(), 1)} %"


def _quantiles(rate: Any) -> str:
    low, middle, high = (float(v) for v in 100 * rate.ppf((0.025, 0.5, 0.975)))
    return interval(middle, low, high, unit="%")


def _estimate(row: Mapping[str, Any]) -> str:
    median, low, high = (row.get(f"posterior_{part}") for part in ("median", "lower", "upper"))
    return interval(median, low, high, unit="%")


def _percent(share: float, bounds: tuple[float, float]) -> str:
    return interval(100 * share, 100 * bounds[0], 100 * bounds[1], unit="%")
