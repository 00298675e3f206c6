"""Model files by name: a model is a file named after it, with ``DEFAULT_PRIORS`` and ``build``."""

from __future__ import annotations

from functools import cache
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1]

COMPUTED = {"borrowing": "rates", "cohort_shares": "rates", "rate_exact": "rates"}
"""Rooms of models without a graph: their names are those of fits, and other rooms may use them."""


@cache
def module_of(name: str) -> str | None:
    """Dotted name of the module of the model ``name``; ``None`` where there is none.

    A model without a graph (quadrature) stands in ``COMPUTED``, or is the only file of its name.
    """
    if name in COMPUTED:
        return f"{PACKAGE.name}.{COMPUTED[name]}.{name}"
    files = sorted(PACKAGE.rglob(f"{name}.py"))
    models = [f for f in files if len(files) == 1 or "\ndef build(" in f.read_text("utf-8")]
    if not models:
        return None
    return ".".join((PACKAGE.name, *models[0].relative_to(PACKAGE).with_suffix("").parts))
