"""Effects that studies print, as estimates with standard errors on the log scale.

A hazard ratio has its standard error from its interval, or from its exact P where none is printed.
A cohort of one's own patients enters by the likelihood of its events (``random_effects.Cohort``):
adjusted where a ``reading`` is asked for, with baseline hazards of their own in every level of the
other factors, else with these added up.
A median has it from its interval, or, with events and no interval, that of an exponential: one over
the square root of the events. Ratios printed the other way round are turned. Rows of another
reading (adjusted, say) are never mixed with the one that is asked for.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pandas as pd
import xarray as xr
from scipy import stats

from her2bayes.bayes.prior import Prior
from her2bayes.errors import BadInput, Fault, raise_if
from her2bayes.estimand import KINDS, Contrast, Estimand, not_answered, parse
from her2bayes.evidence.printed.study import Study
from her2bayes.inference.estimates import FitLike
from her2bayes.inference.fit import ExactFit, Fit
from her2bayes.inference.sampling import Sampling
from her2bayes.page import style
from her2bayes.page.fit_card import exact_card
from her2bayes.page.key_results import in_words
from her2bayes.page.numbers import interval, p_value
from her2bayes.page.section import Figure, Section, Table
from her2bayes.rates.draws import Independent
from her2bayes.results.fitted import Figures, Fitted
from her2bayes.synthesis.base import AVERAGE, NEW, STUDY, About, OfRows, at, place, tail
from her2bayes.synthesis.cells import (
    at_average,
    between_design,
    contrasts,
    levels_of,
)
from her2bayes.synthesis.pooling import Pooled, egger, pooled
from her2bayes.synthesis.random_effects import OF_TIMES, POINTS, Cohort, RandomEffects
from her2bayes.synthesis.section import (
    KEY,
    forest,
    lines_of,
    refitted,
    refitted_tables,
    said,
    svg,
    wholes,
)
from her2bayes.synthesis.studies import Left, Source, moderators_of, row_coords

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Canvas

TAKEN = ("hazard_ratio", "median", "rmst_ratio", "share_ratio")
"""Kinds whose logarithm is pooled."""

Z = float(stats.norm.ppf(0.975))
OFF_MIDDLE = 0.25
"""Standard errors between an estimate and the middle of its interval that are worth a word."""


@dataclass(frozen=True)
class Printed:
    """One printed effect: value and limits (NaN where not printed), exact P, where it stands."""

    value: float
    lower: float
    upper: float
    p: float
    locator: str
    events: float = float("nan")
    cohort: Cohort | None = None


def effect_rows(
    given: Sequence[Source],
    estimand: Estimand,
    moderators: str | Iterable[str] = (),
    *,
    reading: str = "",
) -> xr.Dataset:
    """Effects of printed studies and fits: ``estimate``, ``error`` (row), ``design`` (row, term).

    Coordinates of ``row``: study, level, setting, year, locator and how the error was found.
    Raises ``BadInput`` for a kind that is not pooled and where fewer than two studies remain.
    """
    if estimand.kind not in TAKEN:
        allowed = ", ".join(TAKEN)
        raise BadInput(Fault("not pooled as an effect", value=str(estimand), allowed=allowed))
    between, within = moderators_of(moderators)
    left = Left()
    rows: list[dict[str, Any]] = []
    for one in left.kept(given, between):
        rows += _rows(one, estimand, within, reading, left)
    left.enough((row["study"] for row in rows), str(estimand))
    data = xr.Dataset(
        {"estimate": ("row", [row["estimate"] for row in rows]),
         "error": ("row", [row["error"] for row in rows])},
        {**row_coords(rows, given),
         **{name: ("row", [row[name] for row in rows]) for name in ("locator", "how")}},
        {"between": list(between), "within": within, "left_out": left.why,
         "estimand": str(estimand), "reading": reading},
    )  # fmt: skip
    return with_cohorts(with_design(data), [row["cohort"] for row in rows])


def with_cohorts(data: xr.Dataset, cohorts: Sequence[Cohort | None]) -> xr.Dataset:
    """Add likelihoods of cohorts as normals: ``at``, ``log_weight`` (row, point), ``width`` (row).

    Nothing where there is no cohort, or where a moderator or several rows of a study ask for the
    normal approximation, which ``how`` then says.
    """
    if all(one is None for one in cohorts):
        return data
    if data.sizes["term"] > 1 or len(set(data["study"].values)) < data.sizes["row"]:
        how = [f"{text}{', as a normal' if one else ''}"
               for text, one in zip(data["how"].values, cohorts, strict=True)]  # fmt: skip
        return data.assign_coords(how=("row", how))
    shape = data.sizes["row"], POINTS
    at, weight = np.zeros(shape), np.full(shape, -1e9)
    at[:, 0], weight[:, 0] = data["estimate"].values, 0.0
    width = data["error"].values.copy()
    for row, cohort in enumerate(cohorts):
        if cohort is not None:
            at[row], weight[row], width[row] = cohort.normals()
    return data.assign(
        at=(("row", "point"), at), log_weight=(("row", "point"), weight), width=("row", width)
    )


def with_design(data: xr.Dataset) -> xr.Dataset:
    """Add ``design`` (row, term): the centre, then contrasts of the moderators."""
    settings = [str(one) for one in data["setting"].values]
    x, names = between_design(data, settings, data["year"].values)
    levels = levels_of(data)
    basis = contrasts(levels) if data.attrs["within"] else np.zeros((len(levels), 0))
    none = np.zeros(basis.shape[1])
    inside = [basis[levels.index(v)] if v else none for v in map(str, data["level"].values)]
    names += [f"{data.attrs['within']} {c + 1}" for c in range(basis.shape[1])]
    full = np.column_stack([np.ones(data.sizes["row"]), x, np.array(inside)])
    return data.assign(design=(("row", "term"), full)).assign_coords(term=["centre", *names])


def _rows(
    one: Source, estimand: Estimand, within: str, reading: str, left: Left
) -> Iterator[dict[str, Any]]:
    known = _printed(one, within, estimand, reading)
    if not known:
        what = f" ({reading})" if reading else ""
        by = f" by {within}" if within else ""
        left.out(one, f"{estimand}{by}{what} is not printed")
        return
    reasons = []
    for level, printed in known.items():
        found = _error(printed, estimand)
        if printed.cohort is not None:
            found = printed.p, printed.locator
        if isinstance(found, str):
            reasons.append(found)
            continue
        error, how = found
        yield {
            "study": one.name, "level": level, "estimate": float(np.log(printed.value)),
            "error": error, "how": how, "locator": printed.locator, "cohort": printed.cohort,
        }  # fmt: skip
    if len(reasons) == len(known):
        left.out(one, reasons[0])


def _error(printed: Printed, estimand: Estimand) -> tuple[float, str] | str:
    """Standard error of the logarithm and how it was found, or why there is none."""
    if not printed.value > 0:
        return "the printed value is not above 0"
    if printed.lower > 0 and np.isfinite(printed.upper):
        low, high = np.log([printed.lower, printed.upper])
        error = (high - low) / (2 * Z)
        off = abs(np.log(printed.value) - (low + high) / 2) / error
        how = "from its 95 % CI"
        return error, how + (f", whose middle is {off:.1f} SE off" if off > OFF_MIDDLE else "")
    if estimand.kind == "median" and printed.events > 0:
        return float(printed.events**-0.5), "exponential: 1 / sqrt(events)"
    if estimand.kind != "median" and 0 < printed.p < 1 and printed.value != 1:
        error = abs(np.log(printed.value)) / stats.norm.isf(printed.p / 2)
        return float(error), "from its P value"
    return "neither interval nor exact P is printed"


def _printed(one: Source, within: str, estimand: Estimand, reading: str) -> dict[str, Printed]:
    """What a study has of an estimand, by level of the factor within studies."""
    cells = _cells_of(one.patients)
    if cells is not None and estimand.kind == "hazard_ratio":
        return _cohorts(one, cells, within, estimand, reading)
    if isinstance(one.patients, Fitted):
        return _fitted(one.patients, within, estimand)
    if one.study is None:
        remedy = "give the fit: {'hospital': hb.fit_survival(...)}"
        raise BadInput(Fault("patients have no effect yet", value=one.name, remedy=remedy))
    found: dict[str, Printed] = {}
    for row in one.study.ledger.to_dict("records"):
        if not row["estimand"] or row["reading"] != reading or np.isnan(row["value_number"]):
            continue
        asked = parse(str(row["estimand"]))
        level = _level(asked, estimand, within)
        if level is None or (level in found and not np.isnan(found[level].lower)):
            continue  # the first row with an interval, else the first
        p = row["p_number"] if row["p_relation"] == "=" else float("nan")
        values = (row["value_number"], row["lower_number"], row["upper_number"])
        if asked.contrast != estimand.contrast:
            values = 1 / values[0], 1 / values[2], 1 / values[1]
        events = _events(one.study, estimand, within, level)
        here = Printed(*values, p, str(row["locator"]), events)
        if level not in found or not np.isnan(here.lower):
            found[level] = here
    return found


def _fitted(fit: Fitted, within: str, estimand: Estimand) -> dict[str, Printed]:
    """Classical estimates of one's own patients: a fit's posterior has a prior in it already."""
    table = fit.classical()
    found: dict[str, Printed] = {}
    for row in table.to_dict("records"):
        asked = parse(str(row["estimand"]))
        level = _level(asked, estimand, within)
        if level is None or level in found or pd.isna(row["reproduced"]):
            continue
        values = (row["reproduced"], row["reproduced_lower"], row["reproduced_upper"])
        if asked.contrast != estimand.contrast:
            values = 1 / values[0], 1 / values[2], 1 / values[1]
        value, low, high = map(float, values)
        found[level] = Printed(value, low, high, float("nan"), "patients")
    return found


def _cells_of(patients: Any) -> xr.Dataset | None:
    """SurvivalCells of a fit or as they are; None for other patients, and for competing causes."""
    found = getattr(patients, "cells", None) if isinstance(patients, Fitted) else patients
    if not isinstance(found, xr.Dataset) or "cause" in found.dims:
        return None
    return found if {"events", "person_months"} <= set(found) else None


def _cohorts(
    one: Source, cells: xr.Dataset, within: str, estimand: Estimand, reading: str
) -> dict[str, Printed]:
    """Events and person-months of the two groups, by level of the factor within studies."""
    contrast, given = estimand.contrast, estimand.conditions
    endpoint = str(cells.attrs.get("endpoint", estimand.outcome))
    factors = [str(dim) for dim in cells.dims if dim != "interval"]
    known = {name: [str(v) for v in cells[name].values] for name in factors}
    if contrast is None or endpoint != estimand.outcome or contrast.factor not in known:
        return {}
    groups = [contrast.a, contrast.b]
    asked = [(contrast.factor, name) for name in groups] + list(given.items())
    if any(level not in known.get(factor, ()) for factor, level in asked):
        return {}
    if within and within not in known:
        return {}
    found: dict[str, Printed] = {}
    for level in known[within] if within else [""]:
        at = {**given, **({within: level} if within else {})}
        here = cells[["events", "person_months"]].sel({**at, contrast.factor: groups})
        rest = [name for name in factors if name not in (*at, contrast.factor)]
        if reading and not rest:
            return {}  # nothing to adjust for
        here = here if reading else here.sum(rest)
        flat = [here[name].transpose(..., contrast.factor).values.reshape(-1, 2)
                for name in ("events", "person_months")]  # fmt: skip
        made = Cohort(*flat)
        if made.events.sum():
            found[level] = _of_cohort(made)
    return found


def _of_cohort(cohort: Cohort) -> Printed:
    events = "/".join(f"{n:g}" for n in cohort.events.sum(0))
    said = f"likelihood of its {events} events by interval"
    known = cohort.estimate()
    if known is None:  # a group without events: half of one is added to be shown, not to be fitted
        share = cohort.months.sum(0) / cohort.months.sum()
        known = Cohort(np.vstack([cohort.events, 0.5 * np.ones(2)]),
                       np.vstack([cohort.months, share])).estimate()  # fmt: skip
        said += "; shown with half an event added"
    assert known is not None
    value, low, high = (float(np.exp(known[0] + z * known[1])) for z in (0, -Z, Z))
    return Printed(value, low, high, known[1], said, cohort=cohort)


def _level(asked: Estimand, wanted: Estimand, within: str) -> str | None:
    """Level under which ``asked`` is ``wanted`` (empty: all patients); None where it is not."""
    conditions = asked.conditions
    level = conditions.pop(within, "") if within else ""
    if within and not level:
        return None
    turned = _turned(wanted)
    for form in (wanted, *([turned] if turned else [])):
        if replace(asked, given=tuple(conditions.items())) == form:
            return level
    return None


def _turned(asked: Estimand) -> Estimand | None:
    """The same ratio the other way round."""
    if asked.contrast is None or not asked.contrast.a or asked.kind == "median":
        return None
    swapped = Contrast(asked.contrast.factor, asked.contrast.b, asked.contrast.a)
    return replace(asked, contrast=swapped)


def _events(study: Study, estimand: Estimand, within: str, level: str) -> float:
    table = study.survival
    if estimand.kind != "median" or table.empty:
        return float("nan")
    given = dict(estimand.given) | ({within: level} if within else {})
    if len(given) > 1:
        return float("nan")
    factor, value = next(iter(given.items()), ("", ""))
    rows = table[(table["endpoint"] == estimand.outcome) & (table["factor"] == factor)
                 & (table["level"] == value)]  # fmt: skip
    known = rows["events"].dropna()
    return float(known.iloc[0]) if len(known) else float("nan")


@dataclass(frozen=True, repr=False, eq=False)
class EffectsFit(OfRows):
    """An effect in an average, a new and every study; the posterior is computed, not sampled.

    ``data`` are Effects (``effect_rows``).
    """

    data: xr.Dataset

    @property
    def title(self) -> str:
        """What was pooled, in words."""
        words = in_words(self.about.question)
        return f"{words[:1].upper()}{words[1:]}, in {len(self.names)} studies"

    @property
    def question(self) -> Estimand:
        """The estimand that is pooled."""
        return parse(self.about.question)

    @property
    def model(self) -> RandomEffects:
        """The model and its data."""
        return RandomEffects.of(self.data, self.used)

    @property
    def rows(self) -> xr.Dataset:
        """Effects."""
        return self.data

    def judged(self, draws: xr.DataArray) -> FitLike:
        """Independent draws: nothing can be wrong with them but their number."""
        return Independent(ExactFit("random_effects", self.inputs), draws)

    @property
    def inputs(self) -> dict[str, Any]:
        """All numbers the posterior depends on."""
        return _inputs(self.data, self.used, self.sampling)

    def drawn(
        self, asked: list[Estimand], group: str = "posterior"
    ) -> Mapping[Estimand, xr.DataArray]:
        """Draws (chain, draw) of the effect on its natural scale (a ratio, months)."""
        raise_if([fault for one in asked if (fault := self._fault(one))])
        return {one: self._one(one, group) for one in asked}

    def _one(self, asked: Estimand, group: str) -> xr.DataArray:
        draws = self.fit.posterior if group == "posterior" else self.fit.prior
        if asked.kind == "heterogeneity":
            return draws["tau"].sel(spread="study", drop=True)
        study, where = place(asked)
        level, setting = where.get(self.about.within, ""), where.get("setting", "")
        if study in self.names:
            rows = (self.data["study"].values == study) & (self.data["level"].values == level)
            found = draws["effect"].isel(row=int(np.flatnonzero(rows)[0]), drop=True)
        else:
            basis = contrasts(self.levels) if self.about.within else np.zeros((1, 0))
            here = basis[self.levels.index(level)] if level else np.zeros(basis.shape[1])
            weight = xr.DataArray(
                np.concatenate([[1.0], at_average(self.data, setting), here]), dims="term"
            )
            found = (draws["beta"].drop_vars("term") * weight).sum("term")
            if study == NEW:
                found = found + draws["new"].sum("spread")
        turned = asked.contrast != self.question.contrast
        return xr.DataArray(np.exp(-found if turned else found)).transpose("chain", "draw")

    def _fault(self, asked: Estimand) -> Fault | None:
        known = [str(one) for one, _ in self.asked()]
        if asked.kind == "heterogeneity":
            return None
        study, where = place(asked)
        bare = replace(asked, given=())
        same = replace(self.question, given=())
        wrong = bare not in (same, _turned(same))
        wrong |= study not in (AVERAGE, NEW, *self.names)
        level = where.pop(self.about.within, "") if self.about.within else ""
        wrong |= level not in (*self.levels, "")
        setting = where.pop("setting", "")
        wrong |= setting not in (*self.settings_asked, "")
        wrong |= where != self.question.conditions
        if not wrong and study in (AVERAGE, NEW) and (missing := self.needed(asked.conditions)):
            problem = f"no {' and no '.join(missing)} is said"
            return Fault(problem, value=str(asked), allowed="; ".join(known[:8]))
        if not wrong and study in self.names and level not in self.data["level"].values[
            self.data["study"].values == study]:  # fmt: skip
            wrong = True
        return not_answered(asked, self.family, known) if wrong else None

    def asked(self) -> Iterator[tuple[Estimand, str]]:
        """Average, new study, spread, then each study."""
        for study, note in ((AVERAGE, "middle of the studies"), (NEW, "a study not among these")):
            for where in self.places():
                yield at(self.question, study, **where), note
        spread = Estimand("heterogeneity", self.question.outcome, contrast=Contrast(STUDY))
        yield spread, "standard deviation between studies of the logarithm"
        for row in range(self.data.sizes["row"]):
            one = self.data.isel(row=row)
            where = self.level(str(one["level"].item()))
            note = f"drawn towards the others; printed {self.printed(row)}"
            yield at(self.question, str(one["study"].item()), **where), note

    def printed(self, row: int) -> str:
        """Estimate and 95 % confidence interval that a row enters with, in words."""
        value, low, high = self.entered(row)
        return f"{interval(value, low, high)}, {self.data['how'].values[row]}"

    def entered(self, row: int) -> tuple[float, float, float]:
        """Estimate and 95 % confidence interval that a row enters with, on the natural scale."""
        y, e = float(self.data["estimate"].values[row]), float(self.data["error"].values[row])
        return float(np.exp(y)), float(np.exp(y - Z * e)), float(np.exp(y + Z * e))

    def unit(self, asked: Estimand) -> str | None:
        """Months for a median."""
        own = KINDS[asked.kind].unit is None and asked.kind != "heterogeneity"
        return "months" if own else super().unit(asked)

    def pooled(self) -> Iterator[tuple[str, tuple[Pooled, ...]]]:
        """Level and what the classical methods make of its rows, where there are two studies."""
        for level in self.levels:
            rows = self.data["level"].values == level
            if rows.sum() > 1:
                yield level, pooled(self.data["estimate"].values[rows],
                                    self.data["error"].values[rows])  # fmt: skip

    def classical(self) -> pd.DataFrame:
        """Each study as printed; as the average, random effects by REML with Hartung-Knapp."""
        rows = list[dict[str, Any]]()
        unit = self.unit(self.question) or ""
        for row in range(self.data.sizes["row"]):
            one = self.data.isel(row=row)
            asked = at(
                self.question, str(one["study"].item()), **self.level(str(one["level"].item()))
            )
            rows.append(_classical_row(asked, self.entered(row), str(one["how"].item()), unit))
        for level, found in self.pooled():
            last = found[-1]
            values = tuple(float(np.exp(x)) for x in (last.estimate, last.lower, last.upper))
            asked = at(self.question, AVERAGE, **self.level(level))
            rows.append(_classical_row(asked, values, last.method, unit))
        return pd.DataFrame(rows)

    def pooling(self) -> pd.DataFrame:
        """Every classical method by name, with prediction interval, tau, I^2 and Cochran's Q."""
        return pd.DataFrame([
            {"level": level, "method": one.method, "estimate": np.exp(one.estimate),
             "lower": np.exp(one.lower), "upper": np.exp(one.upper),
             "prediction_lower": np.exp(one.prediction[0]),
             "prediction_upper": np.exp(one.prediction[1]), "tau": one.tau, "i2": one.i2,
             "q": one.q, "p": one.p, "studies": one.studies}
            for level, found in self.pooled() for one in found
        ])  # fmt: skip

    def influence(self) -> pd.DataFrame:
        """Leave each study out: what the others predict of it, exactly, and the average without."""
        number = self.sampling.chains * self.sampling.draws
        full = float(np.exp(np.median(self.fit.posterior["beta"].isel(term=0).values)))
        rows = []
        for study in self.names:
            own = self.data["study"].values == study
            made = self.model.draws(number, self.sampling.seed, np.flatnonzero(~own))
            rng = np.random.default_rng([self.sampling.seed, 5])
            for row in np.flatnonzero(own):
                error = float(self.data["error"].values[row])
                seen = made["effect"][:, row] + error * rng.standard_normal(number)
                low, mid, high = np.exp(np.quantile(seen, [0.025, 0.5, 0.975]))
                y = float(self.data["estimate"].values[row])
                rows.append({
                    "study": study, "level": str(self.data["level"].values[row]),
                    "observed": float(np.exp(y)), "predicted": mid, "lower": low, "upper": high,
                    "p": tail(seen, y), "average": full,
                    "average_without": float(np.exp(np.median(made["beta"][:, 0]))),
                })  # fmt: skip
        return pd.DataFrame(rows)

    def omitting(self, names: Sequence[str]) -> EffectsFit:
        """The same analysis without these studies, whose effects are predicted."""
        kept = np.flatnonzero(~np.isin(self.data["study"].values, list(names)))
        return _computed(self.data, self.about, self.used, self.sampling, kept)

    def under(self, priors: Mapping[str, Prior]) -> EffectsFit:
        """The same analysis under other priors."""
        return _computed(self.data, self.about, priors, self.sampling)

    def small_studies(self) -> tuple[float, float]:
        """Egger's regression of estimates on standard errors: t and P; NaN under three studies."""
        return egger(self.data["estimate"].values, self.data["error"].values)

    @property
    def tables(self) -> Mapping[str, pd.DataFrame]:
        """Studies, classical pooling, influence, prior sensitivity."""
        return {**super().tables, "pooling": self.pooling()}

    @property
    def figures(self) -> Figures:
        """``forest()``: each study as printed and drawn towards the others; ``funnel()``."""
        return Figures({"forest": lambda **more: effects_forest(self, **more),
                        "funnel": lambda **more: funnel(self, **more)})  # fmt: skip

    def section(self) -> Section:
        """This analysis as a section of a report."""
        return _section(self)

    def contract(self) -> Mapping[str, xr.Dataset]:
        """Effects."""
        return {"effects": self.data}

    @classmethod
    def made(cls, contract: Mapping[str, xr.Dataset], about: About, fit: Fit, sampling: Sampling,
             used: Mapping[str, Prior]) -> Self:  # fmt: skip
        """Make the object of its parts."""
        said = {"between": list(about.between), "within": about.within,
                "left_out": dict(about.left_out), "estimand": about.question,
                "reading": about.reading}  # fmt: skip
        return cls(about, fit, sampling, used, contract["effects"].assign_attrs(said))


