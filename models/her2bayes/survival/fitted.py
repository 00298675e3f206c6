"""The public door of the room: ``fit_survival``, and the fitted analysis that answers."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, fields, replace
from functools import cached_property, partial
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, ClassVar

import pandas as pd
import xarray as xr

from her2bayes.bayes.prior import Prior
from her2bayes.errors import BadInput, Fault
from her2bayes.estimand import Estimand, parse
from her2bayes.evidence.patients.event_codes import Codes
from her2bayes.evidence.patients.external_survival import landmark_counts, read_landmarks
from her2bayes.evidence.patients.follow_up import FollowUp, factor_name, open_table
from her2bayes.evidence.patients.survival_cells import time_counts
from her2bayes.inference import fit
from her2bayes.inference.estimates import estimates_table
from her2bayes.inference.fit import GROUPS, Fit
from her2bayes.inference.own_model import is_own, own_model
from her2bayes.inference.progress import told
from her2bayes.inference.sampling import Sampling, Settings
from her2bayes.inference.store import Store, data_digest
from her2bayes.page.fit_card import stated_priors
from her2bayes.page.report import slug
from her2bayes.results.fitted import Asked, Figures, Fitted, tuples
from her2bayes.survival import borrowing as choices
from her2bayes.survival import borrowing_section, comparison, drawings, section
from her2bayes.survival import comparison as checks
from her2bayes.survival.analysis import Analysis, prepare
from her2bayes.survival.borrowing import Borrowed, Borrowing
from her2bayes.survival.doors import (
    MODELS,
    Reading,
    Specification,
    cohort_text,
    cut_scheme,
    elicited,
    read,
)
from her2bayes.survival.sensitivity import target
from her2bayes.survival.survival import build

if TYPE_CHECKING:
    from her2bayes.evidence.printed.tables import Conclusion
    from her2bayes.page.report import Part
    from her2bayes.page.section import Section
    from her2bayes.sensitivity.target import Target
    from her2bayes.survival.comparison import PatientElpd

TARGET_ACCEPT = 0.95
By = str | Sequence[str] | Mapping[str, Sequence[str] | None] | None
Say = Callable[[str], None]


@told
def fit_survival(
    data: Any,
    *,
    time: str = "",
    event: str = "",
    by: By = None,
    outcome: str = "",
    title: str = "",
    map: str = "",  # noqa: A002 (the flag's name)
    entry: str = "",
    cause: str = "",
    patient: str = "",
    model: str | Path | ModuleType = "ph",
    cuts: str | int | Sequence[float] = "quantile",
    nested: Mapping[str, str] | None = None,
    frailty: str | Sequence[str] = (),
    reference: Mapping[str, str] | None = None,
    interactions: bool = True,
    times: Sequence[float] = (),
    time_unit: str = "months",
    event_code: str = "",
    censored_code: str | Sequence[str] = (),
    missing: Mapping[str, Sequence[str]] | None = None,
    ignore_entry: bool = False,
    member: str = "",
    nonpositive: str = "refuse",
    longest: float = 600.0,
    prior_median: Sequence[float] = (),
    landmarks: str | Path | pd.DataFrame | None = None,
    external: str | Path | Sequence[str | Path] = (),
    external_member: str = "",
    robust_weight: float | None = None,
    discount: Sequence[float] = (),
    operating_characteristics: int = 0,
    scheduler: str = "",
    priors: Mapping[str, Prior] | None = None,
    sampling: Sampling | None = None,
    seed: int = 20230221,
    quick: bool = False,
    store: str | Path | Store | None = None,
    say: Say = lambda _: None,
    progress: bool = False,  # read by ``told``
) -> FittedSurvival:
    """Fit hierarchical piecewise-exponential hazards to patients followed over time.

    ``data`` is a path (CSV, TSV, Parquet, a folder of Parquet files), a data frame (pandas, Polars,
    Arrow), what ``read_patients`` read, the folder of a study with ``map``, or a ``FollowUp``.
    Patients become events and person-months by group and interval before anything is fitted: the
    cost does not depend on their number.

    Who and when
        ``time``, ``event``, ``entry``, ``cause``, ``patient`` name columns; with a ``map`` that
        declares endpoints, ``time`` names one of them and the rest follows. With ``entry`` patients
        count from that time on (delayed entry); with ``cause`` events have competing causes; with
        ``patient`` several rows are periods of one patient. ``by``: a factor, a list of factors, or
        factor -> levels in order (None: as found); others are left out. The first factor may act
        differently in each level of the others (``interactions``). ``outcome`` names the endpoint
        in estimands: by default the time's column without "_months", "_days" or "_time" ("os" of
        "os_months"), or the map's endpoint. Times are in ``time_unit``: days, weeks, months, years;
        everything that comes out is in months.
    What
        ``model``: "ph" (hazard ratios constant in time), "nonph" (those of the first factor
        change), or a file (or module) of yours with ``DEFAULT_PRIORS``, ``build(cells, priors)``
        and, where it gives no variable ``log_hazard`` over the cells, ``draws``. ``cuts``:
        "quantile" (equal events in 40 intervals), "equal:20", a number, or months. ``nested``:
        factor -> the coarser one it refines. ``frailty``: exchangeable groups (centres).
        ``reference``: factor -> level that others are compared with (the first). ``times``:
        landmarks in months. ``prior_median``: median survival expected with 95 % limits, months;
        ``priors``: any prior by name. ``landmarks``: survival known from elsewhere (CSV).
    Patients elsewhere
        ``external``: files with the same columns. Survival under every choice of borrowing is then
        ``fit.borrowed``; ``robust_weight`` has no default.

    ``quick`` draws less and is for trying; ``store`` is a folder in which an equal fit is found
    again; ``say`` gets lines on the cohort and on progress. Raises ``BadInput`` with every fault
    that is found, before the first draw.

    With ``progress`` stderr says what is being waited for.

    >>> import her2bayes as hb
    >>> os = hb.fit_survival(patients, time="os_months", event="os_event",
    ...                      by={"her2": ["zero", "low", "positive"]})  # doctest: +SKIP
    >>> os.draws("hazard_ratio[os ; her2: positive vs zero]").mean()  # doctest: +SKIP

    Model: Holford 1980; Laird & Olivier 1981 (``survival.survival``).
    """
    if not time and not isinstance(data, FollowUp):
        remedy = 'name the column of follow-up time, or a map\'s endpoint: time="os_months"'
        raise BadInput(Fault("no time is named", column="time", remedy=remedy))
    scheme, intervals = cut_scheme(cuts)
    own = own_model(model) if is_own(model) else None
    asked = Specification(
        model=own.name if own else str(model),
        own=own,
        interactions=interactions,
        nested=dict(nested or {}),
        frailty=tuple(factor_name(name) for name in _several(frailty)),
        cuts=scheme,
        intervals=intervals,
        reference=dict(reference or {}),
        times=tuple(float(t) for t in times),
        priors={**elicited(prior_median), **(priors or {})},
        landmarks=read_landmarks(landmarks) if isinstance(landmarks, str | Path) else landmarks,
    )
    how = Reading(
        time=time, event=event, by=_factors(by), entry=entry, cause=cause, patient=patient,
        time_unit=time_unit, event_code=event_code, censored_code=_several(censored_code),
        missing=missing or {}, ignore_entry=ignore_entry, member=member, nonpositive=nonpositive,
        longest=longest, frailty=_several(frailty), map=map, outcome=outcome,
    )  # fmt: skip
    borrowing = Borrowing(robust_weight, tuple(discount), operating_characteristics, scheduler)
    settings = sampling or Settings(seed, quick, TARGET_ACCEPT).sampling
    kept = Store(Path(store)) if isinstance(store, str | Path) else store
    patients = read(data, how)
    asked = replace(asked, study=slug(patients.name), title=title or patients.title)
    follow_up = patients.follow_up
    files = [external] if isinstance(external, str | Path) else external
    elsewhere = choices.read(
        [Path(file) for file in files], follow_up, how.factors, borrowing, asked,
        {**patients.columns, "member": external_member},
    )  # fmt: skip
    for name, cohort in {asked.title: follow_up, **elsewhere}.items():
        for line in cohort_text(cohort, name):
            say(line)
    say("aggregating")
    prepared = prepare(follow_up, asked)
    say(f"fitting {follow_up.patients} patients, {follow_up.events} events")
    analysis = prepared.with_fit(prepared.model.fit(settings, kept))
    say("estimating")
    borrowed = None
    if elsewhere:
        borrowed = choices.borrow(analysis, elsewhere, borrowing, kept, settings, say)
    return FittedSurvival(analysis, settings, patients.about, borrowed, kept)


def _several(given: str | Sequence[str]) -> tuple[str, ...]:
    return (given,) if isinstance(given, str) else tuple(given)


def _factors(by: By) -> dict[str, Sequence[str] | None]:
    """Factors with their levels in order; None: as found."""
    if by is None:
        return {}
    return dict(by) if isinstance(by, Mapping) else dict.fromkeys(_several(by))


class FittedSurvival(Fitted):
    """Survival across subgroups of patients, fitted: see ``fit_survival``.

    ``analysis`` holds the contracts (``cells``, ``counts``) and what was asked; ``borrowed`` every
    choice of borrowing where there are patients elsewhere. ``tree`` has the cells' Poisson
    likelihood in ``log_likelihood``: right for ``az.psense_summary``, while ``az.loo`` of it leaves
    out cells, not patients. Patients are left out by ``elpd``, and ``patient_tree`` is for
    ``az.loo`` of patients.
    """

    family: ClassVar[str] = "survival"

    def __init__(
        self,
        analysis: Analysis,
        sampling: Sampling,
        about: Mapping[str, str] | None = None,
        borrowed: Borrowed | None = None,
        store: Store | None = None,
    ) -> None:
        self.analysis, self.sampling, self.about = analysis, sampling, dict(about or {})
        self.borrowed, self.store = borrowed, store

    @property
    def title(self) -> str:
        """What was fitted, of whom."""
        of, asked = self.analysis.follow_up, self.analysis.specification
        by = f" by {', '.join(of.factors)}" if of.factors else ""
        model = {"ph": "ratios constant", "nonph": "ratios change over time"}.get(asked.model)
        return (
            f"{self.analysis.endpoint}{by}: {of.patients:,} patients, {of.events:,} events "
            f"({asked.title}); "
            + (f"piecewise-exponential hazards, {model}" if model else f"model {asked.model}")
        )

    @property
    def fits(self) -> Mapping[str, Fit]:
        """The one fit of the own patients."""
        return {"survival": self.analysis.fit}

    @property
    def converged(self) -> bool:
        """Whether every row passes the convergence verdict, those of borrowing included."""
        return super().converged and not (self.borrowed and self.borrowed.failed)

    @property
    def cells(self) -> xr.Dataset:
        """SurvivalCells: ``events`` and ``person_months`` by (groups..., interval)."""
        return self.analysis.cells

    def drawn(self, asked: list[Estimand], group: str) -> Mapping[Estimand, xr.DataArray]:
        """Draws of estimands, in one pass over the groups of the cells."""
        found: Mapping[Estimand, xr.DataArray] = self.analysis.draws(asked, group)
        return found

    def estimates(self, estimands: Iterable[Asked] | None = None) -> pd.DataFrame:
        """One row an estimand: posterior and prior median with 95 % limits, P of the named event.

        Without ``estimands`` everything the report holds: survival at the landmarks, restricted
        means, medians, differences, hazard ratios, orderings, spreads. Percentages for survival and
        incidence, months for times.
        """
        if estimands is None:
            return self.analysis.estimates
        asked = [parse(one) if isinstance(one, str) else one for one in estimands]
        return estimates_table(list(self.analysis.rows(asked)))

    def classical(self, *, variants: bool = False) -> pd.DataFrame:
        """Kaplan–Meier, RMST, log-rank, Cox of the same patients, keyed by estimand.

        With ``variants`` every variant: intervals of three kinds, the weights of the log-rank
        family, rules of ties, tests of proportional hazards; with causes Aalen–Johansen and Gray.
        """
        return self.analysis.variants if variants else self.analysis.classical

    @property
    def figures(self) -> Figures:
        """``survival(factor)``, ``hazard(factor)``, ``hazard_ratio(factor)``, ``forest(level)``."""
        return Figures({n: partial(draw, self.analysis) for n, draw in drawings.DRAWINGS.items()})

    def section(self) -> Section:
        """Survival across subgroups as a section of a report."""
        return section.section(self.analysis)

    @property
    def tables(self) -> dict[str, pd.DataFrame]:
        """Predictive check of the first factor, and what was borrowed."""
        return {"checks": self.checks, **(self.borrowed.tables if self.borrowed else {})}

    def part(
        self, *, tables: Mapping[str, pd.DataFrame] | None = None, suppress_below: int = 0
    ) -> Part:
        """This analysis as a part of a report, with further ``tables`` and what was borrowed.

        With ``suppress_below`` smaller counts are hidden, and nothing that comes from patients
        directly is shown.
        """
        further = [borrowing_section.section(self.borrowed)] if self.borrowed else []
        found = {} if suppress_below else {**self.tables, **(tables or {})}
        return section.part(self.analysis, self.about, found, further, suppress_below)

    @property
    def settings(self) -> Settings:
        """Seed and length of the chains."""
        return Settings.of(self.sampling)

    def priors(self) -> Mapping[str, tuple[str, str]]:
        """Each prior that the model uses, as it is written, and what it says in clinical units."""
        stated = stated_priors(self.analysis.fit)
        of = self.analysis.specification
        if of.model not in MODELS:
            return stated
        drawn = [str(name) for name in self.analysis.fit.prior.data_vars]
        used = (n for n in of.defaults if any(name.startswith(n) for name in drawn))
        return {name: stated[name] for name in used if name in stated}

    @cached_property
    def checks(self) -> pd.DataFrame:
        """Kaplan–Meier survival by the first factor beside that of replicated cohorts.

        ``tail`` is the two-sided probability of a replicate as far out, at the landmarks.
        """
        name = next(iter(self.analysis.factors), "")
        return checks.predictive_check(self.analysis, name, self.sampling.seed)

    @cached_property
    def elpd(self) -> PatientElpd:
        """Expected log predictive density of patients left out one at a time (PSIS-LOO)."""
        of = self.analysis
        return comparison.patient_elpd(
            comparison.log_hazard_of(of.fit.posterior, of.cells), of.exits
        )

    @property
    def patient_tree(self) -> xr.DataTree:
        """Draws with the log density of every patient, for ``az.loo`` and ``az.compare``.

        Group ``log_likelihood`` has dims (chain, draw, patient). Raises ``BadInput`` where there
        are too many rows for one column each: ``elpd`` counts patients by class, whatever their
        number.
        """
        of = self.analysis
        if not of.exits.attrs.get("exact"):
            remedy = "fit.elpd leaves out patients by class, whatever their number"
            raise BadInput(Fault("too many patients for one column each", value=of.follow_up.rows,
                                 remedy=remedy))  # fmt: skip
        hazard = comparison.log_hazard_of(of.fit.posterior, of.cells)
        density, number = comparison.by_patient(comparison.log_density(hazard, of.exits), of.exits)
        sizes = [of.fit.posterior.sizes[dim] for dim in ("chain", "draw")]
        of_patients = density.repeat(number.astype(int), axis=1).reshape(*sizes, -1)
        groups = {n: self.tree[n].to_dataset() for n in ("posterior", "sample_stats")}
        dims = ("chain", "draw", "patient")
        return xr.DataTree.from_dict(
            groups | {"log_likelihood": xr.Dataset({of.endpoint: (dims, of_patients)})}
        )

    def compare_models(self, say: Say = lambda _: None) -> pd.DataFrame:
        """Constant against changing hazard ratios, and other intervals, by patient elpd."""
        return comparison.compare_models(self.analysis, self.store, self.sampling, say)

    def leave_out(self, factor: str = "", say: Say = lambda _: None) -> pd.DataFrame:
        """How well each level of a factor is predicted by a fit without its patients."""
        known = [*self.analysis.specification.frailty, *self.analysis.factors]
        name = factor or next(iter(known), "")
        return comparison.leave_one_group_out(self.analysis, name, self.store, self.sampling, say)

    def targets(self, conclusions: Sequence[Conclusion]) -> list[Target]:
        """The fitted cohort's model with its choices, those of the patients elsewhere too."""
        of = self.analysis
        if of.specification.model not in MODELS:
            problem = "a model of one's own declares no choices"
            raise BadInput(Fault(problem, value=of.specification.model, allowed="ph, nonph"))
        elsewhere = self.borrowed.external.follow_ups if self.borrowed else None
        return [target(of.follow_up, of.specification, conclusions, elsewhere=elsewhere)]

    def packed(self) -> xr.DataTree:
        """The fit's groups, the patients as counted rows, and what was asked as attributes."""
        return pack(self)

    @classmethod
    def unpacked(cls, tree: xr.DataTree) -> FittedSurvival:
        """Make the fit of a ``packed`` tree; borrowing and the store are not kept."""
        return unpack(tree)


