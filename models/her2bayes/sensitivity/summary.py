"""Rows of scenarios to one row, a sentence and figures for each conclusion: what moves it.

One rule, the same for a statement and for its opposite, with L = 0.975 unless asked otherwise:

    holds      P(statement) >= L
    fails      P(opposite)  >= L, that is P(statement) <= 1 - L
    uncertain  neither

    robust     the same stance in every scenario that counts;  fragile  another stance in some;
    not varied no scenario counts

A scenario shown apart does not count: its model fails its predictive check or is said not to fit
what is asked, or it leaves out half of the contrast that is asked about.

Figures: stability map, tornado, tipping surface, each drawn within ``page.style.drawing``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from her2bayes.errors import Fault, raise_if
from her2bayes.evidence.printed.tables import Conclusion
from her2bayes.inference.convergence import failed
from her2bayes.inference.reweight import diagnosis
from her2bayes.page import style
from her2bayes.sensitivity.target import BASE, REWEIGHTED, Axis, one_at_a_time

if TYPE_CHECKING:
    from matplotlib.figure import Figure

HOLDS, UNCERTAIN, FAILS, NO_ANSWER = "holds", "uncertain", "fails", "impossible"


ROBUST, FRAGILE, NOT_VARIED = "robust", "fragile", "not varied"


@dataclass(frozen=True)
class Limits:
    """Probability from which a conclusion holds; of its opposite, from which it fails."""

    holds: float = 0.975

    def __post_init__(self) -> None:
        """Refuse a limit at which a statement and its opposite could both hold."""
        if not 0.5 < self.holds < 1:
            remedy = "0.975 is a two-sided 95 % statement"
            raise_if([Fault("probability from which a conclusion holds", None, None, "--holds",
                            self.holds, "above 0.5 and below 1", remedy)])  # fmt: skip

    def stance(self, probability: float) -> str:
        """Stance of a conclusion with this probability."""
        if np.isnan(probability):
            return NO_ANSWER
        if probability >= self.holds:
            return HOLDS
        return FAILS if 1 - probability >= self.holds else UNCERTAIN


def counting(table: pd.DataFrame) -> pd.DataFrame:
    """Rows of scenarios that count: not those shown apart."""
    return table[table["apart"] == ""]


def influence(table: pd.DataFrame, axes: Sequence[Axis], conclusion: str) -> pd.DataFrame:
    """How far each axis alone moves a conclusion: columns axis, kind, least and most P, shift.

    ``shift`` is the range of the estimate's median; axes are ordered by the range of P, then by
    it. Includes the reported analysis.
    """
    rows = table[table["conclusion"] == conclusion].set_index("scenario")
    found = []
    for axis in axes:
        ids = [s.id for s in one_at_a_time([axis])]
        here = rows.loc[[i for i in ids if i in rows.index]].dropna(subset=["probability"])
        if len(here) > 1:
            found.append(
                {
                    "axis": axis.name,
                    "kind": axis.kind,
                    "least": here["probability"].min(),
                    "most": here["probability"].max(),
                    "shift": here["median"].max() - here["median"].min(),
                }
            )
    columns = ["axis", "kind", "least", "most", "shift"]
    frame = pd.DataFrame(found, columns=columns)
    order = (frame["most"] - frame["least"]).round(3)
    return (
        frame.assign(order=order)
        .sort_values(["order", "shift"], ascending=False, kind="stable")
        .drop(columns="order")
        .reset_index(drop=True)
    )


def summary(conclusions: Sequence[Conclusion], table: pd.DataFrame, limits: Limits) -> pd.DataFrame:
    """One row a conclusion: stance as reported, range of P, verdict, what breaks it."""
    return pd.DataFrame([_summed(c, table[table["conclusion"] == c.id], limits)
                         for c in conclusions])  # fmt: skip


def _summed(conclusion: Conclusion, rows: pd.DataFrame, limits: Limits) -> dict[str, Any]:
    base = rows[rows["scenario"] == BASE.id].iloc[0]
    known = counting(rows).dropna(subset=["probability"])
    apart = rows[rows["apart"] != ""].dropna(subset=["probability"])
    broken = known[known["stance"] != base["stance"]]
    power = base["power"] or (np.nan, np.nan)
    bad = known[known["convergence"].map(failed).astype(bool)]
    said = {
        "conclusion": conclusion.id,
        "statement": str(conclusion),
        "locator": conclusion.locator,
        "stance": base["stance"],
        "probability": base["probability"],
        "prior_probability": base["prior_probability"],
        "least": known["probability"].min(),
        "most": known["probability"].max(),
        "robust": _verdict(len(known), len(broken)),
        "prior_sensitivity": power[0],
        "likelihood_sensitivity": power[1],
        "power_scaling": diagnosis(*power),
        "impossible": "; ".join(rows.loc[rows["stance"] == NO_ANSWER, "changed"]),
        "not_converged": "; ".join(bad["changed"]),
        "apart": "; ".join(f"{r['changed']} (P {_percent(r['probability'])}): {r['apart']}"
                           for r in apart.to_dict("records")),
    }  # fmt: skip
    return {**said, "sentence": _sentence(said, broken, limits), "note": conclusion.note}


MISSING_TILTS = (0.0, 0.25, 0.5, 1.0, 2.0, 4.0, np.inf)
"""Odds among the missing as a multiple of the others'; 0 and infinity: none, all of them."""


