"""What a fallible assay makes of change: true against observed discordance, as draws.

true_discordance      = sum_{i != j} primary_share_i transition_ij            of true classes
observed_discordance  = sum_{o1 != o2} observed_flow_{o1 o2}
unchanged_given_observed_change = sum_{o1 != o2} unchanged_flow_{o1 o2} / observed_discordance
"""

from __future__ import annotations

import xarray as xr


def true_discordance(draws: xr.Dataset) -> xr.DataArray:
    """Probability that the true class changes (..., stratum)."""
    flow = draws["primary_share"] * draws["transition"]
    return flow.where(flow["her2_primary"] != flow["her2"], 0.0).sum(("her2_primary", "her2"))


def observed_discordance(draws: xr.Dataset) -> xr.DataArray:
    """Probability that the two readings differ (..., stratum)."""
    return _differing(draws["observed_flow"])


def unchanged_given_observed_change(draws: xr.Dataset) -> xr.DataArray:
    """Probability that the true class is unchanged where the readings differ (..., stratum)."""
    return _differing(draws["unchanged_flow"]) / observed_discordance(draws)


def accuracy(draws: xr.Dataset) -> xr.DataArray:
    """Probability that a sample of the cohort is read right, over true classes of both samples."""
    right = xr.concat(
        [draws["misclassification"].sel(her2=name, read=name, drop=True)
         for name in draws["her2"].values], dim=draws["her2"],
    )  # fmt: skip
    first = draws["primary_share"].rename(her2_primary="her2")
    second = (draws["primary_share"] * draws["transition"]).sum("her2_primary")
    return (right * (first + second)).sum("her2") / 2


def _differing(flow: xr.DataArray) -> xr.DataArray:
    return flow.where(flow["read_primary"] != flow["read"], 0.0).sum(("read_primary", "read"))
