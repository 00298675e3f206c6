"""From a model and its data to stored draws: build, sample, predictive draws, log densities.

A fit is named by what it depends on (``Fit.fit_id``): what its code means, data, priors, options,
sampling settings, versions, compiler flags. With a ``Store`` an equal fit is read back
without importing PyMC at all.

A scenario's fit: draws and prior draws only, from the model compiled once for its structure.

``inference.fit`` also keeps predictive draws and densities, which a hundred scenarios do not need.
Log densities are added where the fit is to be power-scaled.
"""

from __future__ import annotations

import ast
import inspect
import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from time import perf_counter
from typing import Any

import xarray as xr

from her2bayes.bayes.levels import is_padding
from her2bayes.bayes.prior import Prior, complete
from her2bayes.inference.convergence import Diagnostics, diagnostics
from her2bayes.inference.meaning import PACKAGE, meaning
from her2bayes.inference.own_model import check, is_of_user
from her2bayes.inference.progress import waiting
from her2bayes.inference.sampling import Sampling
from her2bayes.inference.store import Store, data_digest, fit_key
from her2bayes.inference.structure import FLAGS
from her2bayes.version import __version__, versions


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

    def fit(self, sampling: Sampling, store: Store | None = None, cores: int | None = None) -> Fit:
        """Fit the model with all that is kept of one, or read it from the store."""
        return fit(
            self.build, self.data, priors=self.priors, options=self.options,
            sampling=sampling, store=store, cores=cores,
        )  # fmt: skip

    @property
    def name(self) -> str:
        """Name of the model file."""
        return self.build.__module__.rsplit(".", 1)[-1]


@dataclass(frozen=True)
class Refit:
    """Draws of one scenario: ``posterior`` and ``prior`` without padding, ``raw`` as sampled.

    ``densities`` holds log likelihood and log prior where asked for; ``model`` is what was sampled.
    """

    posterior: xr.Dataset
    prior: xr.Dataset
    raw: xr.Dataset
    diagnostics: Diagnostics
    seconds: dict[str, float]
    densities: tuple[xr.Dataset, xr.Dataset] | None = None
    model: Any = None


def refit(spec: Specification, sampling: Sampling, *, densities: bool = False) -> Refit:
    """Sample a scenario's model; the compiled structure is re-used within a process."""
    from her2bayes.inference import densities as log_density
    from her2bayes.inference import engine

    start = perf_counter()
    with engine.compiler_flags():
        model = spec.model()
        posterior, stats, seconds = engine.sample(model, sampling, cores=1, name=spec.name)
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
        model,
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


log = logging.getLogger(__name__)

_DESIGN = ("subgroup", "stratum", "event")  # dims of what is compared
GROUPS = (
    "posterior",
    "sample_stats",
    "prior",
    "prior_predictive",
    "posterior_predictive",
    "replicates",
    "log_likelihood",
    "log_prior",
    "observed_data",
)


@dataclass(frozen=True)
class Fit:
    """Draws of one model on one data set, with where they come from.

    ``tree`` holds the groups of ``GROUPS``; ``posterior`` has dims ``(chain, draw, ...)``.
    ``provenance`` names model, versions, priors, options, sampling, digests, flags and times.
    """

    tree: xr.DataTree
    provenance: dict[str, Any]

    @property
    def fit_id(self) -> str:
        """Twelve hexadecimal digits: equal for equal model, data, settings and versions."""
        return str(self.provenance["fit_id"])

    @property
    def model(self) -> str:
        """Name of the model file."""
        return str(self.provenance["model"])

    @cached_property
    def posterior(self) -> xr.Dataset:
        """Posterior draws."""
        return self.tree["posterior"].to_dataset()

    @cached_property
    def prior(self) -> xr.Dataset:
        """Prior draws of the same quantities, in one chain."""
        return self.tree["prior"].to_dataset()

    @cached_property
    def diagnostics(self) -> Diagnostics:
        """Divergences and E-BFMI of the run."""
        return diagnostics(self.tree["sample_stats"].to_dataset())


def fit(
    build: Callable[..., Any],
    data: Any,
    *,
    priors: Mapping[str, Prior] | None = None,
    options: Mapping[str, Any] | None = None,
    sampling: Sampling = Sampling(),  # noqa: B008 (frozen)
    store: Store | None = None,
    cores: int | None = None,
    progress: bool = False,
) -> Fit:
    """Fit ``build(data, priors, **options)``, or read the equal fit from ``store``.

    ``build`` is the function of a model file, beside its ``DEFAULT_PRIORS``; ``data`` a labelled
    array, dataset or mapping of these. A user's own model is checked before it is sampled.
    ``cores`` changes the time only, never the draws.
    Raises ``BadInput`` for an unknown prior, one that is no distribution, and a store that cannot
    be written.
    """
    defaults = build.__globals__.get("DEFAULT_PRIORS", {})
    priors = complete(priors, defaults)
    options = dict(options or {})
    identity = _identity(build, data, priors, options, sampling)
    fit_id, model = fit_key(identity), identity["model"]

    def fresh() -> Fit:
        if is_of_user(build):
            check(build, data, priors, options)
        return _compute(build, data, priors, options, sampling, identity, cores, progress)

    if store is None:
        return _explained(fresh(), build, priors)
    tree = store.load(model, fit_id)
    if tree is None:
        with store.lock(fit_id):
            tree = store.load(model, fit_id)  # another process may have finished it meanwhile
            if tree is None:
                found = fresh()
                store.save(model, fit_id, found.tree)
                return _explained(found, build, priors)
    log.info("fit %s of %s read from %s", fit_id, model, store.folder)
    return _explained(Fit(tree, json.loads(tree.attrs["provenance"])), build, priors)


