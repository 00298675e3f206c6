"""What every fitted analysis answers: draws, estimates, classical numbers, comparison, figures.

A fit at a glance: ten lines for a reader, a table of coefficients for maketables.

A fitted analysis as one file, and back: checked to be what it says it is.

Published | Reproduced | Posterior of a study and fits, as an object that prints itself.
"""

from __future__ import annotations

import io
import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, overload

import numpy as np
import pandas as pd
import xarray as xr

from her2bayes.errors import BadInput, Fault
from her2bayes.estimand import KINDS, Estimand, parse
from her2bayes.files import publish
from her2bayes.inference.convergence import failed
from her2bayes.inference.store import data_digest, fit_key
from her2bayes.page.evidence_table import join, together
from her2bayes.page.key_results import KeyResults, key_results
from her2bayes.page.numbers import interval
from her2bayes.page.style import Figures as Figures

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from her2bayes.evidence.printed.study import Study
    from her2bayes.evidence.printed.tables import Conclusion
    from her2bayes.inference.fit import Fit
    from her2bayes.inference.sampling import Settings
    from her2bayes.page.report import Part
    from her2bayes.page.section import Section
    from her2bayes.sensitivity.section import Sensitivity
    from her2bayes.sensitivity.target import Target

LINES, WIDTH = 10, 110


def summary(fit: Fitted) -> str:
    """Lines that a statistician reads first, never more than ten."""
    lines = [fit.title]
    fits = list(fit.fits.values())
    lines += [f"Model {one.model}, fit {one.fit_id}" for one in fits[:1]]
    lines[-1] += f", and {len(fits) - 1} more" if len(fits) > 1 else ""
    table = fit.estimates()
    bad = table[table["convergence"].map(lambda said: failed(str(said))).astype(bool)]
    verdict = "converged" if bad.empty else f"not converged: {len(bad)} of {len(table)} rows"
    kinds = dict.fromkeys(parse(text).kind for text in table["estimand"])
    ending = [
        f"Convergence: {verdict}" + (", quick run" if fit.settings.quick else ""),
        f"{len(table)} rows in .estimates(): {', '.join(kinds)}",
        f"Figures: {', '.join(fit.figures)}",
    ]
    room = LINES - len(lines) - len(ending) - 1
    priors = [_prior(name, text, means) for name, (text, means) in fit.priors().items()]
    if len(priors) > room:
        priors = [*priors[: room - 1], f"  and {len(priors) - room + 1} more: .priors()"]
    return "\n".join(_cut(line) for line in [*lines, "Priors:", *priors, *ending])


def _prior(name: str, text: str, means: str) -> str:
    return f"  {name} ~ {text}" + (f": {means}" if means else "")


def _cut(line: str) -> str:
    return line if len(line) <= WIDTH else f"{line[: WIDTH - 3]}..."


def coefficients(fit: Fitted) -> pd.DataFrame:
    """Estimands as maketables takes coefficients: b, se, t, p, ci95l, ci95u.

    b is the posterior median, se the posterior standard deviation in the same unit, ci95l and
    ci95u the 95 % equal-tailed interval; t and p do not exist and are missing.
    """
    table = fit.estimates()
    asked = list(dict.fromkeys(table["estimand"]))
    try:
        draws = fit.drawn([parse(text) for text in asked], "posterior")
        spread = {str(name): float(one.std()) for name, one in draws.items()}
    except BadInput:  # rows that are no function of the draws of one model
        spread = {}
    percent = {text: 100.0 if KINDS[parse(text).kind].unit == "%" else 1.0 for text in asked}
    found = pd.DataFrame(
        {
            "b": table["posterior_median"],
            "se": [spread.get(str(parse(t)), np.nan) * percent[t] for t in table["estimand"]],
            "t": np.nan,
            "p": np.nan,
            "ci95l": table["posterior_lower"],
            "ci95u": table["posterior_upper"],
        }
    )
    return found.set_axis(pd.Index(table["estimand"], name="Coefficient"))


ARVIZ = ("autocorr", "energy", "ess", "ess_evolution", "forest", "mcse", "pair", "prior_posterior",
         "rank", "rank_dist", "trace", "trace_dist")  # fmt: skip
"""Plots of draws that need no more than a fit's own tree."""

ROOMS = ("distribution", "transition", "survival", "rates", "cohorts", "synthesis",
         "joint")  # fmt: skip
