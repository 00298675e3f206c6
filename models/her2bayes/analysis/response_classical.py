"""Classical answers on response rates: named intervals by level, named tests between two levels."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np

from her2bayes.analysis.classical_row import percent_row
from her2bayes.classical.association import variants
from her2bayes.classical.multiplicity import adjusted
from her2bayes.classical.proportions import interval, newcombe
from her2bayes.classical.two_rates import barnard, boschloo, ratio
from her2bayes.estimand import Contrast, Estimand

if TYPE_CHECKING:
    import xarray as xr

MOST_COMPARED = 12
"""Levels of a factor up to which every pair is compared: beyond, pairs are no longer read."""

Counts = Mapping[tuple[str, str], "xr.Dataset"]


def classical_rows(counts: Counts) -> Iterator[dict[str, Any]]:
    """Wilson interval of each rate; Newcombe's of each difference, with Fisher's P."""
    for (group, factor), table in counts.items():
        cells = _cells(table)
        for level, (count, patients) in cells.items():
            low, high = interval(count, patients, "Wilson")
            given = ((factor, level),) if factor else ()
            asked = Estimand("response_rate", group, given)
            yield percent_row(
                asked, "percentage", count / patients, low, high, "95 % interval: Wilson"
            )
        for a, b in _pairs(factor, cells):
            low, high = newcombe(*cells[a], *cells[b])
            contrast = Contrast(factor, a, b)
            asked = Estimand("response_rate_difference", group, contrast=contrast)
            value = cells[a][0] / cells[a][1] - cells[b][0] / cells[b][1]
            method = "95 % interval: Newcombe, method 10; P: Fisher's exact test"
            row = percent_row(asked, "response_rate_difference", value, low, high, method)
            yield {**row, "reproduced_p": _fisher(cells[a], cells[b])}


def tests(counts: Counts, labels: Mapping[str, str]) -> list[dict[str, Any]]:
    """Every comparison of two levels: difference, ratio, exact tests, P adjusted over all rows."""
    rows: list[dict[str, Any]] = []
    for (group, factor), table in counts.items():
        cells = _cells(table)
        for a, b in _pairs(factor, cells):
            one, other = cells[a], cells[b]
            rows.append(
                {
                    "group": group,
                    "factor": labels.get(factor, factor),
                    "a": a,
                    "b": b,
                    "cells": (one, other),
                    "difference": (one[0] / one[1] - other[0] / other[1], *newcombe(*one, *other)),
                    "ratio": ratio(*one, *other),
                    "fisher": _fisher(one, other),
                    "barnard": barnard(*one, *other),
                    "boschloo": boschloo(*one, *other),
                }
            )
    for row, p in zip(rows, adjusted([r["fisher"] for r in rows], "Holm"), strict=True):
        row["holm"] = float(p)
    return rows


def _pairs(factor: str, cells: Mapping[str, tuple[int, int]]) -> list[tuple[str, str]]:
    return list(combinations(cells, 2)) if factor and len(cells) <= MOST_COMPARED else []


def _fisher(one: tuple[int, int], other: tuple[int, int]) -> float:
    table = np.array([[one[0], one[1] - one[0]], [other[0], other[1] - other[0]]])
    if not table.sum(axis=0).all():
        return 1.0  # nobody or everybody responds
    return variants(table, ["Fisher exact"])[0].p_value


def _cells(table: xr.Dataset) -> dict[str, tuple[int, int]]:
    return {
        str(level): (int(count), int(patients))
        for level, count, patients in zip(
            table["level"].values, table["responders"].values, table["patients"].values, strict=True
        )
        if patients
    }
