"""The one table of standards: when draws count as converged, and when two sets of them agree.

R-hat and effective sample sizes: Vehtari et al. 2021, Bayesian Analysis 16:667; E-BFMI: Betancourt
2016. A probability has no scale of its own to measure them on, so its Monte-Carlo standard error is
held below that of ``ESS_MIN`` independent draws where it is largest, at 1/2. The cohorts behind
printed numbers have a laxer standard with a name of its own (``chains agree``), in
``reconstruction.chain_standard``.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from her2bayes.reconstruction.chain_standard import CHAINS_DISAGREE

RHAT_MAX = 1.01
ESS_MIN = 400
BFMI_MIN = 0.3
MCSE_MAX = 0.5 / math.sqrt(ESS_MIN)  # of a probability: 0.025
CONCENTRATED = 0.05  # share of draws at one value from which probabilities are judged, not ranks

AGREE_TIMES = 4.0  # two sets of draws agree within so many of their joint standard errors
MCSE_LOOSE = 0.03  # a larger MCSE, as a fraction of the posterior SD, would make agreement cheap

CONVERGED, NOT_CONVERGED = "converged", "not converged"


def failed(text: str) -> bool:
    """Tell whether the printed verdict of a fit or of reconstructed cohorts speaks against it."""
    return text.startswith((NOT_CONVERGED, CHAINS_DISAGREE))


def reasons(verdicts: Iterable[str]) -> list[str]:
    """Every reason that failed verdicts give, once each, in their order."""
    texts = [text.partition(": ")[2] for text in verdicts if failed(text)]
    return list(dict.fromkeys(reason for text in texts for reason in text.split("; ")))


def sentence() -> str:
    """Say the standard of a fit, as it follows "for every number reported from it"."""
    return (
        f"rank-normalised R-hat is at most {RHAT_MAX}, bulk and tail effective sample sizes are at "
        f"least {ESS_MIN}, no transition diverged and E-BFMI is at least {BFMI_MIN}. A number that "
        f"stands at one value in {CONCENTRATED:.0%} of draws or more (a yes or no, a count, a "
        "median cut off at the end of follow-up) is judged instead by the Monte-Carlo error of its "
        f"probabilities, at most {MCSE_MAX:g}."
    ).replace("%", " %")
