"""Levels of a factor, possibly nested in those of a parent factor, as orthonormal contrasts.

For L levels the effects that sum to zero over levels are ``contrast @ effect`` with L - 1
effects, where the columns of ``contrast`` are an orthonormal basis (Helmert) of the vectors that
sum to zero. Independent normal effects with sd ``s`` give each level an effect with marginal sd
``s * sqrt(1 - 1/L)``: exactly PyMC's ``ZeroSumNormal(sigma=s)`` over levels. With contrasts as
data, factors with any number of levels, flat or nested, are one and the same model graph.

Places without data that give tables of different size one shape, hence one compiled model.

A place is marked by its label. It carries no patients and no effect of its own, hence changes no
other draw's distribution; ``inference`` drops it from everything a fit returns.

Shares of ordered categories: a baseline, and one shift of the log odds for each subgroup; with what
``pymc.dims`` does not have for them. The equations stand in the files of their models.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from scipy.linalg import helmert

from her2bayes.bayes.prior import Prior
from her2bayes.errors import BadInput, Fault, raise_if

if TYPE_CHECKING:
    import pymc as pm

_MARK = "(no data) "


def places(needed: int, least: int = 8) -> int:
    """Return the size to pad to: the first of ``least``, twice it, four times it, ... that fits."""
    size = least
    while size < needed:
        size *= 2
    return size


def padded(labels: Iterable[Any], size: int) -> list[str]:
    """Extend labels to ``size`` with marked places."""
    known = [str(label) for label in labels]
    return known + [f"{_MARK}{place}" for place in range(len(known) + 1, size + 1)]


def is_padding(label: Any) -> bool:
    """Tell whether a label marks a place without data."""
    return isinstance(label, str) and label.startswith(_MARK)


FAMILY = ("parent", "level")
POOLING = ("partial", "fixed", "complete")


def design(counts: xr.DataArray, pooling: str = "partial") -> xr.Dataset:
    """Describe StatusCounts (dims ``subgroup``, category) for a linear term, padded to one shape.

    Variables: ``counts`` (subgroup, category), ``contrast`` (subgroup, effect), and by effect the
    0/1 matrix ``member`` (effect, family), 0/1 ``learned`` and ``information``. The family
    "level" holds the effects of levels (within their parent where nested), "parent" those of
    parents. ``pooling``: "partial" learns the spread of a family with two or more effects (two
    levels are one effect, which cannot teach it), "fixed" learns none, "complete" has no effects.
    Raises ``BadInput`` for counts that are negative or not whole, and for an unknown pooling.
    """
    raise_if(_faults(counts, pooling))
    families = {} if pooling == "complete" else _families(counts)
    rows, size = counts.sizes["subgroup"], places(counts.sizes["subgroup"])
    contrast = np.zeros((size, size))
    member = np.zeros((size, len(FAMILY)))
    learned = np.zeros(size)
    names: list[str] = []
    for name, columns in families.items():
        span = slice(len(names), len(names) + columns.shape[1])
        contrast[:rows, span] = columns
        member[span, FAMILY.index(name)] = 1
        learned[span] = pooling == "partial" and columns.shape[1] > 1
        names += [f"{name} {number}" for number in range(1, columns.shape[1] + 1)]
    member[len(names) :, 0] = 1  # an unused effect still needs a scale; its contrast is zero
    values = counts.transpose("subgroup", ...).values
    category = str(counts.transpose("subgroup", ...).dims[1])
    table = np.zeros((size, values.shape[1]), dtype=np.int64)
    table[:rows] = values
    return xr.Dataset(
        {
            "counts": (("subgroup", category), table),
            "contrast": (("subgroup", "effect"), contrast),
            "member": (("effect", "family"), member),
            "learned": ("effect", learned),
            "information": ("effect", information(table, contrast)),
        },
        coords={
            "subgroup": padded(counts["subgroup"].values, size),
            "effect": padded(names, size),
            "family": list(FAMILY),
            category: [str(label) for label in counts[category].values],
        },
    )


def parent_rows(counts: xr.DataArray) -> xr.Dataset:
    """Return padded ``counts``, ``one`` (category) and, where nested, the 0/1 matrix ``member``.

    ``member`` (subgroup, parent) names the parent of each subgroup. Raises ``BadInput`` as
    ``design`` does.
    """
    data = design(counts)[["counts"]].drop_vars(["effect", "family"], errors="ignore")
    category = str(data["counts"].dims[1])
    data["one"] = xr.ones_like(data[category], dtype=float)
    known = list(dict.fromkeys(parents(counts)))
    if len(known) == 1:
        return data
    member = np.zeros((data.sizes["subgroup"], places(len(known), 4)))
    of = [known.index(parent) for parent in parents(counts)]
    member[np.arange(len(member)), of + [0] * (len(member) - len(of))] = 1
    data["member"] = (("subgroup", "parent"), member)
    return data.assign_coords(parent=padded(known, member.shape[1]))


def parents(counts: xr.DataArray) -> list[str]:
    """Return the parent level of each subgroup, empty where the factor is not nested."""
    if "parent" not in counts.coords:
        return [""] * counts.sizes["subgroup"]
    return [str(parent) for parent in counts["parent"].values]


def information(counts: np.ndarray, contrast: np.ndarray) -> np.ndarray:
    """Return by effect the Fisher information the counts hold on it, per dimension of categories.

    A multinomial with shares p tells logits that sum to zero with precision ``patients * (1 -
    sum(p^2)) / (K - 1)`` on average over directions; p are the pooled shares, half a patient added
    to each category so that an empty one does not pretend to know.
    """
    pooled = counts.sum(axis=0) + 0.5
    pooled = pooled / pooled.sum()
    each = (1 - np.square(pooled).sum()) / (len(pooled) - 1)
    return each * np.square(contrast).T @ counts.sum(axis=1)


def _families(counts: xr.DataArray) -> dict[str, np.ndarray]:
    """Contrasts (subgroup, effect) of each family that has any."""
    of = np.array(parents(counts))
    known = list(dict.fromkeys(of))
    between = _basis(len(known))[[known.index(parent) for parent in of]]
    within = np.zeros((len(of), 0))
    for parent in known:
        rows = of == parent
        block = np.zeros((len(of), rows.sum() - 1))
        block[rows] = _basis(int(rows.sum()))
        within = np.hstack([within, block])
    families = {"parent": between, "level": within}
    return {name: columns for name, columns in families.items() if columns.shape[1]}


def _basis(levels: int) -> np.ndarray:
    """Return an orthonormal basis (levels, levels - 1) of the vectors that sum to zero."""
    return helmert(levels).T if levels > 1 else np.zeros((1, 0))


def _faults(counts: xr.DataArray, pooling: str) -> list[Fault]:
    faults = []
    values = np.asarray(counts.values)
    if pooling not in POOLING:
        allowed = ", ".join(POOLING)
        faults.append(Fault("unknown pooling", column="pooling", value=pooling, allowed=allowed))
    if counts.ndim != 2 or "subgroup" not in counts.dims:
        raise BadInput(
            [*faults, Fault("not StatusCounts", value=counts.dims, allowed="(subgroup, her2)")]
        )
    if counts.sizes["subgroup"] < 1 or min(counts.shape) < 1 or values.shape[-1] < 2:
        faults.append(
            Fault("too few rows or categories", value=counts.shape, allowed="1 row, 2 categories")
        )
    if not (np.isfinite(values).all() and (values >= 0).all() and (values % 1 == 0).all()):
        faults.append(Fault("counts are not whole numbers of patients", allowed="0, 1, 2, ..."))
    labels = [str(label) for label in counts["subgroup"].values]
    if len(set(labels)) != len(labels):
        faults.append(Fault("a subgroup appears twice", value=labels, remedy="add the rows up"))
    return faults


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


def ordered_shares(
    counts: xr.DataArray, priors: Mapping[str, Prior], category: str, pooling: str
) -> pm.Model:
    """Return the model of ``counts`` with dims ``subgroup`` and ``category``, in their order.

    ``priors`` are complete: ``baseline``, ``tau``, ``fixed_tau``. Variables ``baseline``, ``tau``,
    ``beta`` (shift of each subgroup) and ``share``.
    """
    import pymc as pm
    import pymc.dims as pmd

    data = design(counts, pooling)
    with pm.Model(coords={dim: data[dim].values for dim in data.dims}, check_bounds=False) as model:
        y, contrast, member, learned, information = (
            pmd.Data(name, data[name], dims=data[name].dims)
            for name in ("counts", "contrast", "member", "learned", "information")
        )
        flat = data["counts"].isel(subgroup=0) * 0 + priors["baseline"]["concentration"]
        baseline_prior = pmd.Data("baseline_prior", flat, dims=category)
        tau_scale = number("tau_scale", priors["tau"]["sigma"])
        fixed_tau = number("fixed_tau", priors["fixed_tau"]["value"])

        baseline = pmd.Dirichlet("baseline", baseline_prior, core_dims=category)
        tau = pmd.HalfNormal("tau", sigma=tau_scale, dims="family")
        scale = learned * (member * tau).sum("family") + (1 - learned) * fixed_tau
        stretch = pmd.math.sqrt(1 + information * scale**2)
        raw = pmd.Normal("raw", mu=0, sigma=stretch, dims="effect")
        effect = raw * scale / stretch
        beta = pmd.Deterministic("beta", (contrast * effect).sum("effect"))
        share = pmd.Deterministic("share", cumulative_logit_share(baseline, beta))
        multinomial("observed_counts", y, share)
    return model
