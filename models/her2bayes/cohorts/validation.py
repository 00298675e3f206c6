"""Do cohorts made from printed numbers hold the truth? Exercises, kept, judged and drawn.

Where parameters come from the reference prior the rank of the truth among 19 members is uniform;
where patients are real and the reference model is wrong, 90 % intervals should still hold the truth
in 80 % of exercises. A single annealed cohort must not, and intervals from counts must be wider.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from her2bayes.calibration.run import LEVEL, band, band_p_value, finish
from her2bayes.classical.proportions import interval
from her2bayes.cohorts.chain.problem import TENTHS
from her2bayes.cohorts.chain.replica import Settings
from her2bayes.cohorts.diagnostics import Patients, survival_at
from her2bayes.cohorts.ensemble import Ensemble, log_hazard_ratio, median_time, reconstruct_arms
from her2bayes.cohorts.validation_exercise import (
    CELLS,
    ENOUGH,
    MEMBERS,
    PRINTED,
    QUANTITIES,
    QUICK,
    REAL,
    UP,
    exercise,
    real_patients,
    sampler,
)
from her2bayes.cohorts.validation_exercise import LEVEL as INTERVAL
from her2bayes.evidence.patients.digitised import read_curve
from her2bayes.evidence.read_table import text_table
from her2bayes.inference.meaning import meaning
from her2bayes.page.section import Figure
from her2bayes.page.section_view import standalone

PRIOR = "prior"
WANTED = 0.80  # of real exercises, by 90 % intervals
WIDER = 1.1  # how much wider intervals from counts must at least be, in the median quantity
JUDGED = ("prior", "real")
ACROSS = 350  # points of a curve that is drawn and read
AT_LEAST = 10  # patients at risk where curves are compared


@dataclass(frozen=True)
class Plan:
    """Exercises of one source of cohorts, and the file that keeps them."""

    source: str
    simulations: int
    number: int  # patients of each
    seed: int
    folder: Path
    settings: Settings = QUICK

    @property
    def file(self) -> Path:
        """One JSON line an exercise."""
        return self.folder / f"{self.source}-{self.number}-{self.seed}.jsonl"

    @property
    def identity(self) -> dict[str, Any]:
        """What the results depend on."""
        return {
            "source": self.source, "patients": self.number, "seed": self.seed,
            "settings": asdict(self.settings), "code": _code(),
        }  # fmt: skip


@cache
def _code() -> str:
    """Digest of everything that reconstructs."""
    return meaning(exercise, sampler, real_patients)[:12]


def plans(
    prior: int, real: int, number: int, seed: int, folder: Path, settings: Settings = QUICK
) -> list[Plan]:
    """Exercises from the prior, and from real cohorts in equal parts (the first ones one more)."""
    found = [Plan(PRIOR, prior, number, seed, folder, settings)] if prior else []
    share, more = divmod(real, len(REAL))
    for k, name in enumerate(REAL):
        if exercises := share + (k < more):
            found.append(Plan(name, exercises, number, seed, folder, settings))
    return found


def run(
    plan: Plan, realdata: Path | None, client: Callable[[], Any],
    tell: Callable[[int, int], None] = lambda *_: None,
) -> pd.DataFrame:  # fmt: skip
    """Exercises of a plan, one row an exercise and quantity."""
    everyone = None
    if plan.source != PRIOR:
        assert realdata is not None
        everyone = real_patients(REAL[plan.source](realdata))
    seed = int(np.random.SeedSequence([plan.seed, *plan.source.encode()]).generate_state(1)[0])
    job = partial(_numbered, sampler(everyone, plan.number), seed, plan.settings)
    return table(finish(plan, job, client, tell), plan.source)


def _numbered(source: Any, seed: int, settings: Settings, number: int) -> dict[str, Any]:
    return exercise(source, seed, settings, number)


def table(rows: Sequence[Mapping[str, Any]], source: str) -> pd.DataFrame:
    """Results of exercises as one table."""
    flat = []
    for row in rows:
        head = {"source": source, **{k: v for k, v in row.items() if k != "quantities"}}
        flat += [{**head, **one} for one in row["quantities"]]
    found = pd.DataFrame(flat)
    numbers = ["rank", "lower", "upper", "ess", "counts_lower", "counts_upper", "annealed",
               "restarts_lower", "restarts_upper"]  # fmt: skip
    found[numbers] = found[numbers].astype(float)
    return found


def verdict(exercises: pd.DataFrame) -> pd.DataFrame:
    """By origin (prior, real, each real cohort) and quantity: ranks, coverage, widths, controls.

    An exercise that found no cohort has no rank and counts as not covered. ``p_value`` is of the
    distribution of ranks, as in calibration; ``uniform`` compares it with 0.05 over the quantities.
    """
    rows = []
    origins = {"prior": exercises["source"] == PRIOR, "real": exercises["source"] != PRIOR}
    origins |= {name: exercises["source"] == name for name in REAL}
    for origin, chosen in origins.items():
        for name in QUANTITIES:
            part = exercises[chosen & (exercises["quantity"] == name)]
            if len(part):
                rows.append({"origin": origin, "quantity": name, **_judged(part)})
    return pd.DataFrame(rows)


def _judged(part: pd.DataFrame) -> dict[str, Any]:
    ranks = uniform_ranks(part["rank"].dropna().to_numpy())
    p = band_p_value(ranks) if ranks.size else np.nan
    width = part["upper"] - part["lower"]
    loose = part["counts_upper"] - part["counts_lower"]
    found: dict[str, Any] = {
        "exercises": len(part), "failed": int(part["rank"].isna().sum()), "p_value": p,
        "uniform": bool(p >= LEVEL / len(QUANTITIES)),
    }  # fmt: skip
    for name in ("covered", "annealed_covered", "restarts_covered"):
        share, low, high = wilson(part[name])
        found |= {name: share, f"{name}_lower": low, f"{name}_upper": high}
    return found | {
        "width": float(width.median()),
        "width_of_counts": float((width / loose.where(loose > 0)).median()),
        "width_of_restarts": float(
            ((part["restarts_upper"] - part["restarts_lower"]) / width.where(width > 0)).median()
        ),
        "ess_median": float(part["ess"].median()),
        "ess_lowest": float(part["ess"].min()),
    }


def uniform_ranks(ranks: np.ndarray) -> np.ndarray:
    """Ranks 0 to 19 spread evenly over their twentieths: uniform on 0 to 1 where they are."""
    return np.asarray((ranks + np.random.default_rng(0).random(ranks.size)) / (MEMBERS + 1))


def wilson(covered: pd.Series) -> tuple[float, float, float]:
    """Share covered with its 95 % interval."""
    number, total = int(covered.sum()), len(covered)
    return number / total, *interval(number, total)


def conclusions(judged: pd.DataFrame) -> dict[str, bool]:
    """What was to be shown; only what the exercises made can be judged."""
    prior, real = (judged[judged["origin"] == name] for name in JUDGED)
    free = judged[judged["origin"].isin(JUDGED) & ~judged["quantity"].isin(PRINTED)]
    found = {}
    if len(prior):
        found["ranks are uniform"] = bool(prior["uniform"].all())
    if len(real):
        found["90 % intervals hold the real truth in at least 80 %"] = bool(
            (real["covered"] >= WANTED).all()
        )
    if len(free):
        found["one annealed cohort fails that coverage"] = bool(
            (free["annealed_covered_upper"] < WANTED).all()
        )
        wider = 1 / free["width_of_counts"]
        found["intervals from counts alone are wider"] = bool(wider.median() >= WIDER)
        found["members are effectively independent"] = bool((free["ess_median"] >= ENOUGH).all())
    return found


def record(exercises: pd.DataFrame, judged: pd.DataFrame, plan: Plan, call: str) -> dict[str, Any]:
    """What was measured, with the call that made it."""
    once = exercises.drop_duplicates(["source", "number"])
    by_origin: dict[str, dict[str, Any]] = {}
    for row in judged.to_dict("records"):
        origin, quantity = row.pop("origin"), row.pop("quantity")
        by_origin.setdefault(origin, {})[quantity] = {k: _plain(v) for k, v in row.items()}
    return {
        "call": call,
        "conclusions": conclusions(judged),
        "exercises": {str(k): int(v) for k, v in once.groupby("source", sort=False).size().items()},
        "failed": int((once["failed"] != "").sum()),
        "seconds_of_an_exercise": round(float(once["seconds"].median()), 1),
        "settings": asdict(plan.settings),
        "code": plan.identity["code"],
        **by_origin,
    }


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return None if np.isnan(value) else round(value, 4)
    return value


def of_curves(
    folder: Path,
    read_as: Sequence[str] = ("exact", "pixel"),
    studies: Sequence[str] = ("gbsg_rfs_hormon", "rotterdam_os_grade"),
    members: int = 20,
    seed: int = 20230221,
) -> pd.DataFrame:
    """Curves of real patients, drawn and read, back to patients: one row an arm and reading.

    ``folder`` holds the patients, the points read (exactly, and as pixels), numbers at risk and
    what another program makes of the same points. Errors are of the mean curve of the members, in
    survival; ``held`` is the share of monthly times, while ten are at risk, at which 95 % of the
    members hold the true curve; hazard ratios are against the first arm of a study.
    """
    risk, other = (
        pd.read_csv(folder / f"{name}.csv") for name in ("n_at_risk", "ipdfromkm_benchmark")
    )
    rows = []
    for version in read_as:
        for study in studies:
            table = risk[risk["study"] == study]
            truth = pd.read_csv(folder / f"{study}_true_ipd.csv")
            arms = list(dict.fromkeys(table["arm"]))
            files = {arm: folder / f"{study}__{arm}_coords_{version}.csv" for arm in arms}
            deaths = truth.groupby("arm")["event"].sum().to_dict()
            read = read_curve(files, table[["arm", "time", "n_at_risk"]],
                              events={arm: int(deaths[arm]) for arm in arms})  # fmt: skip
            made = reconstruct_arms(read, members, seed)
            known = {arm: _patients(truth[truth["arm"] == arm]) for arm in arms}
            for arm in arms:
                mine = (other["ver"] == version) & (other["study"] == study) & (other["arm"] == arm)
                (theirs,) = other[mine].to_dict("records")
                ratio = _ratios(made, known, arms[0], arm) if arm != arms[0] else {}
                rows.append({
                    "study": study, "arm": arm, "read": version, "patients": known[arm][0].size,
                    **_against(made.members[arm], known[arm]),
                    "other_largest": float(theirs["maxdS"]),
                    "other_median_error": abs(float(theirs["med"] - theirs["med_true"])), **ratio,
                })  # fmt: skip
    return pd.DataFrame(rows)


def of_real_arms(
    realdata: Path, sources: Sequence[str] = tuple(REAL), members: int = 20, seed: int = 20230221
) -> pd.DataFrame:
    """The same of each level of HER2, or what stands in for it, of the real cohorts.

    Curves are drawn and read here (``pixels_of``); numbers at risk each year and the total of
    events go along.
    """
    rows = []
    for source in sources:
        tenths, event, cell = real_patients(REAL[source](realdata))
        for k, level in enumerate(CELLS.levels("her2")):
            mine = cell // len(CELLS.levels("hr_status")) == k
            known = tenths[mine] / TENTHS, event[mine].astype(bool)
            rng = np.random.default_rng([seed, *source.encode(), k])
            time, survival = pixels_of(known, rng)
            points = pd.DataFrame({"time": time, "survival": survival})
            at = np.arange(0.0, known[0].max(), 12.0)
            table = pd.DataFrame({"arm": level, "time": at,
                                  "n_at_risk": (known[0] >= at[:, None]).sum(axis=1)})  # fmt: skip
            deaths = {level: int(known[1].sum())}
            read = read_curve({level: text_table(points)}, text_table(table), events=deaths)
            made = reconstruct_arms(read, members, seed)
            rows.append({
                "study": source, "arm": level, "read": "pixel", "patients": known[0].size,
                **_against(made.members[level], known), "other_largest": np.nan,
                "other_median_error": np.nan, "hazard_ratio": np.nan,
            })  # fmt: skip
    return pd.DataFrame(rows)


def pixels_of(known: Patients, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Times and heights of a curve drawn and read: ``ACROSS`` points, of ``UP`` pixels, one off."""
    time = np.linspace(0.0, known[0].max(), ACROSS)
    height = survival_at(known, time) * UP + rng.integers(-1, 2, ACROSS)
    return time, np.clip(np.round(height) / UP, 0, 1)