ATTRIBUTE = "her2bayes"
IDENTITY = ("model", "package", "source", "engine", "data", "priors", "options", "sampling",
            "versions", "flags")  # fmt: skip
"""What the id of a sampled fit is made of (``inference.fit``)."""


def save(fit: Fitted, file: Path) -> Path:
    """Write ``fit`` to a NetCDF file, whole or not at all."""
    publish(file.parent, {file.name: content(fit)})
    return file


def content(fit: Fitted) -> bytes:
    """Everything of a fit as the bytes of its file."""
    tree = fit.packed()
    # hashed as it will be read: NetCDF has fewer types than xarray
    kept = xr.load_datatree(io.BytesIO(bytes(tree.to_netcdf(engine="h5netcdf"))), engine="h5netcdf")
    said = {
        "family": fit.family,
        "module": type(fit).__module__,
        "kind": type(fit).__name__,
        "fit_id": fit.fit_id,
        "content": tree_digest(kept),
    }
    tree.attrs[ATTRIBUTE] = json.dumps(said)
    return bytes(tree.to_netcdf(engine="h5netcdf"))


def tuples(said: Mapping[str, Any]) -> dict[str, Any]:
    """Lists of JSON as the tuples they were."""

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: plain(one) for name, one in value.items()}
        return tuple(plain(one) for one in value) if isinstance(value, list) else value

    return {name: plain(value) for name, value in said.items()}


def tree_digest(tree: xr.DataTree) -> str:
    """Hash the values, labels and attributes of every group."""
    groups: dict[str, Any] = {}
    for node in tree.subtree:
        attributes = {k: v for k, v in node.attrs.items() if k != ATTRIBUTE}
        groups[node.path] = {
            "data": node.to_dataset(inherit=False),
            "attributes": json.dumps(attributes, sort_keys=True, default=str),
        }
    return data_digest(groups)


def load_fit(file: str | Path) -> Fitted:
    """Read what ``fit.save(file)`` wrote; nothing is sampled.

    The id of each fit is computed again from what it is made of, and everything in the file from
    its content. Raises ``BadInput`` for another file, and for one that was changed.

    >>> import her2bayes as hb
    >>> fit = hb.load_fit("results/fits/survival-0123456789ab.nc")  # doctest: +SKIP
    """
    path = Path(file)
    try:
        tree = xr.load_datatree(io.BytesIO(path.read_bytes()), engine="h5netcdf")
        said = json.loads(tree.attrs[ATTRIBUTE])
        kind = _kind(said)
    except (OSError, KeyError, ValueError, AttributeError, ImportError) as error:
        remedy = "give a file that fit.save() wrote"
        raise BadInput(Fault("no saved fit", file=path, remedy=remedy)) from error
    remedy = "take the file as it was saved, or fit again"
    if tree_digest(tree) != said["content"]:
        raise BadInput(Fault("the file was changed after it was saved", path, remedy=remedy))
    del tree.attrs[ATTRIBUTE]
    fit: Fitted = kind.unpacked(tree)
    wrong = [name for name, one in fit.fits.items() if not _same_id(one.provenance)]
    if wrong or fit.fit_id != said["fit_id"]:
        problem = f"the file says fit {said['fit_id']}, its contents are another ({fit.fit_id})"
        raise BadInput(Fault(problem, path, value=", ".join(wrong) or None, remedy=remedy))
    return fit


def _kind(said: Mapping[str, str]) -> Any:
    """Class that was saved, from the rooms of this package only."""
    module = said["module"]
    if said["family"] not in ROOMS or not module.startswith(f"her2bayes.{said['family']}."):
        raise ValueError(module)
    return getattr(import_module(module), said["kind"])


def _same_id(provenance: Mapping[str, Any]) -> bool:
    """Whether a fit's id is that of what it is made of; a computed posterior has no such list."""
    if not set(IDENTITY) <= set(provenance):
        return True
    return fit_key({name: provenance[name] for name in IDENTITY}) == str(provenance["fit_id"])


Asked = str | Estimand


