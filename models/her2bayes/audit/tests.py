"""P values of association recomputed from printed counts under every variant of the test."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import combinations

import numpy as np

from her2bayes.audit import rounding
from her2bayes.audit.claims import (
    DIFFERS,
    METHOD,
    NOT_CHECKABLE,
    REPRODUCES,
    Claim,
    Mark,
    describe,
    p_text,
)
from her2bayes.audit.known import Known
from her2bayes.audit.percentages import RARE
from her2bayes.audit.space import NONE, NotACount, Quantity, both, everyone_in, plainest, ratio
from her2bayes.classical import association
from her2bayes.errors import BadInput
from her2bayes.estimand import Estimand

KINDS = {
    "association": "",
    "share_difference": "share",
    "discordance_difference": "discordance",
    "response_rate_difference": "response_rate",
    "event_rate_difference": "event_rate",
}

# a sampled exact test may lie this many of its Monte-Carlo errors from the printed P
SAMPLING_ERRORS = 3

# word in the paper's methods -> variants it names; the first one is reported where none fits
STATED = {
    "chi": ("Pearson chi-square",),
    "fisher": ("Fisher exact", "Fisher-Freeman-Halton"),
    "exact": ("Fisher exact", "Fisher-Freeman-Halton"),
    "likelihood": ("likelihood-ratio G",),
    "trend": ("linear-by-linear trend",),
    "armitage": ("linear-by-linear trend",),
}


@dataclass(frozen=True)
class Counted:
    """A contingency table (levels of factor, levels of outcome) and the rows it rests on."""

    table: np.ndarray
    claim_ids: tuple[str, ...]
    rows: tuple[str, ...]
    columns: tuple[str, ...]


class Missing(ValueError):  # noqa: N818 (an answer, not a failure)
    """The table is not determined by printed counts; the message says which cell is missing."""


def is_tested_on_counts(estimand: Estimand) -> bool:
    """Tell whether the question is answered by a test on a table of counts."""
    return estimand.kind in KINDS and estimand.contrast is not None


def contingency(known: Known, estimand: Estimand) -> Counted:
    """Gather the table that answers the estimand; ``Missing`` names what is not printed."""
    if estimand.contrast is None or estimand.kind not in KINDS:
        raise Missing("not a comparison of counts")
    if estimand.outcome in known.study.meta.get("measures", {}):
        raise Missing(f"the {estimand.outcome} of each patient is needed, counts do not answer it")
    columns, whole = _columns(known, estimand)
    levels = _levels(known, estimand)
    table: list[list[int]] = []
    ids: list[str] = []
    for level in levels:
        row = []
        for name, quantity in columns:
            row.append(_cell(known, estimand, level, name, quantity, ids))
        if whole is not None:
            total = _cell(known, estimand, level, "all", whole, ids)
            row.append(total - row[0])
        table.append(row)
    names = tuple(name for name, _ in columns) + (("other",) if whole is not None else ())
    return Counted(np.array(table), tuple(dict.fromkeys(ids)), levels, names)


def check(known: Known, claim: Claim) -> Mark:
    """Judge a printed P value of a comparison of counts."""
    if claim.p is None:
        return Mark(claim.id, NOT_CHECKABLE, "no P value is printed")
    try:
        counted = contingency(known, claim.estimand)
        table = association.checked(counted.table)
    except (Missing, BadInput) as reason:
        return Mark(claim.id, NOT_CHECKABLE, f"missing: {reason}")
    printed = rounding.p_cell(claim.p, claim.p_relation)
    stated, others = _methods(known, table)
    tried = []
    for name in stated:
        tried.append(result(table, name))
        if _fits(tried[-1], printed):
            return _mark(claim, REPRODUCES, tried[-1], f"counts {_shown(table)}")
    for name in others:
        tried.append(result(table, name))
        if _fits(tried[-1], printed):
            verdict = METHOD if stated else REPRODUCES
            return _mark(claim, verdict, tried[-1], _other_variant(tried[: len(stated)]))
    return _differs(claim, counted, tried, max(1, len(stated)), printed)


def stated_methods(known: Known) -> list[str]:
    """Variants that the paper's methods name, in the order of the words above."""
    text = str(known.study.meta.get("methods", {}).get("association", "")).lower()
    return list(
        dict.fromkeys(name for word, names in STATED.items() if word in text for name in names)
    )


def stated_p(known: Known, estimand: Estimand) -> tuple[association.TestResult, Counted]:
    """P of a comparison under the first stated variant, with its table; ``Missing`` without it."""
    counted = contingency(known, estimand)
    try:
        table = association.checked(counted.table)
    except BadInput as fault:
        raise Missing(str(fault)) from fault
    stated, others = _methods(known, table)
    return result(table, (stated + others)[0]), counted


def result(table: np.ndarray, method: str) -> association.TestResult:
    """One variant on one table, kept because papers print the same P in several places."""
    return _result(tuple(map(tuple, table.tolist())), method)


@cache
def _result(table: tuple[tuple[int, ...], ...], method: str) -> association.TestResult:
    return association.variants(np.array(table), [method])[0]


def _methods(known: Known, table: np.ndarray) -> tuple[list[str], list[str]]:
    """Variants that apply to the table: those the paper states, and the others."""
    possible = association.applicable(table)
    stated = [name for name in stated_methods(known) if name in possible]
    return stated, [name for name in possible if name not in stated]


