"""Change of the tumour or error of the assay: true discordance under several states of knowledge.

Pairs of readings alone cannot tell the two apart, so every answer here depends on what is believed
of the assay. ``sensitivity`` shows that dependence: scenarios of the prior, and for each how much
the data taught of the assay's accuracy (contraction) and how accuracy and true discordance trade
against each other in the posterior (correlation). ``tipping`` turns the question round: how good
must the assay be known to be for real change to exceed a given share of patients.

Tipping analysis of a paper: true change behind its facts, under a series of known assays.

Patients have the model of true classes (``assay_error``); a paper has facts on tables of readings.
For an assay M taken as known the posterior of the true flow sums over all tables of readings that
agree with the facts (``inference.assay_fit``), with the row prior of the paper's own analysis.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import xarray as xr

from her2bayes.errors import Fault, raise_if
from her2bayes.estimand import Estimand
from her2bayes.inference.convergence import verdict
from her2bayes.inference.estimates import INTERVAL, contraction, estimate
from her2bayes.inference.sampling import Sampling
from her2bayes.transition import assay
from her2bayes.transition import draws as of
from her2bayes.transition import draws as tr
from her2bayes.transition.assay import DEFAULT_PRIORS
from her2bayes.transition.assay_reads import read_rows
from her2bayes.transition.tables.assay_fit import fit_true_rows
from her2bayes.transition.tables.estimates import RowPrior, TableAnalysis, row_priors

if TYPE_CHECKING:
    from her2bayes.inference.fit import Fit
    from her2bayes.inference.store import Store
    from her2bayes.transition.tables.facts import TableSet
    from her2bayes.transition.tables.fit import TableFit


DEFAULT = "default assay prior, independent errors"
KNOWN = 2000.0  # readings' worth of knowledge a class in ``tipping``: accuracy known to 0.8 points
NOT_IDENTIFIED = (
    "Error and change are not both identified: pairs of readings fit equally well with a good "
    "assay "
    "and much change or a worse assay and less. What separates them here is the prior of the assay."
)
LEFT_OUT = (
    ("Ni 2025, Discussion", "18-26 % concordance between HER2 zero and 1+",
     "not said between whom, on which slides, nor whether among all or among discordant cases"),
    ("Lu 2022, core biopsy against surgical specimen, n = 5610", "zero -> low 530, low -> zero 387",
     "two samples of one tumour, so sampling of a mixed tumour joins the error of reading; the "
     "other "
     "cells are not printed and those implied give kappa 0.69, not the printed 0.684"),
    ("BMC Cancer 2023 s12885-023-11134-4", "re-read agreed with the report in 81.1 %",
     "primary HER2-low cases only: one row of the table, chosen by its first reading"),
)  # fmt: skip
"""Published agreement figures that stay out of the prior of the assay: source, figure, reason."""


@dataclass(frozen=True)
class Scenario:
    """What is believed of the assay: knowledge against the default, errors made together."""

    name: str
    knowledge: float = 1.0
    error_correlation: float = 0.0


SCENARIOS = (
    Scenario(DEFAULT),
    Scenario("a quarter of the default knowledge", knowledge=0.25),
    Scenario("four times the default knowledge", knowledge=4.0),
    Scenario("half of the errors made together", error_correlation=0.5),
)


@dataclass(frozen=True)
class AssayResult:
    """Fits by scenario, one row a scenario of ``sensitivity``, one an accuracy of ``tipping``."""

    fits: Mapping[str, Fit]
    sensitivity: pd.DataFrame
    tipping: pd.DataFrame
    estimates: tuple[dict[str, Any], ...]


def run(
    data: xr.Dataset,
    *,
    exceeds: Sequence[float] = (0.1, 0.2, 0.3),
    scenarios: Sequence[Scenario] = SCENARIOS,
    scales: Sequence[float] = (0.0, 0.5, 1.0, 1.5, 2.0, 2.5),
    sampling: Sampling = Sampling(),  # noqa: B008 (frozen)
    store: Store | None = None,
) -> AssayResult:
    """Fit TransitionCounts (with agreement studies where ``data`` holds them) in all scenarios.

    ``scales`` multiply the default error rates for the tipping analysis; ``exceeds`` are the shares
    of real change asked about. Raises ``BadInput`` for shares outside 0 to 1 or no scenario.
    """
    raise_if(
        [
            Fault("a share of real change lies outside 0 to 1", value=x)
            for x in exceeds
            if not 0 < x < 1
        ]
        + ([] if scenarios else [Fault("no scenario", remedy="give at least one")])
    )
    weight = _weight(data)
    rows, found, fits = [], [], {}
    for scenario in scenarios:
        fitted = _fit(data, scenario, careful(sampling), store)
        fits[scenario.name] = fitted
        rows.append(_sensitivity_row(scenario.name, fitted, weight))
        found += list(_estimates(fitted, data, scenario.name))
    tips = [_tipping_row(data, scale, exceeds, weight, sampling, store) for scale in scales]
    return AssayResult(fits, pd.DataFrame(rows), pd.DataFrame(tips), tuple(found))


def tipping_point(tipping: pd.DataFrame, share: float, probability: float = 0.95) -> float | None:
    """Least accuracy of a reading at which real change exceeds ``share`` with ``probability``.

    Linear between the accuracies fitted; None where no fitted accuracy reaches the probability,
    the least one fitted where each of them does.
    """
    known = tipping.sort_values("accuracy")
    chance = known[f"P(true discordance > {share:g})"].to_numpy()
    accuracy = known["accuracy"].to_numpy()
    reached = np.flatnonzero(chance >= probability)
    if not len(reached):
        return None
    first = int(reached[0])
    if first == 0:
        return float(accuracy[0])
    below, above = chance[first - 1], chance[first]
    step = (probability - below) / (above - below)
    return float(accuracy[first - 1] + step * (accuracy[first] - accuracy[first - 1]))


def scaled_reads(
    her2: Sequence[str], scale: float, total: float | None = None
) -> dict[str, tuple[float, ...]]:
    """Default rows with all error rates times ``scale``, worth ``total`` readings (default: same).

    Error rates stay below one half: an assay wrong more often than right is no assay. A row
    without error keeps a thousandth for each other class, which a sampler can move in.
    """
    rows = read_rows(list(her2), assay.DEFAULT_PRIORS, {})
    found = {}
    for place, (name, row) in enumerate(zip(her2, rows, strict=True)):
        share = scale * row / row.sum()
        share[place] = 0.0
        share *= min(1.0, 0.49 / max(share.sum(), 1e-12))
        share = np.maximum(share, 1e-3)
        share[place] = 1.0 - (share.sum() - share[place])
        found[name] = tuple((total or row.sum()) * share)
    return found


def careful(sampling: Sampling) -> Sampling:
    """Longer chains of small steps: error rates near zero and one, and little known of them."""
    accept = max(sampling.target_accept, 0.95)
    return replace(sampling, draws=sampling.draws * 5 // 2, target_accept=accept)


def described(data: xr.Dataset, scenario: Scenario) -> tuple[xr.Dataset, dict[str, Any]]:
    """Data and options of ``assay.build`` in a scenario."""
    her2 = [str(name) for name in data["her2"].values]
    rows = read_rows(her2, assay.DEFAULT_PRIORS, {}) * scenario.knowledge
    reads = {name: tuple(row) for name, row in zip(her2, rows, strict=True)}
    # always in the graph, so that all scenarios share one compiled model
    return data.assign(error_correlation=float(scenario.error_correlation)), {"reads": reads}


def _fit(data: xr.Dataset, scenario: Scenario, sampling: Sampling, store: Store | None) -> Fit:
    given, options = described(data, scenario)
    return _fit_reads(given, options["reads"], scenario.error_correlation, sampling, store)


def _fit_reads(
    data: xr.Dataset,
    reads: Mapping[str, tuple[float, ...]],
    correlation: float,
    sampling: Sampling,
    store: Store | None,
) -> Fit:
    from her2bayes.inference.fit import fit

    # always in the graph, so that all scenarios share one compiled model
    given = data.assign(error_correlation=float(correlation))
    return fit(assay.build, given, options={"reads": dict(reads)}, sampling=sampling, store=store)


def _weight(data: xr.Dataset) -> xr.DataArray:
    pairs = data["counts"].sum(("primary_reading", "recurrence_reading"))
    return pairs / pairs.sum()


def _over_strata(draws: xr.DataArray, weight: xr.DataArray) -> xr.DataArray:
    return (draws * weight).sum("stratum")


def _answers(draws: xr.Dataset, weight: xr.DataArray) -> dict[str, xr.DataArray]:
    true = _over_strata(of.true_discordance(draws), weight)
    seen = _over_strata(of.observed_discordance(draws), weight)
    kept = _over_strata(
        of.unchanged_given_observed_change(draws) * of.observed_discordance(draws), weight
    )
    right = _over_strata(of.accuracy(draws), weight)
    return {
        "true_discordance": true,
        "observed_discordance": seen,
        "unchanged_given_observed_change": kept / seen,
        "accuracy": right,
    }


def _sensitivity_row(name: str, fitted: Fit, weight: xr.DataArray) -> dict[str, Any]:
    after, before = _answers(fitted.posterior, weight), _answers(fitted.prior, weight)
    row: dict[str, Any] = {"scenario": name}
    for answer, draws in after.items():
        row |= _interval(answer, draws)
        row[f"{answer}_contraction"] = contraction("share", draws, before[answer])
    row["correlation_of_accuracy_and_true_discordance"] = float(
        xr.corr(after["accuracy"], after["true_discordance"])
    )
    return row


def _interval(name: str, draws: xr.DataArray) -> dict[str, float]:
    lower, median, upper = np.quantile(draws.values, [0.025, 0.5, 0.975])
    return {f"{name}_median": median, f"{name}_lower": lower, f"{name}_upper": upper}


def _tipping_row(
    data: xr.Dataset,
    scale: float,
    exceeds: Sequence[float],
    weight: xr.DataArray,
    sampling: Sampling,
    store: Store | None,
) -> dict[str, Any]:
    her2 = [str(name) for name in data["her2"].values]
    fitted = _fit_reads(data, scaled_reads(her2, scale, KNOWN), 0.0, sampling, store)
    answers = _answers(fitted.posterior, weight)
    true = answers["true_discordance"]
    return {
        "error_scale": scale,
        "accuracy": float(answers["accuracy"].median()),
        **_interval("true_discordance", true),
        **{f"P(true discordance > {x:g})": float((true > x).mean()) for x in exceeds},
        "divergences": fitted.diagnostics.divergences,
    }


def _estimates(fitted: Fit, data: xr.Dataset, scenario: str) -> Any:
    reading = "" if scenario == DEFAULT else scenario
    for name in data["stratum"].values:
        given = tuple(
            (f, str(data[f].sel(stratum=name).item())) for f in data.attrs.get("factors", [])
        )
        kinds = {
            "true_discordance": of.true_discordance,
            "unchanged_given_observed_change": of.unchanged_given_observed_change,
        }
        for kind, function in kinds.items():
            draws, before = (
                function(group).sel(stratum=name, drop=True)
                for group in (fitted.posterior, fitted.prior)
            )
            yield estimate(
                Estimand(kind, "her2", given), draws, before, fitted, note=scenario, reading=reading
            )


SCALES = (0.0, 0.5, 1.0, 1.5, 2.0, 2.5)
EXCEEDS = (0.1, 0.2, 0.3)
KNOWN_NOTE = "true classes behind the readings, assay known: mean of its default prior"


def has_prior(classes: Sequence[str]) -> bool:
    """Whether the assay's default prior covers these classes."""
    rows = [DEFAULT_PRIORS.get(f"reads_{name}") for name in classes]
    return all(row is not None and len(row["a"]) == len(classes) for row in rows)


