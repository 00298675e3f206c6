"""Draws of what is asked of a transition matrix: the one place where an estimand is computed.

``transition`` (..., her2_primary, her2) has rows that sum to 1; ``share`` (..., her2_primary) are
the shares of the primary classes: those counted answer for *this cohort*, drawn ones for a *new
cohort*.

    flow[i,j]     = share[i] * transition[i,j]
    discordance   = sum_{i != j} flow[i,j]
    gain[c]       = sum_{i != c} flow[i,c]         of all patients
    loss[c]       = sum_{j != c} flow[c,j]
    number_to_rebiopsy[i] = 1 / sum_{j > i} transition[i,j]      classes in order
    agreement     = (observed - chance) / (1 - chance),  observed = sum_i flow[i,i],
                    chance = sum_c share[c] * recurrence_share[c]                     (kappa)

With a fallible assay rows and shares are those of true classes, whose flow nobody counted:

    true_discordance                = sum_{i != j} drawn share[i] transition[i,j]
    unchanged_given_observed_change = sum_{o1 != o2} unchanged_flow[o1,o2]
                                      / sum_{o1 != o2} observed_flow[o1,o2]
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from typing import Any

import numpy as np
import xarray as xr

from her2bayes.errors import Fault, raise_if
from her2bayes.estimand import Contrast, Estimand, cells_of, not_answered, parse
from her2bayes.inference.estimates import FitLike, estimate

PRIMARY, RECURRENCE = "her2_primary", "her2"
CHANGE = "her2_change"  # condition of a flow: among patients whose class changed (discordant)

Given = tuple[tuple[str, str], ...]


def discordance(flow: xr.DataArray) -> xr.DataArray:
    """Probability that the class changes."""
    return _off_diagonal(flow).sum((PRIMARY, RECURRENCE))


def kappa(flow: xr.DataArray) -> xr.DataArray:
    """Cohen's kappa of the two readings; NaN where one class holds all patients."""
    observed = flow.sum((PRIMARY, RECURRENCE)) - discordance(flow)
    primary = flow.sum(RECURRENCE).rename({PRIMARY: RECURRENCE})
    chance = (primary * flow.sum(PRIMARY)).sum(RECURRENCE)
    return ((observed - chance) / (1 - chance)).where(chance < 1)


def pooled(draws: xr.DataArray, weight: xr.DataArray, dim: str = "stratum") -> xr.DataArray:
    """Mean over several strata; ``weight`` are their shares of the patients (sum to 1)."""
    return (draws * weight).sum(dim)


def observed_discordance(observed_flow: xr.DataArray) -> xr.DataArray:
    """Probability that the two readings differ, from their flow (..., read_primary, read)."""
    flow = observed_flow.where(observed_flow["read_primary"] != observed_flow["read"], 0.0)
    return flow.sum(("read_primary", "read"))


def accuracy(draws: xr.Dataset) -> xr.DataArray:
    """Probability that a sample of the cohort is read right, over true classes of both samples."""
    right = xr.concat(
        [draws["misclassification"].sel(her2=name, read=name, drop=True)
         for name in draws["her2"].values], dim=draws["her2"],
    )  # fmt: skip
    first = draws["primary_share"].rename(her2_primary="her2")
    second = (draws["primary_share"] * draws["transition"]).sum("her2_primary")
    return (right * (first + second)).sum("her2") / 2


def _off_diagonal(flow: xr.DataArray) -> xr.DataArray:
    return flow.where(flow[PRIMARY] != flow[RECURRENCE], 0.0)


@dataclass(frozen=True)
class Rows:
    """Draws of one stratum, of the posterior or of the prior.

    ``transition`` (chain, draw, her2_primary, her2); ``share`` (chain, draw, her2_primary) drawn
    primary shares; ``cohort`` (her2_primary) those of this cohort, with chain and draw where they
    are not printed; ``readings`` holds ``observed_flow`` and ``unchanged_flow`` (chain, draw,
    read_primary, read) where an assay stands between.
    """

    transition: xr.DataArray
    share: xr.DataArray
    cohort: xr.DataArray
    readings: xr.Dataset = field(default_factory=xr.Dataset)

    def flow(self, *, new_cohort: bool = False) -> xr.DataArray:
        """Probability of each pair of classes (chain, draw, her2_primary, her2)."""
        return self.transition * (self.share if new_cohort else self.cohort)


