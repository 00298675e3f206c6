"""The public door of the room: ``fit_joint``, and the fitted analyses that answer.

Over cohorts reconstructed from a paper the model is fitted to each, and the draws of all stand
together: multiple imputation. With M cohorts, an answer has mean m_d and variance w_d given cohort
d, m_d with Monte-Carlo error e_d; of its variance

    share = B / (B + W),    B = Var(m_d) - mean of e_d^2,    W = mean of w_d

is reconstruction uncertainty. Its own error is that of the jackknife over cohorts.
"""

from __future__ import annotations

import json
from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property, partial
from hashlib import sha256
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, overload

import numpy as np
import pandas as pd
import xarray as xr

from her2bayes.bayes.prior import Prior, complete, prior
from her2bayes.errors import BadInput, Fault, raise_if
from her2bayes.estimand import Contrast, Estimand, parse
from her2bayes.evidence.patients.cohort import ENDS
from her2bayes.evidence.patients.patients import Patients, Wanted, read_patients
from her2bayes.evidence.patients.survival_cells import horizon
from her2bayes.inference.convergence import Diagnostics, failed, of_several, verdict
from her2bayes.inference.estimates import Event, contraction, estimate, estimates_table
from her2bayes.inference.fit import Fit, Specification
from her2bayes.inference.progress import told
from her2bayes.inference.sampling import Sampling, Settings
from her2bayes.inference.store import Store
from her2bayes.joint import section as page
from her2bayes.joint.counts import (
    Counted,
    count_patients,
    with_assay,
    with_beliefs,
    without_follow_up,
)
from her2bayes.joint.draws import Answers, chained, log_density
from her2bayes.joint.her2_joint import DEFAULT_PRIORS, build
from her2bayes.page.fit_card import worst
from her2bayes.results.fitted import Asked, Figures, Fitted
from her2bayes.survival.classical import classical_rows
from her2bayes.survival.doors import Specification as OfSurvival
from her2bayes.survival.doors import cut_scheme, landmark_times
from her2bayes.survival.estimates import EVENTS, pairs
from her2bayes.survival.estimates import Answers as SurvivalAnswers
from her2bayes.transition.assay import read_rows
from her2bayes.transition.assay_error import SCALES, has_prior, longer, scaled_reads
from her2bayes.transition.cohort import By, factors_of
from her2bayes.transition.decision import (
    MISSING_TILTS,
    THRESHOLDS,
    TILTS,
    decisions,
    next_patient,
)
from her2bayes.transition.draws import Matrix, matrix_rows

if TYPE_CHECKING:
    from her2bayes.cohorts.fitted import ReconstructedStudy
    from her2bayes.evidence.printed.tables import Conclusion
    from her2bayes.page.report import Part
    from her2bayes.page.section import Section
    from her2bayes.sensitivity.target import Target

Say = Callable[[str], None]
TARGET_ACCEPT = 0.95
KNOWN = 2000.0  # readings' worth of knowledge a class where the assay is taken as known


