"""Draws on the scale of their kind (``estimand.KINDS``): identity, log or logit."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import special

from her2bayes.estimand import KINDS


def on_scale(values: Any, kind: str) -> np.ndarray:
    """Transform values of a kind, shares between 0 and 1; infinite at the edge of the scale.

    NaN where a value has no place on the scale (a negative ratio).
    """
    array = np.asarray(values, dtype=float)
    with np.errstate(divide="ignore", invalid="ignore"):
        match KINDS[kind].scale:
            case "log":
                return np.log(array)
            case "logit":
                return np.asarray(special.logit(array))
    return array
