"""The section on survival that a paper's printed numbers allow: cohorts, curves, forest, limits."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from her2bayes.cohorts.chain import reference_model
from her2bayes.cohorts.chain.statistics import SURVIVAL
from her2bayes.cohorts.estimates import curves_of
from her2bayes.cohorts.kept import DEFAULT_PRIORS, MODEL
from her2bayes.cohorts.printed_curves import CURVE
from her2bayes.errors import BadInput, Fault
from her2bayes.estimand import Contrast
from her2bayes.files import csv_text
from her2bayes.inference.convergence import (
    CHAINS_AGREE,
    CHAINS_DISAGREE,
    LARGEST_RHAT,
    LEAST_ESS,
    failed,
    reasons,
)
from her2bayes.page.numbers import count, interval, number
from her2bayes.page.page import AnalysisPage
from her2bayes.page.report import analysis_files
from her2bayes.page.section import Figure, FitCard, Section, Table
from her2bayes.survival import figures
from her2bayes.survival.figures import MISSING, Band, Curve, ForestRow
from her2bayes.version import __version__

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Drawing

    from her2bayes.bayes.prior import Prior
    from her2bayes.cohorts.analysis import Endpoint, Result
    from her2bayes.cohorts.chain.summary import Summary

_LEGEND = ("median, 95 % across cohorts", "one cohort", "under one patient at risk")


EVERYBODY = "all patients"

_CAUSE_SPECIFIC = ("bcss", "css", "dss")  # breast cancer-, cancer-, disease-specific survival


def section(result: Result) -> Section:
    """Report the reconstructed endpoints of a study."""
    drawn: list[Figure] = []
    tables: list[Table] = []
    for endpoint in result.endpoints:
        summary = endpoint.ensemble.summary
        if not summary.model_factors or shown_survival(summary, ""):
            drawn.append(_curves(result, endpoint, ""))
        for factor in summary.model_factors:
            drawn.append(_curves(result, endpoint, factor))
        drawn += _forests(result, endpoint)
        tables += _tables(result, endpoint)
    return Section(
        id="reconstructed-survival",
        title="Survival from printed numbers",
        paragraphs=tuple(_paragraphs(result)),
        figures=tuple(drawn),
        tables=tuple(tables),
        fits=tuple(_card(result, endpoint) for endpoint in result.endpoints),
    )


def files_of(result: Result) -> dict[str, str]:
    """Estimates, and the section as a page of its own with the files beside it."""
    verdicts = {_name(e): e.ensemble.verdict for e in result.endpoints}
    summary = "; ".join(f"{name}: {verdict}" for name, verdict in verdicts.items())
    notices = [f"{n}: {v}" for n, v in verdicts.items() if failed(v)]
    run = {"package_version": __version__, **asdict(result.settings)}
    page = AnalysisPage(
        result.about, "survival from printed numbers", f"{summary}.", (section(result),), (),
        tuple(notices), run,
    )  # fmt: skip
    return {"estimates.csv": csv_text(result.estimates), **analysis_files(page, "report")}


def _name(endpoint: Endpoint) -> str:
    return figures.endpoint_name(endpoint.ensemble.summary.endpoint)


def _paragraphs(result: Result) -> Iterator[str]:
    read = any(
        target.claim_id.startswith(CURVE)
        for endpoint in result.endpoints
        for statistic in endpoint.ensemble.summary.statistics
        for target in statistic.targets
    )
    figures_ = (
        "The Kaplan–Meier figure that the paper prints was digitised: its points, with their "
        "reading error, and its numbers at risk are met like the rest."
        if read
        else "Kaplan–Meier figures that the paper prints are not part of the text at hand."
    )
    yield (
        "This section uses the text and tables of the paper: counts, tests, hazard ratios and "
        f"follow-up. Patient-level data are not published. {figures_} Shown is the distribution "
        "of the patients under one reference model: cohorts and the parameters of a "
        "piecewise-exponential model are sampled jointly, given that every printed number is met. "
        "What the numbers leave open depends on that model and its priors; another model gives "
        "another distribution. No "
        "cohort is the paper's data."
    )
    yield (
        "Rows marked by construction are constraints, not evidence: the printed number was an "
        "input. Rows marked implied are not printed; their notes give the proportion of the "
        "variance that is reconstruction uncertainty. They hold for this model only. Another "
        "model fitted to these cohorts would be multiple imputation by an uncongenial model."
    )
    yield (
        "Hazard ratios are unadjusted, as in the paper. The pooled estimate is a large-sample "
        "estimand: the Cox ratio of the compared factor alone under the reference model. It lies "
        "nearer to 1 than the printed ratio because the model has a shrinkage prior centred at "
        "HR 1; Cox regression in the cohorts gives the printed ratio."
    )
    for endpoint in result.endpoints:
        yield _endpoint_text(endpoint)
        if said := endpoint.baseline_said:
            yield f"{said[0].upper()}{said[1:]}"
        if endpoint.name in _CAUSE_SPECIFIC:
            yield (
                f"Deaths from other causes are censored in {_name(endpoint)}: hazard ratios are "
                "cause-specific, and 1 minus survival is above the cumulative incidence of death "
                "from the disease."
            )
    for name, why in result.failed:
        yield f"{name.upper()} is not reconstructed: {why}"
    settings = result.settings
    kept = all(endpoint.shipped for endpoint in result.endpoints)
    yield (
        f"Sampled {'in advance and shipped with the package' if kept else 'for this page'}: "
        f"{settings.chains} chains of {settings.sweeps} sweeps each (seed {settings.seed})"
        f"{', with the same numbers, code and settings' if kept else ''}. The script reconstruct "
        "runs them again, with any length, and writes the cohorts. Chains agree where max R-hat "
        f"is at most {LARGEST_RHAT:g} and min ESS at least {LEAST_ESS}. That is enough for the "
        "intervals shown, not for the last digit, and a weaker criterion than for the fits of "
        "other sections."
    )


def _warning(endpoint: Endpoint) -> str:
    """What every figure says where the chains do not agree."""
    verdict = endpoint.ensemble.verdict
    return f" {verdict[0].upper()}{verdict[1:]}." if failed(verdict) else ""


def _worst(endpoint: Endpoint) -> str:
    said = reasons(endpoint.estimates["convergence"])
    return f"{CHAINS_DISAGREE}: {'; '.join(said)}" if said else CHAINS_AGREE


def _endpoint_text(endpoint: Endpoint) -> str:
    ensemble = endpoint.ensemble
    summary, table = ensemble.summary, ensemble.match
    met = int(table.groupby("member")["met"].all().sum())
    targets = sum(len(statistic.targets) for statistic in summary.statistics)
    read = sum(
        t.claim_id.startswith(CURVE) for statistic in summary.statistics for t in statistic.targets
    )
    figure = f", {read} of them read from a figure" if read else ""
    readings = ", ".join(f"{axis} {value}" for axis, value in summary.readings.items() if value)
    left = "; ".join(f"{claim}, {why}" for claim, why in summary.left_out)
    verdict = "agree" if ensemble.agrees else "do NOT agree well enough"
    return (
        f"{_name(endpoint)}: {len(summary.facts)} counts and {targets} survival numbers{figure}. "
        f"Of {len(ensemble.cohorts)} cohorts, {met} meet all of them, checked by code independent "
        f"of the sampler. Independently started chains {verdict} (max R-hat "
        f"{number(ensemble.diagnostics['rhat'].max(), 2)}, min ESS "
        f"{number(ensemble.diagnostics['ess'].min(), 0)}). Interpretations: {readings}."
        + (f" Left out: {left}." if left else "")
    )


def curves(endpoint: Endpoint, factor: str) -> tuple[list[Curve], list[float]]:
    """Kaplan-Meier curves of the cohorts by a factor of the reference model, and ticks.

    Without a factor that of all patients.
    """
    ensemble = endpoint.ensemble
    last = ensemble.summary.last
    step = next(s for s in (3, 6, 12, 24, 36) if last / s <= 9 or s == 36)
    ticks = [float(t) for t in np.arange(0, last + step * 0.999, step)]
    grid = np.linspace(0, last, 150)
    drawn, shown = [], shown_survival(ensemble.summary, factor)
    for level in ensemble.summary.cells.levels(factor) if factor else (EVERYBODY,):
        given = {factor: level} if factor else {}
        survival, both = curves_of(ensemble, given, np.append(grid, ticks))
        survival, risk = survival[:, : grid.size], both[:, : grid.size]
        low, middle, high = np.quantile(survival, [0.025, 0.5, 0.975], axis=0)
        at = both[:, grid.size :].mean(axis=0)
        followed = np.append(True, risk[0, :-1] > 0)  # and one step on, where the last may die
        one = grid[followed], survival[0, followed]
        until = float(grid[(risk.mean(axis=0) >= 1).nonzero()[0][-1]])
        band = Band(grid, middle, low, high)
        drawn.append(Curve(level, band, one, list(at), until, shown=shown.get(level)))
    return drawn, ticks


def shown_survival(
    summary: Summary, factor: str
) -> dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Times and windows of survival that the paper prints, or its figure shows, by level."""
    found: dict[str, list[tuple[float, float, float]]] = {}
    for statistic in summary.statistics:
        if statistic.kind == SURVIVAL and set(statistic.given) == ({factor} if factor else set()):
            windows = found.setdefault(statistic.given.get(factor, EVERYBODY), [])
            windows += [(t.at or 0.0, t.low, t.high) for t in statistic.targets]
    return {level: _columns(windows) for level, windows in found.items()}


