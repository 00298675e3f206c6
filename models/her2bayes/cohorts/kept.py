"""Chains over the cohorts of one endpoint: what identifies them, kept, stored or sampled.

Priors are those of the reference model (``chain.problem``); chains under other priors have a key of
their own. The search that names contradictory numbers is made under the reference priors.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from her2bayes.bayes.prior import Prior, complete, prior
from her2bayes.cohorts.chain import problem as reference
from her2bayes.cohorts.chain import tempering
from her2bayes.cohorts.chain.problem import Problem, problem
from her2bayes.cohorts.chain.replica import Settings
from her2bayes.cohorts.chain.summary import Cells, CountFact, Statistic, Summary, Target
from her2bayes.cohorts.chain.tempering import Chain
from her2bayes.errors import BadInput, Fault, raise_if
from her2bayes.evidence.printed.study import published_folder
from her2bayes.inference.meaning import meaning
from her2bayes.inference.store import Store, data_digest, fit_key
from her2bayes.version import __version__, versions

KEPT = 250  # draws of each chain that are kept, evenly spaced
MODEL = "reconstructed_survival"
SAMPLED_BY = (tempering.chains, problem)  # what they mean is part of the key of chains
SHIPPED = "reconstructed"  # folder beside the published studies

MIXTURE = "mixture"
"""In place of one baseline: all, each weighted by how well it predicts what is printed."""

Tell = Callable[[int, int], None]

DEFAULT_PRIORS = {
    "reference_log_hazard": prior(
        "Normal", mu=reference.LOG_HAZARD[0], sigma=reference.LOG_HAZARD[1]
    ),
    "smoothing": prior("HalfNormal", sigma=reference.SMOOTHING_SD),
    "log_hazard_ratio": prior("Normal", mu=0.0, sigma=reference.LOG_RATIO_SD),
    "spread": prior("HalfNormal", sigma=reference.SPREAD_SD),
    "interaction": prior("HalfNormal", sigma=reference.INTERACTION_SD),
    "log_censoring_rate": prior(
        "Normal", mu=reference.LOG_CENSORING[0], sigma=reference.LOG_CENSORING[1]
    ),
    "cells": prior("Dirichlet", a=reference.ALPHA),
}


def meaning_of(name: str, one: Prior) -> str:
    """What a prior of the reference model says in clinical units."""
    if name == "cells":
        return f"share of patients in each cell, as if {one['a']:g} patient stood in each before"
    low, high = (np.exp(side * 1.96 * one["sigma"]) for side in (-1, 1))
    if name in ("reference_log_hazard", "log_censoring_rate"):
        middle, what = np.exp(-one["mu"]) * np.log(2), "survival"
        what = "survival" if name == "reference_log_hazard" else "time to censoring"
        return f"median {what} {middle:.0f} months, 95 % {middle * low:.0f} to {middle * high:.0f}"
    if name == "log_hazard_ratio":
        return f"hazard ratio of two levels 1, 95 % between {low:.2f} and {high:.2f}"
    if name == "smoothing":
        one_sd = np.exp(one["sigma"])
        return f"hazards change by a factor of {1 / one_sd:.2f} to {one_sd:.2f} over follow-up"
    what = "three or more levels" if name == "spread" else "ratios between subgroups"
    return f"log hazards of {what} spread by {one['sigma']:g} or less (68 %)"


@dataclass(frozen=True)
class Specification:
    """What chains are of: the printed numbers of an endpoint, settings, priors, baseline hazard."""

    summary: Summary
    settings: Settings
    priors: Mapping[str, Prior] = field(default_factory=lambda: dict(DEFAULT_PRIORS))
    baseline: str = reference.EQUAL

    @cached_property
    def posed(self) -> Problem:
        """Arrays of the chain, under the priors."""
        return _under(problem(self.summary, baseline=self.baseline), self.priors)

    @cached_property
    def identity(self) -> dict[str, Any]:
        """What the chains depend on; priors and baseline where they are not the reported ones."""
        item = self.summary
        numbers = [
            (s.estimand, s.kind, dict(s.given), s.levels, s.targets) for s in item.statistics
        ]
        facts = [(f.what, f.cells.tolist(), f.event, f.low, f.high) for f in item.facts]
        other = {k: str(v) for k, v in self.priors.items() if v != DEFAULT_PRIORS[k]}
        return {
            "model": MODEL,
            "package": __version__,
            "source": meaning(*SAMPLED_BY),
            "data": data_digest([item.patients, item.last, item.endpoint, numbers, facts]),
            "settings": asdict(self.settings),
        } | ({"priors": other} if other else {}) | (
            {"baseline": self.baseline} if self.baseline != reference.EQUAL else {}
        )  # fmt: skip

    @cached_property
    def fit_id(self) -> str:
        """Key of the chains."""
        return fit_key(self.identity)


def priors_of(given: Mapping[str, Prior] | None) -> dict[str, Prior]:
    """All priors, those given in the place of the reference ones; raises ``BadInput``."""
    found, faults = {**DEFAULT_PRIORS, **(given or {})}, list[Fault]()
    try:
        complete(given, DEFAULT_PRIORS, same_family=True)
    except BadInput as refused:
        faults += refused.faults
    if dict(found["log_hazard_ratio"].parameters).get("mu", 0.0) != 0:
        faults.append(
            Fault("the reference model favours no level: its log hazard ratios are around 0",
                  value=str(found["log_hazard_ratio"]), allowed="mu=0")
        )  # fmt: skip
    raise_if(faults)
    return found


def baseline_of(given: str | None) -> str:
    """Baseline hazard by name, the reported one where none is given; raises ``BadInput``."""
    if given not in (None, MIXTURE, *reference.BASELINES):
        known = {**reference.BASELINES, MIXTURE: "all of them, weighted by what is printed"}
        allowed = "; ".join(f"{name}: {what}" for name, what in known.items())
        raise BadInput(Fault("no such baseline hazard", value=given, allowed=allowed))
    return given or reference.EQUAL


def _under(posed: Problem, priors: Mapping[str, Prior]) -> Problem:
    """The same problem under other priors; the very same where they are the reference ones."""
    if dict(priors) == DEFAULT_PRIORS:
        return posed
    model, tenth = posed.model, np.log(reference.TENTHS)
    first = [posed.columns[int(np.flatnonzero(model.block == k)[0])]
             for k in range(model.scale_sd.size)]  # fmt: skip
    hazard, leaving = priors["reference_log_hazard"], priors["log_censoring_rate"]
    scales = [priors["interaction" if " x " in name else "spread"]["sigma"] for name in first]
    changed = model._replace(
        fixed=np.where(model.block < 0, priors["log_hazard_ratio"]["sigma"], model.fixed),
        scale_sd=np.array(scales, float),
        location=np.array(
            [hazard["mu"] - tenth, hazard["sigma"], leaving["mu"] - tenth, leaving["sigma"]]
        ),
        smoothing_sd=float(priors["smoothing"]["sigma"]),
    )
    printed = posed.printed._replace(alpha=float(priors["cells"]["a"]))
    return replace(posed, model=changed, printed=printed)


def shipped(spec: Specification) -> list[Chain] | None:
    """Chains kept with the package, where numbers, code and settings are what they were made of."""
    folder = published_folder().parent / SHIPPED
    tree = Store(folder).load(MODEL, spec.fit_id)
    return None if tree is None else read(tree)


def keep(spec: Specification, chains: Sequence[Chain], folder: Path) -> Path:
    """Write chains where ``shipped`` looks for them, if the folder is that of the package."""
    folder.mkdir(parents=True, exist_ok=True)
    return Store(folder).save(MODEL, spec.fit_id, tree_of(spec, thinned(chains)))


@dataclass(frozen=True)
class _Notes:
    """How far one chain of a fit is, in a store: written whole, checked when it is read."""

    store: Store
    fit_id: str
    chain: int

    @property
    def name(self) -> str:
        """What stands first in the file's name."""
        return f"{MODEL}_begun_{self.chain}"

    def load(self) -> tempering.State | None:
        """The last note, or None."""
        tree = self.store.load(self.name, self.fit_id)
        if tree is None:
            return None
        return {str(name): one.to_numpy() for name, one in tree.to_dataset().data_vars.items()}

    def save(self, state: tempering.State) -> None:
        """Note a state, in the place of the last one."""
        noted = {name: ([f"{name}_{axis}" for axis in range(np.ndim(part))], part)
                 for name, part in state.items()}  # fmt: skip
        self.store.save(self.name, self.fit_id, xr.DataTree(xr.Dataset(noted)))

    def clear(self) -> None:
        """Forget all: every chain has ended."""
        self.store.remove(self.name, self.fit_id)