def rows_of(draws: xr.Dataset, stratum: str, cohort: xr.DataArray | None = None) -> Rows:
    """Rows of one stratum from a group of a fit; without ``cohort`` its shares are drawn means."""
    here = draws.sel(stratum=stratum, drop=True)
    share = here["primary_share"]
    names = [name for name in ("observed_flow", "unchanged_flow") if name in here]
    known = share.mean(("chain", "draw")) if cohort is None else cohort
    return Rows(here["transition"], share, known, here[names])


@dataclass(frozen=True)
class Matrix:
    """A transition matrix of one stratum, its prior beside it.

    ``given`` names the stratum; ``pairs`` are the patients behind it (0: none, predictive);
    ``reading`` is the scenario the data were read under.
    """

    given: Given
    posterior: Rows
    prior: Rows
    pairs: int
    fit: FitLike
    reading: str = ""

    @property
    def classes(self) -> list[str]:
        """HER2 classes in order."""
        return [str(name) for name in self.posterior.transition[RECURRENCE].to_numpy()]

    @property
    def label(self) -> str:
        """Name of the stratum for figures."""
        return ", ".join(f"{factor} {level}" for factor, level in self.given) or "all patients"

    def group(self, name: str) -> Rows:
        """Rows of the posterior or of the prior."""
        return self.posterior if name == "posterior" else self.prior


Levels = Mapping[Given, Rows]
"""Rows by the conditions of their stratum; no conditions: all patients."""


def levels(matrices: Iterable[Matrix], group: str = "posterior") -> dict[Given, Rows]:
    """Rows of several strata, by conditions as an estimand sorts them."""
    return {tuple(sorted(matrix.given)): matrix.group(group) for matrix in matrices}


def draws(
    of: Levels, asked: Iterable[Estimand | str], *, new_cohort: bool = False
) -> dict[Estimand, xr.DataArray]:
    """Draws (chain, draw) of estimands on their natural scale: shares between 0 and 1.

    ``of`` holds the rows of each stratum, all of one group. Primary shares are those of the cohort,
    or drawn with the rows (``new_cohort``). The flow of a stratum is made once for all that is
    asked of it. Raises ``BadInput`` with all that cannot be answered, and what can.
    """
    wanted = [parse(one) if isinstance(one, str) else one for one in asked]
    asked_of = _Asked(of, new_cohort)
    raise_if([fault for one in wanted for fault in asked_of.faults(one)])
    return {one: _KINDS[one.kind](asked_of, one) for one in wanted}