def _explained(found: Fit, build: Callable[..., Any], priors: Mapping[str, Prior]) -> Fit:
    """Add what is no part of a fit's identity: words on its priors, a user's model in words."""
    provenance = dict(found.provenance)
    provenance["means"] = {name: value.means for name, value in priors.items() if value.means}
    file = Path(inspect.getsourcefile(build) or "")
    if build.__module__.partition(".")[0] != PACKAGE and file.is_file():
        provenance["own_model"] = {
            "file": str(file),
            "equations": ast.get_docstring(ast.parse(file.read_text("utf-8"))) or "",
        }
    found.tree.attrs["provenance"] = json.dumps(provenance)
    return Fit(found.tree, provenance)


def _identity(
    build: Callable[..., Any],
    data: Any,
    priors: Mapping[str, Prior],
    options: Mapping[str, Any],
    sampling: Sampling,
) -> dict[str, Any]:
    return {
        "model": build.__module__.rsplit(".", 1)[-1],
        "package": __version__,
        "source": meaning(build),
        "engine": meaning(_compute),
        "data": data_digest(data),
        "priors": {name: str(value) for name, value in sorted(priors.items())},
        "options": {name: repr(value) for name, value in sorted(options.items())},
        "sampling": asdict(sampling),
        "versions": versions(),
        "flags": FLAGS,
    }


def _compute(
    build: Callable[..., Any],
    data: Any,
    priors: Mapping[str, Prior],
    options: Mapping[str, Any],
    sampling: Sampling,
    identity: dict[str, Any],
    cores: int | None,
    progress: bool,
) -> Fit:
    from her2bayes.inference import densities, engine

    start = perf_counter()
    with engine.compiler_flags():
        model = build(data, priors, **options)
        name = identity["model"]
        posterior, stats, seconds = engine.sample(
            model, sampling, cores=cores, progress=progress, name=name
        )
        with waiting("drawing predictions of", name):
            prior, prior_predictive = densities.prior_draws(model, sampling.seed)
            likelihood, log_prior = densities.log_densities(model, posterior)
            groups = (
                posterior,
                stats,
                prior,
                prior_predictive,
                densities.posterior_predictive(model, posterior, sampling.seed),
                densities.replicates(model, posterior, sampling.seed),
                likelihood,
                log_prior,
                densities.observed_data(model),
            )
    seconds = {name: round(value, 2) for name, value in seconds.items()}
    seconds["all"] = round(perf_counter() - start, 2)
    provenance = {"fit_id": fit_key(identity), **identity, "seconds": seconds}
    provenance["patients"] = patients_of(data)
    kept = {
        name: _with_values(without_padding(group))
        for name, group in zip(GROUPS, groups, strict=True)
    }
    tree = xr.DataTree.from_dict(kept)
    tree.attrs["provenance"] = json.dumps(provenance)
    log.info("fit %s of %s: %s s", provenance["fit_id"], identity["model"], seconds)
    return Fit(tree, provenance)


def patients_of(data: Any) -> dict[str, int]:
    """Patients by level of what is compared: the design of a fit; empty where data tell none."""
    if isinstance(data, xr.Dataset):
        data = data.get("patients", data.get("counts"))
    if not isinstance(data, xr.DataArray):
        return {}
    dim = next((str(name) for name in data.dims if name in _DESIGN), "")
    if not dim or dim not in data.coords:
        return {}
    counted = data.sum([name for name in data.dims if name != dim])
    return {
        str(level): int(n) for level, n in zip(counted[dim].values, counted.values, strict=True)
    }


def _with_values(group: xr.Dataset) -> xr.Dataset:
    return group[[name for name, array in group.items() if array.size]]


@dataclass(frozen=True)
class ExactFit:
    """Name of a computed posterior: what a fit is for a sampled one.

    ``inputs`` are all numbers it depends on; ``model`` is the file that holds its equations.
    """

    model: str
    inputs: Mapping[str, Any] = field(default_factory=dict)

    @property
    def fit_id(self) -> str:
        """Twelve hexadecimal digits, equal for equal inputs."""
        return fit_key({"model": self.model, **{k: repr(v) for k, v in self.inputs.items()}})