@overload
def fit_joint(
    data: ReconstructedStudy, *, time: str, by: By | None = ...,
    agreement: Mapping[str, Any] | None = ..., misclassification: Any = ...,
    error_correlation: float | None = ..., hazards_by_primary: bool = ...,
    cuts: str | int | Sequence[float] = ..., times: Sequence[float] = ...,
    priors: Mapping[str, Prior] | None = ..., sampling: Sampling | None = ..., seed: int = ...,
    store: str | Path | Store | None = ..., say: Say = ..., progress: bool = ...,
) -> JointCohorts: ...  # fmt: skip
@overload
def fit_joint(
    data: Any, *, time: str, event: str = ..., by: By | None = ...,
    her2: Mapping[str, str] | None = ..., classes: Sequence[str] | None = ..., map: str = ...,
    entry: str = ..., cause: str = ..., assay: str | Mapping[str, str] = ...,
    agreement: Mapping[str, Any] | None = ..., misclassification: Any = ...,
    error_correlation: float | None = ..., hazards_by_primary: bool = ...,
    cuts: str | int | Sequence[float] = ..., times: Sequence[float] = ..., time_unit: str = ...,
    event_code: str = ..., censored_code: str | Sequence[str] = ..., nonpositive: str = ...,
    priors: Mapping[str, Prior] | None = ..., sampling: Sampling | None = ..., seed: int = ...,
    quick: bool = ..., store: str | Path | Store | None = ..., say: Say = ...,
    progress: bool = ...,
) -> JointFit: ...  # fmt: skip
@told
def fit_joint(
    data: Any,
    *,
    time: str,
    event: str = "",
    by: By | None = None,
    her2: Mapping[str, str] | None = None,
    classes: Sequence[str] | None = None,
    map: str = "",  # noqa: A002 (the flag's name)
    entry: str = "",
    cause: str = "",
    assay: str | Mapping[str, str] = "",
    agreement: Mapping[str, Any] | None = None,
    misclassification: Any = None,
    error_correlation: float | None = None,
    hazards_by_primary: bool = False,
    cuts: str | int | Sequence[float] = 10,
    times: Sequence[float] = (),
    time_unit: str = "months",
    event_code: str = "",
    censored_code: str | Sequence[str] = (),
    nonpositive: str = "refuse",
    priors: Mapping[str, Prior] | None = None,
    sampling: Sampling | None = None,
    seed: int = 20230221,
    quick: bool = False,
    store: str | Path | Store | None = None,
    say: Say = lambda _: None,
    progress: bool = False,  # read by ``told``
) -> JointFit | JointCohorts:
    """Fit true HER2 class, its change and survival by it behind fallible readings, in one model.

    ``data`` are patients with two readings and follow-up from recurrence: what ``read_patients``
    takes, or what it gave. A reading is a class, a set of classes (``zero/low``), or missing;
    patients without follow-up give their readings, those without a reading their survival.

    Or ``data`` are cohorts behind a paper (``reconstruct(study)``), and ``time`` is its endpoint:
    the model is fitted to each of them, with the chains of a quick run, and answers with the draws
    of all. That is multiple imputation by an uncongenial model: the one that made the cohorts
    knows nothing of misreading. ``determined()`` of the fit is the share of each variance that
    is reconstruction uncertainty.

    Who and when
        ``time``, ``event``, ``entry``, ``cause`` as in ``fit_survival``; ``her2`` names the columns
        of readings (``{"primary": ..., "recurrence": ...}``). ``by`` are factors of transitions and
        hazards. ``map`` reads a study folder; patients with tissue of both tumours are taken.
    The assay
        ``assay`` names the column with the laboratory or era of a reading, one for both tumours or
        one for each: each assay has errors of its own. ``agreement`` holds tables of two readings
        of the same tumours by name (rows first, columns second reading). ``misclassification``
        (her2, read) takes the errors as known; ``error_correlation`` is the share of patients in
        whom both readings err together. ``priors`` named ``reads_<class>`` say what is believed of
        the assay.
    Survival
        ``hazards_by_primary``: hazards depend on the true class of the primary too. ``cuts`` as in
        ``fit_survival``, equal events in 10 intervals by default.

    ``quick`` draws less; ``store`` is a folder that keeps fits; ``say`` is told of each step.
    Raises ``BadInput`` with every fault before the first draw. Equations: ``joint.her2_joint``.

    With ``progress`` stderr says what is being waited for.

    >>> fit = fit_joint("patients.csv", time="os_months", event="os_event")  # doctest: +SKIP
    >>> fit.draws("dilution[os ; her2: positive vs zero]").mean()  # doctest: +SKIP
    """
    cohorts = isinstance(data, Fitted)
    settings = sampling or longer(Settings(seed, quick or cohorts, TARGET_ACCEPT).sampling)
    kept = Store(Path(store)) if isinstance(store, str | Path) else store
    plan = _Plan(
        factors_of(by), _assays(assay), hazards_by_primary, *cut_scheme(cuts), tuple(times),
        (agreement or {}, misclassification, error_correlation), priors, settings, kept,
    )  # fmt: skip
    if cohorts:
        columns = {"event": event, "her2": her2, "classes": classes, "map": map, "entry": entry,
                   "cause": cause, "assay": assay, "event_code": event_code,
                   "censored_code": censored_code}  # fmt: skip
        return _over_cohorts(data, time, plan, columns, say)
    patients = read_patients(data, map=map or None, her2=her2, classes=classes)
    wanted = Wanted(time, event, entry, cause, False, time_unit, event_code)
    censored = (censored_code,) if isinstance(censored_code, str) else tuple(censored_code)
    more: dict[str, Any] = {"nonpositive": nonpositive}
    more |= {"censored_codes": tuple(filter(None, censored))} if any(censored) else {}
    counted = plan.count(patients, wanted, more)
    used = plan.checked(counted)
    for line in page.cohort_lines(counted):
        say(line)
    return plan.fit(counted, used, say)


@dataclass(frozen=True)
class _Plan:
    """What is asked of patients, whoever they are; ``beliefs`` are those of the assay."""

    by: Mapping[str, Sequence[str] | None]
    assays: Mapping[str, str]
    of_primary: bool
    cuts: str | Sequence[float]
    intervals: int
    times: tuple[float, ...]
    beliefs: tuple[Mapping[str, Any], Any, float | None]
    priors: Mapping[str, Prior] | None
    sampling: Sampling
    store: Store | None

    def count(self, patients: Patients, wanted: Wanted, more: Mapping[str, Any] | None = None,
              edges: np.ndarray | None = None) -> Counted:  # fmt: skip
        """Counts of patients, over the intervals between ``edges`` where they are given."""
        cuts = self.cuts if edges is None else edges[1:-1].tolist()
        counted = count_patients(
            patients, wanted, self.by, assays=self.assays, cuts=cuts, intervals=self.intervals,
            of_primary=self.of_primary, reach=0.0 if edges is None else float(edges[-1]), more=more,
        )  # fmt: skip
        return with_beliefs(counted, *self.beliefs)

    def checked(self, counted: Counted) -> dict[str, Prior]:
        """All priors; ``BadInput`` for what cannot be sampled."""
        if self.sampling.sampler != "nutpie":
            problem = "PyMC's own sampler has no gradient of this model"
            raise BadInput(Fault(problem, value=self.sampling.sampler, allowed="nutpie"))
        return _checked_priors(counted, self.priors)

    def fit(self, counted: Counted, used: Mapping[str, Prior], say: Say = lambda _: None,
            until: float = 0.0) -> JointFit:  # fmt: skip
        """The model of these counts; restricted means are taken to ``until`` where it is given."""
        since = float(counted.data["cells"]["interval_start"][0])
        marks = landmark_times(self.times, since, counted.followed.last_time)
        return _fitted(counted, used, self.sampling, self.store, marks, say, until=until)


