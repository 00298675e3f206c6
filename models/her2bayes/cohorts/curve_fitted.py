"""Patients behind digitised curves as a fitted analysis: draws with both errors, section."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pandas as pd
import xarray as xr

from her2bayes.cohorts.diagnostics import Patients, survival_at
from her2bayes.cohorts.ensemble import Ensemble, reconstruct_arms, write_curves
from her2bayes.errors import BadInput, Fault, raise_if
from her2bayes.estimand import Contrast, Estimand, parse
from her2bayes.evidence.patients.digitised import DigitisedArm, read_curve
from her2bayes.inference.convergence import Diagnostics
from her2bayes.inference.estimates import estimate, estimates_table
from her2bayes.inference.fit import Fit
from her2bayes.inference.meaning import meaning
from her2bayes.inference.store import data_digest, fit_key
from her2bayes.results.fitted import Asked, Figures, Fitted
from her2bayes.version import __version__

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from her2bayes.page.section import Section

REPEATS, CHAINS = 1000, 4  # draws at least, of all members together
KINDS = ("survival", "survival_difference", "rmst", "rmst_difference", "hazard_ratio")
TIMES = (12.0, 24.0, 60.0)  # months
MODEL = "reconstructed_curves"


@dataclass(frozen=True, repr=False)
class ReconstructedCurves(Fitted):
    """Patients behind digitised Kaplan-Meier curves: members by arm, and what they say.

    Draws hold both errors: each is of one member (what the figure leaves open) with weights of its
    patients from the Bayesian bootstrap (Rubin 1981; Lo 1993 for censored times), under which
    Kaplan-Meier, restricted mean and Cox's ratio are computed (sampling error). There is no model
    and no prior, so ``tree`` has no ``prior`` and no ``log_likelihood``. ``unit`` is that of the
    curve's times, and of the times that are asked for.
    """

    family: ClassVar[str] = "cohorts"
    arms: Mapping[str, DigitisedArm]
    ensemble: Ensemble
    endpoint: str
    unit: str
    seed: int

    @property
    def title(self) -> str:
        """What was reconstructed, of whom."""
        sizes = ", ".join(f"{name} ({arm.at_risk[0]})" for name, arm in self.arms.items())
        return f"Reconstructed patients behind digitised curves of {self.endpoint}: {sizes}"

    @property
    def members(self) -> int:
        """Number of data sets."""
        return len(next(iter(self.ensemble.members.values())))

    @cached_property
    def identity(self) -> dict[str, Any]:
        """What the members depend on."""
        read = [
            (name, arm.time, arm.survival, arm.risk_time, arm.at_risk, arm.events, arm.censored)
            for name, arm in self.arms.items()
        ]
        plain = [[x.tolist() if isinstance(x, np.ndarray) else x for x in one] for one in read]
        return {
            "model": MODEL, "package": __version__, "source": meaning(reconstruct_arms),
            "data": data_digest([plain, self.endpoint, self.unit]),
            "settings": {"members": self.members, "seed": self.seed},
        }  # fmt: skip

    @property
    def fit_id(self) -> str:
        """Key of curves, numbers at risk, seed and number of members."""
        return fit_key(self.identity)

    @cached_property
    def fits(self) -> Mapping[str, Fit]:
        """Survival of each arm at the times of its table, as draws."""
        times = self.times or (float(max(arm.time.max() for arm in self.arms.values())),)
        asked = [self._asked("survival", arm, time) for arm in self.arms for time in times]
        found = self.drawn(asked, "posterior")
        values = np.stack([found[one].to_numpy() for one in asked], axis=-1)
        shape = (*values.shape[:2], len(self.arms), len(times))
        axes = {"arm": list(self.arms), "time": list(times)}
        drawn = xr.DataArray(values.reshape(shape), axes, ("chain", "draw", "arm", "time"))
        tree = xr.DataTree.from_dict({"posterior": xr.Dataset({"survival": drawn})})
        return {self.endpoint: Fit(tree, {**self.identity, "fit_id": self.fit_id})}

    @property
    def times(self) -> tuple[float, ...]:
        """Times that a report looks at, within the follow-up of every arm."""
        last = min(float(arm.time.max()) for arm in self.arms.values())
        rows = next(iter(self.arms.values())).risk_time
        wanted = TIMES if self.unit == "months" else tuple(float(t) for t in rows if t > 0)
        return tuple(t for t in wanted if t <= last)

    def _asked(self, kind: str, arm: str, time: float) -> Estimand:
        return Estimand(kind, self.endpoint, (("arm", arm),), None, time, self.unit)

    @property
    def reported(self) -> list[Estimand]:
        """Estimands of a report: survival and restricted mean by arm, ratios to the first arm."""
        names = list(self.arms)
        found = [self._asked("survival", arm, t) for arm in names for t in self.times]
        found += [self._asked("rmst", arm, t) for arm in names for t in self.times[-1:]]
        return found + [
            Estimand("hazard_ratio", self.endpoint, (), Contrast("arm", arm, names[0]))
            for arm in names[1:]
        ]

    def drawn(self, asked: list[Estimand], group: str) -> Mapping[Estimand, xr.DataArray]:
        """Draws ``(chain, draw)``, independent: each chain goes round the members."""
        if group != "posterior":
            problem = "patients behind a curve have no prior: there is no model"
            raise BadInput(Fault(problem, value=group, allowed="posterior"))
        raise_if([fault for one in asked for fault in self._faults(one)])
        repeats = CHAINS * -(-REPEATS // (CHAINS * self.members))
        found = {one: np.zeros((repeats, self.members)) for one in asked}
        for member in range(self.members):
            weighted = {
                arm: _Weighted(self.ensemble.members[arm][member], self._seed(arm, member), repeats)
                for arm in self.arms
            }
            for one in asked:
                found[one][:, member] = _value(one, weighted)
        return {
            one: xr.DataArray(x.reshape(CHAINS, -1), dims=("chain", "draw"))
            for one, x in found.items()
        }

    def _seed(self, arm: str, member: int) -> list[int]:
        return [self.seed, member, *arm.encode()]

    def _faults(self, one: Estimand) -> Iterator[Fault]:
        contrast = one.contrast
        arms = [level for factor, level in one.given if factor == "arm"]
        arms += [contrast.a, contrast.b] if contrast and contrast.factor == "arm" else []
        compares = one.kind in ("hazard_ratio", "survival_difference", "rmst_difference")
        if one.kind not in KINDS or one.outcome != self.endpoint:
            allowed = f"{', '.join(KINDS)} of {self.endpoint}"
            yield Fault("not answered by these curves", value=str(one), allowed=allowed)
        elif len(arms) != 1 + compares or not set(arms) <= set(self.arms):
            form = "; arm: a vs b" if compares else "| arm=a"
            allowed = f"{one.kind}[{self.endpoint} {form}] with arms {', '.join(self.arms)}"
            yield Fault("no such arm", value=str(one), allowed=allowed)
        elif one.kind != "hazard_ratio":
            last = min(float(self.arms[arm].time.max()) for arm in arms)
            if one.time_unit != self.unit or not 0 < (one.time or 0) <= last:
                allowed = f"@ a time up to {last:g} {self.unit}, where a curve ends"
                yield Fault("no time that the curves show", value=str(one), allowed=allowed)

    def estimates(self, estimands: Iterable[Asked] | None = None) -> pd.DataFrame:
        """One row an estimand: median and 95 % interval over members and bootstraps; no prior."""
        given = self.reported if estimands is None else estimands
        asked = [parse(one) if isinstance(one, str) else one for one in given]
        run = _Source(MODEL, self.fit_id, Diagnostics(CHAINS, 0, 0, np.inf))
        rows = []
        for one, values in self.drawn(asked, "posterior").items():
            ratio = one.kind == "hazard_ratio"
            note = f"{'P(ratio < 1); ' if ratio else ''}{self.members} data sets behind a curve, "
            row = estimate(
                one, values, values, run, event=_below_one if ratio else None,
                note=note + "Bayesian bootstrap of each",
                unit=self.unit if one.kind.startswith("rmst") else None,
            )  # fmt: skip
            none = {name: np.nan for name in row if "prior" in name or name == "contraction"}
            rows.append({**row, **none, "evidence_kind": "implied"})
        return estimates_table(rows)

    def classical(self) -> pd.DataFrame:
        """Cox's ratio of each arm against the first over members, joined by Rubin's rules."""
        rows = []
        for row in self.ensemble.hazard_ratios.to_dict("records"):
            contrast = Contrast("arm", str(row["arm"]), str(row["reference"]))
            rows.append({
                "estimand": str(Estimand("hazard_ratio", self.endpoint, (), contrast)),
                "reproduced": row["hazard_ratio"], "reproduced_lower": row["lower"],
                "reproduced_upper": row["upper"], "method": row["method"],
                "evidence_kind": "implied",
            })  # fmt: skip
        return pd.DataFrame(rows)

    def cohorts(self) -> pd.DataFrame:
        """Patients, one row each: ``member`` (from 1), ``arm``, ``time`` as read, ``event``."""
        return self.ensemble.patients()

    def match(self) -> pd.DataFrame:
        """One row a member and arm: distance to the points read, misses of the numbers at risk."""
        return self.ensemble.match

    def diagnostics(self) -> pd.DataFrame:
        """Reading error of each arm and what it was estimated from; flat medians."""
        return pd.DataFrame(
            {"arm": arm, "reading_error": curve.sigma, "error_from": curve.error_from,
             "steps": curve.steps, "flat_median": arm in self.ensemble.flat_medians}
            for arm, curve in self.ensemble.curves.items()
        )  # fmt: skip

    @property
    def figures(self) -> Figures:
        """``survival()``: the points read, over the Kaplan-Meier curves of the members."""
        return Figures({"survival": partial(survival_figure, self)})

    def section(self) -> Section:
        """Report the curves and their members."""
        return _section(self)

    def priors(self) -> Mapping[str, tuple[str, str]]:
        """None: the curve's own points decide, and what they leave open is censoring."""
        return {}

    def write(self, folder: str | Path) -> list[Path]:
        """Write patients.parquet, match.csv and, for several arms, hazard_ratios.csv."""
        return write_curves(self.ensemble, Path(folder))

    def packed(self) -> xr.DataTree:
        """What was read of each arm; the members are made again from it, to the last patient."""
        said = {
            name: {key: x.tolist() if isinstance(x, np.ndarray) else x
                   for key, x in asdict(arm).items()}
            for name, arm in self.arms.items()
        }  # fmt: skip
        about = {"endpoint": self.endpoint, "unit": self.unit, "seed": self.seed}
        tree = xr.DataTree()
        tree.attrs["curves"] = json.dumps({"arms": said, **about, "members": self.members})
        return tree

    @classmethod
    def unpacked(cls, tree: xr.DataTree) -> ReconstructedCurves:
        """Make the object of a ``packed`` tree."""
        said = json.loads(tree.attrs["curves"])
        arms = {}
        for name, arm in said["arms"].items():
            arrays = {key: np.array(x) for key, x in arm.items() if isinstance(x, list)}
            arms[name] = DigitisedArm(**{**arm, **arrays, "notes": tuple(arm["notes"])})
        made = reconstruct_arms(arms, said["members"], said["seed"])
        return cls(arms, made, said["endpoint"], said["unit"], said["seed"])

    def __str__(self) -> str:
        """What these patients are, how they match the figure, what it leaves open."""
        return "\n".join([
            f"{self.title}.",
            f"They are not the trial's patients: {self.members} data sets, fit {self.fit_id}, each "
            "with the printed numbers at risk; they differ in what the figure does not show.",
            self.ensemble.summary(),
            "When patients were censored between two rows at risk is a guess; covariates, and how "
            "patients of two arms or two curves go together, are not known at all.",
        ])  # fmt: skip


