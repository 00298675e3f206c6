"""Where labelled (``pymc.dims``) and core PyMC meet: what ``pymc.dims`` does not have."""

from __future__ import annotations

from typing import Any

import numpy as np


def number(name: str, value: float) -> Any:
    """Hold one number as a data variable of double precision.

    ``pymc.dims.Data`` keeps a Python number in single precision where it is exact there: its type
    would depend on its value, and so would the graph.
    """
    import pymc.dims as pmd

    return pmd.Data(name, np.asarray(value, dtype=np.float64))


def multinomial(name: str, counts: Any, share: Any) -> Any:
    """Observe ``counts`` as multinomial over the last dimension of ``counts``, one per row.

    ``counts`` (data variable, dims ``(row, category)``) holds the observed numbers; ``share`` (the
    same dims in any order) the probabilities. A row without patients contributes nothing.
    """
    import pymc as pm

    observed = counts.values
    return pm.Multinomial(
        name,
        n=observed.sum(axis=-1),
        p=share.transpose(*counts.type.dims).values,
        observed=observed,
        dims=counts.type.dims,
    )


def cumulative_logit_share(baseline: Any, shift: Any) -> Any:
    """Return shares (row, category): the cumulated ``baseline`` (category), its logits moved down.

    ``shift`` (row) is a log odds ratio of a higher category, the same at every cut.
    """
    import pytensor.tensor as pt
    from pytensor.xtensor import as_xtensor

    below = pt.cumsum(baseline.values)[:-1]
    cut = pt.log(below) - pt.log1p(-below)
    cumulative = pt.sigmoid(cut[None, :] - shift.values[:, None])
    ends = pt.zeros_like(cumulative[:, :1])
    share = pt.diff(pt.concatenate([ends, cumulative, ends + 1], axis=1), axis=1)
    return as_xtensor(share, dims=(*shift.type.dims, *baseline.type.dims))