FEWEST = 4
"""Cohorts from which a variance between them is told."""


def _over_cohorts(
    data: Any, time: str, plan: _Plan, columns: Mapping[str, Any], say: Say
) -> JointCohorts:
    """The model of each reconstructed cohort, all counted over the same intervals."""
    frames, read = _frames(data, time, columns)
    study, wanted = data.result.study, Wanted(time, "event")
    together = plan.count(read(pd.concat(frames)), wanted)
    cells, levels = together.data["cells"], together.followed.factors
    edges = np.append(cells["interval_start"], cells["interval_end"][-1])
    marks = landmark_times(plan.times, float(edges[0]), together.followed.last_time)
    plan = replace(plan, by={name: levels[name] for name in together.by}, times=marks)
    counted = [plan.count(read(frame), wanted, edges=edges) for frame in frames]
    used = plan.checked(together)
    until = min(horizon(one.by_read, ["read"]) for one in counted)
    say(
        f"{len(counted)} cohorts of {counted[0].patients} patients reconstructed from the printed "
        f"numbers of {study}, not its data"
    )
    members = []
    for k, one in enumerate(counted):
        say(f"cohort {k + 1} of {len(counted)}")
        own = replace(plan.sampling, seed=plan.sampling.seed + k)
        members.append(replace(plan, sampling=own).fit(one, used, until=until))
    return JointCohorts(study, tuple(members), data.endpoint(time).ensemble.verdict)


def _frames(
    data: Any, time: str, columns: Mapping[str, Any]
) -> tuple[list[pd.DataFrame], Callable[[pd.DataFrame], Patients]]:
    """Patients of each cohort, and how they are read; ``BadInput`` for other fits."""
    from her2bayes.cohorts.fitted import ReconstructedStudy

    if not isinstance(data, ReconstructedStudy):
        remedy = "give patients, or reconstruct(study)"
        raise BadInput(Fault("a fit is no source of patients", value=repr(data), remedy=remedy))
    faults = [Fault(f"reconstructed cohorts take no '{name}'", value=str(one)[:60],
                    remedy="leave it out") for name, one in columns.items() if one]  # fmt: skip
    end = data.endpoint(time).ensemble
    pair = end.summary.cells.pair
    if pair is None:
        faults.append(Fault("these cohorts have no readings of the primary", value=data.title))
    if len(end.cohorts) < FEWEST:
        faults.append(Fault("too few cohorts", value=len(end.cohorts), allowed=f"{FEWEST} or more",
                            remedy="reconstruct(study, ensemble=20)"))  # fmt: skip
    raise_if(faults)
    assert pair is not None  # a fault otherwise
    classes = end.summary.cells.levels(pair[1])
    read = partial(read_patients, her2=dict(zip(ENDS, pair, strict=True)), classes=classes)
    return [cohort.rename(columns={"time": time}) for cohort in end.cohorts], read


def _fitted(
    counted: Counted, used: Mapping[str, Prior], settings: Sampling, store: Store | None,
    times: tuple[float, ...], say: Say = lambda _: None, *, until: float = 0.0,
) -> JointFit:  # fmt: skip
    say(f"fitting {counted.patients} patients, {counted.followed.events} events")
    fitted = Specification(build, counted.data, used).fit(settings, store)
    until = until or horizon(counted.by_read, ["read"])
    return JointFit(counted, fitted, settings, used, times, until, store)


def _assays(assay: str | Mapping[str, str]) -> dict[str, str]:
    if not assay:
        return {}
    return (
        dict(assay)
        if isinstance(assay, Mapping)
        else dict.fromkeys(("primary", "recurrence"), assay)
    )


def _checked_priors(counted: Counted, priors: Mapping[str, Prior] | None) -> dict[str, Prior]:
    """Priors of the model; the assay's rows must be of these classes."""
    known = dict(DEFAULT_PRIORS)
    if not has_prior(counted.classes):
        known = {name: one for name, one in known.items() if not name.startswith("reads_")}
        known |= {name: one for name, one in (priors or {}).items() if name.startswith("reads_")}
    used = complete(priors, known, same_family=True)
    if "misclassification" not in counted.data["assay"]:
        read_rows(list(counted.classes), used, {})
    return dict(used)


