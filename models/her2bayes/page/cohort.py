"""The cohort of a page: Table 1 by HER2 class, what became of every row, what a paper prints.

Standardised difference of two classes in a factor of k levels (Yang & Dalton 2012, SAS Global Forum
335): the Mahalanobis distance of their proportions of the first k - 1 levels under the mean of the
two multinomial covariances. For two levels it is |p - q| / sqrt((p (1 - p) + q (1 - q)) / 2).
Of a number it is |mean - mean| / sqrt((variance + variance) / 2).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from her2bayes.classical.association import variants
from her2bayes.evidence.printed.number import number as number_of
from her2bayes.evidence.printed.schema import STATISTICS
from her2bayes.page import style
from her2bayes.page.numbers import SPACE, count, interval, number, p_value
from her2bayes.page.section import Figure, Section, Table

if TYPE_CHECKING:
    import xarray as xr

    from her2bayes.evidence.printed.study import Study

NOT_PRINTED, MISSING = "not printed", "missing"


def cohort_section(study: Study) -> Section:
    """Describe the printed evidence of a study before anything is estimated from it."""
    counts = study.status_counts()
    patients = study.meta.get("patients")
    text = [
        f"The paper reports {count(int(patients), 'patient')}."
        if patients
        else "The paper's number of patients is not recorded.",
        "It publishes no patient data: everything on this page rests on its printed numbers.",
    ]
    tables = [_kinds(study)]
    partitions = [name for name in counts if name]
    if partitions:
        text.append(
            f"HER2 status is printed for all patients and by {count(len(partitions), 'factor')}. "
            "Each table counts the same patients again, so the tables are analysed one by one "
            "and never multiplied into one likelihood."
        )
        tables.insert(0, _partitions(study, counts))
        labels = {name: study.factors[name].label for name in partitions if name in study.factors}
        tables.insert(0, table_one(counts, labels))
    text += _bounded(study)
    for frame, build in ((study.survival, _survival), (study.responses, _responses)):
        if not frame.empty:
            tables.append(build(study))
    return Section("cohort", "Cohort", (" ".join(text),), tables=tuple(tables))


LEAST_EXPECTED = 5.0
"""Expected count below which the chi-square test gives way to the exact one (Cochran 1954)."""


def table_one(
    counts: Mapping[str, xr.DataArray],
    labels: Mapping[str, str],
    note: str = "",
    described: Mapping[str, pd.DataFrame] | None = None,
) -> Table:
    """Characteristics by HER2 class: n (% of the class), test, largest standardised difference.

    ``counts`` maps a factor to its StatusCounts (subgroup, her2), "" to those of all patients: who
    is in no level of a factor stands in a row of its own. ``described`` are numbers (age) by name:
    frames with ``her2``, ``value``, ``patients``, shown by quartiles and range.
    """
    classes = [str(c) for c in next(iter(counts.values()))["her2"].to_numpy()]
    everybody = counts[""].sum("subgroup").to_numpy().astype(int) if "" in counts else None
    rows: list[dict[str, str]] = []
    found: list[np.ndarray] = []
    for name, table in counts.items():
        if name:
            more, inside = _of_classes(table, classes, everybody, labels.get(name, name))
            rows += more
            found.append(inside)
    for name, frame in (described or {}).items():
        rows += _of_numbers(frame, classes, labels.get(name, name))
    heads = everybody if everybody is not None else (found[0] if found else None)
    named: dict[str, str] = {}
    # without a table of all patients each factor may have patients of its own
    shared = everybody is not None or all((one == heads).all() for one in found)
    if heads is not None and shared:
        numbers = [f"n{SPACE}={SPACE}{n}" for n in (*heads, heads.sum())]
        named = {name: f"{name}, {n}" for name, n in zip(
            (*(f"HER2-{c}" for c in classes), "All"), numbers, strict=True)}  # fmt: skip
    numeric = (
        " Numbers: median (interquartile range), range; Kruskal-Wallis test; difference of means."
    )
    return Table(
        "Table 1: characteristics by HER2 class",
        pd.DataFrame(rows).rename(columns=named),
        "n (% of the class). Tests of independence of characteristic and class among patients with "
        f"both known, exact where a count below {LEAST_EXPECTED:g} is expected, not corrected for "
        "multiplicity. Std. difference: the largest of those between two classes."
        f"{numeric if described else ''}{note}",
    )


def _of_classes(
    table: xr.DataArray, classes: Sequence[str], everybody: np.ndarray | None, label: str
) -> tuple[list[dict[str, str]], np.ndarray]:
    """Rows of a factor, one a level, and its patients by class."""
    inside = table.sel(her2=list(classes)).to_numpy().astype(int)
    levels = [str(level) for level in table["level"].to_numpy()]
    total = inside.sum(axis=0)
    left = total * 0 if everybody is None else everybody - total
    if (left > 0).any() and (left >= 0).all():
        inside, levels = np.vstack([inside, left]), [*levels, MISSING]
    known = inside[: len(table["level"])]
    expected = known.sum(axis=1)[:, None] * known.sum(axis=0) / max(known.sum(), 1)
    exact = "Fisher exact" if known.shape == (2, 2) else "Fisher-Freeman-Halton"
    few = bool((expected[known.sum(axis=1) > 0] < LEAST_EXPECTED).any())
    test = variants(known, [exact if few else "Pearson chi-square"])[0]
    rows = [
        [level, *map(_share, row, inside.sum(axis=0)), _share(row.sum(), inside.sum())]
        for level, row in zip(levels, inside, strict=True)
    ]
    judged = (p_value(test.p_value), test.method, number(largest_difference(known), 2))
    return _lines(label, classes, rows, judged), inside.sum(axis=0)


def _of_numbers(frame: pd.DataFrame, classes: Sequence[str], label: str) -> list[dict[str, str]]:
    """Rows of a number: median with quartiles, range, and how many miss it."""
    from scipy import stats

    known = frame[frame["value"].notna()]
    groups = [_repeated(known[known["her2"] == one]) for one in classes]
    everybody = np.concatenate(groups)
    shown = [*groups, everybody]
    rows = [
        ["median (IQR)", *(_quartiles(values) for values in shown)],
        ["range", *(_ends(values) for values in shown)],
    ]
    total = frame.groupby("her2")["patients"].sum().reindex(list(classes), fill_value=0)
    missing = total.to_numpy() - np.array([len(values) for values in groups])
    if missing.any():
        of = total.to_numpy()
        rows.append([MISSING, *map(_share, missing, of), _share(missing.sum(), of.sum())])
    tested = [values for values in groups if len(values)]
    judged = ("", "", "")
    if len(tested) > 1 and np.ptp(everybody) > 0:
        p = float(stats.kruskal(*tested).pvalue)
        judged = (p_value(p), "Kruskal-Wallis", number(_largest_gap(tested), 2))
    return _lines(label, classes, rows, judged)


def _lines(
    label: str, classes: Sequence[str], rows: Sequence[Sequence[str]], judged: Sequence[str]
) -> list[dict[str, str]]:
    """Rows of one characteristic; its name and its test stand in the first."""
    names = ["Level", *(f"HER2-{c}" for c in classes), "All"]
    return [
        {
            "Characteristic": "" if place else label,
            **dict(zip(names, cells, strict=True)),
            **dict(zip(("P", "Test", "Std. difference"), ("", "", "") if place else judged,
                       strict=True)),
        }
        for place, cells in enumerate(rows)
    ]  # fmt: skip


def _repeated(frame: pd.DataFrame) -> np.ndarray:
    """Each patient's value."""
    return np.repeat(frame["value"].to_numpy(float), frame["patients"].to_numpy(int))