class _Asked:
    """Rows by stratum, with their flows made once."""

    def __init__(self, of: Levels, new_cohort: bool) -> None:
        self.of, self.new_cohort = of, new_cohort
        self._flows: dict[Given, xr.DataArray] = {}

    def rows(self, given: Given) -> Rows:
        return self.of[given]

    def flow(self, given: Given) -> xr.DataArray:
        if given not in self._flows:
            self._flows[given] = self.of[given].flow(new_cohort=self.new_cohort)
        return self._flows[given]

    @property
    def classes(self) -> list[str]:
        first = next(iter(self.of.values()))
        return [str(name) for name in first.transition[RECURRENCE].to_numpy()]

    def faults(self, asked: Estimand) -> list[Fault]:
        """Say why an estimand cannot be answered."""
        text = str(asked)
        if asked.kind in _TESTS:
            problem = f"'{asked.kind}' is a test of counts, which has no draws"
            return [Fault(problem, value=text, remedy="ask classical()")]
        if asked.kind not in _KINDS:
            return [not_answered(asked, "transition", self._examples())]
        if asked.kind == "discordance_difference" and not (asked.contrast and asked.contrast.a):
            return [Fault("no levels to compare", value=text, allowed="[; factor: a vs b]")]
        if any(given not in self.of for given in strata_of(asked)):
            return [Fault("no such stratum was fitted", value=text, allowed=self._named())]
        if asked.kind == "unchanged_given_observed_change":
            known = len(self.of[asked.given].readings)
            return [] if known else [Fault("no model of the assay was fitted", value=text)]
        ends = [end for cell in _cells(asked) for end in cell]
        wrong = [end for end in ends if end not in self.classes]
        if wrong or (asked.kind in _OF_CELLS and not ends):
            allowed = f"'a -> b' or a class, of {', '.join(self.classes)}"
            return [Fault("not of these classes", value=text, allowed=allowed)]
        if asked.kind == "number_to_rebiopsy" and ends == [self.classes[-1]]:
            return [Fault("no class is higher", value=text, allowed=", ".join(self.classes[:-1]))]
        return []

    def _examples(self) -> list[str]:
        start, end = self.classes[:2]
        outcome = {"gain": end, "loss": end, "number_to_rebiopsy": start, "agreement": "her2",
                   "true_discordance": "her2",
                   "unchanged_given_observed_change": "her2"}  # fmt: skip
        outcome |= dict.fromkeys(("transition", "flow", "flow_difference"), f"{start} -> {end}")
        return [str(Estimand(kind, outcome.get(kind, ""))) for kind in _KINDS]

    def _named(self) -> str:
        names = (", ".join(f"{f}={level}" for f, level in given) for given in self.of)
        return "; ".join(name or "all patients" for name in names)


def faults(of: Levels, asked: Estimand) -> list[Fault]:
    """Why an estimand has no answer from these rows."""
    return _Asked(of, False).faults(asked)


def strata_of(asked: Estimand) -> list[Given]:
    """Conditions of the strata that an estimand speaks of."""
    if asked.contrast is not None and asked.contrast.a:
        ends = (asked.contrast.a, asked.contrast.b)
        return [tuple(sorted((*asked.given, (asked.contrast.factor, end)))) for end in ends]
    return [tuple(pair for pair in asked.given if pair[0] != CHANGE)]


def _cells(asked: Estimand) -> list[tuple[str, ...]]:
    """Classes, or pairs of them, in the outcome of kinds that need some."""
    if asked.kind not in _OF_CELLS:
        return []
    parts = cells_of(asked.outcome) if asked.kind == "flow" else [asked.outcome]
    return [tuple(end.strip() for end in part.split("->")) for part in parts if part.strip()]


def _ends(asked: Estimand) -> dict[str, str]:
    ((start, end),) = _cells(asked)
    return {PRIMARY: start, RECURRENCE: end}


def _transition(of: _Asked, asked: Estimand) -> xr.DataArray:
    return of.rows(asked.given).transition.sel(_ends(asked), drop=True)


def _flow(of: _Asked, asked: Estimand) -> xr.DataArray:
    (given,) = strata_of(asked)
    flow = of.flow(given)
    total = sum(
        (flow.sel(her2_primary=start, her2=end, drop=True) for start, end in _cells(asked)),
        xr.zeros_like(flow.isel(her2_primary=0, her2=0, drop=True)),
    )
    return total / discordance(flow) if CHANGE in asked.conditions else total


def _flow_difference(of: _Asked, asked: Estimand) -> xr.DataArray:
    flow, there = of.flow(asked.given), _ends(asked)
    back = {PRIMARY: there[RECURRENCE], RECURRENCE: there[PRIMARY]}
    return flow.sel(there, drop=True) - flow.sel(back, drop=True)


def _discordance(of: _Asked, asked: Estimand) -> xr.DataArray:
    return discordance(of.flow(asked.given))


def _discordance_difference(of: _Asked, asked: Estimand) -> xr.DataArray:
    a, b = (discordance(of.flow(given)) for given in strata_of(asked))
    return a - b


