"""Transitions over several studies, fitted: rows of each study, of their average, of a new one.

transition[zero -> low | study=new]          what a new study would find
discordance[| study=average]                 at the primary shares of these studies
number_to_rebiopsy[zero | study=new]         zero primaries for one newly eligible patient
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pandas as pd
import xarray as xr

from her2bayes.bayes.prior import Prior
from her2bayes.classical.proportions import wilson_row
from her2bayes.errors import BadInput, Fault
from her2bayes.estimand import Estimand
from her2bayes.inference.convergence import CONVERGED, LEAST_ESS
from her2bayes.inference.fit import Fit, refit
from her2bayes.inference.fit import Specification as ModelOf
from her2bayes.inference.sampling import Sampling
from her2bayes.page.fit_card import fit_card
from her2bayes.page.section import Figure, Section, Table
from her2bayes.results.fitted import Figures
from her2bayes.synthesis import study_transitions
from her2bayes.synthesis.base import AVERAGE, NEW, STUDY, About, Synthesis, as_fit, at, tail
from her2bayes.synthesis.section import (
    KEY,
    answers,
    forest,
    lines_of,
    refitted,
    refitted_tables,
    said,
    svg,
    wholes,
)
from her2bayes.synthesis.study_transitions import log_odds_of, new_stratum, rows_at
from her2bayes.transition.assay_error import behind_readings, drawn_reads
from her2bayes.transition.decision import (
    MISSING_TILTS,
    THRESHOLDS,
    TILTS,
    Answers,
    decisions,
    next_patient,
)
from her2bayes.transition.draws import Given, Rows, draws
from her2bayes.transition.facts import TableSet
from her2bayes.transition.polytope import TooManyTablesError, enumerate_tables
from her2bayes.transition.rows import strata_design

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Canvas


@dataclass(frozen=True, repr=False, eq=False)
class StudyTransitionsFit(Synthesis):
    """Rows of the transition matrix in an average, a new and every study.

    ``data`` is that of ``study_transitions.build``.
    """

    data: Mapping[str, xr.Dataset]

    @property
    def strata(self) -> xr.Dataset:
        """Studies (and levels) with the number of their pairs."""
        return self.data["strata"]

    @property
    def classes(self) -> list[str]:
        """HER2 classes in order."""
        return [str(name) for name in self.strata["her2"].values]

    @property
    def levels(self) -> list[str]:
        """Levels of the moderator within studies; one empty level without."""
        within = self.about.within
        return list(dict.fromkeys(map(str, self.strata[within].values))) if within else [""]

    # draws

    @cached_property
    def _kept(self) -> dict[str, dict[Given, Rows]]:
        return {}

    def rows(self, group: str = "posterior") -> dict[Given, Rows]:
        """Rows of every study, of the average and of a new study, by conditions."""
        if group not in self._kept:
            self._kept[group] = dict(self._made(group))
        return self._kept[group]

    def _made(self, group: str) -> Iterator[tuple[Given, Rows]]:
        found = self.fit.posterior if group == "posterior" else self.fit.prior
        observed = self.fit.posterior["primary_share"].mean(("chain", "draw"))
        within = self.about.within
        for name in map(str, self.strata["stratum"].values):
            study = str(self.strata[STUDY].sel(stratum=name).item())
            level = str(self.strata[within].sel(stratum=name).item()) if within else ""
            here = found.sel(stratum=name, drop=True)
            cohort = observed.sel(stratum=name, drop=True)
            yield self._given(study, level), Rows(here["transition"], here["primary_share"], cohort)
        design = strata_design(self.strata, self.strata["size"].values)
        shift = self._shifts(found, design)
        weight = self.strata["size"] / self.strata["size"].sum()
        share = found["primary_share"].mean("stratum")
        known = [within] if within else []
        for level in self.levels:
            inside = self.strata[within].values == level if within else slice(None)
            of_level = weight.isel(stratum=inside)
            shares = observed.sel(stratum=of_level["stratum"])
            cohort = (shares * of_level).sum("stratum") / of_level.sum()
            average = rows_at(found["centre"].transpose("chain", "draw", "change") + shift[level])
            yield self._given(AVERAGE, level), Rows(average, share, cohort)
            new = new_stratum(found, design["mean_share"], self.used, known=known,
                              shift=shift[level], seed=self.sampling.seed)  # fmt: skip
            yield self._given(NEW, level), Rows(new, share, cohort)

    def _given(self, study: str, level: str) -> Given:
        within = ((self.about.within, level),) if self.about.within else ()
        return tuple(sorted(((STUDY, study), *within)))

    def _shifts(self, found: xr.Dataset, design: xr.Dataset) -> dict[str, xr.DataArray | float]:
        """What each level of the factor within studies does to the log odds."""
        if not self.about.within:
            return {"": 0.0}
        member = design["member"].sel(factor=self.about.within).values > 0
        names = list(map(str, self.strata["stratum"].values))
        contrast = design["contrast"].sel(stratum=names).values
        used = np.flatnonzero(np.abs(contrast).sum(0) > 0)
        log_odds = log_odds_of(found["transition"].sel(stratum=names)) - found["centre"]
        log_odds = log_odds.transpose("chain", "draw", "change", "stratum")
        effects = log_odds.values @ np.linalg.pinv(contrast[:, used]).T
        own = member[used]
        shifts: dict[str, xr.DataArray | float] = {}
        for level in self.levels:
            at_level = int(np.flatnonzero(self.strata[self.about.within].values == level)[0])
            value = effects[..., own] @ contrast[at_level, used[own]]
            shifts[level] = xr.DataArray(value, log_odds.isel(stratum=0, drop=True).coords,
                                         ("chain", "draw", "change"))  # fmt: skip
        return shifts

    def drawn(
        self, asked: list[Estimand], group: str = "posterior"
    ) -> Mapping[Estimand, xr.DataArray]:
        """Draws (chain, draw) of transitions and what follows; the average where no study is said.

        Without the level of the factor within studies there is no answer: ask for one.
        """
        full = {one: one if _has_study(one) else one.where(**{STUDY: AVERAGE}) for one in asked}
        found = draws(self.rows(group), full.values())
        return {one: found[full[one]] for one in asked}

    # rows

    def asked(self) -> Iterator[tuple[Estimand, str]]:
        """Transitions, discordance and number to re-biopsy: average, new study, then each study."""
        notes = {AVERAGE: "middle of the studies", NEW: "a study not among these"}
        within = self.about.within
        for study, note in notes.items():
            for level in self.levels:
                where = self.level(level)
                for a in self.classes:
                    for b in self.classes:
                        yield at(Estimand("transition", f"{a} -> {b}"), study, **where), note
                for name in self.classes[:-1]:
                    yield at(Estimand("number_to_rebiopsy", name), study, **where), note
                yield (
                    at(Estimand("discordance"), study, **where),
                    (f"{note}; primary shares as in these studies"),
                )
        for name in map(str, self.strata["stratum"].values):
            study = str(self.strata[STUDY].sel(stratum=name).item())
            where = {within: str(self.strata[within].sel(stratum=name).item())} if within else {}
            for a in self.classes:
                for b in self.classes:
                    yield (
                        at(Estimand("transition", f"{a} -> {b}"), study, **where),
                        ("drawn towards the others"),
                    )

    def decisions(
        self, study: str = NEW, *, true: bool = False, reads: Mapping[str, Prior] | None = None,
        thresholds: Sequence[float] = THRESHOLDS, tilts: Sequence[float] = TILTS,
        missing: float = 0.0, missing_tilts: Sequence[float] = MISSING_TILTS,
        ultralow: Sequence[float] = (0.0,), **where: str,
    ) -> pd.DataFrame:  # fmt: skip
        """Whom to re-biopsy: per 100, number needed and net benefit by primary class.

        In a new study by default; ``where`` gives the level of the factor within studies. ``true``:
        of true classes behind fallible readings, under the accuracy that the assay model believes
        in or ``reads`` says (``{"reads_zero": prior("Dirichlet", a=(17, 2.8, 0.2)), ...}``); its
        column ``possible`` is the share of draws, in percent, that such readings can give. See
        ``transition.decision`` for the other columns and what ``tilts`` (of who was re-biopsied),
        ``missing_tilts`` (of a share ``missing`` without a second reading) and ``ultralow`` are.
        """
        if self.about.within and not where:
            where = {self.about.within: self.levels[0]}
        at = {STUDY: study, **where}
        of, possible = self._true(at, reads or {}) if true else (self, 0.0)
        found = decisions(of, self.classes, at, thresholds=thresholds, tilts=tilts, missing=missing,
                          missing_tilts=missing_tilts, ultralow=ultralow)  # fmt: skip
        return found.assign(possible=100 * possible) if true else found

    def _true(self, at: Mapping[str, str], reads: Mapping[str, Prior]) -> tuple[Answers, float]:
        """Rows of true classes behind the readings of a study, and the share of draws kept."""
        given = tuple(sorted(at.items()))
        if given not in self.rows():
            self.drawn([Estimand("discordance", "", given)])  # says what is wrong
        rows, rng = self.rows()[given], np.random.default_rng([self.sampling.seed, 5])
        size = rows.transition.sizes["chain"] * rows.transition.sizes["draw"]
        found, possible = behind_readings(rows, drawn_reads(self.classes, reads, size, rng))
        if possible * size < LEAST_ESS:
            problem = "hardly any draw of these readings can come of so bad an assay"
            raise BadInput(Fault(problem, column="reads", value=f"{possible:.1%} of draws",
                                 remedy="believe in a better one"))  # fmt: skip
        return _Rows({given: found}), possible

    def next_patient(self, primary: str, study: str = NEW, **where: str) -> pd.DataFrame:
        """Class at recurrence of one new patient: probability of each, and how well it is known."""
        return next_patient(self, self.classes, primary, {STUDY: study, **where})

    def _cells(self, stratum: str) -> list[tuple[np.ndarray, int]]:
        """Known cells of a stratum: what each sums over (primary, recurrence), and its pairs."""
        if "pairs" not in self.data:
            return []
        cells, k = self.data["pairs"], len(self.classes)
        place = list(map(str, self.strata["stratum"].values)).index(stratum)
        here = cells.isel(entry=np.flatnonzero(cells["at"].values == place))
        known, rest, left = dict[bytes, int](), None, 0
        for e in range(here.sizes["entry"]):
            inside, of = (here[name].values[e].astype(bool) for name in ("inside", "rest"))
            if rest is not None and (of != rest).any():
                break  # of patients read as sets of classes, which overlap
            known[inside.tobytes()] = int(here["y"].values[e])
            rest, left = of & ~inside, int(here["n"].values[e] - here["y"].values[e])
        if rest is not None:
            known[rest.tobytes()] = left
        return [(np.frombuffer(cell, dtype=bool).reshape(k, k), n) for cell, n in known.items()]

    def _open(self, stratum: str) -> np.ndarray:
        """Rows (primary) some of whose pairs are known as sets of classes only."""
        known = {cell.tobytes() for cell, _ in self._cells(stratum)}
        found = np.zeros(len(self.classes), dtype=bool)
        if known:
            place = list(map(str, self.strata["stratum"].values)).index(stratum)
            inside = self.data["pairs"]["inside"].values[self.data["pairs"]["at"].values == place]
            for cell in inside.astype(bool):
                if cell.tobytes() not in known:
                    found |= cell.reshape(len(found), -1).any(1)
        return found

    @cached_property
    def _counted(self) -> pd.DataFrame:
        """Pairs of each transition that a study prints, and those of its row, printed too."""
        found, k = list[dict[str, Any]](), len(self.classes)
        for name in map(str, self.strata["stratum"].values):
            known = {cell.tobytes(): n for cell, n in self._cells(name)}
            for i in np.flatnonzero(~self._open(name)):
                a = self.classes[i]
                cell = np.eye(k * k, dtype=bool)[i * k : (i + 1) * k]
                counts = [known.get(one.tobytes()) for one in cell]
                if all(one is not None for one in counts) and sum(counts):  # type: ignore[arg-type]
                    found += [{"stratum": name, "start": a, "end": b, "count": n,
                               "patients": sum(counts)}
                              for b, n in zip(self.classes, counts, strict=True)]  # fmt: skip
            found += self._single_cells(name)
        return pd.DataFrame(found, columns=["stratum", "start", "end", "count", "patients"])

    def _facts(self, stratum: str) -> xr.Dataset | None:
        """What a table printed in part says; None of any other."""
        if "tables" not in self.data or stratum not in self.data["tables"]["stratum"].values:
            return None
        return self.data["tables"].sel(fact=self.data["tables"]["of"].values == stratum)

    def _single_cells(self, stratum: str) -> Iterator[dict[str, Any]]:
        """Single cells that a table printed in part gives, with the pairs of their row."""
        facts = self._facts(stratum)
        margins = None if facts is None else _margins(facts)
        if facts is None or margins is None:
            return
        exact = facts["least"].values == facts["most"].values
        for f in np.flatnonzero(exact & (facts["form"].values.sum((1, 2)) == 1)):
            ((i, j),) = np.argwhere(facts["form"].values[f])
            if (margins[:, i] == margins[0, i]).all() and margins[0, i]:
                yield {"stratum": stratum, "start": self.classes[i], "end": self.classes[j],
                       "count": int(facts["least"].values[f]),
                       "patients": int(margins[0, i])}  # fmt: skip

    def classical(self) -> pd.DataFrame:
        """Wilson's interval of each transition that a study prints with the pairs of its row."""
        within, rows = self.about.within, []
        for _, one in self._counted.iterrows():
            study = str(self.strata[STUDY].sel(stratum=one["stratum"]).item())
            where = {within: str(self.strata[within].sel(stratum=one["stratum"]).item())} if (
                within) else {}  # fmt: skip
            asked = at(Estimand("transition", f"{one['start']} -> {one['end']}"), study, **where)
            rows.append(wilson_row(asked, one["count"], one["patients"]))
        return pd.DataFrame(rows, columns=list(wilson_row("share[her2=low]", 1, 2)))

    def influence(self) -> pd.DataFrame:
        """Refit without each study: the changes and sums that it prints predicted, with their P.

        A change is in percent of the pairs of its row, a sum over rows in percent of all pairs, as
        is a cell of a row whose pairs are not printed. Primary classes are those printed; where
        they are not, all that agree with what is printed are alike (a study in which these are
        too many to list has no rows).
        """
        rows: list[dict[str, Any]] = []
        for study in dict.fromkeys(map(str, self.strata[STUDY].values)):
            less = self.omitting([study])
            for name in self.strata["stratum"].values[self.strata[STUDY].values == study]:
                rng = np.random.default_rng(self.sampling.seed)
                for one in self._predictions(str(name), less, rng):
                    rows.append({"study": study, "level": str(name).removeprefix(study).strip(),
                                 **one})  # fmt: skip
        return pd.DataFrame(rows)

    def _predictions(
        self, stratum: str, less: StudyTransitionsFit, rng: np.random.Generator
    ) -> Iterator[dict[str, Any]]:
        """What a stratum prints, as a fit without it predicts it."""
        drawn = less.fit.posterior.sel(stratum=stratum)
        rows = drawn["transition"].transpose("chain", "draw", "her2_primary", "her2").values
        rows = rows.reshape(-1, *rows.shape[2:])
        share = drawn["primary_share"].transpose("chain", "draw", "her2_primary").values
        flow = share.reshape(-1, share.shape[-1], 1) * rows
        unsure = self._open(stratum)
        for cell, row, count, patients in _changed(self._cells(stratum)):
            if (row.any(1) & unsure).any():
                continue
            inside = flow[:, cell].sum(1) / flow[:, row].sum(1)
            seen = rng.binomial(patients, np.clip(inside, 0, 1))
            yield self._predicted(cell, seen, (count, count), patients, less)
        facts = self._facts(stratum)
        margins = None if facts is None else _margins(facts)
        if facts is None or margins is None:  # or too many to list
            return
        form = facts["form"].values
        table = rng.multinomial(margins[rng.integers(len(margins), size=len(rows))], rows)
        of_primary = (form == form[:, :, :1]).all((1, 2))
        for f in np.flatnonzero(~of_primary):
            known, whole = margins[:, form[f].any(1)].sum(1), int(margins[0].sum())
            patients = int(known[0]) if (known == known[0]).all() else whole
            ends = int(facts["least"].values[f]), min(int(facts["most"].values[f]), patients)
            one = self._predicted(form[f], (form[f] * table).sum((1, 2)), ends, patients, less)
            if not form[f].any(1).all() and patients == whole > known.max():
                one["transition"] += " of all pairs"
            yield one

    def _predicted(
        self, cell: np.ndarray, seen: np.ndarray, ends: tuple[int, int], patients: int,
        less: StudyTransitionsFit,
    ) -> dict[str, Any]:  # fmt: skip
        """One row of ``influence``: counts of a sum of cells predicted, and printed as in ends."""
        low, mid, high = np.quantile(seen, [0.025, 0.5, 0.975])
        name, asked = _sum_of(cell, self.classes)
        found: dict[str, Any] = {
            "transition": name, "observed": 50 * sum(ends) / patients,
            "predicted": 100 * mid / patients, "lower": 100 * low / patients,
            "upper": 100 * high / patients, "p": tail(seen, *ends),
        }  # fmt: skip
        level = {self.about.within: self.levels[0]} if self.about.within else {}
        for key, fit in (("average", self), ("average_without", less)):
            one = at(asked, AVERAGE, **level) if asked else None
            found[key] = 100 * float(fit.drawn([one])[one].median()) if one else np.nan
        return found

    def under(self, priors: Mapping[str, Prior]) -> StudyTransitionsFit:
        """The same analysis under other priors."""
        one = refit(ModelOf(study_transitions.build, dict(self.data), priors), self.sampling)
        return replace(self, fit=as_fit(one, self.fit), used=priors, refitted={})

    def omitting(self, names: Sequence[str]) -> StudyTransitionsFit:
        """The same without the pairs of these studies and what they print of their tables."""
        data = dict(self.data)
        places = np.flatnonzero(np.isin(self.strata[STUDY].values, names))
        if "pairs" in data:
            gone = np.isin(data["pairs"]["at"].values, places)
            data["pairs"] = data["pairs"].assign(
                n=data["pairs"]["n"] * ~gone, y=data["pairs"]["y"] * ~gone
            )
        if "tables" in data:
            strata = self.strata["stratum"].values[places]
            latent = np.flatnonzero(np.isin(data["tables"]["stratum"].values, strata))
            gone = np.isin(data["tables"]["block"].values, latent)
            # tables of nobody, each with weight 1: they agree whatever the rows
            data["tables"] = data["tables"].assign(
                tables=data["tables"]["tables"] * ~gone[:, None],
                coefficient=data["tables"]["coefficient"].where(~gone, 0.0),
            )
        spec = ModelOf(study_transitions.build, data, self.used, prior_key=self.fit_id)
        return replace(self, fit=as_fit(refit(spec, self.sampling), self.fit), refitted={})

    @property
    def figures(self) -> Figures:
        """``forest(transition)``: each study as printed and drawn towards the others."""
        first = f"{self.classes[0]} -> {self.classes[1]}"
        return Figures({"forest": lambda transition=first, **more: transitions_forest(
            self, transition, **more)})  # fmt: skip

    def section(self) -> Section:
        """This analysis as a section of a report."""
        return _section(self)

    def contract(self) -> Mapping[str, xr.Dataset]:
        """Strata, pairs, tables."""
        return self.data

    @classmethod
    def made(cls, contract: Mapping[str, xr.Dataset], about: About, fit: Fit, sampling: Sampling,
             used: Mapping[str, Prior]) -> Self:  # fmt: skip
        """Make the object of its parts."""
        factors = [STUDY, *([about.within] if about.within else [])]
        data = {**contract, "strata": contract["strata"].assign_attrs(factors=factors)}
        if "tables" in data:
            data["tables"] = data["tables"].assign_attrs(factors=factors)
        return cls(about, fit, sampling, used, data)


