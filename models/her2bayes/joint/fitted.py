"""The public door of the room: ``fit_joint``, and the fitted analysis that answers."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property, partial
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pandas as pd
import xarray as xr

from her2bayes.bayes.prior import Prior, complete, prior
from her2bayes.errors import BadInput, Fault, raise_if
from her2bayes.estimand import Contrast, Estimand, parse
from her2bayes.evidence.patients.patients import Wanted, read_patients
from her2bayes.evidence.patients.survival_cells import horizon
from her2bayes.inference.convergence import verdict
from her2bayes.inference.estimates import contraction, estimate, estimates_table
from her2bayes.inference.fit import Fit, Specification
from her2bayes.inference.progress import told
from her2bayes.inference.sampling import Sampling, Settings
from her2bayes.inference.store import Store
from her2bayes.joint import section as page
from her2bayes.joint.counts import Counted, Followed, count_patients, with_assay
from her2bayes.joint.draws import Answers, log_density
from her2bayes.joint.her2_joint import DEFAULT_PRIORS, build
from her2bayes.page.fit_card import worst
from her2bayes.results.fitted import Asked, Figures, Fitted, tuples
from her2bayes.survival.classical import classical_rows
from her2bayes.survival.doors import Specification as OfSurvival
from her2bayes.survival.doors import cut_scheme, landmark_times
from her2bayes.survival.estimates import Answers as SurvivalAnswers
from her2bayes.survival.estimates import pairs
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
    from her2bayes.evidence.printed.tables import Conclusion
    from her2bayes.page.report import Part
    from her2bayes.page.section import Section
    from her2bayes.sensitivity.target import Target

Say = Callable[[str], None]
TARGET_ACCEPT = 0.95
KNOWN = 2000.0  # readings' worth of knowledge a class where the assay is taken as known


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
) -> JointFit:
    """Fit true HER2 class, its change and survival by it behind fallible readings, in one model.

    ``data`` are patients with two readings and follow-up from recurrence: what ``read_patients``
    takes, or what it gave. A reading is a class, a set of classes (``zero/low``), or missing;
    patients without follow-up give their readings, those without a reading their survival.

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
    patients = read_patients(data, map=map or None, her2=her2, classes=classes)
    scheme, intervals = cut_scheme(cuts)
    wanted = Wanted(time, event, entry, cause, False, time_unit, event_code)
    censored = (censored_code,) if isinstance(censored_code, str) else tuple(censored_code)
    more: dict[str, Any] = {"nonpositive": nonpositive}
    more |= {"censored_codes": tuple(filter(None, censored))} if any(censored) else {}
    counted = count_patients(
        patients, wanted, factors_of(by), assays=_assays(assay), cuts=scheme, intervals=intervals,
        of_primary=hazards_by_primary, more=more,
    )  # fmt: skip
    counted = _with_beliefs(counted, agreement or {}, misclassification, error_correlation)
    used = _checked_priors(counted, priors)
    for line in page.cohort_lines(counted):
        say(line)
    if sampling is not None and sampling.sampler != "nutpie":
        problem = "PyMC's own sampler has no gradient of this model"
        raise BadInput(Fault(problem, value=sampling.sampler, allowed="nutpie"))
    settings = sampling or longer(Settings(seed, quick, TARGET_ACCEPT).sampling)
    kept = Store(Path(store)) if isinstance(store, str | Path) else store
    marks = landmark_times(times, float(counted.data["cells"]["interval_start"][0]),
                           counted.followed.last_time)  # fmt: skip
    return _fitted(counted, used, settings, kept, marks, say)


def _fitted(
    counted: Counted, used: Mapping[str, Prior], settings: Sampling, store: Store | None,
    times: tuple[float, ...], say: Say = lambda _: None,
) -> JointFit:  # fmt: skip
    say(f"fitting {counted.patients} patients, {counted.followed.events} events")
    fitted = Specification(build, counted.data, used).fit(settings, store)
    return JointFit(counted, fitted, settings, used, times, store)


def _assays(assay: str | Mapping[str, str]) -> dict[str, str]:
    if not assay:
        return {}
    return (
        dict(assay)
        if isinstance(assay, Mapping)
        else dict.fromkeys(("primary", "recurrence"), assay)
    )