def tilted(share: Any, tilt: float) -> Any:
    """Share whose odds are ``tilt`` times those of ``share``."""
    if np.isinf(tilt):
        return np.ones_like(share)
    return tilt * share / (1 - share + tilt * share)


def with_missing(share: Any, missing: float, tilt: float) -> Any:
    """Share among all where a share ``missing`` of them has odds ``tilt`` times the others'."""
    return (1 - missing) * share + missing * tilted(share, tilt)


def tipping_missing(share: float, missing: float, limit: float) -> float:
    """Tilt of the missing at which the share among all is ``limit``; NaN where there is none."""
    needed = (limit - (1 - missing) * share) / missing
    if not (0 < needed < 1 and 0 < share < 1):
        return float("nan")
    return needed / (1 - needed) * (1 - share) / share


def if_missing(
    conclusion: Conclusion, draws: Any, missing: int, patients: int, tilts: Sequence[float],
    limits: Limits,
) -> pd.DataFrame:  # fmt: skip
    """One row a tilt: the share among all patients, whether a conclusion on it holds.

    ``draws`` are those of the share among patients of whom it is known, ``tipping_tilt`` the tilt
    at which the conclusion stops (or starts) to be true in the median.
    """
    values = np.asarray(draws).ravel()
    share, wrong = missing / patients if patients else np.nan, []
    if not 0 < missing < patients:
        remedy = "missing, and of how many patients in all: 29, 247"
        wrong.append(Fault("not a number of missing patients", value=missing,
                           allowed=f"1 to {patients - 1}", remedy=remedy))  # fmt: skip
    if values.min() < 0 or values.max() > 1 or conclusion.estimand.contrast is not None:
        remedy = "ask it of a share of patients"
        wrong.append(Fault("missing patients change no such quantity here", None, None,
                           "conclusion", str(conclusion), remedy=remedy))  # fmt: skip
    wrong += [Fault("below 0", column="tilts", value=t) for t in tilts if not t >= 0]
    raise_if(wrong)
    tip = tipping_missing(float(np.median(values)), share, conclusion.number)
    rows = []
    for tilt in tilts:
        seen = with_missing(values, share, tilt)
        low, middle, high = np.quantile(seen, [0.025, 0.5, 0.975])
        p = float(np.mean(conclusion.holds(seen)))
        rows.append({"statement": str(conclusion), "missing": missing, "of": patients,
                     "tilt": tilt, "median": middle, "lower": low, "upper": high,
                     "probability": p, "stance": limits.stance(p),
                     "tipping_tilt": tip})  # fmt: skip
    return pd.DataFrame(rows)


def _verdict(known: int, broken: int) -> str:
    if known < 2:  # the reported analysis is one of them
        return NOT_VARIED
    return FRAGILE if broken else ROBUST