class _OfTrueClasses(Fitted):
    """What is asked of true classes, whoever the patients are."""

    family: ClassVar[str] = "joint"

    @property
    @abstractmethod
    def classes(self) -> list[str]:
        """HER2 classes in order."""

    @abstractmethod
    def drawn(
        self, asked: list[Estimand], group: str = "posterior"
    ) -> Mapping[Estimand, xr.DataArray]:
        """Draws of estimands from one group of the tree."""

    def decisions(
        self, *, thresholds: Sequence[float] = THRESHOLDS, tilts: Sequence[float] = TILTS,
        missing: float = 0.0, missing_tilts: Sequence[float] = MISSING_TILTS,
        ultralow: Sequence[float] = (0.0,), **where: str,
    ) -> pd.DataFrame:  # fmt: skip
        """Whom to re-biopsy, of true classes: see ``transition.decision.decisions``."""
        return decisions(self, self.classes, where, thresholds=thresholds, tilts=tilts,
                         missing=missing, missing_tilts=missing_tilts,
                         ultralow=ultralow)  # fmt: skip

    def next_patient(self, primary: str, **where: str) -> pd.DataFrame:
        """True class at recurrence of one new patient whose primary truly is ``primary``."""
        return next_patient(self, self.classes, primary, where)

    def true_class(self, read_primary: str, read: str, **where: str) -> pd.DataFrame:
        """True class at recurrence given both readings: probability and its 95 % CrI."""
        given = tuple({"read_primary": read_primary, "read": read, **where}.items())
        asked = [Estimand("true_class", f"her2={name}", given) for name in self.classes]
        return pd.DataFrame(
            {"her2": name, "probability": float(draws.mean()),
             "lower": float(np.quantile(draws, 0.025)), "upper": float(np.quantile(draws, 0.975))}
            for name, draws in zip(self.classes, self.drawn(asked).values(), strict=True)
        )  # fmt: skip