@dataclass(frozen=True)
class _Source:
    model: str
    fit_id: str
    diagnostics: Diagnostics


def _below_one(ratio: xr.DataArray) -> xr.DataArray:
    return ratio < 1


class _Weighted:
    """One data set under bootstrap weights (repeat, patient) of its patients, in order of time."""

    def __init__(self, patients: Patients, seed: list[int], repeats: int) -> None:
        time, event = patients
        order = np.lexsort((~event, time))  # deaths before censorings of the same time
        self.time, self.event = time[order], event[order]
        self.weight = np.random.default_rng(seed).exponential(size=(repeats, time.size))

    @cached_property
    def survival(self) -> np.ndarray:
        """Kaplan-Meier after each patient (repeat, patient)."""
        at_risk = np.cumsum(self.weight[:, ::-1], axis=1)[:, ::-1]
        fall = np.where(self.event, self.weight / at_risk, 0.0)
        return np.cumprod(1 - np.minimum(fall, 1.0), axis=1)

    def at(self, time: float) -> np.ndarray:
        """Survival (repeat) at a time."""
        place = int(np.searchsorted(self.time, time, side="right"))
        return self.survival[:, place - 1] if place else np.ones(self.weight.shape[0])

    def mean(self, horizon: float) -> np.ndarray:
        """Restricted mean (repeat) to a time."""
        edges = np.concatenate([[0.0], np.minimum(self.time, horizon), [horizon]])
        level = np.concatenate([np.ones((self.weight.shape[0], 1)), self.survival], axis=1)
        return np.asarray(level @ np.diff(edges))