def _changed(
    cells: Sequence[tuple[np.ndarray, int]],
) -> Iterator[tuple[np.ndarray, np.ndarray, int, int]]:
    """Cells of a change and of their row, with their pairs; classes left out by design in none."""
    for cell, count in cells:
        rows = cell.any(1)
        row = [(one, n) for one, n in cells if (one.any(1) == rows).all()]
        patients = sum(n for _, n in row)
        if patients and len(row) > 1 and (rows != cell.any(0)).any():
            yield cell, np.any([one for one, _ in row], axis=0), count, patients


def _margins(facts: xr.Dataset) -> np.ndarray | None:
    """Pairs by primary class (choice, class) that agree with what is printed of them alone."""
    form, k = facts["form"].values, facts.sizes["her2"]
    own = (form == form[:, :, :1]).all((1, 2))
    diagonal = np.concatenate([form[own, :, 0][:, :, None] * np.eye(k, dtype=np.int64),
                               [1 - np.eye(k, dtype=np.int64)]])  # fmt: skip
    least, most = (np.append(facts[name].values[own], 0) for name in ("least", "most"))
    names = tuple(map(str, range(len(least))))
    tables = TableSet(((),), tuple(map(str, facts["her2"].values)), diagonal[:, None], least, most,
                      names)  # fmt: skip
    try:
        return np.asarray(np.diagonal(enumerate_tables(tables)[:, 0], axis1=1, axis2=2))
    except TooManyTablesError:
        return None