@dataclass(frozen=True, repr=False, eq=False)
class JointFit(_OfTrueClasses):
    """True classes, their change and survival by them, of patients: see ``fit_joint``.

    Conditions of estimands: factors, true classes ``her2_primary`` and ``her2``, readings
    ``read_primary`` and ``read``, ``her2_change`` and ``read_change`` (changed, same).
    Restricted means are taken to ``horizon`` months: five patients of each reading at risk.
    ``refitted`` holds what other assays give, where ``checked`` made it.
    """

    counted: Counted
    fit: Fit
    sampling: Sampling
    used: Mapping[str, Prior]
    times: tuple[float, ...]
    horizon: float
    store: Store | None = None
    refitted: Mapping[str, pd.DataFrame] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """What was fitted, of whom."""
        of = self.counted
        by = f" by {', '.join(of.by)}" if of.by else ""
        return (
            f"True HER2 class, its change and {of.followed.endpoint} by it{by}: {of.patients:,} "
            f"patients, {of.followed.events:,} events ({of.name})"
        )

    @property
    def fits(self) -> Mapping[str, Fit]:
        """The one fit."""
        return {"joint": self.fit}

    @property
    def settings(self) -> Settings:
        """Seed and length of the chains."""
        return Settings.of(self.sampling)

    @cached_property
    def posterior(self) -> Answers:
        """Answers from the posterior."""
        return Answers(self.fit.posterior, self.counted.data)

    @cached_property
    def prior(self) -> Answers:
        """Answers from the prior."""
        return Answers(self.fit.prior, self.counted.data)

    def drawn(
        self, asked: list[Estimand], group: str = "posterior"
    ) -> Mapping[Estimand, xr.DataArray]:
        """Draws of estimands from one group of the tree."""
        return (self.posterior if group == "posterior" else self.prior)(asked)

    @property
    def classes(self) -> list[str]:
        """HER2 classes in order."""
        return list(self.counted.classes)

    def asked(self) -> Iterator[tuple[Estimand, str]]:
        """Rows of estimates on the assay, readings and true classes, each with its note."""
        of = self.counted
        for start, read, at in product(of.classes, of.classes, self._assays):
            yield Estimand("read_as", f"{start} -> {read}", at), ""
        strata: list[tuple[tuple[str, str], ...]] = [()]
        strata += [((name, level),) for name in of.by for level in of.followed.factors[name]]
        for given in strata:
            yield Estimand("read_discordance", "", given), ""
            yield Estimand("true_discordance", "her2", given), ""
            yield Estimand("unchanged_given_observed_change", "her2", given), ""
        for first, second in product(of.classes, of.classes):
            given = (("read", second), ("read_primary", first))
            for outcome in (*(f"her2={name}" for name in of.classes), "change"):
                yield Estimand("true_class", outcome, given), ""

    def _ratios(self) -> Iterator[tuple[Estimand, str]]:
        """Hazard ratios by class as read, their dilution, and those of a change."""
        of, end = self.counted, self.counted.followed.endpoint
        if of.followed.causes:
            return
        for a, b in pairs(of.classes, of.classes[0]):
            contrast = Contrast("read", a, b)
            yield Estimand("hazard_ratio", end, (), contrast), "of the model, by class as read"
            yield Estimand("dilution", end, (), Contrast("her2", a, b)), "1: no dilution"
        for name in ("her2_change", "read_change"):
            contrast = Contrast(name, "changed", "same")
            about = "made by error too" if name == "read_change" else "true classes"
            yield Estimand("hazard_ratio", end, (), contrast), about

    @property
    def _assays(self) -> list[tuple[tuple[str, str], ...]]:
        names = [str(name) for name in self.counted.data["assay"]["assay"].to_numpy()]
        several = len(names) > 1 and "misclassification" not in self.counted.data["assay"]
        return [(("assay", name),) for name in names] if several else [()]

    @cached_property
    def _table(self) -> pd.DataFrame:
        rows = self._rows(self.asked())
        for matrix in self.matrices:
            rows += [row | {"note": _of_true(row)} for row in matrix_rows(matrix)]
        rows += [*self.survival.rows(), *self._rows(self._ratios())]
        return estimates_table(rows).assign(evidence_kind="patients")

    def _rows(self, asked: Iterable[tuple[Estimand, str]]) -> list[dict[str, Any]]:
        listed = list(asked)
        after, before = (self.drawn([one for one, _ in listed], group)
                         for group in ("posterior", "prior"))  # fmt: skip
        rows = [estimate(one, after[one], before[one], self.fit, note=note) for one, note in listed]
        return [row | _no_variance(one) for row, (one, _) in zip(rows, listed, strict=True)]

    def estimates(self, estimands: Iterable[Asked] | None = None) -> pd.DataFrame:
        """One row an estimand: posterior and prior median with 95 % CrI.

        Without ``estimands``: errors of the assay, true classes given readings, transitions of true
        classes, survival by true class and the dilution of hazard ratios.
        """
        if estimands is None:
            return self._table.copy()
        asked = [parse(one) if isinstance(one, str) else one for one in estimands]
        return estimates_table(self._rows((one, "") for one in asked))

    @cached_property
    def matrices(self) -> list[Matrix]:
        """Transition matrices of true classes: of all patients, and by level of each factor."""
        of = self.counted
        given = [(), *(((name, level),) for name in of.by for level in of.followed.factors[name])]
        share = self.posterior.weights
        found = []
        for where in given:
            inside = np.ones(share.size, bool)
            for name, level in where:
                inside &= share[name].to_numpy() == level
            number = round(float(share.to_numpy()[inside].sum()) * of.patients)
            found.append(Matrix(where, self.posterior.rows(where), self.prior.rows(where), number,
                                self.fit))  # fmt: skip
        return found

    @cached_property
    def survival(self) -> SurvivalAnswers:
        """Survival by true class, as a survival fit answers."""
        of = self.counted
        reference = {"her2": of.classes[0],
                     **{name: of.followed.factors[name][0] for name in of.by}}  # fmt: skip
        return SurvivalAnswers(OfSurvival(title=of.name), self.posterior.cells, self.fit,
                               self.horizon, self.times, reference)  # fmt: skip

    def classical(self) -> pd.DataFrame:
        """Kaplan–Meier, RMST, log-rank and Cox by class as read (factor ``read``)."""
        of, factors = self.counted, self.counted.followed.factors
        reference = {name: levels[0] for name, levels in factors.items()}
        return classical_rows(of.by_read, of.followed, list(factors), reference, self.horizon,
                              self.times)  # fmt: skip

    def under(self, **changes: Any) -> JointFit:
        """The same analysis under other ``priors``, ``counted`` patients or entries of the assay.

        ``sampling`` is that of this fit where none is given.
        """
        used = {**self.used, **changes.pop("priors", {})}
        counted = changes.pop("counted", self.counted)
        sampling = changes.pop("sampling", self.sampling)
        counted = with_assay(counted, **changes) if changes else counted
        return _fitted(counted, used, sampling, self.store, self.times)

    @property
    def _shorter(self) -> Sampling:
        """Chains of a quick run: enough for a table of medians and limits."""
        return longer(Settings(self.sampling.seed, True, TARGET_ACCEPT).sampling)

    def over_assays(self, scales: Sequence[float] = SCALES) -> pd.DataFrame:
        """The answers under assays known almost exactly: default error rates times each scale.

        Columns ``scale``, ``accuracy``, true discordance, hazard ratios by true class with limits,
        ``convergence``. Chains are those of a quick run.
        """
        believed = {name: one for name, one in self.used.items() if name.startswith("reads_")}
        rows = []
        for scale in scales:
            reads = scaled_reads(self.classes, scale, KNOWN, believed)
            rows_of = {f"reads_{name}": prior("Dirichlet", a=row) for name, row in reads.items()}
            rows.append(
                {"scale": scale, **_answers(self.under(priors=rows_of, sampling=self._shorter))}
            )
        return pd.DataFrame(rows)

    def identified(self) -> pd.DataFrame:
        """What tells error from change: accuracy and true discordance, prior, pairs alone, all.

        One row a source of evidence; ``contraction`` is that of the mean accuracy against its
        prior.
        """
        without = without_follow_up(self.counted)
        pairs_only = self.under(counted=without, sampling=self._shorter)
        rows = []
        for name, fit, group in (
            ("prior", self, "prior"),
            ("readings alone", pairs_only, "posterior"),
            ("readings and survival", self, "posterior"),
        ):
            rows.append({"evidence": name, **_answers(fit, group)})
        return pd.DataFrame(rows)

    def checked(self) -> JointFit:
        """The same with ``refitted``: other assays, and what tells error from change."""
        return replace(
            self, refitted={"assays": self.over_assays(), "identified": self.identified()}
        )

    @property
    def tables(self) -> Mapping[str, pd.DataFrame]:
        """What other assays and other evidence give, where ``checked`` made it."""
        return dict(self.refitted)

    @cached_property
    def tree(self) -> xr.DataTree:
        """Draws as ArviZ takes them; ``log_likelihood`` is that of all patients, one number."""
        found = self.fit.tree.copy()
        total = self.log_density @ self.counted.data["rows"]["patients"].to_numpy()
        posterior = self.fit.posterior
        shape = (posterior.sizes["chain"], posterior.sizes["draw"])
        patients = xr.DataArray(total.reshape(shape), dims=("chain", "draw"))
        kept = (
            found["log_likelihood"].to_dataset()
            if "log_likelihood" in found.children
            else xr.Dataset()
        )
        found["log_likelihood"] = xr.DataTree(kept.assign(patients=patients))
        return found

    @cached_property
    def log_density(self) -> np.ndarray:
        """Log density of each row of patients in each draw, computed apart from the model."""
        return log_density(self.fit.posterior, self.counted.data)

    @property
    def figures(self) -> Figures:
        """``survival``, ``transitions``, ``assay``; ``assays`` where ``checked`` made it."""
        made = {n: partial(draw, self) for n, draw in page.DRAWINGS.items()}
        if "assays" not in self.refitted:
            made.pop("assays")
        return Figures(made)

    def told(self) -> Iterator[str]:
        """The answer in lines for a terminal."""
        return page.lines(self)

    def targets(self, conclusions: Sequence[Conclusion]) -> Sequence[Target]:
        """What a sensitivity analysis of conclusions on this cohort asks."""
        from her2bayes.joint.sensitivity import target

        return [target(self.counted, self.used, self.posterior, conclusions)]

    def section(self) -> Section:
        """This analysis as a section of a report."""
        return page.section(self)

    def part(self, *, suppress_below: int = 0) -> Part:
        """This analysis as a part of a report; ``BadInput`` where small counts should be hidden."""
        plain = super().part(suppress_below=suppress_below)
        about = {**plain.about, "digest": self.counted.digest, "design": "patient data"}
        return replace(plain, about=about, cohort=page.cohort_section(self.counted),
                       evidence_kind="patients")  # fmt: skip

    def priors(self) -> Mapping[str, tuple[str, str]]:
        """Each prior as it is written, and what it says in clinical units."""
        return {name: (str(one), one.means) for name, one in self.used.items()}

    def packed(self) -> xr.DataTree:
        """Counts, what they are of, and the tree of the fit; no patient's line."""
        groups = self.counted.packed()
        groups |= {f"/fit/{n}": node.to_dataset() for n, node in self.fit.tree.children.items()}
        tree = xr.DataTree.from_dict(groups)
        said = {
            **self.counted.facts(),
            "sampling": asdict(self.sampling),
            "priors": {n: [p.distribution, p.parameters, p.means] for n, p in self.used.items()},
            "times": self.times,
            "horizon": self.horizon,
            "provenance": self.fit.provenance,
            "refitted": {n: one.to_dict("split", index=False) for n, one in self.refitted.items()},
        }
        tree.attrs["joint"] = json.dumps(said)
        return tree

    @classmethod
    def unpacked(cls, tree: xr.DataTree) -> JointFit:
        """Make the object of a ``packed`` tree; nothing is sampled."""
        said = json.loads(tree.attrs["joint"])
        counted = Counted.unpacked(tree, said)
        fit = Fit(
            xr.DataTree.from_dict({n: one.to_dataset() for n, one in tree["fit"].children.items()}),
            said["provenance"],
        )
        used = {name: prior(law, means=means, **{k: tuple(v) if isinstance(v, list) else v
                                                 for k, v in numbers})
                for name, (law, numbers, means) in said["priors"].items()}  # fmt: skip
        refitted = {name: pd.DataFrame(**one) for name, one in said["refitted"].items()}
        return cls(counted, fit, Sampling(**said["sampling"]), used, tuple(said["times"]),
                   said["horizon"], refitted=refitted)  # fmt: skip


