"""Simulation-based calibration: is the machinery behind a posterior right for a design?

Parameters are drawn from the stated prior, patients from the parameters, and the model is fitted to
them (Talts et al. 2018; Modrak et al. 2023 for the joint log likelihood as a test quantity). Then
the rank of the truth among the draws is uniform and a 95 % interval covers it in 95 % of studies,
averaged over the prior. Ranks are judged by their empirical distribution function with a band that
holds for all ranks at once (Sailynoja, Buerkner and Vehtari 2022), at 0.05 over all answers.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Protocol, TextIO

import numpy as np
import pandas as pd
from scipy import stats

from her2bayes.calibration.designs import Design, chosen, fitting, kinds, read_design
from her2bayes.errors import BadInput, Fault
from her2bayes.files import publish
from her2bayes.inference.meaning import meaning
from her2bayes.inference.sampling import Sampling, cluster
from her2bayes.page import style
from her2bayes.page.fit_card import LEVEL, SCHEMA, sentence
from her2bayes.page.section import Figure
from her2bayes.page.section_view import figure_files
from her2bayes.version import __version__, versions

if TYPE_CHECKING:
    from matplotlib.figure import Figure as MatplotlibFigure

SAMPLING = Sampling(draws=500, tune=500, chains=2, target_accept=0.9)
COLUMNS = 4
COVERAGE, TOLERANCE = 0.95, 0.018  # at 1000 simulations 1.8 points are 2.6 standard errors
_GRID = np.arange(1, 100) / 100


def simulate(
    design: Design, seed: int, number: int, sampling: Sampling = SAMPLING
) -> dict[str, Any]:
    """One simulated study, fitted: rank, interval and moments of every answer, as plain numbers.

    Every fit has a seed of its own: with one for all, what little data tell of is drawn alike each
    time, and the Monte Carlo error of one run would stand in every rank.
    """
    from her2bayes.inference import engine
    from her2bayes.inference.convergence import diagnostics

    rng = np.random.default_rng([seed, number])
    kind = kinds()[design.model]
    own = int(np.random.SeedSequence([seed, number, sampling.seed]).generate_state(1)[0])
    sampling = replace(sampling, draws=max(sampling.draws, kind.draws), seed=own)
    made = kind.draw(rng, design)
    with engine.compiler_flags():
        model = design.build(made.data, **kind.options)
        posterior, run, seconds = engine.sample(model, sampling, cores=1)
    answers = kind.answers(design, made.data, posterior)
    found = {
        name: _answer(rng, answers[name].transpose("chain", "draw").to_numpy(), truth)
        for name, truth in made.truth.items()
    }
    reasons = diagnostics(run).reasons
    return {"number": number, "failed": "; ".join(reasons), "seconds": seconds, "answers": found}


def _answer(rng: np.random.Generator, draws: np.ndarray, truth: float) -> dict[str, float]:
    """Rank of the truth among the draws (ties at random), as a share of their number."""
    below, same = int((draws < truth).sum()), int((draws == truth).sum())
    rank = (below + rng.integers(0, same + 1)) / draws.size
    low, high = np.quantile(draws, [(1 - COVERAGE) / 2, (1 + COVERAGE) / 2])
    return {
        "rank": float(rank),
        "truth": float(truth),
        "mean": float(draws.mean()),
        "sd": float(draws.std()),
        "covered": float(low <= truth <= high),
    }


@dataclass(frozen=True)
class Plan:
    """Which simulations to run and where their results are kept (one JSON line each)."""

    design: Design
    seed: int
    simulations: int
    file: Path

    @property
    def identity(self) -> dict[str, Any]:
        """What the results depend on; stored as the first line of the file."""
        return {
            "model": self.design.model,
            "design": self.design.name,
            "patients": dict(self.design.patients),
            "parent": list(self.design.parent),
            **({"graded": list(self.design.graded)} if self.design.graded else {}),
            "seed": self.seed,
            "draws": max(SAMPLING.draws, kinds()[self.design.model].draws) * SAMPLING.chains,
            "source": meaning(self.design.build),
            "versions": versions(),
        }


class Kept(Protocol):
    """Numbered simulations that one file keeps, under what they depend on."""

    @property
    def simulations(self) -> int:
        """How many."""

    @property
    def file(self) -> Path:
        """Where they are kept, one JSON line each."""

    @property
    def identity(self) -> dict[str, Any]:
        """What the results depend on; stored as the first line of the file."""


def stored(plan: Kept) -> dict[int, dict[str, Any]]:
    """Results of an earlier run, without a line cut off by a kill; ``BadInput`` if another's."""
    if not plan.file.exists():
        return {}
    lines = plan.file.read_text("utf-8").splitlines()
    rows = []
    for line in lines:
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    if not rows or rows[0] != json.loads(json.dumps(plan.identity)):  # tuples come back as lists
        raise BadInput(
            Fault(
                "the file holds simulations of another model, design, seed or version",
                file=plan.file,
                remedy="give another --out, or remove the file",
            )
        )
    return {row["number"]: row for row in rows[1:] if row["number"] < plan.simulations}


