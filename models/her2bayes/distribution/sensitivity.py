"""Conclusions on shares of HER2 classes: other priors, models and counts, of printed or own data.

Moving a fraction of one class to its neighbour in every subgroup stands for another reading of the
boundary between them (IHC 0 against 1+, IHC 2+ against ISH).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from importlib import import_module
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from her2bayes.bayes.levels import design, parents
from her2bayes.bayes.prior import Prior, prior
from her2bayes.distribution import her2_distribution_crossed
from her2bayes.distribution.cells import KINDS as TERM_KINDS
from her2bayes.distribution.cells import design as cell_design
from her2bayes.distribution.cells import split
from her2bayes.distribution.draws import Crossed, Partition, Table, some_draws, unanswered
from her2bayes.distribution.estimates import MODELS, Analysis
from her2bayes.errors import raise_if
from her2bayes.estimand import Estimand
from her2bayes.evidence.printed.tables import Conclusion
from her2bayes.inference.fit import Specification
from her2bayes.sensitivity.target import BASE, DATA, PRIOR, STRUCTURE, Axis, Scenario, Target

if TYPE_CHECKING:
    from her2bayes.evidence.printed.study import Study

KINDS = ("share", "share_difference", "share_ratio")
SCALES = (0.25, 0.5, 2.0, 4.0)
MOVED = (-0.2, -0.1, 0.1, 0.2)
OVERALL, SPREAD = "prior scale of overall shares", "prior scale of differences between levels"
MODEL, POOLING, OUT = "model", "pooling", "left out"
SETS, UNKNOWN, PAIRS = "readings of several classes", "unknown status", "pairs of factors"
MOST_LEFT = 40
ORDERED = "ordered"
RECEPTORS = {"hr", "er", "pr", "hormone", "receptor", "oestrogen", "estrogen", "progesterone"}
"""Parts of the names of factors that ``her2_distribution_ordered`` says it is wrong for."""

_WORDS = {
    "her2_distribution": "logistic-normal",
    "her2_distribution_dirichlet": "Dirichlet",
    "her2_distribution_ordered": ORDERED,
}
_MODELS = {words: name for name, words in _WORDS.items()}


def targets(study: Study, conclusions: Sequence[Conclusion]) -> list[Target]:
    """One target for each printed table that answers some of the conclusions."""
    tables = study.status_counts()
    nested = {parent: n for n in tables if n and (parent := study.factors[n].parent)}
    found: dict[str, list[Conclusion]] = {}
    for conclusion in conclusions:
        factor = factor_of(conclusion.estimand)
        table = nested.get(factor or "", factor)
        if factor is not None and table in tables and _answers(conclusion, tables[table], factor):
            found.setdefault(table, []).append(conclusion)
    return [
        Target(
            "distribution",
            f"HER2 status by {table.replace('_', ' ')}" if table else "HER2 status, all patients",
            tuple(asked),
            axes(tables, table),
            {
                "factor": table,
                "parent": study.factors[table].parent if table else "",
                "counts": tables[table],
                "others": {} if table else {n: t for n, t in tables.items() if n},
            },
        )
        for table, asked in found.items()
    ]


def targets_of_fit(
    who: str,
    analyses: Sequence[Analysis],
    counts: Mapping[str, xr.DataArray],
    conclusions: Sequence[Conclusion],
) -> list[Target]:
    """One target for each fitted table that answers some of the conclusions."""
    found: list[Target] = []
    left = list(conclusions)
    for analysis in analyses:
        table = analysis.table
        known = some_draws(analysis.fit.prior, table, [one.estimand for one in left])
        asked = tuple(one for one in left if one.estimand in known)
        left = [one for one in left if one.estimand not in known]
        if asked and isinstance(table, Crossed):
            name = f"HER2 status of {who}"
            found.append(Target("distribution", name, asked, crossed_axes(table), {"table": table}))
        elif asked and isinstance(table, Partition):
            tables = {f: t for f, t in counts.items() if f == table.factor}
            data = {
                "factor": table.factor, "parent": table.parent, "counts": table.counts,
                "others": {},
            }  # fmt: skip
            name = f"HER2 status by {table.factor}" if table.factor else "HER2 status"
            found.append(Target("distribution", name, asked, axes(tables, table.factor), data))
    raise_if([unanswered(one.estimand, [a.table for a in analyses]) for one in left])
    return found


def crossed_axes(table: Crossed) -> tuple[Axis, ...]:
    """Axes of the model of crossed cells."""
    found = [Axis(OVERALL, PRIOR, 1.0, SCALES, "scale of the prior of the overall shares, times")]
    if table.places:
        words = "scale of the priors of effects of factors, pairs and groups, times"
        found.append(Axis(SPREAD, PRIOR, 1.0, SCALES, words))
    for below, above in pairwise(table.classes):
        words = f"share of the single readings {below} counted as {above}; below 0, the other way"
        found.append(Axis(boundary(below, above), DATA, 0.0, MOVED, words))
    data = split(table.cells)
    if data.sizes["set"]:
        words = "what readings of several classes count as"
        found.append(Axis(SETS, DATA, "sets", ("left out", "lowest class", "highest class"), words))
    if int(data["unknown"].sum()):
        each = tuple(f"all {her2}" for her2 in table.classes)
        words = "what patients of unknown status are taken to be"
        found.append(Axis(UNKNOWN, DATA, "missing at random", each, words))
    left = tuple(
        f"{factor}={level}"
        for factor, levels in table.levels.items()
        if len(levels) > 2
        for level in levels
    )
    if left:
        found.append(Axis(OUT, DATA, "nobody", left[:MOST_LEFT], "patients left out"))
    if any(term.kind == "interaction" for term in table.places):
        found.append(Axis(PAIRS, STRUCTURE, "with", ("without",), "effects of pairs of factors"))
    return tuple(found)


def scenario_table(table: Crossed, of: Scenario) -> Crossed:
    """Cells of a scenario, and the terms of its model."""
    cells = table.cells
    out = str(of.get(OUT, "nobody"))
    if out != "nobody":
        factor, _, level = out.partition("=")
        cells = cells.isel(subgroup=np.flatnonzero(cells[factor].to_numpy() != level))
    data = split(cells)
    exact = _counted_otherwise(data["exact"].to_numpy(), table.classes, of)
    partial = data["partial"].to_numpy().copy()
    choice = str(of.get(SETS, "sets"))
    if choice.endswith("class"):
        for k, holds in enumerate(data["holds"].to_numpy()):
            inside = np.flatnonzero(holds)
            exact[:, inside[0] if choice.startswith("lowest") else inside[-1]] += partial[:, k]
    if choice != "sets":
        partial[:] = 0
    unknown = data["unknown"].to_numpy().copy()
    her2 = str(of.get(UNKNOWN, "")).removeprefix("all ")
    if her2 in table.classes:
        exact[:, table.classes.index(her2)] += unknown
        unknown[:] = 0
    readings = [*table.classes, *(str(s) for s in data["set"].to_numpy()), "unknown"]
    holds = np.vstack([np.eye(len(table.classes)), data["holds"].to_numpy(),
                       np.ones(len(table.classes))])  # fmt: skip
    changed = xr.Dataset(
        {
            "counts": (("subgroup", "reading"), np.column_stack([exact, partial, unknown])),
            "incidence": (("reading", "her2"), holds.astype(bool)),
        },
        coords={n: c for n, c in cells.coords.items() if c.dims == ("subgroup",)}
        | {"reading": readings, "her2": table.classes},
        attrs=cells.attrs,
    )
    pairs = table.interactions and of.get(PAIRS, "with") == "with"
    return replace(table, cells=changed, interactions=pairs)


def _crossed_specification(target: Target, of: Scenario) -> Specification:
    table = scenario_table(target.data["table"], of)
    default = dict(her2_distribution_crossed.DEFAULT_PRIORS)
    priors = _priors(default, of.get(OVERALL, 1.0), of.get(SPREAD, 1.0))
    options: dict[str, Any] = {"exchangeable": table.exchangeable} if table.exchangeable else {}
    options |= {} if table.interactions else {"interactions": False}
    data = cell_design(table.cells, table.exchangeable, interactions=table.interactions)
    used = (data["member"] * data["learned"]).sum("effect").to_numpy()

    def transport(draws: xr.Dataset, other: Specification) -> xr.Dataset:
        scale, before = (_fixed_scales(data, p) for p in (priors, other.priors))
        fixed = (data["learned"].to_numpy() == 0) & (data["information"].to_numpy() > 0)
        sigma = [np.array([p[_PRIOR_OF[k]]["sigma"] for k in data["kind"].to_numpy()], float)
                 for p in (priors, other.priors)]  # fmt: skip
        ratio = sigma[0] / sigma[1]
        return _moved_draws(
            draws,
            (scale, before, fixed, data["information"].to_numpy()),
            (used == 0, ratio),
            "term",
        )

    return Specification(
        her2_distribution_crossed.build, table.cells, priors, options,
        ("alpha", "tau" if used.any() else "raw"), transport,
        prior_key=repr((sorted(priors.items()), options, list(data["subgroup"].to_numpy()))),
    )  # fmt: skip


_PRIOR_OF = {TERM_KINDS.index("main"): "tau"} | {
    TERM_KINDS.index(name): name for name in ("interaction", "exchangeable")
}
"""Prior of the spread of a term, by its kind."""


def _fixed_scales(data: xr.Dataset, priors: Mapping[str, Prior]) -> np.ndarray:
    interacts = data["interacts"].to_numpy()
    one, two = (float(priors[n]["value"]) for n in ("fixed_tau", "fixed_interaction"))
    return np.asarray(one * (1 - interacts) + two * interacts)


def _moved_draws(
    draws: xr.Dataset,
    effects: tuple[Any, Any, np.ndarray, np.ndarray],
    spreads: tuple[np.ndarray, Any],
    dim: str,
) -> xr.Dataset:
    """Draws where they mean the same effects under other fixed scales and prior-only spreads.

    ``effects``: scale, scale before, which are fixed, information; ``spreads``: which are not
    informed by data, and their ratio of prior scales.
    """
    scale, before, fixed, information = effects
    stretch = [np.sqrt(1 + information * value**2) for value in (scale, before)]
    factor = np.where(fixed, before / stretch[1] * stretch[0] / scale, 1.0)
    unused, ratio = spreads
    raw = draws["raw"] * xr.DataArray(factor, dims="effect")
    tau = draws["tau"] * xr.DataArray(np.where(unused, ratio, 1.0), dims=dim)
    return draws.assign(raw=raw.transpose(*draws["raw"].dims), tau=tau)


def factor_of(estimand: Estimand) -> str | None:
    """Factor whose table holds the estimand: empty for all patients, None for another kind."""
    named = [factor for factor, _ in estimand.given]
    if estimand.kind == "share" and estimand.contrast is None and len(named) < 2:
        return named[0] if named else ""
    if estimand.kind in KINDS[1:] and estimand.contrast and estimand.contrast.a and not named:
        return estimand.contrast.factor
    return None


def available(study: Study) -> Iterator[str]:
    """What this family could answer, in words."""
    for name in study.status_counts():
        yield f"share[her2=... | {name}=...]" if name else "share[her2=...]"
        if name:
            yield f"share_difference[her2=... ; {name}: a vs b]"


def axes(tables: Mapping[str, xr.DataArray], table: str) -> tuple[Axis, ...]:
    """Axes of the model of one table."""
    counts = tables[table]
    found = [
        Axis(OVERALL, PRIOR, 1.0, SCALES, "scale of the prior of the overall shares, times"),
    ]
    if table:
        found.append(
            Axis(SPREAD, PRIOR, 1.0, SCALES, "scale of the prior of how levels differ, times")
        )
    classes = [str(name) for name in counts["her2"].to_numpy()]
    for below, above in pairwise(classes):
        found.append(
            Axis(
                boundary(below, above),
                DATA,
                0.0,
                MOVED,
                f"share of the patients read as {below} counted as {above}; "
                f"below 0, of those read as {above} counted as {below}",
            )
        )
    left = _can_leave(tables, table)
    if left:
        found.append(Axis(OUT, DATA, "nobody", left, "patients left out"))
    first, *others = (_WORDS[name] for name in MODELS)
    found.append(Axis(MODEL, STRUCTURE, first, tuple(others), "family of the model"))
    if counts.sizes["subgroup"] > 2:
        found.append(
            Axis(POOLING, STRUCTURE, "partial", ("fixed",), "fixed: spread of levels not learned")
        )
    return tuple(found)


def boundary(below: str, above: str) -> str:
    """Name of the axis that moves patients between two neighbouring classes."""
    return f"{below} counted as {above}"


def _can_leave(tables: Mapping[str, xr.DataArray], table: str) -> tuple[str, ...]:
    if table:
        levels = [str(v) for v in tables[table]["level"].to_numpy()]
        return tuple(f"{table}={level}" for level in levels) if len(levels) > 2 else ()
    return tuple(
        f"{name}={level}"
        for name, counts in tables.items()
        if name and counts.sizes["subgroup"] > 2  # of two, to leave one out is to report the other
        for level in counts["level"].to_numpy()
    )


def _answers(conclusion: Conclusion, counts: xr.DataArray, factor: str) -> bool:
    estimand = conclusion.estimand
    if estimand.outcome.partition("=")[0] != "her2":
        return False
    own = {str(v) for v in counts["level"].to_numpy()} | set(parents(counts))
    asked = [level for _, level in estimand.given]
    if estimand.contrast:
        asked += [estimand.contrast.a, estimand.contrast.b]
    return _class(estimand) in counts["her2"].to_numpy() and set(asked) <= own


def _class(estimand: Estimand) -> str:
    return estimand.outcome.partition("=")[2]


def specification(target: Target, of: Scenario) -> Specification:
    """Model and data of a scenario."""
    if "table" in target.data:
        return _crossed_specification(target, of)
    name = _MODELS[of.get(MODEL, _WORDS[MODELS[0]])]
    build: Callable[..., Any] = import_module(f"her2bayes.distribution.{name}").build
    pooling = str(of.get(POOLING, "partial"))
    # left at its default as on the page, so that the reported analysis is the same fit
    options = {"pooling": pooling} if POOLING in dict(of.changes) else {}
    if name.endswith("dirichlet"):
        options = {}
    counts = scenario_counts(target, of)
    defaults: dict[str, Prior] = build.__globals__["DEFAULT_PRIORS"]
    priors = _priors(defaults, of.get(OVERALL, 1.0), of.get(SPREAD, 1.0))
    learned = {}
    if not name.endswith("dirichlet"):
        data = design(counts, pooling)
        learned = {
            "information": data["information"].to_numpy(),
            "learned": data["learned"].to_numpy(),
            "families": (data["member"] * data["learned"]).sum("effect").to_numpy(),
        }
    has_spread = bool(learned) and bool(learned["learned"].any())
    top = ("alpha", "baseline", "mean", "concentration", *(("tau",) if has_spread else ("raw",)))

    def transport(draws: xr.Dataset, other: Specification) -> xr.Dataset:
        return _transported(draws, priors, other.priors, learned)

    labels = [f"{v}" for v in counts["subgroup"].to_numpy()], parents(counts)
    return Specification(
        build,
        counts,
        priors,
        options,
        top,
        transport if name == MODELS[0] else None,
        prior_key=repr((name, sorted(priors.items()), options, labels)),
    )


def _priors(defaults: Mapping[str, Prior], overall: float, spread: float) -> dict[str, Prior]:
    """Default priors with scales multiplied; a concentration shrinks where a spread grows."""
    return {name: _scaled(name, one, overall, spread) for name, one in defaults.items()}


def _scaled(name: str, one: Prior, overall: float, spread: float) -> Prior:
    match name:
        case "alpha":
            return one.scaled(overall)
        case "mean" | "baseline":
            return prior("Dirichlet", concentration=one["concentration"] / overall)
        case "tau" | "interaction" | "exchangeable":
            return one.scaled(spread)
        case "fixed_tau" | "fixed_interaction":
            return prior("Constant", value=one["value"] * spread)
        case "concentration" | "parent_concentration":
            mu = one["mu"] - 2 * float(np.log(spread))
            return prior("LogNormal", mu=mu, sigma=one["sigma"])
    return one


def _transported(
    draws: xr.Dataset,
    priors: Mapping[str, Prior],
    other: Mapping[str, Prior],
    learned: Mapping[str, np.ndarray],
) -> xr.Dataset:
    """Draws under ``other`` priors where they mean the same effects under ``priors``.

    ``raw`` is an effect in units that follow from a fixed spread; a spread that no data inform is
    only its prior, and moves with it.
    """
    scale, before = (float(p["fixed_tau"]["value"]) for p in (priors, other))
    information = learned["information"]
    fixed = (learned["learned"] == 0) & (information > 0)
    ratio = float(priors["tau"]["sigma"]) / float(other["tau"]["sigma"])
    unused = learned["families"] == 0
    return _moved_draws(draws, (scale, before, fixed, information), (unused, ratio), "family")


def scenario_counts(target: Target, of: Scenario) -> xr.DataArray:
    """Counts of a scenario: some patients left out, some counted in the neighbouring class."""
    counts: xr.DataArray = target.data["counts"]
    out = str(of.get(OUT, "nobody"))
    if out != "nobody":
        factor, _, level = out.partition("=")
        if factor == target.data["factor"]:
            counts = counts.isel(subgroup=np.flatnonzero(counts["level"].to_numpy() != level))
        else:
            other = target.data["others"][factor]
            at = int(np.flatnonzero(other["level"].to_numpy() == level)[0])
            counts = counts - other.isel(subgroup=at, drop=True).reset_coords(drop=True)
    classes = [str(name) for name in counts["her2"].to_numpy()]
    return counts.copy(data=_counted_otherwise(counts.to_numpy(), classes, of))


def _counted_otherwise(values: np.ndarray, classes: Sequence[str], of: Scenario) -> np.ndarray:
    """Counts (row, class) with shares of one class in its neighbour, rounded half up."""
    moves = np.zeros_like(values)
    for place, (below, above) in enumerate(pairwise(classes)):
        share = float(of.get(boundary(below, above), 0.0))
        source, to = (place, place + 1) if share > 0 else (place + 1, place)
        moved = np.floor(abs(share) * values[:, source] + 0.5).astype(values.dtype)
        moves[:, source] -= moved
        moves[:, to] += moved
    return values + moves


def apart(target: Target, of: Scenario, estimand: Estimand) -> str:
    """Why a scenario is no answer to a question on an estimand; empty where it is one."""
    if "table" in target.data:
        return _crossed_apart(target.data["table"], of, estimand)
    factor = target.data["factor"]
    if of.get(MODEL, "") == ORDERED and RECEPTORS & set(factor.split("_")):
        return "ordered logits do not fit receptors, where one group gathers in the middle"
    contrast = estimand.contrast
    if contrast is None or OUT not in dict(of.changes):
        return ""
    before, after = (
        _patients(scenario_counts(target, s), contrast.factor, factor) for s in (BASE, of)
    )
    halved = [
        level for level in (contrast.a, contrast.b)
        if 2 * after.get(level, 0) <= before[level]
    ]  # fmt: skip
    return f"leaves out half or more of {contrast.factor}={', '.join(halved)}" if halved else ""


def _crossed_apart(table: Crossed, of: Scenario, estimand: Estimand) -> str:
    contrast = estimand.contrast
    if contrast is None or contrast.factor not in table.levels or OUT not in dict(of.changes):
        return ""
    after = scenario_table(table, of)
    halved = []
    for level in (contrast.a, contrast.b):
        now, before = (
            sum(
                n
                for at, n in zip(t.level_of[contrast.factor], t.patients, strict=True)
                if at == level
            )
            for t in (after, table)
        )
        halved += [level] if 2 * now <= before else []
    return f"leaves out half or more of {contrast.factor}={', '.join(halved)}" if halved else ""


def _patients(counts: xr.DataArray, factor: str, table: str) -> dict[str, int]:
    """Patients by level of the table's factor, or of the one it is nested in."""
    number = counts.sum("her2").to_numpy()
    levels = counts["level"].to_numpy() if factor == table else counts["parent"].to_numpy()
    return {str(level): int(number[levels == level].sum()) for level in levels}


def quantities(target: Target, of: Scenario, draws: xr.Dataset) -> dict[str, xr.DataArray]:
    """Draws (chain, draw) of each estimand; those whose level was left out are missing."""
    table: Table
    if "table" in target.data:
        table = scenario_table(target.data["table"], of)
    else:
        counts = scenario_counts(target, of)
        table = Partition(target.data["factor"], target.data["parent"], counts)
    asked = [conclusion.estimand for conclusion in target.conclusions]
    return {str(name): value for name, value in some_draws(draws, table, asked).items()}