def known_assay(classes: Sequence[str], scale: float) -> xr.DataArray:
    """Misclassification (her2, read): mean of the default prior, error rates times ``scale``."""
    rows: Mapping[str, Any] = scaled_reads(list(classes), scale)
    matrix = np.array([np.asarray(rows[name]) / np.sum(rows[name]) for name in classes])
    coords = {"her2": list(classes), "read": list(classes)}
    return xr.DataArray(matrix, dims=("her2", "read"), coords=coords)


def fit_known(
    tables: TableSet, choice: RowPrior, scale: float, sampling: Sampling, store: Store | None
) -> TableFit:
    """Fit true classes behind the tables of readings for an assay known at ``scale``."""
    return fit_true_rows(
        tables, known_assay(tables.her2, scale), dict(choice.priors), rows=choice.rows,
        sampling=sampling, store=store,
    )  # fmt: skip


def tipping(
    analysis: TableAnalysis,
    sampling: Sampling,
    store: Store | None,
    scales: Sequence[float] = SCALES,
) -> pd.DataFrame:
    """One row an assay: accuracy, true discordance, P(it exceeds a share), convergence.

    Columns as ``assay_error.AssayResult.tipping``; ``analysis`` holds all patients as one stratum.
    """
    found = []
    for scale in scales:
        fitted = known_fit(analysis, sampling, store, scale)
        known = known_assay(analysis.tables.her2, scale)
        found.append({"error_scale": scale, **_row(fitted, known)})
    return pd.DataFrame(found)