def run(
    plan: Plan, client: Callable[[], Any], tell: Callable[[int, int], None] = lambda *_: None
) -> list[dict[str, Any]]:
    """Simulate what is not stored yet, on the workers of ``client``; store each as it ends."""
    return finish(plan, partial(simulate, plan.design, plan.seed), client, tell)


def finish(
    plan: Kept, job: Callable[[int], dict[str, Any]], client: Callable[[], Any],
    tell: Callable[[int, int], None] = lambda *_: None,
) -> list[dict[str, Any]]:  # fmt: skip
    """Do the job of every number of a plan that is not stored yet; store each as it ends."""
    from distributed import as_completed

    done = stored(plan)
    todo = [n for n in range(plan.simulations) if n not in done]
    tell(len(done), plan.simulations)
    if todo:
        with _kept(plan, done) as file:
            jobs = client().map(job, todo, pure=False)
            for row in _results(as_completed(jobs)):
                done[row["number"]] = row
                file.write(json.dumps(row) + "\n")
                file.flush()
                tell(len(done), plan.simulations)
    return [done[n] for n in sorted(done)]


_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM,
         errno.ENOTDIR, errno.EEXIST, errno.EISDIR)  # fmt: skip
"""What the disk answers; connections to workers fail with other numbers."""


@contextmanager
def _kept(plan: Kept, done: Mapping[int, Mapping[str, Any]]) -> Iterator[TextIO]:
    """File of finished simulations, whole before it is added to; ``BadInput`` where it cannot be.

    What is there is written aside first: a run that is killed here loses nothing.
    """
    rows = [plan.identity, *done.values()]
    aside = plan.file.with_name(f".writing-{plan.file.name}")
    try:
        plan.file.parent.mkdir(parents=True, exist_ok=True)
        with aside.open("w", encoding="utf-8") as file:
            file.writelines(json.dumps(row) + "\n" for row in rows)
            file.flush()
            os.fsync(file.fileno())
        aside.replace(plan.file)
        with plan.file.open("a", encoding="utf-8") as file:
            yield file
    except OSError as error:
        if error.errno not in _DISK:
            raise
        problem = f"finished simulations cannot be kept here: {error.strerror or error}"
        remedy = "give --kept a folder that can be written and has space"
        raise BadInput(Fault(problem, file=plan.file, remedy=remedy)) from error


def _results(finished: Iterator[Future[dict[str, Any]]]) -> Iterator[dict[str, Any]]:
    for future in finished:
        yield future.result()
        future.release() if hasattr(future, "release") else None