class Fitted(ABC):
    """One fitted analysis; each family has its own subclass, all with these answers.

    ``family`` names the room of the package, ``title`` says what was fitted of whom.
    """

    family: ClassVar[str]

    @property
    @abstractmethod
    def title(self) -> str:
        """What was fitted, of whom, in one line."""

    @property
    @abstractmethod
    def fits(self) -> Mapping[str, Fit]:
        """Sampled fits by what each is of; the first is that of ``tree``."""

    @property
    def tree(self) -> xr.DataTree:
        """Draws as ArviZ takes them: groups ``posterior``, ``prior``, ``log_likelihood``, ..."""
        return next(iter(self.fits.values())).tree

    @property
    def fit_id(self) -> str:
        """Twelve hexadecimal digits: equal for equal model, data, priors, settings and versions."""
        return next(iter(self.fits.values())).fit_id

    @property
    def converged(self) -> bool:
        """Whether every row of ``estimates`` comes from draws that pass the convergence verdict."""
        from her2bayes.inference.convergence import CONVERGED

        return bool((self.estimates()["convergence"] == CONVERGED).all())

    @abstractmethod
    def drawn(self, asked: list[Estimand], group: str) -> Mapping[Estimand, xr.DataArray]:
        """Draws ``(chain, draw)`` of estimands from one group of the tree, in one pass."""

    @overload
    def draws(self, estimand: Asked, *, group: str = ...) -> xr.DataArray: ...  # type: ignore[overload-overlap]
    @overload
    def draws(self, estimand: Sequence[Estimand | str], *, group: str = ...) -> xr.Dataset: ...
    def draws(
        self, estimand: Asked | Sequence[Asked], *, group: str = "posterior"
    ) -> xr.DataArray | xr.Dataset:
        """Draws of what is asked, dims ``(chain, draw)``, on the natural scale of its kind.

        A share is between 0 and 1, a time in months. Several estimands give a dataset with one
        variable each, named by its canonical text. ``group`` is "posterior" or "prior". Raises
        ``BadInput`` for what this fit does not answer, with what it does.
        """
        one = isinstance(estimand, str | Estimand)
        listed: list[Asked] = [estimand] if one else list(estimand)  # type: ignore[list-item, arg-type]
        asked = [parse(text) if isinstance(text, str) else text for text in listed]
        found = self.drawn(asked, group)
        if one:
            return found[asked[0]].rename(str(asked[0]))
        import xarray as xr

        return xr.Dataset({str(name): found[name] for name in asked})

    @abstractmethod
    def estimates(self, estimands: Iterable[Asked] | None = None) -> pd.DataFrame:
        """One row an estimand, columns as in the evidence table: median, 95 % CrI, prior, ...

        Without ``estimands``, everything the report of this family holds.
        """

    @abstractmethod
    def classical(self) -> pd.DataFrame:
        """The classical numbers of the same data, each naming its method."""

    @property
    @abstractmethod
    def figures(self) -> Figures:
        """Figures by name, each a function that returns a matplotlib Figure."""

    @property
    def plots(self) -> Figures:
        """ArviZ's plots of the draws by name: ``rank``, ``trace``, ``energy``, ``prior_posterior``.

        Each is ``arviz_plots.plot_<name>`` of ``tree`` and takes its options, ``var_names`` among
        them; ``of`` is the key of another fit in ``fits``, ``size`` in inches.
        """
        from her2bayes.page.fit_card import arviz_plot

        def draw(
            name: str, *, of: str = "", size: tuple[float, float] = (8, 5), **options: Any
        ) -> Figure:
            return arviz_plot(name, self.fits[of].tree if of else self.tree, size, **options)

        return Figures({name: partial(draw, name) for name in ARVIZ})

    @abstractmethod
    def section(self) -> Section:
        """This analysis as a section of a report."""

    @property
    def tables(self) -> Mapping[str, pd.DataFrame]:
        """Further tables of the report by the name of their file, without ``.csv``."""
        return {}

    @property
    def stances(self) -> Mapping[str, str]:
        """What is known of an estimand under other choices, in words, for the key results."""
        return {}

    def part(self, *, suppress_below: int = 0) -> Part:
        """This analysis as a part of a report (``report``, ``page.report.write``).

        A family that describes its cohort, or has a form to share with counts below
        ``suppress_below`` hidden, says so here. Raises ``BadInput`` where it has none.
        """
        from her2bayes.errors import BadInput, Fault
        from her2bayes.page.report import Part, slug

        if suppress_below:
            problem = "this analysis has no report in which small counts are hidden"
            raise BadInput(Fault(problem, value=self.title, remedy="leave suppress_below out"))
        return Part(
            self.family,
            (self.section(),),
            self.estimates(),
            self.classical(),
            about={"id": slug(self.title), "title": self.title},
            tables=self.tables,
            stances=self.stances,
        )

    @property
    def settings(self) -> Settings:
        """Seed and length of the chains, of the first fit that was sampled."""
        from her2bayes.inference.sampling import Sampling, Settings

        said = (one.provenance.get("sampling") for one in self.fits.values())
        known = next((one for one in said if isinstance(one, Mapping)), None)
        return Settings.of(Sampling(**known)) if known else Settings()

    @property
    def methods(self) -> str:
        """A paragraph for a paper on what was run (model, priors, checks), and its references."""
        from her2bayes.page.report import page_of

        paragraph, *cited = page_of((self.part(),), self.settings, {}).methods_to_paste
        return "\n".join([paragraph, "", *(f"{k}. {line}" for k, line in enumerate(cited, 1))])

    @abstractmethod
    def priors(self) -> Mapping[str, tuple[str, str]]:
        """Each prior as it is written, and what it says in clinical units."""

    def compare(self, study: Study) -> Comparison:
        """Published, reproduced and posterior numbers of ``study`` side by side."""

        return compare(study, self)

    def targets(self, conclusions: Sequence[Conclusion]) -> Sequence[Target]:
        """What a sensitivity analysis of these conclusions asks, with the choices it can vary.

        Raises ``BadInput`` where this analysis has none, or does not answer a conclusion.
        """
        from her2bayes.errors import BadInput, Fault

        remedy = "give the patients, or the study, to hb.sensitivity"
        fault = Fault("this analysis has no choices to vary", value=self.title, remedy=remedy)
        raise BadInput(fault)

    def sensitivity(self, conclusions: str | Path | Sequence[str], **choices: Any) -> Sensitivity:
        """Ask whether conclusions on this fit survive other choices: see ``hb.sensitivity``.

        >>> os.sensitivity(["hazard_ratio[os ; her2: positive vs low] < 1"])  # doctest: +SKIP
        """
        from her2bayes.sensitivity.run import about_fit, answer

        return answer(about_fit(self, conclusions), **choices)

    def if_missing(
        self, conclusion: str, missing: int, of: int, *, tilts: Sequence[float] = (),
        holds: float = 0.975,
    ) -> pd.DataFrame:  # fmt: skip
        """Would a conclusion on a share stand if patients were missing not at random?

        ``missing`` of ``of`` patients have no reading. One row for each of ``tilts``, the odds of
        the class among them as a multiple of the odds among the others: 1 is missing at random, 0
        that none of them has it, infinity that all have. Columns: the share among all patients
        with its 95 % CrI, probability and stance of the conclusion, and ``tipping_tilt``, at
        which it changes in the median (NaN: at none).

        >>> fit.if_missing("share[her2=low] > 0.45", 29, 247)  # doctest: +SKIP
        """
        from her2bayes.errors import raise_if
        from her2bayes.evidence.printed.tables import read_conclusion
        from her2bayes.sensitivity.summary import MISSING_TILTS, Limits, if_missing

        read, faults = read_conclusion(conclusion, None)
        raise_if(faults)
        assert read is not None  # without one there is a fault
        drawn = self.draws(str(read.estimand))
        return if_missing(read, drawn, missing, of, tilts or MISSING_TILTS, Limits(holds))

    @abstractmethod
    def packed(self) -> xr.DataTree:
        """Everything needed to make this object again: fits, contracts, settings as attributes."""

    @classmethod
    @abstractmethod
    def unpacked(cls, tree: xr.DataTree) -> Fitted:
        """Make the object of a ``packed`` tree."""

    def save(self, file: str | Path) -> Path:
        """Write one NetCDF file that ``load_fit`` reads; whole or not at all."""

        return save(self, Path(file))

    @property
    def __maketables_coef_table__(self) -> pd.DataFrame:
        """Estimands as ``maketables.ETable([fit])`` takes coefficients."""

        return coefficients(self)

    @property
    def __maketables_depvar__(self) -> str:
        """Heading of the column."""
        return self.title

    def __maketables_stat__(self, key: str) -> str | None:
        """Lines below the coefficients: the fit's id as ``fit_id``; no other is known."""
        return self.fit_id if key == "fit_id" else None

    def __str__(self) -> str:
        """Ten lines at most: model, priors in clinical units, convergence, what may be asked."""

        return summary(self)

    def __repr__(self) -> str:
        """One line."""
        return f"<{type(self).__name__}: {self.title}>"


