"""The joint model against a sampler of its own: NumPy, patient by patient, from the docstring.

The log posterior is written from the equations that ``her2_joint``, ``transition.rows``,
``transition.assay`` and ``survival.survival`` state, in coordinates of its own, and sampled by
random-walk Metropolis in many chains at once. Means and SDs of both samplers must agree within
their Monte-Carlo errors; with one term of the posterior wrong they do not.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit, log_expit

from agreement import disagreements, summary
from her2bayes.calibration.designs import Design
from her2bayes.evidence.patients.patients import Wanted, read_patients
from her2bayes.inference import engine
from her2bayes.inference.sampling import Sampling
from her2bayes.joint.calibration import READS, RECOVERED, joint_of, patients_of
from her2bayes.joint.counts import count_patients
from her2bayes.joint.her2_joint import build

HER2 = ("zero", "low", "positive")
EDGES = np.array([0.0, 15.0, 40.0, 110.0])  # months; nobody is followed for longer
OTHER = {0: (1, 2), 1: (0, 2), 2: (0, 1)}
COMPARED = (
    "true_discordance[all]", "transition[zero -> low | all]", "transition[low -> zero | all]",
    "log_hazard_ratio[low]", "log_hazard_ratio[positive]", "accuracy[zero]", "accuracy[positive]",
    "reference", "smoothing", "spread", "log_likelihood",
)  # fmt: skip
Summaries = Mapping[str, Mapping[str, float]]


def patients() -> pd.DataFrame:
    """120 pairs who enter late, some with a reading left open or none, some not followed."""
    frame = patients_of(np.random.default_rng(17), RECOVERED, {"all": 120}, entry=6.0)
    frame.loc[:7, "primary"] = "zero/low"
    frame.loc[6:12, "recurrence"] = ""
    frame.loc[13:16, "months"] = np.nan
    return frame


@dataclass(frozen=True)
class Observed:
    """Patients as arrays: classes each reading may be (0/1), months by interval, the last one."""

    first: np.ndarray
    second: np.ndarray
    spent: np.ndarray
    event: np.ndarray
    last: np.ndarray

    @property
    def weight(self) -> np.ndarray:
        """Share of the events in each interval."""
        number = np.bincount(self.last, weights=self.event, minlength=len(EDGES) - 1)
        return np.asarray(number / number.sum())


def observed(frame: pd.DataFrame) -> Observed:
    holds = {name: [float(name == one) for one in HER2] for name in HER2}
    holds |= {"zero/low": [1.0, 1.0, 0.0], "": [1.0, 1.0, 1.0]}
    first, second = (np.array([holds[x] for x in frame[end]]) for end in ("primary", "recurrence"))
    followed = frame["months"].notna().to_numpy()
    until = frame["months"].where(followed, 0.0).to_numpy()
    since = frame["entry"].where(followed, 0.0).to_numpy()
    width = np.diff(EDGES)
    spent = np.clip(until[:, None] - EDGES[:-1], 0, width)
    spent = spent - np.clip(since[:, None] - EDGES[:-1], 0, width)
    last = np.searchsorted(EDGES[1:], until, side="left")
    return Observed(first, second, spent, frame["event"].to_numpy() * followed, last)


PARTS = {"share": 2, "odds": 6, "right": 3, "split": 3, "reference": 1, "smoothing": 1, "steps": 2,
         "spread": 1, "effects": 2}  # fmt: skip
ENDS = np.cumsum([0, *PARTS.values()])
RIGHT, SPLIT = slice(ENDS[2], ENDS[3]), slice(ENDS[3], ENDS[4])


def parameters(at: np.ndarray, weight: np.ndarray) -> dict[str, np.ndarray]:
    """What the equations speak of, at points (chain, coordinate) without bounds."""
    z = {name: at[:, a:b] for name, a, b in zip(PARTS, ENDS[:-1], ENDS[1:], strict=True)}
    share = np.exp(np.column_stack([z["share"], np.zeros(len(at))]))
    share /= share.sum(axis=1, keepdims=True)
    odds = np.zeros((len(at), 3, 3))
    odds[:, ~np.eye(3, dtype=bool)] = z["odds"]
    rows = np.exp(odds)
    rows /= rows.sum(axis=2, keepdims=True)
    right, split = 0.5 + 0.5 * expit(z["right"]), expit(z["split"])
    reads = np.zeros((len(at), 3, 3))
    for t, (a, b) in OTHER.items():
        reads[:, t, t] = right[:, t]
        reads[:, t, a] = (1 - right[:, t]) * split[:, t]
        reads[:, t, b] = (1 - right[:, t]) * (1 - split[:, t])
    smoothing, spread = np.exp(z["smoothing"][:, 0]), np.exp(z["spread"][:, 0])
    gap = np.diff((EDGES[1:] + EDGES[:-1]) / 2) / EDGES[-1]
    steps = smoothing[:, None] * np.sqrt(gap) * z["steps"]
    walk = np.column_stack([np.zeros(len(at)), np.cumsum(steps, axis=1)])
    walk -= (walk @ weight)[:, None]
    one, other = z["effects"].T
    one, other = one / np.sqrt(2), other / np.sqrt(6)
    effect = np.stack([one + other, other - one, -2 * other], axis=1) * spread[:, None]
    log_hazard = z["reference"][:, :, None] + walk[:, None, :] + effect[:, :, None]
    return {
        "share": share, "rows": rows, "reads": reads, "log_hazard": log_hazard, "odds": z["odds"],
        "right": right, "reference": z["reference"][:, 0], "smoothing": smoothing,
        "steps": z["steps"], "spread": spread, "effects": z["effects"], "effect": effect,
    }  # fmt: skip


def log_prior(at: np.ndarray, of: Mapping[str, np.ndarray]) -> np.ndarray:
    """The stated priors, each with the Jacobian of its coordinate, up to a constant."""
    found = np.log(of["share"]).sum(axis=1)  # Dirichlet(1, 1, 1)
    found -= np.square(of["odds"] + 1.5).sum(axis=1) / 2  # Normal(-1.5, 1)
    up, down, one, other = (
        log_expit(sign * at[:, part]) for part in (RIGHT, SPLIT) for sign in (1, -1)
    )
    for t, (a, b) in OTHER.items():  # Beta above one half, and how the rest is split
        row = READS[t]
        found += (row[t] - 1) * np.log(of["right"][:, t]) + up[:, t]
        found += (row[a] + row[b]) * down[:, t]
        found += row[a] * one[:, t] + row[b] * other[:, t]
    found -= np.square(of["reference"] + 4) / 2  # Normal(-4, 1)
    found += np.log(of["smoothing"]) - np.square(of["smoothing"]) / 2  # HalfNormal(1)
    found += np.log(of["spread"]) - np.square(of["spread"] / 0.5) / 2  # HalfNormal(0.5)
    found -= np.square(of["steps"]).sum(axis=1) / 2 + np.square(of["effects"]).sum(axis=1) / 2
    return np.asarray(found)


def log_likelihood(of: Mapping[str, np.ndarray], data: Observed) -> np.ndarray:
    """Sum over the patients of log L_i, the true classes of each summed out."""
    first = of["reads"] @ data.first.T  # (chain, true class of the primary, patient)
    second = of["reads"] @ data.second.T
    flow = of["share"][:, :, None] * of["rows"]
    classes = np.swapaxes(flow, 1, 2) @ first * second
    alive = -np.exp(of["log_hazard"]) @ data.spent.T
    at_exit = of["log_hazard"][:, :, data.last] * data.event
    return np.asarray(np.log((classes * np.exp(at_exit + alive)).sum(axis=1)).sum(axis=1))


def log_posterior(at: np.ndarray, data: Observed) -> np.ndarray:
    of = parameters(at, data.weight)
    return log_prior(at, of) + log_likelihood(of, data)


def answers(at: np.ndarray, data: Observed) -> dict[str, np.ndarray]:
    """The quantities compared, at points (chain, coordinate)."""
    of = parameters(at, data.weight)
    found = {f"accuracy[{name}]": of["right"][:, t] for t, name in enumerate(HER2)}
    for t in (1, 2):
        found[f"log_hazard_ratio[{HER2[t]}]"] = of["effect"][:, t] - of["effect"][:, 0]
    stays = np.diagonal(of["rows"], axis1=1, axis2=2)
    found["true_discordance[all]"] = 1 - (of["share"] * stays).sum(axis=1)
    found["transition[zero -> low | all]"] = of["rows"][:, 0, 1]
    found["transition[low -> zero | all]"] = of["rows"][:, 1, 0]
    found |= {name: of[name] for name in ("reference", "smoothing", "spread")}
    return found | {"log_likelihood": log_likelihood(of, data)}


def sampled(
    density: Callable[[np.ndarray], np.ndarray], data: Observed, steps: int, chains: int = 160
) -> dict[str, np.ndarray]:
    """Random-walk Metropolis in independent chains; draws (chain, draw) of the quantities.

    In the first third the chains lend each other the covariance of their steps, and are then left
    alone with the last one: 2.38^2 / dimension times the covariance (Roberts & Rosenthal 2001).
    """
    rng = np.random.default_rng(23)
    size = int(ENDS[-1])
    here = rng.normal(0.0, 0.5, (chains, size))
    here[:, ENDS[4]] -= 4.0
    value = density(here)
    root, past = 0.1 * np.eye(size), []
    warm = steps // 3
    kept = []
    for step in range(steps):
        there = here + rng.normal(size=here.shape) @ root.T
        with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
            new = density(there)  # far out a likelihood is 0, and the step refused
        taken = np.log(rng.random(chains)) < new - value
        here, value = np.where(taken[:, None], there, here), np.where(taken, new, value)
        if step < warm:
            past.append(here)
            if step % 100 == 99:
                half = np.concatenate(past[len(past) // 2 :: 5])
                root = np.linalg.cholesky(2.38**2 / size * np.cov(half.T))
        elif step % 10 == 0:
            kept.append(answers(here, data))
    return {name: np.stack([one[name] for one in kept], axis=1) for name in COMPARED}


@pytest.fixture(scope="module")
def data() -> Observed:
    return observed(patients())


@pytest.fixture(scope="module")
def of_the_model() -> Summaries:
    """Summaries of the model's own draws."""
    frame = patients().rename(columns={"entry": "since"})
    columns = {"primary": "primary", "recurrence": "recurrence"}
    counted = count_patients(
        read_patients(frame, her2=columns, classes=HER2),
        Wanted("months", "event", entry="since"), {"hr_status": ["all"]},
        cuts=EDGES[1:-1].tolist(), reach=float(EDGES[-1]),
    ).data  # fmt: skip
    assert counted["cells"]["interval_end"].to_numpy().tolist() == EDGES[1:].tolist()
    settings = Sampling(draws=4000, tune=1000, chains=4, target_accept=0.9)
    with engine.compiler_flags():
        posterior, stats, _ = engine.sample(build(counted), settings, cores=1)
    assert not int(stats["diverging"].sum())
    draws = joint_of(
        Design("her2_joint", "small", {"all": 120}, factor="hr_status"),
        counted, posterior.sel(stratum=["hr_status=all"]),
    )  # fmt: skip
    return {name: summary(draws[name]) for name in COMPARED}