def _quartiles(values: np.ndarray) -> str:
    if not len(values):
        return ""
    low, middle, high = (number(x) for x in np.quantile(values, [0.25, 0.5, 0.75]))
    return f"{middle} ({low} to {high})"


def _ends(values: np.ndarray) -> str:
    return f"{number(values.min())} to {number(values.max())}" if len(values) else ""


def _largest_gap(groups: Sequence[np.ndarray]) -> float:
    """Largest difference of two means in units of the mean standard deviation."""
    found = [0.0]
    for a, b in combinations([g for g in groups if len(g) > 1], 2):
        spread = np.sqrt((a.var(ddof=1) + b.var(ddof=1)) / 2)
        found.append(float(abs(a.mean() - b.mean()) / spread) if spread > 0 else 0.0)
    return max(found)


def _share(number_: int, of: int) -> str:
    return f"{number_} ({100 * number_ / of:.1f} %)" if of else f"{number_}"


def largest_difference(counts: np.ndarray) -> float:
    """Largest standardised difference between two columns of counts (level, class)."""
    found = [0.0]
    shares = [column / column.sum() for column in counts.T if column.sum()]
    for p, q in combinations(shares, 2):
        gap = (p - q)[:-1]
        spread = [np.diag(x[:-1]) - np.outer(x[:-1], x[:-1]) for x in (p, q)]
        found.append(float(np.sqrt(max(gap @ np.linalg.pinv(sum(spread) / 2) @ gap, 0.0))))
    return max(found)


