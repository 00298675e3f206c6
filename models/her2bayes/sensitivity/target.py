"""What a sensitivity analysis asks one model and cannot ask it, and what one run gives back."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from her2bayes.evidence.printed.tables import Conclusion
from her2bayes.inference.convergence import Diagnostics
from her2bayes.sensitivity.scenarios import PRIOR, Axis, Scenario, scenario

if TYPE_CHECKING:
    import pandas as pd

REFIT, REWEIGHTED, EXACT = "refit", "re-weighted", "exact"
IMPOSSIBLE = "impossible"

Pairs = Mapping[str, tuple[xr.DataArray, xr.DataArray]]

FAMILIES = {
    "distribution": "her2bayes.distribution.sensitivity",
    "transition": "her2bayes.transition.sensitivity",
    "pairs": "her2bayes.transition.sensitivity_pairs",
    "survival": "her2bayes.survival.sensitivity",
    "rates": "her2bayes.rates.sensitivity",
    "printed": "her2bayes.cohorts.sensitivity",
}
"""Module that knows the axes of a family's models, by the family's name."""


@dataclass(frozen=True)
class Target:
    """Conclusions that one model of one data set answers, and the axes it can be changed along.

    ``family`` names the module (``FAMILIES``) that knows how; ``data`` is what
    that module reads, plain and picklable. ``closed_form``: no sampling, hence no worker needed.
    """

    family: str
    name: str
    conclusions: tuple[Conclusion, ...]
    axes: tuple[Axis, ...]
    data: Any
    closed_form: bool = False

    @property
    def estimands(self) -> list[str]:
        """Canonical texts of the estimands asked for, each once."""
        return list(dict.fromkeys(str(c.estimand) for c in self.conclusions))

    @property
    def widest(self) -> Scenario:
        """Every axis of prior scales at its largest value: where re-weighting starts from."""
        scales = {a.name: a.ordered[-1] for a in self.axes if a.kind == PRIOR and is_scale(a)}
        return scenario(self.axes, scales)

    def scales_only(self, of: Scenario) -> bool:
        """Whether a scenario changes nothing but prior scales."""
        known = {axis.name: axis for axis in self.axes}
        return all(is_scale(known[name]) for name, _ in of.changes)


def is_scale(axis: Axis) -> bool:
    """Whether an axis multiplies scales of priors (base 1)."""
    return axis.kind == PRIOR and axis.surface and axis.base == 1.0


@dataclass(frozen=True)
class Drawn:
    """What one scenario gives: draws of each estimand, posterior and prior, and how they were made.

    ``weight`` (chain, draw) sums to 1 where draws were re-weighted. ``k_hat`` and ``ess`` judge
    the weights (also refused ones). ``power`` holds sensitivities to power-scaling by estimand.
    ``reason`` says why there are no draws at all. ``fit_id`` names the fit of the page that the
    reported analysis is read from. ``numbers`` replace those of the draws where a quantity is
    computed without any: median, lower, upper, probability by conclusion. ``unfit`` says in words
    why the model does not fit these data; empty where no check speaks against it.
    ``verdict`` replaces that of the draws' convergence, where the page has another one.
    """

    model: str
    method: str
    draws: Pairs
    diagnostics: Diagnostics
    seconds: Mapping[str, float] = field(default_factory=dict)
    weight: xr.DataArray | None = None
    k_hat: float = float("nan")
    ess: float = float("nan")
    power: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    reason: str = ""
    fit_id: str = ""
    numbers: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    unfit: str = ""
    verdict: str = ""

    def tree(self) -> xr.DataTree:
        """Give the groups that the store keeps."""
        names = {f"q{place}": name for place, name in enumerate(self.draws)}
        posterior = xr.Dataset({s: _bare(self.draws[n][0]) for s, n in names.items()})
        # quantities may have different numbers of prior draws
        prior = xr.Dataset({s: _bare(self.draws[n][1]).rename(_own(s)) for s, n in names.items()})
        if self.weight is not None:
            posterior["weight"] = _bare(self.weight)
        tree = xr.DataTree.from_dict({"posterior": posterior, "prior": prior})
        tree.attrs["scenario"] = json.dumps(
            {
                "names": names,
                "model": self.model,
                "method": self.method,
                "diagnostics": asdict(self.diagnostics),
                "seconds": dict(self.seconds),
                "k_hat": self.k_hat,
                "ess": self.ess,
                "power": {name: list(pair) for name, pair in self.power.items()},
                "reason": self.reason,
                "fit_id": self.fit_id,
                "numbers": {name: dict(found) for name, found in self.numbers.items()},
                "unfit": self.unfit,
                "verdict": self.verdict,
            }
        )
        return tree


def read_drawn(tree: xr.DataTree) -> Drawn:
    """Read back what ``Drawn.tree`` stored."""
    said = json.loads(tree.attrs["scenario"])
    posterior, prior = (tree[name].to_dataset() for name in ("posterior", "prior"))
    return Drawn(
        said["model"],
        said["method"],
        {
            name: (posterior[short], prior[short].rename({v: k for k, v in _own(short).items()}))
            for short, name in said["names"].items()
        },
        Diagnostics(**said["diagnostics"]),
        said["seconds"],
        posterior.get("weight"),
        said["k_hat"],
        said["ess"],
        {name: (pair[0], pair[1]) for name, pair in said["power"].items()},
        said["reason"],
        said["fit_id"],
        said["numbers"],
        said["unfit"],
        said["verdict"],
    )


def impossible(model: str, reason: str) -> Drawn:
    """Say that a scenario cannot be: nothing was drawn."""
    return Drawn(model, IMPOSSIBLE, {}, Diagnostics(0, 0, 0, np.inf), reason=reason)


def independent(values: np.ndarray, chains: int = 4) -> xr.DataArray:
    """Independent draws (one dimension) as chains."""
    return xr.DataArray(values.reshape(chains, -1), dims=("chain", "draw"))


def unanswered(conclusions: Sequence[Conclusion], targets: Sequence[Target]) -> list[Conclusion]:
    """Conclusions that no target answers."""
    answered = {conclusion.id for target in targets for conclusion in target.conclusions}
    return [conclusion for conclusion in conclusions if conclusion.id not in answered]


def _own(short: str) -> dict[str, str]:
    return {dim: f"{dim}_{short}" for dim in ("chain", "draw")}


def _bare(draws: xr.DataArray) -> xr.DataArray:
    kept = draws.drop_vars(list(draws.coords), errors="ignore")
    return kept.transpose("chain", "draw").astype(float)


PRINTED = ("distribution", "transition", "rates", "printed")


@dataclass(frozen=True)
class Wanted:
    """A choice: whether an axis asks it, and why not, by family ("" for any other)."""

    choice: str
    asks: Callable[[Axis], bool]
    reasons: Mapping[str, str]


def _named(*names: str) -> Callable[[Axis], bool]:
    return lambda axis: axis.name in names


def _level(*parts: str) -> Callable[[Axis], bool]:
    def asks(axis: Axis) -> bool:
        values = [str(value).lower() for value in axis.values]
        return axis.name == "left out" and any(p in v for p in parts for v in values)

    return asks


def _definition(*words: str) -> Callable[[Axis], bool]:
    return lambda axis: (
        axis.name == "definition" and any(w in str(v) for w in words for v in axis.values)
    )


COHORT_READINGS = "another reading of the numbers behind reconstructed cohorts"
_CLASSES = "classes are printed, not IHC scores with their ISH"
_RECEPTORS = "receptor status is printed, not percentages of stained cells"
_COUNTS = dict.fromkeys(PRINTED, "printed numbers only")
WANTED = (
    Wanted(
        "IHC 2+ and ISH negative counted with zero",
        _definition("2+"),
        {**dict.fromkeys(PRINTED, _CLASSES), "pairs": "no reading has IHC 2+",
         "survival": "the file has classes; with --map, the scores of the samples are used"},
    ),
    Wanted(
        "ER and PR positive from 1 % or from 10 %",
        _definition("ER"),
        {**dict.fromkeys(PRINTED, _RECEPTORS),
         "pairs": "no conclusion is by HR status, or no percentages of stained cells are given",
         "survival": "the file has a receptor status; with --map and percentages it is counted "
         "again"},
    ),
    Wanted(
        "relapse without contralateral cancers",
        _level("cbc", "contralateral"),
        {"": "no factor tells contralateral cancers from relapses",
         **dict.fromkeys(("rates", "printed"), "the numbers are not printed without them"),
         "distribution": "tables by other factors are not printed without them"},
    ),
    Wanted(
        "cut points and shape of the hazard, proportional hazards or not",
        _named("cut points", "hazards"),
        {"": "no follow-up of patients among the data", "survival": "every scheme gives one set "
         "of intervals, and there is no factor whose ratio could change"},
    ),
    Wanted(
        "printed numbers that contradict each other",
        _named("reading", "printed row"),
        {"": "these conclusions rest on numbers printed once, or without contradiction",
         "pairs": "patients, not printed numbers", "survival": "patients, not printed numbers"},
    ),
    Wanted(
        COHORT_READINGS,
        _named("reading of the cohorts"),
        {"": "no conclusion rests on reconstructed cohorts",
         "printed": "each reading needs chains of its own: reconstruct summary makes them"},
    ),
    Wanted(
        "Cox or observed/expected hazard ratio",
        _named("standard error"),
        {"": "no hazard ratio among the conclusions", "printed": "no exact P value is printed",
         "survival": "patients: the ratio is estimated, not taken from print"},
    ),
    Wanted(
        "set-valued readings at their extremes",
        _named("partial readings"),
        {**_COUNTS, "pairs": "every reading is a single class", "survival": "each patient has one "
         "class; others are left out and counted"},
    ),
    Wanted(
        "assay quality",
        _named("assay errors"),
        {"": "no conclusion is on pairs of readings"},
    ),
    Wanted(
        "weight of other studies (borrowing)",
        _named("borrowing weight"),
        {"": "no other study's patients with the same quantity", "survival": "no --external file",
         **dict.fromkeys(("rates", "printed"),
                         "no other study's counts of the same quantity are quoted")},
    ),
    Wanted(
        "one level, site or study left out",
        _named("left out", "external patients", "external study left out"),
        {"": "no factor", **dict.fromkeys(("rates", "printed"),
                                          "the numbers are not printed without them")},
    ),
)  # fmt: skip


def not_asked(targets: Sequence[Target]) -> pd.DataFrame:
    """Choices that no target asks: columns ``choice``, ``reason``."""
    import pandas as pd

    axes = [axis for target in targets for axis in target.axes]
    families = list(dict.fromkeys(target.family for target in targets))
    rows = []
    for wanted in WANTED:
        if any(wanted.asks(axis) for axis in axes):
            continue
        reasons = [wanted.reasons.get(name, wanted.reasons.get("", "")) for name in families]
        if wanted.choice == COHORT_READINGS:
            reasons += list(dict.fromkeys(_chosen(target) for target in targets))
        rows.append({"choice": wanted.choice,
                     "reason": "; ".join(dict.fromkeys(r for r in reasons if r))})  # fmt: skip
    return pd.DataFrame(rows, columns=["choice", "reason"])


def _chosen(target: Target) -> str:
    """Readings that the study's ``reconstruction.toml`` takes, in words; empty without any."""
    readings = target.data.get("readings") if target.family == "printed" else None
    if not readings:
        return ""
    listed = ", ".join(f"{name} {value}" for name, value in readings.items())
    return f"those of reconstruction.toml are used: {listed}"
