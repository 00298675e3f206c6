"""Parts that every report on transitions is made of: figures and tables from matrices of draws."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from her2bayes.estimand import parse
from her2bayes.inference.estimates import INTERVAL
from her2bayes.page.numbers import interval, number, p_value, probability
from her2bayes.page.section import Figure, Table
from her2bayes.transition import draws as tr
from her2bayes.transition import figures
from her2bayes.transition.assay_error import tipping_point

if TYPE_CHECKING:
    import xarray as xr

    from her2bayes.transition.draws import Matrix

CORE = (
    "The dark core of a band ends where the 95 % interval of its flow begins, the light rim where"
)
KINDS = ("transition", "discordance", "agreement", "gain", "loss", "flow_difference")


def square(draws: xr.DataArray, title: str, remarks: np.ndarray | None = None) -> figures.Square:
    """Median and interval of every cell in percent; dims chain, draw, her2_primary, her2."""
    tail = (1 - INTERVAL) / 2
    ordered = draws.transpose("chain", "draw", "her2_primary", "her2").to_numpy()
    lower, median, upper = 100 * np.quantile(ordered, [tail, 0.5, 1 - tail], axis=(0, 1))
    classes = tuple(str(name) for name in draws["her2"].to_numpy())
    return figures.Square(title, classes, median, lower, upper, remarks)


def alluvial_figure(matrix: Matrix, who: str, key: str) -> Figure:
    """Flows of one matrix in this cohort."""
    flow = square(matrix.flow, "")
    start, end = _largest_change(flow)
    return Figure(
        id=f"transition-alluvial-{key}",
        title="From primary tumour to recurrence",
        svg=figures.alluvial(flow, matrix.pairs),
        caption=f"{who}. Heights are posterior medians in percent of all patients"
        f"{', with the primary classes as observed' if matrix.pairs else ''}. {CORE} it ends.",
        alt=f"Flows between HER2 classes. Largest change: {start} to {end}, "
        f"{interval(*_at(flow, start, end), unit='%')} % of patients. Each band tells its numbers.",
    )


def _largest_change(flow: figures.Square) -> tuple[str, str]:
    off = flow.median * (1 - np.eye(len(flow.classes)))
    i, j = np.unravel_index(int(off.argmax()), off.shape)
    return flow.classes[i], flow.classes[j]


def _at(flow: figures.Square, start: str, end: str) -> tuple[float, float, float]:
    at = flow.classes.index(start), flow.classes.index(end)
    return float(flow.median[at]), float(flow.lower[at]), float(flow.upper[at])


def matrix_figure(matrices: Sequence[Matrix], who: str, key: str, title: str) -> Figure:
    """Transition probabilities with intervals, one panel a matrix."""
    panels = [
        square(m.transition, f"{m.label}, n = {m.pairs}" if m.pairs else m.label) for m in matrices
    ]
    return Figure(
        id=f"transition-matrix-{key}",
        title=title,
        svg=figures.matrices(panels),
        caption=f"{who}. Probability of each class at recurrence given the class of the primary: "
        "posterior median and 95 % interval, in percent; every row sums to 100. Blue: the class "
        "changes; grey: it stays.",
        alt="Transition matrices as a table of medians with intervals; the numbers are in the "
        "table of estimates.",
    )


def contraction_figure(matrix: Matrix, estimates: pd.DataFrame, who: str, key: str) -> Figure:
    """Prior and posterior of each cell with the contraction."""
    prior, posterior = square(matrix.prior, ""), square(matrix.transition, "")
    known = _lookup(estimates, matrix)
    lines = []
    for start in matrix.classes:
        for end in matrix.classes:
            row = known.get(("transition", f"{start} -> {end}"), {})
            lines.append(
                figures.Line(
                    f"{start} → {end}",
                    {"prior": _at(prior, start, end), "posterior": _at(posterior, start, end)},
                    number(row.get("contraction"), 2),
                )
            )
    return Figure(
        id=f"transition-contraction-{key}",
        title="What the data taught: prior to posterior",
        svg=figures.intervals(lines, label="transition probability, %", remark="contraction"),
        caption=f"{who}. Contraction is 1 minus the ratio of posterior to prior variance: near 1 "
        "the data decide, near 0 the prior does.",
        alt="Prior and posterior intervals of all transition probabilities.",
    )


def _lookup(estimates: pd.DataFrame, matrix: Matrix) -> dict[tuple[str, str], dict[str, Any]]:
    rows = estimates[estimates["reading"] == matrix.reading].to_dict("records")
    found = {}
    for row in rows:
        asked = parse(row["estimand"])
        if asked.given == tuple(sorted(matrix.given)) and not asked.contrast:
            found[(asked.kind, asked.outcome)] = {str(name): value for name, value in row.items()}
    return found


def scenario_figure(
    matrices: Mapping[str, Matrix], who: str, key: str, title: str, caption: str
) -> Figure:
    """The same cells and the discordance under several scenarios or priors."""
    squares = {name: square(matrix.transition, "") for name, matrix in matrices.items()}
    first = next(iter(squares.values()))
    lines = [
        figures.Line(f"{start} → {end}", {name: _at(s, start, end) for name, s in squares.items()})
        for start in first.classes
        for end in first.classes
    ]
    return Figure(
        id=f"transition-scenarios-{key}",
        title=title,
        svg=figures.intervals(lines, label="transition probability, %"),
        caption=f"{who}. {caption}",
        alt="Intervals of all transition probabilities under each scenario.",
    )


def tipping_figure(tipping: pd.DataFrame, observed: Matrix, who: str, key: str, how: str) -> Figure:
    """True discordance by the accuracy of the assay, beside the discordance of the readings."""
    curve = tipping.sort_values("accuracy")
    x = 100 * curve["accuracy"].to_numpy()
    true = 100 * curve[[f"true_discordance_{n}" for n in ("median", "lower", "upper")]].to_numpy().T
    seen = _three_of(100 * tr.discordance(observed.flow))
    bands = {
        "true change": true,
        "readings differ": np.repeat(np.array(seen)[:, None], len(x), axis=1),
    }
    top = 10 * np.ceil(max(band.max() for band in bands.values()) / 10)
    return Figure(
        id=f"transition-tipping-{key}",
        title="How good must the assay be? Real change by accuracy of the readings",
        svg=figures.curve(
            x, bands, x_label="readings that are right, %", y_label="patients, %", limit=top
        ),
        caption=f"{who}. {how} {tipping_words(tipping)}",
        alt="Median and 95 % interval of the share of patients whose true class changes, rising "
        "with the accuracy of the assay up to the share whose readings differ.",
    )


def tipping_words(tipping: pd.DataFrame) -> str:
    """From which accuracy on real change exceeds a share, in one sentence."""
    texts = []
    least = float(tipping["accuracy"].min())
    for name in (c for c in tipping.columns if c.startswith("P(true discordance > ")):
        share = float(name.removeprefix("P(true discordance > ").removesuffix(")"))
        point = tipping_point(tipping, share)
        percent = f"{number(100 * share, 0)} %"
        texts.append(
            f"{percent}: no assay shown is good enough"
            if point is None
            else f"{percent}: exceeded at every accuracy shown, from {number(100 * least, 0)} % on"
            if point <= least
            else f"{percent}: {number(100 * point, 0)} %"
        )
    return (
        "Accuracy needed for real change to exceed a share of patients with probability 0.95: "
        f"{'; '.join(texts)}."
    )


def _three_of(draws: xr.DataArray) -> tuple[float, float, float]:
    tail = (1 - INTERVAL) / 2
    lower, median, upper = np.quantile(draws.to_numpy(), [tail, 0.5, 1 - tail])
    return float(median), float(lower), float(upper)


def estimate_table(
    estimates: pd.DataFrame, title: str, caption: str, kinds: Iterable[str] = KINDS
) -> Table:
    """Estimates of one reading and stratum as readable rows."""
    wanted = set(kinds)
    rows = []
    for row in estimates.to_dict("records"):
        asked = parse(row["estimand"])
        if asked.kind in wanted:
            rows.append(
                {
                    "Quantity": _words(asked.kind, asked.outcome),
                    "Posterior (95 %)": three(row, "posterior"),
                    "Prior (95 %)": three(row, "prior"),
                    "Contraction": number(row["contraction"], 2),
                    "P(event)": probability(row["posterior_probability"]),
                    "Convergence": row["convergence"],
                }
            )
    return Table(title, pd.DataFrame(rows), caption)


def three(row: Mapping[Any, Any], part: str) -> str:
    """Estimate with its interval and unit; ``part`` is posterior or prior."""
    median, lower, upper = (row[f"{part}_{name}"] for name in ("median", "lower", "upper"))
    unit = str(row["unit"])
    return interval(median, lower, upper, unit=unit) + (f" {unit}" if unit else "")


def words(estimand: str) -> str:
    """An estimand in words."""
    asked = parse(estimand)
    return _words(asked.kind, asked.outcome)


def _words(kind: str, outcome: str) -> str:
    flow = outcome.replace("->", "→")
    return {
        "transition": f"P({flow})",
        "discordance": "discordance",
        "true_discordance": "true discordance",
        "unchanged_given_observed_change": "true class unchanged where the readings differ",
        "agreement": "Cohen's kappa",
        "gain": f"gain of {outcome}, of all patients",
        "loss": f"loss of {outcome}, of all patients",
        "flow_difference": f"flow {flow} minus the flow back",
        "discordance_difference": "difference of discordance",
        "symmetry": "symmetry of the table",
        "marginal_homogeneity": "equality of the margins",
    }.get(kind, f"{kind} {flow}".strip())


def classical_table(rows: pd.DataFrame, title: str, caption: str) -> Table:
    """Finite counts and tests, each with its method."""
    lines = []
    for row in rows.to_dict("records"):
        asked = parse(row["estimand"])
        value, low, high = (row[f"reproduced{end}"] for end in ("", "_lower", "_upper"))
        unit = str(row["unit"])
        where = ", ".join(f"{f} {level}" for f, level in asked.given)
        by = f" by {asked.contrast}" if asked.contrast else ""
        lines.append(
            {
                "Quantity": _words(asked.kind, asked.outcome)
                + by
                + (f", {where}" if where else ""),
                "Value (95 %)": ""
                if np.isnan(value)
                else interval(value, low, high, unit=unit) + (f" {unit}" if unit else ""),
                "P": p_value(row["reproduced_p"]),
                "Method": row["method"],
                "Note": row["note"],
            }
        )
    return Table(title, pd.DataFrame(lines), caption)