STAGES = {"rows": "Rows", "patients": "Patients", "pairs": "Pairs of tissues"}
"""Stages of a cohort's flow that follow each other; the others describe who is left."""


def flow_figure(flow: pd.DataFrame) -> Figure:
    """Diagram of what became of the rows: who was kept below, who was set aside to the right.

    ``flow`` has columns stage, rule, outcome ("kept", "set aside"), count, of.
    """
    stages = [(STAGES[s], flow[flow["stage"] == s]) for s in STAGES if (flow["stage"] == s).any()]
    boxes = [(f"{label}: {int(rows['of'].iloc[0]):,}", _lost(rows)) for label, rows in stages]
    kept = stages[-1][1]
    boxes.append((f"Analysed: {_kept(kept):,}", []))
    heights = [max(1.0, 0.62 * len(lost)) for _, lost in boxes]
    width, unit = 560.0, 46.0
    with style.drawing():
        figure, axes = style.new_figure(width, unit * (sum(heights) + 0.4))
        axes.set(xlim=(0, 10), ylim=(-sum(heights) - 0.1, 0.3))
        axes.axis("off")
        top = 0.0
        frame = {"boxstyle": "round,pad=0.4", "facecolor": "none", "edgecolor": style.MUTED}
        for place, ((label, lost), height) in enumerate(zip(boxes, heights, strict=True)):
            middle = top - 0.35
            axes.text(1.6, middle, label, ha="center", va="center", bbox=frame)
            for line, text in enumerate(lost):
                y = middle - 0.62 * line
                axes.annotate("", (4.1, y), (2.95 if line == 0 else 3.4, y),
                              arrowprops={"arrowstyle": "->", "color": style.MUTED})  # fmt: skip
                axes.text(4.2, y, text, ha="left", va="center", fontsize=10)
            if len(lost) > 1:
                ends = [middle, middle - 0.62 * (len(lost) - 1)]
                axes.plot([3.4, 3.4], ends, color=style.MUTED, linewidth=1)
            if place < len(boxes) - 1:
                axes.annotate("", (1.6, top - height - 0.02), (1.6, middle - 0.32),
                              arrowprops={"arrowstyle": "->", "color": style.MUTED})  # fmt: skip
            top -= height
    said = "; ".join(f"{label}" + (f" (set aside: {', '.join(lost)})" if lost else "")
                     for label, lost in boxes)  # fmt: skip
    return Figure("flow", "Flow of patients", style.svg(figure),
                  "Kept below, set aside to the right, with the reason.", f"{said}.")  # fmt: skip


def _lost(rows: pd.DataFrame) -> list[str]:
    aside = rows[(rows["outcome"] != "kept") & (rows["count"] > 0)]
    return [f"{int(n):,}: {rule}" for rule, n in zip(aside["rule"], aside["count"], strict=True)]


def _kept(rows: pd.DataFrame) -> int:
    return int(rows.loc[rows["outcome"] == "kept", "count"].sum())


def left_out_flow(kept: int, left_out: Mapping[str, int], unit: str = "rows") -> pd.DataFrame:
    """A flow of one stage: what was kept, and what was left out by reason."""
    total = kept + sum(left_out.values())
    rows = [(unit, "analysed", "kept", kept, total)]
    rows += [(unit, why, "set aside", n, total) for why, n in left_out.items()]
    return pd.DataFrame(rows, columns=["stage", "rule", "outcome", "count", "of"])