PATIENTS = "patients_by_time"
_COUNTED = [one.name for one in fields(FollowUp) if one.name not in ("table", "codes")]
_ASKED = [
    one.name for one in fields(Specification) if one.name not in ("priors", "landmarks", "own")
]


def pack(fitted: FittedSurvival) -> xr.DataTree:
    """Everything of a fit as one tree; patients are rows by time with their number, as counted."""
    of = fitted.analysis
    groups = {f"fit/{n}": of.fit.tree[n].to_dataset() for n in GROUPS if n in of.fit.tree.children}
    rows = of.exits if of.follow_up.has_patient else of.counts
    # no group may be called like a variable: xarray 2026 would not load that variable
    groups |= {"cells": of.cells, PATIENTS: _dataset(rows)}
    asked = of.specification
    if asked.landmarks is not None:
        groups["landmarks"] = _dataset(asked.landmarks)
    tree = xr.DataTree.from_dict(groups)
    tree.attrs["survival"] = json.dumps(
        {
            "specification": {name: getattr(asked, name) for name in _ASKED},
            "priors": {n: [p.distribution, p.parameters] for n, p in of.model.priors.items()},
            "options": of.model.options,
            "horizon": of.horizon,
            "times": of.times,
            "reference": of.reference,
            "follow_up": {name: getattr(of.follow_up, name) for name in _COUNTED},
            "codes": [of.follow_up.codes.meaning, of.follow_up.codes.count],
            "sampling": asdict(fitted.sampling),
            "about": fitted.about,
            "provenance": of.fit.provenance,
        }
    )
    return tree