def _patients(rows: pd.DataFrame) -> Patients:
    return rows["time"].to_numpy(float), rows["event"].to_numpy(bool)


def _against(members: Sequence[Patients], known: Patients) -> dict[str, float]:
    """Distance of the members from the patients that are known."""
    late = np.sort(known[0])[-AT_LEAST]
    grid = np.arange(1.0, late, 1.0)
    curves = np.array([survival_at(one, grid) for one in members])
    true = survival_at(known, grid)
    low, high = np.quantile(curves, [0.025, 0.975], axis=0)
    gap = curves.mean(axis=0) - true
    median, true_median = np.median([median_time(one) for one in members]), median_time(known)
    reached = np.isfinite(median) and np.isfinite(true_median)
    return {
        "rmse": float(np.sqrt(np.mean(gap**2))), "largest": float(np.abs(gap).max()),
        "held": float(((low - 1e-9 <= true) & (true <= high + 1e-9)).mean()),
        "median_error": float(abs(median - true_median)) if reached else np.nan,
    }  # fmt: skip


def _ratios(
    made: Ensemble, known: Mapping[str, Patients], first: str, arm: str
) -> dict[str, float]:
    """Cox's hazard ratio of the patients, and of the members with their joint interval."""
    true = float(np.exp(log_hazard_ratio(known[first], known[arm])[0]))
    (row,) = made.hazard_ratios.query("arm == @arm").to_dict("records")
    return {"hazard_ratio_true": true, "hazard_ratio": float(row["hazard_ratio"]),
            "hazard_ratio_lower": float(row["ensemble_lower"]),
            "hazard_ratio_upper": float(row["ensemble_upper"])}  # fmt: skip


