"""``fit_transitions``: change of HER2 class, of patients, of counts or of a paper, and its fit."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, ClassVar

import pandas as pd
import xarray as xr

from her2bayes.bayes.prior import Prior, complete
from her2bayes.errors import BadInput, Fault, raise_if
from her2bayes.estimand import Estimand, parse
from her2bayes.evidence.patients.cohort import Cohort
from her2bayes.evidence.patients.patients import Patients, read_patients
from her2bayes.evidence.printed.study import Study
from her2bayes.evidence.read_table import as_arrow
from her2bayes.inference.estimates import estimates_table
from her2bayes.inference.fit import Fit
from her2bayes.inference.own_model import is_own, own_model
from her2bayes.inference.progress import told
from her2bayes.inference.sampling import Sampling, Settings
from her2bayes.inference.store import Store
from her2bayes.results.fitted import Asked, Figures, Fitted
from her2bayes.transition import assay, cohort, figures, packed, paper
from her2bayes.transition.assay import read_rows
from her2bayes.transition.assay_error import has_prior
from her2bayes.transition.cohort import By, CohortTransitions, Pairs
from her2bayes.transition.decision import MISSING_TILTS, THRESHOLDS, TILTS, decisions, next_patient
from her2bayes.transition.draws import (
    TRUE_CLASSES,
    Line,
    Matrix,
    draws,
    levels,
    pair_likelihood,
    summarise,
)
from her2bayes.transition.rows import ROW_PRIORS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from her2bayes.evidence.printed.tables import Conclusion
    from her2bayes.page.report import Part
    from her2bayes.page.section import Section
    from her2bayes.sensitivity.target import Target

MODELS = ("her2_transition", "her2_transition_dirichlet")
SEED = Settings().seed
Say = Callable[[str], None]


@dataclass(frozen=True)
class _TrueRows:
    """Rows of true classes, asked as a fit is."""

    matrices: Sequence[Matrix]

    def drawn(
        self, asked: list[Estimand], group: str = "posterior"
    ) -> Mapping[Estimand, xr.DataArray]:
        """Draws (chain, draw) of estimands of true classes."""
        return draws(levels(self.matrices, group), asked)


@dataclass(frozen=True, repr=False, eq=False)
class FittedTransitions(Fitted):
    """Change of HER2 class between primary tumour and recurrence, fitted.

    ``draws`` answers transition, flow, flow_difference, discordance, discordance_difference, gain,
    loss and agreement for primary shares as in this cohort, and true_discordance and
    unchanged_given_observed_change where the assay was modelled. ``tree`` is that of all patients;
    ``fits`` has the others by name.
    """

    family: ClassVar[str] = "transition"

    @property
    @abstractmethod
    def matrices(self) -> Sequence[Matrix]:
        """Matrices of every stratum under every reading; the main reading is named ""."""

    @property
    @abstractmethod
    def true_matrices(self) -> Sequence[Matrix]:
        """Matrices of true classes behind fallible readings, none where they are not modelled."""

    @property
    @abstractmethod
    def _table(self) -> pd.DataFrame:
        """Every row of estimates."""

    @property
    def _readings(self) -> str:
        """Which two readings the pairs are, where not primary and recurrence."""
        return ""

    def drawn(
        self, asked: list[Estimand], group: str = "posterior"
    ) -> Mapping[Estimand, xr.DataArray]:
        """Draws (chain, draw) of estimands; a share is between 0 and 1."""
        main = [matrix for matrix in self.matrices if not matrix.reading]
        true = [one for one in asked if one.kind in TRUE_CLASSES]
        if true and not self.true_matrices:
            problem = "true classes were not fitted (assay=False, or no prior for these classes)"
            raise BadInput([Fault(problem, value=str(one)) for one in true])
        found = draws(levels(main, group), [one for one in asked if one not in true])
        return found | (draws(levels(self.true_matrices, group), true) if true else {})

    def decisions(
        self, *, true: bool = False, thresholds: Sequence[float] = THRESHOLDS,
        tilts: Sequence[float] = TILTS, missing: float = 0.0,
        missing_tilts: Sequence[float] = MISSING_TILTS, ultralow: Sequence[float] = (0.0,),
        **where: str,
    ) -> pd.DataFrame:  # fmt: skip
        """Whom to re-biopsy: per 100, number needed and net benefit by primary class.

        ``where`` names the stratum (``hr_status="positive"``; all patients without). ``true``: of
        true classes behind fallible readings, where the assay was modelled, and not of readings, in
        which a change may be a misreading. ``tilts`` are how many times the odds of being
        re-biopsied were higher for patients who changed (1: at random); ``missing_tilts`` how many
        times the odds of a change are higher in a share ``missing`` without a second reading;
        ``ultralow`` shares of the recurrences read as zero that would be ultralow and eligible. See
        ``transition.decision`` for the columns.
        """
        if true and not self.true_matrices:
            problem = "true classes were not fitted (assay=False, or no prior for these classes)"
            raise BadInput(Fault(problem, column="true", value=True))
        of = _TrueRows(self.true_matrices) if true else self
        return decisions(of, self.matrices[0].classes, where, thresholds=thresholds, tilts=tilts,
                         missing=missing, missing_tilts=missing_tilts,
                         ultralow=ultralow)  # fmt: skip

    def next_patient(self, primary: str, **where: str) -> pd.DataFrame:
        """Class at recurrence of one new patient: probability of each, and how well it is known."""
        return next_patient(self, self.matrices[0].classes, primary, where)

    def estimates(self, estimands: Iterable[Asked] | None = None) -> pd.DataFrame:
        """One row an estimand: median and 95 % interval after and before the data, in percent.

        Without ``estimands`` every row of the report, scenarios as further readings; else those
        named, in their order, of the main reading.
        """
        if estimands is None:
            return self._table.copy()
        asked = [parse(one) if isinstance(one, str) else one for one in estimands]
        self.drawn(asked)
        known = self._table[self._table["reading"] == ""].set_index("estimand", drop=False)
        rows: list[Mapping[str, Any]] = []
        for one in asked:
            if str(one) in known.index:
                rows.append({str(name): cell for name, cell in known.loc[str(one)].items()})
            else:
                rows += self._rows(one)
        return estimates_table(rows)

    def _rows(self, asked: Estimand) -> list[dict[str, Any]]:
        main = [matrix for matrix in self.matrices if not matrix.reading]
        of = self.true_matrices if asked.kind in TRUE_CLASSES else main
        strata = {factor for factor, _ in asked.given}
        strata |= {asked.contrast.factor} if asked.contrast else set()
        fitted = [m for m in of if {factor for factor, _ in m.given} == strata - {"her2_change"}]
        return summarise(fitted, [Line(asked, "primary shares as in this cohort")])

    def _check_defaults(self, model: str) -> None:
        """Refuse a fit that a sensitivity analysis cannot start from: other model or priors."""
        first = next(iter(self.fits.values()))
        used = first.provenance.get("priors", {})
        changed = [n for n, one in ROW_PRIORS.items() if used.get(n, str(one)) != str(one)]
        if first.model != model or changed:
            problem = "sensitivity of transitions starts from the default model and priors"
            remedy = "fit with these, or fit again with each choice"
            value = ", ".join(changed) or first.model
            raise BadInput(Fault(problem, value=value, allowed=model, remedy=remedy))

    def told(self) -> list[str]:
        """Discordance and kappa of all patients, one line each."""
        from her2bayes.page.numbers import interval

        known = self._table[self._table["reading"] == ""]
        lines = []
        for row in known[known["estimand"].isin(["discordance[]", "agreement[her2]"])].to_dict(
            "records"
        ):
            ends = (row[f"posterior_{end}"] for end in ("median", "lower", "upper"))
            unit = f" {row['unit']}" if row["unit"] else ""
            lines.append(f"{row['estimand']} {interval(*ends)}{unit} (95 % CrI)")
        return lines

    def priors(self) -> Mapping[str, tuple[str, str]]:
        """Each prior as it is written, and what it says in clinical units."""
        from her2bayes.page.fit_card import stated_priors

        found: dict[str, tuple[str, str]] = {}
        for one in reversed(list(self.fits.values())):
            found |= stated_priors(one)
        return found

    @property
    def figures(self) -> Figures:
        """Figures: ``flow``, ``matrix``, ``contraction`` of a stratum, ``scenarios``, ``tipping``.

        The first three take the levels of a stratum, ``matrix(hr_status="positive")``; without any
        they are of all patients.
        """
        drawings: dict[str, Callable[..., Figure]] = {
            "flow": lambda **of: figures.alluvial(
                figures.flow_square(self._of(of), self._readings), self._of(of).pairs
            ),
            "matrix": lambda **of: figures.heat(
                figures.matrix_square(self._of(of), pairs=self._readings)
            ),
            "contraction": self._contraction,
            "scenarios": self._scenarios,
        }
        if self.tipping is not None:
            curve = self.tipping
            drawings["tipping"] = lambda: figures.tipping_curve(curve, self._of({}))
        return Figures(drawings)

    @property
    @abstractmethod
    def tipping(self) -> pd.DataFrame | None:
        """True discordance by accuracy of the assay, None where the assay was not modelled."""

    def _of(self, of: Mapping[str, str]) -> Matrix:
        """Matrix of the main reading in one stratum."""
        known = {tuple(sorted(m.given)): m for m in self.matrices if not m.reading}
        asked = tuple(sorted(of.items()))
        if asked not in known:
            named = [", ".join(f"{f}={level}" for f, level in given) for given in known]
            allowed = "; ".join(name or "none (all patients)" for name in named)
            raise BadInput(Fault("no such stratum was fitted", value=dict(of), allowed=allowed))
        return known[asked]

    def _contraction(self, **of: str) -> Figure:
        lines = figures.contraction_lines(self._of(of), self._table)
        return figures.intervals(lines, label=figures.PERCENT, remark="contraction", legend=True)

    def _scenarios(self) -> Figure:
        named = {m.reading or "as reported": m for m in self.matrices if not m.given}
        return figures.intervals(figures.scenario_lines(named), label=figures.PERCENT, legend=True)


@dataclass(frozen=True, repr=False, eq=False)
class FittedPairs(FittedTransitions):
    """Change of HER2 class of patients with paired readings, or of a table of paired counts.

    ``tree`` has, beside what the sampler drew, one ``log_likelihood`` variable: of each kind of
    pair (primary reading -> recurrence reading) in each stratum. Leaving one out (``az.loo``) is
    not leaving a patient out.
    """

    result: CohortTransitions

    @property
    def title(self) -> str:
        """What was fitted, of whom."""
        by = f" by {' and '.join(self.result.by)}" if self.result.by else ""
        number = int(self.result.pairs.overall["counts"].sum())
        return f"Change of HER2 class{by}: {number:,} pairs of {self.result.pairs.title}"

    @property
    def fits(self) -> Mapping[str, Fit]:
        """Fits by what each is of; the first is of all patients and readings."""
        return self.result.fits

    @cached_property
    def tree(self) -> xr.DataTree:
        """Draws of the fit of all patients as ArviZ takes them."""
        found = next(iter(self.fits.values())).tree.copy()
        found["log_likelihood"] = xr.DataTree(
            pair_likelihood(found["posterior"].to_dataset(), self.result.pairs.overall)
        )
        return found

    @property
    def matrices(self) -> Sequence[Matrix]:
        """Matrices of every stratum under every reading."""
        return self.result.matrices

    @property
    def true_matrices(self) -> Sequence[Matrix]:
        """Matrices of true classes under the default prior of the assay."""
        return self.result.assay.matrices if self.result.assay is not None else ()

    @property
    def _table(self) -> pd.DataFrame:
        return self.result.estimates

    @property
    def tipping(self) -> pd.DataFrame | None:
        """True discordance by accuracy of the assay."""
        return self.result.assay.tipping if self.result.assay is not None else None

    def classical(self) -> pd.DataFrame:
        """Counts with exact intervals, kappa, tests of symmetry: pairs of single classes."""
        return self.result.classical.copy()

    def targets(self, conclusions: Sequence[Conclusion]) -> Sequence[Target]:
        """What a sensitivity analysis of conclusions on these pairs asks."""
        from her2bayes.transition.sensitivity_pairs import targets_of_pairs

        self._check_defaults("her2_transition")
        return targets_of_pairs(self.result.pairs, conclusions)

    def section(self) -> Section:
        """This analysis as a section of a report."""
        from her2bayes.transition.section_cohort import pairs_section

        return pairs_section(self.result)

    def part(self, *, suppress_below: int = 0) -> Part:
        """This analysis as a part of a report; to be shared, small counts are hidden."""
        from her2bayes.page.report import Part, slug
        from her2bayes.page.shared import conceal_flow
        from her2bayes.transition.section_cohort import cohort_section, pairs_section

        pairs, below = self.result.pairs, suppress_below
        flow = pairs.flow if pairs.flow is not None else pd.DataFrame()
        shown = self.result.classical.iloc[:0] if below else self.result.classical
        about = {"id": pairs.id or slug(pairs.title), "title": pairs.title,
                 "design": "patient data", "doi": "", "digest": pairs.digest,
                 "citation": pairs.source.get("citation", "")}  # fmt: skip
        return Part(
            "transition",
            (pairs_section(self.result, below),),
            self.result.estimates,
            shown,
            about=about,
            cohort=cohort_section(pairs, below),
            tables={"flow": conceal_flow(flow, below) if below and len(flow) else flow},
            evidence_kind="patients",
        )

    def packed(self) -> xr.DataTree:
        """Counts, tables of rows and the trees of all fits; no patients."""
        return packed.pack_pairs(self.result)

    @classmethod
    def unpacked(cls, tree: xr.DataTree) -> FittedPairs:
        """Make the object of a ``packed`` tree; nothing is sampled."""
        return cls(packed.unpack_pairs(tree))


@dataclass(frozen=True, repr=False, eq=False)
class FittedFacts(FittedTransitions):
    """Change of HER2 class behind a paper's printed facts, summed over all tables they allow.

    ``tree`` of listed tables is the sampler's, with ``log_likelihood`` of the facts of each block.
    Where tables are sampled with the rows (Gibbs), or the posterior is an exact mixture, there is
    no ``log_likelihood``: the facts' probability is a sum over tables that is never evaluated.
    """

    title_of: str
    result: paper.Result
    evidence: pd.DataFrame
    about: Mapping[str, str]
    cohort: Section | None = None

    @property
    def title(self) -> str:
        """What was fitted, of whom."""
        return f"Change of HER2 class from the printed facts of {self.title_of}"

    @property
    def fits(self) -> Mapping[str, Fit]:
        """Fits by what each is of; the first is of all patients under the first row prior."""
        return self.result.fits

    @property
    def matrices(self) -> Sequence[Matrix]:
        """Matrices of every stratum under every reading of the facts and row prior."""
        return self.result.matrices

    @property
    def _readings(self) -> str:
        return self.result.pairs

    @property
    def true_matrices(self) -> Sequence[Matrix]:
        """Matrix of true classes of all patients, the assay known."""
        from her2bayes.transition.assay_error import known_matrix

        return () if self.result.true is None else (known_matrix(self.result.true),)

    @property
    def _table(self) -> pd.DataFrame:
        return self.result.estimates

    @property
    def tipping(self) -> pd.DataFrame | None:
        """True discordance by accuracy of the assay."""
        return self.result.tipping

    def classical(self) -> pd.DataFrame:
        """Counts that are the same in every admissible table, and ranges of tests."""
        return self.result.classical.copy()

    def targets(self, conclusions: Sequence[Conclusion]) -> Sequence[Target]:
        """What a sensitivity analysis of conclusions on these facts asks."""
        from her2bayes.transition.sensitivity import targets_of_facts

        self._check_defaults("latent_table")
        return targets_of_facts(self.result.facts, self.result.classes, conclusions)

    def section(self) -> Section:
        """This analysis as a section of a report."""
        from her2bayes.transition.section import section

        return section(self.result)

    def part(self, *, suppress_below: int = 0) -> Part:
        """This analysis as a part of a report, beside the audited claims of the paper."""
        from her2bayes.page.report import Part

        if suppress_below:
            problem = "--suppress-below is for patients"
            raise BadInput(Fault(problem, remedy="leave it out for a study"))
        return Part(
            "transition",
            (self.section(),),
            self.result.estimates,
            about=self.about,
            cohort=self.cohort,
            tables={"flow": paper.facts_flow(self.result)},
            evidence=self.evidence,
        )

    def packed(self) -> xr.DataTree:
        """Facts, tables of rows and the trees of all fits."""
        about = {"title": self.title_of, "about": dict(self.about)}
        return packed.pack_facts(self.result, self.evidence, about)

    @classmethod
    def unpacked(cls, tree: xr.DataTree) -> FittedFacts:
        """Make the object of a ``packed`` tree; nothing is sampled."""
        result, evidence, said = packed.unpack_facts(tree)
        return cls(said["title"], result, evidence, said["about"])


@told
def fit_transitions(
    data: Any,
    *,
    map: str | Path | Sequence[str | Path] | None = None,  # noqa: A002 (the flag of the script)
    by: By | None = None,
    primary: str = "primary",
    recurrence: str = "recurrence",
    n: str = "n",
    classes: Sequence[str] | None = None,
    assay: bool = True,
    model: str | Path | ModuleType = MODELS[0],
    priors: Mapping[str, Prior] | None = None,
    seed: int = SEED,
    quick: bool = False,
    sampling: Sampling | None = None,
    store: str | Path | Store | None = None,
    say: Say = lambda _: None,
    progress: bool = False,  # read by ``told``
) -> FittedTransitions:
    """Fit how HER2 status changes from the primary tumour to the recurrence.

    ``data`` is one of: a study (``load_study``) that prints facts on pairs; patients with two
    readings each, from ``read_patients``, a file or data frame (columns ``primary`` and
    ``recurrence``) or a folder with its column ``map`` (several folders and maps are pooled, with
    the factor ``study``); a table of paired counts, in which a column ``n`` says how many pairs a
    row stands for. A reading is a class (zero, low, positive, or ``classes`` in order) or a set of
    them (``zero/low``). ``by`` names factors to stratify by, crossed where several; a mapping gives
    their levels in order.

    ``assay`` also models true classes behind fallible readings, where the assay's prior covers the
    classes. ``model`` is ``her2_transition`` (rows pooled over strata), or
    ``her2_transition_dirichlet`` (independent), or a file of your own; a study takes none.
    ``priors`` replace those of its ``DEFAULT_PRIORS`` and, for ``reads_*``, those of the assay.
    ``sampling`` replaces what ``seed`` and ``quick`` say. ``store`` is a folder that keeps fits,
    ``say`` is told of each step.

    Shares are probabilities; estimates are in percent. Raises ``BadInput`` with every fault of
    data, factors and priors before anything is drawn. Source: ``her2_transition`` and
    ``latent_table`` hold the equations; sets are coarsened at random (Heitjan and Rubin 1991).

    With ``progress`` stderr says what is being waited for.

    >>> import pandas as pd
    >>> pairs = pd.DataFrame({"primary": ["zero", "zero", "low", "low"],
    ...                       "recurrence": ["zero", "low", "zero", "low"], "n": [40, 16, 25, 60]})
    >>> fit = fit_transitions(pairs, quick=True)  # doctest: +SKIP
    >>> fit.draws("transition[zero -> low]").mean()  # doctest: +SKIP
    """
    settings = sampling or Settings(seed, quick).sampling
    kept = Store(Path(store)) if isinstance(store, str | Path) else store
    if isinstance(data, Study):
        _refuse({"map": map is not None, "model": model != MODELS[0], "classes": bool(classes)})
        paper.check_applies(data)
        rows = paper.with_priors(len(data.factors["her2"].levels), priors or {})
        named = None if by is None else tuple(cohort.factors_of(by))
        how = paper.Specification(rows, named, assay, settings, kept)
        return _of_study(data, how, say)
    names = {"primary": primary, "recurrence": recurrence}
    build, defaults = _model(model)
    pairs, faults = _tried(lambda: _pairs(data, map, by, names, n, classes))
    known = dict(defaults)
    covered = pairs is None or has_prior(pairs.classes)
    known |= _reads() if assay and covered else {}
    full, wrong = _tried(lambda: complete(priors, known, same_family=not is_own(model)))
    faults += wrong
    if pairs is not None and full is not None and assay and covered:
        faults += _tried(lambda: read_rows(list(pairs.classes), full, {}))[1]
    raise_if(faults)
    assert pairs is not None  # else there are faults
    spec = cohort.Specification(build, dict(priors or {}), assay, settings, kept)
    return FittedPairs(cohort.run_pairs(pairs, spec, say))


def _refuse(given: Mapping[str, bool]) -> None:
    raise_if(
        [
            Fault(f"{name} is for patients and counts", column=name, remedy="leave it out")
            for name, is_given in given.items()
            if is_given
        ]
    )


def _tried[T](make: Callable[[], T]) -> tuple[T | None, list[Fault]]:
    """What ``make`` returns, or its faults, so that those of several steps are told together."""
    try:
        return make(), []
    except BadInput as bad:
        return None, list(bad.faults)


def _reads() -> dict[str, Prior]:
    return {name: one for name, one in assay.DEFAULT_PRIORS.items() if name.startswith("reads_")}


def _model(model: str | Path | ModuleType) -> tuple[Callable[..., Any], Mapping[str, Prior]]:
    """``build`` and default priors of a model of this family, or of the user's own."""
    if is_own(model):
        own = own_model(model)
        return own.build, own.defaults
    if model not in MODELS:
        allowed = f"{', '.join(MODELS)}, or a file of your own"
        raise BadInput(Fault("no such model of transitions", value=model, allowed=allowed))
    module = import_module(f"her2bayes.transition.{model}")
    return module.build, module.DEFAULT_PRIORS


