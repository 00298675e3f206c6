"""A scenario's fit: draws and prior draws only, from the model compiled once for its structure.

``inference.fit`` also keeps predictive draws and densities, which a hundred scenarios do not need.
Log densities are added where the fit is to be power-scaled.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

import xarray as xr

from her2bayes.bayes.levels import is_padding
from her2bayes.bayes.prior import Prior
from her2bayes.inference.convergence import Diagnostics, diagnostics
from her2bayes.inference.sampling import Sampling


@dataclass(frozen=True)
class Specification:
    """A model and what it reads: ``build(data, priors, **options)``.

    ``top_level`` names the parameters whose priors are power-scaled: never effects of groups.
    ``transport`` (draws, other) moves draws of the same model under ``other`` priors to where they
    mean the same quantities under these; it may change volumes by a constant factor only.
    ``prior_key``, where given, is equal for models with equal priors of everything derived.
    """

    build: Callable[..., Any]
    data: Any
    priors: Mapping[str, Prior]
    options: Mapping[str, Any] = field(default_factory=dict)
    top_level: tuple[str, ...] = ()
    transport: Callable[[xr.Dataset, Specification], xr.Dataset] | None = None
    prior_key: str = ""

    def model(self) -> Any:
        """Build the model; call within ``engine.compiler_flags``."""
        return self.build(self.data, dict(self.priors), **dict(self.options))

    @property
    def name(self) -> str:
        """Name of the model file."""
        return self.build.__module__.rsplit(".", 1)[-1]


@dataclass(frozen=True)
class Refit:
    """Draws of one scenario: ``posterior`` and ``prior`` without padding, ``raw`` as sampled.

    ``densities`` holds log likelihood and log prior where asked for.
    """

    posterior: xr.Dataset
    prior: xr.Dataset
    raw: xr.Dataset
    diagnostics: Diagnostics
    seconds: dict[str, float]
    densities: tuple[xr.Dataset, xr.Dataset] | None = None


def refit(spec: Specification, sampling: Sampling, *, densities: bool = False) -> Refit:
    """Sample a scenario's model; the compiled structure is re-used within a process."""
    from her2bayes.inference import densities as log_density
    from her2bayes.inference import engine

    start = perf_counter()
    with engine.compiler_flags():
        model = spec.model()
        posterior, stats, seconds = engine.sample(model, sampling, cores=1)
        prior = drawn_prior(spec, model, sampling.seed)
        logs = log_density.log_densities(model, posterior) if densities else None
    seconds["all"] = perf_counter() - start
    return Refit(
        without_padding(posterior),
        prior,
        posterior,
        diagnostics(stats),
        {name: round(value, 3) for name, value in seconds.items()},
        None if logs is None else (without_padding(logs[0]), without_padding(logs[1])),
    )


_KEPT = 8  # sets of prior draws, a few MB each
_PRIORS: dict[str, xr.Dataset] = {}  # of this process, by prior_key and seed


def drawn_prior(spec: Specification, model: Any, seed: int) -> xr.Dataset:
    """Prior draws without padding; those of an equal ``prior_key`` are drawn once."""
    from her2bayes.inference.densities import prior_draws

    name = f"{seed} {spec.prior_key}"
    if spec.prior_key and name in _PRIORS:
        return _PRIORS[name]
    draws = without_padding(prior_draws(model, seed)[0])
    if spec.prior_key:
        if len(_PRIORS) >= _KEPT:
            _PRIORS.pop(next(iter(_PRIORS)))
        _PRIORS[name] = draws
    return draws


def without_padding(group: xr.Dataset) -> xr.Dataset:
    """Drop the places without data that only made shapes equal."""
    for dim in group.dims:
        if dim in group.coords:
            group = group.isel({dim: [not is_padding(label) for label in group[dim].values]})
    return group
