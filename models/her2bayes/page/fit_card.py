"""A fit as a card: equations, priors in clinical units, diagnostics, predictive checks in words.

Calibration passports that come with the package, and their line on the page.

What a user is told of numbers that did not converge: which they are, and why.
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
import io
import json
import re
from base64 import b64encode
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import xarray as xr
from scipy import stats

from her2bayes.bayes.prior import Prior
from her2bayes.evidence.printed.study import published_folder
from her2bayes.inference.convergence import (
    CONCENTRATED,
    CONVERGED,
    ESS_MIN,
    NOT_CONVERGED,
    RHAT_MAX,
    concentration,
    failed,
    reasons,
)
from her2bayes.inference.own_model import module_of
from her2bayes.inference.predictive import (
    BAD_PARETO_K,
    GROUPS,
    RARE,
    PatientElpd,
    compare,
    conjugate,
    left_out_exactly,
    predictive_checks,
)
from her2bayes.inference.predictive import leave_one_out as left_out
from her2bayes.inference.reweight import THRESHOLD, diagnosis
from her2bayes.page.numbers import count, number
from her2bayes.page.section import FitCard

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from her2bayes.inference.fit import ExactFit, Fit


SCHEMA = 1
LEVEL = 0.05
"""Of the bands for ranks, over all answers of a design."""


def sentence(record: Mapping[str, Any]) -> str:
    """What a passport says, for the terminal and the page."""
    last = record["runs"][-1]
    low, high = (100 * last[f"coverage_{end}"] for end in ("lowest", "highest"))
    level = 100 * LEVEL / len(last["answers"])
    ranks = "all ranks within" if last["uniform"] else "ranks of some answers outside"
    text = (
        f"{'calibrated' if record['passed'] else 'NOT calibrated'} at {record['design']} "
        f"({_patients(record)} patients): {last['simulations']} simulated studies, "
        f"{ranks} their band (level {level:.2g} % each), 95 % CrI cover {low:.1f} to "
        f"{high:.1f} %, {last['failed_fits']} fits with warnings"
    )
    return text + (
        "" if len(record["runs"]) == 1 else "; the first half of them alone did not pass"
    )


@cache
def passports() -> tuple[Mapping[str, Any], ...]:
    """Passports that come with the package."""
    folder = published_folder().parent / "passports"
    return tuple(json.loads(p.read_text("utf-8")) for p in sorted(folder.glob("*.json")))


def passport_line(model: str, made: Mapping[str, Any]) -> str:
    """Sentence on the record of a fit's own model, computation, priors and design, or "none".

    ``made`` is what the fit was made from (its provenance). A record of another design, of other
    priors or of another way to compute the posterior says nothing on this fit.
    """
    known = [record for record in passports() if record["model"] == model]
    if not known:
        return "none: this model has not been calibrated by simulation"
    misses = {record["design"]: _differs(record, made) for record in known}
    own = [sentence(record) for record in known if not misses[record["design"]]]
    if own:
        return ". ".join(own)
    said = "; ".join(f"{design} has {', '.join(what)}" for design, what in misses.items())
    return f"none for this fit: the record of {said}"


def _differs(record: Mapping[str, Any], made: Mapping[str, Any]) -> list[str]:
    """In what a fit is not what a record is of."""
    found = []
    if "method" in made:  # tables behind printed facts have samplers of their own
        found.append("another computation")
    elif record["source"] != made.get("source"):
        found.append("an earlier text of the model")
    if dict(record["patients"]) != dict(made.get("patients") or {}):
        found.append("another design")
    if made.get("priors", {}) != _default_priors(str(record["model"])):
        found.append("other priors")
    return found


def _default_priors(model: str) -> dict[str, str]:
    module = importlib.import_module(str(module_of(model)))
    return {name: str(value) for name, value in sorted(module.DEFAULT_PRIORS.items())}


def _patients(record: Mapping[str, Any]) -> int:
    """Patients of a design: those of its groups together, but every event has the same patients."""
    numbers = record["patients"].values()
    return max(numbers) if record["model"].startswith("adverse_events") else sum(numbers)


_NAMED = 5  # quantities of one reason that are named before the rest is counted


def failures(estimates: pd.DataFrame) -> tuple[str, ...]:
    """Give one line a reason, naming the quantities (columns ``estimand``, ``convergence``)."""
    bad = _failed(estimates)
    return tuple(
        f"Not converged: {len(rows)} of {len(estimates)} quantities, "
        f"{str(verdict).partition(': ')[2]}: "
        f"{named(rows['estimand'])}"
        for verdict, rows in bad.groupby("convergence", sort=False)
    )


def failed_fits(estimates: pd.DataFrame) -> list[str]:
    """Give one line a fit and reason (columns ``fit_id`` and ``model`` too)."""
    bad = _failed(estimates)
    return [
        f"{model} (fit {fit_id}), {str(verdict).removeprefix('not converged: ')}: "
        f"{named(rows['estimand'])}"
        for (fit_id, model, verdict), rows in bad.groupby(
            ["fit_id", "model", "convergence"], sort=False
        )
    ]


def _failed(estimates: pd.DataFrame) -> pd.DataFrame:
    return estimates[estimates["convergence"].map(lambda text: failed(str(text))).astype(bool)]


def named(estimands: Sequence[str] | pd.Series) -> str:
    """Name the first quantities and count the others."""
    names = list(dict.fromkeys(map(str, estimands)))
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more} more" if more > 0 else "")


_WORDS = {
    "distance": "χ² discrepancy",
    "farthest cell": "largest cell discrepancy",
    "empty cells": "number of empty cells",
    "total": "total of the counts",
}
_MEANS = {
    "prior": "prior–data conflict",
    "posterior": "posterior predictive misfit",
}


def check_rows(checks: pd.DataFrame) -> list[dict[str, str]]:
    """One row a statistic: what it is, observed value and replicates before and after the data."""
    rows = []
    for row in checks.to_dict("records"):
        cell = f" ({row['cell']})" if row["cell"] else ""
        found = {"statistic": _WORDS[row["statistic"]] + cell}
        for group in GROUPS:
            observed, lower, upper = (row[f"{group}_{k}"] for k in ("observed", "lower", "upper"))
            found[group] = f"{_short(observed)}; {_short(lower)}–{_short(upper)}"
            found[f"{group}_tail"] = _tail(row, group)
        rows.append(found)
    return rows


def check_warnings(checks: pd.DataFrame, title: str, fit_id: str) -> list[str]:
    """One sentence for each statistic whose predictive probability is below ``RARE``."""
    return [
        f"{title} (fit {fit_id}): {_MEANS[group]}: {_WORDS[row['statistic']]} "
        f"{_short(row[f'{group}_observed'])}, replicates {_short(row[f'{group}_lower'])} to "
        f"{_short(row[f'{group}_upper'])} (95 % of them), {group} predictive P {_tail(row, group)}."
        for row in checks.to_dict("records")
        for group in GROUPS
        if row[f"{group}_tail"] < RARE
    ]


def _tail(row: Mapping[Any, Any], group: str) -> str:
    tail = float(row[f"{group}_tail"])
    return "<0.001" if tail < 0.001 else number(tail, 3)


def _short(value: float) -> str:
    return number(value, 0 if float(value).is_integer() or abs(value) >= 100 else 1)


def meanings(
    used: Mapping[str, str], default: Mapping[str, Prior], said: Mapping[str, str]
) -> dict[str, str]:
    """Words for each prior of a fit, by name; ``used`` as they are printed.

    ``said`` are the words given with the priors in use. Words of the model's ``default`` hold where
    the prior in use is that one. Rows of a transition matrix are described from their numbers.
    """
    found = {}
    for name, text in used.items():
        own = default.get(name)
        if words := _rows(text) or said.get(name, ""):
            found[name] = words
        elif own is not None:
            same = text == str(own)
            found[name] = own.means if same else f"in place of the model's default {own}"
    return {name: words for name, words in found.items() if words}


def stated_priors(fit: Fit) -> dict[str, tuple[str, str]]:
    """Each prior of a fit as it is written, and what it means in clinical units ("" unknown)."""
    used = fit.provenance.get("priors", {})
    defaults = {} if "own_model" in fit.provenance else _defaults(fit.model)
    words = meanings(used, defaults, fit.provenance.get("means", {}))
    return {name: (text, words.get(name, "")) for name, text in used.items()}


def _rows(text: str) -> str:
    read = parsed(text)
    if read is None or read.distribution != "Dirichlet":
        return ""
    numbers = dict(read.parameters)
    return row_words(read["total"], read["stays"]) if {"total", "stays"} <= set(numbers) else ""


def row_words(total: float, stays: float) -> str:
    """Say what Dirichlet rows of this weight and mean share without a change weigh."""
    share = stats.beta(total * stays, total * (1 - stays))
    low, middle, high = (100 * share.ppf(p) for p in (0.025, 0.5, 0.975))
    return (
        f"prior effective sample size {total:g} patients per row, {100 * stays:.0f} % of them "
        f"unchanged: a class stays with median {middle:.0f} % ({low:.0f} to {high:.0f})"
    )


def parsed(text: str) -> Prior | None:
    """Read a printed prior of plain numbers; None where it is something else."""
    match = re.fullmatch(r"(\w+)\((.*)\)", text)
    pairs = [part.partition("=") for part in match.group(2).split(", ")] if match else []
    try:
        numbers = {name: float(value) for name, _, value in pairs}
    except ValueError:
        return None
    return Prior(match.group(1), tuple(sorted(numbers.items()))) if match else None


def exact_card(fit: ExactFit, title: str, priors: Mapping[str, str] | None = None) -> FitCard:
    """Describe a posterior that was computed by quadrature."""
    return FitCard(
        fit_id=fit.fit_id,
        title=title,
        model=fit.model,
        equations=ast.get_docstring(ast.parse(_source(fit.model))) or "",
        priors=dict(priors or {}),
        diagnostics={"Method": "quadrature on a lattice of log odds, no sampling"},
        convergence=CONVERGED,
        provenance={name: str(value) for name, value in fit.inputs.items()},
    )


HERE, ALONE, SAME = "reported model", "every subgroup alone", "no difference between subgroups"


@dataclass(frozen=True)
class Judged:
    """What a fit is judged by beside its convergence.

    ``quantities`` are draws (chain, draw) of what is reported, by name, ``top_level`` the
    parameters whose priors are scaled. ``scores`` are of models by name, the fit's own first;
    ``unit`` says what is left out, or why nothing can be.
    """

    quantities: Mapping[str, xr.DataArray] = field(default_factory=dict)
    top_level: Sequence[str] = ()
    scores: Mapping[str, PatientElpd] = field(default_factory=dict)
    unit: str = ""


def judged_counts(
    share: xr.DataArray, counts: xr.DataArray, top_level: Sequence[str], unit: str = "patient"
) -> Judged:
    """Judge a model of counts (..., class) by draws (chain, draw, ..., class) of shares.

    Beside the model stand two without a sampler: each subgroup alone, and all subgroups as one.
    """
    number = counts.to_numpy().astype(float)
    occupied = number > 0
    drawn = share.transpose("chain", "draw", *counts.dims).to_numpy().reshape(-1, *number.shape)
    rows, patients = np.log(drawn[:, occupied]), number[occupied]
    others = other_scores(number.reshape(-1, number.shape[-1]))
    scores = {HERE: left_out(rows, patients)} | others
    return Judged(by_label(share), top_level, scores, unit)


def other_scores(counts: np.ndarray) -> dict[str, PatientElpd]:
    """Scores of models without a sampler of counts (subgroup, class), by the occupied cells."""
    occupied = counts > 0
    if occupied.any(axis=1).sum() < 2:
        return {}
    together = np.broadcast_to(conjugate(counts.sum(axis=0, keepdims=True)), counts.shape)
    return {
        name: left_out_exactly(found[occupied], counts[occupied])
        for name, found in ((ALONE, conjugate(counts)), (SAME, together))
    }


def by_label(draws: xr.DataArray) -> dict[str, xr.DataArray]:
    """Every number of a variable (chain, draw, ...) by its name: ``share[liver, low]``."""
    ordered = draws.transpose("chain", "draw", ...)
    flat = ordered.to_numpy().reshape(*ordered.shape[:2], -1)
    return {
        _named(ordered, place): xr.DataArray(flat[..., place], dims=("chain", "draw"))
        for place in range(flat.shape[-1])
    }


def _judgement(fit: Fit, judged: Judged) -> FitCard:
    """Power scaling, and the models compared."""
    from her2bayes.inference.reweight import power_scaling

    groups, power = fit.tree.children, {}
    if judged.quantities and {"log_likelihood", "log_prior"} <= set(groups):
        likelihood, log_prior = (
            groups[name].to_dataset() for name in ("log_likelihood", "log_prior")
        )
        power = power_scaling(judged.quantities, likelihood, log_prior, judged.top_level)
    found = compare(judged.scores).to_dict("records") if judged.scores else []
    return FitCard(
        power=[(name, *both) for name, both in power.items()],
        compared=[{str(name): value for name, value in row.items()} for row in found],
        unit=judged.unit,
    )


LEAST = 4.0
"""Difference in log predictive density below which a standard error cannot be trusted (Sivula,
Magnusson, Matamoros & Vehtari 2020, arXiv 2008.10296): models then predict alike."""


def clear(row: Mapping[str, Any]) -> bool:
    """Tell whether a model predicts clearly worse than the best one."""
    gap = -float(row["difference"])
    return gap > max(LEAST, 2 * float(row["difference_std_error"]))


def compared_rows(card: Mapping[str, Any]) -> list[dict[str, str]]:
    """Models that were compared, as text."""
    return [
        {
            "model": str(row["model"]),
            "elpd": f"{number(row['elpd'], 1)} ({number(row['elpd_std_error'], 1)})",
            "difference": f"{number(row['difference'], 1)} "
            f"({number(row['difference_std_error'], 1)})" if row["difference"] else "best",
            "weight": number(row["stacking_weight"], 2),
            "k": "exact" if np.isnan(row["pareto_k"]) else number(row["pareto_k"], 2)
            + (f"; {row['unreliable_patients']:.0f} unreliable" if row["unreliable_patients"]
               else ""),
        }
        for row in card.get("compared", ())
    ]  # fmt: skip


def power_rows(card: Mapping[str, Any]) -> list[dict[str, str]]:
    """Sensitivity of each quantity to the power of prior and likelihood, as text."""
    return [
        {"quantity": name, "prior": number(prior, 3), "likelihood": number(likelihood, 3),
         "diagnosis": diagnosis(prior, likelihood) or "none"}
        for name, prior, likelihood in card.get("power", ())
    ]  # fmt: skip


def judgements(cards: Sequence[Mapping[str, Any]]) -> tuple[tuple[str, str], ...]:
    """What a page says of the priors and of the models of all its fits, a line each."""
    said = (("Prior sensitivity", _priors(cards)), ("Model comparison", _models(cards)))
    return tuple((name, text) for name, text in said if text)


def _priors(cards: Sequence[Mapping[str, Any]]) -> str:
    known = [card for card in cards if card.get("power")]
    if not known:
        return ""
    moved: dict[str, list[str]] = {}
    for card in known:
        said = [diagnosis(*both) for _, *both in card["power"]]
        for words in dict.fromkeys(filter(None, said)):
            moved.setdefault(words, []).append(f"{card['title']} ({said.count(words)})")
    quantities = sum(len(card["power"]) for card in known)
    some = sum(bool(diagnosis(*both)) for card in known for _, *both in card["power"])
    found = "; ".join(f"{words} in {', '.join(titles)}" for words, titles in moved.items())
    return (
        f"With priors slightly stronger and weaker (power scaling), {some or 'none'} of "
        f"{quantities} quantities {'moves' if some < 2 else 'move'} noticeably (sensitivity above "
        f"{THRESHOLD:g})" + (f": {found}." if found else ".")
    )


def _models(cards: Sequence[Mapping[str, Any]]) -> str:
    known = [card for card in cards if len(card.get("compared", ())) > 1]
    if not known:
        return ""
    worse: dict[str, list[str]] = {}
    for card in known:
        for row in filter(clear, card["compared"]):
            by = f"{number(-row['difference'], 1)}, SE {number(row['difference_std_error'], 1)}"
            worse.setdefault(str(row["model"]), []).append(f"{card['title']} (by {by})")
    beaten = worse.pop(HERE, [])
    rows = [row for card in known for row in card["compared"]]
    others = ", ".join(dict.fromkeys(row["model"] for row in rows if row["model"] != HERE))
    k = max(row["pareto_k"] for row in rows if row["model"] == HERE)
    of = count(len(known), "comparison")
    parts = [
        f"The reported model predicts patients who are left out clearly worse than an alternative "
        f"({others}) in {len(beaten)} of {of}: {'; '.join(beaten)}"
        if beaten
        else f"No alternative ({others}) predicts patients who are left out clearly better than "
        f"the reported model in {of}"
    ]
    if worse:
        said = (f"'{name}' for {'; '.join(titles)}" for name, titles in worse.items())
        parts.append(f"Predictions are clearly worse with {'; '.join(said)}")
    parts.append(
        f"Clearly: log predictive densities differ by more than {LEAST:g} and by more than two "
        f"standard errors (SE). Largest Pareto k {number(k, 2)}, reliable up to {BAD_PARETO_K:g}"
    )
    without = sum(str(card.get("unit", "")).startswith("nothing") for card in cards)
    if without:
        parts.append(f"From {count(without, 'other fit')} no patient can be left out")
    return ". ".join(parts) + "."


def fit_card(
    fit: Fit, title: str, estimates: pd.DataFrame, judged: Judged | None = None
) -> FitCard:
    """Describe a fit for the page.

    ``estimates`` are the rows reported from it: the card carries the worst of their verdicts.
    ``judged`` is what else it is judged by.
    """
    checks = predictive_checks(fit.tree)
    diagnostics, name, draws = _diagnostics(fit)
    reported = estimates.loc[estimates["fit_id"] == fit.fit_id, "convergence"]
    more = _judgement(fit, judged or Judged())
    return FitCard(
        **more,
        repeated=bool(fit.diagnostics.repeated),
        fit_id=fit.fit_id,
        title=title,
        model=fit.model,
        equations=_equations(fit),
        priors={
            n: f"{text}: {words}" if words else text
            for n, (text, words) in stated_priors(fit).items()
        },
        diagnostics=diagnostics,
        convergence=worst(reported),
        provenance={
            "Calibration": passport_line(fit.model, fit.provenance),
            **_provenance(fit.provenance),
        },
        checks=check_rows(checks),
        warnings=check_warnings(checks, title, fit.fit_id),
        plots=_plots(fit, name, draws),
    )


def worst(verdicts: Iterable[str]) -> str:
    """Give the verdict of a fit from those of its quantities, with all reasons."""
    said = reasons(verdicts)
    return f"{NOT_CONVERGED}: {'; '.join(said)}" if said else CONVERGED


def _equations(fit: Fit) -> str:
    own = fit.provenance.get("own_model")
    return str(own["equations"]) if own else ast.get_docstring(ast.parse(_source(fit.model))) or ""


def _source(model: str) -> str:
    """Text of the model's file."""
    spec = importlib.util.find_spec(_module(model))
    return Path(str(spec and spec.origin)).read_text("utf-8")


