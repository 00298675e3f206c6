"""Calibration of the joint model: truths from its stated priors, patients one by one, counted.

``patients_of`` draws patients of known truth with NumPy alone; recovery tests use it as well.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from xarray.ufuncs import log

from her2bayes.calibration.designs import (
    Design,
    Draws,
    Kind,
    Simulated,
    Truth,
    centred,
    softmax,
)
from her2bayes.classical.hazard_regression import cox
from her2bayes.classical.proportions import interval
from her2bayes.estimand import Contrast, Estimand
from her2bayes.evidence.patients.patients import Wanted, read_patients
from her2bayes.evidence.simulate import HER2, event_times
from her2bayes.inference.sampling import Sampling
from her2bayes.joint.counts import count_patients
from her2bayes.joint.draws import Answers, log_density

EDGES = np.linspace(0.0, 100.0, 11)  # months
FOLLOW_UP = (0.5, 97.9)
PATIENTS = {"positive": 150, "negative": 50}
"""Pairs by receptor status, in the proportions of MSK 2018 and at a quarter of its size."""

READS = np.array([[17.0, 2.8, 0.2], [2.5, 17.0, 0.5], [0.2, 0.8, 19.0]])
"""Dirichlet rows of the assay: zero, low, positive."""


@dataclass(frozen=True)
class Believed:
    """Parameters of one cohort: by stratum, true classes in order.

    ``share`` (s, t0), ``transition`` (s, t0, t1), ``reads`` (t, r), ``log_hazard`` (s, t1, j).
    """

    share: np.ndarray
    transition: np.ndarray
    reads: np.ndarray
    log_hazard: np.ndarray


def patients_of(
    rng: np.random.Generator,
    of: Believed,
    patients: Mapping[str, int],
    *,
    factor: str = "hr_status",
    edges: np.ndarray = EDGES,
    follow_up: tuple[float, float] = FOLLOW_UP,
    entry: float = 0.0,
) -> pd.DataFrame:
    """Draw patients: columns ``primary``, ``recurrence`` (as read), ``months``, ``event``, factor.

    Also ``entry`` (months, uniform up to ``entry``: those gone by then are not there) and the true
    classes ``primary_true``, ``recurrence_true``. Censoring is uniform over ``follow_up``.
    """
    parts = []
    for s, (level, number) in enumerate(patients.items()):
        first = rng.choice(len(HER2), number, p=of.share[s])
        second = _next(rng, of.transition[s], first)
        rates = np.exp(of.log_hazard[s])[second]
        late = rng.uniform(0.0, entry, number) if entry else np.zeros(number)
        times = event_times(rng, edges, rates, late)
        last = late + rng.uniform(*follow_up, number)
        parts.append(
            pd.DataFrame(
                {
                    "primary": np.array(HER2)[_next(rng, of.reads, first)],
                    "recurrence": np.array(HER2)[_next(rng, of.reads, second)],
                    "months": np.minimum(times, last).clip(late + 1e-6),
                    "event": (times <= last).astype(int),
                    "entry": late,
                    factor: level,
                    "primary_true": np.array(HER2)[first],
                    "recurrence_true": np.array(HER2)[second],
                }
            )
        )
    return pd.concat(parts, ignore_index=True)


def _next(rng: np.random.Generator, rows: np.ndarray, state: np.ndarray) -> np.ndarray:
    """One step from each state along the rows of a matrix."""
    upto = np.cumsum(rows, axis=1)[state, :-1]
    return np.asarray((rng.random(len(state))[:, None] >= upto).sum(axis=1))


def believed(rng: np.random.Generator, levels: Sequence[str]) -> tuple[Believed, Truth]:
    """Draw parameters from the stated priors, and what is compared with the model's draws."""
    k, strata = len(HER2), len(levels)
    right = [_above_half(rng, row[t], row.sum() - row[t]) for t, row in enumerate(READS)]
    reads = np.diag(right)
    for t, row in enumerate(READS):
        others = [o for o in range(k) if o != t]
        reads[t, others] = (1 - right[t]) * rng.dirichlet(row[others])
    sd = abs(rng.normal(0.0, 0.5)) if strata > 1 else 0.0
    log_odds = rng.normal(-1.5, 1.0, (k, k)) + sd * rng.normal(size=(strata, k, k))
    log_odds[:, np.arange(k), np.arange(k)] = 0.0
    share = rng.dirichlet(np.ones(k), strata)
    smoothing, spread = abs(rng.normal(0.0, 1.0)), abs(rng.normal(0.0, 0.5))
    reference, ratio = rng.normal(-4.0, 1.0), rng.normal(0.0, 0.75)
    steps = smoothing * np.sqrt(np.diff((EDGES[:-1] + EDGES[1:]) / 2) / EDGES[-1])
    walk = centred(np.concatenate([[0.0], np.cumsum(rng.normal(0.0, steps))]), 0)
    effect = centred(rng.normal(0.0, spread, k), 0)
    by_stratum = np.linspace(-0.5, 0.5, strata) * ratio if strata > 1 else np.zeros(1)
    log_hazard = reference + walk + effect[:, None] + by_stratum[:, None, None]
    of = Believed(share, softmax(log_odds), reads, log_hazard)
    truth = {f"accuracy[{name}]": float(right[t]) for t, name in enumerate(HER2)}
    truth |= {"reference": float(reference), "smoothing": smoothing, "spread": spread}
    for t in (1, 2):
        truth[f"log_hazard_ratio[{HER2[t]}]"] = float(effect[t] - effect[0])
    if strata > 1:
        truth |= {"deviation_sd": sd, "log_hazard_ratio[stratum]": float(ratio)}
    for s, level in enumerate(levels):
        flow = of.share[s][:, None] * of.transition[s]
        truth[f"true_discordance[{level}]"] = float(1 - np.trace(flow))
        for i, j in ((0, 1), (1, 0), (1, 1)):
            truth[f"transition[{HER2[i]} -> {HER2[j]} | {level}]"] = float(of.transition[s, i, j])
    return of, truth


