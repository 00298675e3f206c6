"""The printed claims of a study as typed rows, and the marks and findings the rules return."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from her2bayes.audit import rounding
from her2bayes.estimand import Estimand, parse
from her2bayes.evidence.printed.number import NOT_REACHED, p_as_printed, p_value
from her2bayes.evidence.printed.study import Study

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
