"""Bayesian workbench for HER2 status, its transitions and survival in breast cancer.

The names below are the whole interface; each is imported when it is first used, so that
``import her2bayes`` loads neither PyMC nor pandas.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from her2bayes.bayes.prior import prior as prior
    from her2bayes.errors import BadInput as BadInput
    from her2bayes.estimand import Estimand as Estimand
    from her2bayes.inference.sampling import Sampling as Sampling
    from her2bayes.reproduce.report import report as report
    from her2bayes.results.comparison import compare as compare
    from her2bayes.results.saved import load_fit as load_fit

__version__ = "0.1.0"

_PUBLIC = {
    "prior": "bayes.prior",
    "BadInput": "errors",
    "Estimand": "estimand",
    "Sampling": "inference.sampling",
    "load_fit": "results.saved",
    "report": "reproduce.report",
    "compare": "results.comparison",
}
"""Public name -> module that defines it."""

__all__ = ["__version__", *_PUBLIC]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used."""
    if name not in _PUBLIC:
        raise AttributeError(f"module 'her2bayes' has no attribute '{name}'")
    value = getattr(import_module(f"her2bayes.{_PUBLIC[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """List the public names."""
    return sorted(__all__)
