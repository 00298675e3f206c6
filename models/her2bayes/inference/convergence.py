"""Whether the draws of one reported quantity can be trusted: a verdict in words, with reasons.

Rank-normalised split R-hat, bulk and tail effective sample size, divergences and E-BFMI of the fit
the draws come from; ``standards`` holds the limits and their sources. An indicator, a table's cell
or a median cut off at the end of follow-up stands at one value in many draws, and one chain may
hold no other: such a quantity is judged by the Monte-Carlo error of its distribution function.

When independently started chains over cohorts are said to agree: laxer than a fit's standard.

Enough for the widths that are shown, not for the last digit; ``inference.standards`` holds what a
fit must reach to be called converged.

The one table of standards: when draws count as converged, and when two sets of them agree.

R-hat and effective sample sizes: Vehtari et al. 2021, Bayesian Analysis 16:667; E-BFMI: Betancourt
2016. A probability has no scale of its own to measure them on, so its Monte-Carlo standard error is
held below that of ``ESS_MIN`` independent draws where it is largest, at 1/2. The cohorts behind
printed numbers have a laxer standard with a name of its own (``chains agree``), in
``reconstruction.chain_standard``.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr

MCSE_COLUMNS = tuple(
    f"mcse_{source}_{name}"
    for source in ("posterior", "prior")
    for name in ("median", "lower", "upper", "probability")
)

_EDGE = 1e30


LARGEST_RHAT, LEAST_ESS = 1.05, 50
CHAINS_AGREE, CHAINS_DISAGREE = "chains agree", "chains disagree"


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


@dataclass(frozen=True)
class Diagnostics:
    """What a sampler run says about itself: chains, draws per chain, divergences, least E-BFMI.

    ``repeated``, where it was sampled more than once, has the divergences of each run.
    """

    chains: int
    draws: int
    divergences: int
    bfmi: float
    repeated: str = ""

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
    """Verdict on one reported quantity; ``str()`` is what tables and figures print beside it.

    R-hat and effective sample sizes are NaN where ranks cannot judge the quantity.
    """

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
        return CONVERGED if self.passed else f"{NOT_CONVERGED}: {'; '.join(self.reasons)}"


def diagnostics(sample_stats: xr.Dataset) -> Diagnostics:
    """Summarise sampler statistics (dims ``chain``, ``draw``; ``diverging`` and ``energy``)."""
    energy = sample_stats["energy"].transpose("chain", "draw").values
    step = np.square(np.diff(energy, axis=1)).mean(axis=1)
    return Diagnostics(
        chains=energy.shape[0],
        draws=energy.shape[1],
        divergences=int(sample_stats["diverging"].sum()),
        bfmi=float(np.min(step / energy.var(axis=1))),
        repeated=str(sample_stats.attrs.get("repeated", "")),
    )


def verdict(draws: xr.DataArray, run: Diagnostics) -> Convergence:
    """Judge the draws (dims ``chain``, ``draw``) of one quantity from a run.

    A quantity that is the same in every draw has nothing to converge: it is fixed by the model, or
    an indicator that never changed, whose probability of changing is below 3/n (rule of three).
    """
    from arviz_stats.base import array_stats

    values = draws.transpose("chain", "draw").values.astype(float)
    if not np.isfinite(values).all():
        count = int((~np.isfinite(values)).sum())
        return Convergence(np.nan, np.nan, np.nan, (f"{count} draws are not finite", *run.reasons))
    if np.ptp(values) <= 1e-12 * max(1.0, float(np.abs(values).max())):
        return Convergence(np.nan, np.nan, np.nan, run.reasons)
    if concentration(values) >= CONCENTRATED:
        return Convergence(np.nan, np.nan, np.nan, (*_by_probability(values), *run.reasons))
    if not np.ptp(values, axis=1).all():
        return Convergence(np.nan, np.nan, np.nan, ("a chain does not move", *run.reasons))
    rhat = float(array_stats.rhat(values, method="rank"))
    bulk = float(array_stats.ess(values, method="bulk"))
    tail = float(array_stats.ess(values, method="tail", prob=(0.05, 0.95)))
    return Convergence(rhat, bulk, tail, (*_reasons(rhat, bulk, tail), *run.reasons))


def of_several(each: Sequence[Convergence]) -> Convergence:
    """Verdict on the draws of several runs together: each has mixed, and all are enough."""
    ranked = [one for one in each if np.isfinite(one.rhat)]
    own = [why for one in each for why in one.reasons if "ESS" not in why]
    if not ranked:
        return Convergence(np.nan, np.nan, np.nan, tuple(dict.fromkeys(own)))
    rhat = max(one.rhat for one in ranked)
    bulk, tail = sum(one.ess_bulk for one in ranked), sum(one.ess_tail for one in ranked)
    few = _reasons(0.0, bulk, tail)
    return Convergence(rhat, bulk, tail, tuple(dict.fromkeys([*own, *few])))


def concentration(values: np.ndarray) -> float:
    """Largest share of draws (chain, draw) at one value that chains leave and return to.

    A chain that is stuck stays at its value once, and no other chain finds the same number: a
    continuous quantity has no concentration, whether its chains move or not.
    """
    moved = np.diff(values, axis=1, prepend=np.nan) != 0  # first draws count as arrivals
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    arrivals = np.bincount(place.reshape(values.shape)[moved], minlength=counts.size)
    return float(counts[arrivals > 1].max(initial=0)) / values.size


def _by_probability(values: np.ndarray) -> list[str]:
    """Judge P(x < q) and P(x <= q): q the mode, the printed quantiles and the quartiles."""
    points, counts = np.unique(values, return_counts=True)
    at = np.quantile(values, [0.025, 0.25, 0.5, 0.75, 0.975], method="closest_observation")
    cuts = np.unique([*at, points[counts.argmax()]])
    worst = max(_error(true) for q in cuts for true in (values < q, values <= q))
    if worst <= MCSE_MAX:
        return []
    return [f"MCSE of a probability {worst:.3f}, at most {MCSE_MAX:g} allowed"]


def _error(true: np.ndarray) -> float:
    """Monte-Carlo error by autocorrelation, or by how far halves of chains differ, if larger."""
    size = true.shape[1] // 2
    halves = np.concatenate([true[:, :size], true[:, -size:]]).mean(axis=1)
    return max(probability_error(true), float(halves.std(ddof=1)) / np.sqrt(halves.size))


def _reasons(rhat: float, bulk: float, tail: float) -> list[str]:
    reasons = []
    if not rhat <= RHAT_MAX:
        reasons.append(f"R-hat {rhat:.3f}")
    if not bulk >= ESS_MIN:
        reasons.append(f"bulk ESS {bulk:.0f}")
    if not tail >= ESS_MIN:
        reasons.append(f"tail ESS {tail:.0f}")
    return reasons


def quantile_errors(draws: np.ndarray, probabilities: list[float]) -> list[float]:
    """Monte-Carlo standard errors of quantiles of ``draws`` (chain, draw), on their scale.

    Order statistics under the effective sample size of each quantile (Vehtari et al. 2021,
    section 4.4, by ArviZ). A quantity that is the same in every draw has no error; where a chain
    stands still or a draw is no number, the error is not known (NaN). Draws at the edge of a scale
    (the log of 0) are very large numbers there.
    """
    from arviz_stats.base import array_stats

    if np.isnan(draws).any():
        return [float("nan")] * len(probabilities)
    edged = np.clip(draws, -_EDGE, _EDGE)
    if np.ptp(edged) <= 1e-12 * max(
        1.0, float(np.abs(edged[np.abs(edged) < _EDGE]).max(initial=0))
    ):
        return [0.0] * len(probabilities)
    if edged.shape[1] < 4 or not np.ptp(edged, axis=1).all():
        return [float("nan")] * len(probabilities)
    errors = [float(array_stats.mcse(edged, method="quantile", prob=p)) for p in probabilities]
    return [error if error < _EDGE / 1e9 else float("nan") for error in errors]


def probability_error(true: np.ndarray) -> float:
    """Monte-Carlo standard error of the share of draws (chain, draw) in which something is true.

    Where all draws agree, 1/n stands in: the most that one draw more could change.
    """
    from arviz_stats.base import array_stats

    share = float(true.mean())
    if share in (0.0, 1.0):
        return 1.0 / true.size
    effective = float(array_stats.ess(true.astype(float), method="mean"))
    return float(np.sqrt(share * (1 - share) / effective)) if effective > 0 else float("nan")