def _module(model: str) -> str:
    """Find the model's file; a variant (``table_dirichlet``) stands in that of its model."""
    name = model
    while name:
        if found := module_of(name):
            return found
        name = name.rpartition("_")[0]
    raise ValueError(f"there is no model file named {model}")


def _defaults(model: str) -> Mapping[str, Prior]:
    """Priors of the model's file."""
    found: Mapping[str, Prior] = getattr(
        importlib.import_module(_module(model)), "DEFAULT_PRIORS", {}
    )
    return found


def _diagnostics(fit: Fit) -> tuple[dict[str, str], str, np.ndarray | None]:
    """Printed numbers, and the quantity with the largest R-hat: name, draws (chain, draw)."""
    from arviz_stats.base import array_stats

    rhat, bulk, tail = [1.0], [np.inf], [np.inf]
    name, worst = "", None
    for variable in fit.posterior.values():
        ordered = variable.transpose("chain", "draw", ...)
        draws = ordered.to_numpy().astype(float)
        flat = draws.reshape(*draws.shape[:2], -1)
        ranked = np.flatnonzero([_ranked(flat[..., k]) for k in range(flat.shape[-1])])
        if not ranked.size:
            continue
        flat = flat[..., ranked]
        found = np.atleast_1d(array_stats.rhat(flat, chain_axis=0, draw_axis=1))
        most = int(np.argmax(found))
        if worst is None or found[most] > max(rhat):
            name, worst = _named(ordered, int(ranked[most])), flat[..., most]
        rhat.append(float(found[most]))
        bulk.append(float(np.min(_ess(array_stats, flat, "bulk"))))
        tail.append(float(np.min(_ess(array_stats, flat, "tail"))))
    run = fit.diagnostics
    printed = {
        "Draws": f"{run.chains} chains of {run.draws:,}",
        "Max R-hat": number(max(rhat), 3) + (" (too large)" if max(rhat) > RHAT_MAX else ""),
        "Min bulk ESS": number(min(bulk), 0),
        "Min tail ESS": number(min(tail), 0),
        "Divergences": str(run.divergences) + (f" ({run.repeated})" if run.repeated else ""),
        "Min E-BFMI": number(run.bfmi, 2),
    }
    return printed, name, worst


