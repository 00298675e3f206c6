"""A fit as a card: equations, priors in clinical units, diagnostics, predictive checks in words."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import stats

from her2bayes.bayes.named import module_of
from her2bayes.bayes.prior import Prior
from her2bayes.inference.convergence import (
    CONCENTRATED,
    CONVERGED,
    NOT_CONVERGED,
    RHAT_MAX,
    concentration,
    reasons,
)
from her2bayes.inference.predictive import GROUPS, RARE, predictive_checks
from her2bayes.page.numbers import number
from her2bayes.page.passport import passport_line
from her2bayes.page.section import FitCard

if TYPE_CHECKING:
    import pandas as pd

    from her2bayes.inference.fit import ExactFit, Fit


_WORDS = {
    "distance": "distance from the mean table",
    "farthest cell": "farthest cell",
    "empty cells": "number of empty cells",
    "total": "total of the counts",
}
_MEANS = {
    "prior": "the priors and the data disagree",
    "posterior": "the model does not make data like these",
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
        f"{_short(row[f'{group}_upper'])} (95 %), {group} predictive P {_tail(row, group)}."
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
    """Say what Dirichlet rows of this weight and mean share without a change are worth."""
    share = stats.beta(total * stays, total * (1 - stays))
    low, middle, high = (100 * share.ppf(p) for p in (0.025, 0.5, 0.975))
    return (
        f"worth {total:g} patients a row, {100 * stays:.0f} % of them unchanged: a class stays "
        f"with median {middle:.0f} % ({low:.0f} to {high:.0f})"
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


def fit_card(fit: Fit, title: str, estimates: pd.DataFrame) -> FitCard:
    """Describe a fit for the page.

    ``estimates`` are the rows reported from it: the card carries the worst of their verdicts.
    """
    checks = predictive_checks(fit.tree)
    reported = estimates.loc[estimates["fit_id"] == fit.fit_id, "convergence"]
    return FitCard(
        fit_id=fit.fit_id,
        title=title,
        model=fit.model,
        equations=_equations(fit),
        priors={
            n: f"{text}: {words}" if words else text
            for n, (text, words) in stated_priors(fit).items()
        },
        diagnostics=_diagnostics(fit),
        convergence=worst(reported),
        provenance={
            "Calibration": passport_line(fit.model, fit.provenance),
            **_provenance(fit.provenance),
        },
        checks=check_rows(checks),
        warnings=check_warnings(checks, title, fit.fit_id),
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


def _diagnostics(fit: Fit) -> dict[str, str]:
    from arviz_stats.base import array_stats

    rhat, bulk, tail = [1.0], [np.inf], [np.inf]
    for variable in fit.posterior.values():
        draws = variable.transpose("chain", "draw", ...).to_numpy().astype(float)
        flat = draws.reshape(*draws.shape[:2], -1)
        ranked = [_ranked(flat[..., k]) for k in range(flat.shape[-1])]
        flat = flat[..., np.array(ranked, dtype=bool)]
        if flat.size:
            rhat.append(float(np.max(array_stats.rhat(flat, chain_axis=0, draw_axis=1))))
            bulk.append(float(np.min(_ess(array_stats, flat, "bulk"))))
            tail.append(float(np.min(_ess(array_stats, flat, "tail"))))
    run = fit.diagnostics
    return {
        "Draws": f"{run.chains} chains of {run.draws:,}",
        "R-hat, largest": number(max(rhat), 3) + (" (too large)" if max(rhat) > RHAT_MAX else ""),
        "Bulk ESS, least": number(min(bulk), 0),
        "Tail ESS, least": number(min(tail), 0),
        "Divergences": str(run.divergences),
        "E-BFMI, least": number(run.bfmi, 2),
    }


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
