"""Terms of a log hazard as PyMC variables: what every survival model builds from its parts.

Parameters of priors and bases are data variables, so that models which differ in them alone share
one compiled graph.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from her2bayes.bayes.prior import Prior
from her2bayes.bayes.survival_parts import Part


def term(part: Part, priors: Mapping[str, Prior], lead: tuple[str, ...]) -> Any:
    """Term of one part: basis . coefficient, its scale learned where there is enough to learn."""
    import pymc.dims as pmd

    dim = f"{part.name}_coefficient"
    _add_dim(dim, part.basis.sizes["coefficient"])
    basis = pmd.Data(
        f"{part.name}_basis",
        part.basis.values * part.factor,
        dims=(*part.basis.dims[:-1], dim),
    )
    if part.learned:
        scale = variable(part.scale, priors, part.prior, dims=lead)
        centring = pmd.Data(f"{part.name}_centring", part.centring, dims=(*lead, dim))
        free = pmd.Normal(f"{part.name}_free", mu=0, sigma=scale**centring, dims=(*lead, dim))
        coefficient = free * scale ** (1 - centring)
    else:
        coefficient = variable(part.scale, priors, part.prior, dims=(*lead, dim))
    term = (basis * coefficient).sum(dim)
    dims = (*lead, *part.basis.dims[:-1])
    return pmd.Deterministic(f"term_{part.name}", term.transpose(*dims))


def variable(
    name: str, priors: Mapping[str, Prior], key: str | None = None, dims: tuple[str, ...] = ()
) -> Any:
    """Random variable with the prior ``key``; its parameters are data, so a sweep compiles once."""
    import pymc.dims as pmd

    given = priors[key or name]
    parameters = {k: pmd.Data(f"{name}_{k}", float(v)) for k, v in given.parameters}  # type: ignore[arg-type]
    return getattr(pmd, given.distribution)(name, **parameters, dims=dims)


def _add_dim(dim: str, size: int) -> None:
    import pymc as pm

    pm.modelcontext(None).add_coord(dim, list(range(size)))