def fit_effects(
    data: xr.Dataset, about: About, priors: Mapping[str, Prior] | None, sampling: Sampling
) -> EffectsFit:
    """Compute the posterior of Effects; ``BadInput`` for an unknown prior."""
    times = KINDS[parse(about.question).kind].unit is None
    used = {**({"centre": OF_TIMES} if times else {}), **(priors or {})}
    return _computed(data, about, used, sampling).checked()


def _computed(
    data: xr.Dataset, about: About, priors: Mapping[str, Prior], sampling: Sampling,
    rows: np.ndarray | None = None,
) -> EffectsFit:  # fmt: skip
    model = RandomEffects.of(data, priors)
    tree = model.tree(sampling.chains, sampling.draws, sampling.seed, rows)
    named = ExactFit("random_effects", _inputs(data, model.priors, sampling))
    provenance = {"fit_id": named.fit_id, "model": named.model, **named.inputs}
    needed = ["centre", *model.spreads, *(["moderator"] if data.sizes["term"] > 1 else [])]
    kept = {name: one for name, one in model.priors.items() if name in needed}
    return EffectsFit(about, Fit(tree, provenance), sampling, kept, data)


def _inputs(data: xr.Dataset, priors: Mapping[str, Prior], sampling: Sampling) -> dict[str, Any]:
    return {
        "estimates": data["estimate"].values.tolist(), "errors": data["error"].values.tolist(),
        "studies": data["study"].values.tolist(), "design": data["design"].values.tolist(),
        "priors": {name: str(one) for name, one in priors.items()}, "seed": sampling.seed,
        "draws": sampling.chains * sampling.draws,
        **({"cohorts": data["log_weight"].values.tolist()} if "at" in data else {}),
    }  # fmt: skip