def _with_beliefs(
    counted: Counted, agreement: Mapping[str, Any], fixed: Any, correlation: float | None
) -> Counted:
    """Counts with what is known of the assay; ``BadInput`` for tables that do not fit."""
    classes = list(counted.classes)
    found: dict[str, Any] = {}
    faults = []
    tables = {name: _ordered(table, classes) for name, table in agreement.items()}
    matrix = {} if fixed is None else {"misclassification": np.asarray(fixed, float)}
    allowed = f"rows and columns {', '.join(classes)}, numbers from 0"
    for name, table in (tables | matrix).items():
        if table.shape != (len(classes),) * 2 or (table < 0).any():
            problem = f"table '{name}' does not fit"
            faults.append(Fault(problem, value=str(table.shape), allowed=allowed))
    if not faults and matrix:
        faults += _impossible(matrix["misclassification"], tables, counted)
    if correlation is not None and not 0 <= correlation <= 1:
        faults.append(Fault("a share of errors made together", value=correlation, allowed="0 to 1"))
    raise_if(faults)
    if tables:
        names = list(tables)
        found["agreement"] = xr.DataArray(
            np.stack(list(tables.values())).astype(np.int64),
            dims=("agreement_study", "first", "second"), coords={"agreement_study": names},
        )  # fmt: skip
        found["agreement_assay"] = ("agreement_study", np.zeros(len(names), np.int64))
    if fixed is not None:
        found["misclassification"] = (("her2", "read"), np.asarray(fixed, float))
    if correlation is not None:
        found["error_correlation"] = float(correlation)
    return with_assay(counted, **found) if found else counted


def _impossible(
    reads: np.ndarray, tables: Mapping[str, np.ndarray], counted: Counted
) -> list[Fault]:
    """Faults of readings that cannot be under errors taken as known."""
    remedy = "allow for the error, or leave the errors to the model"
    together = np.einsum("ta,tb->ab", reads, reads)
    faults = [
        Fault(f"table '{name}' cannot be under these errors: two readings never seen together",
              value=int(table[together == 0].sum()), remedy=remedy)
        for name, table in tables.items() if table[together == 0].any()
    ]  # fmt: skip
    of = counted.data["readings"]
    for name in ("holds_primary", "holds_recurrence"):
        never = (reads @ of[name].to_numpy().T).sum(axis=0) == 0
        if (never & (of["patients"].to_numpy() > 0)).any():
            faults.append(Fault("a class is read that no true class is read as", remedy=remedy))
    return faults


def _ordered(table: Any, classes: list[str]) -> np.ndarray:
    """A table of two readings as counts; with labels, in the order of the classes."""
    labelled = isinstance(table, pd.DataFrame) and {*table.index} == {*table.columns} == {*classes}
    return np.asarray(table.loc[classes, classes] if labelled else table)


def read_agreement(file: Path) -> pd.DataFrame:
    """Table of two readings of the same tumours: first column the first reading's class, one row
    and one column a class. Raises ``BadInput`` for cells that are no counts.
    """
    from her2bayes.evidence.read_table import read_table

    table = read_table(file)
    frame = table.frame.set_index(table.frame.columns[0])
    number = frame.apply(pd.to_numeric, errors="coerce")
    wrong = ~((number >= 0) & (number % 1 == 0))
    raise_if(
        [Fault("not a number of tumours", table.path, table.row(int(k)), str(frame.columns[c]),
               frame.iloc[k, c], "a whole number from 0")
         for k, c in zip(*np.nonzero(wrong.to_numpy()), strict=True)]
    )  # fmt: skip
    return number.astype(int)


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