def _sentence(said: Mapping[str, Any], broken: pd.DataFrame, limits: Limits) -> str:
    words = {HOLDS: "holds", UNCERTAIN: "is uncertain", FAILS: "fails"}
    start = f"{said['statement']} {words.get(said['stance'], 'has no answer')} as reported"
    parts = [
        f"{start} (P {_percent(said['probability'])}, under the prior "
        f"{_percent(said['prior_probability'])}); over the scenarios P goes from "
        f"{_percent(said['least'])} to {_percent(said['most'])}."
    ]
    if said["robust"] == NOT_VARIED:
        parts.append("Nothing was varied.")
    elif broken.empty:
        parts.append("No scenario tried changes that.")
    else:
        parts += _breaking(broken, words)
    if said["impossible"]:
        parts.append(f"Impossible, as the facts contradict each other: {said['impossible']}.")
    if said["apart"]:
        parts.append(f"Shown apart, as no answer to this: {said['apart']}.")
    if said["power_scaling"]:
        parts.append(f"Power-scaling: {said['power_scaling']}.")
    if said["not_converged"]:
        parts.append("Some scenarios did not converge; the table names them.")
    return " ".join(parts)


def _breaking(broken: pd.DataFrame, words: Mapping[str, str], most: int = 3) -> Iterator[str]:
    """Which scenarios change the stance: those with one change before those with two."""
    for stance in (HOLDS, UNCERTAIN, FAILS):
        rows = broken[broken["stance"] == stance]
        if rows.empty:
            continue
        single = rows[~rows["changed"].str.contains(", ")]
        pool = single if len(single) else rows
        pool = pool.sort_values("probability", ascending=stance != HOLDS)
        named = "; ".join(pool["changed"].iloc[:most])
        more = " and others" if len(rows) > min(most, len(pool)) else ""
        yield f"It {words[stance]} with {named}{more}."


def _percent(value: float) -> str:
    if np.isnan(value):
        return "unknown"
    if value > 0.999:
        return ">99.9\N{NO-BREAK SPACE}%"
    text = "<0.1" if value < 0.001 else f"{100 * value:.1f}"
    return f"{text}\N{NO-BREAK SPACE}%"


def methods_used(table: pd.DataFrame) -> dict[str, int]:
    """Scenarios of targets by how they were computed; refused re-weightings count as refits."""
    each = table.drop_duplicates(["analysis", "scenario"])
    counted = each["method"].value_counts().to_dict()
    refused = each["k_hat"].notna() & (each["method"] != REWEIGHTED)
    return {**{str(k): int(v) for k, v in counted.items()}, "refused": int(refused.sum())}


# holds blue, fails vermillion, uncertain grey: told apart under colour blindness, and the
# probability is printed in every cell
PAINT = {HOLDS: style.BLUE, UNCERTAIN: style.MUTED, FAILS: style.VERMILLION}
_OPACITY = {HOLDS: 0.45, UNCERTAIN: 0.18, FAILS: 0.45}
_ROW, _COLUMN, _LETTER, _WIDTH = 20, 46, 6.3, 340  # px


@dataclass(frozen=True)
class Cell:
    """Probability of a conclusion in a scenario and its stance; ``mark`` for a failed fit."""

    probability: float
    stance: str
    mark: str = ""


def stability_map(
    scenarios: Sequence[tuple[str, str]],
    conclusions: Sequence[str],
    cells: Mapping[tuple[str, str], Cell],
) -> Figure:
    """Draw a cell for each scenario (group, text) and conclusion (its number in the list)."""
    longest = max(len(text) for _, text in scenarios)
    left, top = int(_LETTER * longest) + 14, 26
    starts = [k for k, (group, _) in enumerate(scenarios) if not k or scenarios[k - 1][0] != group]
    lines = len(scenarios) + len(starts)
    width, height = left + _COLUMN * len(conclusions) + 6, top + _ROW * lines + 4
    figure, axes = _plain(width, height)
    for column, name in enumerate(conclusions):
        x = left + _COLUMN * (column + 0.5)
        axes.text(x, 13, name, ha="center", va="center", weight="bold", size=10.5)
    line = 0
    for k, (group, text) in enumerate(scenarios):
        if k in starts:
            y = top + _ROW * (line + 0.6)
            axes.text(4, y, group, va="center", size=10, color=style.MUTED)
            line += 1
        y = top + _ROW * line
        axes.text(left - 8, y + _ROW / 2, text, va="center", ha="right", size=10.5)
        for column, name in enumerate(conclusions):
            cell = cells.get((text, name))
            if cell is not None:
                _cell(axes, left + _COLUMN * column, y, _COLUMN, _ROW, cell)
        line += 1
    return figure