def sampled(
    spec: Specification, tell: Tell = lambda *_: None, store: Store | None = None
) -> list[Chain]:
    """Chains made anew, with every cohort they found; those that a store has begun go on."""
    notes = [_Notes(store, spec.fit_id, k) for k in range(spec.settings.chains) if store]
    return tempering.chains(spec.posed, spec.settings, tell, notes)


def stored(spec: Specification, store: Store | None, tell: Tell = lambda *_: None) -> list[Chain]:
    """Chains of the store, or made anew and written there; thinned."""
    if store is None:
        return thinned(sampled(spec, tell))
    tree = store.load(MODEL, spec.fit_id)
    if tree is None:
        with store.lock(spec.fit_id):
            tree = store.load(MODEL, spec.fit_id)
            if tree is None:
                found = thinned(sampled(spec, tell, store))
                store.save(MODEL, spec.fit_id, tree_of(spec, found))
                return found
    return read(tree)


def thinned(chains: Sequence[Chain]) -> list[Chain]:
    """At most ``KEPT`` draws of each chain, evenly spaced."""
    found = []
    for chain in chains:
        size = chain.months.shape[0]
        picks = np.linspace(0, size - 1, min(KEPT, size)).round().astype(int)
        names = ("months", "event", "cell", "theta", "found")
        found.append(replace(chain, **{name: getattr(chain, name)[picks] for name in names}))
    return found


