"""Tables of the section on response: rates, comparisons, borrowing, operating characteristics."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import pandas as pd

from her2bayes.classical.proportions import interval as share_interval
from her2bayes.estimand import Estimand
from her2bayes.page.numbers import interval, number, p_value, probability
from her2bayes.page.section import Table
from her2bayes.rates.response import POOLING
from her2bayes.rates.response_estimates import ORDERED

if TYPE_CHECKING:
    import xarray as xr

    from her2bayes.evidence.printed.responses import Rest
    from her2bayes.rates.borrowed_rates import Borrowing
    from her2bayes.rates.response_estimates import Result
    from her2bayes.rates.response_rates import Analysis

Known = Mapping[tuple[str, str], Mapping[str, Any]]


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


def tables(result: Result, known: Known) -> Iterator[Table]:
    """Every table of the section."""
    rows = [row for analysis in result.analyses for row in _rate_rows(analysis, result, known)]
    if rows:
        yield Table(
            "Response rates by subgroup under every pooling",
            pd.DataFrame(rows),
            "Percent with 95 % intervals. EXNEX is the fit; the columns exchangeable and none are "
            "the same model with weight 1 and 0, computed by quadrature. Exchangeable: posterior "
            "probability that the level is exchangeable with the others.",
        )
    left = list(_left_rows(result, known))
    if left:
        yield Table(
            "Levels that are not compared, and patients left out", pd.DataFrame(left), _LEFT
        )
    if result.tests:
        yield Table("Comparisons of two levels", pd.DataFrame(_test_rows(result)), _TESTS)
    for one in result.borrowings:
        yield _borrowing(one)
        yield _performance(one)


_TESTS = (
    "Difference in percentage points (Newcombe, method 10) and ratio (Koopman) with 95 % "
    "intervals; two-sided exact P: Fisher (conditional), Barnard (pooled score) and Boschloo "
    "(unconditional; empty where both groups are large); Holm adjusts Fisher's P for all rows of "
    "this table."
)


_LEFT = (
    "Percent with 95 % intervals (Beta(1, 1) prior). Not counted: patients whose other level is "
    "known and whose responses are not printed, with the fewest and most responders among them "
    "that fit; unknown: patients of no known level. Neither stands in a comparison."
)


def _left_rows(result: Result, known: Known) -> Iterator[dict[str, str]]:
    """One row a level that stands alone or a factor that leaves patients out."""
    for (group, factor), counts in result.counts.items():
        rest = result.rests.get((group, factor))
        single = counts.sizes["subgroup"] == 1
        if not factor or not (single or rest):
            continue
        level, responders, patients = next(cells(counts))
        row = known.get((str(Estimand("response_rate", group, ((factor, level),))), ""), {})
        yield {
            "Response": group.upper(),
            "Factor": result.labels.get(factor, factor),
            "Level": level if single else "all levels",
            "Counted": f"{responders} of {patients}" if single else f"{counts['patients'].sum():d}",
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


def _rate_rows(analysis: Analysis, result: Result, known: Known) -> Iterator[dict[str, str]]:
    label = result.labels.get(analysis.factor, analysis.factor)
    for place, (level, responders, patients) in enumerate(cells(analysis.counts)):
        if not patients:
            continue
        asked = str(Estimand("response_rate", analysis.group, ((analysis.factor, level),)))
        row, ordered = known.get((asked, ""), {}), known.get((asked, ORDERED), {})
        exact = {name: analysis.exact[name].arms[place] for name in POOLING}
        mid_p = share_interval(responders, patients, "mid-P")
        clopper = share_interval(responders, patients, "Clopper-Pearson")
        yield {
            "Response": analysis.group.upper(),
            "Factor": label,
            "Level": level,
            "Counted": f"{responders} of {patients}",
            "Clopper-Pearson": _percent(responders / patients, clopper),
            "mid-P": _percent(responders / patients, mid_p),
            "EXNEX": _estimate(row),
            "Exchangeable": probability(analysis.exact["exnex"].exchangeable[place]),
            "if exchangeable": _quantiles(exact["exchangeable"]),
            "no pooling": _quantiles(exact["none"]),
            "ordered": _estimate(ordered),
            "fit_id": str(row.get("fit_id", "")),
        }


def _test_rows(result: Result) -> Iterator[dict[str, str]]:
    for test in result.tests:
        gap, gap_low, gap_high = (100 * v for v in test["difference"])
        ratio, ratio_low, ratio_high = test["ratio"]
        yield {
            "Response": str(test["group"]).upper(),
            "Factor": str(test["factor"]),
            "Compared": f"{test['a']} vs {test['b']}",
            "Counted": " vs ".join(f"{a}/{b}" for a, b in test["cells"]),
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
            "Worth, patients": number(choice.patients_worth, 1),
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
        "Percent with 95 % intervals. Worth: effective sample size (ELIR). Conflict: prior "
        "predictive probability of a result no likelier than the one seen; small means that the "
        "prior did not expect these patients. Discounts and weights are shown, not proposed."
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
        "97.5 % certainty, a rate above the true one (2.5 % where nothing is borrowed)."
    )
    title = f"What each choice does over repeated trials: {one.group.upper()}"
    return Table(title, pd.DataFrame(rows), caption)


def _quantiles(rate: Any) -> str:
    low, middle, high = (float(v) for v in 100 * rate.ppf((0.025, 0.5, 0.975)))
    return interval(middle, low, high, unit="%")


def _estimate(row: Mapping[str, Any]) -> str:
    median, low, high = (row.get(f"posterior_{part}") for part in ("median", "lower", "upper"))
    return interval(median, low, high, unit="%")


def _percent(share: float, bounds: tuple[float, float]) -> str:
    return interval(100 * share, 100 * bounds[0], 100 * bounds[1], unit="%")