@dataclass(frozen=True)
class _Source:
    model: str
    fit_id: str
    diagnostics: Diagnostics


@dataclass(frozen=True, repr=False, eq=False)
class JointCohorts(_OfTrueClasses):
    """True classes behind a paper's printed numbers, over cohorts that have all of them.

    ``members`` are fits of the joint model to one cohort each, ``chains`` the verdict of the chains
    that made the cohorts. Draws are those of all members: multiple imputation by an uncongenial
    model, as the one that made the cohorts knows nothing of misreading.
    """

    study: str
    members: tuple[JointFit, ...]
    chains: str

    @property
    def title(self) -> str:
        """What was fitted, of whom."""
        first = self.members[0]
        return (
            f"True HER2 class, its change and {first.counted.followed.endpoint} by it, behind "
            f"{self.study}: {len(self.members)} reconstructed cohorts of "
            f"{first.counted.patients:,} patients, not its data"
        )

    @property
    def counted(self) -> Counted:
        """Counts of the first cohort."""
        return self.members[0].counted

    @property
    def classes(self) -> list[str]:
        """HER2 classes in order."""
        return self.members[0].classes

    @property
    def fits(self) -> Mapping[str, Fit]:
        """The fit of each cohort."""
        return {f"cohort {k}": one.fit for k, one in enumerate(self.members, 1)}

    @cached_property
    def fit_id(self) -> str:
        """Twelve hexadecimal digits, of the ids of all members."""
        return sha256("".join(one.fit_id for one in self.members).encode()).hexdigest()[:12]

    @property
    def settings(self) -> Settings:
        """Seed and length of the chains of one cohort."""
        return self.members[0].settings

    def drawn(
        self, asked: list[Estimand], group: str = "posterior"
    ) -> Mapping[Estimand, xr.DataArray]:
        """Draws of all cohorts, chain after chain; the prior is that of the first."""
        if group == "prior":
            return self.members[0].drawn(asked, group)
        parts = [one.drawn(asked, group) for one in self.members]
        return {one: chained([part[one] for part in parts]) for one in asked}

    @cached_property
    def _reported(self) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Rows of the first cohort as rows of all; medians are not reached in some draws."""
        rows = self.members[0].estimates()
        medians = rows["estimand"].str.startswith("median")
        return self._rows(rows[(rows["reading"] == "") & ~medians])

    def _rows(self, first: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Rows of one cohort as rows of all, and shares of variances."""
        asked = [parse(text) for text in first["estimand"]]
        parts = [one.drawn(asked) for one in self.members]
        before = self.drawn(asked, "prior")
        found, shares = [], []
        for one, row in zip(asked, first.to_dict("records"), strict=True):
            known = [part[one] for part in parts]
            share, error = imputed_share(_on_scale(one, known))
            note = "; ".join(filter(None, (row["note"], _said(share, error))))
            event = _event(one) if np.isfinite(row["posterior_probability"]) else None
            made = estimate(one, chained(known), before[one], self._source, event=event, note=note,
                            unit=row["unit"])  # fmt: skip
            made |= {str(name): np.nan for name, value in row.items()
                     if str(name).endswith(ENDS_OF_ROWS) and pd.isna(value)}  # fmt: skip
            found.append({**made, **_no_variance(one), "convergence": self._verdict(known)})
            shares.append({"estimand": str(one), "share": share, "error": error})
        return estimates_table(found).assign(evidence_kind="implied"), pd.DataFrame(shares)

    @property
    def _source(self) -> _Source:
        first = self.members[0].fit
        return _Source(first.model, self.fit_id, first.diagnostics)

    def _verdict(self, draws: Sequence[xr.DataArray]) -> str:
        """Chains of each cohort have mixed, all draws are enough, and cohorts' own chains agree."""
        if failed(self.chains):
            return self.chains
        runs = (member.fit.diagnostics for member in self.members)
        return str(of_several([verdict(*one) for one in zip(draws, runs, strict=True)]))

    def estimates(self, estimands: Iterable[Asked] | None = None) -> pd.DataFrame:
        """One row an estimand: posterior and prior median with 95 % CrI, over all cohorts.

        The note says how much of the variance is reconstruction uncertainty. Chains must have mixed
        in every cohort; draws of all together must be enough.
        """
        return self._of(estimands)[0].copy()

    def determined(self, estimands: Iterable[Asked] | None = None) -> pd.DataFrame:
        """How far the printed numbers determine each estimate: its variance due to not knowing.

        ``share`` is 0 where any cohort that has the printed numbers says the same, 1 where all that
        is not known is who the patients were; ``error`` is its Monte-Carlo standard error over the
        cohorts. Ratios on the log scale; a dilution has no variance to share.
        """
        return self._of(estimands)[1].copy()

    def _of(self, estimands: Iterable[Asked] | None) -> tuple[pd.DataFrame, pd.DataFrame]:
        if estimands is None:
            return self._reported
        return self._rows(self.members[0].estimates(estimands))

    def classical(self) -> pd.DataFrame:
        """Cox's ratios by class as read over the cohorts, joined by Rubin's rules."""
        return self._cox.copy()

    @cached_property
    def _cox(self) -> pd.DataFrame:
        from her2bayes.cohorts.estimates import joined

        tables = [one.classical().set_index("estimand") for one in self.members]
        ratios = [name for name in tables[0].index if name.startswith("hazard_ratio[")]
        rows = []
        for name in dict.fromkeys(ratios):
            ends = np.log([table.loc[name, list(LIMITS)].to_numpy(float) for table in tables])
            error = (ends[:, 2] - ends[:, 1]) / (2 * Z)
            rows.append({"estimand": name, **joined(ends[:, 0], error**2)})
        return pd.DataFrame(rows)

    @property
    def tables(self) -> Mapping[str, pd.DataFrame]:
        """How far the printed numbers determine each estimate."""
        return {"determined": self.determined()}

    @property
    def figures(self) -> Figures:
        """``survival`` by true class over all cohorts."""
        return Figures({"survival": partial(page.draw_over_cohorts, self)})

    def section(self) -> Section:
        """This analysis as a section of a report."""
        return page.over_cohorts(self)

    def part(self, *, suppress_below: int = 0) -> Part:
        """This analysis as a part of a report; no cohort is of real patients."""
        plain = super().part(suppress_below=suppress_below)
        about = {**plain.about, "design": f"cohorts reconstructed from {self.study}"}
        return replace(plain, about=about, cohort=page.cohorts_section(self),
                       evidence_kind="implied")  # fmt: skip

    def told(self) -> Iterator[str]:
        """The answer in lines for a terminal."""
        return page.lines(self)

    def priors(self) -> Mapping[str, tuple[str, str]]:
        """Each prior as it is written, and what it says in clinical units."""
        return self.members[0].priors()

    def packed(self) -> xr.DataTree:
        """The trees of all members, one beside the other."""
        groups: dict[str, xr.Dataset] = {}
        for k, one in enumerate(self.members):
            tree = one.packed()
            groups |= {f"/{k}{node.path}".rstrip("/"): node.to_dataset() for node in tree.subtree}
        found = xr.DataTree.from_dict(groups)
        found.attrs["joint"] = json.dumps({"study": self.study, "chains": self.chains})
        return found

    @classmethod
    def unpacked(cls, tree: xr.DataTree) -> JointCohorts:
        """Make the object of a ``packed`` tree; nothing is sampled."""
        said = json.loads(tree.attrs["joint"])
        trees = [tree.children[str(k)] for k in range(len(tree.children))]
        return cls(said["study"], tuple(map(JointFit.unpacked, trees)), said["chains"])


