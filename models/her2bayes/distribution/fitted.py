"""``fit_distribution``: HER2 status of a study, of patients or of counts, fitted and answered."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import xarray as xr

from her2bayes.bayes.prior import Prior
from her2bayes.distribution import cells as cell_tables
from her2bayes.distribution import estimates as rows_of
from her2bayes.distribution.cells import By, Standard, cells_from, contracts, names, population
from her2bayes.distribution.draws import Crossed, Partition, unanswered
from her2bayes.distribution.estimates import MODELS, Analysis, How
from her2bayes.errors import BadInput, Fault, raise_if, suggestion
from her2bayes.estimand import Estimand, parse
from her2bayes.evidence.printed.study import Study
from her2bayes.inference.fit import Fit
from her2bayes.inference.own_model import is_own, own_model
from her2bayes.inference.progress import told
from her2bayes.inference.sampling import Sampling, Settings
from her2bayes.inference.store import Store
from her2bayes.results.fitted import Asked, Figures, Fitted

if TYPE_CHECKING:
    import pandas as pd

    from her2bayes.evidence.printed.tables import Conclusion
    from her2bayes.page.report import Part
    from her2bayes.page.section import Section
    from her2bayes.sensitivity.target import Target

_NAMES = {name.removeprefix("her2_distribution").lstrip("_") or "multinomial": name
          for name in MODELS}  # fmt: skip


@dataclass(frozen=True, repr=False, eq=False)
class FittedDistribution(Fitted):
    """Shares of HER2 classes, fitted: what ``fit_distribution`` returns.

    ``counts`` holds tables ``(subgroup, her2)`` of readings of one class by factor, ``labels`` the
    factors in words; ``analyses`` one table and fit each. ``facts`` says who was counted, ``flow``
    what became of every row of a mapped file, ``about`` whose data they are, ``described`` the
    numbers of Table 1 (``her2``, ``value``, ``patients``) by name.
    """

    family: ClassVar[str] = "distribution"

    name: str
    labels: Mapping[str, str]
    counts: Mapping[str, xr.DataArray]
    analyses: tuple[Analysis, ...]
    facts: tuple[str, ...] = ()
    about: Mapping[str, str] = field(default_factory=dict)
    flow: pd.DataFrame | None = None
    described: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    _kept: dict[str, Any] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """What was fitted, of whom."""
        factors = list(dict.fromkeys(f for a in self.analyses for f in a.table.levels))
        by = f" by {', '.join(factors)}" if factors else ""
        return f"HER2 status of {self.name}{by}: {self.patients:,} patients"

    @property
    def patients(self) -> int:
        """Patients counted, those of unknown status among them."""
        return max(
            int(a.table.patients.sum())
            if isinstance(a.table, Crossed)
            else int(a.table.counts.sum())
            for a in self.analyses
        )

    @property
    def fits(self) -> Mapping[str, Fit]:
        """Fits by factor ("" for all patients); crossed factors are one fit."""
        return {analysis.factor: analysis.fit for analysis in self.analyses}

    @cached_property
    def tree(self) -> xr.DataTree:
        """Draws of the first fit as ArviZ takes them.

        ``log_likelihood`` has one variable: readings of one class and of several are added up for
        each row of the table. Leaving a row out (``az.loo``) is not leaving a patient out.
        """
        first = self.analyses[0].fit.tree
        likelihood = first["log_likelihood"].to_dataset()
        if "partial" not in likelihood:
            return first
        both = likelihood["observed_counts"] + likelihood["partial"].sum("set")
        found = first.copy()
        found["log_likelihood"] = xr.DataTree(both.to_dataset(name="observed_counts"))
        return found

    def drawn(self, asked: list[Estimand], group: str) -> Mapping[Estimand, xr.DataArray]:
        """Draws of each estimand, from the first table that answers it."""
        found: dict[Estimand, xr.DataArray] = {}
        for analysis, own in self._answering(asked):
            found |= analysis.drawn(own, group)
        return found

    def estimates(self, estimands: Iterable[Asked] | None = None) -> pd.DataFrame:
        """One row an estimand, everything the report holds where none is named."""
        from her2bayes.inference.estimates import estimates_table

        if estimands is None:
            if "estimates" not in self._kept:
                self._kept["estimates"] = rows_of.estimates_of(self.analyses)
            table: pd.DataFrame = self._kept["estimates"]
            return table.copy()
        asked = [parse(text) if isinstance(text, str) else text for text in estimands]
        rows = {
            row["estimand"]: row
            for analysis, own in self._answering(asked)
            for row in rows_of.estimates(analysis, own)
        }
        return estimates_table([rows[str(one)] for one in asked])

    def classical(self, *, every: bool = False) -> pd.DataFrame:
        """Classical numbers of readings of one class: Wilson, Newcombe, Cramér's V, standardised.

        ``every`` adds Clopper-Pearson and Jeffreys intervals, tests of association (Pearson, exact
        where it can be, Kruskal-Wallis for ordered classes, trends where ``by`` gives the order of
        levels) and,
        where factors are crossed, the generalised Cochran-Mantel-Haenszel test.
        """
        from her2bayes.distribution import classical

        wanted = [str(one) for a in self.analyses for one in rows_of.questions(a.table)]
        crossed = [a.table for a in self.analyses if isinstance(a.table, Crossed)]
        return classical.table(self.counts, wanted, crossed, every=every)

    def unknown(self, odds: Sequence[float] = (0.0, 0.5, 1.0, 2.0, np.inf)) -> pd.DataFrame:
        """Shares of all patients if those of unknown status are not missing at random.

        In each cell the odds of one class among patients of unknown status are ``odds`` times
        those among the others; 0: none of them is of the class, infinite: all of them are. Nothing
        is fitted again. Empty where no reading is unknown.
        """
        from her2bayes.distribution.section_crossed import unknown_table

        return unknown_table(self.analyses, odds)

    @property
    def figures(self) -> Figures:
        """``shares(factor)``, ``grid(rows, columns)``, ``groups(factor)``, ``prior()``."""
        from her2bayes.distribution import section_crossed as section

        known = {"shares": section.shares_figure, "prior": section.prior_figure}
        crossed = [a.table for a in self.analyses if isinstance(a.table, Crossed)]
        if crossed and len(crossed[0].levels) > 1:
            known["grid"] = section.grid_figure
        if crossed and crossed[0].exchangeable:
            known["groups"] = section.groups_figure
        return Figures({name: _bound(draw, self) for name, draw in known.items()})

    def section(self) -> Section:
        """This analysis as a section of a report."""
        from her2bayes.distribution import section, section_crossed

        if any(isinstance(a.table, Crossed) for a in self.analyses):
            return section_crossed.crossed_section(self)
        return section.section(self.result(), "printed" if "doi" in self.about else "counted")

    @property
    def tables(self) -> Mapping[str, pd.DataFrame]:
        """``classical`` with every interval and test, and what became of the rows of a file."""
        flow = {"flow": self.flow} if self.flow is not None else {}
        return {"classical": self.classical(every=True), **flow}

    def part(self, *, suppress_below: int = 0) -> Part:
        """This analysis as a part of a report; to share, without anything that is counted."""
        from her2bayes.distribution import section_crossed as section
        from her2bayes.page.report import Part, slug
        from her2bayes.page.shared import conceal_flow

        own = any(isinstance(a.table, Crossed) for a in self.analyses)
        about = {"id": slug(self.name), "title": self.title, **self.about}
        kind = "patients" if own else ""
        cohort = section.cohort_section(self, suppress_below)
        if not suppress_below:
            return Part(
                self.family, (self.section(),), self.estimates(), self.classical(), about=about,
                cohort=cohort, tables=self.tables, evidence_kind=kind, methods=section.METHODS,
            )  # fmt: skip
        if not own:
            remedy = "give patients, or counts with one column for each factor"
            problem = "tables of one factor each have no form to share"
            raise BadInput(Fault(problem, value=self.name, remedy=remedy))
        about |= {"title": f"HER2 status of {self.name}"}
        flow = {} if self.flow is None else {"flow": conceal_flow(self.flow, suppress_below)}
        return Part(
            self.family, (section.crossed_section(self, shared=True),),
            section.bare(self.estimates()), about=about, cohort=cohort, tables=flow,
            evidence_kind=kind, methods=section.METHODS,
        )  # fmt: skip

    def result(self) -> rows_of.Result:
        """The same as a report of a study takes it."""
        return rows_of.Result(self.name, self.labels, self.counts, self.analyses, self.estimates())

    def priors(self) -> Mapping[str, tuple[str, str]]:
        """Each prior as it is written, and what it says in clinical units."""
        from her2bayes.page.fit_card import stated_priors

        return {
            name: pair for one in self.analyses for name, pair in stated_priors(one.fit).items()
        }

    def targets(self, conclusions: Sequence[Conclusion]) -> Sequence[Target]:
        """One target for each table that answers some of the conclusions."""
        from her2bayes.distribution.sensitivity import targets_of_fit

        return targets_of_fit(self.name, self.analyses, self.counts, conclusions)

    def packed(self) -> xr.DataTree:
        """Fits and tables as groups, the rest as attributes."""
        groups: dict[str, xr.DataTree | xr.Dataset] = {}
        said = []
        for number, analysis in enumerate(self.analyses):
            groups[f"fit_{number}"] = analysis.fit.tree
            table, more = _packed_table(analysis)
            groups[f"table_{number}"] = table
            said.append({**more, "note": analysis.note})
        for number, counts in enumerate(self.counts.values()):
            groups[f"counts_{number}"] = _plain(counts.to_dataset(name="counts"))
        tree = xr.DataTree.from_dict(groups)
        record = {
            "name": self.name, "labels": dict(self.labels), "factors": list(self.counts),
            "facts": list(self.facts), "analyses": said, "about": dict(self.about),
            "flow": None if self.flow is None else self.flow.to_dict("list"),
            "described": {name: one.to_dict("list") for name, one in self.described.items()},
            "attributes": [dict(t.attrs) for t in self.counts.values()],
        }  # fmt: skip
        tree.attrs["distribution"] = json.dumps(record)
        return tree

    @classmethod
    def unpacked(cls, tree: xr.DataTree) -> FittedDistribution:
        """Make the object of a ``packed`` tree."""
        import pandas as pd

        said = json.loads(tree.attrs["distribution"])
        analyses = tuple(
            _unpacked(tree.children[f"fit_{number}"], tree[f"table_{number}"].to_dataset(), one)
            for number, one in enumerate(said["analyses"])
        )
        counts = {
            factor: tree[f"counts_{number}"]
            .to_dataset()["counts"]
            .assign_attrs(said["attributes"][number])
            for number, factor in enumerate(said["factors"])
        }
        flow = None if said["flow"] is None else pd.DataFrame(said["flow"])
        facts, about = tuple(said["facts"]), said["about"]
        numbers = {name: pd.DataFrame(one) for name, one in said["described"].items()}
        return cls(said["name"], said["labels"], counts, analyses, facts, about, flow, numbers)

    def _answering(self, asked: Sequence[Estimand]) -> list[tuple[Analysis, list[Estimand]]]:
        """Estimands by the first analysis that answers them; ``BadInput`` for the others."""
        left = list(dict.fromkeys(asked))
        found = []
        for analysis in self.analyses:
            own = list(analysis.drawn(left, "prior"))
            left = [one for one in left if one not in own]
            if own:
                found.append((analysis, own))
        raise_if([unanswered(one, [a.table for a in self.analyses]) for one in left])
        return found


@told
def fit_distribution(
    data: Any,
    by: By | None = None,
    *,
    classes: Sequence[str] | None = None,
    end: str = "",
    exchangeable: str | Sequence[str] = (),
    interactions: bool = True,
    partial: bool = True,
    standard: Any = None,
    describe: str | Sequence[str] = (),
    model: str | Path | ModuleType = "multinomial",
    priors: Mapping[str, Prior] | None = None,
    sampling: Sampling | None = None,
    quick: bool = False,
    seed: int | None = None,
    store: str | Path | None = None,
    name: str = "",
    progress: bool = False,  # read by ``told``
) -> FittedDistribution:
    """Fit the distribution of HER2 status across subgroups.

    ``data`` is a printed study (``load_study``), patients (``read_patients``, a data frame, a
    file), counts (``read_counts``, or a frame with ``factor, level, her2, n``, or with one column a
    crossed factor, ``her2`` and ``n``), or a contract: StatusCounts ``(subgroup, her2)`` or
    StatusCells (``counts`` (subgroup, reading), ``incidence`` (reading, her2)).

    ``by``: factors; a mapping gives their levels in order. Factors of patients and of crossed
    counts are crossed in one model, with every interaction of two (``interactions=False``: none);
    printed tables and counts by one factor each are fitted one by one, because the same patients
    stand in each. ``exchangeable`` names factors whose levels are a sample of groups (centres,
    years): they get a predictive share for a new one. ``classes`` are the HER2 classes in order. A
    reading may be a set of classes ("zero/low") or "unknown"; ``partial=False`` leaves sets out.
    ``end`` is "primary" or "recurrence" where patients have readings of both. ``standard`` is a
    frame of factors and ``weight``: the population to standardise to (default: the cohort).
    ``describe`` names columns of numbers (age) for Table 1 of a report of patients.

    ``model``: "multinomial", "dirichlet" or "ordered" (the last two: one factor at a time,
    readings of one class), or one's own: a module or a file with ``DEFAULT_PRIORS``,
    ``build(data, priors)`` of the contract and, where ``share`` does not answer, ``draws``.
    ``priors`` replace those of the model by name. ``quick``: fewer draws
    and chains. ``store``: folder where fits are kept and found again.

    With ``progress`` stderr says what is being waited for.

    Raises ``BadInput`` with everything wrong, before the first draw.

    >>> import her2bayes as hb
    >>> paper = hb.load_study("shi2023")
    >>> fit = hb.fit_distribution(paper, by="hr_status")  # doctest: +SKIP
    >>> fit.draws("share[her2=low | hr_status=positive]")  # doctest: +SKIP
    """
    settings = Settings(**({"seed": seed} if seed is not None else {}), quick=quick)
    if sampling is not None and (quick or seed is not None):
        raise BadInput(Fault("sampling and quick or seed", remedy="give the one or the others"))
    own = own_model(model) if is_own(model) else None
    how = How(
        own.name if own else _model_name(str(model)), own, priors,
        sampling=sampling or settings.sampling,
        store=Store(Path(store)) if store is not None else None,
    )  # fmt: skip
    groups = (exchangeable,) if isinstance(exchangeable, str) else tuple(exchangeable)
    if isinstance(data, Study):
        raise_if(cell_tables.not_described([describe] if isinstance(describe, str) else describe))
        return _of_study(data, by, groups, how)
    tables, who = contracts(data, by, classes=classes, end=end, describe=describe)
    if isinstance(tables, dict):
        made = _of_partitions(name or who.name, tables, groups, how)
    else:
        cells = tables if partial else cell_tables.singles(tables)
        table = Crossed(cells, groups, interactions, population(standard, cells), _alpha(priors))
        made = _of_cells(name or who.name, table, how)
    return replace(made, about=who.about, flow=who.flow, described=who.described)


def _model_name(model: str) -> str:
    if model not in _NAMES and model not in MODELS:
        raise BadInput(
            Fault("no such model of HER2 status", column="model", value=model,
                  allowed=", ".join(_NAMES), remedy=suggestion(model, _NAMES))
        )  # fmt: skip
    return _NAMES.get(model, model)


def _alpha(priors: Mapping[str, Prior] | None) -> float:
    from her2bayes.distribution.her2_distribution_crossed import DEFAULT_PRIORS

    one = (priors or {}).get("alpha", DEFAULT_PRIORS["alpha"])
    return float(dict(one.parameters).get("sigma", 1.5))  # type: ignore[arg-type]


def _no_groups(groups: Sequence[str]) -> list[Fault]:
    remedy = "give patients, or counts with one column for each factor"
    problem = "tables of one factor each hold no exchangeable groups"
    return [Fault(problem, column="exchangeable", value=g, remedy=remedy) for g in groups]


def _of_study(study: Study, by: By | None, groups: Sequence[str], how: How) -> FittedDistribution:
    tables, asked = study.status_counts(), names(by)
    faults = _no_groups(groups)
    if not tables:
        remedy = "add status_counts.csv (data/README.md)"
        faults.append(Fault("no table of HER2 status is printed", value=study.id, remedy=remedy))
    for factor in asked or ():
        if factor not in tables:
            known = [f for f in tables if f]
            faults.append(
                Fault("no table of HER2 status by this factor", None, None, "by", factor,
                      ", ".join(known), suggestion(factor, known))
            )  # fmt: skip
    if how.own and len(asked or ()) > 1:
        remedy = "one factor at a time; tables of a paper cross none"
        faults.append(
            Fault("several factors", column="by", value=", ".join(asked or ()), remedy=remedy)
        )
    raise_if(faults)
    if how.own:
        return _of_own({f: tables[f] for f in (asked or [""])}, study.id, how)
    result = rows_of.run(study, how.store, how.sampling, how=how, by=asked)
    kept = {"estimates": result.estimates}
    about = {"id": study.id, "title": study.title, "digest": study.digest}
    about |= {key: str(study.meta.get(key, "")) for key in ("citation", "doi", "design")}
    return FittedDistribution(
        study.id, result.labels, result.counts, result.analyses, about=about, _kept=kept
    )


def _of_partitions(
    name: str, tables: Mapping[str, xr.DataArray], groups: Sequence[str], how: How
) -> FittedDistribution:
    raise_if(_no_groups(groups))
    if how.own:
        return _of_own({f: t for f, t in tables.items() if f or len(tables) == 1}, name, how)
    tables = cell_tables.with_whole(tables)
    listed = [Partition(factor, "", counts) for factor, counts in tables.items()]
    analyses = rows_of.fit_partitions(listed, how)
    return FittedDistribution(name, _labels(tables), tables, tuple(analyses))


def _of_own(tables: Mapping[str, xr.DataArray], name: str, how: How) -> FittedDistribution:
    """A user's model of a table of one factor, in the contract that such a model takes."""
    if len(tables) != 1:
        remedy = f"one factor at a time: by='{next(iter(tables))}'"
        raise BadInput(Fault("several factors", value=", ".join(tables), remedy=remedy))
    ((factor, counts),) = tables.items()
    return _of_cells(name, Crossed(cells_from(counts, factor)), how)