def summary(rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """One row an answer: whether its ranks stay in the band, coverage, z-scores, contraction.

    ``p_value`` is the least level at which the band would hold; ``uniform`` compares it with 0.05
    over the number of answers. ``contraction`` is one minus posterior over prior variance.
    """
    names = list(rows[0]["answers"])
    table = []
    for name in names:
        values = pd.DataFrame([row["answers"][name] for row in rows])
        p = band_p_value(values["rank"].to_numpy())
        z = (values["truth"] - values["mean"]) / values["sd"].where(values["sd"] > 0)
        covered = float(values["covered"].mean())
        table.append(
            {
                "answer": name,
                "p_value": p,
                "uniform": p >= LEVEL / len(names),
                "coverage": covered,
                "covers": abs(covered - COVERAGE) <= tolerance(len(rows)),
                "z_mean": float(z.mean()),
                "z_sd": float(z.std()),
                "contraction": float(1 - (values["sd"] ** 2).mean() / values["truth"].var()),
            }
        )
    return pd.DataFrame(table)


def tolerance(simulations: int) -> float:
    """How far coverage may lie from 95 %: 1.8 points at 1000 simulations, as a standard error."""
    return TOLERANCE * float(np.sqrt(1000 / simulations))


def band_p_value(ranks: np.ndarray) -> float:
    """P value of uniform ranks: how extreme the most extreme point of their distribution is."""
    known = _least_under_uniform(len(ranks))
    return float((1 + (known <= _least(ranks)).sum()) / (1 + len(known)))


def band(simulations: int, level: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Grid of ranks, and the lowest and highest share of ranks below each that the band allows."""
    at = float(np.quantile(_least_under_uniform(simulations), level))
    ends = (np.asarray(stats.binom.ppf(p, simulations, _GRID)) for p in (at / 2, 1 - at / 2))
    lower, upper = (end / simulations for end in ends)
    return _GRID, lower, upper


def _least(ranks: np.ndarray) -> float:
    """Smallest two-sided binomial tail of the counts of ranks below each grid point."""
    count = np.searchsorted(np.sort(ranks), _GRID, side="right")
    number = len(ranks)
    below = stats.binom.cdf(count, number, _GRID)
    above = stats.binom.sf(count - 1, number, _GRID)
    return float(np.minimum(1.0, 2 * np.minimum(below, above)).min())


@cache
def _least_under_uniform(number: int, repeats: int = 4000) -> np.ndarray:
    rng = np.random.default_rng(0)
    return np.sort([_least(rng.random(number)) for _ in range(repeats)])


def passport(
    plan: Plan, command: str, runs: Sequence[tuple[int, Sequence[Mapping[str, Any]]]]
) -> dict[str, Any]:
    """Record of one or two looks (seed, simulations) at a plan; the last one decides."""
    found = []
    for seed, rows in runs:
        table = summary(rows)
        found.append(
            {
                "seed": seed,
                "simulations": len(rows),
                "failed_fits": sum(bool(row["failed"]) for row in rows),
                "uniform": bool(table["uniform"].all()),
                "covers": bool(table["covers"].all()),
                "coverage_lowest": float(table["coverage"].min()),
                "coverage_highest": float(table["coverage"].max()),
                "answers": json.loads(table.to_json(orient="records", double_precision=4)),
            }
        )
    last = found[-1]
    return {
        "schema": SCHEMA,
        **{k: v for k, v in plan.identity.items() if k != "seed"},
        "package_version": __version__,
        "command": command,
        "passed": last["uniform"] and last["covers"],
        "runs": found,
    }


def ranks(rows: Sequence[Mapping[str, Any]]) -> MatplotlibFigure:
    """Draw the distribution of ranks minus the uniform one, an answer a panel, with its band."""
    table = summary(rows)
    grid, lower, upper = band(len(rows), LEVEL / len(table))
    lines = -(-len(table) // COLUMNS)
    with style.drawing():
        canvas, panels = style.new_figure(
            900, 84 * lines + 30, nrows=lines, ncols=COLUMNS, sharex=True, sharey=True,
            squeeze=False,
        )  # fmt: skip
        for panel in panels.flat[len(table) :]:
            panel.set_visible(False)
        for panel, row in zip(panels.flat, table.to_dict("records"), strict=False):
            ranked = np.sort([r["answers"][row["answer"]]["rank"] for r in rows])
            below = np.searchsorted(ranked, grid, side="right") / len(ranked)
            panel.fill_between(grid, lower - grid, upper - grid, color=style.FAINT, linewidth=0)
            good = style.BLUE if row["uniform"] else style.VERMILLION
            panel.plot(grid, below - grid, color=good, linewidth=1)
            panel.set_title(row["answer"], fontsize=8, loc="left", fontweight="normal")
            panel.set_xticks([0, 0.5, 1])
    return canvas


def figure(rows: Sequence[Mapping[str, Any]], title: str) -> Figure:
    """Distribution of ranks with its caption, as a page shows it."""
    answers = len(rows[0]["answers"])
    caption = (
        "Empirical distribution of the rank of the truth among the draws, minus the uniform one, "
        f"in {len(rows)} simulated studies. The grey band holds all points at once with "
        f"probability {100 * (1 - LEVEL / answers):.2f} %, 95 % over all answers."
    )
    return Figure("calibration", title, style.svg(ranks(rows)), caption)


def write(folder: Path, record: Mapping[str, Any], drawn: Figure) -> Path:
    """Write ``<model>-<design>.json`` and ``.svg``; return the path of the first."""
    name = f"{record['model']}-{record['design']}"
    text = json.dumps(record, indent=1, ensure_ascii=False) + "\n"
    (drawing,) = figure_files([drawn]).values()
    publish(folder, {f"{name}.json": text, f"{name}.svg": drawing})
    return folder / f"{name}.json"


@dataclass(frozen=True, repr=False, eq=False)
class Calibration:
    """What simulated studies say of a model at a design; printing it says so in a sentence.

    ``record`` is the passport, ``rows`` the simulated studies of the run that decides, ``frame``
    has one row an answer: P of its ranks, coverage of 95 % intervals, z-scores, contraction.
    """

    record: Mapping[str, Any]
    rows: Sequence[Mapping[str, Any]]

    @property
    def passed(self) -> bool:
        """Whether all ranks stay in their band and all intervals cover as they should."""
        return bool(self.record["passed"])

    @property
    def frame(self) -> pd.DataFrame:
        """One row an answer of the model."""
        return summary(self.rows)

    @property
    def figures(self) -> style.Figures:
        """``ranks()``: distribution of the rank of the truth, an answer a panel."""
        return style.Figures({"ranks": partial(ranks, self.rows)})

    def write(self, out: str | Path) -> Path:
        """Write the passport and its figure into a folder; return the passport."""
        title = f"{self.record['model']} at {self.record['design']}"
        return write(Path(out), self.record, figure(self.rows, title))

    def __str__(self) -> str:
        """One sentence."""
        return f"{self.record['model']}: {sentence(self.record)}"

    def __repr__(self) -> str:
        """One line."""
        said = "passed" if self.passed else "not passed"
        return f"<Calibration of {self.record['model']} at {self.record['design']}: {said}>"


def calibrate(
    model: str,
    *,
    study: str = "",
    by: str = "",
    design: Design | str | Path | None = None,
    simulations: int = 1000,
    seed: int = 20230221,
    scheduler: str = "",
    workers: int = 2,
    store: str | Path | None = None,
    progress: Callable[[int, int, str], None] = lambda *_: None,
) -> Calibration:
    """Fit a model to studies simulated from its own priors: are its ranks and intervals right?

    ``model`` names a model file with a simulator. The design is that of a printed table (``study``,
    ``by`` a factor of it; every model has a default), or ``design``: a TOML file or a ``Design``
    with levels and patients. Simulations run in ``workers`` processes of this machine, or on the
    workers of a dask ``scheduler``; finished ones are kept in the folder ``store``. Where ranks
    leave their band, as many studies again are added once, never exchanged for others: all of them
    decide, and the record shows both.

    Talts et al. 2018; bands of Sailynoja, Buerkner and Vehtari 2022. Raises ``BadInput`` for a
    model without a simulator and a design that cannot be simulated.

    >>> import her2bayes as hb
    >>> print(hb.calibrate("her2_transition_dirichlet", simulations=20))  # doctest: +SKIP
    """
    if simulations < 20:
        raise BadInput(Fault("too few simulated studies", value=simulations, allowed="20 or more"))
    named = design if isinstance(design, str | Path) else ""
    known = chosen(model, study, by)
    if named:
        known = fitting(read_design(Path(named), model))
    elif isinstance(design, Design):
        known = fitting(design)
    options = {"--study": study, "--by": by, "--design": str(named)}
    asked = [part for option in options.items() if option[1] for part in option]
    command = " ".join(["bash scripts/run calibrate", model, *asked])
    command += f" --simulations {simulations} --seed {seed}"
    runs: list[tuple[int, list[dict[str, Any]]]] = []
    with ExitStack() as stack:
        folder = Path(store or stack.enter_context(TemporaryDirectory(prefix="her2-simulations-")))
        client = cache(lambda: stack.enter_context(cluster(scheduler, workers)))
        file = folder / f"{model}-{known.name}-{seed}.jsonl"
        for number in (simulations, 2 * simulations):
            plan = Plan(known, seed, number, file)
            runs.append((seed, run(plan, client, partial(_told, progress, f"{model}, {number}"))))
            record = passport(plan, command, runs)
            if record["passed"]:
                break
    return Calibration(record, runs[-1][1])


def _told(progress: Callable[[int, int, str], None], text: str, done: int, of: int) -> None:
    progress(done, of, text)
