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

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from her2bayes.errors import BadInput, Fault, suggestion

OWN = None
"""Unit of a kind that takes its outcome's."""


@dataclass(frozen=True)
class Kind:
    """What a kind of estimand is; every list of kinds elsewhere is read from these.

    ``unit``: of its printed number, "" for ratios and other pure numbers, ``OWN`` where the outcome
    brings it (a measure's, an endpoint's). ``scale``: on which its draws are compared (identity,
    log, logit), so that a ratio and its inverse, or a share and its complement, have the same
    contraction. ``limits``: of its values, a share being 0 to 1. ``timed``: whether it speaks of an
    endpoint and may name a time. ``statistic``: of a row the paper does not print. ``families``:
    whose fits answer it, none where papers print it and no model estimates it.
    """

    words: str
    unit: str | None = ""
    scale: str = "identity"
    limits: tuple[float, float] = (-math.inf, math.inf)
    timed: bool = False
    statistic: str = ""
    families: tuple[str, ...] = ()


FITTED_BY: Mapping[str, str] = {
    "distribution": "fit_distribution",
    "transition": "fit_transitions",
    "survival": "fit_survival",
    "rates": "fit_response or fit_adverse_events",
    "cohorts": "reconstruct",
    "synthesis": "synthesise",
    "joint": "fit_joint",
}
"""Family -> the public functions whose fits it answers for."""


def _share(words: str, *, timed: bool = False) -> Kind:
    return Kind(words, "%", "logit", (0.0, 1.0), timed, "percentage")


def _difference(words: str, *, timed: bool = False) -> Kind:
    return Kind(words, "%", "identity", (-1.0, 1.0), timed)


def _positive(words: str, unit: str | None = "", *, timed: bool = False) -> Kind:
    return Kind(words, unit, "log", (0.0, math.inf), timed)


_KINDS = {
    "count": Kind("number of patients", OWN, limits=(0.0, math.inf)),
    "share": _share("share of patients"),
    "share_difference": _difference("difference of two shares"),
    "share_ratio": _positive("ratio of two shares"),
    "standardised_share": _share("share of patients, standardised to a population"),
    "standardised_difference": _difference("difference of two standardised shares"),
    "association": Kind("dependence of an outcome on a factor", limits=(0.0, 1.0)),
    "transition": _share("probability of a class at recurrence given the class at the primary"),
    "flow": _share("probability of a pair of classes, primary and recurrence"),
    "flow_difference": _difference(
        "net switching: probability of a change minus that of the opposite change"
    ),
    "discordance": _share("probability that the class changes"),
    "discordance_difference": _difference("difference of two discordance probabilities"),
    "true_discordance": _share("probability that the true class changes"),
    "unchanged_given_observed_change": _share(
        "probability of no true change where the readings differ"
    ),
    "read_discordance": _share("probability that the two readings differ"),
    "read_as": _share("probability that a true class is read as a class"),
    "true_class": _share("probability of a true class, or of a true change, given both readings"),
    "gain": _share("probability of gaining a class"),
    "loss": _share("probability of losing a class"),
    "number_to_rebiopsy": _positive(
        "patients of a primary class to re-biopsy to find one whose class is now a higher one"
    ),
    "agreement": Kind("Cohen's kappa of two readings", limits=(-1.0, 1.0)),
    "symmetry": Kind("symmetry of a square table"),
    "marginal_homogeneity": Kind("equality of the margins of a square table"),
    "mean": Kind("mean", OWN),
    "median": Kind("median", OWN, "log"),
    "median_difference": Kind("difference of two medians", OWN),
    "quantile": Kind("quantile", OWN),
    "range": Kind("smallest and largest value", OWN),
    "follow_up": _positive("median follow-up time", OWN),
    "events": Kind("number of events", OWN, limits=(0.0, math.inf)),
    "survival": _share("probability of no event by a time", timed=True),
    "survival_difference": _difference("difference between survival curves", timed=True),
    "cumulative_incidence": _share("probability of an event of one cause by a time", timed=True),
    "hazard": _positive("rate of events", OWN, timed=True),
    "cumulative_hazard": _positive("cumulative hazard", timed=True),
    "hazard_ratio": _positive("ratio of hazards", timed=True),
    "hazard_ratio_ratio": _positive("ratio of the hazard ratios in two groups"),
    "dilution": Kind("log hazard ratio by class as read, divided by that by true class"),
    "rmst": Kind("restricted mean survival time", OWN, limits=(0.0, math.inf), timed=True),
    "rmst_difference": Kind("difference of restricted mean survival times", OWN, timed=True),
    "rmst_ratio": _positive("ratio of restricted mean survival times", timed=True),
    # draws are yes or no, and their mean is the probability
    "not_reached": Kind(
        "probability that the median is not reached within follow-up", limits=(0.0, 1.0), timed=True
    ),
    "ordering": Kind("probability of an ordering of groups", limits=(0.0, 1.0)),
    "response_rate": _share("probability of a response"),
    "response_rate_difference": _difference("difference of two response rates"),
    "event_rate": _share("probability of an adverse event"),
    "event_rate_difference": _difference("difference of two adverse-event rates"),
    # a spread of logits or log hazards, or the largest difference of shares in percent
    "heterogeneity": Kind("spread between groups", OWN, limits=(0.0, math.inf)),
}

