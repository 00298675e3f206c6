"""What a clinician asks of a transition matrix, as draws: pure functions of labelled arrays.

``transition`` (..., her2_primary, her2) has rows that sum to 1; ``share`` (..., her2_primary)
are the shares of the primary classes: the observed ones answer for *this cohort*, drawn ones for a
*new cohort*. Leading dims (chain, draw, stratum) pass through.

    flow[i,j]     = share[i] * transition[i,j]
    discordance   = sum_{i != j} flow[i,j]
    gain[c]       = sum_{i != c} flow[i,c]         of all patients
    loss[c]       = sum_{j != c} flow[c,j]
    kappa         = (observed - chance) / (1 - chance),  observed = sum_i flow[i,i],
                    chance = sum_c share[c] * recurrence_share[c]

What a fallible assay makes of change: true against observed discordance, as draws.

true_discordance      = sum_{i != j} primary_share_i transition_ij            of true classes
observed_discordance  = sum_{o1 != o2} observed_flow_{o1 o2}
unchanged_given_observed_change = sum_{o1 != o2} unchanged_flow_{o1 o2} / observed_discordance

One transition matrix with its draws, and the rows of estimates that every matrix gives.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations, permutations
from typing import Any

import xarray as xr

from her2bayes.estimand import Estimand
from her2bayes.inference.estimates import FitLike, estimate

PRIMARY, RECURRENCE = "her2_primary", "her2"


def flows(transition: xr.DataArray, share: xr.DataArray) -> xr.DataArray:
    """Probability of each pair of classes, (..., her2_primary, her2)."""
    return transition * share


def recurrence_share(flow: xr.DataArray) -> xr.DataArray:
    """Share of each class at recurrence, (..., her2)."""
    return flow.sum(PRIMARY)


def discordance(flow: xr.DataArray) -> xr.DataArray:
    """Probability that the class changes."""
    return _off_diagonal(flow).sum((PRIMARY, RECURRENCE))


def gain(flow: xr.DataArray, name: str) -> xr.DataArray:
    """Probability of having class ``name`` at recurrence and not at the primary."""
    return _off_diagonal(flow).sel({RECURRENCE: name}, drop=True).sum(PRIMARY)


def loss(flow: xr.DataArray, name: str) -> xr.DataArray:
    """Probability of having class ``name`` at the primary and not at recurrence."""
    return _off_diagonal(flow).sel({PRIMARY: name}, drop=True).sum(RECURRENCE)


def flow_difference(flow: xr.DataArray, start: str, end: str) -> xr.DataArray:
    """Flow ``start -> end`` minus the flow back; positive where more patients go than return."""
    return _cell(flow, start, end) - _cell(flow, end, start)


def kappa(flow: xr.DataArray) -> xr.DataArray:
    """Cohen's kappa of the two readings; NaN where one class holds all patients."""
    observed = flow.sum((PRIMARY, RECURRENCE)) - discordance(flow)
    primary = flow.sum(RECURRENCE).rename({PRIMARY: RECURRENCE})
    chance = (primary * recurrence_share(flow)).sum(RECURRENCE)
    return ((observed - chance) / (1 - chance)).where(chance < 1)


def pooled(flow: xr.DataArray, weight: xr.DataArray, dim: str = "stratum") -> xr.DataArray:
    """Flow over several strata together; ``weight`` are their shares of the patients (sum to 1)."""
    return (flow * weight).sum(dim)


def rows(flow: xr.DataArray) -> xr.DataArray:
    """Transition probabilities that a flow implies; rows without patients are NaN."""
    total = flow.sum(RECURRENCE)
    return flow / total.where(total > 0)


def observed_share(counts: xr.DataArray) -> xr.DataArray:
    """Shares of the primary classes from a table of pairs (..., her2_primary, her2); 0/0 is NaN."""
    primary = counts.sum(RECURRENCE)
    total = primary.sum(PRIMARY)
    return primary / total.where(total > 0)


def _off_diagonal(flow: xr.DataArray) -> xr.DataArray:
    return flow.where(flow[PRIMARY] != flow[RECURRENCE], 0.0)


def _cell(flow: xr.DataArray, start: str, end: str) -> xr.DataArray:
    return flow.sel({PRIMARY: start, RECURRENCE: end}, drop=True)


def true_discordance(draws: xr.Dataset) -> xr.DataArray:
    """Probability that the true class changes (..., stratum)."""
    flow = draws["primary_share"] * draws["transition"]
    return flow.where(flow["her2_primary"] != flow["her2"], 0.0).sum(("her2_primary", "her2"))


def observed_discordance(draws: xr.Dataset) -> xr.DataArray:
    """Probability that the two readings differ (..., stratum)."""
    return _differing(draws["observed_flow"])


def unchanged_given_observed_change(draws: xr.Dataset) -> xr.DataArray:
    """Probability that the true class is unchanged where the readings differ (..., stratum)."""
    return _differing(draws["unchanged_flow"]) / observed_discordance(draws)


def accuracy(draws: xr.Dataset) -> xr.DataArray:
    """Probability that a sample of the cohort is read right, over true classes of both samples."""
    right = xr.concat(
        [draws["misclassification"].sel(her2=name, read=name, drop=True)
         for name in draws["her2"].values], dim=draws["her2"],
    )  # fmt: skip
    first = draws["primary_share"].rename(her2_primary="her2")
    second = (draws["primary_share"] * draws["transition"]).sum("her2_primary")
    return (right * (first + second)).sum("her2") / 2


