"""A model small enough to compile in seconds, and a fit of it that all tests read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
import xarray as xr

from her2bayes.bayes.levels import number, padded
from her2bayes.bayes.prior import Prior, complete, prior
from her2bayes.inference.fit import Fit, fit
from her2bayes.inference.sampling import Sampling

DEFAULT_PRIORS = {"log_rate": prior("Normal", mu=0.0, sigma=1.5)}
SHORT = Sampling(draws=300, tune=300, chains=2)


def build(data: xr.DataArray, priors: Mapping[str, Prior] | None = None, *, twice: bool = False):
    """Poisson counts of centres, padded to four; ``twice`` changes the graph, not the shapes."""
    import pymc as pm
    import pymc.dims as pmd

    priors = complete(priors, DEFAULT_PRIORS)
    labels = padded(data["centre"].values, 4)
    events = np.pad(data.values, (0, 4 - len(data)))
    exposure = np.pad(np.ones(len(data)), (0, 4 - len(data)), constant_values=1e-6)
    with pm.Model(coords={"centre": labels}) as model:
        observed = pmd.Data("counts", events, dims="centre")
        time = pmd.Data("exposure", exposure, dims="centre")
        sd = number("sd", priors["log_rate"]["sigma"])
        log_rate = pmd.Normal("log_rate", mu=0, sigma=sd, dims="centre")
        rate = pmd.Deterministic("rate", pmd.math.exp(log_rate * (2 if twice else 1)))
        pmd.Poisson("events", mu=rate * time, observed=observed)
    return model


def centres(events: list[int], labels: str) -> xr.DataArray:
    """Counts by centre."""
    return xr.DataArray(np.array(events), dims="centre", coords={"centre": list(labels)})


@pytest.fixture(scope="session")
def toy() -> Callable[..., Any]:
    return build


@pytest.fixture(scope="session")
def make_centres() -> Callable[..., xr.DataArray]:
    return centres


@pytest.fixture(scope="session")
def toy_fit() -> Fit:
    """Three centres, sampled once."""
    return fit(build, centres([2, 30, 7], "abc"), sampling=Sampling(seed=1))