def _named(variable: xr.DataArray, place: int) -> str:
    """Name of one number of a variable (dims chain, draw, ...): ``share[liver, low]``."""
    dims = [dim for dim in variable.dims if dim not in ("chain", "draw")]
    where = np.unravel_index(place, [variable.sizes[dim] for dim in dims])
    labels = [
        str(variable[dim].values[k]) if dim in variable.coords else str(k)
        for dim, k in zip(dims, where, strict=True)
    ]
    return f"{variable.name}[{', '.join(labels)}]" if labels else str(variable.name)


def arviz_plot(name: str, tree: xr.DataTree, size: tuple[float, float], **options: Any) -> Figure:
    """Draw ``arviz_plots.plot_<name>`` of a tree, ``size`` in inches.

    Rank plots show by how much the distribution of each chain's ranks differs from an even one,
    with the P value of the envelope of Säilynoja, Bürkner & Vehtari 2022.
    """
    import arviz_plots
    from matplotlib import pyplot

    draw = getattr(arviz_plots, f"plot_{name}")
    made = draw(tree, backend="matplotlib", figure_kwargs={"figsize": size}, **options)
    figure: Figure = made.viz["figure"].item()
    pyplot.close(figure)  # kept by the caller alone, not shown a second time by a notebook
    return figure


