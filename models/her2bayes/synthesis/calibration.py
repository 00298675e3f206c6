"""Calibration of the models over studies: studies from each stated prior, patients counted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from scipy.linalg import helmert
from scipy.special import gammaln, logsumexp

from her2bayes.calibration.designs import Design, Draws, Kind, Simulated, Truth, softmax
from her2bayes.synthesis import study_transitions
from her2bayes.synthesis.cells import contrasts
from her2bayes.synthesis.cells import design as design_of
from her2bayes.synthesis.pairs import FROM_PATIENTS, Cells, known_cells, strata_of
from her2bayes.synthesis.shares import deviations, shares_at
from her2bayes.synthesis.studies import of_table, sources, status_cells
from her2bayes.synthesis.study_transitions import new_stratum, rows_at
from her2bayes.transition.facts import TableSet
from her2bayes.transition.rows import strata_design

HER2 = ("zero", "low", "positive")
LIBRARY = ("shi2023", "agmt2021", "lacruz2025_women", "lacruz2025_men")
"""Studies that print HER2 status by hormone receptor."""

AT = " at "


def library(model: str, _study: str, by: str) -> Design:
    """Patients of the studies in the library that print HER2 status by a factor."""
    cells = status_cells(sources(LIBRARY), by)
    sizes = cells["counts"].sum("reading").values
    names = zip(map(str, cells["study"].values), map(str, cells["level"].values), strict=True)
    patients = {AT.join(pair): int(n) for pair, n in zip(names, sizes, strict=True)}
    return Design(model, f"library-{by}", patients, factor=by)


def draw_shares(rng: np.random.Generator, design: Design) -> Simulated:
    """Counts of shares drawn from the prior of ``study_shares``."""
    frame, truth = counted_shares(rng, design)
    return Simulated(design_of(of_table(frame)), truth)


def counted_shares(rng: np.random.Generator, design: Design) -> tuple[pd.DataFrame, Truth]:
    """Counts, and answers: coordinates of the logits along Helmert's contrasts of the classes.

    mu N(1.5), between studies |N(0.5)| with regressions N(0.5) of one coordinate on those before,
    the moderator N(0.75) on average and |N(0.25)| between studies.
    """
    axes = helmert(len(HER2)).T
    k = axes.shape[1]
    rows = [name.split(AT) for name in design.patients]
    studies, levels = (list(dict.fromkeys(part)) for part in zip(*rows, strict=True))
    contrast = helmert(len(levels)).T[:, 0]
    mu, sd = rng.normal(0.0, 1.5, k), np.abs(rng.normal(0.0, 0.5, k))
    within, slope_sd = rng.normal(0.0, 0.75, k), np.abs(rng.normal(0.0, 0.25, k))
    lean = rng.normal(0.0, 0.5)
    off = sd * rng.standard_normal((len(studies), k))
    off[:, 1] += lean * off[:, 0]
    slope = within + slope_sd * rng.standard_normal((len(studies), k))
    truth: Truth = {"lean": float(lean)}
    for c in range(k):
        named = {"mu": mu, "study_sd": sd, "within": within, "slope_sd": slope_sd}
        truth |= {f"{name}[{c + 1}]": float(values[c]) for name, values in named.items()}
    table, log_likelihood = [], 0.0
    for (study, level), patients in zip(rows, design.patients.values(), strict=True):
        s, x = studies.index(study), contrast[levels.index(level)]
        share = softmax(axes @ (mu + off[s] + x * slope[s]))
        counts = rng.multinomial(patients, share)
        log_likelihood += float(counts @ np.log(np.maximum(share, 1e-300)))
        truth |= {f"share[{h} | {study} {level}]": float(p)
                  for h, p in zip(HER2, share, strict=True)}  # fmt: skip
        table += [(study, level, h, int(n)) for h, n in zip(HER2, counts, strict=True)]
    off = sd * rng.standard_normal(k)
    off[1] += lean * off[0]
    slope_new = within + slope_sd * rng.standard_normal(k)
    for level, x in zip(levels, contrast, strict=True):
        share = softmax(axes @ (mu + off + x * slope_new))
        truth |= {f"share[{h} | new {level}]": float(p) for h, p in zip(HER2, share, strict=True)}
    truth["log_likelihood"] = log_likelihood
    return pd.DataFrame(table, columns=["study", "level", "her2", "n"]), truth


def shares_of(design: Design, data: Any, posterior: xr.Dataset) -> Draws:
    """The same answers from draws of the model, ``log_likelihood`` of the data last."""
    found: Draws = {"lean": posterior["lean_2"].isel(before_2=0)}
    for name in ("mu", "study_sd", "within", "slope_sd"):
        values = posterior[name].isel(within_term=0) if name == "within" else posterior[name]
        found |= {f"{name}[{c}]": values.sel(axis=c) for c in map(str, values["axis"].values)}
    share, total = posterior["share"], xr.zeros_like(posterior["share"].isel(row=0, her2=0))
    counts = _counts(data)
    for name in design.patients:
        row = name.replace(AT, " ")
        for h in HER2:
            here = share.sel(row=row, her2=h)
            found[f"share[{h} | {row}]"] = here
            total = total + counts[row, h] * np.log(np.maximum(here, 1e-300))
    levels = list(dict.fromkeys(name.split(AT)[1] for name in design.patients))
    drawn = posterior.assign(deviations(posterior, 1))
    for level, x in zip(levels, contrasts(levels), strict=True):
        new = (
            drawn["mu"]
            + drawn["off"]
            + ((drawn["within"] + drawn["off_slope"]) * x[0]).sum("within_term")
        )
        share = shares_at(new, HER2)
        found |= {f"share[{h} | new {level}]": share.sel(her2=h) for h in HER2}
    return found | {"log_likelihood": total}


def _counts(data: xr.Dataset) -> Mapping[tuple[str, str], int]:
    """Patients of each class from the binomials of rows that print all classes."""
    found: dict[tuple[str, str], int] = {}
    for at, name in enumerate(map(str, data["row"].values)):
        entries = np.flatnonzero(data["row_of"].values == at)
        inside = data["inside"].values[entries].argmax(1)
        for place, entry in zip(inside, entries, strict=True):
            found[name, HER2[place]] = int(data["y"].values[entry])
        left = set(range(len(HER2))) - set(inside.tolist())
        last = entries[-1]
        found[name, HER2[left.pop()]] = int(data["n"].values[last] - data["y"].values[last])
    return found


# Transitions

PAIRED = ("shi2023", "hr2x2_137", "almstedt2023", "miglietta2021", "mets98")
"""Studies that print something of their pairs of primary and recurrence."""

_CHANGES = [f"{a} -> {b}" for a in HER2 for b in HER2 if a != b]


@cache
def _printed() -> tuple[tuple[Cells, ...], Mapping[str, frozenset[str]]]:
    """What each of these studies prints of its table, and the classes they have in common."""
    cells, classes, *_ = known_cells(sources(PAIRED), pairs=FROM_PATIENTS)
    return tuple(cells), classes


def paired(model: str, _study: str, _by: str) -> Design:
    """Pairs of the studies in the library that print something of their table."""
    printed, classes = _printed()
    size = strata_of(printed, classes)["strata"]["size"].values
    patients = {cells.study: int(n) for cells, n in zip(printed, size, strict=True)}
    return Design(model, "library-pairs", patients, factor="study")


def draw_transitions(rng: np.random.Generator, design: Design) -> Simulated:
    """``study_transitions``: each study prints of a table of its own what its paper prints."""
    cells, flows, truth = printed_pairs(rng, design)
    data = strata_of(cells, _printed()[1])
    truth["log_likelihood"] = float(_log_likelihood(data, flows[None])[0])
    return Simulated(data, truth)


def printed_pairs(
    rng: np.random.Generator, design: Design
) -> tuple[list[Cells], np.ndarray, Truth]:
    """What studies print of tables of their own, the tables' chances, and the truth.

    Log odds of change N(-1.5, 1), between studies N(0, |N(0, 0.5)|); primary shares uniform.
    """
    k, printed = len(HER2), _printed()[0]
    off = ~np.eye(k, dtype=bool)
    mean, sd = rng.normal(-1.5, 1.0, (k, k)), abs(rng.normal(0.0, 0.5))
    deviations = sd * rng.standard_normal((len(printed) + 1, k, k))  # the last is of a new study
    rows = softmax(np.where(off, mean + deviations, 0.0))
    average = softmax(np.where(off, mean + deviations[:-1].mean(0), 0.0))
    truth: Truth = {"study_sd": float(sd)}
    cells, flows = [], []
    for own, patients, row in zip(printed, design.patients.values(), rows[:-1], strict=True):
        flow = rng.dirichlet(np.ones(k))[:, None] * row
        pairs = rng.choice(k * k, size=patients, p=flow.ravel() / flow.sum())
        cells.append(_as_printed(own, np.bincount(pairs, minlength=k * k).reshape(k, k)))
        flows.append(flow)
        truth[f"discordance[{own.study}]"] = float(flow[off].sum())
        truth[f"transition[zero -> low | {own.study}]"] = float(row[0, 1])
    for name, matrix in (("average", average), ("new", rows[-1])):
        values = zip(_CHANGES, matrix[off], strict=True)
        truth |= {f"transition[{change} | {name}]": float(p) for change, p in values}
    return cells, np.array(flows), truth


def _as_printed(own: Cells, table: np.ndarray) -> Cells:
    """A table of pairs (primary, recurrence) printed as a study prints its own."""
    if own.table is not None:
        facts = own.table
        value = (facts.form[:, 0] * table).sum((1, 2))
        lower, upper = facts.lower.copy(), facts.upper.copy()
        exact = facts.lower == facts.upper
        lower[exact] = upper[exact] = value[exact]
        for f in np.flatnonzero(~exact):  # of a whole per cent: the least count, or the most
            same = _rounds_alike(int(value[f]), int(table.sum()))
            lower[f], upper[f] = (same[0], upper[f]) if lower[f] else (0, same[-1])
        made = TableSet(facts.strata, facts.her2, facts.form, lower, upper, facts.fact_id)
        return replace(own, table=made)
    members = _printed()[1].values()
    counts = {}
    for pair in own.counts:
        first, second = (np.array([one <= end for one in members]) for end in pair)
        counts[pair] = int(table[np.ix_(first, second)].sum())
    return replace(own, counts=counts)


def _rounds_alike(count: int, of: int) -> np.ndarray:
    """Counts that print as the same whole per cent, halves rounded up."""
    every = np.arange(of + 1)
    per_cent = (200 * every + of) // (2 * of)
    return np.flatnonzero(per_cent == per_cent[count])


def _log_likelihood(data: Mapping[str, xr.Dataset], flows: np.ndarray) -> np.ndarray:
    """Log probability (draw,) of what is printed; ``flows`` (draw, study, primary, recurrence)."""
    every = flows.reshape(*flows.shape[:2], -1)
    pairs, tables = data["pairs"], data["tables"]
    total = np.zeros(len(flows))
    for e, at in enumerate(pairs["at"].values):
        inside, rest = (every[:, at] @ pairs[name].values[e] for name in ("inside", "rest"))
        y, n = int(pairs["y"].values[e]), int(pairs["n"].values[e])
        left = np.maximum(rest - inside, 1e-300)
        total += y * np.log(inside) + (n - y) * np.log(left) - n * np.log(rest)
    names = list(map(str, data["strata"]["stratum"].values))
    for block, study in enumerate(map(str, tables["stratum"].values)):
        here = tables.isel(candidate=tables["block"].values == block)
        member = here["member"].sel(stratum=study).values.reshape(here.sizes["group"], -1)
        share = np.log(np.maximum(every[:, names.index(study)] @ member.T, 1e-300))
        count = here["tables"].values
        ways = gammaln(count.sum(1) + 1) - gammaln(count + 1.0).sum(1)
        total += logsumexp(share @ count.T + ways, axis=1)
    return total


def transitions_of(design: Design, data: Any, posterior: xr.Dataset) -> Draws:
    """The same answers from draws of the model, ``log_likelihood`` of the data last."""
    rows, primary = posterior["transition"], posterior["primary_share"]
    found: Draws = {"study_sd": posterior["deviation_sd"].sel(factor="study")}
    flow = (primary * rows).transpose("chain", "draw", "stratum", "her2_primary", "her2")
    for study in design.patients:
        own = rows.sel(stratum=study)
        stays = [own.sel(her2_primary=h, her2=h, drop=True) for h in HER2]
        of = primary.sel(stratum=study, drop=True).rename(her2_primary="her2")
        found[f"discordance[{study}]"] = 1.0 - (xr.concat(stays, of["her2"]) * of).sum("her2")
        found[f"transition[zero -> low | {study}]"] = own.sel(her2_primary="zero", her2="low")
    strata = strata_design(data["strata"], data["strata"]["size"].values)
    new = new_stratum(posterior, strata["mean_share"], study_transitions.DEFAULT_PRIORS, seed=1)
    average = rows_at(posterior["centre"])
    for name, matrix in (("average", average), ("new", new)):
        for change in _CHANGES:
            a, b = change.split(" -> ")
            found[f"transition[{change} | {name}]"] = matrix.sel(her2_primary=a, her2=b)
    flows = flow.sel(stratum=list(design.patients)).values
    values = _log_likelihood(data, flows.reshape(-1, *flows.shape[2:])).reshape(flows.shape[:2])
    return found | {"log_likelihood": xr.DataArray(values, dims=("chain", "draw"))}


KINDS = {
    "study_shares": Kind(draw_shares, shares_of, library, "library", "hr_status", draws=1000),
    # what tables printed in part leave open is slow: of two chains of 1000 draws some 300 are
    # effective, and 95 % intervals covered 94.3 % on average
    "study_transitions": Kind(draw_transitions, transitions_of, paired, "library", draws=2000),
}
