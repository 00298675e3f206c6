"""A fit in ten lines: what of whom, priors in clinical units, convergence, what may be asked."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from her2bayes.results.fitted import Fitted

LINES = 10


def summary(fit: Fitted) -> str:
    """Lines that a statistician reads first, never more than ten."""
    fits = list(fit.fits.values())
    lines = [fit.title]
    lines += [f"Model {one.model}, fit {one.fit_id}" for one in fits[:1]]
    table = fit.estimates()
    failed = table[table["convergence"] != "converged"]
    verdict = "converged" if failed.empty else f"{len(failed)} of {len(table)} rows did not"
    ending = [f"Convergence: {verdict}", f"Figures: {', '.join(fit.figures)}"]
    room = LINES - len(lines) - len(ending)
    priors = [f"  {name} ~ {text}: {means}" for name, (text, means) in fit.priors().items()]
    if len(priors) > room - 1:
        rest = len(priors) - room + 2
        priors = [*priors[: room - 2], f"  and {rest} more: fit.priors()"]
    return "\n".join([*lines, "Priors:", *priors, *ending])
