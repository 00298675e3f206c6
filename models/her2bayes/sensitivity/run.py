"""Does a conclusion survive? Scenarios to rows, and rows to a sentence for each conclusion.

The reported analysis is that of the page, from its own fits; scenarios vary it. Stances and the
verdict are those of ``summary``. Scenarios are choices, not draws from anything: how
many of them keep a conclusion is no probability, and is never given as one.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import pandas as pd
import xarray as xr

from her2bayes.errors import BadInput, Fault, raise_if
from her2bayes.estimand import KINDS, Estimand
from her2bayes.evidence.printed.tables import Conclusion, load_conclusions, read_conclusion
from her2bayes.inference.convergence import CONVERGED, verdict
from her2bayes.inference.estimates import INTERVAL
from her2bayes.inference.reweight import weighted_mean, weighted_quantiles
from her2bayes.inference.sampling import Sampling, Settings, cluster
from her2bayes.inference.store import Store
from her2bayes.sensitivity import worker
from her2bayes.sensitivity.section import Sensitivity
from her2bayes.sensitivity.summary import NO_ANSWER, Limits, counting, influence, summary
from her2bayes.sensitivity.target import (
    EXACT,
    FAMILIES,
    IMPOSSIBLE,
    Drawn,
    Grid,
    Scenario,
    Target,
    crossed,
    kinds,
    one_at_a_time,
    read_grid,
    unanswered,
)
from her2bayes.sensitivity.worker import Progress, jobs
from her2bayes.sensitivity.worker import run as run_jobs

if TYPE_CHECKING:
    from her2bayes.evidence.printed.study import Study
    from her2bayes.evidence.printed.vocabulary import Vocabulary
    from her2bayes.page.report import Part

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


@dataclass(frozen=True)
class Asked:
    """What is to be analysed: whose conclusions they are, and the targets that answer them."""

    about: Mapping[str, str]
    targets: tuple[Target, ...]


class Answering(Protocol):
    """What is asked of a fitted analysis (``results.fitted``)."""

    @property
    def family(self) -> str:
        """Room of the package."""

    @property
    def title(self) -> str:
        """What was fitted, of whom."""

    def part(self) -> Part:
        """The analysis as a part of a report."""

    def targets(self, conclusions: Sequence[Conclusion]) -> Sequence[Target]:
        """What answers the conclusions."""


def about_fit(fit: Answering, conclusions: str | Path | Sequence[str] | None) -> Asked:
    """Conclusions on a fit of one's own data; ``BadInput`` where it answers none of them."""
    if conclusions is None:
        remedy = 'give statements, e.g. ["hazard_ratio[os ; her2: positive vs low] < 1"]'
        raise BadInput(Fault("a fit has no conclusions of its own", remedy=remedy))
    about = {"id": fit.family, "title": fit.title, "citation": "", "doi": ""}
    about |= dict(fit.part().about)
    return Asked(about, tuple(fit.targets(read_conclusions(conclusions, None))))


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


def read_conclusions(
    given: str | Path | Sequence[str], words: Vocabulary | None
) -> tuple[Conclusion, ...]:
    """Statements as conclusions, or those of a CSV file; ``BadInput`` with every fault.

    ``words`` are the factors, levels and endpoints that exist, where they are known.
    """
    if isinstance(given, Path) or (isinstance(given, str) and given.endswith(".csv")):
        if words is None:
            remedy = "give the statements as texts"
            raise BadInput(Fault("a file of conclusions needs its patients", given, remedy=remedy))
        return load_conclusions(Path(given), words)
    found, faults = [], []
    for place, text in enumerate([given] if isinstance(given, str) else given, 1):
        read, wrong = read_conclusion(text, words)
        faults += wrong
        found += [] if read is None else [replace(read, id=f"c{place}")]
    raise_if(faults)
    return tuple(found)


def answer(
    asked: Asked,
    *,
    grid: str | Path | Grid | None = None,
    holds: float = 0.975,
    reweight: bool = True,
    surfaces: bool = True,
    scheduler: str = "",
    workers: int = 2,
    resume: bool = True,
    store: str | Path | None = None,
    fits: str | Path | None = None,
    seed: int = 20230221,
    quick: bool = False,
    progress: Progress = lambda *_: None,
    **patients: Any,
) -> Sensitivity:
    """Run what is asked with workers of its own; the arguments are those of ``hb.sensitivity``.

    Those for patients are refused: whose conclusions they are is known by now.
    """
    limits = Limits(holds)
    for_no_patients(patients)
    axes = [axis for one in asked.targets for axis in one.axes]
    wanted = read_grid(Path(grid), axes) if isinstance(grid, str | Path) else grid
    accept = 0.95 if any(one.family == "survival" for one in asked.targets) else 0.9
    settings = Settings(seed, quick, accept)
    start = monotonic()
    with ExitStack() as stack:
        folder = Path(store or stack.enter_context(TemporaryDirectory(prefix="her2-scenarios-")))
        if not resume:
            forget(folder)

        @cache
        def client() -> Any:
            with _importable_nowhere():
                return stack.enter_context(cluster(scheduler, workers))

        found = run(
            asked.targets,
            settings.sampling,
            folder,
            client,
            grid=wanted,
            limits=limits,
            reweight=reweight,
            surfaces=surfaces,
            progress=progress,
            fits=None if fits is None else Path(fits),
        )
    minutes = (monotonic() - start) / 60
    return replace(found, about=asked.about, settings=settings, minutes=minutes)


def for_no_patients(patients: Mapping[str, Any]) -> None:
    """Refuse arguments that say how patients are read where none are."""
    if patients:
        problem = "these arguments are for patients"
        raise BadInput(Fault(problem, value=", ".join(patients), remedy="leave them out"))


@contextmanager
def _importable_nowhere() -> Iterator[None]:
    """Let worker processes start without running the user's script again.

    A new process imports the file of ``__main__``; a script without the usual guard would ask for
    its workers again there, and fail.
    """
    main = sys.modules["__main__"]
    names = ("__file__", "__spec__")
    kept = {name: getattr(main, name) for name in names if hasattr(main, name)}
    try:
        for name in kept:
            delattr(main, name)
        main.__spec__ = None
        yield
    finally:
        for name, value in kept.items():
            setattr(main, name, value)


def forget(folder: Path) -> None:
    """Remove stored scenarios, so that everything is computed again."""
    for path in folder.glob("*.nc"):
        path.unlink()


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
