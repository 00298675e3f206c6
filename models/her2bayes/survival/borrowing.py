"""Survival with patients from elsewhere: named choices side by side, and how far each tips.

No choice is recommended. The weight of a robust prior is a judgement and must be given; without it
that choice is left out, and the whole range of weights is traced either way.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from her2bayes.classical import survival as km
from her2bayes.errors import Fault, raise_if
from her2bayes.estimand import Contrast, Estimand
from her2bayes.evidence.patients.external_survival import External, external_cells, read_external
from her2bayes.inference.meaning import meaning
from her2bayes.inference.sampling import Sampling, cluster
from her2bayes.inference.store import Store, data_digest, fit_key
from her2bayes.page.fit_card import failures
from her2bayes.survival import borrowing_sweep, survival_borrowing
from her2bayes.survival.analysis import Analysis
from her2bayes.survival.borrowing_exact import Design, operating_characteristics
from her2bayes.survival.borrowing_sweep import (
    Choice,
    Mixture,
    Model,
    Nodes,
    Run,
    Setting,
    Weight,
    after_odds,
    commensurate_odds,
    mean_and_error,
    nodes,
    sweep,
    weight_posterior,
)
from her2bayes.survival.doors import Specification
from her2bayes.survival.estimates import ORDER, pairs

if TYPE_CHECKING:
    import pandas as pd

    from her2bayes.evidence.patients.follow_up import FollowUp

DISCOUNTS = (0.25, 0.5)
TRACED = (0.0, 0.05, 0.1, 0.25, 0.5, 0.75, 1.0)
NODES = 12
Say = Callable[[str], None]


@dataclass(frozen=True)
class Borrowing:
    """How to borrow: weight of the robust prior's informed part, weights of power priors shown.

    ``robust_weight`` has no default: it is a judgement. ``trials`` simulated for each choice and
    true hazard, 0 for none, on the dask ``scheduler`` or on workers of this machine. ``number`` of
    nodes of the learned weight.
    """

    robust_weight: float | None = None
    discounts: tuple[float, ...] = ()
    trials: int = 0
    scheduler: str = ""
    number: int = NODES


@dataclass(frozen=True)
class Borrowed:
    """Every choice, in ``table`` by estimand; ``tipping`` over the weights of two priors.

    ``trials``, where asked for, are those of ``design``.
    """

    result: Analysis
    external: External
    choices: tuple[Choice, ...]
    asked: tuple[Estimand, ...]
    table: pd.DataFrame
    tipping: pd.DataFrame
    weight: Weight
    missing: tuple[str, ...]
    fit_id: str
    about: Mapping[str, str]
    design: Design
    trials: pd.DataFrame | None = None

    @property
    def tables(self) -> dict[str, pd.DataFrame]:
        """Tables of a report by the names of their files."""
        found = {"borrowing": self.table, "tipping": self.tipping}
        return found if self.trials is None else found | {"operating_characteristics": self.trials}

    @property
    def failed(self) -> tuple[str, ...]:
        """What did not converge, in words."""
        return failures(self.table)

    @property
    def lines(self) -> list[str]:
        """Lines for the terminal: the first estimand under every choice, what did not converge."""
        asked = str(self.asked[0])
        found = [f"Borrowing from {', '.join(self.external.follow_ups)}: {asked}"]
        for row in self.table[self.table["estimand"] == asked].to_dict("records"):
            found.append(
                f"  {row['label']:<22} {borrowing_sweep.shown({str(k): v for k, v in row.items()})}"
            )
        return [*found, *self.missing, *(f"Borrowing: {line}" for line in self.failed)]


def read(
    files: Sequence[Path],
    own: FollowUp,
    by: Mapping[str, Any],
    how: Borrowing,
    asked: Specification,
    columns: Mapping[str, Any],
) -> dict[str, FollowUp]:
    """Patients of other studies; ``BadInput`` for them, and for what cannot be borrowed."""
    if not files:
        given = {
            "--robust-weight": how.robust_weight, "--discount": how.discounts or None,
            "--operating-characteristics": how.trials or None,
        }  # fmt: skip
        raise_if(
            [
                Fault(f"{name} needs patients of another study", value=value,
                      remedy="give --external FILE")
                for name, value in given.items() if value is not None
            ]
        )  # fmt: skip
        return {}
    raise_if(faults(asked, own, how))
    return read_external(files, own, by, **columns)


def borrow(
    result: Analysis,
    follow_ups: Mapping[str, FollowUp],
    how: Borrowing,
    store: Store | None,
    sampling: Sampling,
    say: Say = lambda _: None,
) -> Borrowed:
    """Analyse the own patients of ``result`` under every choice of borrowing.

    Raises ``BadInput``.
    """
    asked, own = result.specification, result.follow_up
    raise_if(faults(asked, own, how))
    robust_weight, discounts = how.robust_weight, how.discounts or DISCOUNTS
    external = external_cells(follow_ups, result.cells, asked.nested)
    priors = {**survival_borrowing.DEFAULT_PRIORS, **result.model.priors}
    model = Model(result.cells, external, priors, asked.options(own), result.grid)
    found = nodes(how.number)
    powers = sorted({*TRACED, *discounts, *map(float, found.power)})
    ways = [Setting(1.0, power) for power in powers]
    ways += [Setting(1.0, 1.0, learned=1.0), Setting(1.0, 1.0, fixed=1.0)]
    settings = [*ways, *(_before(way) for way in ways)]
    wanted = estimands(result)
    runs = sweep(model, settings, wanted, sampling, store, say)
    weight = learned_weight(found, runs)
    choices = _choices(model, runs, weight, robust_weight, discounts)
    about = {
        "data": data_digest(model.data), "source": meaning(borrow),
        "sampling": sampling, "robust": robust_weight, "discounts": list(discounts),
        "nodes": how.number, "priors": {k: str(v) for k, v in sorted(model.priors.items())},
    }  # fmt: skip
    fit_id = fit_key(about)
    design = _design(result, external, how)
    return Borrowed(
        result,
        external,
        tuple(choices),
        tuple(wanted),
        borrowing_sweep.table(choices, wanted, runs, fit_id),
        borrowing_sweep.tipping(runs, powers, wanted, commensurate_odds(model, runs, own=1.0)),
        weight,
        () if robust_weight is not None else (NO_WEIGHT,),
        fit_id,
        {
            "runs": str(len(runs)),
            "divergences": str(sum(run.diagnostics.divergences for run in runs.values())),
            "priors": "; ".join(f"{k} {v}" for k, v in sorted(model.priors.items())),
            "sampling": str(sampling),
            "data": data_digest(model.data)[:16],
        },
        design,
        _simulated(design, how, sampling.seed, say) if how.trials else None,
    )


def _design(result: Analysis, external: External, how: Borrowing) -> Design:
    """Trials like the own study, for the operating characteristics."""
    own, reference = result.follow_up, result.model.priors["reference_log_hazard"]
    followed = km.quantile(result.counts, [], reverse=True)["estimate"]
    months = float(followed.iloc[0])
    return Design(
        own.patients,
        months if months == months else own.last_time,  # NaN: hardly anybody was censored
        external.events,
        external.months,
        reference["mu"],
        reference["sigma"],
        how.robust_weight,
        how.discounts or DISCOUNTS,
    )


def _simulated(design: Design, how: Borrowing, seed: int, say: Say) -> pd.DataFrame:
    with cluster(how.scheduler) as client:
        return operating_characteristics(design, how.trials, client, seed, say)


NO_WEIGHT = (
    "robust: left out, since no weight was given (--robust-weight, the share of the commensurate "
    "part); the tipping curve traces all of them"
)


def faults(asked: Specification, own: FollowUp, how: Borrowing) -> list[Fault]:
    """What cannot be borrowed: wrong weights, models that external patients do not fit in."""
    found = [
        Fault(f"{name} is no share", value=value, allowed="0 to 1")
        for name, values in (
            ("--robust-weight", [how.robust_weight]),
            ("--discount", how.discounts),
        )
        for value in values
        if value is not None and not 0 <= value <= 1
    ]
    if asked.own is not None:
        problem = "external patients cannot be borrowed in a model of one's own"
        found.append(Fault(problem, value=asked.model, allowed="ph, nonph"))
    if asked.frailty:
        problem = "external patients cannot be borrowed in a model with frailties"
        remedy = "external patients belong to none of these groups; leave --frailty out"
        found.append(Fault(problem, value=", ".join(asked.frailty), remedy=remedy))
    if asked.landmarks is not None:
        problem = "either external patients or survival known from elsewhere, not both"
        found.append(Fault(problem, value="--external, --landmarks"))
    if own.causes:
        problem = "external patients cannot be borrowed with competing causes"
        found.append(Fault(problem, value=", ".join(own.causes), remedy="leave --cause out"))
    return found


def _before(way: Setting) -> Setting:
    return Setting(0.0, way.power, way.fixed, way.learned)


def estimands(result: Analysis) -> list[Estimand]:
    """Ratios of the first factor, then median, restricted mean and survival by its levels."""
    endpoint = result.follow_up.endpoint
    first = next(iter(result.factors), "")
    found = []
    levels = result.levels[first] if first else ()
    if len(levels) > 1:
        for a, b in pairs(levels, result.reference[first]):
            found.append(Estimand("hazard_ratio", endpoint, (), Contrast(first, a, b)))
    for level in sorted(levels, key=_place) if levels else ("",):
        given = ((first, level),) if first else ()
        found.append(Estimand("median", endpoint, given))
        found.append(Estimand("rmst", endpoint, given, None, result.horizon, "months"))
        for t in result.times:
            found.append(Estimand("survival", endpoint, given, None, t, "months"))
    return found


def _place(level: str) -> int:
    return ORDER.index(level) if level in ORDER else len(ORDER)


def learned_weight(found: Nodes, runs: Mapping[Setting, Run]) -> Weight:
    """Posterior of the weight of the normalised power prior, uniform before the data."""
    both = [
        [mean_and_error(runs[Setting(own, float(a))].external_kernel) for a in found.power]
        for own in (1.0, 0.0)
    ]
    with_data, without = (np.array([mean for mean, _ in part]) for part in both)
    errors = np.hypot(*(np.array([error for _, error in part]) for part in both))
    return weight_posterior(found, with_data, without, errors)


def _choices(
    model: Model,
    runs: Mapping[Setting, Run],
    weight: Weight,
    robust: float | None,
    discounts: Sequence[float],
) -> list[Choice]:
    worth, seen = borrowing_sweep.Worth(model, runs), float(model.cells["events"].sum())

    def choice(name: str, label: str, after: Mixture, before: Mixture, learned: str = "") -> Choice:
        conflict = borrowing_sweep.conflict(before, runs, seen)
        return Choice(name, label, after, before, worth.events(before), conflict, learned)

    def power(a: float) -> tuple[Mixture, Mixture]:
        return {Setting(1.0, a): 1.0}, {Setting(0.0, a): 1.0}

    commensurate, vague = Setting(1.0, 1.0, learned=1.0), Setting(1.0, 1.0, fixed=1.0)
    found = [choice("none", "none", *power(0.0))]
    if robust is not None:
        shares = [after_odds(robust, commensurate_odds(model, runs, own)) for own in (1.0, 0.0)]
        after: Mixture = {commensurate: shares[0], vague: 1 - shares[0]}
        before: Mixture = {_before(commensurate): shares[1], _before(vague): 1 - shares[1]}
        said = f"weight after the data {shares[0]:.2f}"
        found.append(
            choice(f"robust_{robust:g}", f"robust, weight {robust:g}", after, before, said)
        )
    found.append(
        choice("commensurate", "commensurate", {commensurate: 1.0}, {_before(commensurate): 1.0},
               borrowing_sweep.offset_text(runs[commensurate]))
    )  # fmt: skip
    nodes_ = [float(a) for a in weight.nodes.power]
    after = {Setting(1.0, a): float(s) for a, s in zip(nodes_, weight.share, strict=True)}
    uniform = weight.nodes.weight / weight.nodes.weight.sum()
    before = {Setting(0.0, a): float(s) for a, s in zip(nodes_, uniform, strict=True)}
    low, high = weight.quantiles((0.025, 0.975))
    said = f"weight {weight.mean:.2f} ({low:.2f} to {high:.2f}) after the data"
    found.append(choice("normalised_power", "normalised power", after, before, said))
    for a in discounts:
        found.append(choice(f"power_{a:g}", f"power, weight {a:g}", *power(a)))
    found.append(choice("full", "full (pooled)", *power(1.0)))
    return found
