"""Whether the draws of one reported quantity can be trusted: a verdict in words, with reasons.

Rank-normalised split R-hat, bulk and tail effective sample size (Vehtari et al. 2021, Bayesian
Analysis 16:667), divergences and E-BFMI (Betancourt 2016) of the fit the draws come from.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr

RHAT_MAX = 1.01
ESS_MIN = 400
BFMI_MIN = 0.3


@dataclass(frozen=True)
class Diagnostics:
    """What a sampler run says about itself: chains, draws per chain, divergences, least E-BFMI."""

    chains: int
    draws: int
    divergences: int
    bfmi: float

    @property
    def reasons(self) -> tuple[str, ...]:
        """What is wrong with the run, whatever the quantity."""
        reasons = []
        if self.divergences:
            reasons.append(f"{self.divergences} divergences")
        if not self.bfmi >= BFMI_MIN:
            reasons.append(f"E-BFMI {self.bfmi:.2f}")
        return tuple(reasons)


@dataclass(frozen=True)
class Convergence:
    """Verdict on one reported quantity; ``str()`` is what tables and figures print beside it."""

    rhat: float
    ess_bulk: float
    ess_tail: float
    reasons: tuple[str, ...]

    @property
    def passed(self) -> bool:
        """Whether nothing speaks against the draws."""
        return not self.reasons

    def __str__(self) -> str:
        """Print the verdict with its reasons."""
        return "converged" if self.passed else "not converged: " + "; ".join(self.reasons)


def diagnostics(sample_stats: xr.Dataset) -> Diagnostics:
    """Summarise sampler statistics (dims ``chain``, ``draw``; ``diverging`` and ``energy``)."""
    energy = sample_stats["energy"].transpose("chain", "draw").values
    step = np.square(np.diff(energy, axis=1)).mean(axis=1)
    return Diagnostics(
        chains=energy.shape[0],
        draws=energy.shape[1],
        divergences=int(sample_stats["diverging"].sum()),
        bfmi=float(np.min(step / energy.var(axis=1))),
    )


def verdict(draws: xr.DataArray, run: Diagnostics) -> Convergence:
    """Judge the draws (dims ``chain``, ``draw``) of one quantity from a run.

    A quantity that is the same in every draw (fixed by the model) has nothing to converge.
    """
    from arviz_stats.base import array_stats

    values = draws.transpose("chain", "draw").values.astype(float)
    if not np.isfinite(values).all():
        count = int((~np.isfinite(values)).sum())
        return Convergence(np.nan, np.nan, np.nan, (f"{count} draws are not finite", *run.reasons))
    if np.ptp(values) <= 1e-12 * max(1.0, float(np.abs(values).max())):
        return Convergence(np.nan, np.nan, np.nan, run.reasons)
    if not np.ptp(values, axis=1).all():
        return Convergence(np.nan, np.nan, np.nan, ("a chain does not move", *run.reasons))
    rhat = float(array_stats.rhat(values, method="rank"))
    bulk = float(array_stats.ess(values, method="bulk"))
    tail = float(array_stats.ess(values, method="tail", prob=(0.05, 0.95)))
    return Convergence(rhat, bulk, tail, (*_reasons(rhat, bulk, tail), *run.reasons))


def _reasons(rhat: float, bulk: float, tail: float) -> list[str]:
    reasons = []
    if not rhat <= RHAT_MAX:
        reasons.append(f"R-hat {rhat:.3f}")
    if not bulk >= ESS_MIN:
        reasons.append(f"bulk ESS {bulk:.0f}")
    if not tail >= ESS_MIN:
        reasons.append(f"tail ESS {tail:.0f}")
    return reasons
