"""What a clinician asks of a transition matrix, as draws: pure functions of labelled arrays.

``transition`` (..., her2_primary, her2) has rows that sum to 1; ``share`` (..., her2_primary)
are the shares of the primary classes: the observed ones answer for *this cohort*, drawn ones for a
*new cohort*. Leading dims (chain, draw, stratum) pass through.

    flow[i,j]     = share[i] * transition[i,j]
    discordance   = sum_{i != j} flow[i,j]
    gain[c]       = sum_{i != c} flow[i,c]         of all patients
    loss[c]       = sum_{j != c} flow[c,j]
    kappa         = (observed - chance) / (1 - chance),  observed = sum_i flow[i,i],
                    chance = sum_c share[c] * recurrence_share[c]
"""

from __future__ import annotations

import xarray as xr

PRIMARY, RECURRENCE = "her2_primary", "her2"


def flows(transition: xr.DataArray, share: xr.DataArray) -> xr.DataArray:
    """Probability of each pair of classes, (..., her2_primary, her2)."""
    return transition * share


def recurrence_share(flow: xr.DataArray) -> xr.DataArray:
    """Share of each class at recurrence, (..., her2)."""
    return flow.sum(PRIMARY)


def discordance(flow: xr.DataArray) -> xr.DataArray:
    """Probability that the class changes."""
    return _off_diagonal(flow).sum((PRIMARY, RECURRENCE))


def gain(flow: xr.DataArray, name: str) -> xr.DataArray:
    """Probability of having class ``name`` at recurrence and not at the primary."""
    return _off_diagonal(flow).sel({RECURRENCE: name}, drop=True).sum(PRIMARY)


def loss(flow: xr.DataArray, name: str) -> xr.DataArray:
    """Probability of having class ``name`` at the primary and not at recurrence."""
    return _off_diagonal(flow).sel({PRIMARY: name}, drop=True).sum(RECURRENCE)


def flow_difference(flow: xr.DataArray, start: str, end: str) -> xr.DataArray:
    """Flow ``start -> end`` minus the flow back; positive where more patients go than return."""
    return _cell(flow, start, end) - _cell(flow, end, start)


def kappa(flow: xr.DataArray) -> xr.DataArray:
    """Cohen's kappa of the two readings; NaN where one class holds all patients."""
    observed = flow.sum((PRIMARY, RECURRENCE)) - discordance(flow)
    primary = flow.sum(RECURRENCE).rename({PRIMARY: RECURRENCE})
    chance = (primary * recurrence_share(flow)).sum(RECURRENCE)
    return ((observed - chance) / (1 - chance)).where(chance < 1)


def pooled(flow: xr.DataArray, weight: xr.DataArray, dim: str = "stratum") -> xr.DataArray:
    """Flow over several strata together; ``weight`` are their shares of the patients (sum to 1)."""
    return (flow * weight).sum(dim)


def rows(flow: xr.DataArray) -> xr.DataArray:
    """Transition probabilities that a flow implies; rows without patients are NaN."""
    total = flow.sum(RECURRENCE)
    return flow / total.where(total > 0)


def observed_share(counts: xr.DataArray) -> xr.DataArray:
    """Shares of the primary classes from a table of pairs (..., her2_primary, her2); 0/0 is NaN."""
    primary = counts.sum(RECURRENCE)
    total = primary.sum(PRIMARY)
    return primary / total.where(total > 0)


def _off_diagonal(flow: xr.DataArray) -> xr.DataArray:
    return flow.where(flow[PRIMARY] != flow[RECURRENCE], 0.0)


def _cell(flow: xr.DataArray, start: str, end: str) -> xr.DataArray:
    return flow.sel({PRIMARY: start, RECURRENCE: end}, drop=True)