def _sum_of(form: np.ndarray, classes: Sequence[str]) -> tuple[str, Estimand | None]:
    """Name of a sum of cells, and the estimand it is a count of where there is one."""
    cells = np.argwhere(form)
    if (form == 1 - np.eye(len(classes))).all():
        return "discordance", Estimand("discordance")
    rows, ends = ("/".join(np.array(classes)[form.any(axis)]) for axis in (1, 0))
    name = f"{'any' if form.any(1).all() else rows} -> {ends}"
    if form.sum() != form.any(1).sum() * form.any(0).sum():
        each = (f"{classes[i]} -> {classes[j]}" for i, j in cells for _ in range(int(form[i, j])))
        name = " + ".join(each)
    single = len(cells) == 1 and form.sum() == 1 and cells[0][0] != cells[0][1]
    return name, Estimand("transition", name) if single else None


@dataclass(frozen=True)
class _Rows:
    """Rows by conditions, asked as a fit is."""

    rows: Mapping[Given, Rows]

    def drawn(
        self, asked: list[Estimand], group: str = "posterior"
    ) -> Mapping[Estimand, xr.DataArray]:
        """Draws (chain, draw) of estimands."""
        return draws(self.rows, asked)


def _has_study(asked: Estimand) -> bool:
    return STUDY in asked.conditions or bool(asked.contrast and asked.contrast.factor == STUDY)