def differences(drawn: Mapping[str, np.ndarray], known: Summaries) -> list[str]:
    """Means and SDs that differ, and Monte-Carlo errors of them too large to tell."""
    return [
        line for name in COMPARED for line in disagreements(summary(drawn[name]), known[name], name)
        if line.startswith((f"{name} mean:", f"{name} sd:"))
    ]  # fmt: skip


@pytest.mark.slow
def test_an_independent_sampler_agrees(data: Observed, of_the_model: Summaries) -> None:
    drawn = sampled(partial(log_posterior, data=data), data, steps=7000)
    assert differences(drawn, of_the_model) == []


def transposed(at: np.ndarray, data: Observed) -> np.ndarray:
    of = parameters(at, data.weight)
    of["rows"] = np.swapaxes(of["rows"], 1, 2)
    return log_prior(at, of) + log_likelihood(of, data)


def without_prior_of_change(at: np.ndarray, data: Observed) -> np.ndarray:
    odds = parameters(at, data.weight)["odds"]
    return log_posterior(at, data) + np.square(odds + 1.5).sum(axis=1) / 2


LATE = "late entry forgotten"
WRONG = {
    "nothing": (log_posterior, ""),
    "transition transposed": (transposed, "transition[zero -> low | all] mean"),
    "prior of change forgotten": (without_prior_of_change, "true_discordance[all] mean"),
    LATE: (log_posterior, "reference mean"),
}


@pytest.mark.slow
@pytest.mark.parametrize("wrong", WRONG)
def test_one_wrong_term_is_caught(wrong: str, data: Observed, of_the_model: Summaries) -> None:
    """In a shorter run, in which the right posterior still agrees."""
    density, first = WRONG[wrong]
    seen = observed(patients().assign(entry=0.0)) if wrong == LATE else data
    drawn = sampled(partial(density, data=seen), data, steps=2400)
    found = [line for line in differences(drawn, of_the_model) if " against " in line]
    assert any(line.startswith(first) for line in found) if first else found == []
