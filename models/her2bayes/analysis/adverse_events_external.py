"""Adverse events beside those of other studies: how probably the own rate is the higher one.

With x of n patients here and y of m there, rates own ~ Beta(1 + x, 1 + n - x) and external
~ Beta(1 + y, 1 + m - y), both uncertain, P(own > external) is computed by quadrature; the same
with the own rate as the hierarchical model shrinks it is the mean over its draws of the external
distribution function. The studies are taken as they are: other patients, other grading, other
follow-up are no part of these probabilities.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from scipy import stats

from her2bayes.bayes.rate_lattice import beta, lattice, probability_greater
from her2bayes.classical.proportions import newcombe
from her2bayes.errors import Fault, raise_if
from her2bayes.evidence.adverse_events import ANY, AdverseEvents

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

Cell = tuple[int, int]
COLUMNS = ("study", "event", "severity", "count", "patients", "external_count", "external_patients",
           "difference", "difference_lower", "difference_upper", "probability_higher",
           "probability_higher_shrunken")  # fmt: skip


def compare(
    own: AdverseEvents, draws: Mapping[str, xr.DataArray], external: Mapping[str, AdverseEvents]
) -> pd.DataFrame:
    """One row an event, severity and study that both report; ``draws`` as of ``adverse_events``.

    ``difference`` is own less external in percentage points with Newcombe's 95 % interval.
    """
    import pandas as pd

    rows = []
    for study, events in external.items():
        for name, severity, (x, n), (y, m) in shared(own, events):
            places = lattice(n + m)
            rates = beta(1 + x, 1 + n - x, places), beta(1 + y, 1 + m - y, places)
            shrunken = np.nan
            if name != ANY and severity in draws:
                rate = draws[severity].sel(event=name).to_numpy()
                shrunken = float(np.mean(stats.beta.cdf(rate, 1 + y, 1 + m - y)))
            gap = [100 * v for v in (x / n - y / m, *newcombe(x, n, y, m))]
            rows.append((study, name, severity, x, n, y, m, *gap, probability_greater(*rates),
                         shrunken))  # fmt: skip
    return pd.DataFrame(rows, columns=list(COLUMNS))


def shared(own: AdverseEvents, other: AdverseEvents) -> list[tuple[str, str, Cell, Cell]]:
    """Events (own name, severity) that both report, with both cells; matched without case."""
    known = {(event.lower(), severity): (event, cell)
             for (event, severity), cell in own.cells().items()}  # fmt: skip
    return [
        (known[event.lower(), severity][0], severity, known[event.lower(), severity][1], cell)
        for (event, severity), cell in other.cells().items()
        if (event.lower(), severity) in known
    ]


def check(own: AdverseEvents, external: Mapping[str, AdverseEvents]) -> None:
    """Raise ``BadInput`` for a study with no event and severity in common."""
    allowed = ", ".join(f"{event} ({severity})" for event, severity in own.cells())
    problem = "no event of the external table has the name and severity of an own one"
    raise_if(
        [
            Fault(problem, value=study, allowed=allowed, remedy="use the same names in both tables")
            for study, events in external.items()
            if not shared(own, events)
        ]
    )