def _value(one: Estimand, weighted: Mapping[str, _Weighted]) -> np.ndarray:
    """One estimand under every bootstrap (repeat) of one member."""
    if one.contrast is None:
        return _of_arm(one.kind, weighted[one.conditions["arm"]], one.time or 0.0)
    first, second = weighted[one.contrast.a], weighted[one.contrast.b]
    if one.kind == "hazard_ratio":
        return np.exp(weighted_log_ratio(first, second))
    what = one.kind.partition("_")[0]
    return _of_arm(what, first, one.time or 0.0) - _of_arm(what, second, one.time or 0.0)


def _of_arm(what: str, arm: _Weighted, time: float) -> np.ndarray:
    return arm.mean(time) if what == "rmst" else arm.at(time)


def weighted_log_ratio(one: _Weighted, other: _Weighted) -> np.ndarray:
    """Cox's log hazard ratio (repeat) of one arm against another, by weighted risk sets."""
    time = np.concatenate([one.time, other.time])
    order = np.argsort(time, kind="stable")
    event = np.concatenate([one.event, other.event])[order]
    mine = (np.arange(time.size) < one.time.size)[order]
    weight = np.concatenate([one.weight, other.weight], axis=1)[:, order]
    start = np.searchsorted(time[order], time[order][event])  # all of one time are at risk
    risk = [
        np.cumsum((weight * part)[:, ::-1], axis=1)[:, ::-1][:, start] for part in (mine, ~mine)
    ]
    dead, of_one = weight[:, event], mine[event]
    log_ratio = np.zeros(weight.shape[0])
    for _ in range(25):
        share = np.exp(log_ratio)[:, None] * risk[0]
        share = share / (share + risk[1])
        information = (dead * share * (1 - share)).sum(axis=1)
        step = (dead * (of_one - share)).sum(axis=1) / np.maximum(information, 1e-12)
        log_ratio += np.clip(step, -1.0, 1.0)
        if np.abs(step).max() < 1e-9:
            break
    return log_ratio