def tree_of(spec: Specification, chains: Sequence[Chain]) -> xr.DataTree:
    """Chains as a tree, one group each (they found cohorts in different numbers)."""
    parts = {}
    for k, chain in enumerate(chains):
        parts[f"chain_{k}"] = xr.Dataset(
            {
                "tenths": (("draw", "patient"), np.rint(10 * chain.months).astype(np.int16)),
                "event": (("draw", "patient"), chain.event.astype(np.int8)),
                "cell": (("draw", "patient"), chain.cell.astype(np.int16)),
                "theta": (("draw", "parameter"), chain.theta),
                "found": ("draw", chain.found),
                "tally": (("move", "count"), chain.tally),
                "refusals": ("place", chain.refusals),
            },
            attrs={"trips": chain.trips, "seconds": chain.seconds},
        )
        for variable in parts[f"chain_{k}"].variables.values():
            variable.encoding["zlib"] = True
    tree = xr.DataTree.from_dict(parts)
    made = {**spec.identity, "versions": versions()}
    tree.attrs["provenance"] = json.dumps(made, default=str)
    return tree


def read(tree: xr.DataTree) -> list[Chain]:
    """Chains of a tree."""
    chains = []
    for name in sorted(tree.children, key=lambda text: int(text.rpartition("_")[2])):
        part = tree[name].to_dataset()
        chains.append(
            Chain(
                part["tenths"].to_numpy() / 10.0,
                part["event"].to_numpy().astype(np.int64),
                part["cell"].to_numpy().astype(np.int64),
                part["theta"].to_numpy(),
                part["found"].to_numpy(),
                part["tally"].to_numpy(),
                int(part.attrs["trips"]),
                part["refusals"].to_numpy(),
                float(part.attrs["seconds"]),
            )
        )
    return chains


def to_json(spec: Specification) -> dict[str, Any]:
    """A specification as plain values, from which ``from_json`` makes it again."""
    item = asdict(spec.summary)
    moves = spec.summary.table_moves
    return {
        "summary": item
        | {"facts": [{**asdict(f), "cells": f.cells.tolist()} for f in spec.summary.facts],
           "table_moves": None if moves is None else moves.tolist()},
        "settings": asdict(spec.settings),
        "priors": {name: [one.distribution, one.parameters] for name, one in spec.priors.items()},
        "baseline": spec.baseline,
    }  # fmt: skip


def from_json(said: Mapping[str, Any]) -> Specification:
    """A specification of plain values."""
    item, settings = dict(said["summary"]), dict(said["settings"])
    moves, cells = item["table_moves"], item["cells"]
    item["cells"] = Cells(
        {name: tuple(levels) for name, levels in cells["factors"].items()},
        tuple(cells["pair"]) if cells["pair"] else None,
    )
    item["facts"] = tuple(
        CountFact(**{**fact, "cells": np.array(fact["cells"], np.int64)}) for fact in item["facts"]
    )
    for name in ("statistics", "held_out"):
        item[name] = tuple(
            Statistic(
                **{**one, "levels": tuple(one["levels"]), "adjusted": tuple(one["adjusted"]),
                   "targets": tuple(Target(**target) for target in one["targets"])}
            )
            for one in item[name]
        )  # fmt: skip
    item["model_factors"] = tuple(item["model_factors"])
    item["left_out"] = tuple((claim, why) for claim, why in item["left_out"])
    item["table_moves"] = None if moves is None else np.array(moves, np.int64)
    settings["reheats"] = tuple(settings["reheats"])
    priors = {name: prior(kind, **dict(inside)) for name, (kind, inside) in said["priors"].items()}
    baseline = said.get("baseline", reference.EQUAL)
    return Specification(Summary(**item), Settings(**settings), priors, baseline)