HEAD = ("Estimand", "Published", "Reproduced", "Posterior", "Verdict")
SHOWN = 60
"""Rows that printing shows; ``frame`` and ``to_csv`` have all."""


class Answers(Protocol):
    """What a fit must answer to stand beside printed numbers."""

    def estimates(self) -> pd.DataFrame:
        """One row an estimand, posterior."""

    def classical(self) -> pd.DataFrame:
        """One row an estimand, classical."""


@dataclass(frozen=True, repr=False, eq=False)
class Comparison:
    """Evidence table of one study beside fits.

    ``frame`` has the columns of ``evidence.csv``: one row a printed number, in the paper's order,
    then what is estimated and not printed. Percentages are in percent, times in months.
    """

    study: str
    frame: pd.DataFrame
    headline: Mapping[str, str] = field(default_factory=dict)

    @property
    def key_results(self) -> KeyResults:
        """The paper's headline results: published, reproduced and posterior, a row each."""
        return key_results(self.study, self.frame, self.headline)

    @property
    def short(self) -> pd.DataFrame:
        """All rows in the columns that are read first, as text."""
        rows = [
            (
                row["estimand"] + (f" ({row['reading']})" if row["reading"] else ""),
                row["published_text"],
                _shown(row, "reproduced", "reproduced"),
                _shown(row, "posterior_median", "posterior"),
                row["verdict"].replace("_", " "),
            )
            for row in self.frame.to_dict("records")
        ]
        return pd.DataFrame(rows, columns=list(HEAD))

    @property
    def answered(self) -> pd.DataFrame:
        """Rows that were printed and have a posterior, in the columns that are read first."""
        known = (self.frame["claim_id"] != "") & self.frame["posterior_median"].notna()
        return self.short[known.to_numpy()]

    def to_csv(self, file: str | Path) -> Path:
        """Write all rows as ``evidence.csv`` has them, whole or not at all."""
        from her2bayes.files import csv_text, publish

        path = Path(file)
        publish(path.parent, {path.name: csv_text(self.frame)})
        return path

    def __str__(self) -> str:
        """Print Published | Reproduced | Posterior: printed numbers with a posterior first."""
        first, more = self._first()
        text = str(first.to_string(index=False, max_colwidth=60))
        return "\n".join(filter(None, (self._heading(), text, more)))

    def _repr_html_(self) -> str:
        from html import escape

        first, more = self._first()
        table = str(first.to_html(index=False, border=0, escape=True))
        return f"<p>{escape(self._heading())}</p>{table}<p>{escape(more)}</p>"

    def _first(self) -> tuple[pd.DataFrame, str]:
        rows = self.answered if len(self.answered) else self.short
        left = len(self.frame) - min(len(rows), SHOWN)
        return rows.head(SHOWN), f"and {left} more rows: .frame, .to_csv(file)" if left else ""

    def _heading(self) -> str:
        printed = self.frame[self.frame["claim_id"] != ""]
        counts = printed["verdict"].str.replace("_", " ").value_counts()
        verdicts = ", ".join(f"{n} {name}" for name, n in counts.items() if name)
        counted = ", ".join(filter(None, (f"{len(printed)} printed numbers", verdicts)))
        return f"{self.study}: {counted}; intervals 95 %: reproduced confidence, posterior credible"

    def __repr__(self) -> str:
        """One line."""
        return f"<Comparison of {self.study}: {len(self.frame)} rows>"


def _shown(row: Mapping[Any, Any], value: str, limits: str) -> str:
    """Number with its interval and unit; empty where there is none."""
    if pd.isna(row[value]):
        return ""
    unit = str(row["unit"])
    text = interval(row[value], row[f"{limits}_lower"], row[f"{limits}_upper"], unit=unit)
    return f"{text} {unit}".strip()


def compare(study: Study, *fits: Answers) -> Comparison:
    """Put the printed numbers of ``study`` beside what ``fits`` answer, audited.

    Every printed number gets the verdict of the audit; where a fit answers its estimand, the
    posterior median with 95 % CrI. Percentages in percent, times in months. A fit of one's
    own patients is put beside the paper in the same way.

    >>> import her2bayes as hb
    >>> paper = hb.load_study("shi2023")
    >>> print(hb.compare(paper, hb.fit_distribution(paper)))  # doctest: +SKIP
    """
    from her2bayes.audit.audit import audit, evidence_rows

    audited = evidence_rows(study, audit(study))
    estimates = together([fit.estimates() for fit in fits])
    classical = together([fit.classical() for fit in fits])
    return Comparison(study.id, join(study, audited, estimates, classical), study.headline)