def arms_of(source: Any, at_risk: Any, events: Mapping[str, int] | None) -> dict[str, DigitisedArm]:
    """Checked arms of curves already read, or of paths or data frames with numbers at risk."""
    if isinstance(source, DigitisedArm):
        source = {source.name: source}
    if isinstance(source, Mapping) and all(isinstance(x, DigitisedArm) for x in source.values()):
        if at_risk is not None or events is not None:
            remedy = "give at_risk and events where the curve is read"
            raise BadInput(Fault("these curves have their numbers at risk", remedy=remedy))
        return dict(source)
    if at_risk is None:
        remedy = "give at_risk=: arm, time, n_at_risk; its first row alone will do"
        raise BadInput(Fault("a curve needs the numbers at risk", remedy=remedy))
    return read_curve(source, at_risk, events=events)


def reconstructed_curves(
    arms: Mapping[str, DigitisedArm], endpoint: str, unit: str, members: int, seed: int
) -> ReconstructedCurves:
    """Patients behind curves; see ``fitted.reconstruct``."""
    made = reconstruct_arms(arms, members, seed)
    return ReconstructedCurves(dict(arms), made, endpoint, unit, seed)


def survival_figure(fit: ReconstructedCurves) -> Figure:
    """The points read, over the Kaplan-Meier curves of all members."""
    from her2bayes.page import style

    paint = style.colours(list(fit.arms))
    with style.drawing():
        figure, axes = style.new_figure(560, 340)
        for name, arm in fit.arms.items():
            grid = np.linspace(0, float(arm.time.max()), 200)
            lines = np.array([survival_at(one, grid) for one in fit.ensemble.members[name]])
            low, high = np.quantile(lines, [0.025, 0.975], axis=0)
            scale = 100.0 if arm.survival.max() > 1.5 else 1.0
            axes.fill_between(grid, low, high, color=paint[name], alpha=0.3, linewidth=0)
            axes.plot(arm.time, arm.survival / scale, ".", color=paint[name], markersize=2,
                      label=name)  # fmt: skip
        axes.set(ylim=(0, 1.02), xlabel=fit.unit, ylabel=f"{fit.endpoint}, survival")
        axes.legend()
    return figure


def _section(fit: ReconstructedCurves) -> Section:
    from her2bayes.page import style
    from her2bayes.page.section import Figure as Drawn
    from her2bayes.page.section import Section, Table

    with style.drawing():
        drawing = style.svg(survival_figure(fit))
    caption = (
        f"Points read, and where the Kaplan–Meier curves of 95 % of {fit.members} data sets lie."
    )
    columns = ["patients", "events", "rmse", "at_risk_mismatch"]
    worst = fit.match().groupby("arm", sort=False)[columns].max().reset_index()
    return Section(
        id="reconstructed-curves",
        title=f"Patients behind digitised curves of {fit.endpoint}",
        paragraphs=tuple(str(fit).splitlines()),
        figures=(Drawn("reconstructed-curves", "Curves read and reconstructed", drawing, caption),),
        tables=(
            Table("What the patients say", fit.estimates()[
                ["estimand", "posterior_median", "posterior_lower", "posterior_upper", "unit"]
            ], "Interval: sampling error, and what the figure leaves open."),
            Table("Worst match to the figure", worst, "Over all data sets."),
        ),
    )  # fmt: skip
