"""P values adjusted for the number of tests, each method by name, as R's ``p.adjust`` gives them.

Bonferroni; Holm 1979; Hochberg 1988 (family-wise error rate); Benjamini & Hochberg 1995; Benjamini
& Yekutieli 2001 (false discovery rate).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from her2bayes.errors import BadInput, Fault


def _bonferroni(p: np.ndarray) -> np.ndarray:
    return p * p.size


def _holm(p: np.ndarray) -> np.ndarray:
    order = np.argsort(p)
    stepped = np.maximum.accumulate(p[order] * np.arange(p.size, 0, -1))
    return _back(stepped, order)


def _hochberg(p: np.ndarray) -> np.ndarray:
    return _step_up(p, 1.0 * np.arange(1, p.size + 1))


def _benjamini_hochberg(p: np.ndarray) -> np.ndarray:
    return _step_up(p, p.size / np.arange(p.size, 0, -1))


def _benjamini_yekutieli(p: np.ndarray) -> np.ndarray:
    harmonic = (1 / np.arange(1, p.size + 1)).sum()
    return _step_up(p, harmonic * p.size / np.arange(p.size, 0, -1))


def _step_up(p: np.ndarray, factor: np.ndarray) -> np.ndarray:
    """Largest P first; ``factor`` in that order."""
    order = np.argsort(p)[::-1]
    return _back(np.minimum.accumulate(p[order] * factor), order)


def _back(values: np.ndarray, order: np.ndarray) -> np.ndarray:
    result = np.empty_like(values)
    result[order] = values
    return result


METHODS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "Bonferroni": _bonferroni,
    "Holm": _holm,
    "Hochberg": _hochberg,
    "Benjamini-Hochberg": _benjamini_hochberg,
    "Benjamini-Yekutieli": _benjamini_yekutieli,
}


def adjusted(p_values: Sequence[float] | np.ndarray, method: str) -> np.ndarray:
    """Adjusted P values in the order given; ``BadInput`` for another method or no P values.

    A missing P stays missing and is no test of the family, as in R.
    """
    if method not in METHODS:
        raise BadInput(Fault("unknown adjustment", value=method, allowed=", ".join(METHODS)))
    p = np.asarray(p_values, dtype=float)
    known = ~np.isnan(p)
    if p.ndim != 1 or not ((p[known] >= 0) & (p[known] <= 1)).all():
        raise BadInput(Fault("P values", value=p.tolist(), allowed="a list of numbers, 0 to 1"))
    found = p.copy()
    if known.any():
        found[known] = np.minimum(METHODS[method](p[known]), 1.0)
    return found