def _classical_row(
    asked: Estimand, values: Sequence[float], method: str, unit: str
) -> dict[str, Any]:
    value, low, high = values
    return {
        "estimand": str(asked), "statistic": asked.kind, "reproduced": value,
        "reproduced_lower": low, "reproduced_upper": high, "method": method, "unit": unit,
        "note": "",
    }  # fmt: skip


def effects_forest(fit: EffectsFit) -> Canvas:
    """Forest of an effect, by study and level."""
    asked = fit.question
    names, studies, levels = (map(str, fit.data[c].values) for c in ("row", "study", "level"))
    rows = [(name, at(asked, study, **fit.level(level)))
            for name, study, level in zip(names, studies, levels, strict=True)]  # fmt: skip
    lines = lines_of(fit, [*rows, *wholes(fit, asked)])
    return forest(lines, _axis(fit), ratio=fit.unit(asked) is None)


def _axis(fit: EffectsFit) -> str:
    asked = fit.question
    words = asked.kind.replace("_", " ")
    if asked.contrast and asked.contrast.a:
        words += f", {asked.contrast.a} vs {asked.contrast.b}"
    return f"{words[:1].upper()}{words[1:]} ({asked.outcome})" if asked.outcome else words


def funnel(fit: EffectsFit) -> Canvas:
    """Estimates against their standard errors, with what the average and no spread would give."""
    from matplotlib.ticker import FuncFormatter, NullLocator

    with style.drawing():
        figure, axes = style.new_figure(420, 300)
        y, e = np.exp(fit.data["estimate"].values), fit.data["error"].values
        middle = float(np.median(fit.fit.posterior["beta"].isel(term=0)))
        ends = np.array([0.0, e.max() * 1.1])
        for side in (-1.96, 1.96):
            axes.plot(np.exp(middle + side * ends), ends, color=style.MUTED, linewidth=1)
        axes.axvline(np.exp(middle), color=style.VERMILLION, linewidth=1)
        axes.plot(y, e, "o", color=style.BLUE)
        axes.set(xscale="log", ylim=(ends[1], 0), xlabel=_axis(fit),
                 ylabel="standard error of the logarithm")  # fmt: skip
        low, high = axes.get_xlim()
        known = (0.1, 0.2, 0.3, 0.5, 0.7, 1, 1.5, 2, 3, 5, 10, 20, 50, 100)
        axes.set_xticks([x for x in known if low <= x <= high])
        axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
        axes.xaxis.set_minor_locator(NullLocator())
    return figure


