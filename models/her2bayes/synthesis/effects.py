"""Effects that studies print, as estimates with standard errors on the log scale.

A hazard ratio has its standard error from its interval, or from its exact P where none is printed.
A median has it from its interval, or, with events and no interval, that of an exponential: one over
the square root of the events. Ratios printed the other way round are turned. Rows of another
reading (adjusted, say) are never mixed with the one that is asked for.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from scipy import stats

from her2bayes.errors import BadInput, Fault
from her2bayes.estimand import KINDS, Contrast, Estimand, parse
from her2bayes.evidence.printed.study import Study
from her2bayes.results.fitted import Fitted
from her2bayes.synthesis.cells import between_design, contrasts, levels_of
from her2bayes.synthesis.studies import Left, Source, moderators_of, row_coords

TAKEN = ("hazard_ratio", "median", "rmst_ratio", "share_ratio")
"""Kinds whose logarithm is pooled."""

Z = float(stats.norm.ppf(0.975))
OFF_MIDDLE = 0.25
"""Standard errors between an estimate and the middle of its interval that are worth a word."""


@dataclass(frozen=True)
class Printed:
    """One printed effect: value and limits (NaN where not printed), exact P, where it stands."""

    value: float
    lower: float
    upper: float
    p: float
    locator: str
    events: float = float("nan")


def effect_rows(
    given: Sequence[Source],
    estimand: Estimand,
    moderators: str | Iterable[str] = (),
    *,
    reading: str = "",
) -> xr.Dataset:
    """Effects of printed studies and of fits: ``estimate``, ``error`` (row), ``design`` (row, term).

    Coordinates of ``row``: study, level, setting, year, ``locator`` and ``how`` the error was found.
    Raises ``BadInput`` for a kind that is not pooled and where fewer than two studies remain.
    """
    if estimand.kind not in TAKEN:
        allowed = ", ".join(TAKEN)
        raise BadInput(Fault("not pooled as an effect", value=str(estimand), allowed=allowed))
    between, within = moderators_of(moderators)
    left = Left()
    rows: list[dict[str, Any]] = []
    for one in left.kept(given, between):
        rows += _rows(one, estimand, within, reading, left)
    left.enough((row["study"] for row in rows), str(estimand))
    data = xr.Dataset(
        {"estimate": ("row", [row["estimate"] for row in rows]),
         "error": ("row", [row["error"] for row in rows])},
        {**row_coords(rows, given),
         **{name: ("row", [row[name] for row in rows]) for name in ("locator", "how")}},
        {"between": list(between), "within": within, "left_out": left.why,
         "estimand": str(estimand), "reading": reading},
    )  # fmt: skip
    return with_design(data)


def with_design(data: xr.Dataset) -> xr.Dataset:
    """Add ``design`` (row, term): the centre, then contrasts of the moderators."""
    settings = [str(one) for one in data["setting"].values]
    x, names = between_design(data, settings, data["year"].values)
    levels = levels_of(data)
    basis = contrasts(levels) if data.attrs["within"] else np.zeros((len(levels), 0))
    none = np.zeros(basis.shape[1])
    inside = [basis[levels.index(v)] if v else none for v in map(str, data["level"].values)]
    names += [f"{data.attrs['within']} {c + 1}" for c in range(basis.shape[1])]
    full = np.column_stack([np.ones(data.sizes["row"]), x, np.array(inside)])
    return data.assign(design=(("row", "term"), full)).assign_coords(term=["centre", *names])


def _rows(
    one: Source, estimand: Estimand, within: str, reading: str, left: Left
) -> Iterator[dict[str, Any]]:
    known = _printed(one, within, estimand, reading)
    if not known:
        what = f" ({reading})" if reading else ""
        by = f" by {within}" if within else ""
        left.out(one, f"no {KINDS[estimand.kind].words}{by}{what} is printed")
        return
    reasons = []
    for level, printed in known.items():
        found = _error(printed, estimand)
        if isinstance(found, str):
            reasons.append(found)
            continue
        error, how = found
        yield {
            "study": one.name, "level": level, "estimate": float(np.log(printed.value)),
            "error": error, "how": how, "locator": printed.locator,
        }  # fmt: skip
    if len(reasons) == len(known):
        left.out(one, reasons[0])


def _error(printed: Printed, estimand: Estimand) -> tuple[float, str] | str:
    """Standard error of the logarithm and how it was found, or why there is none."""
    if not printed.value > 0:
        return "the printed value is not above 0"
    if printed.lower > 0 and np.isfinite(printed.upper):
        low, high = np.log([printed.lower, printed.upper])
        error = (high - low) / (2 * Z)
        off = abs(np.log(printed.value) - (low + high) / 2) / error
        how = "from its 95 % interval"
        return error, how + (f", whose middle is {off:.1f} SE off" if off > OFF_MIDDLE else "")
    if estimand.kind == "median" and printed.events > 0:
        return float(printed.events**-0.5), "exponential: 1 / sqrt(events)"
    if estimand.kind != "median" and 0 < printed.p < 1 and printed.value != 1:
        error = abs(np.log(printed.value)) / stats.norm.isf(printed.p / 2)
        return float(error), "from its P value"
    return "neither interval nor exact P is printed"


def _printed(one: Source, within: str, estimand: Estimand, reading: str) -> dict[str, Printed]:
    """What a study has of an estimand, by level of the factor within studies."""
    if isinstance(one.patients, Fitted):
        return _fitted(one.patients, within, estimand)
    if one.study is None:
        remedy = "give the fit: {'hospital': hb.fit_survival(...)}"
        raise BadInput(Fault("patients have no effect yet", value=one.name, remedy=remedy))
    found: dict[str, Printed] = {}
    for row in one.study.ledger.to_dict("records"):
        if not row["estimand"] or row["reading"] != reading or np.isnan(row["value_number"]):
            continue
        asked = parse(str(row["estimand"]))
        level = _level(asked, estimand, within)
        if level is None or level in found:
            continue
        p = row["p_number"] if row["p_relation"] == "=" else float("nan")
        values = (row["value_number"], row["lower_number"], row["upper_number"])
        if asked.contrast != estimand.contrast:
            values = 1 / values[0], 1 / values[2], 1 / values[1]
        events = _events(one.study, estimand, within, level)
        found[level] = Printed(*values, p, str(row["locator"]), events)
    return found


def _fitted(fit: Fitted, within: str, estimand: Estimand) -> dict[str, Printed]:
    """Classical estimates of one's own patients: a fit's posterior has a prior in it already."""
    table = fit.classical()
    found: dict[str, Printed] = {}
    for row in table.to_dict("records"):
        asked = parse(str(row["estimand"]))
        level = _level(asked, estimand, within)
        if level is None or level in found or pd.isna(row["reproduced"]):
            continue
        values = (row["reproduced"], row["reproduced_lower"], row["reproduced_upper"])
        if asked.contrast != estimand.contrast:
            values = 1 / values[0], 1 / values[2], 1 / values[1]
        found[level] = Printed(*map(float, values), float("nan"), "patients")
    return found


def _level(asked: Estimand, wanted: Estimand, within: str) -> str | None:
    """Level under which ``asked`` is ``wanted`` (empty: all patients); None where it is not."""
    conditions = asked.conditions
    level = conditions.pop(within, "") if within else ""
    if within and not level:
        return None
    turned = _turned(wanted)
    for form in (wanted, *([turned] if turned else [])):
        if replace(asked, given=tuple(conditions.items())) == form:
            return level
    return None


def _turned(asked: Estimand) -> Estimand | None:
    """The same ratio the other way round."""
    if asked.contrast is None or not asked.contrast.a or asked.kind == "median":
        return None
    swapped = Contrast(asked.contrast.factor, asked.contrast.b, asked.contrast.a)
    return replace(asked, contrast=swapped)


def _events(study: Study, estimand: Estimand, within: str, level: str) -> float:
    table = study.survival
    if estimand.kind != "median" or table.empty:
        return float("nan")
    given = dict(estimand.given) | ({within: level} if within else {})
    if len(given) > 1:
        return float("nan")
    factor, value = next(iter(given.items()), ("", ""))
    rows = table[(table["endpoint"] == estimand.outcome) & (table["factor"] == factor)
                 & (table["level"] == value)]  # fmt: skip
    known = rows["events"].dropna()
    return float(known.iloc[0]) if len(known) else float("nan")