def curves_text(table: pd.DataFrame) -> str:
    """The table of ``of_curves`` in Markdown, for a paper's supplement."""
    head = ("study, arm", "read as", "patients", "RMSE", "largest error of S", "of IPDfromKM",
            "times held by 95 %", "error of the median, months", "of IPDfromKM",
            "hazard ratio (95 % of members)", "true")  # fmt: skip
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    for row in table.to_dict("records"):
        ratio, true = "", ""
        if not np.isnan(row["hazard_ratio"]):
            ratio = (f"{row['hazard_ratio']:.3f} ({row['hazard_ratio_lower']:.3f} to "
                     f"{row['hazard_ratio_upper']:.3f})")  # fmt: skip
            true = f"{row['hazard_ratio_true']:.3f}"
        cells = (
            f"{row['study']}, {row['arm']}", row["read"], f"{row['patients']}",
            f"{row['rmse']:.4f}", f"{row['largest']:.4f}", _known(row["other_largest"], 4),
            f"{100 * row['held']:.0f} %", _known(row["median_error"], 2),
            _known(row["other_median_error"], 2), ratio, true,
        )  # fmt: skip
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _known(value: float, decimals: int) -> str:
    return "" if np.isnan(value) else f"{value:.{decimals}f}"


COLUMNS = 3
SHORT = {"log hazard ratio": "log HR", "restricted mean": "RMST"}