def _gain(of: _Asked, asked: Estimand) -> xr.DataArray:
    changed = _off_diagonal(of.flow(asked.given))
    return changed.sel({RECURRENCE: asked.outcome}, drop=True).sum(PRIMARY)


def _loss(of: _Asked, asked: Estimand) -> xr.DataArray:
    changed = _off_diagonal(of.flow(asked.given))
    return changed.sel({PRIMARY: asked.outcome}, drop=True).sum(RECURRENCE)


def _number_to_rebiopsy(of: _Asked, asked: Estimand) -> xr.DataArray:
    row = of.rows(asked.given).transition.sel({PRIMARY: asked.outcome}, drop=True)
    higher = of.classes[of.classes.index(asked.outcome) + 1 :]
    return 1 / row.sel({RECURRENCE: higher}).sum(RECURRENCE)


def _agreement(of: _Asked, asked: Estimand) -> xr.DataArray:
    return kappa(of.flow(asked.given))


def _true_discordance(of: _Asked, asked: Estimand) -> xr.DataArray:
    return discordance(of.rows(asked.given).flow(new_cohort=True))


def _unchanged(of: _Asked, asked: Estimand) -> xr.DataArray:
    read = of.rows(asked.given).readings
    return observed_discordance(read["unchanged_flow"]) / observed_discordance(
        read["observed_flow"]
    )


_KINDS: Mapping[str, Callable[[_Asked, Estimand], xr.DataArray]] = {
    "transition": _transition,
    "flow": _flow,
    "flow_difference": _flow_difference,
    "discordance": _discordance,
    "discordance_difference": _discordance_difference,
    "gain": _gain,
    "loss": _loss,
    "number_to_rebiopsy": _number_to_rebiopsy,
    "agreement": _agreement,
    "true_discordance": _true_discordance,
    "unchanged_given_observed_change": _unchanged,
}
_OF_CELLS = ("transition", "flow", "flow_difference", "gain", "loss", "number_to_rebiopsy")
_TESTS = ("symmetry", "marginal_homogeneity", "association")

TRUE_CLASSES = ("true_discordance", "unchanged_given_observed_change")
"""Kinds that speak of true classes, hence are asked of a model of the assay."""

ANSWERED = frozenset({*_KINDS, "symmetry", "marginal_homogeneity"})
"""Kinds of this family, those that are tests of counts included."""


def shared(matrices: Iterable[Matrix]) -> tuple[Matrix, ...]:
    """Matrices without counts: no numbers of pairs, and flows from the model's primary shares.

    Flows from the shares as counted add up to them in every row, which would give them back.
    """

    def hidden(rows: Rows) -> Rows:
        return replace(rows, cohort=rows.share)

    return tuple(
        replace(m, pairs=0, posterior=hidden(m.posterior), prior=hidden(m.prior)) for m in matrices
    )


THIS_COHORT = "primary shares as in this cohort"
NEW_COHORT = "new cohort"
NEW_COHORT_NOTE = "primary shares drawn"


@dataclass(frozen=True)
class Line:
    """What a row of estimates is of; ``event`` words the draws being above 0, where asked."""

    estimand: Estimand
    note: str = ""
    event: str = ""


def summarise(
    of: Sequence[Matrix], lines: Sequence[Line], *, new_cohort: bool = False, reading: str = ""
) -> list[dict[str, Any]]:
    """Rows of ``estimate``, one a line, from matrices of one fit."""
    asked = [line.estimand for line in lines]
    after, before = (
        draws(levels(of, group), asked, new_cohort=new_cohort) for group in ("posterior", "prior")
    )
    return [
        estimate(
            line.estimand,
            after[line.estimand],
            before[line.estimand],
            of[0].fit,
            event=(lambda x: x > 0) if line.event else None,
            note=f"P({line.event}); {line.note}" if line.event else line.note,
            reading=reading or of[0].reading,
        )
        for line in lines
    ]