def transitions_forest(fit: StudyTransitionsFit, transition: str) -> Canvas:
    """Forest of one transition, by study and level."""
    asked, within = Estimand("transition", transition), fit.about.within
    rows = []
    for name in map(str, fit.strata["stratum"].values):
        here = fit.strata.sel(stratum=name)
        level = fit.level(str(here[within].item())) if within else {}
        rows.append((name, at(asked, str(here[STUDY].item()), **level)))
    lines = lines_of(fit, [*rows, *wholes(fit, asked)])
    return forest(lines, f"{transition}, % of the primary class")


_DECISIONS = (
    "Per 100 re-biopsied: newly eligible (a higher class) and lost (a lower one). needed: number "
    "to re-biopsy for one newly eligible. net_benefit: true positives per 100 at a threshold "
    "probability, against re-biopsying nobody. tilt: how many times the odds of being re-biopsied "
    "were higher for patients who changed (1: at random); tipping_tilt: where re-biopsy stops "
    "being worth it in the median."
)
_READ = " Readings count as true: assay error is not allowed for."
_TRUE = (
    " Of true classes behind fallible readings, both ends read by the assay that its prior "
    "believes in, errors independent; possible: percent of draws of the readings that such an "
    "assay can give."
)


def _whom(fit: StudyTransitionsFit) -> Iterator[Table]:
    """Whom to re-biopsy before and, where its classes have an assay prior, after assay error."""
    title = "Whom to re-biopsy, in a new study"
    yield Table(f"{title}: as read", fit.decisions(), _DECISIONS + _READ)
    with suppress(BadInput):
        found = fit.decisions(true=True, tilts=TILTS[:1])
        yield Table(f"{title}: true classes", found, _DECISIONS + _TRUE)


