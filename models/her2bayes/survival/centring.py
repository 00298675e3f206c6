"""Rough sizes of the scales of a survival model, from the data, to choose its parametrisation.

Nothing here enters the posterior: a wrong guess costs sampling efficiency only. Part by part, a
ridge Poisson regression on the cells summed over all else gives coefficients (Breslow & Clayton
1993); without their shrinkage they are about Normal(0, scale^2 + 1/precision), which says which
scales are likely.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import xarray as xr

from her2bayes.survival.parts import Part

SWEEPS, NEWTON_STEPS = 8, 4
SCALES = np.geomspace(1e-4, 3.0, 60)


def centred(cells: xr.Dataset, parts: Sequence[Part]) -> list[Part]:
    """Set the centring of each part: the share of a coefficient's precision that is the data's.

    Dims (coefficient), with a leading ``cause`` where the cells have causes.
    """
    events = cells["events"]
    by_cause = (
        [events.sel(cause=c) for c in events["cause"]] if "cause" in events.dims else [events]
    )
    shares = [_shares(one, cells["person_months"], parts) for one in by_cause]
    found = []
    for number, part in enumerate(parts):
        stacked = np.stack([share[number] for share in shares])
        found.append(replace(part, centring=stacked if "cause" in events.dims else stacked[0]))
    return found


def _shares(
    events: xr.DataArray, person_months: xr.DataArray, parts: Sequence[Part]
) -> list[np.ndarray]:
    months = person_months * ((float(events.sum()) + 0.5) / float(person_months.sum()))
    found = {part.name: _Guess(np.zeros(part.basis.sizes["coefficient"])) for part in parts}
    for _ in range(SWEEPS):
        for part in parts:
            others = [p.basis @ found[p.name].labelled for p in parts if p.name != part.name]
            expected = months * np.exp(sum(others, start=xr.DataArray(0.0)))
            found[part.name] = _ridge(part, events, expected, found[part.name])
    known = [found[part.name].precision * found[part.name].scale ** 2 for part in parts]
    return [part.learned * k / (1 + k) for part, k in zip(parts, known, strict=True)]


@dataclass(frozen=True)
class _Guess:
    coefficient: np.ndarray
    scale: float = 0.3
    precision: np.ndarray = field(default_factory=lambda: np.ones(1))

    @property
    def labelled(self) -> xr.DataArray:
        return xr.DataArray(self.coefficient, dims="coefficient")


def _ridge(part: Part, events: xr.DataArray, expected: xr.DataArray, guess: _Guess) -> _Guess:
    """Improve coefficients and scale of one part, given what the other parts expect."""
    dims = [dim for dim in part.basis.dims if dim != "coefficient"]
    rest = [dim for dim in events.dims if dim not in dims]
    count = events.sum(rest).transpose(*dims).values.ravel()
    mean = expected.sum(rest).transpose(*dims).values.ravel()
    basis = part.basis.transpose(*dims, "coefficient").values.reshape(len(count), -1)
    basis = np.column_stack([basis, np.ones(len(count))])  # and a level of its own, unpenalised
    b = np.append(guess.coefficient, 0.0)
    ridge = np.append(np.full(len(b) - 1, guess.scale**-2.0), 0.0)
    for _ in range(NEWTON_STEPS):
        fitted = mean * np.exp(basis @ b)
        data = basis.T @ (basis * fitted[:, None])
        step = np.linalg.solve(data + np.diag(ridge), basis.T @ (count - fitted) - ridge * b)
        b = b + step / max(1.0, float(np.abs(basis @ step).max()))
    b, ridge, data = b[:-1], ridge[:-1], data[:-1, :-1]
    precision = np.maximum(np.diag(data), 1e-12)
    return _Guess(b, _likely_scale(b * (1 + ridge / precision), precision), precision)


def _likely_scale(unshrunk: np.ndarray, precision: np.ndarray) -> float:
    """Lower decile of the scale given the coefficients, under a scale even between 0 and 3.

    Low because too little centring costs some effective draws, too much of it divergences.
    """
    variance = SCALES[:, None] ** 2 + 1 / precision
    loglik = -0.5 * (np.log(variance) + unshrunk**2 / variance).sum(axis=1)
    # the grid is even in the logarithm, so a weight even in the scale is the scale itself
    weight = np.cumsum(np.exp(loglik - loglik.max()) * SCALES)
    return float(SCALES[np.searchsorted(weight, 0.1 * weight[-1])])