def _above_half(rng: np.random.Generator, a: float, b: float) -> float:
    while True:
        drawn = float(rng.beta(a, b))
        if drawn > 0.5:
            return drawn


def draw_joint(rng: np.random.Generator, design: Design) -> Simulated:
    """``her2_joint``: every parameter from its prior, patients counted as real ones."""
    of, truth = believed(rng, design.levels)
    frame = patients_of(rng, of, design.patients, factor=design.factor)
    data = counts_of(frame, design.factor, design.levels)
    group = as_draws(of, data)
    weight = data["rows"]["patients"].to_numpy()
    truth["log_likelihood"] = float(log_density(group, data)[0] @ weight)
    return Simulated(data, truth)


def counts_of(frame: pd.DataFrame, factor: str, levels: Sequence[str]) -> dict[str, xr.Dataset]:
    """Counts of simulated patients; equal weights of intervals fix the walk's average."""
    columns = {"primary": "primary", "recurrence": "recurrence"}
    patients = read_patients(frame, her2=columns, classes=HER2)
    wanted = Wanted("months", "event")
    counted = count_patients(patients, wanted, {factor: list(levels)}, cuts=EDGES[1:-1].tolist(),
                             reach=float(EDGES[-1]))  # fmt: skip
    cells = counted.data["cells"]
    size = cells.sizes["interval"]
    flat = cells.assign(baseline_weight=("interval", np.full(size, 1.0 / size)))
    return {**counted.data, "cells": flat.assign_attrs(cells.attrs)}


def as_draws(of: Believed, data: Mapping[str, xr.Dataset]) -> xr.Dataset:
    """Parameters as one draw of the model's variables, on the intervals of ``data``."""
    cells, strata = data["cells"], data["readings"]["stratum"].to_numpy()
    factor = str(data["readings"].attrs["factors"][0])
    order = [list(cells[factor].to_numpy()).index(level)
             for level in data["readings"][factor].to_numpy()]  # fmt: skip
    seen = of.log_hazard[order][..., : cells.sizes["interval"]]
    lead, classes = ("chain", "draw"), list(HER2)
    return xr.Dataset(
        {
            "primary_share": ((*lead, "stratum", "her2_primary"), of.share[order][None, None]),
            "transition": ((*lead, "stratum", "her2_primary", "her2"),
                           of.transition[order][None, None]),
            "misclassification": ((*lead, "assay", "her2", "read"), of.reads[None, None, None]),
            "log_hazard": ((*lead, factor, "her2", "interval"), seen[None, None]),
        },
        coords={
            "stratum": strata, "her2": classes, "her2_primary": classes, "read": classes,
            "assay": ["all"], factor: cells[factor].to_numpy(),
            "interval": cells["interval"].to_numpy(),
        },
    )  # fmt: skip


