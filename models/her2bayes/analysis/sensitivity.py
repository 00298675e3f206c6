"""Does a conclusion survive? Scenarios to rows, and rows to a sentence for each conclusion.

A conclusion *holds* in a scenario at P >= 0.975, *fails* at P <= 0.5 and is *uncertain* between.
Scenarios are choices, not draws from anything: how many of them keep a conclusion is no
probability, and is never given as one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import xarray as xr

from her2bayes.analysis import sensitivity_work as worker
from her2bayes.analysis.conclusion_target import (
    EXACT,
    IMPOSSIBLE,
    REWEIGHTED,
    Drawn,
    Target,
    unanswered,
)
from her2bayes.analysis.scenarios import (
    BASE,
    Axis,
    Grid,
    Scenario,
    crossed,
    kinds,
    one_at_a_time,
)
from her2bayes.analysis.sensitivity_run import Progress, jobs
from her2bayes.analysis.sensitivity_run import run as run_jobs
from her2bayes.errors import Fault, raise_if
from her2bayes.evidence.conclusions import Conclusion
from her2bayes.inference.convergence import verdict
from her2bayes.inference.power_scaling import diagnosis
from her2bayes.inference.reweight import weighted_mean, weighted_quantiles
from her2bayes.inference.sampling import Sampling
from her2bayes.inference.store import Store
from her2bayes.posterior.estimates import INTERVAL, PERCENT_KINDS

if TYPE_CHECKING:
    from her2bayes.evidence.study import Study

HOLDS, UNCERTAIN, FAILS, NO_ANSWER = "holds", "uncertain", "fails", "impossible"
STUDY_FAMILIES = ("distribution", "transition", "printed")

COLUMNS = (
    "conclusion",
    "statement",
    "locator",
    "analysis",
    "scenario",
    "changed",
    "kind",
    "probability",
    "prior_probability",
    "stance",
    "median",
    "lower",
    "upper",
    "unit",
    "method",
    "k_hat",
    "ess",
    "convergence",
    "model",
    "note",
)


@dataclass(frozen=True)
class Limits:
    """Probability from which a conclusion holds, and up to which it fails."""

    holds: float = 0.975
    fails: float = 0.5

    def __post_init__(self) -> None:
        """Refuse limits in the wrong order."""
        if not 0 <= self.fails < self.holds <= 1:
            allowed = "0 <= fails < holds <= 1"
            raise_if([Fault("limits of the stances", value=(self.fails, self.holds),
                            allowed=allowed)])  # fmt: skip

    def stance(self, probability: float) -> str:
        """Stance of a conclusion with this probability."""
        if np.isnan(probability):
            return NO_ANSWER
        if probability >= self.holds:
            return HOLDS
        return FAILS if probability <= self.fails else UNCERTAIN


@dataclass(frozen=True)
class Result:
    """What the scenarios say: ``table`` (one row a conclusion and scenario), ``summary`` (one row
    a conclusion), ``surfaces`` (conclusion -> its two axes), ``seconds`` spent by the workers.
    """

    conclusions: tuple[Conclusion, ...]
    targets: tuple[Target, ...]
    table: pd.DataFrame
    summary: pd.DataFrame
    surfaces: Mapping[str, tuple[str, str]]
    limits: Limits
    seconds: Mapping[str, float]

    def target(self, conclusion: str) -> Target:
        """Target that answers a conclusion."""
        return next(t for t in self.targets if conclusion in {c.id for c in t.conclusions})


def study_targets(study: Study, conclusions: Sequence[Conclusion]) -> list[Target]:
    """Targets for the conclusions of a paper; ``BadInput`` lists what exists for the others."""
    from importlib import import_module

    families = [import_module(f"her2bayes.analysis.sensitivity_{n}") for n in STUDY_FAMILIES]
    found: list[Target] = []
    for module in families:
        found += module.targets(study, unanswered(conclusions, found))
    exists = [text for module in families for text in module.available(study)]
    raise_if(
        [
            Fault(
                "the printed evidence does not answer this conclusion", None, None, c.id, str(c),
                "; ".join(exists) or "nothing: no counts, facts, hazard ratios or rates",
                "ask for one of these, with levels of study.toml, or take the row out",
            )
            for c in unanswered(conclusions, found)
        ]
    )  # fmt: skip
    return found


def plan(target: Target, grid: Grid | None) -> tuple[Target, list[Scenario]]:
    """Target with the axes asked for, and its scenarios before any surface."""
    from dataclasses import replace

    if grid is not None:
        target = replace(target, axes=grid.applied(target.axes))
    found = one_at_a_time(target.axes)
    for names in grid.cross if grid is not None else ():
        if set(names) <= {axis.name for axis in target.axes}:
            found += crossed(target.axes, names)
    return target, list(dict.fromkeys(found))


def run(
    targets: Sequence[Target],
    sampling: Sampling,
    folder: Path,
    client: Callable[[], Any],
    *,
    grid: Grid | None = None,
    limits: Limits = Limits(),
    reweight: bool = True,
    surfaces: bool = True,
    progress: Progress = lambda *_: None,
) -> Result:
    """Run every scenario of every target, then the tipping surfaces, and sum up.

    Finished scenarios are kept in ``folder``; those already there are not computed again.
    """
    planned = [plan(target, grid) for target in targets]
    targets = [target for target, _ in planned]
    scenarios = [found for _, found in planned]
    known: dict[tuple[int, str], list[dict[str, Any]]] = {}

    def done(scenarios: Sequence[Sequence[Scenario]]) -> tuple[pd.DataFrame, Mapping[str, float]]:
        wanted = jobs(targets, scenarios, sampling, reweight=reweight)
        spent = run_jobs(targets, wanted, sampling, folder, client, progress)
        store = Store(folder.resolve())
        rows = []
        for job in wanted:
            if (job.target, job.key) not in known:
                target = targets[job.target]
                found = _found(target, job, sampling, store)
                known[job.target, job.key] = list(_rows(target, job.scenario, found, limits))
            rows += known[job.target, job.key]
        return pd.DataFrame(rows, columns=[*COLUMNS, "power"]), spent

    table, seconds = done(scenarios)
    chosen = _surfaces(targets, table) if surfaces else {}
    if chosen:
        more = [
            [*known, *(s for names in _of(target, chosen) for s in crossed(target.axes, names))]
            for target, known in zip(targets, scenarios, strict=True)
        ]
        table, again = done(more)
        seconds = {name: seconds[name] + again[name] for name in seconds}
    conclusions = tuple(c for target in targets for c in target.conclusions)
    return Result(
        conclusions,
        tuple(targets),
        table.drop(columns="power"),
        summary(conclusions, table, limits),
        chosen,
        limits,
        seconds,
    )


def _found(target: Target, job: worker.Job, sampling: Sampling, store: Store) -> Drawn:
    if target.closed_form:
        return worker.compute(job, target, sampling, store)
    found = worker.stored(store, target, job.key)
    if found is None:
        raise RuntimeError(f"a finished scenario is gone from {store.folder}: {job.key}")
    return found


def _of(target: Target, chosen: Mapping[str, tuple[str, str]]) -> list[tuple[str, str]]:
    found = [chosen[c.id] for c in target.conclusions if c.id in chosen]
    return list(dict.fromkeys(found))


def _rows(target: Target, of: Scenario, found: Drawn, limits: Limits) -> Iterator[dict[str, Any]]:
    for conclusion in target.conclusions:
        text = str(conclusion.estimand)
        unit = "%" if conclusion.estimand.kind in PERCENT_KINDS else ""
        row = {
            "conclusion": conclusion.id,
            "statement": str(conclusion),
            "locator": conclusion.locator,
            "analysis": target.name,
            "scenario": of.id,
            "changed": str(of),
            "kind": " and ".join(kinds(target.axes, of)),
            "unit": unit,
            "method": found.method,
            "k_hat": found.k_hat,
            "ess": found.ess,
            "model": found.model,
            "note": found.reason or conclusion.note,
            "power": found.power.get(text),
        }
        if found.method == IMPOSSIBLE:
            yield {**row, "probability": np.nan, "stance": NO_ANSWER, "convergence": ""}
        elif text in found.draws:
            numbers = _numbers(conclusion, *found.draws[text], found.weight, unit)
            yield {
                **row,
                **numbers,
                "stance": limits.stance(numbers["probability"]),
                "convergence": "converged"
                if found.method == EXACT
                else str(verdict(found.draws[text][0], found.diagnostics)),
            }


def _numbers(
    conclusion: Conclusion,
    posterior: xr.DataArray,
    prior: xr.DataArray,
    weight: xr.DataArray | None,
    unit: str,
) -> dict[str, float]:
    if weight is None:
        weight = xr.full_like(posterior, 1 / posterior.size)
    tail = (1 - INTERVAL) / 2
    values = posterior.to_numpy().ravel()
    lower, median, upper = weighted_quantiles(
        values, weight.to_numpy().ravel(), (tail, 0.5, 1 - tail)
    )
    scale = 100.0 if unit == "%" else 1.0
    true = conclusion.holds(posterior).astype(float)
    return {
        "probability": min(1.0, weighted_mean(true, weight)),
        "prior_probability": float(conclusion.holds(prior).mean()),
        "median": scale * median,
        "lower": scale * lower,
        "upper": scale * upper,
    }


def influence(table: pd.DataFrame, axes: Sequence[Axis], conclusion: str) -> pd.DataFrame:
    """How far each axis alone moves a conclusion: columns axis, kind, least and most P, shift.

    ``shift`` is the range of the estimate's median; axes are ordered by the range of P, then by
    it. Includes the reported analysis.
    """
    rows = table[table["conclusion"] == conclusion].set_index("scenario")
    found = []
    for axis in axes:
        ids = [s.id for s in one_at_a_time([axis])]
        here = rows.loc[[i for i in ids if i in rows.index]].dropna(subset=["probability"])
        if len(here) > 1:
            found.append(
                {
                    "axis": axis.name,
                    "kind": axis.kind,
                    "least": here["probability"].min(),
                    "most": here["probability"].max(),
                    "shift": here["median"].max() - here["median"].min(),
                }
            )
    columns = ["axis", "kind", "least", "most", "shift"]
    frame = pd.DataFrame(found, columns=columns)
    order = (frame["most"] - frame["least"]).round(3)
    return (
        frame.assign(order=order)
        .sort_values(["order", "shift"], ascending=False, kind="stable")
        .drop(columns="order")
        .reset_index(drop=True)
    )


def _surfaces(targets: Sequence[Target], table: pd.DataFrame) -> dict[str, tuple[str, str]]:
    """The two most influential axes of numbers of each conclusion that has two."""
    chosen = {}
    for target in targets:
        numeric = [axis for axis in target.axes if axis.surface]
        for conclusion in target.conclusions:
            axes = influence(table, numeric, conclusion.id)["axis"].tolist()[:2]
            if len(axes) == 2:
                order = [axis.name for axis in numeric if axis.name in axes]
                chosen[conclusion.id] = (order[0], order[1])
    return chosen


def summary(conclusions: Sequence[Conclusion], table: pd.DataFrame, limits: Limits) -> pd.DataFrame:
    """One row a conclusion: stance as reported, range of P, whether it is robust, what breaks it.

    *robust*: the same stance in every scenario that gives one; *fragile* otherwise.
    """
    return pd.DataFrame([_summed(c, table[table["conclusion"] == c.id], limits)
                         for c in conclusions])  # fmt: skip


def _summed(conclusion: Conclusion, rows: pd.DataFrame, limits: Limits) -> dict[str, Any]:
    base = rows[rows["scenario"] == BASE.id].iloc[0]
    known = rows.dropna(subset=["probability"])
    broken = known[known["stance"] != base["stance"]]
    power = base["power"] or (np.nan, np.nan)
    failed = known[known["convergence"] != "converged"]
    said = {
        "conclusion": conclusion.id,
        "statement": str(conclusion),
        "locator": conclusion.locator,
        "stance": base["stance"],
        "probability": base["probability"],
        "prior_probability": base["prior_probability"],
        "least": known["probability"].min(),
        "most": known["probability"].max(),
        "robust": "robust" if broken.empty else "fragile",
        "prior_sensitivity": power[0],
        "likelihood_sensitivity": power[1],
        "power_scaling": diagnosis(*power),
        "impossible": "; ".join(rows.loc[rows["stance"] == NO_ANSWER, "changed"]),
        "not_converged": "; ".join(failed["changed"]),
    }
    return {**said, "sentence": _sentence(said, broken, limits), "note": conclusion.note}


def _sentence(said: Mapping[str, Any], broken: pd.DataFrame, limits: Limits) -> str:
    words = {HOLDS: "holds", UNCERTAIN: "is uncertain", FAILS: "fails"}
    start = f"{said['statement']} {words.get(said['stance'], 'has no answer')} as reported"
    parts = [
        f"{start} (P {_percent(said['probability'])}, under the prior "
        f"{_percent(said['prior_probability'])}); over the scenarios P goes from "
        f"{_percent(said['least'])} to {_percent(said['most'])}."
    ]
    if broken.empty:
        parts.append("No scenario tried changes that.")
    else:
        parts += _breaking(broken, words)
    if said["impossible"]:
        parts.append(f"Impossible, as the facts contradict each other: {said['impossible']}.")
    if said["power_scaling"]:
        parts.append(f"Power-scaling: {said['power_scaling']}.")
    if said["not_converged"]:
        parts.append("Some scenarios did not converge; the table names them.")
    return " ".join(parts)


def _breaking(broken: pd.DataFrame, words: Mapping[str, str], most: int = 3) -> Iterator[str]:
    """Which scenarios change the stance: those with one change before those with two."""
    for stance in (HOLDS, UNCERTAIN, FAILS):
        rows = broken[broken["stance"] == stance]
        if rows.empty:
            continue
        single = rows[~rows["changed"].str.contains(", ")]
        pool = single if len(single) else rows
        pool = pool.sort_values("probability", ascending=stance != HOLDS)
        named = "; ".join(pool["changed"].iloc[:most])
        more = " and others" if len(rows) > min(most, len(pool)) else ""
        yield f"It {words[stance]} with {named}{more}."


def _percent(value: float) -> str:
    if np.isnan(value):
        return "unknown"
    if value > 0.999:
        return ">99.9\N{NO-BREAK SPACE}%"
    text = "<0.1" if value < 0.001 else f"{100 * value:.1f}"
    return f"{text}\N{NO-BREAK SPACE}%"


def methods_used(table: pd.DataFrame) -> dict[str, int]:
    """Scenarios of targets by how they were computed; refused re-weightings count as refits."""
    each = table.drop_duplicates(["analysis", "scenario"])
    counted = each["method"].value_counts().to_dict()
    refused = each["k_hat"].notna() & (each["method"] != REWEIGHTED)
    return {**{str(k): int(v) for k, v in counted.items()}, "refused": int(refused.sum())}