def _labels(factors: Iterable[str]) -> dict[str, str]:
    words = {f: f.replace("_", " ") for f in factors if f}
    return {f: w[:1].upper() + w[1:] for f, w in words.items()} | {"": "All patients"}


def _of_cells(name: str, table: Crossed, how: How) -> FittedDistribution:
    cells, levels = table.cells, table.levels
    counts = {f: cell_tables.one_level(cells, f) for f in ("", *levels)}
    facts = _facts(cells)
    for factor in table.exchangeable:
        if table.new(factor) in levels.get(factor, ()):
            problem = "this level stands for a group not seen"
            raise BadInput(
                Fault(problem, column=factor, value=table.new(factor), remedy="rename it")
            )
    if how.model == MODELS[0] or how.own:
        cell_tables.design(cells, table.exchangeable, interactions=table.interactions)
        analyses = [rows_of.fit_crossed(table, how, facts[-1] if len(facts) > 1 else "")]
        return FittedDistribution(name, _labels(levels), counts, tuple(analyses), facts)
    faults = _no_groups(table.exchangeable)
    others = {k: v for k, v in _NAMES.items() if v == how.model}
    if counts[""].attrs["partial"]:
        problem = f"the {next(iter(others), how.model)} model takes readings of one class"
        remedy = "partial=False leaves the others out"
        faults.append(Fault(problem, value=counts[""].attrs["partial"], remedy=remedy))
    if len(levels) > 1:
        remedy = "one factor at a time, or model='multinomial'"
        faults.append(Fault("this model crosses no factors", value=how.model, remedy=remedy))
    raise_if(faults)
    listed = {f: counts[f] for f in (*levels, "")}
    made = _of_partitions(name, listed, (), how)
    return FittedDistribution(name, _labels(levels), listed, made.analyses, facts)