def _pairs(
    data: Any,
    mapped: str | Path | Sequence[str | Path] | None,
    by: By | None,
    names: Mapping[str, str],
    n: str,
    classes: Sequence[str] | None,
) -> Pairs:
    """Counts of pairs of whatever holds them. Raises ``BadInput``."""
    if isinstance(data, Cohort):
        return cohort.pairs_of(data, by or ())
    if mapped is not None:
        maps = [mapped] if isinstance(mapped, str | Path) else list(mapped)
        where = [data] if isinstance(data, str | Path) else list(data)
        return cohort.pairs_of(cohort.read_cohorts(where, maps), by or ())
    if not isinstance(data, Patients):
        data = _repeated(data, n)
        found = read_patients(data, classes=classes)
        if not set(found.her2) >= set(names):
            found = read_patients(data, her2=names, classes=classes)
        data = found
    if data.cohort is not None:
        return cohort.pairs_of(data.cohort, by or ())
    counted = cohort.count_pairs(data, cohort.factors_of(by))
    if not int(counted.overall["counts"].sum()):
        remedy = "transitions need pairs; for HER2 status alone use fit_distribution"
        problem = "no patient has both a primary and a recurrence reading"
        raise BadInput(Fault(problem, file=data.file, remedy=remedy))
    return replace(
        counted, title=data.name, remarks=data.notes, digest=data.digest,
        source={"citation": data.name},
    )  # fmt: skip


