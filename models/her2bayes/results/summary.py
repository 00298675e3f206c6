"""A fit at a glance: ten lines for a reader, a table of coefficients for maketables."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from her2bayes.errors import BadInput
from her2bayes.estimand import KINDS, parse
from her2bayes.inference.convergence import failed

if TYPE_CHECKING:
    from her2bayes.results.fitted import Fitted

LINES, WIDTH = 10, 110


def summary(fit: Fitted) -> str:
    """Lines that a statistician reads first, never more than ten."""
    lines = [fit.title]
    fits = list(fit.fits.values())
    lines += [f"Model {one.model}, fit {one.fit_id}" for one in fits[:1]]
    lines[-1] += f", and {len(fits) - 1} more" if len(fits) > 1 else ""
    table = fit.estimates()
    bad = table[table["convergence"].map(lambda said: failed(str(said))).astype(bool)]
    verdict = "converged" if bad.empty else f"not converged: {len(bad)} of {len(table)} rows"
    kinds = dict.fromkeys(parse(text).kind for text in table["estimand"])
    ending = [
        f"Convergence: {verdict}" + (", quick run" if fit.settings.quick else ""),
        f"{len(table)} rows in .estimates(): {', '.join(kinds)}",
        f"Figures: {', '.join(fit.figures)}",
    ]
    room = LINES - len(lines) - len(ending) - 1
    priors = [_prior(name, text, means) for name, (text, means) in fit.priors().items()]
    if len(priors) > room:
        priors = [*priors[: room - 1], f"  and {len(priors) - room + 1} more: .priors()"]
    return "\n".join(_cut(line) for line in [*lines, "Priors:", *priors, *ending])


def _prior(name: str, text: str, means: str) -> str:
    return f"  {name} ~ {text}" + (f": {means}" if means else "")


def _cut(line: str) -> str:
    return line if len(line) <= WIDTH else f"{line[: WIDTH - 3]}..."


def coefficients(fit: Fitted) -> pd.DataFrame:
    """Estimands as maketables takes coefficients: b, se, t, p, ci95l, ci95u.

    b is the posterior median, se the posterior standard deviation in the same unit, ci95l and
    ci95u the 95 % equal-tailed interval; t and p do not exist and are missing.
    """
    table = fit.estimates()
    asked = list(dict.fromkeys(table["estimand"]))
    try:
        draws = fit.drawn([parse(text) for text in asked], "posterior")
        spread = {str(name): float(one.std()) for name, one in draws.items()}
    except BadInput:  # rows that are no function of the draws of one model
        spread = {}
    percent = {text: 100.0 if KINDS[parse(text).kind].unit == "%" else 1.0 for text in asked}
    found = pd.DataFrame(
        {
            "b": table["posterior_median"],
            "se": [spread.get(str(parse(t)), np.nan) * percent[t] for t in table["estimand"]],
            "t": np.nan,
            "p": np.nan,
            "ci95l": table["posterior_lower"],
            "ci95u": table["posterior_upper"],
        }
    )
    return found.set_axis(pd.Index(table["estimand"], name="Coefficient"))
