"""How answers on real change depend on what is believed of the assay: scenarios, tipping points.

Pairs of readings alone cannot tell change of the tumour from error of the assay, so every answer
here depends on what is believed of the assay. ``run`` shows that dependence for patients: scenarios
of the prior, and for each how much the data taught of the assay's accuracy (contraction) and how
accuracy and true discordance trade against each other in the posterior (correlation). The tipping
analysis turns the question round: how good must the assay be known to be for real change to exceed
a given share of patients. A paper has facts on tables of readings instead: for an assay taken as
known the posterior of the true flow sums over all tables of readings that agree with the facts,
with the row prior of the paper's own analysis.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import xarray as xr
from scipy import stats

from her2bayes.bayes.prior import Prior, complete
from her2bayes.errors import Fault, raise_if
from her2bayes.estimand import Estimand
from her2bayes.inference.convergence import verdict
from her2bayes.inference.estimates import INTERVAL, contraction
from her2bayes.inference.sampling import Sampling
from her2bayes.transition import assay
from her2bayes.transition.assay import DEFAULT_PRIORS, read_rows
from her2bayes.transition.draws import (
    TRUE_CLASSES,
    Given,
    Line,
    Matrix,
    Rows,
    accuracy,
    draws,
    levels,
    observed_discordance,
    pooled,
    rows_of,
    summarise,
)
from her2bayes.transition.table_fit import RowPrior, TableFit, fit_tables

if TYPE_CHECKING:
    from her2bayes.inference.fit import Fit
    from her2bayes.inference.store import Store
    from her2bayes.transition.facts import TableSet


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


SCALES = (0.0, 0.5, 1.0, 1.5, 2.0, 2.5)
"""Multiples of the default error rates for the tipping analysis."""

EXCEEDS = (0.1, 0.2, 0.3)
"""Shares of real change asked about."""

KNOWN_NOTE = "true classes behind the readings, assay known: mean of its default prior"


@dataclass(frozen=True)
class AssayResult:
    """Fits by scenario, one row a scenario of ``sensitivity``, one an accuracy of ``tipping``.

    ``matrices`` are those of true classes in the default scenario.
    """

    fits: Mapping[str, Fit]
    sensitivity: pd.DataFrame
    tipping: pd.DataFrame
    estimates: tuple[dict[str, Any], ...]
    matrices: tuple[Matrix, ...]


def run(
    data: xr.Dataset,
    *,
    priors: Mapping[str, Prior] | None = None,
    exceeds: Sequence[float] = EXCEEDS,
    scenarios: Sequence[Scenario] = SCENARIOS,
    sampling: Sampling = Sampling(),  # noqa: B008 (frozen)
    store: Store | None = None,
) -> AssayResult:
    """Fit TransitionCounts (with agreement studies where ``data`` holds them) in all scenarios.

    ``priors`` replace those of ``assay.DEFAULT_PRIORS``; ``exceeds`` are the shares of real change
    asked about. Raises ``BadInput`` for shares outside 0 to 1 or no scenario.
    """
    raise_if(
        [
            Fault("a share of real change lies outside 0 to 1", value=x)
            for x in exceeds
            if not 0 < x < 1
        ]
        + ([] if scenarios else [Fault("no scenario", remedy="give at least one")])
    )
    asked = _Asked(data, dict(priors or {}), store)
    rows, found, fits = [], [], {}
    for scenario in scenarios:
        _, options = described(data, scenario, priors)
        fitted = asked.fit(options["reads"], longer(sampling), scenario.error_correlation)
        fits[scenario.name] = fitted
        rows.append(asked.sensitivity_row(scenario.name, fitted))
        found += _estimates(true_matrices(fitted, data, scenario.name), scenario.name)
    tips = [asked.tipping_row(scale, exceeds, sampling) for scale in SCALES]
    first = next(iter(fits.items()))
    return AssayResult(
        fits, pd.DataFrame(rows), pd.DataFrame(tips), tuple(found),
        tuple(true_matrices(first[1], data, first[0])),
    )  # fmt: skip


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
    her2: Sequence[str],
    scale: float,
    total: float | None = None,
    priors: Mapping[str, Prior] | None = None,
) -> dict[str, tuple[float, ...]]:
    """Rows of the assay's prior with all error rates times ``scale``, worth ``total`` readings.

    Error rates stay below one half: an assay wrong more often than right is no assay. A row
    without error keeps a thousandth for each other class, which a sampler can move in. Without
    ``total`` a row is worth what it was.
    """
    rows = read_rows(list(her2), complete(priors, DEFAULT_PRIORS), {})
    found = {}
    for place, (name, row) in enumerate(zip(her2, rows, strict=True)):
        share = scale * row / row.sum()
        share[place] = 0.0
        share *= min(1.0, 0.49 / max(share.sum(), 1e-12))
        share = np.maximum(share, 1e-3)
        share[place] = 1.0 - (share.sum() - share[place])
        found[name] = tuple((total or row.sum()) * share)
    return found


def longer(sampling: Sampling) -> Sampling:
    """Longer chains: error rates near zero and one, and little known of them."""
    return replace(sampling, draws=sampling.draws * 5 // 2)


def described(
    data: xr.Dataset, scenario: Scenario, priors: Mapping[str, Prior] | None = None
) -> tuple[xr.Dataset, dict[str, Any]]:
    """Data and options of ``assay.build`` in a scenario."""
    her2 = [str(name) for name in data["her2"].values]
    rows = read_rows(her2, complete(priors, DEFAULT_PRIORS), {}) * scenario.knowledge
    reads = {name: tuple(row) for name, row in zip(her2, rows, strict=True)}
    # always in the graph, so that all scenarios share one compiled model
    return data.assign(error_correlation=float(scenario.error_correlation)), {"reads": reads}


def stratum_names(data: xr.Dataset) -> dict[Given, str]:
    """Name of each stratum by its conditions."""
    factors = data.attrs.get("factors", [])
    return {
        tuple((f, str(data[f].sel(stratum=name).item())) for f in factors): str(name)
        for name in data["stratum"].values
    }


def true_matrices(fitted: Fit, data: xr.Dataset, scenario: str) -> list[Matrix]:
    """One matrix of true classes a stratum."""
    reading = "" if scenario == DEFAULT else scenario
    pairs = data["counts"].sum(("primary_reading", "recurrence_reading"))
    return [
        Matrix(
            given, rows_of(fitted.posterior, name), rows_of(fitted.prior, name),
            int(pairs.sel(stratum=name)), fitted, reading,
        )
        for given, name in stratum_names(data).items()
    ]  # fmt: skip


@dataclass(frozen=True)
class _Asked:
    """Pairs whose assay is modelled, under whatever is believed of it."""

    data: xr.Dataset
    priors: Mapping[str, Prior]
    store: Store | None

    def fit(
        self, reads: Mapping[str, tuple[float, ...]], sampling: Sampling, correlation: float
    ) -> Fit:
        from her2bayes.inference.fit import fit

        # always in the graph, so that all scenarios share one compiled model
        given = self.data.assign(error_correlation=float(correlation))
        options = {"reads": dict(reads)}
        return fit(
            assay.build, given, priors=self.priors, options=options, sampling=sampling,
            store=self.store,
        )  # fmt: skip

    def answers(self, group: xr.Dataset) -> dict[str, xr.DataArray]:
        """Answers over all strata, weighted by their pairs."""
        pairs = self.data["counts"].sum(("primary_reading", "recurrence_reading"))
        weight = pairs / pairs.sum()
        names = stratum_names(self.data)
        found = draws(
            {given: rows_of(group, name) for given, name in names.items()},
            [Estimand(kind, "her2", given) for kind in TRUE_CLASSES for given in names],
        )
        true, unchanged = (
            xr.concat([found[Estimand(kind, "her2", given)] for given in names], weight["stratum"])
            for kind in TRUE_CLASSES
        )
        differ = observed_discordance(group["observed_flow"])
        seen = pooled(differ, weight)
        return {
            "true_discordance": pooled(true, weight),
            "observed_discordance": seen,
            "unchanged_given_observed_change": pooled(unchanged * differ, weight) / seen,
            "accuracy": pooled(accuracy(group), weight),
        }

    def sensitivity_row(self, name: str, fitted: Fit) -> dict[str, Any]:
        """Medians and intervals under one scenario, what the data taught, what trades off."""
        after, before = self.answers(fitted.posterior), self.answers(fitted.prior)
        row: dict[str, Any] = {"scenario": name}
        for answer, drawn in after.items():
            row |= _interval(answer, drawn)
            row[f"{answer}_contraction"] = contraction("share", drawn, before[answer])
        row["correlation_of_accuracy_and_true_discordance"] = float(
            xr.corr(after["accuracy"], after["true_discordance"])
        )
        return row

    def tipping_row(
        self, scale: float, exceeds: Sequence[float], sampling: Sampling
    ) -> dict[str, Any]:
        """Real change under an assay known almost exactly."""
        her2 = [str(name) for name in self.data["her2"].values]
        reads = scaled_reads(her2, scale, KNOWN, _reads_only(self.priors))
        fitted = self.fit(reads, sampling, 0.0)
        answers = self.answers(fitted.posterior)
        true = answers["true_discordance"]
        return {
            "error_scale": scale,
            "accuracy": float(answers["accuracy"].median()),
            **_interval("true_discordance", true),
            **{f"P(true discordance > {x:g})": float((true > x).mean()) for x in exceeds},
            "divergences": fitted.diagnostics.divergences,
        }


def _reads_only(priors: Mapping[str, Prior]) -> dict[str, Prior]:
    return {name: value for name, value in priors.items() if name.startswith("reads_")}


def _interval(name: str, drawn: xr.DataArray) -> dict[str, float]:
    tail = (1 - INTERVAL) / 2
    lower, median, upper = np.quantile(drawn.values, [tail, 0.5, 1 - tail])
    return {f"{name}_median": median, f"{name}_lower": lower, f"{name}_upper": upper}


def _estimates(matrices: Sequence[Matrix], scenario: str) -> list[dict[str, Any]]:
    return [
        row
        for matrix in matrices
        for row in summarise(
            [matrix],
            [Line(Estimand(kind, "her2", matrix.given), scenario) for kind in TRUE_CLASSES],
        )
    ]


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
    return fit_tables(
        tables, dict(choice.priors), rows=choice.rows,
        misclassification=known_assay(tables.her2, scale), sampling=sampling, store=store,
    )  # fmt: skip


def tipping(
    tables: TableSet, choice: RowPrior, sampling: Sampling, store: Store | None,
    scales: Sequence[float] = SCALES,
) -> pd.DataFrame:  # fmt: skip
    """One row an assay: accuracy, true discordance, P(it exceeds a share), convergence.

    Columns as ``AssayResult.tipping``; ``tables`` hold all patients as one stratum.
    """
    found = []
    for scale in scales:
        fitted = fit_known(tables, choice, scale, sampling, store)
        known = known_assay(tables.her2, scale)
        found.append({"error_scale": scale, **_known_row(fitted, known)})
    return pd.DataFrame(found)


def known_matrix(fitted: TableFit) -> Matrix:
    """Matrix of true classes of all patients under a known assay."""
    (name,) = fitted.posterior["stratum"].values
    after, before = (rows_of(group, str(name)) for group in (fitted.posterior, fitted.prior))
    return Matrix((), after, before, 0, fitted)


TRUE = Estimand("true_discordance", "her2")


def _known_row(fitted: TableFit, known: xr.DataArray) -> dict[str, Any]:
    here = fitted.posterior.isel(stratum=0, drop=True)
    true = draws(levels([known_matrix(fitted)]), [TRUE])[TRUE].transpose("chain", "draw")
    return {
        "accuracy": float(accuracy(here.assign(misclassification=known)).median()),
        **_interval("true_discordance", true),
        **{f"P(true discordance > {x:g})": float((true > x).mean()) for x in EXCEEDS},
        "convergence": str(verdict(true, fitted.diagnostics)),
    }


def true_row(fitted: TableFit) -> dict[str, Any]:
    """Row of the true discordance under a fit of all patients as one stratum."""
    (row,) = summarise([known_matrix(fitted)], [Line(TRUE, KNOWN_NOTE)])
    return row


def behind_readings(rows: Rows, matrices: np.ndarray) -> tuple[Rows, float]:
    """Rows of true classes behind rows of readings, draw by draw, and the share of draws kept.

    With the same misclassification M (draw, true, read) at both ends and errors independent, the
    flow of readings is M' flow M of true classes. Draws of readings that no true flow could give
    through their M are left out, which is conditioning on its being one.
    """
    order = ("chain", "draw", "her2_primary", "her2")
    flow = rows.flow(new_cohort=True).transpose(*order)
    back = np.linalg.inv(matrices)
    read = flow.values.reshape(-1, *flow.shape[2:])
    true = np.swapaxes(back, 1, 2) @ read @ back
    possible = (true >= 0).all((1, 2))
    share = true[possible].sum(2)
    found = xr.DataArray((true[possible] / share[:, :, None])[None], dims=order,
                         coords={name: flow[name].values for name in order[2:]})  # fmt: skip
    primary = xr.DataArray(share[None], dims=order[:3], coords={order[2]: flow[order[2]].values})
    return Rows(found, primary, primary.mean(order[:2])), float(possible.mean())


def drawn_reads(
    her2: Sequence[str], priors: Mapping[str, Prior], size: int, rng: np.random.Generator
) -> np.ndarray:
    """Misclassification matrices (draw, true, read) from the prior of the assay model."""
    rows = read_rows(list(her2), complete(priors, DEFAULT_PRIORS), {})
    found = np.zeros((size, len(rows), len(rows)))
    for t, row in enumerate(rows):
        right = stats.beta(row[t], row.sum() - row[t])
        least = right.cdf(0.5)  # every class is read right more often than not
        found[:, t, t] = right.ppf(least + (1 - least) * rng.random(size))
        others = np.delete(np.arange(len(rows)), t)
        split = rng.dirichlet(row[others], size)
        found[:, t, others] = (1 - found[:, t, t])[:, None] * split
    return found
