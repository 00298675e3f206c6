"""What every synthesis answers: draws of an average and of a new study, rows, influence, a file.

Assurance: how many patients a new cohort needs for a statement to come out, from the predictive.
A statement (``share[her2=low] > 0.45``) comes out in a cohort of n patients where the posterior
probability of it, from the cohort alone under a flat prior, is 0.975 or more. Assurance is the
probability of that over what the synthesis predicts of a new study (O'Hagan et al. 2005,
Pharmaceutical Statistics 4:187); it is bounded by the predictive probability that the statement is
true, however many patients there are.

    share, transition   y ~ Binomial(n, share), share | y ~ Beta(1 + y, 1 + n - y): summed over y
    ratio of hazards    log ratio ~ Normal(truth, 1 / sqrt(events p (1 - p))), p in the first group
    median              log median ~ Normal(truth, 1 / sqrt(events))
"""

from __future__ import annotations

import json
from abc import abstractmethod
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import pandas as pd
import xarray as xr
from scipy import stats

from her2bayes.bayes.prior import Prior, prior
from her2bayes.errors import BadInput, Fault
from her2bayes.estimand import Estimand, is_percent, parse
from her2bayes.inference.convergence import Diagnostics
from her2bayes.inference.estimates import FitLike, estimate, estimates_table
from her2bayes.inference.fit import Fit, Refit
from her2bayes.inference.sampling import Sampling, Settings
from her2bayes.page.numbers import interval
from her2bayes.page.report import Part, slug
from her2bayes.page.section import Section, Table
from her2bayes.results.fitted import Asked, Fitted
from her2bayes.sensitivity.target import (
    DATA,
    EXACT,
    PRIOR,
    REFIT,
    Axis,
    Drawn,
    Scenario,
    Target,
    impossible,
)
from her2bayes.synthesis.cells import levels_of, settings_of, studies_of

if TYPE_CHECKING:
    from her2bayes.evidence.printed.tables import Conclusion
    from her2bayes.inference.store import Store

STUDY = "study"
# choices of a sensitivity analysis
SPREAD, OUT, APART = "prior scale of the spread between studies", "left out", "settings"
SCALES = (0.5, 2.0, 4.0)
NOBODY, ALL = "nobody", "all"

REFITTED = "refitted"
"""Key of what the chains of a refit say of themselves, in its provenance."""

AVERAGE, NEW = "average", "new"
"""Levels of the condition ``study``: the middle of the studies, and one that is not among them."""

SIZES = (25, 50, 75, 100, 150, 200, 300, 400, 600, 800, 1200, 1600, 2400)
HOLDS = 0.975
"""Posterior probability at which a statement comes out."""

SPREADS = ("study", "study_sd")
"""Names that models give to the prior of the spread between studies."""


@dataclass(frozen=True)
class About:
    """What a synthesis is of: question, studies with what they gave, and who was left out."""

    question: str
    studies: Mapping[str, Mapping[str, Any]]
    left_out: Mapping[str, str]
    within: str = ""
    between: tuple[str, ...] = ()
    pairs: str = ""
    reading: str = ""

    @property
    def text(self) -> str:
        """As one line of JSON."""
        return json.dumps(asdict(self))

    @classmethod
    def read(cls, text: str) -> About:
        """Read ``text``."""
        said = json.loads(text)
        return cls(**{**said, "between": tuple(said["between"])})


