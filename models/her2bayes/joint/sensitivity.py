"""Conclusions on true classes and survival by them: what is believed of the assay, priors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from her2bayes.bayes.prior import Prior, prior
from her2bayes.errors import raise_if
from her2bayes.evidence.printed.tables import Conclusion
from her2bayes.inference.fit import Specification
from her2bayes.joint.counts import Counted, with_assay
from her2bayes.joint.draws import Answers
from her2bayes.joint.her2_joint import build
from her2bayes.sensitivity.target import (
    BASE,
    PRIOR,
    READING,
    REFIT,
    Axis,
    Drawn,
    Scenario,
    Target,
)
from her2bayes.transition.assay_error import longer
from her2bayes.transition.sensitivity_pairs import KNOWLEDGE, TOGETHER

if TYPE_CHECKING:
    from her2bayes.inference.sampling import Sampling
    from her2bayes.inference.store import Store

RATIO, ODDS = "prior scale of log hazard ratios", "prior scale of log odds of a change"
SCALED: Mapping[str, tuple[str, ...]] = {
    RATIO: ("log_hazard_ratio", "spread"),
    ODDS: ("log_odds",),
}
SCALES = (0.5, 2.0)


def target(counted: Counted, used: Mapping[str, Prior], posterior: Answers,
           conclusions: Sequence[Conclusion]) -> Target:  # fmt: skip
    """The joint model with its axes; ``BadInput`` for what it does not answer, all together."""
    raise_if([fault for one in conclusions for fault in posterior.faults(one.estimand)])
    axes = [Axis(name, PRIOR, 1.0, SCALES, f"scales of {' and '.join(of)}, times")
            for name, of in SCALED.items()]  # fmt: skip
    if "misclassification" not in counted.data["assay"]:
        meaning = "readings' worth of knowledge of the assay, times that of the analysis"
        axes.append(Axis(KNOWLEDGE, READING, 1.0, (0.25, 4.0), meaning))
    meaning = "share of patients in whom both readings err together"
    base = float(counted.data["assay"].get("error_correlation", 0.0))
    axes.append(Axis(TOGETHER, READING, base, (0.5,) if base != 0.5 else (0.0,), meaning))
    # always in the graph, so that all scenarios share one compiled model
    data = with_assay(counted, error_correlation=base).data
    known = {"data": data, "priors": dict(used)}
    return Target("joint", f"joint: {counted.name}", tuple(conclusions), tuple(axes), known)


def specification(target: Target, of: Scenario) -> Specification:
    """Model and data of a scenario."""
    priors = dict(target.data["priors"])
    for axis, names in SCALED.items():
        for name in names:
            priors[name] = priors[name].scaled(float(of.get(axis, 1.0)))
    knowledge = float(of.get(KNOWLEDGE, 1.0))
    for name in [name for name in priors if name.startswith("reads_")]:
        row = tuple(knowledge * np.asarray(priors[name]["a"]))
        priors[name] = prior("Dirichlet", a=row)
    return Specification(build, _data(target, of), priors)


def _data(target: Target, of: Scenario) -> dict[str, xr.Dataset]:
    data: dict[str, xr.Dataset] = dict(target.data["data"])
    base = float(data["assay"]["error_correlation"])
    data["assay"] = data["assay"].assign(error_correlation=float(of.get(TOGETHER, base)))
    return data


def sampling_of(_target: Target, sampling: Sampling) -> Sampling:
    """Longer chains, as the analysis itself has them."""
    return longer(sampling)


def quantities(target: Target, of: Scenario, draws: xr.Dataset) -> dict[str, xr.DataArray]:
    """Draws (chain, draw) of each estimand."""
    asked = list(dict.fromkeys(one.estimand for one in target.conclusions))
    found = Answers(draws, _data(target, of))(asked)
    return {str(one): values for one, values in found.items()}


def baseline(target: Target, sampling: Sampling, store: Store | None) -> Drawn:
    """Analysis as reported; its likelihood is no density of a table, so nothing is power-scaled."""
    fitted = specification(target, BASE).fit(longer(sampling), store, 1)
    posterior, before = (quantities(target, BASE, one) for one in (fitted.posterior, fitted.prior))
    return Drawn(
        fitted.model, REFIT, {name: (posterior[name], before[name]) for name in posterior},
        fitted.diagnostics, fitted.provenance["seconds"], fit_id=fitted.fit_id,
    )  # fmt: skip