def _repeated(data: Any, n: str) -> Any:
    """Rows of a table of counts, as often as each counts; other data as they are."""
    if isinstance(data, str | Path):
        return data if not (table := _counts_file(Path(data), n)) else _repeated(table, n)
    table = as_arrow(data)
    if n not in table.column_names:
        return data
    frame = table.to_pandas()
    number = pd.to_numeric(frame[n], errors="coerce")
    wrong = frame.index[~((number >= 0) & (number % 1 == 0))]
    raise_if(
        [
            Fault("not a number of pairs", "data frame", int(row) + 2, n, frame[n][row],
                  "a whole number from 0")
            for row in wrong
        ]
    )  # fmt: skip
    return frame.loc[frame.index.repeat(number.astype(int))].drop(columns=n)


def _counts_file(path: Path, n: str) -> Any:
    """A text table that has a column of counts; None for any other source."""
    from her2bayes.evidence.read_table import read_table

    if not path.is_file() or path.suffix in (".parquet", ".pq"):
        return None
    columns = read_table(path).columns
    return columns if n in columns.column_names else None


def _of_study(study: Study, how: paper.Specification, say: Say) -> FittedFacts:
    from her2bayes.page.cohort import cohort_section

    result = paper.run_facts(study, how, say)
    about = {"id": study.id, "title": study.title, "digest": study.digest} | {
        key: str(study.meta.get(key, "")) for key in ("citation", "doi", "design")
    }
    evidence = paper.evidence(study, result)
    return FittedFacts(study.title, result, evidence, about, cohort_section(study))