@dataclass(frozen=True, repr=False, eq=False)
class Synthesis(Fitted):
    """Several studies fitted as one.

    Every estimand takes the condition ``study``: "average" (the default), "new" for a study and
    centre that are not among these, or the name of one. ``influence()`` leaves each study out,
    ``prior_sensitivity()`` varies the prior of the spread between studies; ``refitted`` is what
    they said where they were asked for in the report.
    """

    family: ClassVar[str] = "synthesis"

    about: About
    fit: Fit
    sampling: Sampling
    used: Mapping[str, Prior]
    refitted: Mapping[str, pd.DataFrame] = field(default_factory=dict, kw_only=True)

    @property
    def title(self) -> str:
        """What was fitted, of whom."""
        return f"{self.about.question} in {len(self.about.studies)} studies"

    @property
    def fits(self) -> Mapping[str, Fit]:
        """The one fit."""
        return {self.about.question: self.fit}

    @property
    def settings(self) -> Settings:
        """Seed and length of the chains."""
        return Settings.of(self.sampling)

    @property
    def studies(self) -> pd.DataFrame:
        """One row a study: what it gave, or why it was left out."""
        rows = [
            {"study": name, **said, "left_out": ""} for name, said in self.about.studies.items()
        ]
        rows += [{"study": name, "left_out": why} for name, why in self.about.left_out.items()]
        return pd.DataFrame(rows).astype(object).fillna("")

    @property
    def levels(self) -> list[str]:
        """Levels of the moderator within studies; one empty level without."""
        return [""]

    @property
    def settings_asked(self) -> list[str]:
        """Settings, where they are a moderator; one empty setting without."""
        return [""]

    def places(self) -> Iterator[dict[str, str]]:
        """Conditions on every setting and level that an average or new study may have."""
        for setting in self.settings_asked:
            for level in self.levels:
                yield {"setting": setting, **self.level(level)}

    def needed(self, given: Mapping[str, str]) -> list[str]:
        """Moderators that conditions on an average or new study do not name."""
        asked = [name for name in ("setting",) if name in self.about.between]
        asked += [self.about.within] if self.about.within else []
        return [name for name in asked if name not in given]

    def level(self, name: str) -> dict[str, str]:
        """Condition on a level of the moderator within studies; none for the empty level."""
        return {self.about.within: name} if self.about.within and name else {}

    @abstractmethod
    def asked(self) -> Iterator[tuple[Estimand, str]]:
        """Every row of estimates, with its note."""

    @abstractmethod
    def influence(self) -> pd.DataFrame:
        """One row a study: what the others predict of it, and the answer without it."""

    @abstractmethod
    def under(self, priors: Mapping[str, Prior]) -> Self:
        """The same analysis under other priors."""

    @abstractmethod
    def omitting(self, names: Sequence[str]) -> Self:
        """The same analysis without what these studies say; they keep their places."""

    def coverage(self) -> pd.DataFrame:
        """How many observed numbers lie in what the other studies predict of them.

        One row for 50 % and 95 % predictive intervals: ``predictions``, ``covered``, ``share`` in
        percent, and ``studies`` that were left out. Numbers of one study are not independent.
        """
        return covered(self.refitted["influence"] if self.refitted else self.influence())

    def targets(self, conclusions: Sequence[Conclusion]) -> Sequence[Target]:
        """What a sensitivity analysis asks: studies left out, settings apart, priors of spreads."""
        return [target_of(self, conclusions)]

    def prior_sensitivity(self) -> pd.DataFrame:
        """Average and new study where the spread between studies has another prior.

        One row an answer and factor by which the scale of that prior is multiplied: 0.5, 1, 2, 4.
        """
        asked = [one for one, _ in self.asked()
                 if one.conditions.get(STUDY) in (AVERAGE, NEW)
                 and one.kind != "share_difference"]  # fmt: skip
        name = next(name for name in SPREADS if name in self.used)
        rows = []
        for factor in (0.5, 1.0, 2.0, 4.0):
            changed = {**self.used, name: self.used[name].scaled(factor)}
            found = self if factor == 1 else self.under(changed)
            for one, draws in found.drawn(asked, "posterior").items():
                low, mid, high = np.quantile(draws, [0.025, 0.5, 0.975])
                scale = 100.0 if is_percent(one.kind) else 1.0
                rows.append({"estimand": str(one), "prior": str(changed[name]), "factor": factor,
                             "median": scale * mid, "lower": scale * low,
                             "upper": scale * high})  # fmt: skip
        return pd.DataFrame(rows)

    def checked(self) -> Self:
        """The same with ``refitted``: each study left out, and the prior of the spread varied."""
        found = {"influence": self.influence(), "prior_sensitivity": self.prior_sensitivity()}
        found["coverage"] = covered(found["influence"])
        return replace(self, refitted=found)

    def judged(self, draws: xr.DataArray) -> FitLike:
        """What says whether draws can be trusted."""
        return self.fit

    def _rows(self, asked: Iterable[tuple[Estimand, str]]) -> pd.DataFrame:
        listed = list(asked)
        after, before = (self.drawn([one for one, _ in listed], group)
                         for group in ("posterior", "prior"))  # fmt: skip
        unit = self.unit
        return estimates_table([
            {**estimate(one, after[one], before[one], self.judged(after[one]), note=note,
                        unit=unit(one), reading=self.about.reading), "evidence_kind": "implied"}
            for one, note in listed
        ])  # fmt: skip

    def unit(self, asked: Estimand) -> str | None:
        """Unit of a kind that takes its outcome's; None where the kind has its own."""
        return "" if asked.kind == "heterogeneity" else None

    @cached_property
    def _table(self) -> pd.DataFrame:
        return self._rows(self.asked())

    def estimates(self, estimands: Iterable[Asked] | None = None) -> pd.DataFrame:
        """One row an estimand: median and 95 % interval after and before the data.

        Without ``estimands``: the average, a new study, each study, and the spread between them.
        """
        if estimands is None:
            return self._table.copy()
        return self._rows([(parse(one) if isinstance(one, str) else one, "") for one in estimands])

    def priors(self) -> Mapping[str, tuple[str, str]]:
        """Each prior as it is written, and what it says in clinical units."""
        return {name: (str(one), one.means) for name, one in self.used.items()}

    @property
    def pooled_settings(self) -> str:
        """Sentence on studies of different settings that are pooled; empty where there are none."""
        found = dict.fromkeys(str(one.get("setting", "")) for one in self.about.studies.values())
        known = [one or "not said" for one in found]
        if len(known) < 2 or "setting" in self.about.between:
            return ""
        return (
            f"Pooled over settings ({', '.join(known)}); the moderator 'setting' keeps them apart."
        )

    def told(self) -> Iterator[str]:
        """What is pooled, then rows on the average and a new study, each as one line."""
        if self.pooled_settings:
            yield self.pooled_settings
        for row in self._table.to_dict("records"):
            if f"{STUDY}={AVERAGE}" in row["estimand"] or f"{STUDY}={NEW}" in row["estimand"]:
                median, low, high = (row[f"posterior_{e}"] for e in ("median", "lower", "upper"))
                text = interval(median, low, high, unit=row["unit"])
                yield f"{row['estimand']} {text} {row['unit']}".rstrip()
        if self.refitted:
            yield coverage_text(self.coverage())

    def assurance(
        self, statement: str, sizes: Sequence[int] = SIZES, *, first: float = 0.5
    ) -> pd.DataFrame:
        """Probability that a statement comes out in a new cohort, by its size.

        It comes out where its posterior probability, from that cohort alone under a flat prior, is
        0.975 or more. ``sizes`` are patients (of the primary class, for a transition), or events
        for ratios and medians; ``first`` is the share of patients in the first group of a ratio.
        Columns ``size``, ``assurance``, ``mcse``, and ``most``, the predictive probability that the
        statement is true.

        >>> fit.assurance("share[her2=low | hr_status=positive] > 0.45")  # doctest: +SKIP
        """
        return assurance(self, statement, sizes, first=first)

    @property
    def tables(self) -> Mapping[str, pd.DataFrame]:
        """Studies and who was left out; each predicted by the others where that was asked for."""
        return {"studies": self.studies, **self.refitted}

    def part(self, *, suppress_below: int = 0) -> Part:
        """This analysis as a part of a report; ``BadInput`` where small counts should be hidden."""
        plain = super().part(suppress_below=suppress_below)
        names = ", ".join(self.about.studies)
        about = {"id": slug(f"synthesis {self.about.question}"), "title": self.title,
                 "citation": f"Studies: {names}"}  # fmt: skip
        said = [f"{len(self.about.studies)} studies: {names}."]
        said += filter(None, [self.pooled_settings])
        if self.about.left_out:
            out = "; ".join(f"{name} ({why})" for name, why in self.about.left_out.items())
            said.append(f"Left out: {out}.")
        cohort = Section("cohort", "Studies", tuple(said), tables=(self.study_table(),))
        return replace(plain, about=about, cohort=cohort)

    def study_table(self) -> Table:
        """Studies as a table of the page."""
        frame = self.studies.map(lambda cell: f"{cell:,.0f}" if isinstance(cell, float) else cell)
        frame.columns = [str(name).replace("_", " ").capitalize() for name in frame.columns]
        return Table(
            "Studies", frame, "What each study gives to the model, or why it gives nothing."
        )

    @abstractmethod
    def contract(self) -> Mapping[str, xr.Dataset]:
        """Data of the model, by name, without attributes."""

    @classmethod
    @abstractmethod
    def made(cls, contract: Mapping[str, xr.Dataset], about: About, fit: Fit, sampling: Sampling,
             used: Mapping[str, Prior]) -> Self:  # fmt: skip
        """Make the object of its parts."""

    def packed(self) -> xr.DataTree:
        """Data, what it is of, and the tree of the fit."""
        priors = {name: [p.distribution, p.parameters, p.means] for name, p in self.used.items()}
        said = {
            "about": self.about.text,
            "sampling": json.dumps(asdict(self.sampling)),
            "priors": json.dumps(priors),
            "provenance": json.dumps(self.fit.provenance),
        }
        groups = {"/": xr.Dataset({name: ((), text) for name, text in said.items()})}
        groups |= {f"/contract/{name}": one.drop_attrs(deep=True)
                   for name, one in self.contract().items()}  # fmt: skip
        groups |= {f"/fit/{name}": node.to_dataset()
                   for name, node in self.fit.tree.children.items()}  # fmt: skip
        kept = {name: table.to_dict("split", index=False) for name, table in self.refitted.items()}
        groups["/"]["refitted"] = json.dumps(kept)
        return xr.DataTree.from_dict(groups)

    @classmethod
    def unpacked(cls, tree: xr.DataTree) -> Self:
        """Make the object of a ``packed`` tree; nothing is sampled."""
        said = {
            name: str(tree[name].item()) for name in ("about", "sampling", "priors", "provenance")
        }
        groups = {name: node.to_dataset() for name, node in tree["fit"].children.items()}
        fit = Fit(xr.DataTree.from_dict(groups), json.loads(said["provenance"]))
        contract = {name: node.to_dataset() for name, node in tree["contract"].children.items()}
        used = {name: prior(law, means=means, **dict(numbers))
                for name, (law, numbers, means) in json.loads(said["priors"]).items()}  # fmt: skip
        sampling = Sampling(**json.loads(said["sampling"]))
        made = cls.made(contract, About.read(said["about"]), fit, sampling, used)
        kept = json.loads(str(tree["refitted"].item()))
        return replace(made, refitted={name: pd.DataFrame(**one) for name, one in kept.items()})


