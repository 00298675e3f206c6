"""Do cohorts made from printed numbers hold the truth? Exercises, kept and judged.

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

from her2bayes.calibration.run import LEVEL, band_p_value, finish
from her2bayes.classical.proportions import interval
from her2bayes.cohorts.chain.settings import Settings
from her2bayes.cohorts.validation.exercise import (
    ENOUGH,
    MEMBERS,
    PRINTED,
    QUANTITIES,
    QUICK,
    exercise,
)
from her2bayes.cohorts.validation.real_cohorts import REAL, patients, sampler
from her2bayes.inference.meaning import meaning

PRIOR = "prior"
WANTED = 0.80  # of real exercises, by 90 % intervals
WIDER = 1.1  # how much wider intervals from counts must at least be, in the median quantity
JUDGED = ("prior", "real")


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
    return meaning(exercise, sampler, patients)[:12]


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
        everyone = patients(REAL[plan.source](realdata))
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
