"""A report to share: small counts hidden, and nothing else that patients' records give directly.

What is left are counts and answers of the models. Answers of the models are not
protected: a posterior of a small group is itself informative, and who knows every other count, the
seed and the versions can run the model for each value a hidden count may have.

Small counts in a report that is shared: hidden, with as many others as keep sums from telling.

A count from 1 to N - 1 is printed as "<N". Where printed sums would still narrow it, further counts
are withheld, the smallest first, until the least and the largest value that the printed numbers
allow (two integer programs for each hidden count) are those left if no count were printed at all
(Willenborg & de Waal 2001, Elements of Statistical Disclosure Control: primary and secondary
suppression, audited).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from her2bayes.errors import Fault, raise_if
from her2bayes.page.evidence_table import POSTERIOR_NUMBERS
from her2bayes.page.page import StudyPage
from her2bayes.page.section import Section, Table

WITHHELD = "withheld"
Sum = tuple[int, tuple[int, ...]]
"""Place of a total, places of its parts."""


def conceal(counts: Sequence[int], sums: Iterable[Sum], below: int) -> list[str]:
    """Give counts as text, the small ones hidden; ``sums`` are all relations a reader knows."""
    values = np.asarray(counts, dtype=int)
    relations = [(total, tuple(parts)) for total, parts in sums]
    small = (values > 0) & (values < below)
    hidden = small.copy()

    def left(place: int, unknown: np.ndarray) -> tuple[float, float]:
        return _range(place, values, unknown, relations, below)

    everything = np.ones(len(values), dtype=bool)
    best = {i: left(i, everything) for i in map(int, np.flatnonzero(small))}
    while True:
        exposed = [i for i, most in best.items() if left(i, hidden) != most]
        spare = [i for i in _near(exposed, relations) if not hidden[i]]
        if not spare:
            break
        # a zero hides least: it is taken last
        hidden[min(spare, key=lambda i: (values[i] == 0, values[i], i))] = True
    marks = zip(values, small, hidden, strict=True)
    return [_text(int(n), bool(s), bool(h), below) for n, s, h in marks]


def _text(value: int, small: bool, hidden: bool, below: int) -> str:
    if small:
        return f"<{below}"
    return WITHHELD if hidden else f"{value:,}"


def _near(places: Iterable[int], relations: Sequence[Sum]) -> set[int]:
    """Counts that share a relation with any of these, or with one that does."""
    found = set(places)
    for _ in range(2):
        found |= {
            i for total, parts in relations if found & {total, *parts} for i in (total, *parts)
        }
    return found


def _range(
    place: int, values: np.ndarray, hidden: np.ndarray, relations: Sequence[Sum], below: int
) -> tuple[float, float]:
    """Least and largest value of a count that agree with everything printed."""
    from scipy.optimize import Bounds, LinearConstraint, milp

    small = (values > 0) & (values < below)
    low = np.where(hidden, np.where(small, 1, np.where(values == 0, 0, below)), values)
    high = np.where(hidden, np.where(small, below - 1, np.inf), values)
    if not relations:
        return float(low[place]), float(high[place])
    matrix = np.zeros((len(relations), len(values)))
    for row, (total, parts) in enumerate(relations):
        matrix[row, total] -= 1
        matrix[row, list(parts)] += 1
    ends = []
    for sign in (1.0, -1.0):
        cost = np.zeros(len(values))
        cost[place] = sign
        found = milp(
            cost,
            constraints=LinearConstraint(matrix, 0, 0),
            bounds=Bounds(low, high),
            integrality=np.ones(len(values), dtype=int),
        )
        if found.x is None:
            raise ValueError("the counts do not add up to the totals given for them")
        ends.append(round(found.x[place]))
    return ends[0], ends[1]


def conceal_tables(tables: Sequence[np.ndarray], below: int) -> tuple[list[str], list[np.ndarray]]:
    """Texts of tables (levels, columns) of the same patients, each row with its sum behind it.

    Returns the texts of the sums of the columns (the same in every table) and their sum, then
    those of each table.
    """
    whole = np.append(tables[0].sum(0), tables[0].sum())
    values, columns = whole.tolist(), len(whole) - 1
    sums: list[Sum] = [(columns, tuple(range(columns)))]
    places = []
    for table in tables:
        full = np.column_stack([table, table.sum(1)])
        place = len(values) + np.arange(full.size).reshape(full.shape)
        values += full.ravel().tolist()
        places.append(place)
        sums += [(int(row[columns]), tuple(row[:columns].tolist())) for row in place]
        sums += [(c, tuple(place[:, c].tolist())) for c in range(columns + 1)]
    texts = np.array(conceal(values, sums, below), dtype=object)
    return texts[: columns + 1].tolist(), [texts[place] for place in places]


def conceal_flow(flow: pd.DataFrame, below: int) -> pd.DataFrame:
    """Give the flow table of a cohort with its columns ``count`` and ``of`` as text.

    Within a stage the counts add up to ``of``; the totals of the two readings and of the pairs are
    sums of the lines on tissue.
    """
    lines = flow.reset_index(drop=True).assign(cohort=flow.get("cohort", "one"))
    counts = [int(n) for n in lines["count"]]
    sums: list[Sum] = []
    totals: dict[tuple[str, str], int] = {}
    for (cohort, stage), rows in lines[lines["stage"] != "notes"].groupby(
        ["cohort", "stage"], sort=False
    ):
        totals[str(cohort), str(stage)] = len(counts)
        sums.append((len(counts), tuple(map(int, rows.index))))
        counts.append(int(rows["of"].iloc[0]))
    for (cohort, stage), total in totals.items():
        absent = {"primary reading": "recurrence only", "recurrence reading": "primary only"}
        tissue = lines[(lines["cohort"] == cohort) & (lines["stage"] == "patients")]
        parts = tissue.index[tissue["rule"] != absent.get(stage, "")]
        if stage in absent and len(parts) and tissue.loc[parts, "count"].sum() == counts[total]:
            sums.append((total, tuple(map(int, parts))))
    sums += _same(counts, list(totals.values()))
    texts = conceal(counts, sums, below)
    where = zip(lines["cohort"], lines["stage"], strict=True)
    own = [totals.get(key, place) for place, key in enumerate(where)]
    return flow.assign(count=texts[: len(flow)], of=[texts[i] for i in own])


def _same(counts: Sequence[int], totals: Sequence[int]) -> list[Sum]:
    """Totals of stages that are the same number are taken to be the same patients."""
    found: list[Sum] = []
    for k, place in enumerate(totals):
        earlier = [other for other in totals[:k] if counts[other] == counts[place]]
        found += [(place, (earlier[0],))] if earlier else []
    return found


SHARED = (
    "This report is made to be shared. Small counts are hidden, and what follows from patients "
    "without a model is not shown: Kaplan–Meier steps, patients at risk, classical estimates and "
    "tests, predictive checks, fits. Answers of the models are not protected by this: the "
    "posterior of a small group tells something of its patients."
)
HIDDEN = (
    f"{WITHHELD.capitalize()}: a larger number, or none, that would give a hidden one away by "
    "subtraction."
)
_DIGITS = 3  # significant digits of the models' numbers


def check_shared(folder: Any, below: int, external: Sequence[Any] = ()) -> None:
    """Refuse a folder that holds something: files of an unshared run would lie beside.

    Borrowing is refused too: its tables hold what patients elsewhere and here say of each other.
    """
    full = below and folder.exists() and (not folder.is_dir() or any(folder.iterdir()))
    remedy = "give a new folder for the report that is shared"
    faults = [Fault("the folder is not empty", file=folder, remedy=remedy)] if full else []
    if below and external:
        problem = "a report to share cannot hold borrowing"
        faults.append(Fault(problem, value="--external", remedy="leave --external out"))
    raise_if(faults)


def shared_page(page: StudyPage, below: int) -> StudyPage:
    """Take from a page what identifies the data: digests, ids of fits, digits without meaning.

    The id of a fit and the digest of its data are hashes of the counts: who knows all but one
    could try its few values.
    """
    ids = dict.fromkeys(str(f.get("fit_id", "")) for s in page.sections for f in s.fits)
    names = {fit_id: f"shared-{k}" for k, fit_id in enumerate(ids, 1)}
    evidence = page.evidence.assign(fit_id=page.evidence["fit_id"].map(lambda i: names.get(i, "")))
    for column in POSTERIOR_NUMBERS:
        evidence[column] = [_rounded(value) for value in evidence[column]]
    study = {k: v for k, v in page.study.items() if k != "digest"} | {"digest": ""}
    return replace(
        page,
        study=study,
        evidence=evidence,
        sections=tuple(_shared_section(s, names) for s in page.sections),
        notices=(*page.notices, f"Counts from 1 to {below - 1} are hidden."),
        run={**page.run, "study": study, "suppress_below": below},
    )


def _rounded(value: float) -> float:
    return float(f"{value:.{_DIGITS}g}") if np.isfinite(value) else value


def _shared_section(section: Section, names: Mapping[str, str]) -> Section:
    def table(one: Table) -> Table:
        if "fit_id" not in one.frame:
            return one
        known = one.frame["fit_id"].map(lambda i: names.get(i, ""))
        return replace(one, frame=one.frame.assign(fit_id=known))

    fits = [
        {
            **fit,
            "fit_id": names[str(fit.get("fit_id", ""))],
            "provenance": {
                k: v for k, v in fit.get("provenance", {}).items() if not k.startswith("Data")
            },
            **dict.fromkeys(("checks", "compared", "power"), ()),  # rest on counts of cells
            "warnings": (),
        }
        for fit in section.fits
    ]
    return replace(section, tables=tuple(map(table, section.tables)), fits=tuple(fits))


def survival_counts(
    counts: pd.DataFrame, factors: Sequence[str], below: int
) -> list[tuple[str, str, str, str]]:
    """Factor, level, patients and events as text, of all patients and of each level.

    ``counts`` are TimeCounts. A factor whose levels lie within those of another one adds up to it
    in more ways than by its own table, so that all of its counts are withheld.
    """
    events = counts["patients"] * counts["event"]
    exits = pd.DataFrame({"events": events, "others": counts["patients"] - events})
    tables = {
        factor: exits.groupby(counts[factor], observed=True).sum().astype(int)
        for factor in factors
        if not any(_within(counts, factor, other) for other in factors if other != factor)
    }
    whole = exits.sum().astype(int).to_numpy()[None, :]
    total, texts = conceal_tables([whole, *(t.to_numpy() for t in tables.values())], below)
    known = dict(zip(tables, texts[1:], strict=True))
    rows = [("all patients", "", total[2], total[0])]
    for factor in factors:
        levels = list(dict.fromkeys(counts[factor].astype(str).sort_values()))
        lines = [[WITHHELD] * 3] * len(levels)
        if factor in tables:
            levels, lines = [str(level) for level in tables[factor].index], known[factor].tolist()
        rows += [
            (factor, level, line[2], line[0]) for level, line in zip(levels, lines, strict=True)
        ]
    return rows


def _within(counts: pd.DataFrame, fine: str, coarse: str) -> bool:
    """Whether each level of a factor occurs with one level of another that has several."""
    pairs = counts[[fine, coarse]].astype(str).drop_duplicates()
    return len(set(pairs[coarse])) > 1 and not pairs[fine].duplicated().any()
