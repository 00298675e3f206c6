"""Conclusions on the change of HER2 class, from a paper's printed facts on pairs.

With "assay errors" above 0 the classes are taken as readings of a fallible assay, known, with that
multiple of the default error rates: the model of true classes of ``assay``. Leaving out the
patients of one level is exact where both are printed: a number printed for all patients and for the
level is subtracted; of one printed for all patients alone, the patients left have at most that
many, and at least that many less the level's patients.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import xarray as xr

from her2bayes.bayes.prior import Prior, prior
from her2bayes.estimand import Estimand
from her2bayes.evidence.printed.tables import Conclusion
from her2bayes.inference.fit import Specification
from her2bayes.sensitivity.target import (
    BASE,
    DATA,
    PRIOR,
    READING,
    REFIT,
    Axis,
    Drawn,
    Scenario,
    Target,
    impossible,
)
from her2bayes.transition import latent_table
from her2bayes.transition.assay_error import fit_known, has_prior
from her2bayes.transition.draws import draws as drawn_of
from her2bayes.transition.draws import levels, rows_of
from her2bayes.transition.facts import TableSet, pair_facts, readings, table_set
from her2bayes.transition.paper import TableAnalysis, partitions
from her2bayes.transition.polytope import conflict, listed_tables, row_bounds
from her2bayes.transition.rows import ROW_PRIORS
from her2bayes.transition.table_fit import (
    LOGISTIC,
    RowPrior,
    TableFit,
    fit_tables,
    is_listed,
    row_priors,
)

if TYPE_CHECKING:
    from her2bayes.evidence.printed.study import Study
    from her2bayes.inference.sampling import Sampling
    from her2bayes.inference.store import Store


ALL, DISCORDANT = "*->*", "off_diagonal"


def levels_left_out(facts: pd.DataFrame) -> tuple[str, ...]:
    """Levels, as ``factor=level``, whose patients and discordant pairs are printed.

    Of factors with three levels at least: of two, to leave one out is to report the other.
    """
    found = []
    for (factor, level), part in facts[facts["factor"].fillna("") != ""].groupby(
        ["factor", "level"], sort=False
    ):
        exact = set(part.loc[part["relation"] == "=", "cells"])
        if {ALL, DISCORDANT} <= exact:
            found.append((str(factor), str(level)))
    counted = [factor for factor, _ in found]
    return tuple(f"{f}={level}" for f, level in found if counted.count(f) > 2)


def without(facts: pd.DataFrame, level: str) -> pd.DataFrame:
    """Facts on all patients but those of ``factor=level``; facts by other factors are dropped."""
    factor, _, name = level.partition("=")
    plain = facts.assign(**{c: facts[c].fillna("") for c in ("factor", "level", "reading")})
    part = plain[(plain["factor"] == factor) & (plain["level"] == name)]
    known = {
        (row["cells"], row["reading"]): int(float(row["value"]))
        for row in part[part["relation"] == "="].to_dict("records")
    }
    patients = known[ALL, ""]
    rows = [
        new
        for row in plain[plain["factor"] == ""].to_dict("records")
        for new in _left(row, known.get((row["cells"], row["reading"])), patients)
    ]
    return pd.DataFrame(rows, columns=facts.columns)


def _left(
    row: dict[Hashable, Any], known: int | None, patients: int
) -> Iterator[dict[Hashable, Any]]:
    value = int(float(str(row["value"])))
    name = f"{row['fact_id']} without them"
    if known is not None and row["relation"] == "=":
        yield {**row, "fact_id": name, "value": value - known}
        return
    if row["relation"] in ("=", "<=", "<"):
        relation = "<" if row["relation"] == "<" else "<="
        yield {**row, "fact_id": name, "relation": relation, "value": value}
    if row["relation"] in ("=", ">=", ">"):
        relation = ">" if row["relation"] == ">" else ">="
        yield {**row, "fact_id": f"{name}, at least", "relation": relation,
               "value": max(0, value - patients)}  # fmt: skip


KINDS = (
    "discordance",
    "true_discordance",
    "discordance_difference",
    "transition",
    "gain",
    "loss",
    "flow_difference",
)
ROWS, READ, ASSAY, OUT = "prior of the rows", "reading", "assay errors", "left out"
SCALE, SPREAD, CENTRE = (
    "prior scale of change",
    "prior scale of differences between levels",
    "prior log odds of change, shift",
)
SCALES = (0.25, 0.5, 2.0, 4.0)
TOP_LEVEL = ("centre", "deviation_sd", "primary_share")


def targets(study: Study, conclusions: Sequence[Conclusion]) -> list[Target]:
    """One target for each printed partition of the pairs that answers some of the conclusions."""
    facts = pair_facts(study).facts
    if facts.empty:
        return []
    return targets_of_facts(facts, study.factors["her2"].levels, conclusions)


def targets_of_facts(
    facts: pd.DataFrame, classes: tuple[str, ...], conclusions: Sequence[Conclusion]
) -> list[Target]:
    """The same of facts as they were fitted."""
    known = partitions(facts)
    found: dict[tuple[tuple[str, ...], bool], list[Conclusion]] = {}
    for conclusion in conclusions:
        names = factors_of(conclusion.estimand)
        if names in known:
            true = conclusion.estimand.kind == "true_discordance"  # of a fit of its own
            found.setdefault((names, true), []).append(conclusion)
    return [
        Target(
            "transition",
            _title(names, true),
            tuple(asked),
            axes(facts, classes, names, true),
            {"facts": facts, "classes": classes, "factors": names},
        )
        for (names, true), asked in found.items()
    ]


def _title(factors: tuple[str, ...], true: bool) -> str:
    what = "change of the true HER2 class" if true else "change of HER2 status"
    return f"{what} by {factors[0].replace('_', ' ')}" if factors else f"{what}, all patients"


def factors_of(estimand: Estimand) -> tuple[str, ...] | None:
    """Factors whose tables hold the estimand, None for another kind."""
    if estimand.kind not in KINDS:
        return None
    if estimand.kind == "discordance_difference":
        return (estimand.contrast.factor,) if estimand.contrast else None
    return tuple(factor for factor, _ in estimand.given)


def available(study: Study) -> Iterator[str]:
    """What this family could answer, in words."""
    if study.transition_facts.empty:
        return
    yield from ("discordance[]", "transition[a -> b]", "gain[...]", "loss[...]")
    yield "flow_difference[a -> b]"
    for names in partitions(study.transition_facts)[1:]:
        yield f"discordance[| {names[0]}=...]"


def axes(
    facts: Any, classes: Sequence[str], factors: tuple[str, ...], true: bool = False
) -> tuple[Axis, ...]:
    """Axes of the tables of one partition; ``true``: of the true classes behind them."""
    first, *others = row_priors(len(classes))
    found = [
        Axis(CENTRE, PRIOR, 0.0, (-1.0, -0.5, 0.5, 1.0), "added to the prior mean of log odds"),
        Axis(SCALE, PRIOR, 1.0, SCALES, "scale of the prior of log odds of a change, times"),
        Axis(ROWS, PRIOR, first, tuple(others), "family and parameters of the prior of the rows"),
    ]
    if factors:
        meaning = "scale of the prior of how levels differ, times"
        found.append(Axis(SPREAD, PRIOR, 1.0, SCALES, meaning))
    read = readings(facts)
    if len(read) > 1:
        found.append(Axis(READ, READING, read[0], tuple(read[1:]), "which printed number is right"))
    if left := () if factors else levels_left_out(facts):
        found.append(Axis(OUT, DATA, "nobody", left, "patients left out, as far as is printed"))
    if has_prior(classes):
        meaning = "error rates, times the default"
        fewer = (0.25, 0.5, 0.75)
        base, scales = (1.0, fewer) if true else (0.0, (*fewer, 1.0))
        found.append(Axis(ASSAY, READING, base, scales, meaning))
    return tuple(found)


def _tables(target: Target, of: Scenario) -> TableSet:
    facts, classes, factors = (target.data[k] for k in ("facts", "classes", "factors"))
    reading = str(of.get(READ, readings(facts)[0]))
    out = str(of.get(OUT, "nobody"))
    facts = facts if out == "nobody" else without(facts, out)
    return table_set(facts, classes, factors, reading)


def _rows(target: Target, of: Scenario) -> tuple[str, RowPrior]:
    choices = row_priors(len(target.data["classes"]))
    base = {axis.name: axis.base for axis in target.axes}
    name = str(of.get(ROWS, base.get(ROWS, next(iter(choices)))))
    return name, choices[name]


def specification(target: Target, of: Scenario) -> Specification | None:
    """Model that sums over all tables, where they are few and the primary margin is printed."""
    tables = _tables(target, of)
    if _true_classes(target, of) or _rows(target, of)[1].rows != LOGISTIC:
        return None
    if conflict(tables) or not is_listed(tables) or _primary(tables) is None:
        return None
    data = listed_tables([tables])
    return Specification(latent_table.build, data, row_prior_values(of), {}, TOP_LEVEL)


def _primary(tables: TableSet) -> np.ndarray | None:
    """Patients by stratum and primary class, None where they are not determined."""
    least, most = row_bounds(tables)
    return least if (least == most).all() else None


def quantities(target: Target, of: Scenario, draws: xr.Dataset) -> dict[str, xr.DataArray]:
    """Draws (chain, draw) of each estimand, from a model of listed tables."""
    tables = _tables(target, of)
    primary = _primary(tables)
    assert primary is not None  # else there is no such model
    by = {}
    for place, (given, name) in enumerate(zip(tables.strata, tables.names, strict=True)):
        shares = primary[place] / primary[place].sum()
        cohort = xr.DataArray(shares, {"her2_primary": list(tables.her2)}, "her2_primary")
        by[tuple(sorted(given))] = rows_of(draws, name, cohort)
    found = drawn_of(by, [c.estimand for c in target.conclusions])
    return {str(asked): values for asked, values in found.items()}


def _true_classes(target: Target, of: Scenario) -> bool:
    """Whether a scenario asks for true classes behind the readings."""
    asked = any(c.estimand.kind == "true_discordance" for c in target.conclusions)
    return asked or float(of.get(ASSAY, 0.0)) > 0


def baseline(target: Target, sampling: Sampling, store: Store | None) -> Drawn:
    """Analysis as the page reports it, from its own fits in ``store``."""
    return drawn(target, BASE, sampling, store)


def drawn(target: Target, of: Scenario, sampling: Sampling, store: Store | None = None) -> Drawn:
    """Fit the tables of a scenario and derive the estimands."""
    tables = _tables(target, of)
    contradicting = conflict(tables)
    if contradicting:
        text = f"no table agrees with all of: {', '.join(contradicting)}"
        return impossible("latent_table", text)
    name, choice = _rows(target, of)
    if choice.rows == LOGISTIC and of.changes:
        choice = RowPrior(LOGISTIC, tuple(row_prior_values(of).items()))
    asked = list(dict.fromkeys(c.estimand for c in target.conclusions))
    scale = float(of.get(ASSAY, 0.0))
    # true classes are of a target of their own
    if any(estimand.kind == "true_discordance" for estimand in asked):
        scale = scale or 1.0
    fitted = _Asked(tables, choice, scale).fit(sampling, store)
    matrices = TableAnalysis(target.data["factors"], name, tables, fitted, choice).matrices
    after, before = (
        drawn_of(levels(matrices, group), asked, new_cohort=scale > 0)
        for group in ("posterior", "prior")
    )
    found = {str(estimand): (after[estimand], before[estimand]) for estimand in asked}
    return Drawn(
        fitted.model,
        REFIT,
        found,
        fitted.diagnostics,
        fitted.provenance["seconds"],
        power=_power(fitted, {name: pair[0] for name, pair in found.items()}, of),
        fit_id=fitted.fit_id,
    )


@dataclass(frozen=True)
class _Asked:
    """Tables of a scenario, their row prior, and the error rates of the assay (0: none)."""

    tables: TableSet
    choice: RowPrior
    scale: float

    def fit(self, sampling: Sampling, store: Store | None) -> TableFit:
        if self.scale:
            return fit_known(self.tables, self.choice, self.scale, sampling, store)
        return fit_tables(
            self.tables, dict(self.choice.priors), rows=self.choice.rows, sampling=sampling,
            store=store, cores=1,
        )  # fmt: skip


def row_prior_values(of: Scenario) -> dict[str, Prior]:
    """Priors of logistic-normal rows in a scenario."""
    odds = ROW_PRIORS["log_odds"]
    return {
        **ROW_PRIORS,
        "log_odds": prior(
            "Normal",
            mu=odds["mu"] + float(of.get(CENTRE, 0.0)),
            sigma=odds["sigma"] * float(of.get(SCALE, 1.0)),
        ),
        "stratum_sd": ROW_PRIORS["stratum_sd"].scaled(float(of.get(SPREAD, 1.0))),
    }


def _power(fitted: TableFit, found: Mapping[str, xr.DataArray], of: Scenario) -> dict[str, Any]:
    """Power-scaling of the reported analysis, where the fit has densities."""
    from her2bayes.inference.reweight import power_scaling

    groups = fitted.tree.children
    if of.changes or not {"log_likelihood", "log_prior"} <= set(groups):
        return {}
    densities = [groups[name].to_dataset() for name in ("log_likelihood", "log_prior")]
    return power_scaling(found, densities[0], densities[1], TOP_LEVEL)