def _cell(axes: Any, x: float, y: float, width: float, height: float, cell: Cell) -> None:
    paint = PAINT.get(cell.stance)
    if paint:
        axes.fill_between(
            (x + 1, x + width - 1), y + 1, y + height - 1, color=paint,
            alpha=_OPACITY[cell.stance], linewidth=0,
        )  # fmt: skip
    text = "none" if cell.stance == NO_ANSWER else percent(cell.probability) + cell.mark
    axes.text(x + width / 2, y + height / 2, text, ha="center", va="center", size=9.5)


def percent(value: float) -> str:
    """Short text of a probability in percent, never rounded to certainty."""
    if value > 0.995:
        return ">99"
    return "<1" if value < 0.005 else f"{100 * value:.0f}"


def tornado(rows: Sequence[tuple[str, float, float]], base: float, holds: float) -> Figure:
    """Draw the range of the probability along each axis alone: (axis, least, most)."""
    height = 46 + 34 * max(1, len(rows)) + 34
    figure, axes = style.new_figure(_WIDTH, height)
    figure.set_layout_engine("none")
    axes.set_position((12 / _WIDTH, 38 / height, 1 - 24 / _WIDTH, (height - 38 - 30) / height))
    axes.set(xlim=(-2, 102), ylim=(34 * max(1, len(rows)), 0), yticks=())
    axes.spines["left"].set_visible(False)
    axes.set_xlabel("probability of the conclusion, %")
    figure.text(12 / _WIDTH, 1 - 14 / height, "One choice at a time", weight="bold", size=12)
    for place, (name, least, most) in enumerate(rows):
        y = 34 * place
        axes.text(0, y + 9, name, size=10.5, va="center")
        low, high = 100 * least, 100 * max(most, least + 0.004)
        axes.fill_between((low, high), y + 18, y + 29, color=style.BLUE, linewidth=0, alpha=0.75)
    axes.axvline(100 * base, color=style.INK, linewidth=1.2)
    for limit in (holds, 1 - holds):
        axes.axvline(100 * limit, color=style.MUTED, linewidth=1, linestyle=(0, (2, 2)))
    return figure


def surface(
    names: tuple[str, str], first: Sequence[str], second: Sequence[str], grid: np.ndarray,
    stances: np.ndarray,
) -> Figure:  # fmt: skip
    """Draw probabilities (first, second) over the values of two axes as cells."""
    left, top, bottom, right = 56, 30, 46, 8
    width, height = _WIDTH, top + 30 * len(first) + bottom
    column = (width - left - right) / len(second)
    figure, axes = _plain(width, height)
    axes.text(left, 14, "Two choices at once", weight="bold", size=12, va="center")
    for row, value in enumerate(first):
        y = top + 30 * row
        axes.text(left - 6, y + 15, value, ha="right", va="center", size=10)
        for place in range(len(second)):
            known = Cell(float(grid[row, place]), str(stances[row, place]))
            if known.stance:
                _cell(axes, left + column * place, y, column, 30, known)
    for place, value in enumerate(second):
        x = left + column * (place + 0.5)
        axes.text(x, height - bottom + 10, value, ha="center", va="center", size=10)
    axes.text(left, height - 22, f"across: {names[1]}", size=10, color=style.MUTED, va="center")
    axes.text(left, height - 8, f"down: {names[0]}", size=10, color=style.MUTED, va="center")
    return figure


def _plain(width: float, height: float) -> tuple[Figure, Any]:
    """Axes in pixels, from the top left, without frame."""
    figure, axes = style.new_figure(width, height)
    figure.set_layout_engine("none")
    axes.set_position((0, 0, 1, 1))
    axes.set(xlim=(0, width), ylim=(height, 0))
    axes.axis("off")
    return figure, axes