PLOTS = {
    "rank": "Ranks of {} by chain, less even ones, of draws thinned to their effective number",
    "trace": "Trace of {} by chain",
    "energy": "Energy (E-BFMI by chain; marginal and transition energy)",
    "ess_evolution": f"Effective sample size of {{}} by draws used, bulk and tail; line: {ESS_MIN}",
}
"""Plots of a fit's card; ``{}`` is the quantity with the largest R-hat."""

PLOT_SIZE, _DPI, _COLOURS = (336, 216), 96, 32


def _plots(fit: Fit, name: str, draws: np.ndarray | None) -> tuple[tuple[str, str], ...]:
    """What each plot of the card shows, and its PNG in base 64."""
    from arviz_stats.base import array_stats

    run = fit.tree["sample_stats"].to_dataset() if "sample_stats" in fit.tree else xr.Dataset()
    if draws is None or "energy" not in run:
        return ()
    shown = xr.Dataset({name: (("chain", "draw"), draws)}, {d: run[d] for d in ("chain", "draw")})
    tree = xr.DataTree.from_dict({"posterior": shown, "sample_stats": run})
    size = (PLOT_SIZE[0] / _DPI, PLOT_SIZE[1] / _DPI)
    found, independent = [], float(_ess(array_stats, draws, "bulk"))
    for kind, words in PLOTS.items():
        every = max(1, round(draws.size / independent)) if kind == "rank" else 1
        drawn = arviz_plot(kind, tree.isel(draw=slice(None, None, every)), size)
        found.append((words.format(name), _png(drawn)))
    return tuple(found)