def joint_of(design: Design, data: Any, posterior: xr.Dataset) -> Draws:
    """The same answers from draws of the joint model."""
    answers = Answers(posterior, data)
    end = str(data["cells"].attrs["endpoint"])
    right = {f"accuracy[{name}]": Estimand("read_as", f"{name} -> {name}") for name in HER2}
    ratios = {f"log_hazard_ratio[{name}]": Estimand("hazard_ratio", end, (),
                                                    Contrast("her2", name, HER2[0]))
              for name in HER2[1:]}  # fmt: skip
    if len(design.levels) > 1:
        first, *_, last = design.levels
        ratios["log_hazard_ratio[stratum]"] = Estimand(
            "hazard_ratio", end, (), Contrast(design.factor, last, first)
        )
    rest: dict[str, Estimand] = {}
    for level in design.levels:
        given = ((design.factor, level),)
        rest[f"true_discordance[{level}]"] = Estimand("true_discordance", "her2", given)
        for i, j in ((0, 1), (1, 0), (1, 1)):
            name = f"{HER2[i]} -> {HER2[j]}"
            rest[f"transition[{name} | {level}]"] = Estimand("transition", name, given)
    found = answers([*right.values(), *ratios.values(), *rest.values()])
    draws: Draws = {name: found[one] for name, one in (right | rest).items()}
    draws |= {name: log(found[one]) for name, one in ratios.items()}
    draws |= {"reference": posterior["reference_log_hazard"], "smoothing": posterior["smoothing"],
              "spread": posterior["spread_her2"]}  # fmt: skip
    if "deviation_sd" in posterior and len(design.levels) > 1:
        draws["deviation_sd"] = posterior["deviation_sd"].sel(factor=design.factor)
    weight = data["rows"]["patients"].to_numpy()
    density = (log_density(posterior, data) * weight).sum(axis=1)
    shape = (posterior.sizes["chain"], posterior.sizes["draw"])
    return draws | {"log_likelihood": xr.DataArray(density.reshape(shape), dims=("chain", "draw"))}


def pairs(model: str, _study: str, _by: str) -> Design:
    """Pairs by receptor status as in MSK 2018, at a quarter of its size."""
    return Design(model, "msk2018-quarter", PATIENTS, factor="hr_status")


KINDS = {"her2_joint": Kind(draw_joint, joint_of, pairs, "msk2018", "hr_status", draws=1000)}


RECOVERED = Believed(
    share=np.array([[0.35, 0.50, 0.15]]),
    transition=np.array([[[0.72, 0.24, 0.04], [0.20, 0.72, 0.08], [0.03, 0.12, 0.85]]]),
    reads=np.array([[0.90, 0.09, 0.01], [0.08, 0.90, 0.02], [0.01, 0.09, 0.90]]),
    log_hazard=np.log(0.03) + np.log([1.0, 0.6, 0.36])[None, :, None] + np.zeros((1, 3, 10)),
)
"""Truth of ``recovery``: one reading in ten is wrong, hazard ratios 0.6 and 0.36 against zero."""

RECOVERY_SAMPLING = Sampling(draws=750, tune=500, chains=2)
LIMITS = {"lower": 0.025, "median": 0.5, "upper": 0.975}