def _columns(
    rows: Sequence[tuple[float, float, float]],
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    time, low, high = np.array(sorted(rows)).T
    return time, low, high


def survival_figure(endpoint: Endpoint, factor: str | None = None) -> Drawing:
    """Curves of the cohorts by a factor (default: the first compared), as a matplotlib figure."""
    known = endpoint.spec.summary.model_factors
    factor = factor or (known[0] if known else "")
    if factor and factor not in known:
        raise BadInput(Fault("no such factor", value=factor, allowed=", ".join(known)))
    return figures.draw_survival(*curves(endpoint, factor), endpoint.name)


def _curves(result: Result, endpoint: Endpoint, factor: str) -> Figure:
    """Curves by one factor, with what they are."""
    ensemble, summary = endpoint.ensemble, endpoint.ensemble.summary
    label = result.labels.get(factor, factor) if factor else EVERYBODY
    bars = " Bars: survival that the paper prints or its figure shows, in its rounding or reading "
    bars = f"{bars}error." if shown_survival(summary, factor) else ""
    key = f"reconstructed-{summary.endpoint}-{factor or 'all'}".replace("_", "-")
    return Figure(
        key,
        f"{_name(endpoint)}: {label}, reconstructed cohorts",
        figures.survival(*curves(endpoint, factor), summary.endpoint, _LEGEND),
        f"{count(len(ensemble.cohorts), 'cohort')} of {count(summary.patients, 'patient')} that "
        "meet every printed number. Line and band: median and across-cohort 95 % interval of "
        "the Kaplan–Meier curves. The band has no sampling error: it is not a confidence "
        f"interval. Patients at risk are means over cohorts.{bars}{_warning(endpoint)}",
    )


def contrasts(endpoint: Endpoint) -> dict[str, Contrast]:
    """Comparisons of the first compared factor of which there are hazard ratios."""
    asked = (e.contrast for e in endpoint.reported if e.kind == "hazard_ratio")
    factor = next(iter(endpoint.ensemble.summary.model_factors), "")
    return {str(c): c for c in asked if c is not None and c.factor == factor}


def forest_rows(result: Result, endpoint: Endpoint, contrast: Contrast) -> list[ForestRow]:
    """Hazard ratios of one comparison in all patients and by subgroup."""
    raw = endpoint.cohorts.set_index("estimand") if len(endpoint.cohorts) else pd.DataFrame()
    pooled = endpoint.estimates.set_index("estimand")
    rows: list[ForestRow] = []
    seen = ""
    for estimand in endpoint.reported:
        if estimand.kind != "hazard_ratio" or estimand.contrast != contrast:
            continue
        name, level = estimand.given[0] if estimand.given else ("", "")
        if name != seen:
            rows.append(ForestRow(result.labels.get(name, name), "", MISSING, MISSING, True))
            seen = name
        rows.append(
            ForestRow(
                level or "all patients",
                "",
                _three(raw, str(estimand), "reproduced"),
                _three(pooled, str(estimand), "posterior"),
                not level,
                result.published.get(str(estimand), MISSING),
            )
        )
    return rows


def forest_figure(result: Result, endpoint: Endpoint, contrast: str | None = None) -> Drawing:
    """Ratios of one comparison, ``her2: positive vs low`` (default: the first), by subgroup."""
    known = contrasts(endpoint)
    text = contrast or next(iter(known))
    if text not in known:
        raise BadInput(Fault("no such comparison", value=text, allowed="; ".join(known)))
    return figures.draw_forest(forest_rows(result, endpoint, known[text]), _title(known[text]))


def _title(contrast: Contrast) -> str:
    return f"{contrast.a} vs {contrast.b}"


def _forests(result: Result, endpoint: Endpoint) -> list[Figure]:
    """Hazard ratios of the first compared factor by subgroup."""
    found = []
    for contrast in contrasts(endpoint).values():
        key = f"reconstructed-forest-{endpoint.name}-{contrast.a}"
        found.append(
            Figure(
                "".join(c if c.isalnum() else "-" for c in key),
                f"{_name(endpoint)}: {contrast.a} vs {contrast.b}",
                figures.forest(forest_rows(result, endpoint, contrast), _title(contrast)),
                "Open circles: Cox regression within each group of every cohort, combined by "
                "Rubin's rules; the 95 % CI has sampling error and reconstruction uncertainty. "
                "Bars: pooled posterior of the reference model, 95 % CrI. Squares: ratio and "
                f"95 % CI as published.{_warning(endpoint)}",
            )
        )
    return found


def _three(table: pd.DataFrame, key: str, name: str) -> tuple[float, float, float]:
    if key not in table.index:
        return MISSING
    middle = "reproduced" if name == "reproduced" else f"{name}_median"
    columns = (middle, f"{name}_lower", f"{name}_upper")
    value, low, high = (float(table[column].to_dict()[key]) for column in columns)
    return value, low, high


def _tables(result: Result, endpoint: Endpoint) -> list[Table]:
    shares = endpoint.variance.set_index("estimand")["share"].to_dict()
    rows = [
        {
            "Quantity": row["estimand"],
            "Posterior (95 % CrI)": interval(
                row["posterior_median"], row["posterior_lower"], row["posterior_upper"],
                unit=row["unit"],
            ),
            "Prior (95 % CrI)": interval(
                row["prior_median"], row["prior_lower"], row["prior_upper"], unit=row["unit"]
            ),
            "Reconstruction uncertainty, % of variance": number(100 * shares[row["estimand"]], 0),
            "Origin": row["evidence_kind"].replace("_", " "),
            "Chains": row["convergence"],
        }
        for row in endpoint.estimates.to_dict(orient="records")
    ]  # fmt: skip
    match = endpoint.ensemble.match
    printed = match[match["method"] != "count"]
    checked = printed.groupby(["claim_id", "statistic", "method", "printed"], sort=False).agg(
        least=("achieved", "min"), greatest=("achieved", "max"), met=("met", "mean")
    )
    checked = checked.reset_index().assign(met=lambda t: (100 * t["met"]).round(0))
    return [
        Table(
            f"Estimates for {_name(endpoint)}",
            pd.DataFrame(rows),
            "Probabilities of survival in percent; ratios and restricted means as they are.",
        ),
        *([_other_priors(endpoint)] if len(endpoint.prior_sensitivity) else []),
        *_predicted(endpoint),
        Table(
            f"Printed numbers of {_name(endpoint)} in the cohorts",
            checked.rename(columns={"met": "met, % of cohorts"}),
            "Smallest and largest value over the cohorts, computed by code independent of the "
            "sampler. All counts are met as well."
            if match.loc[match["method"] == "count", "met"].all()
            else "Smallest and largest value over the cohorts. Some counts are NOT met.",
        ),
    ]


def _predicted(endpoint: Endpoint) -> Iterator[Table]:
    """What the cohorts say of printed numbers that they were not made to meet."""
    table = endpoint.ensemble.predicted
    if table.empty:
        return
    rows = [
        {
            "Printed number": row["statistic"],
            "Method": row["method"],
            "Published": row["printed"],
            "Cohorts (95 % of them)": interval(row["median"], row["lower"], row["upper"]),
            "Print alike, %": number(100 * row["agree"], 0),
            "P": number(row["p_value"], 2),
        }
        for row in table.to_dict("records")
    ]
    yield Table(
        f"Printed numbers of {_name(endpoint)} that were not used",
        pd.DataFrame(rows),
        "Held out, and predicted by every cohort. P is two-sided: how rarely a cohort is as far "
        "from the middle as the printed number; a small one says that the paper, or the reference "
        "model, is not as assumed; of words on significance it is the share of cohorts that agree. "
        "A model of several factors is adjusted here for the factors by which patients of the "
        "cohorts differ; the paper's may have held others.",
    )


def _other_priors(endpoint: Endpoint) -> Table:
    """Hazard ratios under the prior as it is and under others, a column each."""
    own = endpoint.estimates.set_index("estimand")
    columns = ("posterior_median", "posterior_lower", "posterior_upper")
    rows = []
    for estimand, found in endpoint.prior_sensitivity.groupby("estimand", sort=False):
        row = {"Quantity": estimand, "Prior as it is": interval(*own.loc[estimand, list(columns)])}
        for one in found.to_dict("records"):
            known = not np.isnan(one["median"])
            row[f"{one['times']:g} times as wide"] = (
                interval(one["median"], one["lower"], one["upper"]) if known else "not known"
            )
        row["Max Pareto k-hat"] = number(found["k_hat"].max(), 2)
        row["Min ESS"] = number(found["ess"].min(), 0)
        rows.append(row)
    return Table(
        f"Hazard ratios of {_name(endpoint)} under other priors",
        pd.DataFrame(rows),
        "Median with 95 % CrI under priors of the factor's effects that are narrower and wider, "
        "all else the same. The chains' draws are weighted anew (Pareto-smoothed importance "
        "sampling); nothing is sampled again.",
    )


_ON_CARD = {
    "reference_log_hazard": "log hazard per month",
    "log_hazard_ratio": "log hazard ratio of two levels",
    "spread": "spread of three or more levels",
    "interaction": "interactions",
    "log_censoring_rate": "log censoring rate per month",
}


def _card_priors(priors: Mapping[str, Prior]) -> dict[str, str]:
    """Priors as the card names them; those not named there where they were changed."""
    found = {}
    for name, one in priors.items():
        kind = one.distribution.replace("HalfNormal", "half-Normal")
        values = [f"{dict(one.parameters)[key]:g}" for key in ("mu", "sigma", "a")
                  if key in dict(one.parameters)]  # fmt: skip
        if name in _ON_CARD or one != DEFAULT_PRIORS[name]:
            found[_ON_CARD.get(name, name)] = f"{kind}({', '.join(values)})"
    return found


def _card(result: Result, endpoint: Endpoint) -> FitCard:
    ensemble = endpoint.ensemble
    chains = ensemble.chains
    table = ensemble.diagnostics
    return FitCard(
        fit_id=endpoint.fit_id,
        title=f"Reconstructed patients, {_name(endpoint)}",
        model=MODEL,
        equations=reference_model.__doc__ or "",
        priors=_card_priors(endpoint.spec.priors),
        diagnostics={
            "Draws": f"{len(chains)} chains of {min(c.months.shape[0] for c in chains)}",
            "Max R-hat": number(table["rhat"].max(), 2),
            "Min ESS": number(table["ess"].min(), 0),
            "Round trips of replicas": str(sum(c.trips for c in chains)),
            "Processor time": f"{sum(c.seconds for c in chains):.0f} s",
        },
        convergence=_worst(endpoint),
        provenance={"Sweeps": str(result.settings.sweeps), "Seed": str(result.settings.seed)},
    )