_ANSWERS = {
    "distribution": "share share_difference share_ratio standardised_share "
    "standardised_difference association heterogeneity",
    "transition": "transition flow flow_difference discordance discordance_difference gain loss "
    "agreement true_discordance unchanged_given_observed_change number_to_rebiopsy",
    "survival": "survival survival_difference cumulative_incidence hazard cumulative_hazard "
    "hazard_ratio hazard_ratio_ratio median median_difference rmst rmst_difference rmst_ratio "
    "not_reached ordering "
    "heterogeneity",
    "rates": "share share_difference share_ratio response_rate response_rate_difference event_rate "
    "event_rate_difference ordering heterogeneity",
    "cohorts": "survival survival_difference rmst rmst_difference hazard_ratio hazard_ratio_ratio",
    "synthesis": "share share_difference share_ratio transition flow flow_difference discordance "
    "gain loss number_to_rebiopsy hazard_ratio median rmst_ratio heterogeneity",
    "joint": "transition flow flow_difference discordance discordance_difference gain loss "
    "agreement true_discordance unchanged_given_observed_change number_to_rebiopsy "
    "read_discordance read_as true_class survival survival_difference cumulative_incidence hazard "
    "cumulative_hazard hazard_ratio hazard_ratio_ratio dilution median median_difference rmst "
    "rmst_difference rmst_ratio not_reached ordering heterogeneity",
}

KINDS: Mapping[str, Kind] = {
    name: replace(kind, families=tuple(f for f, of in _ANSWERS.items() if name in of.split()))
    for name, kind in _KINDS.items()
}
"""The one table of kinds: the vocabulary of every table, page and conclusion."""


def not_answered(asked: Estimand, family: str, answered: Iterable[str]) -> Fault:
    """Say that a fit of ``family`` does not answer what is asked, and who does or what it does.

    ``answered`` are estimands that it answers, or a sample of them.
    """
    known, others = list(answered), KINDS[asked.kind].families
    if family not in others and others:
        remedy = f"{asked.kind} is answered by {', '.join(FITTED_BY[name] for name in others)}"
    else:
        remedy = suggestion(str(asked), known)
    problem = f"asked of {FITTED_BY.get(family, family)}, which does not answer it"
    allowed = "; ".join(known[:12]) + ("; ..." if len(known) > 12 else "")
    return Fault(problem, value=str(asked), allowed=allowed or None, remedy=remedy)


def is_percent(kind: str) -> bool:
    """Tell whether a kind is printed in percent, its draws being between 0 and 1."""
    return KINDS[kind].unit == "%"


TABLE_PARTS = ("diagonal", "off_diagonal")
"""Names of sets of pairs of classes; other cells are written ``a->b``."""


def cells_of(text: str) -> list[str]:
    """Cells that ``a->b+c->d`` adds up, without surrounding spaces.

    Where classes have a ``+`` in their names (IHC 1+), the sign between cells stands between
    spaces.

    >>> cells_of("zero->low+diagonal")
    ['zero->low', 'diagonal']
    >>> cells_of("0->1+ + 2+/ISH-->1+")
    ['0->1+', '2+/ISH-->1+']
    """
    found: list[str] = []
    for piece in re.split(r"\s\+\s", text):
        parts = [part.strip() for part in piece.split("+")]
        split = all("->" in part or part in TABLE_PARTS for part in parts)
        found += parts if split else [piece.strip()]
    return found


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
    """A quantity: its kind, outcome, conditions (sorted by factor), contrast and time.

    Wherever one is asked for, its text does as well. ``where`` adds conditions.

    >>> from her2bayes.estimand import parse
    >>> low = parse("share[her2=low]")
    >>> print(low.where(hr_status="positive"))
    share[her2=low | hr_status=positive]
    """

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
            remedy = suggestion(self.kind, KINDS) if self.kind not in KINDS else None
            fault = Fault(f"not an estimand: {problem}", value=str(self), allowed=_SHAPE)
            raise BadInput(replace(fault, remedy=remedy))

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

    def check_unit(self, unit: str) -> None:
        """Raise ``ValueError`` where a number of this kind cannot be in this unit."""
        declared = KINDS[self.kind].unit
        if declared is not None and unit != declared:
            raise ValueError(f"{self}: in '{unit}', but {self.kind} is in '{declared}'")

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
