"""One transition matrix with its draws, and the rows of estimates that every matrix gives."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations, permutations
from typing import Any

import xarray as xr

from her2bayes.estimand import Estimand
from her2bayes.posterior import transitions as tr
from her2bayes.posterior.estimates import FitLike, estimate

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
        return tr.flows(self.transition, self.observed)


def matrix_rows(matrix: Matrix) -> list[dict[str, Any]]:
    """Rows of ``estimate``: cells, what follows from them in this cohort and in a new one.

    A crossed stratum gives its cells and its discordance only; a scenario nothing of a new cohort.
    """
    rows = [_cell(matrix, start, end) for start in matrix.classes for end in matrix.classes]
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


def _cell(matrix: Matrix, start: str, end: str) -> dict[str, Any]:
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
        tr.flows(matrix.transition, share),
        tr.flows(matrix.prior, prior_share),
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

    yield row("discordance", "", tr.discordance)  # first: callers may want no more
    yield row("agreement", "her2", tr.kappa)
    for name in _targets(matrix.classes):
        yield row("gain", name, tr.gain, name)
        yield row("loss", name, tr.loss, name)
    for start, end in combinations(matrix.classes, 2):
        event = f"flow {start} -> {end} > flow {end} -> {start}"
        outcome = f"{start} -> {end}"
        yield row("flow_difference", outcome, tr.flow_difference, start, end, event=event)


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
            [tr.discordance(tr.flows(getattr(levels[x], p), levels[x].observed)) for x in (a, b)]
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