class OfRows(Synthesis):
    """A synthesis whose data are rows with the coordinates of ``studies.row_coords``."""

    @property
    @abstractmethod
    def rows(self) -> xr.Dataset:
        """Data with ``study``, ``level`` and ``setting`` on ``row``."""

    @property
    def names(self) -> list[str]:
        """Names of the studies."""
        return studies_of(self.rows)

    @property
    def levels(self) -> list[str]:
        """Levels of the moderator within studies; one empty level without."""
        return levels_of(self.rows) if self.about.within else [""]

    @property
    def settings_asked(self) -> list[str]:
        """Settings, where they are a moderator; one empty setting without."""
        return settings_of(self.rows) if "setting" in self.about.between else [""]


def place(asked: Estimand) -> tuple[str, dict[str, str]]:
    """Study of an estimand's conditions (the average by default), and the other conditions."""
    conditions = asked.conditions
    return conditions.pop(STUDY, AVERAGE), conditions


def at(asked: Estimand, study: str, **levels: str) -> Estimand:
    """The same quantity in a study, at these levels (empty ones are left out)."""
    return asked.where(**{STUDY: study}, **{k: v for k, v in levels.items() if v})


def as_fit(one: Refit, like: Fit) -> Fit:
    """A refit in the place of a fit, with what its chains say of themselves."""
    tree = xr.DataTree.from_dict({"posterior": one.posterior, "prior": one.prior})
    return Fit(tree, {**like.provenance, REFITTED: asdict(one.diagnostics)})