def _partitions(study: Study, counts: dict[str, xr.DataArray]) -> Table:
    rows = []
    whole = int(study.meta.get("patients") or 0)
    for name, table in counts.items():
        total = int(table.sum())
        factor = study.factors.get(name)
        missing = whole - total if whole else 0
        rows.append(
            {
                "Table": factor.label if factor else "All patients",
                "Levels": "" if not name else ", ".join(map(str, table["level"].to_numpy())),
                "Patients": total,
                **{f"HER2-{c}": int(table.sel(her2=c).sum()) for c in table["her2"].to_numpy()},
                "Outside the table": f"{missing} of {whole}" if missing else "none",
            }
        )
    return Table(
        "HER2 status as printed", pd.DataFrame(rows), "Sums over the levels of each table."
    )


def _bounded(study: Study) -> list[str]:
    """Say which tables are in no model because a count in them is printed as a bound."""
    files = dict.fromkeys(one.file for one in study.bounded)
    return [
        f"In {name} "
        + ", ".join(
            f"row {one.row} prints {one.printed}" for one in study.bounded if one.file == name
        )
        + ": a bound, which the audit uses; no model uses that count."
        for name in files
    ]


def _kinds(study: Study) -> Table:
    found = study.ledger["statistic"].value_counts()
    rows = [
        {"Kind": STATISTICS[name].partition(":")[0], "Rows": int(found[name])}
        for name in STATISTICS
        if name in found.index
    ]
    return Table("Printed numbers in the ledger", pd.DataFrame(rows))


def _survival(study: Study) -> Table:
    endpoints = study.meta.get("endpoints", {})
    rows = []
    printed = study.survival.attrs.get("printed", [])
    for place, row in enumerate(study.survival.to_dict(orient="records")):
        cells = printed[place] if len(printed) == len(study.survival) else {}
        entry = endpoints.get(row["endpoint"])
        unit = str(entry.get("unit", "")) if isinstance(entry, dict) else ""
        rows.append(
            {
                "Endpoint": _label(entry, row["endpoint"]),
                "Group": _group(study, row["factor"], row["level"]),
                "Patients": number(_known(row["patients"])) or cells.get("patients", ""),
                "Events": number(_known(row["events"])) or cells.get("events", "") or NOT_PRINTED,
                f"Median, {unit} (95 % CI)" if unit else "Median (95 % CI)": _median(
                    row, cells, unit
                ),
            }
        )
    frame = pd.DataFrame(rows).fillna(NOT_PRINTED)
    said = [name for name in frame if not (frame[name] == NOT_PRINTED).all()]
    return Table("Follow-up as printed", frame[said])


def _responses(study: Study) -> Table:
    rows = [
        {
            "Group": _group(study, row["factor"], row["level"]),
            "Response": str(row["category"]).upper(),
            "Patients": f"{row['count']} of {row['patients']}",
        }
        for row in study.responses.to_dict(orient="records")
    ]
    return Table("Responses as printed", pd.DataFrame(rows))


def _group(study: Study, factor: str, level: str) -> str:
    if not factor:
        return "all patients"
    known = study.factors.get(factor)
    return f"{known.label if known else factor}: {level}"


def _label(entry: object, name: str) -> str:
    return str(entry.get("label", name)) if isinstance(entry, dict) else name


def _median(row: Mapping[Any, Any], cells: Mapping[str, str], unit: str) -> str:
    """Median with its interval; as printed where a part of it is no number."""
    names = ("median", "median_lower", "median_upper")
    median, lower, upper = (cells.get(name, "") for name in names)
    open_ = [cell for cell in (median, lower, upper) if cell and number_of(cell) is None]
    if open_ or (median and bool(lower) != bool(upper)):
        return f"{median} ({lower}–{upper})" if lower or upper else median
    if pd.isna(row["median"]):
        return NOT_PRINTED
    return interval(row["median"], row["median_lower"], row["median_upper"], unit=unit)


def _known(value: object) -> object:
    return None if pd.isna(value) else int(value)  # type: ignore[call-overload]
