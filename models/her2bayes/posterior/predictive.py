"""Data a model expects, before and after it saw the data, beside the data observed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import xarray as xr

from her2bayes.posterior.estimates import INTERVAL

if TYPE_CHECKING:
    import pandas as pd


def predictive_table(tree: xr.DataTree) -> pd.DataFrame:
    """Summarise replicated data by cell: one row per cell of every observed variable.

    Columns: the dimensions of the data, ``observed``, then median, lower and upper of prior and
    posterior replicates (95 % equal-tailed) and ``tail``: the smaller of the posterior predictive
    probabilities of a value at most and at least as large as observed.
    """
    import pandas as pd

    tables = []
    replicated = {g: tree[f"{g}_predictive"].to_dataset() for g in ("prior", "posterior")}
    for name, observed in tree["observed_data"].to_dataset().items():
        columns = {"observed": observed}
        for group, replicates in replicated.items():
            columns |= _interval(group, replicates[name])
        draws = replicated["posterior"][name]
        least, most = (draws <= observed), (draws >= observed)
        columns["tail"] = xr.concat([least, most], "side").mean(("chain", "draw")).min("side")
        table = xr.Dataset({key: array.variable for key, array in columns.items()}, observed.coords)
        tables.append(table.to_dataframe()[list(columns)].reset_index())
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()


def _interval(group: str, draws: xr.DataArray) -> dict[str, xr.DataArray]:
    tail = (1 - INTERVAL) / 2
    points = {"median": 0.5, "lower": tail, "upper": 1 - tail}
    bounds = draws.quantile(list(points.values()), dim=("chain", "draw"))
    names = [f"{group}_{part}" for part in points]
    return {name: bounds.isel(quantile=i, drop=True).rename(name) for i, name in enumerate(names)}
