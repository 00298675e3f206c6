"""What a prior means in clinical units, of the prior in use: never of another one."""

from __future__ import annotations

import re
from collections.abc import Mapping

from scipy import stats

from her2bayes.bayes.prior import Prior, prior


def meanings(
    used: Mapping[str, str], default: Mapping[str, str], said: Mapping[str, str]
) -> dict[str, str]:
    """Words for each prior of a fit, all given as they are printed.

    ``said`` are the words written beside the ``default``: they hold where the prior in use is that
    one. Rows of a transition matrix are described from their numbers; of others it is said that
    they are not the default.
    """
    found = {}
    for name, text in used.items():
        computed = _rows(text)
        if computed:
            found[name] = computed
        elif text == default.get(name, text):
            found[name] = said.get(name, "")
        else:
            found[name] = f"in place of the model's default {default[name]}"
    return {name: words for name, words in found.items() if words}


def _rows(text: str) -> str:
    read = parsed(text)
    if read is None or read.distribution != "Dirichlet":
        return ""
    numbers = dict(read.parameters)
    return row_words(read["total"], read["stays"]) if {"total", "stays"} <= set(numbers) else ""


def row_words(total: float, stays: float) -> str:
    """Say what Dirichlet rows of this weight and mean share without a change are worth."""
    share = stats.beta(total * stays, total * (1 - stays))
    low, middle, high = (100 * share.ppf(p) for p in (0.025, 0.5, 0.975))
    return (
        f"worth {total:g} patients a row, {100 * stays:.0f} % of them unchanged: a class stays "
        f"with median {middle:.0f} % ({low:.0f} to {high:.0f})"
    )


def parsed(text: str) -> Prior | None:
    """Read a printed prior of plain numbers; None where it is something else."""
    match = re.fullmatch(r"(\w+)\((.*)\)", text)
    pairs = [part.partition("=") for part in match.group(2).split(", ")] if match else []
    try:
        numbers = {name: float(value) for name, _, value in pairs}
    except ValueError:
        return None
    return prior(match.group(1), **numbers) if match else None
