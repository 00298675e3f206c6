"""What a sensitivity analysis asks one model and cannot ask it, and what one run gives back.

Scenarios: what is changed against the analysis as reported, axis by axis, and plans of them.
"""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from her2bayes.errors import Fault, raise_if, suggestion
from her2bayes.evidence.printed.tables import Conclusion
from her2bayes.inference.convergence import Diagnostics

if TYPE_CHECKING:
    import pandas as pd

Value = str | float

DATA, PRIOR, STRUCTURE, READING = "data", "prior", "structure", "reading"
KINDS = {
    DATA: "other counts, same model",
    PRIOR: "other scale or centre of a prior, same model",
    STRUCTURE: "another model",
    READING: "another reading of what is printed",
}

AS_REPORTED = "as reported"


@dataclass(frozen=True)
class Axis:
    """One choice: its ``base`` value is that of the reported analysis, ``values`` the others.

    ``kind`` is one of ``KINDS``; ``meaning`` says in words what the values are. ``surface`` says
    whether the axis may span a tipping surface: numbers in an order.
    """

    name: str
    kind: str
    base: Value
    values: tuple[Value, ...]
    meaning: str = ""

    @property
    def surface(self) -> bool:
        """Whether the values are numbers, which can be put in order."""
        return all(isinstance(value, float) for value in (self.base, *self.values))

    @property
    def ordered(self) -> tuple[Value, ...]:
        """All values, numbers in ascending order, else the base first."""
        known = tuple(dict.fromkeys((self.base, *self.values)))
        return tuple(sorted(known)) if self.surface else known


@dataclass(frozen=True)
class Scenario:
    """An ordered mapping axis -> value; axes not named keep their base value."""

    changes: tuple[tuple[str, Value], ...] = ()

    @property
    def canonical(self) -> str:
        """Canonical JSON."""
        return json.dumps(list(map(list, self.changes)), ensure_ascii=False)

    @property
    def id(self) -> str:
        """Ten hexadecimal digits of the canonical JSON."""
        return hashlib.sha256(self.canonical.encode()).hexdigest()[:10]

    def __str__(self) -> str:
        """What changed, in words."""
        return ", ".join(f"{name} {_shown(value)}" for name, value in self.changes) or AS_REPORTED

    def get(self, axis: str, base: Any) -> Any:
        """Value of an axis, ``base`` where it is unchanged."""
        return dict(self.changes).get(axis, base)


BASE = Scenario()


def scenario(axes: Sequence[Axis], changes: Mapping[str, Value]) -> Scenario:
    """Scenario with the changes in the order of the axes, base values left out."""
    kept = ((a.name, changes[a.name]) for a in axes if a.name in changes)
    base = {axis.name: axis.base for axis in axes}
    return Scenario(tuple((name, value) for name, value in kept if value != base[name]))


def kinds(axes: Sequence[Axis], of: Scenario) -> tuple[str, ...]:
    """Kinds of the axes that a scenario changes, each once."""
    known = {axis.name: axis.kind for axis in axes}
    return tuple(dict.fromkeys(known[name] for name, _ in of.changes))


def one_at_a_time(axes: Sequence[Axis]) -> list[Scenario]:
    """The reported analysis, then each other value of each axis alone."""
    found = [BASE]
    found += [scenario(axes, {axis.name: value}) for axis in axes for value in axis.values]
    return list(dict.fromkeys(found))


def crossed(axes: Sequence[Axis], names: Iterable[str]) -> list[Scenario]:
    """Every combination of the values of the axes named."""
    chosen = [axis for axis in axes if axis.name in set(names)]
    combinations = product(*(axis.ordered for axis in chosen))
    named = [axis.name for axis in chosen]
    return [scenario(axes, dict(zip(named, values, strict=True))) for values in combinations]


@dataclass(frozen=True)
class Grid:
    """What a user asks for: values of axes in place of the defaults, and axes to cross."""

    values: Mapping[str, tuple[Value, ...]]
    cross: tuple[tuple[str, ...], ...] = ()

    def applied(self, axes: Sequence[Axis]) -> tuple[Axis, ...]:
        """Axes with the values asked for."""
        return tuple(
            replace(a, values=tuple(v for v in self.values[a.name] if v != a.base))
            if a.name in self.values
            else a
            for a in axes
        )


def read_grid(file: Path, axes: Sequence[Axis]) -> Grid:
    """Read a grid file (TOML): ``[axes]`` name = [values], ``cross = [["axis", "axis"], ...]``.

    Raises ``BadInput`` with everything wrong: names of axes that do not exist, values that an
    axis does not take (axes of numbers take any number, others those listed).
    """
    try:
        content = tomllib.loads(file.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        remedy = 'write e.g. [axes] and "spread of levels" = [0.5, 2.0]'
        raise_if([Fault(f"the grid cannot be read: {error}", file=file, remedy=remedy)])
    known: dict[str, list[Axis]] = {}
    for axis in axes:
        known.setdefault(axis.name, []).append(axis)
    raise_if(_shape(file, content))
    values = content.get("axes", {})
    cross = [tuple(map(str, names)) for names in content.get("cross", [])]
    faults = [
        Fault("unknown entry", file, None, name, allowed="axes, cross")
        for name in content
        if name not in ("axes", "cross")
    ]
    for name in [*values, *(name for names in cross for name in names)]:
        if name not in known:
            allowed = ", ".join(known)
            remedy = suggestion(name, known)
            faults.append(Fault("no such axis", file, None, None, name, allowed, remedy))
    found = {}
    for name, listed in values.items():
        if name in known:
            found[name], wrong = _values(file, name, listed, known[name])
            faults += wrong
    raise_if(faults)
    return Grid(found, tuple(cross))


def _shape(file: Path, content: Mapping[str, Any]) -> list[Fault]:
    faults: list[Fault] = []
    if not isinstance(content.get("axes", {}), dict):
        faults.append(Fault("not a table of axes", file, None, "axes", allowed="[axes]"))
    cross = content.get("cross", [])
    lists = cross if isinstance(cross, list) else [None]
    for names in lists:
        if not (isinstance(names, list) and names and len(set(map(str, names))) == len(names)):
            allowed = 'lists of different names: cross = [["choice", "choice"]]'
            faults.append(Fault("not names of axes to cross", file, None, "cross", allowed=allowed))
    return faults


def _values(
    file: Path, name: str, listed: Any, axes: Sequence[Axis]
) -> tuple[tuple[Value, ...], list[Fault]]:
    if not isinstance(listed, list) or not listed:
        return (), [Fault("not a list of values", file, None, name, listed)]
    if axes[0].surface:
        faults = [Fault("not a number", file, None, name, v) for v in listed if not _finite(v)]
        return tuple(float(v) for v in listed if _finite(v)), faults
    allowed = list(dict.fromkeys(v for axis in axes for v in axis.ordered))
    faults = [
        Fault("no such value", file, None, name, v, ", ".join(map(str, allowed)))
        for v in listed
        if v not in allowed
    ]
    return tuple(v for v in listed if v in allowed), faults


def _finite(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return abs(value) < 1e300


def _shown(value: Value) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


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
    "synthesis": "her2bayes.synthesis.base",
    "joint": "her2bayes.joint.sensitivity",
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
