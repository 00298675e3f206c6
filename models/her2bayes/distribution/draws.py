"""Draws of what is asked of HER2 shares: the one way for rows, page, sensitivity and users.

Of a table of one factor (``Partition``, perhaps nested in a parent) or of crossed cells
(``Crossed``) and draws of a model of it, ``draws`` gives those of each estimand:

``share``: of patients as they are, the mix of everything else in a level as observed.
``standardised_share``: had all patients of the standard population the level asked for, everything
else as in that population (direct standardisation); differences likewise.
``share[... | centre=new centre]``: a group not among those seen, of an exchangeable factor.
``heterogeneity[her2 share ; f]``, ``association[her2 ; f]``: largest difference, Cramér's V.
``heterogeneity[her2 logit ; f]``: tau; of an interaction ``f_x_g``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import xarray as xr
from scipy.special import softmax

from her2bayes.bayes.levels import parents
from her2bayes.distribution import cells as cell_tables
from her2bayes.distribution.cells import Standard
from her2bayes.errors import Fault, raise_if
from her2bayes.estimand import Estimand, not_answered
from her2bayes.inference import estimates as contrasts

ORDER = ("chain", "draw")
NEW = "new {}"
"""Level of an exchangeable factor that stands for a group not seen."""


@dataclass(frozen=True)
class Partition:
    """StatusCounts (subgroup, her2) by one factor; ``factor`` is empty for all patients together.

    ``parent`` names the factor in whose levels those of ``factor`` are nested, else it is empty.
    """

    factor: str
    parent: str
    counts: xr.DataArray

    @property
    def classes(self) -> list[str]:
        """HER2 classes in order."""
        return [str(name) for name in self.counts["her2"].values]

    @property
    def levels(self) -> dict[str, list[str]]:
        """Levels of each factor; none for all patients together."""
        if not self.factor:
            return {}
        found = {self.factor: [str(level) for level in self.counts["level"].values]}
        of = {self.parent: list(dict.fromkeys(parents(self.counts)))} if self.parent else {}
        return found | of

    @property
    def terms(self) -> dict[str, str]:
        """Name of each spread as asked for, and its place along a dimension of ``tau``."""
        names = {self.factor: "level"} | ({self.parent: "parent"} if self.parent else {})
        return {name: place for name, place in names.items() if name}


@dataclass(frozen=True)
class Crossed:
    """StatusCells by crossed factors, and what the model of them was told.

    ``standard`` is the population to standardise to: the cohort itself where it is None.
    ``alpha_sigma`` is the prior scale of the common logits.
    """

    cells: xr.Dataset
    exchangeable: tuple[str, ...] = ()
    interactions: bool = True
    standard: Standard | None = None
    alpha_sigma: float = 1.5

    @property
    def classes(self) -> list[str]:
        """HER2 classes in order."""
        return [str(name) for name in self.cells["her2"].values]

    @cached_property
    def levels(self) -> dict[str, list[str]]:
        """Levels of each factor."""
        names = cell_tables.factors_of(self.cells)
        return {name: cell_tables.levels_of(self.cells, name) for name in names}

    @cached_property
    def places(self) -> list[cell_tables.Term]:
        """Terms of the linear predictor."""
        return cell_tables.terms(self.cells, self.exchangeable, interactions=self.interactions)

    @property
    def terms(self) -> dict[str, str]:
        """Name of each spread as asked for, and its place along ``term``."""
        return {term.name.replace(" x ", "_x_"): term.name for term in self.places}

    @property
    def level_of(self) -> dict[str, tuple[str, ...]]:
        """Level of each factor by cell."""
        return {f: tuple(str(v) for v in self.cells[f].values) for f in self.levels}

    @property
    def patients(self) -> np.ndarray:
        """Patients by cell, those of unknown status among them."""
        return np.asarray(self.cells["counts"].sum("reading").values)

    @property
    def population(self) -> Standard:
        """Rows and weights to standardise to."""
        return self.standard or (self.level_of, tuple(self.patients.tolist()))

    def new(self, factor: str) -> str:
        """Level that stands for a group not seen."""
        return NEW.format(factor.replace("_", " "))


Table = Partition | Crossed


def draws(
    group: xr.Dataset, table: Table, asked: Sequence[Estimand]
) -> dict[Estimand, xr.DataArray]:
    """Draws ``(chain, draw)`` of each estimand: shares between 0 and 1.

    ``group`` holds draws of a model of ``table``: ``share`` (subgroup or cell, her2) and ``tau``,
    for crossed cells also ``alpha`` and ``effects``. Raises ``BadInput`` for all estimands that the
    table does not answer, with what it does.
    """
    found = some_draws(group, table, asked)
    left = [estimand for estimand in asked if estimand not in found]
    raise_if([unanswered(estimand, [table]) for estimand in left])
    return found


def some_draws(
    group: xr.Dataset, table: Table, asked: Sequence[Estimand]
) -> dict[Estimand, xr.DataArray]:
    """Draws of those estimands that the table answers."""
    source = _Shares(group, table)
    found: dict[Estimand, xr.DataArray] = {}
    for estimand in dict.fromkeys(asked):
        answer = _answer(source, estimand)
        if answer is not None:
            extra = [name for name in answer.coords if name not in ORDER]
            found[estimand] = answer.drop_vars(extra).transpose(*ORDER)
    return found


def unanswered(estimand: Estimand, tables: Sequence[Table]) -> Fault:
    """Say that a fit does not answer an estimand, and what it does, with levels and classes."""
    her2 = estimand.outcome.removeprefix("her2=")
    exists = list(dict.fromkeys(text for table in tables for text in available(table, her2)))
    fault = not_answered(estimand, "distribution", exists)
    levels = {f: v for table in tables for f, v in table.levels.items()}
    text = "".join(f"; {f}: {', '.join(v[:12])}" for f, v in levels.items())
    text += f"; her2: {', '.join(tables[0].classes)}"
    return replace(fault, allowed=(fault.allowed or "") + text)


def available(table: Table, her2: str = "") -> Iterator[str]:
    """What can be asked, one pattern each, of the class asked for where there is such a one."""
    first = her2 if her2 in table.classes else table.classes[-1]
    if isinstance(table, Crossed) or not table.factor:
        yield f"share[her2={first}]"
    for factor, levels in table.levels.items():
        level = levels[0]
        yield f"share[her2={first} | {factor}={level}]"
        if len(levels) > 1:
            yield f"share_difference[her2={first} ; {factor}: {level} vs {levels[1]}]"
            yield f"heterogeneity[her2 share ; {factor}]"
            yield f"association[her2 ; {factor}]"
    if isinstance(table, Crossed) and len(table.levels) > 1:
        for factor, levels in table.levels.items():
            yield f"standardised_share[her2={first} | {factor}={levels[0]}]"
    if isinstance(table, Crossed):
        for factor in table.exchangeable:
            yield f"share[her2={first} | {factor}={table.new(factor)}]"
    for name in table.terms:
        yield f"heterogeneity[her2 logit ; {name}]"


class _Shares:
    """Shares of a table by any conditions, from draws; each computed once."""

    def __init__(self, group: xr.Dataset, table: Table) -> None:
        self.group, self.table = group, table
        self._known: dict[tuple[object, ...], xr.DataArray | None] = {}

    def of(self, given: Mapping[str, str], *, standard: bool = False) -> xr.DataArray | None:
        """Shares (chain, draw, her2) under conditions, None where there are no such patients."""
        if "share" not in self.group:
            return None  # a model of the user's that answers by itself
        key = (tuple(sorted(given.items())), standard)
        if key not in self._known:
            crossed = isinstance(self.table, Crossed)
            self._known[key] = (
                self._crossed(dict(given), standard) if crossed else self._single(given, standard)
            )
        return self._known[key]

    def by(self, factor: str) -> xr.DataArray | None:
        """Shares (chain, draw, level, her2) of patients as they are by level of a factor."""
        if factor not in self.table.levels:
            return None
        if isinstance(self.table, Partition):
            return self._partition(factor) if "share" in self.group else None
        levels = self.table.levels[factor]
        found = [one for level in levels if (one := self.of({factor: level})) is not None]
        return xr.concat(found, "level").assign_coords(level=levels) if found else None

    def patients(self, factor: str) -> xr.DataArray:
        """Patients by level of a factor."""
        if isinstance(self.table, Partition):
            each = self.table.counts.sum("her2")
            if factor == self.table.factor:
                return each
            levels = self.table.levels[factor]
            return each.groupby("parent").sum().sel(parent=levels)
        at = np.array(self.table.level_of[factor])
        size = self.table.patients
        levels = self.table.levels[factor]
        return xr.DataArray([size[at == level].sum() for level in levels], dims="level")

    def spread(self, name: str) -> xr.DataArray | None:
        """Tau of a term, None where the model did not learn it."""
        place = self.table.terms.get(name)
        if place is None or "tau" not in self.group:
            return None
        return self.group["tau"].sel(
            {"term" if "term" in self.group["tau"].dims else "family": place}
        )

    # one factor

    def _partition(self, factor: str) -> xr.DataArray:
        assert isinstance(self.table, Partition)
        share = self.group["share"].transpose(*ORDER, "subgroup", "her2")
        if factor == self.table.parent:
            counts = self.table.counts
            return combined(share, counts.sum("her2"), parents(counts)).rename(group="level")
        return share.rename(subgroup="level")

    def _single(self, given: Mapping[str, str], standard: bool) -> xr.DataArray | None:
        assert isinstance(self.table, Partition)
        if standard or len(given) > 1:
            return None
        if not given:
            return self._whole()
        ((factor, level),) = given.items()
        share = self.by(factor)
        if share is None or level not in share["level"].values:
            return None
        return share.sel(level=level, drop=True)

    def _whole(self) -> xr.DataArray | None:
        assert isinstance(self.table, Partition)
        if self.table.factor:
            return None  # answered by the fit of all patients
        share = self.group["share"].transpose(*ORDER, "subgroup", "her2")
        return share.isel(subgroup=0, drop=True)

    # crossed factors

    def _crossed(self, given: dict[str, str], standard: bool) -> xr.DataArray | None:
        assert isinstance(self.table, Crossed)
        table = self.table
        new = [f for f in given if f in table.exchangeable and given[f] == table.new(f)]
        if any(f not in table.levels for f in given):
            return None
        if any(given[f] not in table.levels[f] for f in given if f not in new):
            return None
        rows, weight = table.population if standard or new else (table.level_of, table.patients)
        weights = np.asarray(weight, dtype=float)
        if not standard:
            inside = np.ones(len(weights), dtype=bool)
            for factor, level in given.items():
                if factor not in new:
                    inside &= np.array(rows[factor]) == level
            rows = {f: tuple(np.array(levels)[inside].tolist()) for f, levels in rows.items()}
            weights = weights[inside]
            if not new and inside.any():
                return self._observed(inside, weights)
            if not inside.any() and set(given) == set(table.levels):  # a cell without patients
                rows, weights = {f: (level,) for f, level in given.items()}, np.ones(1)
        if not len(weights) or "effects" not in self.group:
            return None
        return self._at(dict(rows) | {f: (v,) * len(weights) for f, v in given.items()}, weights)

    def _observed(self, inside: np.ndarray, weights: np.ndarray) -> xr.DataArray:
        """Shares of cells at hand, as the model has them."""
        share = self.group["share"].isel(subgroup=np.flatnonzero(inside))
        total = weights.sum()
        mix = weights / total if total else np.full(len(weights), 1 / len(weights))
        return (share * xr.DataArray(mix, dims="subgroup")).sum("subgroup")

    def _at(self, rows: dict[str, tuple[str, ...]], weights: np.ndarray) -> xr.DataArray:
        """Shares of any combinations of levels, weighted; new groups drawn."""
        assert isinstance(self.table, Crossed)
        table = self.table
        mixed: dict[tuple[str, ...], float] = {}
        for levels, weight in zip(zip(*rows.values(), strict=True), weights, strict=True):
            mixed[levels] = mixed.get(levels, 0.0) + weight
        at = dict(zip(rows, zip(*mixed, strict=True), strict=True))
        new = [f for f in at if f in table.exchangeable and at[f][0] == table.new(f)]
        effect = self.group["effects"].transpose(*ORDER, "effect", "her2")
        columns = np.zeros((len(mixed), effect.sizes["effect"]))
        start = 0
        for term in table.places:
            span = slice(start, start + term.size)
            start += term.size
            if not set(term.factors) & set(new):
                columns[:, span] = term.columns(at)
        alpha = self.group["alpha"].transpose(*ORDER, "her2").values
        for factor in new:
            alpha = alpha + self._group_effect(factor)
        logit = alpha[:, :, None, :] + np.einsum(
            "re,cdeh->cdrh", columns, effect.values, optimize=True
        )
        weight = np.array(list(mixed.values()))
        share = np.einsum("r,cdrh->cdh", weight / weight.sum(), softmax(logit, axis=-1))
        coords = {name: effect[name] for name in (*ORDER, "her2")}
        return xr.DataArray(share, coords, (*ORDER, "her2"))

    def _group_effect(self, factor: str) -> np.ndarray:
        """What a group not seen adds to alpha, which holds the mean of the groups seen.

        With prior variances s^2 of the common logits and v = tau^2 / groups of that mean, given
        alpha the mean is normal about alpha v / (s^2 + all v); a new group has its own N(0, tau).
        """
        assert isinstance(self.table, Crossed)
        tau = self.group["tau"].transpose(*ORDER, "term")
        squares = {
            term.factors[0]: tau.sel(term=term.name).values ** 2 / len(term.levels[0])
            for term in self.table.places
            if term.kind == "exchangeable"
        }
        alpha = self.group["alpha"].transpose(*ORDER, "her2").values
        own = squares[factor]
        part = (own / (self.table.alpha_sigma**2 + sum(squares.values())))[..., None]
        sd = np.sqrt(own[..., None] * (1 - part) + tau.sel(term=factor).values[..., None] ** 2)
        seed = [*factor.encode(), alpha.shape[0], alpha.shape[1]]
        noise = np.random.default_rng(seed).normal(size=alpha.shape)
        return np.asarray(sd * (noise - noise.mean(axis=-1, keepdims=True)) - part * alpha)


Answer = Callable[[_Shares, Estimand], xr.DataArray | None]


def _answer(source: _Shares, asked: Estimand) -> xr.DataArray | None:
    function = _ANSWERS.get(asked.kind)
    return function(source, asked) if function and asked.time is None else None


def _share(source: _Shares, asked: Estimand) -> xr.DataArray | None:
    return None if asked.contrast else _class(source, asked, asked.conditions)


def _difference(source: _Shares, asked: Estimand) -> xr.DataArray | None:
    both = _both(source, asked)
    return None if both is None else both[0] - both[1]


def _ratio(source: _Shares, asked: Estimand) -> xr.DataArray | None:
    both = _both(source, asked)
    return None if both is None else both[0] / both[1]


def _both(source: _Shares, asked: Estimand) -> tuple[xr.DataArray, xr.DataArray] | None:
    if not asked.contrast or not asked.contrast.a or asked.contrast.factor in asked.conditions:
        return None
    one, other = (
        _class(source, asked, asked.conditions | {asked.contrast.factor: level})
        for level in (asked.contrast.a, asked.contrast.b)
    )
    return None if one is None or other is None else (one, other)


def _class(source: _Shares, asked: Estimand, given: Mapping[str, str]) -> xr.DataArray | None:
    name, _, her2 = asked.outcome.partition("=")
    if name != "her2" or her2 not in source.table.classes:
        return None
    share = source.of(given, standard=asked.kind.startswith("standardised"))
    return None if share is None else share.sel(her2=her2, drop=True)


def _heterogeneity(source: _Shares, asked: Estimand) -> xr.DataArray | None:
    if not asked.contrast or asked.contrast.a or asked.given:
        return None
    if asked.outcome == "her2 logit":
        return source.spread(asked.contrast.factor)
    share = source.by(asked.contrast.factor) if asked.outcome == "her2 share" else None
    return None if share is None else contrasts.largest_difference(share, "level")


def _association(source: _Shares, asked: Estimand) -> xr.DataArray | None:
    if not asked.contrast or asked.contrast.a or asked.given or asked.outcome != "her2":
        return None
    factor = asked.contrast.factor
    share = source.by(factor)
    if share is None or share.sizes["level"] < 2:
        return None
    return contrasts.cramers_v(share, source.patients(factor), "level")


_ANSWERS: Mapping[str, Answer] = {
    "share": _share,
    "share_difference": _difference,
    "share_ratio": _ratio,
    "standardised_share": _share,
    "standardised_difference": _difference,
    "heterogeneity": _heterogeneity,
    "association": _association,
}


def combined(share: xr.DataArray, patients: xr.DataArray, of: Sequence[str]) -> xr.DataArray:
    """Return the shares among the patients of all subgroups that carry the same label.

    ``share`` (..., subgroup, her2) are draws, ``patients`` (subgroup) observed numbers, ``of`` one
    label a subgroup; the result has ``group`` in place of ``subgroup``. The mix of subgroups within
    a group is taken as observed. A group without patients weighs its subgroups equally.
    """
    labels = list(dict.fromkeys(of))
    member = np.array([[float(own == label) for own in of] for label in labels])
    weight = member * patients.to_numpy()
    empty = weight.sum(axis=1) == 0
    weight[empty] = member[empty]
    weight /= weight.sum(axis=1, keepdims=True)
    mix = xr.DataArray(
        weight,
        dims=("group", "subgroup"),
        coords={"group": labels, "subgroup": share["subgroup"].to_numpy()},
    )
    return share.dot(mix, dim="subgroup").transpose(..., "group", "her2")
