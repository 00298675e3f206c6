"""Does a conclusion survive? Scenarios to rows, and rows to a sentence for each conclusion.

The reported analysis is that of the page, from its own fits; scenarios vary it. Stances and the
verdict are those of ``summary``. Scenarios are choices, not draws from anything: how
many of them keep a conclusion is no probability, and is never given as one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import xarray as xr

from her2bayes.errors import BadInput, Fault, raise_if
from her2bayes.estimand import KINDS, Estimand
from her2bayes.evidence.printed.tables import Conclusion
from her2bayes.inference.convergence import CONVERGED, verdict
from her2bayes.inference.estimates import INTERVAL
from her2bayes.inference.reweight import weighted_mean, weighted_quantiles
from her2bayes.inference.sampling import Sampling, Settings
from her2bayes.inference.store import Store
from her2bayes.page.numbers import probability
from her2bayes.page.style import Figures
from her2bayes.sensitivity import worker
from her2bayes.sensitivity.scenarios import Grid, Scenario, crossed, kinds, one_at_a_time
from her2bayes.sensitivity.summary import NO_ANSWER, Limits, counting, influence, summary
from her2bayes.sensitivity.target import (
    EXACT,
    FAMILIES,
    IMPOSSIBLE,
    REWEIGHTED,
    Drawn,
    Target,
    not_asked,
    unanswered,
)
from her2bayes.sensitivity.worker import Progress, jobs
from her2bayes.sensitivity.worker import run as run_jobs

if TYPE_CHECKING:
    from her2bayes.evidence.printed.study import Study
    from her2bayes.page.section import Section

STUDY_FAMILIES = ("distribution", "transition", "rates", "printed")

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
    "fit_id",
    "apart",
    "note",
)


@dataclass(frozen=True, repr=False, eq=False)
class Sensitivity:
    """What the scenarios say of each conclusion; printing it says so in a line each.

    ``table`` (also ``frame``) has one row a conclusion and scenario, ``summary`` one row a
    conclusion, ``surfaces`` its two crossed axes, ``seconds`` what the workers spent. ``about``
    says whose conclusions they are; ``settings`` and ``minutes`` how they were asked.
    """

    conclusions: tuple[Conclusion, ...]
    targets: tuple[Target, ...]
    table: pd.DataFrame
    summary: pd.DataFrame
    surfaces: Mapping[str, tuple[str, str]]
    limits: Limits
    seconds: Mapping[str, float]
    about: Mapping[str, str] = field(default_factory=dict)
    settings: Settings = Settings()  # noqa: RUF009 (frozen)
    minutes: float = 0.0

    def target(self, conclusion: str) -> Target:
        """Target that answers a conclusion."""
        return next(t for t in self.targets if conclusion in {c.id for c in t.conclusions})

    def conclusion(self, name: str = "") -> Conclusion:
        """Conclusion by id or statement, the first where none is named; ``BadInput`` otherwise."""
        for one in self.conclusions:
            if name in ("", one.id, str(one)):
                return one
        allowed = ", ".join(one.id for one in self.conclusions)
        raise BadInput(Fault("no such conclusion", value=name, allowed=allowed))

    @property
    def frame(self) -> pd.DataFrame:
        """One row a conclusion and scenario, as in ``sensitivity.csv``."""
        return self.table

    @property
    def not_asked(self) -> pd.DataFrame:
        """Choices that a reader may expect and that these data do not let anybody make."""
        return not_asked(self.targets)

    @property
    def failed(self) -> tuple[str, ...]:
        """Scenarios that did not converge, a line a conclusion."""
        return tuple(
            f"{row['conclusion']}: {row['not_converged']}"
            for row in self.summary.to_dict("records")
            if row["not_converged"]
        )

    @property
    def figures(self) -> Figures:
        """``stability(family)``, ``tornado(conclusion)``, ``surface(conclusion)``."""
        from her2bayes.sensitivity import section

        drawings = (section.stability, section.tornado, section.surface)
        return Figures({draw.__name__: partial(draw, self) for draw in drawings})

    def section(self) -> Section:
        """All conclusions as a section of a report."""
        from her2bayes.sensitivity.section import section

        return section(self)

    def write(self, out: str | Path) -> Path:
        """Write sensitivity.csv, _summary.csv, _not_asked.csv, the page and its record into a
        folder, and return the page; raises ``BadInput`` where that cannot be.
        """
        from her2bayes.sensitivity.section import write

        return write(self, Path(out))

    @property
    def lines(self) -> tuple[str, ...]:
        """One line a conclusion: stance, whether it is robust, probability and its range."""
        return tuple(
            f"{row['stance']:<9} {row['robust']:<8} P {probability(row['probability'])} "
            f"({probability(row['least'])} to {probability(row['most'])})  {row['statement']}"
            for row in self.summary.to_dict("records")
        )

    def __str__(self) -> str:
        """One line a conclusion, then what did not converge."""
        return "\n".join((*self.lines, *(f"Not converged: {line}" for line in self.failed)))

    def __repr__(self) -> str:
        """One line."""
        return f"<Sensitivity: {len(self.conclusions)} conclusions, {len(self.table)} rows>"


def study_targets(study: Study, conclusions: Sequence[Conclusion]) -> list[Target]:
    """Targets for the conclusions of a paper; ``BadInput`` lists what exists for the others."""
    from importlib import import_module

    families = [import_module(FAMILIES[n]) for n in STUDY_FAMILIES]
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
    limits: Limits = Limits(),  # noqa: B008 (frozen)
    reweight: bool = True,
    surfaces: bool = True,
    progress: Progress = lambda *_: None,
    fits: Path | None = None,
) -> Sensitivity:
    """Run every scenario of every target, then the tipping surfaces, and sum up.

    Finished scenarios are kept in ``folder``; those already there are not computed again. ``fits``
    is the folder of the page's fits, from which the reported analyses are read or to which they
    are added.
    """
    kept = None if fits is None else Store(fits.resolve())
    planned = [plan(target, grid) for target in targets]
    targets = [target for target, _ in planned]
    scenarios = [found for _, found in planned]
    known: dict[tuple[int, str], list[dict[str, Any]]] = {}
    unfit: dict[int, bool] = {}  # whether the reported model fails its check; it comes first

    def done(scenarios: Sequence[Sequence[Scenario]]) -> tuple[pd.DataFrame, Mapping[str, float]]:
        wanted = jobs(targets, scenarios, sampling, reweight=reweight)
        spent = run_jobs(targets, wanted, sampling, folder, client, progress, kept)
        store = Store(folder.resolve())
        rows = []
        for job in wanted:
            if (job.target, job.key) not in known:
                target = targets[job.target]
                found = _found(target, job, sampling, store, kept)
                if not job.scenario.changes:
                    unfit[job.target] = bool(found.unfit)
                rows_of = _rows(target, job.scenario, found, limits, unfit[job.target])
                known[job.target, job.key] = list(rows_of)
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
    return Sensitivity(
        conclusions,
        tuple(targets),
        table.drop(columns="power"),
        summary(conclusions, table, limits),
        chosen,
        limits,
        seconds,
    )


def _found(
    target: Target, job: worker.Job, sampling: Sampling, store: Store, fits: Store | None
) -> Drawn:
    if target.closed_form:
        return worker.compute(job, target, sampling, store, fits)
    found = worker.stored(store, target, job.key)
    if found is None:
        raise RuntimeError(f"a finished scenario is gone from {store.folder}: {job.key}")
    return found


def _of(target: Target, chosen: Mapping[str, tuple[str, str]]) -> list[tuple[str, str]]:
    found = [chosen[c.id] for c in target.conclusions if c.id in chosen]
    return list(dict.fromkeys(found))


def _rows(
    target: Target, of: Scenario, found: Drawn, limits: Limits, unfit: bool
) -> Iterator[dict[str, Any]]:
    """Rows of a scenario, one a conclusion; ``unfit``: the reported model fails its check too."""
    for conclusion in target.conclusions:
        text = str(conclusion.estimand)
        unit = _unit(conclusion.estimand)
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
            "fit_id": found.fit_id,
            "apart": _apart(target, of, conclusion, "" if unfit else found.unfit),
            "note": found.reason or conclusion.note,
            "power": found.power.get(text),
        }
        if found.method == IMPOSSIBLE:
            yield {**row, "probability": np.nan, "stance": NO_ANSWER, "convergence": ""}
        elif text in found.draws:
            numbers = _numbers(conclusion, *found.draws[text], found.weight, unit)
            numbers |= found.numbers.get(conclusion.id, {})
            yield {
                **row,
                **numbers,
                "stance": limits.stance(numbers["probability"]),
                "convergence": _convergence(found, found.draws[text][0]),
            }


def _unit(estimand: Estimand) -> str:
    """Unit of the printed number; of times that of the horizon."""
    own = KINDS[estimand.kind].unit
    return estimand.time_unit if own is None else own


def _convergence(found: Drawn, draws: xr.DataArray) -> str:
    if found.method == EXACT:
        return CONVERGED
    return found.verdict or str(verdict(draws, found.diagnostics))


def _apart(target: Target, of: Scenario, conclusion: Conclusion, unfit: str) -> str:
    """Why a scenario says nothing on a conclusion and is shown apart; empty where it counts."""
    if not of.changes:
        return ""
    known = getattr(worker.family(target), "apart", None)
    reasons = [known(target, of, conclusion.estimand) if known else "", unfit]
    return "; ".join(reason for reason in reasons if reason)


def _numbers(
    conclusion: Conclusion,
    posterior: xr.DataArray,
    prior: xr.DataArray,
    weight: xr.DataArray | None,
    unit: str,
) -> dict[str, float]:
    tail = (1 - INTERVAL) / 2
    places = (tail, 0.5, 1 - tail)
    values = posterior.to_numpy().astype(float).ravel()
    true = conclusion.holds(posterior).astype(float)
    if weight is None:  # as the page summarises draws
        lower, median, upper = np.quantile(values, places)
        chance = float(true.mean())
    else:
        lower, median, upper = weighted_quantiles(values, weight.to_numpy().ravel(), places)
        chance = min(1.0, weighted_mean(true, weight))
    scale = 100.0 if unit == "%" else 1.0
    return {
        "probability": chance,
        "prior_probability": float(conclusion.holds(prior).mean()),
        "median": scale * median,
        "lower": scale * lower,
        "upper": scale * upper,
    }


def _surfaces(targets: Sequence[Target], table: pd.DataFrame) -> dict[str, tuple[str, str]]:
    """The two most influential axes of numbers of each conclusion that has two."""
    chosen = {}
    for target in targets:
        numeric = [axis for axis in target.axes if axis.surface]
        for conclusion in target.conclusions:
            axes = influence(counting(table), numeric, conclusion.id)["axis"].tolist()[:2]
            if len(axes) == 2:
                order = [axis.name for axis in numeric if axis.name in axes]
                chosen[conclusion.id] = (order[0], order[1])
    return chosen


def methods_used(table: pd.DataFrame) -> dict[str, int]:
    """Scenarios of targets by how they were computed; refused re-weightings count as refits."""
    each = table.drop_duplicates(["analysis", "scenario"])
    counted = each["method"].value_counts().to_dict()
    refused = each["k_hat"].notna() & (each["method"] != REWEIGHTED)
    return {**{str(k): int(v) for k, v in counted.items()}, "refused": int(refused.sum())}