def _of_true(row: Mapping[str, Any]) -> str:
    """Note of a row of transitions, which elsewhere are of readings."""
    return "; ".join(filter(None, ("true classes", row["note"])))


def _no_variance(one: Estimand) -> dict[str, float]:
    """A dilution is a ratio whose divisor may be 0: its variance, and contraction, say nothing."""
    return {"contraction": np.nan} if one.kind == "dilution" else {}


def _event(one: Estimand) -> Event:
    """Event of a kind whose probability a row has."""
    _, low, high = EVENTS.get(one.kind, ("", 0.0, np.inf))
    return lambda draws: (draws > low) & (draws < high)


def imputed_share(by_cohort: Sequence[np.ndarray]) -> tuple[float, float]:
    """Share of a variance that is between cohorts, and its Monte-Carlo standard error.

    ``by_cohort`` holds draws (chain, draw) given each cohort; see the top of the file.
    """
    from arviz_stats.base import array_stats

    if not all(np.isfinite(one).all() and np.ptp(one) > 0 for one in by_cohort):
        return float("nan"), float("nan")
    means, within = (np.array([of(one) for one in by_cohort]) for of in (np.mean, np.var))
    noise = within / [float(array_stats.ess(one, method="mean")) for one in by_cohort]

    def share(kept: np.ndarray) -> float:
        between = np.var(means[kept], ddof=1) - noise[kept].mean()
        return float(between / (between + within[kept].mean()))

    number = len(means)
    left = np.array([share(np.arange(number) != k) for k in range(number)])
    error = np.sqrt((number - 1) / number * np.square(left - left.mean()).sum())
    return float(np.clip(share(np.arange(number)), 0.0, 1.0)), float(error)