def covered(influence: pd.DataFrame) -> pd.DataFrame:
    """Rows of ``Synthesis.coverage`` of an ``influence`` table."""
    p = influence["p"].to_numpy(float) if len(influence) else np.zeros(0)
    studies = int(influence["study"].nunique()) if len(influence) else 0
    rows = []
    for level in (50, 95):
        inside = int((p >= 1 - level / 100).sum())
        rows.append({"interval": level, "predictions": len(p), "covered": inside,
                     "share": 100 * inside / len(p) if len(p) else np.nan,
                     "studies": studies})  # fmt: skip
    return pd.DataFrame(rows)


def coverage_text(table: pd.DataFrame) -> str:
    """Coverage of left-out studies as a sentence."""
    if not table["predictions"].iloc[0]:
        return "No study left out prints a number that the others predict."
    held = " and ".join(
        f"{row['interval']} % intervals {row['covered']} of {row['predictions']} numbers"
        for row in table.to_dict("records")
    )
    return f"Each of {table['studies'].iloc[0]} studies predicted by the others: {held}."


def tail(draws: np.ndarray, least: float, most: float | None = None) -> float:
    """Two-sided predictive P of an observed value among draws of what would be observed.

    With ``most``, of one known to lie between the two: draws between count half to either side.
    """
    most = least if most is None else most
    below = (np.sum(draws < least) + 0.5 * np.sum((least <= draws) & (draws <= most))) / len(draws)
    return float(2 * min(below, 1 - below))