def unpack(tree: xr.DataTree) -> FittedSurvival:
    """Make a fit of a packed tree; ``BadInput`` where its cells are not those it was fitted to."""
    said = json.loads(tree.attrs["survival"])
    cells = tree["cells"].to_dataset()
    plain = {k: v.item() if hasattr(v, "item") else v for k, v in cells.attrs.items()}
    cells = cells.assign_attrs(plain)
    known = tree["landmarks"].to_dataset().to_dataframe() if "landmarks" in tree.children else None
    priors = {n: _prior(*written) for n, written in said["priors"].items()}
    asked = Specification(**tuples(said["specification"]), priors=priors, landmarks=known)
    data: Any = cells
    if known is not None:
        data = {"cells": cells, "landmarks": landmark_counts(known, cells, asked.study)}
    provenance = said["provenance"]
    if data_digest(data) != provenance["data"]:
        problem = "the patients in the file are not those of its fit"
        raise BadInput(Fault(problem, remedy="fit again, or take the file as saved"))
    kept = xr.DataTree.from_dict({n: node.to_dataset() for n, node in tree["fit"].children.items()})
    kept.attrs["provenance"] = json.dumps(provenance)
    follow_up = _follow_up(tree[PATIENTS].to_dataset().to_dataframe(), said)
    analysis = Analysis(
        specification=asked,
        cells=cells,
        fit=Fit(kept, provenance),
        horizon=said["horizon"],
        times=tuple(said["times"]),
        reference=said["reference"],
        follow_up=follow_up,
        counts=time_counts(follow_up),
        model=fit.Specification(build, data, priors, tuples(said["options"])),
    )
    return FittedSurvival(analysis, Sampling(**said["sampling"]), said["about"])


def _dataset(frame: pd.DataFrame) -> xr.Dataset:
    """Columns of a table as variables; text as objects, as NetCDF takes it."""
    text = frame.select_dtypes(exclude="number").columns
    return xr.Dataset(
        {
            str(name): ("row", frame[name].astype(str).to_numpy(object) if name in text
                        else frame[name].to_numpy())
            for name in frame.columns
        }
    )  # fmt: skip


def _follow_up(rows: pd.DataFrame, said: Mapping[str, Any]) -> FollowUp:
    """Follow-up of counted rows: each stands as often as it has patients."""
    counted = tuples(said["follow_up"])
    table = rows.loc[rows.index.repeat(rows["patients"].astype(int))].drop(columns="patients")
    if counted["has_patient"]:
        table = table.assign(patient=table.pop("history").astype(str))
    meaning, count = said["codes"]
    return FollowUp(table=open_table(table).table, codes=Codes(meaning, count), **counted)


def _prior(distribution: str, parameters: Sequence[tuple[str, Any]]) -> Prior:
    found = ((n, tuple(v) if isinstance(v, list) else v) for n, v in parameters)
    return Prior(distribution, tuple(found))
