"""The section on survival that a paper's printed numbers allow: cohorts, curves, forest, limits."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from her2bayes import __version__
from her2bayes.cohorts.answers import curves_of
from her2bayes.cohorts.chain import reference_model
from her2bayes.estimand import parse
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
from her2bayes.survival import figures as survival_forest
from her2bayes.survival.figures import MISSING, Band, Curve, ForestRow

if TYPE_CHECKING:
    from her2bayes.cohorts.analysis import Endpoint, Result
    from her2bayes.evidence.printed.study import Study

_LEGEND = ("median of cohorts, 95 %", "one cohort", "under one patient at risk")


def section(result: Result) -> Section:
    """Report the reconstructed endpoints of a study."""
    drawn: list[Figure] = []
    tables: list[Table] = []
    for endpoint in result.endpoints:
        for factor in endpoint.ensemble.summary.model_factors:
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


def files_of(study: Study, result: Result) -> dict[str, str]:
    """Estimates, and the section as a page of its own with the files beside it."""
    about = {"id": study.id, "title": study.title}
    about |= {name: str(study.meta.get(name, "")) for name in ("citation", "doi", "design")}
    verdicts = {_name(e): e.ensemble.verdict for e in result.endpoints}
    summary = "; ".join(f"{name}: {verdict}" for name, verdict in verdicts.items())
    notices = [f"{n}: {v}" for n, v in verdicts.items() if failed(v)]
    run = {"package_version": __version__, **asdict(result.settings)}
    page = AnalysisPage(
        about, "survival from printed numbers", f"{summary}.", (section(result),), (),
        tuple(notices), run,
    )  # fmt: skip
    return {"estimates.csv": csv_text(result.estimates), **analysis_files(page, "report")}


def _name(endpoint: Endpoint) -> str:
    return figures.endpoint_name(endpoint.ensemble.summary.endpoint)


def _paragraphs(result: Result) -> Iterator[str]:
    yield (
        "The paper prints no patients and no readable survival curve, only counts, tests, hazard "
        "ratios and follow-up. Shown is the distribution of the patients behind these numbers: "
        "cohorts and the parameters of a piecewise-exponential model are drawn together, given "
        "that every printed number comes out as printed. What the numbers leave open is filled in "
        "by that model and its priors. No cohort is the paper's data."
    )
    yield (
        "Rows marked by construction repeat what was put in. Rows marked implied are consequences "
        "that the paper does not print; their notes say how much of their variance is due to not "
        "knowing the patients. They are exact for this model only: another model fitted to these "
        "cohorts is multiple imputation by an uncongenial model."
    )
    yield (
        "Hazard ratios are unadjusted, as the paper's are: the pooled value is what a Cox "
        "regression on the compared factor alone would find in endlessly many patients of the "
        "reference model. It lies nearer to 1 than the printed ratio because the model's prior "
        "expects differences of ordinary size; the cohorts themselves give the printed ratio."
    )
    for endpoint in result.endpoints:
        yield _endpoint_text(endpoint)
    for name, why in result.failed:
        yield f"{name.upper()} is not reconstructed: {why}"
    settings = result.settings
    kept = all(endpoint.shipped for endpoint in result.endpoints)
    yield (
        f"Made {'before and kept with the package' if kept else 'for this page'}, from "
        f"{settings.chains} chains of {settings.sweeps} sweeps each (seed {settings.seed})"
        f"{', under the same numbers, code and settings' if kept else ''}; the script reconstruct "
        "makes them anew, of any length, and writes the cohorts. Chains are said to "
        f"agree where R-hat is at most {LARGEST_RHAT:g} and the effective sample size at least "
        f"{LEAST_ESS}: enough for the widths shown, not for the last digit, and less than the "
        "fits of other sections must reach to be called converged."
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
    readings = ", ".join(f"{axis} {value}" for axis, value in summary.readings.items() if value)
    left = "; ".join(f"{claim}, {why}" for claim, why in summary.left_out)
    verdict = "agree" if ensemble.agrees else "do NOT agree well enough"
    return (
        f"{_name(endpoint)}: {len(summary.facts)} counts and {targets} survival numbers. Of "
        f"{len(ensemble.cohorts)} cohorts, {met} meet all of them by code that shares nothing "
        f"with the sampler. Independently started chains {verdict} (largest R-hat "
        f"{number(ensemble.diagnostics['rhat'].max(), 2)}, least effective sample size "
        f"{number(ensemble.diagnostics['ess'].min(), 0)}). Readings: {readings}."
        + (f" Left out: {left}." if left else "")
    )


def _curves(result: Result, endpoint: Endpoint, factor: str) -> Figure:
    """Kaplan-Meier curves of the cohorts by one factor of the reference model."""
    ensemble = endpoint.ensemble
    summary = ensemble.summary
    last = summary.last
    step = next(s for s in (3, 6, 12, 24, 36) if last / s <= 9 or s == 36)
    ticks = [float(t) for t in np.arange(0, last + step * 0.999, step)]
    grid = np.linspace(0, last, 150)
    drawn = []
    for level in summary.cells.levels(factor):
        survival, risk = curves_of(ensemble, {factor: level}, grid)
        low, middle, high = np.quantile(survival, [0.025, 0.5, 0.975], axis=0)
        at = curves_of(ensemble, {factor: level}, np.array(ticks))[1].mean(axis=0)
        followed = np.append(True, risk[0, :-1] > 0)  # and one step on, where the last may die
        one = grid[followed], survival[0, followed]
        until = float(grid[(risk.mean(axis=0) >= 1).nonzero()[0][-1]])
        drawn.append(Curve(level, Band(grid, middle, low, high), one, list(at), until))
    label = result.labels.get(factor, factor)
    key = f"reconstructed-{summary.endpoint}-{factor}".replace("_", "-")
    return Figure(
        key,
        f"{_name(endpoint)}: {label}, reconstructed cohorts",
        figures.survival(drawn, ticks, summary.endpoint, _LEGEND),
        f"{count(len(ensemble.cohorts), 'cohort')} of {count(summary.patients, 'patient')} that "
        "meet every printed number. Band: where the Kaplan–Meier curves of 95 % of the cohorts "
        "lie, with their median. Sampling error is not in the band. "
        f"Patients at risk are means over cohorts.{_warning(endpoint)}",
    )


def _forests(result: Result, endpoint: Endpoint) -> list[Figure]:
    """Hazard ratios of the first compared factor by subgroup."""
    summary = endpoint.ensemble.summary
    factor = summary.model_factors[0]
    raw = endpoint.cohorts.set_index("estimand") if len(endpoint.cohorts) else pd.DataFrame()
    pooled = endpoint.estimates.set_index("estimand")
    asked = [parse(text) for text in pooled.index]
    ratios = [e for e in asked if e.kind == "hazard_ratio" and e.contrast]
    found = []
    contrasts = {str(e.contrast): e.contrast for e in ratios if e.contrast is not None}
    for text, contrast in contrasts.items():
        if contrast.factor != factor:
            continue
        rows: list[ForestRow] = []
        seen = ""
        for estimand in ratios:
            if str(estimand.contrast) != text:
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
        key = f"reconstructed-forest-{summary.endpoint}-{contrast.a}"
        found.append(
            Figure(
                "".join(c if c.isalnum() else "-" for c in key),
                f"{_name(endpoint)}: {contrast.a} against {contrast.b}",
                survival_forest.forest(
                    rows, f"{contrast.a} against {contrast.b}", f"favours {contrast.a}",
                    f"favours {contrast.b}",
                ),
                "Raw: Cox regression within each group of every cohort, joined by Rubin's rules: "
                "the 95 % interval holds the sampling error and what is not known of the "
                "patients. Pooled: posterior of the reference model, with both. Published: ratio "
                f"and 95 % interval as printed.{_warning(endpoint)}",
            )
        )  # fmt: skip
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
            "Posterior (95 %)": interval(
                row["posterior_median"], row["posterior_lower"], row["posterior_upper"],
                unit=row["unit"],
            ),
            "Prior (95 %)": interval(
                row["prior_median"], row["prior_lower"], row["prior_upper"], unit=row["unit"]
            ),
            "Variance due to reconstruction, %": number(100 * shares[row["estimand"]], 0),
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
            f"What the numbers imply for {_name(endpoint)}",
            pd.DataFrame(rows),
            "Probabilities of survival in percent; ratios and restricted means as they are.",
        ),
        Table(
            f"Printed numbers of {_name(endpoint)} in the cohorts",
            checked.rename(columns={"met": "met, % of cohorts"}),
            "Least and greatest value over the cohorts, by code that shares nothing with the "
            "sampler. All counts are met as well."
            if match.loc[match["method"] == "count", "met"].all()
            else "Least and greatest value over the cohorts. Some counts are NOT met.",
        ),
    ]


def _card(result: Result, endpoint: Endpoint) -> FitCard:
    ensemble = endpoint.ensemble
    chains = ensemble.chains
    table = ensemble.diagnostics
    return FitCard(
        fit_id=endpoint.fit_id,
        title=f"Reconstructed patients, {_name(endpoint)}",
        model="reconstructed_survival",
        equations=reference_model.__doc__ or "",
        priors={
            "log hazard per month": "Normal(-4, 1)",
            "log hazard ratio of two levels": "Normal(0, 0.75)",
            "spread of three or more levels": "half-Normal(0.5)",
            "interactions": "half-Normal(0.25)",
            "log censoring rate per month": "Normal(-3.5, 1)",
        },
        diagnostics={
            "Draws": f"{len(chains)} chains of {min(c.months.shape[0] for c in chains)}",
            "R-hat, largest": number(table["rhat"].max(), 2),
            "ESS, least": number(table["ess"].min(), 0),
            "Round trips of replicas": str(sum(c.trips for c in chains)),
            "Processor time": f"{sum(c.seconds for c in chains):.0f} s",
        },
        convergence=_worst(endpoint),
        provenance={"Sweeps": str(result.settings.sweeps), "Seed": str(result.settings.seed)},
    )