def _levels(known: Known, estimand: Estimand) -> tuple[str, ...]:
    contrast = estimand.contrast
    if contrast is None or contrast.factor not in known.space.levels:
        raise Missing(f"the levels of {contrast.factor if contrast else 'the factor'}")
    if contrast.a:
        return (contrast.a, contrast.b)
    outside = known.space.unknown.get(contrast.factor, frozenset()) | {NONE}
    return tuple(x for x in known.space.levels[contrast.factor] if x not in outside)


def _columns(
    known: Known, estimand: Estimand
) -> tuple[list[tuple[str, Quantity]], Quantity | None]:
    """Outcome classes; and everyone, where the last class is the rest."""
    space, outcome = known.space, estimand.outcome
    kind = KINDS[estimand.kind]
    try:
        given = {k: v for k, v in estimand.given if k != "severity"}
        base = everyone_in(given.items(), space)
        if not kind and outcome in space.levels:
            outside = space.unknown.get(outcome, frozenset()) | {NONE}
            levels = [x for x in space.levels[outcome] if x not in outside]
            return [(x, both(base, space.condition(outcome, x))) for x in levels], None
        asked = kind or ("discordance" if outcome == "discordance" else "response_rate")
        name = "" if asked == "discordance" else outcome
        found = ratio(Estimand(asked, name, estimand.given), space)
    except NotACount as reason:
        raise Missing(str(reason)) from reason
    return [(outcome or asked, found.numerator)], base


def _cell(
    known: Known, estimand: Estimand, level: str, name: str, quantity: Quantity, ids: list[str]
) -> int:
    factor = estimand.contrast.factor if estimand.contrast else ""
    try:
        wanted = both(quantity, known.space.condition(factor, level))
    except NotACount as reason:
        raise Missing(str(reason)) from reason
    found = known.value(plainest(wanted, known.space))
    if found is None:
        about = describe(Estimand("count", "", ((factor, level),)), known.study)
        raise Missing(f"{about} with {name} is printed nowhere and not forced by other counts")
    ids.extend(found.claim_ids)
    return found.value


def _fits(found: association.TestResult, printed: rounding.Interval) -> bool:
    error = SAMPLING_ERRORS * found.mcse
    near = rounding.Interval(found.p_value - error, found.p_value + error)
    return printed.meets(near, least=0.0)  # 3e-20 is not 5.8e-48


def _mark(claim: Claim, verdict: str, found: association.TestResult, note: str) -> Mark:
    text = f"{found.method} gives P {p_text(found.p_value)}; {note}"
    return Mark(claim.id, verdict, text, found.method, p=found.p_value)


def _other_variant(stated: Sequence[association.TestResult]) -> str:
    if not stated:
        return "the methods name no test"
    return f"the stated method gives P {_listed(stated)}"


def _listed(tried: Sequence[association.TestResult]) -> str:
    return ", ".join(f"{p_text(r.p_value)} ({r.method})" for r in tried)


def _shown(table: np.ndarray) -> str:
    return " | ".join("/".join(str(int(x)) for x in row) for row in table)


def _differs(
    claim: Claim,
    counted: Counted,
    tried: Sequence[association.TestResult],
    stated: int,
    printed: rounding.Interval,
) -> Mark:
    nearest = min(tried, key=lambda r: abs(r.p_value - float(claim.p or 0)))
    said = [*tried[:stated], *([nearest] if nearest not in tried[:stated] else [])]
    printed_p = claim.shown_p.removeprefix("P ").removeprefix("= ")
    because = f"the counts {_shown(counted.table)} give P {_listed(said)}, no variant {printed_p}"
    smaller = _collapsed(counted, printed)
    because += f" ({smaller})" if smaller else ""
    note = f"{because}; all variants: {_listed(tried)}; nearest is {nearest.method}"
    return Mark(
        claim.id,
        DIFFERS,
        note,
        tried[0].method,
        p=tried[0].p_value,
        contradicts=counted.claim_ids,
        because=because,
    )


def _collapsed(counted: Counted, printed: rounding.Interval) -> str:
    """Name a table with fewer levels that prints the P, unless that is a likely accident."""
    tried = 0
    found = ""
    for name, table in _smaller_tables(counted):
        try:
            results = association.variants(table)
        except BadInput:
            continue
        tried += len(results)
        hit = next((r for r in results if _fits(r, printed)), None)
        if hit is not None and not found:
            found = f"{hit.method} on {name} alone would print it"
    chance = 1 - (1 - min(1.0, printed.width)) ** tried
    if not found or chance >= RARE:
        return ""
    return f"{found}; chance of such a fit {100 * chance:.1f} %"


def _smaller_tables(counted: Counted) -> Iterator[tuple[str, np.ndarray]]:
    table = counted.table
    if table.shape[0] > 2:
        for pair in combinations(range(table.shape[0]), 2):
            yield " and ".join(counted.rows[i] for i in pair), table[list(pair)]
    if table.shape[1] > 2:
        for i, name in enumerate(counted.columns):
            rest = np.delete(table, i, axis=1).sum(axis=1)
            yield f"{name} vs the rest", np.column_stack([table[:, i], rest])