def matrix_rows(matrix: Matrix) -> list[dict[str, Any]]:
    """Rows of estimates: cells, what follows from them in this cohort and in a new one.

    A crossed stratum gives its cells and its discordance only; a scenario nothing of a new cohort.
    """
    rows = summarise([matrix], [Line(cell) for cell in cells(matrix)])
    if len(matrix.given) > 1:
        return rows + derived_rows(matrix, most=1)
    return rows + derived_rows(matrix, new_cohort=not matrix.reading)


def cells(matrix: Matrix) -> list[Estimand]:
    """Every transition of a matrix, row by row."""
    names = matrix.classes
    return [Estimand("transition", f"{a} -> {b}", matrix.given) for a in names for b in names]


def derived_rows(
    matrix: Matrix, *, new_cohort: bool = False, most: int | None = None
) -> list[dict[str, Any]]:
    """Rows of discordance, kappa, gain, loss, flow differences, the first ``most`` of them."""
    rows = summarise([matrix], _derived(matrix, THIS_COHORT)[:most])
    if new_cohort:
        lines = _derived(matrix, NEW_COHORT_NOTE)
        rows += summarise([matrix], lines, new_cohort=True, reading=NEW_COHORT)
    return rows


def _derived(matrix: Matrix, note: str) -> list[Line]:
    given = matrix.given
    lines = [
        Line(Estimand("discordance", "", given), note),
        Line(Estimand("agreement", "her2", given), note),
    ]
    for name in matrix.classes[1:]:  # what a drug targets and a change can win or lose
        lines += [Line(Estimand(kind, name, given), note) for kind in ("gain", "loss")]
    for start, end in combinations(matrix.classes, 2):
        asked = Estimand("flow_difference", f"{start} -> {end}", given)
        lines.append(Line(asked, note, f"flow {start} -> {end} > flow {end} -> {start}"))
    return lines


def contrast_rows(matrices: Sequence[Matrix], factor: str, most: int = 4) -> list[dict[str, Any]]:
    """Differences of discordance between the levels of a factor, each with P(> 0).

    With more than ``most`` levels each is compared with the one that has most patients.
    """
    pairs = {dict(matrix.given)[factor]: matrix.pairs for matrix in matrices}
    compared = list(combinations(pairs, 2))
    if len(pairs) > most:
        largest = max(pairs, key=lambda level: pairs[level])
        compared = [(level, largest) for level in pairs if level != largest]
    lines = [
        Line(Estimand("discordance_difference", "", contrast=Contrast(factor, a, b)),
             THIS_COHORT, f"discordance {a} > {b}")
        for a, b in compared
    ]  # fmt: skip
    return summarise(matrices, lines) if lines else []


def pair_likelihood(posterior: xr.Dataset, counts: xr.Dataset) -> xr.Dataset:
    """Log likelihood of each kind of pair that occurs: its count times its log probability.

    Returns ``pairs`` (chain, draw, pair), the multinomial's but for a constant.
    """
    flow = posterior["primary_share"] * posterior["transition"]
    holds = counts["incidence"].astype(float)
    terms: list[xr.DataArray] = []
    names: list[str] = []
    for s, a, b in zip(*np.nonzero(counts["counts"].to_numpy()), strict=True):
        stratum, first, second = (
            str(counts[dim].to_numpy()[place])
            for dim, place in (("stratum", s), ("primary_reading", a), ("recurrence_reading", b))
        )
        rows = holds.sel(reading=first, drop=True).rename(her2="her2_primary")
        inside = (flow.sel(stratum=stratum, drop=True) * rows).sum("her2_primary")
        share = (inside * holds.sel(reading=second, drop=True)).sum("her2")
        number = int(counts["counts"].to_numpy()[s, a, b])
        terms.append(share.copy(data=number * np.log(share.to_numpy())))
        names.append(f"{stratum}: {first} -> {second}")
    found = xr.concat(terms, "pair").assign_coords(pair=names)
    return found.transpose("chain", "draw", "pair").to_dataset(name="pairs")
