"""Parameters of the reference model given one cohort's patients: Hamiltonian draws, nothing else.

What a survival analysis of that one data set would say, under the same model and priors.
"""

from __future__ import annotations

import numpy as np

from her2bayes.reconstruction import summary_kernel as kernel
from her2bayes.reconstruction.summary_problem import Problem
from her2bayes.reconstruction.summary_start import cohort

LEAPS, WARM, APART = 12, 60, 3


def parameters_given(
    posed: Problem, tenths: np.ndarray, event: np.ndarray, cell: np.ndarray, start: np.ndarray,
    number: int, seed: int,
) -> np.ndarray:  # fmt: skip
    """Draws (draw, parameter) of theta given patients; ``tenths`` are times in month tenths."""
    patients = cohort(posed.printed, tenths, event, cell)
    theta = start.copy()
    found = np.zeros((number, theta.size))
    kernel.parameters(posed.printed, patients, posed.model, theta, seed, WARM, APART, LEAPS, found)
    return found