def _png(figure: Figure) -> str:
    """Small PNG in base 64."""
    from PIL import Image

    drawn, small = io.BytesIO(), io.BytesIO()
    figure.savefig(drawn, format="png", dpi=1.5 * _DPI, facecolor="white")
    Image.open(drawn).convert("RGB").quantize(_COLOURS).save(small, "png", optimize=True)
    return b64encode(small.getvalue()).decode()


def _ranked(draws: np.ndarray) -> bool:
    """Tell whether ranks judge a variable: one at a single value is judged by probabilities."""
    return bool(np.ptp(draws) > 0) and concentration(draws) < CONCENTRATED


def _ess(stats: Any, draws: np.ndarray, method: str) -> np.ndarray:
    tails = {"prob": (0.05, 0.95)} if method == "tail" else {}
    return np.asarray(stats.ess(draws, chain_axis=0, draw_axis=1, method=method, **tails))


def _provenance(record: Mapping[str, Any]) -> dict[str, str]:
    lines: dict[str, str] = {}
    for name in ("package", "source", "data", "sampling", "options", "versions", "flags"):
        value = record.get(name)
        if isinstance(value, Mapping):
            text = ", ".join(f"{k} {v}" for k, v in value.items())
        else:
            text = str(value)[:16] if name in {"source", "data"} else str(value or "")
        if text:
            lines[_LABELS.get(name, name.capitalize())] = text
    return lines


_LABELS = {"source": "Model source, SHA-256", "data": "Data, SHA-256", "flags": "Compiler flags"}