def known_fit(
    analysis: TableAnalysis, sampling: Sampling, store: Store | None, scale: float = 1.0
) -> TableFit:
    """Fit true classes with the row prior of ``analysis``."""
    choice = row_priors(len(analysis.tables.her2))[analysis.row_prior]
    return fit_known(analysis.tables, choice, scale, sampling, store)


def _row(fitted: TableFit, known: xr.DataArray) -> dict[str, Any]:
    draws = fitted.posterior.isel(stratum=0, drop=True)
    true = _discordance(fitted.posterior)
    tail = (1 - INTERVAL) / 2
    lower, median, upper = np.quantile(true.to_numpy(), [tail, 0.5, 1 - tail])
    return {
        "accuracy": float(of.accuracy(draws.assign(misclassification=known)).median()),
        "true_discordance_median": median,
        "true_discordance_lower": lower,
        "true_discordance_upper": upper,
        **{f"P(true discordance > {x:g})": float((true > x).mean()) for x in EXCEEDS},
        "convergence": str(verdict(true, fitted.diagnostics)),
    }


def _discordance(draws: xr.Dataset) -> xr.DataArray:
    flow = tr.flows(draws["transition"], draws["primary_share"])
    return tr.discordance(flow.isel(stratum=0, drop=True)).transpose("chain", "draw")


def true_row(fitted: TableFit) -> dict[str, Any]:
    """Row of the true discordance under a fit of all patients as one stratum."""
    after, before = (_discordance(group) for group in (fitted.posterior, fitted.prior))
    return estimate(Estimand("true_discordance", "her2"), after, before, fitted, note=KNOWN_NOTE)