def _differing(flow: xr.DataArray) -> xr.DataArray:
    return flow.where(flow["read_primary"] != flow["read"], 0.0).sum(("read_primary", "read"))


THIS_COHORT = "primary shares as in this cohort"
NEW_COHORT = "new cohort"
NEW_COHORT_NOTE = "primary shares drawn"


@dataclass(frozen=True)
class Matrix:
    """Draws of a transition matrix and of the primary shares it acts on.

    ``given`` names the stratum; ``transition`` and ``prior`` (chain, draw, her2_primary, her2);
    ``share`` and ``prior_share`` (chain, draw, her2_primary) drawn shares; ``observed``
    (her2_primary) those of this cohort, or draws of them where they are not printed; ``pairs`` the
    patients behind it (0: none, predictive); ``reading`` the scenario the data were read under.
    """

    given: tuple[tuple[str, str], ...]
    transition: xr.DataArray
    prior: xr.DataArray
    share: xr.DataArray
    prior_share: xr.DataArray
    observed: xr.DataArray
    pairs: int
    fit: FitLike
    reading: str = ""

    @property
    def classes(self) -> list[str]:
        """HER2 classes in order."""
        return [str(name) for name in self.transition["her2"].to_numpy()]

    @property
    def label(self) -> str:
        """Name of the stratum for figures."""
        return ", ".join(f"{factor} {level}" for factor, level in self.given) or "all patients"

    @property
    def flow(self) -> xr.DataArray:
        """Draws of the flows in this cohort (chain, draw, her2_primary, her2)."""
        return flows(self.transition, self.observed)


def matrix_rows(matrix: Matrix) -> list[dict[str, Any]]:
    """Rows of ``estimate``: cells, what follows from them in this cohort and in a new one.

    A crossed stratum gives its cells and its discordance only; a scenario nothing of a new cohort.
    """
    rows = [_matrix_cell(matrix, start, end) for start in matrix.classes for end in matrix.classes]
    if len(matrix.given) > 1:
        return rows + derived_rows(matrix)[:1]
    return rows + derived_rows(matrix, new_cohort=not matrix.reading)


def derived_rows(matrix: Matrix, *, new_cohort: bool = False) -> list[dict[str, Any]]:
    """Rows of discordance, kappa, gain, loss, flow differences, discordance first."""
    rows = list(_derived(matrix, matrix.observed, matrix.observed, matrix.reading, THIS_COHORT))
    if new_cohort:
        share = (matrix.share, matrix.prior_share)
        rows += list(_derived(matrix, *share, NEW_COHORT, NEW_COHORT_NOTE))
    return rows


def _matrix_cell(matrix: Matrix, start: str, end: str) -> dict[str, Any]:
    at = {"her2_primary": start, "her2": end}
    return estimate(
        Estimand("transition", f"{start} -> {end}", matrix.given),
        matrix.transition.sel(at, drop=True),
        matrix.prior.sel(at, drop=True),
        matrix.fit,
        reading=matrix.reading,
    )


def _derived(
    matrix: Matrix, share: xr.DataArray, prior_share: xr.DataArray, reading: str, note: str
) -> Iterator[dict[str, Any]]:
    after, before = (
        flows(matrix.transition, share),
        flows(matrix.prior, prior_share),
    )

    def row(kind: str, outcome: str, function: Any, *names: str, event: str = "") -> dict[str, Any]:
        return estimate(
            Estimand(kind, outcome, matrix.given),
            function(after, *names),
            function(before, *names),
            matrix.fit,
            event=(lambda draws: draws > 0) if event else None,
            note=f"P({event}); {note}" if event else note,
            reading=reading,
        )

    yield row("discordance", "", discordance)  # first: callers may want no more
    yield row("agreement", "her2", kappa)
    for name in _targets(matrix.classes):
        yield row("gain", name, gain, name)
        yield row("loss", name, loss, name)
    for start, end in combinations(matrix.classes, 2):
        event = f"flow {start} -> {end} > flow {end} -> {start}"
        outcome = f"{start} -> {end}"
        yield row("flow_difference", outcome, flow_difference, start, end, event=event)


def _targets(classes: list[str]) -> list[str]:
    """Classes that a drug targets and a change can win or lose: all but the first."""
    return classes[1:]


def contrast_rows(matrices: list[Matrix], factor: str, most: int = 4) -> list[dict[str, Any]]:
    """Differences of discordance between the levels of a factor, each with P(> 0).

    With more than ``most`` levels each is compared with the one that has most patients.
    """
    from her2bayes.estimand import Contrast

    levels = {dict(matrix.given)[factor]: matrix for matrix in matrices}
    pairs = list(combinations(levels, 2))
    if len(levels) > most:
        largest = max(levels, key=lambda level: levels[level].pairs)
        pairs = [(level, largest) for level in levels if level != largest]
    rows = []
    for a, b in pairs:
        draws, before = (
            [discordance(flows(getattr(levels[x], p), levels[x].observed)) for x in (a, b)]
            for p in ("transition", "prior")
        )
        rows.append(
            estimate(
                Estimand("discordance_difference", "", contrast=Contrast(factor, a, b)),
                draws[0] - draws[1],
                before[0] - before[1],
                levels[a].fit,
                event=lambda x: x > 0,
                note=f"P(discordance {a} > {b}); {THIS_COHORT}",
                reading=levels[a].reading,
            )
        )
    return rows


def changes(classes: list[str]) -> list[tuple[str, str]]:
    """Ordered pairs of different classes."""
    return list(permutations(classes, 2))
