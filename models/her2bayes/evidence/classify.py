"""HER2 class from IHC, ISH and verdict, HR status from ER and PR; partial knowledge as sets.

A *reading* is a set of classes, named by its members in order (``zero/low``); the full set is
``unknown``. The rule is the one of both papers (ASCO/CAP): any positive verdict is positive;
otherwise 3+ is positive, 2+ with a negative verdict low and without one ``low/positive``, 1+ low,
0 zero; a range of scores is the union of its ends; a negative verdict alone excludes positive.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

CATEGORIES = ("zero", "low", "positive")
UNKNOWN = "unknown"
MISSING = frozenset(
    {
        "", "na", "n/a", "nan", "none", "null", "<na>", ".", "missing", "unknown", "unk", "nd",
        "unk/nd", "not available", "not applicable", "not evaluated", "not done", "not performed",
        "not reported", "not tested", "not recorded",
    }
)  # fmt: skip
VERDICTS: Mapping[str, str] = {
    **dict.fromkeys(("positive", "pos", "amplified"), "positive"),
    **dict.fromkeys(("negative", "neg", "not amplified", "non-amplified"), "negative"),
    **dict.fromkeys(
        ("equivocal", "indeterminate", "borderline", "inconclusive", "test failure", "failed"), ""
    ),
}  # fmt: skip
_NOTE = re.compile(r"\s*\([^()]*\)|\s*\[[^\[\]]*\]")
_SCORE = re.compile(
    r"(?:(?:her2|ihc|score)[ :]*)*([0-3])(?:\.0+)? ?\+?(?: ?(?:-|/|to) ?([0-3]) ?\+?)?"
)
_ULTRALOW = frozenset({"ultralow", "ultra-low", "ultra low", "0 ultralow", ">0<1+", ">0 <1+"})
_NUMBER = r"(\d+(?:\.\d+)?)"
_PERCENT = re.compile(rf"(<=|>=|<|>)?\s*{_NUMBER}(?:\s*-\s*{_NUMBER})?\s*%?")


@dataclass(frozen=True)
class Scheme:
    """Which classes there are and which of them each IHC score means without a positive verdict.

    ``scores`` maps a score (``0``, ``ultralow``, ``1``, ``2``) to classes; a positive verdict or
    3+ means ``positive``. An assay that does not separate ultralow from zero says ``("0", ("zero",
    "ultralow"))``. A range (``0-1``) is the union of its ends unless it is listed itself.
    """

    categories: tuple[str, ...] = CATEGORIES
    scores: tuple[tuple[str, tuple[str, ...]], ...] = (
        ("0", ("zero",)),
        ("1", ("low",)),
        ("2", ("low",)),
    )
    positive: str = "positive"

    def counting(self, score: str, *classes: str) -> Scheme:
        """Return the scheme in which a score, or a range such as ``0-1``, means these classes."""
        return replace(self, scores=tuple(sorted({**dict(self.scores), score: classes}.items())))

    @property
    def negative(self) -> tuple[str, ...]:
        """Classes that a negative verdict leaves open."""
        return tuple(c for c in self.categories if c != self.positive)


PAPERS = Scheme()


@dataclass(frozen=True)
class Classified:
    """A reading, the rule that made it, and whether the sources contradict each other."""

    reading: str
    rule: str
    contradictory: bool = False


def reading_name(classes: set[str] | frozenset[str], categories: tuple[str, ...]) -> str:
    """Name of a set of classes: members joined by ``/`` in category order, ``unknown`` for all."""
    if not classes or classes >= set(categories):
        return UNKNOWN
    return "/".join(c for c in categories if c in classes)


def reading_classes(reading: str, categories: tuple[str, ...]) -> frozenset[str]:
    """Return the classes that a reading name stands for (inverse of ``reading_name``)."""
    return frozenset(categories if reading == UNKNOWN else reading.split("/"))


def without_notes(text: str) -> str:
    """Lower-case text without notes in brackets, one kind of dash, single spaces."""
    plain = re.sub(r"[\u2010-\u2015\u2212]", "-", text.strip().lower())
    return " ".join(_NOTE.sub(" ", plain).split())


def is_missing(text: str, extra: frozenset[str] = frozenset()) -> bool:
    """Whether a cell says that nothing is known (TCGA writes it in brackets)."""
    plain = " ".join(text.strip().lower().strip("[]").split())
    return plain in MISSING or plain in extra


def parse_score(text: str) -> tuple[str, ...] | None:
    """IHC scores of a cell: ``2+`` -> ("2",), ``0-1+`` -> ("0", "1"); None if none fits."""
    plain = without_notes(text)
    if plain in _ULTRALOW or "ultralow" in text.lower().replace("-", "").replace(" ", ""):
        return ("ultralow",)
    match = _SCORE.fullmatch(plain)
    if not match:
        return None
    low, high = sorted((int(match[1]), int(match[2] or match[1])))
    return tuple(str(score) for score in range(low, high + 1))


def parse_verdict(text: str) -> str | None:
    """``positive``, ``negative``, empty for no verdict, None where the text is not understood."""
    return VERDICTS.get(without_notes(text))


def parse_receptor(text: str, threshold: float = 1.0) -> str | None:
    """ER or PR: ``positive`` (at least ``threshold`` per cent of cells), ``negative``, empty, None.

    Percentages may be ranges (``30-60``) or bounds (``>60``, ``<1``); one that lies on both sides
    of the threshold is no verdict.
    """
    verdict = parse_verdict(text)
    if verdict is not None:
        return verdict
    match = _PERCENT.fullmatch(without_notes(text))
    if not match:
        return None
    low, high = _bounds(match[1] or "", float(match[2]), float(match[3] or match[2]))
    if high > 100 or low > high:
        return None
    if low >= threshold:
        return "positive"
    strictly_below = match[1] == "<" and high <= threshold
    return "negative" if high < threshold or strictly_below else ""


def _bounds(sign: str, low: float, high: float) -> tuple[float, float]:
    if sign.startswith("<"):
        return 0.0, high
    if sign.startswith(">"):
        return low, max(high, 100.0)
    return low, high


def hr_status(er: str, pr: str) -> str:
    """HR status from two receptor verdicts: either positive, both negative, otherwise not known."""
    if "positive" in (er, pr):
        return "positive"
    return "negative" if er == pr == "negative" else ""


def classify(
    scores: tuple[str, ...], ish: str, overall: str, scheme: Scheme = PAPERS
) -> Classified:
    """Reading of one sample from its scores (may be none) and its two verdicts (may be empty)."""
    verdicts = {ish, overall} - {""}
    if "positive" in verdicts:
        rule = "positive verdict (ISH or overall)"
        against = "negative" in verdicts
        return Classified(
            scheme.positive, rule + (", the other negative" if against else ""), against
        )
    if not scores:
        if "negative" not in verdicts:
            return Classified(UNKNOWN, "no score and no verdict")
        reading = reading_name(frozenset(scheme.negative), scheme.categories)
        return Classified(reading, "negative verdict without a score")
    return _by_score(scores, "negative" in verdicts, scheme)


def _by_score(scores: tuple[str, ...], negative: bool, scheme: Scheme) -> Classified:
    classes: set[str] = set()
    known = dict(scheme.scores)
    span = f"{scores[0]}-{scores[-1]}"
    if {"0", "1"} <= set(scores) and "ultralow" in known:
        classes.update(known["ultralow"])  # lies between the two
    for score in () if span in known else scores:
        if score == "3":
            classes.add(scheme.positive)
        else:
            classes.update(known[score])
            if score == "2" and not negative:
                classes.add(scheme.positive)
    classes = set(known[span]) if span in known else classes
    rule = f"IHC {score_name(scores)}"
    if "2" in scores:
        rule += " with a negative verdict" if negative else " without a verdict"
    contradictory = negative and scores == ("3",)
    if contradictory:
        rule += ", verdict negative"
    return Classified(reading_name(classes, scheme.categories), rule, contradictory)


def score_name(scores: tuple[str, ...]) -> str:
    """Scores as pathologists write them: ``0``, ``0-1+``, ``2+``."""
    if len(scores) == 1:
        return scores[0] if scores[0] in ("0", "ultralow") else f"{scores[0]}+"
    return f"{scores[0]}-{scores[-1]}+"