def _section(fit: StudyTransitionsFit) -> Section:
    """Report transitions over studies."""
    first, second = fit.classes[0], fit.classes[1]
    where = {fit.about.within: fit.levels[0]} if fit.about.within else {}
    level = f" ({fit.about.within} {fit.levels[0]})" if where else ""
    change = said(fit, at(Estimand("transition", f"{first} -> {second}"), NEW, **where))
    needed = said(fit, at(Estimand("number_to_rebiopsy", first), NEW, **where))
    text = (
        f"In a new study{level} {change} of HER2-{first} tumours would be HER2-{second}. To find "
        f"one patient newly eligible one would re-biopsy {needed} patients with a {first} primary "
        "(95 % predictive intervals)."
    )
    figures = tuple(
        Figure(f"figure-synthesis-{a}-{b}", f"{a} to {b} by study",
               svg(transitions_forest(fit, f"{a} -> {b}")), KEY)
        for a in fit.classes for b in fit.classes if a != b
    )  # fmt: skip
    verdict = fit.estimates()["convergence"]
    bad = "" if (verdict == CONVERGED).all() else " Some rows did not converge."
    return Section(
        id="synthesis", title=f"{fit.about.question}: {len(fit.about.studies)} studies",
        paragraphs=(text + bad, *refitted(fit)), figures=figures,
        tables=(answers(fit), *_whom(fit), *refitted_tables(fit, ", %")),
        fits=(fit_card(fit.fit, fit.title, fit.estimates()),),
    )  # fmt: skip