def recovery(
    number: int,
    patients: int = 800,
    tumours: int = 500,
    first: int = 0,
    say: Callable[[str], None] = lambda _: None,
) -> pd.DataFrame:
    """Fit ``number`` simulated cohorts: one row a cohort and answer.

    ``tumours`` were read twice: without them the prior of the assay decides about the true
    discordance, and an interval covers a fixed truth always or never.

    Columns ``cohort``, ``answer`` (true discordance, log hazard ratios by true class), ``truth``,
    ``median``, ``lower``, ``upper`` (95 %), their Monte-Carlo standard errors (``median_error``,
    ...) and ``naive``: readings taken as the truth, the share whose readings differ and Cox
    regression by class as read.
    """
    from arviz_stats.base import array_stats

    from her2bayes.inference import engine
    from her2bayes.joint.her2_joint import build

    end, rows = "months", []
    truth = {"true_discordance[her2]": float(1 - np.trace(
        RECOVERED.share[0][:, None] * RECOVERED.transition[0]))}  # fmt: skip
    ratios = dict(zip(HER2[1:], RECOVERED.log_hazard[0, 1:, 0] - RECOVERED.log_hazard[0, 0, 0],
                      strict=True))  # fmt: skip
    for cohort in range(first, first + number):
        rng = np.random.default_rng(cohort)
        frame = patients_of(rng, RECOVERED, {"all": patients})
        naive = _naive(frame)
        data = counts_of(frame, "hr_status", ["all"])
        data["assay"] = data["assay"].assign(twice(rng, RECOVERED, tumours))
        end = str(data["cells"].attrs["endpoint"])
        with engine.compiler_flags():
            found, _, _ = engine.sample(build(data), RECOVERY_SAMPLING, cores=1)
        asked = {Estimand("true_discordance", "her2"): truth["true_discordance[her2]"]} | {
            Estimand("hazard_ratio", end, (), Contrast("her2", name, HER2[0])): float(value)
            for name, value in ratios.items()
        }
        drawn = Answers(found.sel(stratum=data["readings"]["stratum"].to_numpy()), data)(asked)
        for one, true in asked.items():
            values = drawn[one].transpose("chain", "draw").to_numpy()
            values = np.log(values) if one.kind == "hazard_ratio" else values
            row = {"cohort": cohort, "truth": true, "naive": naive[one.kind, one.contrast],
                   "answer": f"log {one}" if one.kind == "hazard_ratio" else str(one)}  # fmt: skip
            for name, level in LIMITS.items():
                error = array_stats.mcse(values, method="quantile", prob=level)
                row |= {name: np.quantile(values, level), f"{name}_error": float(error)}
            rows.append(row)
        say(f"{cohort + 1 - first} cohorts")
    return pd.DataFrame(rows)


def rows_of(record: Mapping[str, Any]) -> pd.DataFrame:
    """Rows of a record of ``recovery``; cohorts are numbered from 0, as their seeds are."""
    parts = [
        pd.DataFrame(numbers).assign(answer=name, truth=record["answers"][name]["truth"])
        for name, numbers in record["cohorts"].items()
    ]
    return pd.concat(parts).rename_axis("cohort").reset_index()


def recovered(found: pd.DataFrame) -> dict[str, dict[str, float]]:
    """What rows of ``recovery`` say of each answer.

    ``covered`` cohorts of ``cohorts`` and their share with its 95 % Wilson interval, the mean
    ``bias`` of the model's median and of the ``naive`` answer, each with its standard error.
    """
    told = {}
    for answer, rows in found.groupby("answer", sort=False):
        inside = (rows["lower"] <= rows["truth"]) & (rows["truth"] <= rows["upper"])
        number, total = int(inside.sum()), len(rows)
        low, high = interval(number, total)
        told[str(answer)] = {
            "truth": float(rows["truth"].to_numpy(float)[0]), "cohorts": total, "covered": number,
            "share": number / total, "share_lower": low, "share_upper": high,
        }  # fmt: skip
        for name, column in (("bias", "median"), ("naive_bias", "naive")):
            gap = (rows[column] - rows["truth"]).to_numpy(float)
            error = float(gap.std(ddof=1) / np.sqrt(total))
            told[str(answer)] |= {name: float(gap.mean()), f"{name}_error": error}
    return told


def twice(rng: np.random.Generator, of: Believed, tumours: int) -> dict[str, Any]:
    """Two readings of each of ``tumours`` of one cohort, as the entry ``agreement`` of the data."""
    true = rng.choice(len(HER2), tumours, p=of.share[0])
    table = np.zeros((1, len(HER2), len(HER2)), np.int64)
    np.add.at(table[0], (_next(rng, of.reads, true), _next(rng, of.reads, true)), 1)
    dims = ("agreement_study", "first", "second")
    counts = xr.DataArray(table, dims=dims, coords={"agreement_study": ["read twice"]})
    return {"agreement": counts, "agreement_assay": ("agreement_study", np.zeros(1, np.int64))}


def _naive(frame: pd.DataFrame) -> dict[tuple[str, Contrast | None], float]:
    """Answers that take readings as the truth."""
    counts = frame.assign(
        patients=1, cause="", read=pd.Categorical(frame["recurrence"], list(HER2))
    )
    table = cox(counts.rename(columns={"months": "time"}), {"read": HER2[0]}).table
    found: dict[tuple[str, Contrast | None], float] = {
        ("hazard_ratio", Contrast("her2", str(row["level"]), HER2[0])):
            float(np.log(row["hazard_ratio"])) for row in table.to_dict("records")
    }  # fmt: skip
    found["true_discordance", None] = float((frame["primary"] != frame["recurrence"]).mean())
    return found