def assurance(
    fit: Fitted, statement: str, sizes: Sequence[int] = SIZES, *, first: float = 0.5
) -> pd.DataFrame:
    """One row a size: assurance, its Monte-Carlo error, and the most it can be.

    ``sizes`` are patients (of the primary class, for a transition), or events for ratios and
    medians. ``first`` is the share of patients in the first group of a ratio.
    """
    asked, above, limit = _statement(statement)
    if STUDY not in asked.conditions:
        asked = asked.where(**{STUDY: NEW})
    truth = fit.drawn([asked], "posterior")[asked].to_numpy().ravel()
    holds = truth > limit if above else truth < limit
    rows = []
    for size in sizes:
        if asked.kind in ("share", "transition"):
            chance = _of_share(truth, size, limit, above)
        else:
            chance = _of_log(truth, size, limit, above, asked, first)
        rows.append({
            "size": size, "assurance": float(chance.mean()),
            "mcse": float(chance.std() / np.sqrt(len(chance))), "most": float(holds.mean()),
        })  # fmt: skip
    return pd.DataFrame(rows)


def needed(table: pd.DataFrame, wanted: float = 0.8) -> int | None:
    """Least size of ``assurance`` that reaches ``wanted``; None where none does."""
    enough = table[table["assurance"] >= wanted]["size"]
    return int(enough.iloc[0]) if len(enough) else None


def _statement(text: str) -> tuple[Estimand, bool, float]:
    for sign in (">", "<"):
        head, mark, tail = text.rpartition(sign)
        if mark and head.rstrip().endswith("]"):
            try:
                return parse(head.strip()), sign == ">", float(tail)
            except ValueError:
                break
    raise BadInput(Fault("not a statement", value=text, allowed="<estimand> > or < <number>",
                         remedy='e.g. "share[her2=low] > 0.45"'))  # fmt: skip