def _on_scale(one: Estimand, values: Sequence[xr.DataArray]) -> list[np.ndarray]:
    """Draws on the scale on which their variance is shared; a dilution has none."""
    plain = [each.transpose("chain", "draw").to_numpy() for each in values]
    if one.kind == "dilution":
        return [np.full_like(each, np.nan) for each in plain]
    return [np.log(each) for each in plain] if one.kind.startswith("hazard_ratio") else plain


def _said(share: float, error: float) -> str:
    """What a row says of its origin."""
    known = "" if np.isnan(share) else (
        f"; {100 * share:.0f} % (Monte-Carlo SE {100 * error:.0f} points) of the posterior "
        "variance is reconstruction uncertainty"
    )  # fmt: skip
    return f"multiple imputation over reconstructed cohorts, uncongenial{known}"


ENDS_OF_ROWS = ("_median", "_lower", "_upper")
LIMITS, Z = ("reproduced", "reproduced_lower", "reproduced_upper"), 1.959963984540054


def _answers(fit: JointFit, group: str = "posterior") -> dict[str, Any]:
    """Mean accuracy, true discordance and log hazard ratios with 95 % limits, one column each."""
    end = fit.counted.followed.endpoint
    diagonal = [Estimand("read_as", f"{name} -> {name}") for name in fit.classes]
    asked = {"true_discordance": Estimand("true_discordance", "her2")}
    if not fit.counted.followed.causes:
        asked |= {
            f"hazard_ratio {a} vs {b}": Estimand("hazard_ratio", end, (), Contrast("her2", a, b))
            for a, b in pairs(fit.classes, fit.classes[0])
        }
    draws = fit.drawn([*diagonal, *asked.values()], group)
    right = sum((draws[one] for one in diagonal[1:]), start=draws[diagonal[0]]) / len(diagonal)
    before = fit.drawn(diagonal, "prior")
    was = sum((before[one] for one in diagonal[1:]), start=before[diagonal[0]]) / len(diagonal)
    row: dict[str, Any] = {
        "accuracy": float(right.median()),
        "contraction": contraction("share", right, was),
    }
    for name, one in asked.items():
        low, middle, high = np.quantile(draws[one], [0.025, 0.5, 0.975])
        row |= {name: middle, f"{name} lower": low, f"{name} upper": high}
    said = [str(verdict(one, fit.fit.diagnostics)) for one in draws.values()]
    row["convergence"] = worst(said) if group == "posterior" else ""
    return row