def _facts(cells: xr.Dataset) -> tuple[str, ...]:
    """Who was counted, and what of them is not known."""
    data = cell_tables.split(cells)
    total = int(cells["counts"].sum())
    exact, partial, unknown = (int(data[n].sum()) for n in ("exact", "partial", "unknown"))
    lines = [f"{total:,} patients: {exact:,} with a reading of one class"]
    if partial:
        sets = {str(s): int(data["partial"].sel(set=s).sum()) for s in data["set"].values}
        named = ", ".join(f"{name} {number:,}" for name, number in sets.items())
        lines.append(f"{partial:,} readings of several classes ({named}), as sets of classes")
    if unknown:
        lines.append(f"{unknown:,} of unknown status, assumed missing at random within their cell")
    left = int(cells.attrs.get("level_not_known", 0))
    if left:
        lines.append(f"{left:,} more left out: the level of a factor is not known")
    return tuple(lines)


def _bound(draw: Any, fit: FittedDistribution) -> Any:
    from functools import partial as bind

    bound = bind(draw, fit)
    bound.__doc__ = draw.__doc__
    return bound


def _plain(data: xr.Dataset) -> xr.Dataset:
    """Without attributes: they are written as one text."""
    return data.drop_attrs(deep=True)


def _packed_table(analysis: Analysis) -> tuple[xr.Dataset, dict[str, Any]]:
    table = analysis.table
    if isinstance(table, Partition):
        said: dict[str, Any] = {"factor": table.factor, "parent": table.parent}
        return _plain(table.counts.to_dataset(name="counts")), said
    said = {
        "exchangeable": list(table.exchangeable), "interactions": table.interactions,
        "standard": table.standard, "alpha_sigma": table.alpha_sigma,
        "attributes": dict(table.cells.attrs),
    }  # fmt: skip
    return _plain(table.cells), said


def _unpacked(tree: xr.DataTree, table: xr.Dataset, said: dict[str, Any]) -> Analysis:
    tree = xr.DataTree(tree.to_dataset(), children=dict(tree.children))
    fit = Fit(tree, json.loads(tree.attrs["provenance"]))
    if "factor" in said:
        return Analysis(
            Partition(said["factor"], said["parent"], table["counts"]), fit, said["note"]
        )
    standard: Standard | None = None
    if said["standard"]:
        rows, weights = said["standard"]
        standard = {f: tuple(levels) for f, levels in rows.items()}, tuple(weights)
    crossed = Crossed(
        table.assign_attrs(said["attributes"]), tuple(said["exchangeable"]),
        said["interactions"], standard, said["alpha_sigma"],
    )  # fmt: skip
    return Analysis(crossed, fit, said["note"])