def _of_share(truth: np.ndarray, size: int, limit: float, above: bool) -> np.ndarray:
    y = np.arange(size + 1)
    posterior = stats.beta(1 + y, 1 + size - y)
    out = np.asarray(posterior.sf(limit) if above else posterior.cdf(limit)) >= HOLDS
    if not out.any():
        return np.zeros_like(truth)
    if above:
        return np.asarray(stats.binom.sf(y[out].min() - 1, size, truth))
    return np.asarray(stats.binom.cdf(y[out].max(), size, truth))


def _of_log(
    truth: np.ndarray, events: int, limit: float, above: bool, asked: Estimand, first: float
) -> np.ndarray:
    known = events * (first * (1 - first) if asked.contrast else 1.0)
    error = known**-0.5
    z = (np.log(truth) - np.log(limit)) / error
    return np.asarray(stats.norm.cdf((z if above else -z) - stats.norm.ppf(HOLDS)))


def target_of(fit: Synthesis, conclusions: Sequence[Conclusion]) -> Target:
    """Conclusions on a synthesis, and its choices; ``BadInput`` for what it does not answer."""
    fit.drawn([one.estimand for one in conclusions], "posterior")
    studies = tuple(fit.about.studies)
    axes = [Axis(SPREAD, PRIOR, 1.0, SCALES, "times the scale of the half-normal prior")]
    if len(studies) > 2:
        axes.append(Axis(OUT, DATA, NOBODY, studies, "a study without its data"))
    settings = {str(said.get("setting", "")) for said in fit.about.studies.values()} - {""}
    several = tuple(
        name for name in sorted(settings) if 1 < len(_of_setting(fit, name)) < len(studies)
    )
    if several:
        axes.append(Axis(APART, DATA, ALL, several, "studies of one setting only"))
    return Target("synthesis", fit.title, tuple(conclusions), tuple(axes), {"fit": fit},
                  closed_form=True)  # fmt: skip


def _of_setting(fit: Synthesis, setting: str) -> list[str]:
    return [name for name, said in fit.about.studies.items() if said.get("setting") == setting]


def baseline(target: Target, sampling: Sampling, store: Store | None) -> Drawn:
    """The synthesis as it is reported."""
    return _drawn(target, target.data["fit"])


def drawn(target: Target, of: Scenario, sampling: Sampling) -> Drawn:
    """A scenario, with the settings of the reported fit; a study left out has no answer."""
    fit: Synthesis = target.data["fit"]
    out = {str(of.get(OUT, NOBODY))} & set(fit.about.studies)
    if (setting := str(of.get(APART, ALL))) != ALL:
        out |= set(fit.about.studies) - set(_of_setting(fit, setting))
    if len(fit.about.studies) - len(out) < 2:
        return impossible(fit.fit.model, "fewer than two studies are left")
    scale = float(of.get(SPREAD, 1.0))
    if scale != 1.0:
        name = next(name for name in SPREADS if name in fit.used)
        priors = {**fit.used, name: fit.used[name].scaled(scale)}
        # a spread of the prior alone is a refit as well; both together are one
        fit = replace(fit, used=priors) if out else fit.under(priors)
    if out:
        fit = fit.omitting(sorted(out))
    return _drawn(target, fit, out)


def _drawn(target: Target, fit: Synthesis, out: Collection[str] = ()) -> Drawn:
    asked = dict.fromkeys(one.estimand for one in target.conclusions)
    kept = [one for one in asked if one.conditions.get(STUDY) not in out]
    after, before = (fit.drawn(kept, group) for group in ("posterior", "prior"))
    said = fit.fit.provenance.get(REFITTED)
    found = Diagnostics(**said) if said else Diagnostics(*_length(fit), 0, float("inf"))
    if not said and "sampling" in fit.fit.provenance:
        found = fit.fit.diagnostics
    draws = {str(one): (after[one], before[one]) for one in kept}
    method = EXACT if "sampling" not in fit.fit.provenance else REFIT
    return Drawn(fit.fit.model, method, draws, found, fit_id=fit.fit_id)


def _length(fit: Synthesis) -> tuple[int, int]:
    return fit.sampling.chains, fit.sampling.draws