def short(quantity: str) -> str:
    """Name of a quantity that fits beside a drawing."""
    for long, brief in SHORT.items():
        quantity = quantity.replace(long, brief)
    return quantity


def figure(exercises: pd.DataFrame, judged: pd.DataFrame) -> Figure:
    """Ranks by quantity, then coverage and widths of the ensemble and of both controls."""
    from her2bayes.page import style

    lines = -(-len(QUANTITIES) // COLUMNS)
    with style.drawing():
        canvas, _ = style.new_figure(900, 110 * lines + 460)
        canvas.clear()
        parts: Any = canvas.subfigures(2, 1, height_ratios=[110 * lines + 40, 420])
        above, below = parts
        for part in (above, below):
            part.set_facecolor("none")
        _ranks(above, exercises, judged)
        coverage, widths = below.subplots(1, 2, sharey=True, width_ratios=[2.0, 1.0])
        _coverage(coverage, judged)
        _widths(widths, judged)
        below.legend(*coverage.get_legend_handles_labels(), loc="outside lower center", ncols=4)
        drawing = style.svg(canvas)
    return Figure("validation", "Cohorts from printed numbers, and the truth", drawing, _caption())


def _caption() -> str:
    return (
        "Above, parameters from the reference prior: distribution of the rank of the truth among "
        "19 members, minus the uniform one; the grey band holds all points of all panels with "
        "probability 95 %. Below left, share of exercises whose 90 % interval holds the truth, "
        "with 95 % Wilson intervals; dashed 90 %, dotted the 80 % wanted on real cohorts. An "
        "annealed cohort counts as right within half a unit of what would be quoted of it. Below "
        "right, median width of the interval relative to cohorts made from patients and deaths "
        "alone (log scale)."
    )


def _ranks(place: Any, exercises: pd.DataFrame, judged: pd.DataFrame) -> None:
    from her2bayes.page import style

    mine = exercises[exercises["source"] == PRIOR]
    good = judged[judged["origin"] == "prior"].set_index("quantity")["uniform"]
    lines = -(-len(QUANTITIES) // COLUMNS)
    place.suptitle(
        "Truth from the reference prior: distribution of its rank among 19 cohorts, minus uniform",
        x=0.01, ha="left", fontsize=11, fontweight="bold",
    )  # fmt: skip
    panels = place.subplots(lines, COLUMNS, sharex=True, sharey=True, squeeze=False)
    for panel, name in zip(panels.flat, QUANTITIES, strict=False):
        panel.set_title(short(name), fontsize=9, loc="left", fontweight="normal")
        panel.set_xticks([0, 0.5, 1])
        ranks = np.sort(mine.loc[mine["quantity"] == name, "rank"].dropna().to_numpy(float))
        if not ranks.size:
            continue
        grid, lower, upper = band(ranks.size, LEVEL / len(QUANTITIES))
        spread = np.sort(uniform_ranks(ranks))
        share = np.searchsorted(spread, grid, side="right") / ranks.size
        panel.fill_between(grid, lower - grid, upper - grid, color=style.FAINT, linewidth=0)
        colour = style.BLUE if good.get(name, False) else style.VERMILLION
        panel.plot(grid, share - grid, color=colour, linewidth=1.2)


def _coverage(panel: Any, judged: pd.DataFrame) -> None:
    from her2bayes.page import style

    series = (
        ("prior", "covered", "truth from the prior", style.BLUE, "o"),
        ("real", "covered", "real patients", style.GREEN, "s"),
        ("real", "restarts_covered", "real: 19 annealed cohorts", style.ORANGE, "^"),
        ("real", "annealed_covered", "real: one annealed cohort", style.VERMILLION, "x"),
    )
    for place, (origin, column, label, colour, marker) in enumerate(series):
        rows = judged[judged["origin"] == origin].set_index("quantity").reindex(QUANTITIES)
        at = np.arange(len(QUANTITIES)) + 0.18 * (place - 1.5)
        share = 100 * rows[column].to_numpy(float)
        ends = [100 * rows[f"{column}_{end}"].to_numpy(float) for end in ("lower", "upper")]
        panel.hlines(at, *ends, color=colour, linewidth=1.2)
        panel.plot(share, at, marker, color=colour, markersize=5, label=label, linestyle="none")
    panel.axvline(100 * INTERVAL, color=style.MUTED, linewidth=0.8, linestyle="--")
    panel.axvline(100 * WANTED, color=style.MUTED, linewidth=0.8, linestyle=":")
    panel.set_yticks(np.arange(len(QUANTITIES)), [short(name) for name in QUANTITIES])
    panel.set_ylim(len(QUANTITIES) - 0.5, -0.5)
    panel.set_xlim(-2, 102)
    panel.set_title("Exercises whose 90 % interval holds the truth", fontsize=11)
    panel.set_xlabel("%")


def _widths(panel: Any, judged: pd.DataFrame) -> None:
    from her2bayes.page import style

    for place, (origin, colour, marker) in enumerate(
        (("prior", style.BLUE, "o"), ("real", style.GREEN, "s"))
    ):
        rows = judged[judged["origin"] == origin].set_index("quantity").reindex(QUANTITIES)
        at = np.arange(len(QUANTITIES)) + 0.2 * (place - 0.5)
        panel.plot(rows["width_of_counts"], at, marker, color=colour, markersize=5)
    panel.axvline(1, color=style.MUTED, linewidth=0.8, linestyle="--")
    panel.set_xscale("log")
    ticks = [0.001, 0.01, 0.1, 0.5, 1]
    panel.set_xticks(ticks, [f"{t:g}" for t in ticks])
    panel.set_xlim(0.0007, 1.5)
    panel.minorticks_off()
    panel.set_title("Width over width from counts", fontsize=11)
    panel.set_xlabel("patients and deaths alone = 1")


def files(exercises: pd.DataFrame, judged: pd.DataFrame) -> dict[str, str]:
    """Tables and the figure by name."""
    return {
        "exercises.csv": exercises.to_csv(index=False),
        "verdict.csv": judged.to_csv(index=False),
        "validation.svg": standalone(figure(exercises, judged).svg),
    }