@dataclass(frozen=True, repr=False, eq=False)
class JointFit(Fitted):
    """True classes, their change and survival by them, of patients: see ``fit_joint``.

    Conditions of estimands: factors, true classes ``her2_primary`` and ``her2``, readings
    ``read_primary`` and ``read``, ``her2_change`` and ``read_change`` (changed, same).
    ``refitted`` holds what other assays give, where ``checked`` made it.
    """

    family: ClassVar[str] = "joint"

    counted: Counted
    fit: Fit
    sampling: Sampling
    used: Mapping[str, Prior]
    times: tuple[float, ...]
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

    @cached_property
    def horizon(self) -> float:
        """Months to which restricted means are taken: five patients of each reading at risk."""
        return horizon(self.counted.by_read, ["read"])

    def asked(self) -> Iterator[tuple[Estimand, str]]:
        """Rows of estimates that are of this family's own kinds, each with its note."""
        of, end = self.counted, self.counted.followed.endpoint
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
            rows += matrix_rows(matrix)
        rows += list(self.survival.rows())
        return estimates_table(rows).assign(evidence_kind="patients")

    def _rows(self, asked: Iterable[tuple[Estimand, str]]) -> list[dict[str, Any]]:
        listed = list(asked)
        after, before = (self.drawn([one for one, _ in listed], group)
                         for group in ("posterior", "prior"))  # fmt: skip
        return [estimate(one, after[one], before[one], self.fit, note=note) for one, note in listed]

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

    def decisions(
        self, *, thresholds: Sequence[float] = THRESHOLDS, tilts: Sequence[float] = TILTS,
        missing: float = 0.0, missing_tilts: Sequence[float] = MISSING_TILTS, **where: str,
    ) -> pd.DataFrame:  # fmt: skip
        """Whom to re-biopsy, of true classes: see ``transition.decision.decisions``."""
        return decisions(self, self.classes, where, thresholds=thresholds, tilts=tilts,
                         missing=missing, missing_tilts=missing_tilts)  # fmt: skip

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

    def told(self) -> Iterator[str]:
        """The answer in lines for a terminal."""
        return page.lines(self)

    def priors(self) -> Mapping[str, tuple[str, str]]:
        """Each prior as it is written, and what it says in clinical units."""
        return {name: (str(one), one.means) for name, one in self.used.items()}

    def packed(self) -> xr.DataTree:
        """Counts, what they are of, and the tree of the fit; no patient's line."""
        of = self.counted
        groups = {f"/data/{name}": one for name, one in of.data.items()}
        groups["/by_read"] = xr.Dataset(
            {name: ("row", of.by_read[name].to_numpy() if name in NUMBERS
                    else of.by_read[name].astype(str).to_numpy(object)) for name in of.by_read}
        )  # fmt: skip
        groups |= {f"/fit/{n}": node.to_dataset() for n, node in self.fit.tree.children.items()}
        tree = xr.DataTree.from_dict(groups)
        said = {
            "counted": {name: getattr(of, name) for name in PLAIN},
            "followed": asdict(of.followed),
            "grid": of.by_read.attrs,
            "sampling": asdict(self.sampling),
            "priors": {n: [p.distribution, p.parameters, p.means] for n, p in self.used.items()},
            "times": self.times,
            "provenance": self.fit.provenance,
            "refitted": {n: one.to_dict("split", index=False) for n, one in self.refitted.items()},
        }
        tree.attrs["joint"] = json.dumps(said)
        return tree

    @classmethod
    def unpacked(cls, tree: xr.DataTree) -> JointFit:
        """Make the object of a ``packed`` tree; nothing is sampled."""
        said = json.loads(tree.attrs["joint"])
        data = {name: _plain(node.to_dataset()) for name, node in tree["data"].children.items()}
        facts = tuples(said["followed"])
        rows = tree["by_read"].to_dataset().to_dataframe()
        for name, levels in facts["factors"].items():
            rows[name] = pd.Categorical(rows[name], list(levels))
        rows.attrs = said["grid"]
        plain = tuples(said["counted"])
        counted = Counted(**plain, data=data, followed=Followed(**facts), by_read=rows)
        fit = Fit(
            xr.DataTree.from_dict({n: one.to_dataset() for n, one in tree["fit"].children.items()}),
            said["provenance"],
        )
        used = {name: prior(law, means=means, **{k: tuple(v) if isinstance(v, list) else v
                                                 for k, v in numbers})
                for name, (law, numbers, means) in said["priors"].items()}  # fmt: skip
        refitted = {name: pd.DataFrame(**one) for name, one in said["refitted"].items()}
        return cls(counted, fit, Sampling(**said["sampling"]), used, tuple(said["times"]),
                   refitted=refitted)  # fmt: skip


NUMBERS = ("entry", "time", "event", "patients")
PLAIN = ("name", "classes", "by", "pairs_only", "left_out", "digest")
"""Fields of ``Counted`` that are text and numbers."""


def _plain(data: xr.Dataset) -> xr.Dataset:
    """Attributes as they were before a file held them: lists, and numbers of Python."""
    kept = {name: value.tolist() if hasattr(value, "tolist") else value
            for name, value in data.attrs.items()}  # fmt: skip
    if "factors" in kept:
        kept["factors"] = [kept["factors"]] if isinstance(kept["factors"], str) else kept["factors"]
    return data.assign_attrs(kept)


def without_follow_up(counted: Counted) -> Counted:
    """Counts in which nobody was followed: the same rows without time and events."""
    rows = counted.data["rows"].copy(deep=True)
    for name in rows.data_vars:
        if str(name).endswith(("event", "_months", "_place")):
            rows[name] = rows[name] * 0
    return replace(counted, data={**counted.data, "rows": rows})


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
