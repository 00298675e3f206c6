"""What is estimated, in one canonical text form that parses and prints back to itself.

    kind[outcome | factor=level, ... ; factor: a vs b @ time unit]      every part optional

``share[her2=low | hr_status=positive]``, ``share_difference[her2=low ; hr_status: positive vs
negative]``, ``transition[zero -> low | relapse_type=LRR]``, ``discordance[| hr_status=positive]``,
``hazard_ratio[bcss ; her2: positive vs low]``, ``survival[bcss | her2=zero @ 24 months]``,
``association[her2 ; hr_status]`` (all levels of the factor compared). Readings and scenarios are
columns of their own, never part of the name. A level that holds one of ``[ ] | ; @ , "`` or the
word ``vs`` stands in double quotes: ``median[os | sites="1-2, visceral"]``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from her2bayes.errors import BadInput, Fault

# kind -> what it is; the vocabulary of every table, page and conclusion
KINDS = {
    "count": "number of patients",
    "share": "share of patients",
    "share_difference": "difference of two shares",
    "share_ratio": "ratio of two shares",
    "association": "dependence of an outcome on a factor",
    "transition": "probability of a class at recurrence given the class at the primary",
    "flow": "probability of a pair of classes, primary and recurrence",
    "flow_difference": "probability of a flow minus that of the opposite flow",
    "discordance": "probability that the class changes",
    "discordance_difference": "difference of two discordance probabilities",
    "true_discordance": "probability that the true class changes",
    "unchanged_given_observed_change": "probability of no true change where the readings differ",
    "gain": "probability of gaining a class",
    "loss": "probability of losing a class",
    "agreement": "Cohen's kappa of two readings",
    "symmetry": "symmetry of a square table",
    "marginal_homogeneity": "equality of the margins of a square table",
    "mean": "mean",
    "median": "median",
    "median_difference": "difference of two medians",
    "quantile": "quantile",
    "range": "smallest and largest value",
    "follow_up": "median follow-up time",
    "events": "number of events",
    "survival": "probability of no event by a time",
    "survival_difference": "difference between survival curves",
    "cumulative_incidence": "probability of an event of one cause by a time",
    "hazard": "rate of events",
    "cumulative_hazard": "cumulative hazard",
    "hazard_ratio": "ratio of hazards",
    "hazard_ratio_ratio": "ratio of the hazard ratios in two groups",
    "rmst": "restricted mean survival time",
    "rmst_difference": "difference of restricted mean survival times",
    "rmst_ratio": "ratio of restricted mean survival times",
    "not_reached": "probability that the median is not reached within follow-up",
    "ordering": "probability of an ordering of groups",
    "response_rate": "probability of a response",
    "response_rate_difference": "difference of two response rates",
    "event_rate": "probability of an adverse event",
    "event_rate_difference": "difference of two adverse-event rates",
    "heterogeneity": "spread between groups",
}

_RESERVED = set("[]|;@")
_QUOTED = re.compile(r'"((?:[^"]|"")*)"')
_NAME = re.compile(r"[a-z][a-z0-9_]*")
_SHAPE = "kind[outcome | factor=level, ... ; factor: a vs b @ time unit]"


@dataclass(frozen=True)
class Contrast:
    """Comparison within one factor: ``a`` against ``b``, or all its levels where both are empty."""

    factor: str
    a: str = ""
    b: str = ""

    def __str__(self) -> str:
        """Print as in the grammar."""
        return f"{self.factor}: {quoted(self.a)} vs {quoted(self.b)}" if self.a else self.factor


@dataclass(frozen=True)
class Estimand:
    """A quantity: its kind, outcome, conditions (sorted by factor), contrast and time."""

    kind: str
    outcome: str = ""
    given: tuple[tuple[str, str], ...] = ()
    contrast: Contrast | None = None
    time: float | None = None
    time_unit: str = ""

    def __post_init__(self) -> None:
        """Keep one canonical order of conditions, so that equal quantities compare equal."""
        object.__setattr__(self, "given", tuple(sorted(self.given)))
        problem = self._problem()
        if problem:
            raise BadInput(Fault(f"not an estimand: {problem}", value=str(self), allowed=_SHAPE))

    def _problem(self) -> str:
        if self.kind not in KINDS:
            return f"unknown kind '{self.kind}' (known: {', '.join(sorted(KINDS))})"
        factors = [factor for factor, _ in self.given]
        if len(set(factors)) != len(factors):
            return "a factor is conditioned on twice"
        for factor, level in self.given:
            if not _NAME.fullmatch(factor) or not level:
                return f"condition '{factor}={level}' is not factor=level"
        if _RESERVED & set(self.outcome):
            return f"outcome '{self.outcome}' holds one of [ ] | ; @"
        if (self.time is None) != (not self.time_unit):
            return "a time needs a unit and a unit a time"
        return ""

    def __str__(self) -> str:
        """Print the canonical form."""
        inside = self.outcome
        if self.given:
            inside += " | " + ", ".join(f"{factor}={quoted(level)}" for factor, level in self.given)
        if self.contrast:
            inside += f" ; {self.contrast}"
        if self.time is not None:
            inside += f" @ {self.time:g} {self.time_unit}"
        return f"{self.kind}[{inside.strip()}]"

    def where(self, **levels: str) -> Estimand:
        """Return the same quantity under further conditions."""
        return replace(self, given=(*self.given, *levels.items()))

    @property
    def conditions(self) -> dict[str, str]:
        """Conditions as a mapping factor -> level."""
        return dict(self.given)


def parse(text: str) -> Estimand:
    """Read the text form; spaces are free, the order of conditions does not matter.

    Raises ``BadInput`` naming what does not fit.
    """
    plain, texts = _without_quotes(text)
    match = re.fullmatch(r"\s*([A-Za-z_]+)\s*\[(.*)\]\s*", plain, flags=re.DOTALL)
    if not match:
        raise BadInput(Fault("not an estimand", value=text, allowed=_SHAPE))
    kind, inside = match.group(1), match.group(2)
    inside, time, unit = _time(inside, text)
    body, _, contrast_text = inside.partition(";")
    outcome, _, given_text = body.partition("|")
    contrast = _contrast(contrast_text.strip(), text, texts) if contrast_text.strip() else None
    given = tuple(_condition(part, text, texts) for part in given_text.split(",") if part.strip())
    return Estimand(kind, " ".join(outcome.split()), given, contrast, time, unit)


def quoted(level: str) -> str:
    """Write a level as the grammar reads it: in quotes where it holds a sign of the grammar."""
    plain = not (_RESERVED | {",", '"'}) & set(level) and " vs " not in f" {level} "
    return level if plain else '"' + level.replace('"', '""') + '"'


def _without_quotes(text: str) -> tuple[str, list[str]]:
    """Text with each quoted level as a place (a sign of no grammar and its number), and levels."""
    levels: list[str] = []

    def place(match: re.Match[str]) -> str:
        levels.append(match[1].replace('""', '"'))
        return f"\0{len(levels) - 1}\0"

    return _QUOTED.sub(place, text), levels


def _level(text: str, texts: list[str]) -> str:
    """Level as written, or the quoted one at its place."""
    plain = " ".join(text.split())
    return texts[int(plain[1:-1])] if plain.startswith("\0") else plain


def _time(inside: str, text: str) -> tuple[str, float | None, str]:
    head, mark, tail = inside.partition("@")
    if not mark:
        return head, None, ""
    match = re.fullmatch(r"\s*([0-9.]+)\s+([a-z]+)\s*", tail)
    if not match:
        raise BadInput(Fault("time is not 'number unit'", value=text, allowed="e.g. @ 24 months"))
    return head, float(match.group(1)), match.group(2)


def _contrast(contrast: str, text: str, texts: list[str]) -> Contrast:
    factor, mark, levels = contrast.partition(":")
    a, versus, b = levels.partition(" vs ")
    good = _NAME.fullmatch(factor.strip()) and (not mark or (versus and a.strip() and b.strip()))
    if not good:
        raise BadInput(Fault("contrast is not 'factor: a vs b'", value=text, allowed=_SHAPE))
    return Contrast(factor.strip(), _level(a, texts), _level(b, texts))


def _condition(part: str, text: str, texts: list[str]) -> tuple[str, str]:
    factor, mark, level = part.partition("=")
    if not mark:
        raise BadInput(Fault("condition is not factor=level", value=text, allowed=_SHAPE))
    return factor.strip(), _level(level, texts)