_POOLING = (
    "95 % confidence and prediction intervals, with the quantile of the method (t with "
    "Hartung-Knapp, else normal)."
)


def _section(fit: EffectsFit) -> Section:
    """Report an effect over studies."""
    asked = fit.question
    where = {fit.about.within: fit.levels[0]} if fit.about.within else {}
    average, new = (said(fit, at(asked, study, **where)) for study in (AVERAGE, NEW))
    level = f" at {fit.about.within} {fit.levels[0]}" if where else ""
    t, p = fit.small_studies()
    first = (
        f"In the average of {len(fit.names)} studies{level} it is {average}; a new study may "
        f"expect {new} (95 % credible and predictive intervals)."
    )
    k = len(fit.names)
    few = "" if k > 4 else (
        f" With {k} studies the spread between them rests mostly on its prior: read the table of "
        "priors."
    )  # fmt: skip
    small = "" if np.isnan(t) else f" Small studies: Egger's regression P {p_value(p)}."
    lines = [first + few, " ".join(refitted(fit)) + small]
    key = ("The posterior is computed by quadrature over the spreads, without sampling.",)
    card = exact_card(ExactFit("random_effects", fit.inputs), fit.title,
                      {n: f"{p}: {w}" for n, (p, w) in fit.priors().items()})  # fmt: skip
    card["diagnostics"] = {"Method": "quadrature over the spreads; independent draws"}
    return Section(
        id="synthesis", title=f"{len(fit.names)} studies: {_axis(fit)}",
        paragraphs=(*lines, *key),
        figures=(Figure("figure-synthesis", "Studies, their average and a new study",
                        svg(effects_forest(fit)), KEY),
                 Figure("figure-funnel", "Estimates by standard error", svg(funnel(fit)),
                        "Grey: 95 % limits around the average if studies did not differ.")),
        tables=(Table("Classical pooling", fit.pooling(), _POOLING),
                *refitted_tables(fit, "")),
        fits=(card,),
    )  # fmt: skip
