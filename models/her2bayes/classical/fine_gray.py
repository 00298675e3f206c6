"""Subdistribution hazard ratios of one of several causes (Fine & Gray 1999)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import greenwood as gw
import numpy as np
import pandas as pd
from scipy import stats

from her2bayes.classical.hazard_regression import cox
from her2bayes.classical.ratio_table import absent, design_of, missing, quietly, row, table_of
from her2bayes.classical.survival import Z, cause_of_exit, expand


def fine_gray(counts: pd.DataFrame, factors: Mapping[str, str], cause: str) -> pd.DataFrame:
    """Subdistribution hazard ratios of one cause: factor, level, reference, ratio, Wald interval.

    NA with the reason for delayed entry, and for a level that has no events of the cause or whose
    reference has none (the ratio is 0 or infinite).
    """
    reason = _no_subdistribution(counts, cause)
    method = f"Fine-Gray, subdistribution of {cause}, Wald interval"
    design = design_of(counts, factors)
    if reason or design.empty:
        return absent(counts, factors, reason or "one level only").assign(method=method)
    if (counts["event"] == 1).all():
        return _uncensored(counts, factors, cause).assign(method=method)
    rows = expand(counts)
    terms = design_of(rows, factors)
    frame = quietly(
        lambda: gw.FineGray(cause=cause).fit(cause_of_exit(rows), terms).to_frame(format="pandas")
    )
    numbers = ["estimate", "std_error"]
    if frame is None or not (
        np.isfinite(frame[numbers]).all(axis=None) and frame["std_error"].all()
    ):
        return absent(counts, factors, "no finite maximum").assign(method=method)
    found = {}
    for term, estimate, error in zip(
        terms.columns, frame["estimate"], frame["std_error"], strict=True
    ):
        name, level = term.split("=", 1)
        silent = _without(counts, name, (level, factors[name]), cause)
        limits = (estimate - Z * error, estimate + Z * error)
        found[term] = (
            missing(f"no events of {cause} in {name}={silent}: the ratio is 0 or infinite")
            if silent
            else row(
                estimate, error, limits, float(2 * stats.norm.sf(abs(estimate) / error)), "",
                "Wald interval",
            )
        )  # fmt: skip
    return table_of(counts, factors, found).assign(method=method)


def _uncensored(counts: pd.DataFrame, factors: Mapping[str, str], cause: str) -> pd.DataFrame:
    """Without censoring patients with another cause stay at risk to the end: a Cox model."""
    own = counts["cause"] == cause
    stay = float(counts["time"].max()) + 1
    return cox(
        counts.assign(time=counts["time"].where(own, stay), event=own.astype(int)),
        factors, ties="breslow",
    ).table  # fmt: skip


def _no_subdistribution(counts: pd.DataFrame, cause: str) -> str:
    if (counts["entry"] > 0).any():
        return "Fine and Gray's model is not defined here for delayed entry"
    happened = (counts["event"] == 1) & (counts["cause"] == cause)
    return "" if happened.any() else f"no events of {cause}"


def _without(counts: pd.DataFrame, name: str, levels: Sequence[str], cause: str) -> str:
    """First of some levels whose patients have no event of the cause; empty if each has one."""
    happened = counts[(counts["event"] == 1) & (counts["cause"] == cause)]
    present = set(happened[name].astype(str))
    return next((level for level in levels if level not in present), "")
