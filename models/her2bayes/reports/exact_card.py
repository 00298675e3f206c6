"""A computed posterior as a card: equations from the file that holds them, no sampler to judge."""

from __future__ import annotations

import ast
import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from her2bayes.inference.standards import CONVERGED
from her2bayes.reports.section import FitCard

if TYPE_CHECKING:
    from her2bayes.analysis.exact_rows import ExactFit


def exact_card(fit: ExactFit, title: str, priors: Mapping[str, str] | None = None) -> FitCard:
    """Describe a posterior that was computed by quadrature."""
    return FitCard(
        fit_id=fit.fit_id,
        title=title,
        model=fit.model,
        equations=_docstring(fit.model),
        priors=dict(priors or {}),
        diagnostics={"Method": "quadrature on a lattice of log odds, no sampling"},
        convergence=CONVERGED,
        provenance={name: str(value) for name, value in fit.inputs.items()},
    )


def _docstring(model: str) -> str:
    for area in ("bayes", "analysis"):
        spec = importlib.util.find_spec(f"her2bayes.{area}.{model}")
        if spec is not None and spec.origin:
            return ast.get_docstring(ast.parse(Path(spec.origin).read_text("utf-8"))) or ""
    raise ValueError(f"there is no file named {model}")
