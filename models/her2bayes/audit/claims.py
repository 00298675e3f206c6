"""Printed claims of a study as typed rows; marks and findings of rules, counted and in words.

Where the counts of all levels of a factor add up to one common denominator that is smaller than the
group, the paper counts the patients with a known value, and nothing contradicts anything: the rest
is taken as not known, and a finding says so.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING

from her2bayes.audit import rounding
from her2bayes.estimand import Estimand, parse
from her2bayes.evidence.printed.number import NOT_REACHED, p_as_printed, p_value
from her2bayes.evidence.printed.study import Study

if TYPE_CHECKING:
    import pandas as pd
from collections import defaultdict

from her2bayes.estimand import KINDS, Contrast

REPRODUCES = "reproduces"
ROUNDING = "rounding"
METHOD = "method"
DIFFERS = "differs"
INCONSISTENT = "inconsistent"
NOT_CHECKABLE = "not_checkable"

RECOMPUTED = "recomputed"
PRINTED = "printed"

# most serious first: a row that several rules judge keeps the gravest verdict
GRAVITY = (INCONSISTENT, DIFFERS, METHOD, ROUNDING, REPRODUCES, NOT_CHECKABLE)


@dataclass(frozen=True)
class Claim:
    """One ledger row; numbers are exact decimals with their printed digits, None where absent.

    ``not_reached`` says that a median is printed as not reached, ``p_printed`` is P as it stands in
    the paper.
    """

    id: str
    locator: str
    estimand: Estimand
    statistic: str
    text: str
    value: Decimal | None
    lower: Decimal | None
    upper: Decimal | None
    relation: str
    p: Decimal | None
    p_relation: str
    unit: str
    numerator: int | None
    denominator: int | None
    reading: str
    not_reached: bool = False
    p_printed: str = ""

    @property
    def span(self) -> tuple[int, int | None] | None:
        """Smallest and largest count that a count row stands for: 0 to 10 where it prints <11."""
        if self.value is None:
            if self.lower is None or self.upper is None:
                return None
            return int(self.lower), int(self.upper)
        value = int(self.value)
        return {"<": (0, value - 1), ">": (value + 1, None)}.get(self.relation, (value, value))

    @property
    def shown_p(self) -> str:
        """P as printed, with its sign: 'P = 0.004', 'P < 0.001', 'P ≪ 0.0001'."""
        if p_value(self.p_printed) != (self.p_relation, self.p):
            return f"P {self.p_relation} {self.p}"
        printed = p_as_printed(self.p_printed)
        sign = printed[: len(printed) - len(printed.lstrip("<>=≤≥≪≫"))]
        return f"P {sign or self.p_relation} {printed.removeprefix(sign).strip()}"

    @property
    def shown(self) -> str:
        """Printed text, or the value where the text is empty."""
        return self.text or str(self.value)


@dataclass(frozen=True)
class Mark:
    """What one rule says about one claim; numbers in the unit in which the claim is printed.

    ``because`` is the note's core for a finding, empty where the note is short enough.
    """

    claim_id: str
    verdict: str
    note: str = ""
    method: str = ""
    reproduced: float | None = None
    lower: float | None = None
    upper: float | None = None
    p: float | None = None
    contradicts: tuple[str, ...] = ()
    because: str = ""

    @property
    def evidence_kind(self) -> str:
        """Origin of the reproduced numbers."""
        return PRINTED if self.verdict == NOT_CHECKABLE else RECOMPUTED


@dataclass(frozen=True)
class Finding:
    """One sentence a reviewer can act on; ``rank`` orders the list, smallest first."""

    kind: str
    claim_ids: tuple[str, ...]
    sentence: str
    rank: int


@dataclass
class Report:
    """Marks and findings gathered from the rules."""

    marks: list[Mark] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)

    def add(self, other: Report) -> None:
        """Take over what another rule said."""
        self.marks += other.marks
        self.findings += other.findings


def read_claims(study: Study) -> tuple[Claim, ...]:
    """Turn the ledger of a study into typed claims, in the order of the file."""
    return tuple(_claim(row) for row in study.ledger.to_dict("records"))


def _claim(row: dict) -> Claim:
    decimals = _whole(row["decimals"])
    p_text = str(row["p_value"])
    return Claim(
        id=row["claim_id"],
        locator=row["locator"],
        estimand=parse(row["estimand"]),
        statistic=row["statistic"],
        text=row["text"],
        value=rounding.decimal(row["value"], decimals),
        lower=rounding.decimal(row["lower"]),
        upper=rounding.decimal(row["upper"]),
        relation=row["relation"] or "=",
        p=rounding.decimal(p_text.lstrip("<>=")),
        p_relation=p_text[0] if p_text[:1] in {"<", ">"} else "=",
        unit=row["unit"],
        numerator=_whole(row["numerator"]),
        denominator=_whole(row["denominator"]),
        reading=row["reading"],
        not_reached=row["value"] == NOT_REACHED,
        p_printed=str(row.get("p_printed", "")),
    )


def _whole(value: object) -> int | None:
    text = str(value).strip()
    return int(float(text)) if text not in {"", "<NA>", "nan", "None"} else None


def places(claims: Iterable[Claim]) -> str:
    """Locators of claims as a phrase, each once: 'Abstract, Table 1 and Discussion'."""
    return join(dict.fromkeys(claim.locator for claim in claims))


def join(parts: Iterable[str]) -> str:
    """List parts in words: 'a, b and c'."""
    listed: Sequence[str] = list(parts)
    if len(listed) < 2:
        return "".join(listed)
    return f"{', '.join(listed[:-1])} and {listed[-1]}"


def number(value: float | Decimal, digits: int = 2) -> str:
    """Number for a sentence: ``digits`` decimals, more where it would read as zero."""
    text = f"{value:.{digits}f}"
    return text if float(text) != 0 or value == 0 else f"{float(value):.2g}"


def p_text(value: float) -> str:
    """P value for a sentence: two significant digits from 0.001 on, else '<0.001'."""
    if value < 0.001:
        return "<0.001"
    return f"{value:.3f}" if value >= 0.0095 else f"{value:.4f}"


WORDS = "significant"
CONSTRUCTED = "by_construction"


def quantities(evidence: pd.DataFrame) -> pd.DataFrame:
    """One row of an evidence table for each distinct quantity, with its gravest verdict."""
    kept = evidence[(evidence["claim_id"] != "") & (evidence["statistic"] != WORDS)]
    kept = kept[kept["evidence_kind"] != CONSTRUCTED]
    gravity = kept["verdict"].map({verdict: n for n, verdict in enumerate(GRAVITY)})
    ordered = kept.assign(_gravity=gravity, _p=kept["statistic"] == "p_value")
    ordered = ordered.sort_values("_gravity", kind="stable")
    first = ordered.drop_duplicates(["estimand", "reading", "_p"])
    return first.sort_index().drop(columns=["_gravity", "_p"])


def counted(evidence: pd.DataFrame) -> str:
    """Say how many printed numbers there are, how many quantities, and what is left out."""
    printed = evidence[evidence["claim_id"] != ""]
    words = int((printed["statistic"] == WORDS).sum())
    constructed = int(
        ((printed["evidence_kind"] == CONSTRUCTED) & (printed["statistic"] != WORDS)).sum()
    )
    parts = [
        f"{_many(words, 'statement')} in words, compared with the paper's own P values"
        * bool(words),
        f"{constructed} constrained by construction" if constructed else "",
    ]
    apart = " and ".join(part for part in parts if part)
    numbers, distinct = len(printed), len(quantities(evidence))
    text = f"{_many(numbers, 'printed number')}, {_many(distinct, 'distinct quantity')}"
    return f"{text} (without {apart})" if apart else text


def _many(number: int, what: str) -> str:
    plural = f"{what[:-1]}ies" if what.endswith("y") else f"{what}s"
    return f"{number} {what if number == 1 else plural}"


_PLAIN = {
    "count": "the number of patients",
    "share": "the share",
    "discordance": "discordance",
    "response_rate": "the response rate",
    "event_rate": "the rate of",
    "transition": "the transition",
    "flow": "the flow",
    "gain": "the change to",
    "loss": "the change from",
    "median": "the median",
    "follow_up": "median follow-up",
    "association": "the association of",
    "survival_difference": "the comparison of",
    "hazard_ratio": "the hazard ratio of",
    "survival": "the survival",
    "cumulative_incidence": "the cumulative incidence",
    "response_rate_difference": "the difference in response rate",
    "share_difference": "the difference in the share",
    "discordance_difference": "the difference in discordance",
}


def describe(estimand: Estimand, study: Study, reading: str = "") -> str:
    """Say what an estimand is: 'the transition zero -> low among Type of first relapse LRR'."""
    words = _PLAIN.get(estimand.kind, KINDS[estimand.kind].words)
    if estimand.outcome:
        words += f" {_outcome(estimand.outcome, study)}"
    if estimand.time is not None:
        words += f" at {estimand.time:g} {estimand.time_unit}"
    if estimand.contrast:
        words += _contrast(estimand.contrast, study)
    groups = [_condition(factor, level, study) for factor, level in estimand.given]
    if groups:
        words += f" among {join(groups)}"
    return f"{words} ({reading})" if reading else words


def _outcome(outcome: str, study: Study) -> str:
    factor, mark, level = outcome.partition("=")
    if mark:
        return _condition(factor.strip(), level.strip(), study)
    endpoint = study.meta.get("endpoints", {}).get(outcome)
    measure = study.meta.get("measures", {}).get(outcome)
    if endpoint or measure:
        return str((endpoint or measure)["label"])
    if any(outcome in factor.groups for factor in study.factors.values()):
        return outcome.upper()
    return _label(outcome, study) if outcome in study.factors else outcome


def _contrast(contrast: Contrast, study: Study) -> str:
    label = _label(contrast.factor, study)
    return f", {label} {contrast.a} vs {contrast.b}" if contrast.a else f" by {label}"


def _condition(factor: str, level: str, study: Study) -> str:
    return f"severity {level}" if factor == "severity" else f"'{_label(factor, study)}: {level}'"


def _label(factor: str, study: Study) -> str:
    known = study.factors.get(factor)
    return known.label if known else factor


def incomplete(study: Study, claims: Sequence[Claim]) -> dict[str, tuple[Claim, ...]]:
    """Factors without unknown levels that are known in part of the patients, and what shows it."""
    found: dict[str, tuple[Claim, ...]] = {}
    for (factor, given), rows in _shares(study, claims).items():
        whole = _common_total(study, claims, given)
        if whole is None or factor in found or study.factors[factor].unknown:
            continue
        known = {row.denominator for row in rows.values()}
        total = sum(row.numerator or 0 for row in rows.values())
        if len(rows) == len(study.factors[factor].levels) and known == {total} and total < whole:
            found[factor] = tuple(rows.values())
    return found


Group = tuple[str, tuple[tuple[str, str], ...]]


def _shares(study: Study, claims: Sequence[Claim]) -> dict[Group, dict[str, Claim]]:
    """Rows with count and denominator by factor and condition, the first of each level."""
    found: dict[Group, dict[str, Claim]] = defaultdict(dict)
    for claim in claims:
        factor, _, level = claim.estimand.outcome.partition("=")
        plain = claim.estimand.kind in ("share", "count") and not claim.reading
        counted = claim.numerator is not None and claim.denominator is not None
        known = study.factors.get(factor)
        if plain and counted and known and not known.parent and level in known.levels:
            found[factor, claim.estimand.given].setdefault(level, claim)
    return found


def _common_total(
    study: Study, claims: Sequence[Claim], given: tuple[tuple[str, str], ...]
) -> int | None:
    """Patients of a group as printed; of everyone those of study.toml where no row counts them."""
    counts = {
        int(c.value)
        for c in claims
        if c.estimand.kind == "count" and not c.estimand.outcome and c.estimand.given == given
        and c.value is not None and c.relation == "="
    }  # fmt: skip
    if not given and not counts:
        return int(study.meta["patients"])
    return counts.pop() if len(counts) == 1 else None
