"""A fit as a card: equations and priors from the model's own file, diagnostics from its draws."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import re
from collections.abc import Iterable, Mapping
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from her2bayes.inference.convergence import concentration
from her2bayes.inference.standards import CONCENTRATED, CONVERGED, NOT_CONVERGED, RHAT_MAX, reasons
from her2bayes.posterior.predictive import predictive_checks
from her2bayes.reports.calibration import passport_line
from her2bayes.reports.check_rows import check_rows, check_warnings
from her2bayes.reports.numbers import number
from her2bayes.reports.prior_words import meanings
from her2bayes.reports.section import FitCard

if TYPE_CHECKING:
    import pandas as pd

    from her2bayes.inference.fit import Fit


def fit_card(
    fit: Fit,
    title: str,
    estimates: pd.DataFrame,
    clinical: Mapping[str, str] | None = None,
) -> FitCard:
    """Describe a fit for the page.

    ``estimates`` are the rows reported from it: the card carries the worst of their verdicts.
    ``clinical`` says what a prior means in clinical units, by name; else that is computed from the
    prior in use, or read from the comments beside ``DEFAULT_PRIORS`` where it is the default.
    """
    source = _source(fit.model)
    priors = fit.provenance.get("priors", {})
    meaning = {**meanings(priors, _defaults(fit.model), _comments(source)), **(clinical or {})}
    checks = predictive_checks(fit.tree)
    reported = estimates.loc[estimates["fit_id"] == fit.fit_id, "convergence"]
    return FitCard(
        fit_id=fit.fit_id,
        title=title,
        model=fit.model,
        equations=ast.get_docstring(ast.parse(source)) or "",
        priors={n: f"{text}: {meaning[n]}" if n in meaning else text for n, text in priors.items()},
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


def _source(model: str) -> str:
    """Text of the model's file."""
    return Path(str(_spec(model).origin)).read_text("utf-8")


def _spec(model: str) -> ModuleSpec:
    """Find the model's file; a variant (``table_dirichlet``) stands in that of its model."""
    name = model
    while name:
        spec = importlib.util.find_spec(f"her2bayes.bayes.{name}")
        if spec is not None and spec.origin:
            return spec
        name = name.rpartition("_")[0]
    raise ValueError(f"there is no model file named {model}")


def _defaults(model: str) -> dict[str, str]:
    """Priors of the model's file as they are printed."""
    found = getattr(importlib.import_module(_spec(model).name), "DEFAULT_PRIORS", {})
    return {name: str(value) for name, value in found.items()}


def _comments(source: str) -> dict[str, str]:
    """Read what is written above or beside each entry of ``DEFAULT_PRIORS``."""
    found: dict[str, str] = {}
    block = re.search(r"^DEFAULT_PRIORS\b.*?^\}", source, flags=re.MULTILINE | re.DOTALL)
    said: list[str] = []
    for line in block.group().splitlines() if block else []:
        entry = re.match(r'\s*"(\w+)":', line)
        said += [line.partition("#")[2].strip()] if "#" in line else []
        if entry:
            found[entry.group(1)] = " ".join(said)
            said = []
    return {name: text for name, text in found.items() if text}


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
